"""Convolution as sums over taps and channels in registers, without unfolding anything.

A tile of some output columns by some vectors of output channels is summed over all taps and input channels:
each step loads one row of weights and one number a column. Weights lie in panels, a tile's channels side by
side for each tap and channel. Strides are arguments, so that the same text reads channels-last images and the
planes of a picture.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import padded, prepared, spread
from netspec.backends.numpy.finish import Finish
from netspec.backends.numpy.jit.chains import Chain, fits
from netspec.backends.numpy.jit.compiler import kernel
from netspec.backends.numpy.jit.finish import Finishing
from netspec.backends.numpy.jit.inlined import NONE, addresses, head, indent
from netspec.backends.strides import memory_order
from netspec.operations import Convolution

WIDTH = 16
REGISTERS = 24
"""Sums of a tile, of the 32 vector registers of AVX-512."""

TILES = (
    (6, 4),
    (4, 4),
    (1, 4),
    (8, 3),
    (7, 3),
    (3, 3),
    (1, 3),
    (12, 2),
    (7, 2),
    (1, 2),
    (14, 1),
    (7, 1),
    (1, 1),
)
"""(output columns, vectors of channels): few, since each is compiled for every chain it meets."""

BLOCK_BYTES = 1 << 18
"""Input of one block of output rows, which is read again for every panel of weights."""

AHEAD = 16
"""Rows of weights that are asked for beforehand."""

FEW_PLACES = 128
"""Below this many output places lanes share the panels of weights."""

MULTIPLY_RATE = 80e9
"""Multiply-adds a second of a full tile on one core; only its ratio to `costs` matters."""


@lru_cache(maxsize=1)
def wide_registers() -> bool:
    """Whether sixteen numbers are one register, and there are 32 of them: elsewhere BLAS is left to it."""
    from llvmlite import binding  # type: ignore[import-untyped]

    return bool(binding.get_host_cpu_features().get("avx512f"))


class Tile(NamedTuple):
    """Output columns and vectors of channels that are summed at a time."""

    columns: int
    vectors: int


def tile_cost(tile: tuple[int, int], columns: int, features: int) -> float:
    """Time for one multiply-add that is asked for, in units of one at the full rate."""
    r, v = tile
    blocks = -(-features // WIDTH)
    twice = -(-columns // r) * r / columns * (-(-blocks // v) * v * WIDTH / features)
    multiplying = max(r * v / 2, 4.0)  # cycles: two a cycle, each ready after four
    loading = 64 * v / 28  # a row of weights from the second-level cache
    return twice * (max(multiplying, loading) + 1.5) / (r * v / 2)


@lru_cache
def best_tile(columns: int, features: int, vectors: int | None = None) -> Tile:
    """The tile that is fastest on rows of so many output columns [with so many vectors]."""
    fitting = [tile for tile in TILES if tile[0] <= columns and vectors in (None, tile[1])]
    return Tile(*min(fitting, key=lambda tile: tile_cost(tile, columns, features)))


def direct_text(tile: Tile, chain: Chain | None, kinds: str) -> str:
    """A row of output columns at a time, all panels of it, all taps and channels of each tile."""
    r, v = tile
    lines = [
        "def direct(x, xh, xw, xi, xj, xc, kh, kw, depth, w, wr, out, oh, ow, columns, channels, r0, r1, f0, f1"
        f"{head(kinds)}, constants):"
    ]
    lines += indent(1, chain.constant_lines() if chain else [])
    lines += indent(1, ["end = 4 * channels - 64", f"panel = kh * kw * depth * {64 * v}"])
    lines += indent(1, ["for f in range(f0, f1):"])
    lines += indent(2, [f"c{j} = min((f * {v} + {j}) * 64, end)" for j in range(v)])
    lines += indent(2, ["for r in range(r0, r1):"])
    lines += indent(3, ["o = out + r * oh", *addresses(kinds), "at = 0", "while at < columns:"])
    lines += indent(4, [f"j = min(at, columns - {r})", "corner = x + r * xh + j * xw"])
    lines += indent(4, [f"s{i}_{k} = splat(FLOAT(0.0))" for i in range(r) for k in range(v)])
    lines += indent(4, ["y = w + f * panel + r * wr", "for a in range(kh):", "    for b in range(kw):"])
    lines += indent(6, [f"x{i}_ = corner + a * xi + b * xj + {i} * xw" for i in range(r)])
    lines += indent(6, ["for c in range(depth):"])
    lines += indent(7, [f"w{k} = load(y + {64 * k})" for k in range(v)])
    lines += indent(7, [f"fetch(y + {64 * (k + AHEAD * v)})" for k in range(v)])
    for i in range(r):
        lines += indent(7, [f"t = everywhere(x{i}_ + c * xc)"])
        lines += indent(7, [f"s{i}_{k} = fma(t, w{k}, s{i}_{k})" for k in range(v)])
    lines += indent(7, [f"y += {64 * v}"])
    for i in range(r):
        for k in range(v):
            lines += indent(4, [f"v = s{i}_{k}"])
            for n, kind in enumerate(kinds):
                place = f"q{n} + (j + {i}) * p{n}_w"
                lines += indent(
                    4, [f"x{n} = load({place} + c{k})" if kind == "1" else f"x{n} = everywhere({place})"]
                )
            lines += indent(4, [*(chain.lines if chain else []), f"store(o + (j + {i}) * ow + c{k}, v)"])
    lines += indent(4, [f"at += {r}"])
    return "\n".join(lines) + "\n"


def fill_panels(weight: Array, vectors: int, out: Array) -> None:
    """weight (o, c, *k) -> out (panels, *k, c, vectors * 16): a last vector that sticks out is moved back."""
    features = len(weight)
    flat = np.moveaxis(weight, (0, 1), (-1, -2))  # (*k, c, o)
    for panel in range(len(out)):
        for k in range(vectors):
            first = min((panel * vectors + k) * WIDTH, features - WIDTH)
            out[panel, ..., k * WIDTH : (k + 1) * WIDTH] = flat[..., first : first + WIDTH]


def applies(op: Convolution, x: Array, weight: Array, out: Array) -> bool:
    """One or two spatial axes, one group, output channels side by side and at least one vector of them."""
    return (
        op.groups == 1
        and out.ndim in (3, 4)
        and out.shape[1] >= WIDTH
        and fits(x)
        and fits(out)
        and weight.dtype == np.float32
        and out.strides[1] == 4
        and wide_registers()
    )


def cost(op: Convolution, weight: Sequence[int], out: Sequence[int]) -> float:
    """Seconds on one core, as `costs` counts them."""
    columns = _columns(op, weight, out)
    slower = tile_cost(best_tile(columns, out[1]), columns, out[1])
    return math.prod(weight) * out[0] * math.prod(out[2:]) * slower / MULTIPLY_RATE


def _columns(op: Convolution, weight: Sequence[int], out: Sequence[int]) -> int:
    """Output places that follow one another: a row, or all where windows do not reach beyond their place."""
    plain = math.prod(weight[2:]) == 1 and set(op.stride) == {1} and not any(map(any, op.padding))
    return math.prod(out[2:]) if plain else out[-1]


def direct(
    op: Convolution, x: Array, weight: Array, bias: Array | None, out: Array, context: Context, finish: Finish
) -> list[Kernel]:
    """x (n, c, *s) -> out (n, o, *s') in channels-last memory; a bias is a part of `finish`."""
    assert bias is None
    chain, rest = finish.parts(1) if isinstance(finish, Finishing) else (None, finish)
    work = _Work(op, x, weight, out, context, chain)
    items = list(itertools.product(range(len(x)), work.row_blocks(), work.shares()))

    def make(item: tuple[int, slice, slice]) -> list[Kernel]:
        image, rows, panels = item
        width = work.tile.vectors * WIDTH
        region = (slice(image, image + 1), slice(panels.start * width, panels.stop * width))
        return [*work.block(image, rows, panels), *rest(region if out.ndim == 3 else (*region, rows))]

    return [*work.refresh, *spread(context, items, make, out.size)]


class _Work:
    """What all blocks of one convolution share; a single spatial axis is the second of two."""

    def __init__(
        self, op: Convolution, x: Array, weight: Array, out: Array, context: Context, chain: Chain | None
    ) -> None:
        self.context, self.chain = context, chain
        self.x, self.out, filters = (a if out.ndim == 4 else a[:, :, None] for a in (x, out, weight))
        self.given = [a if a.ndim == 4 else a[:, :, None] for a in (chain.arrays if chain else [])]
        self.stride, self.dilation = _two(op.stride, 1), _two(op.dilation, 1)
        self.padding = ((0, 0), *op.padding)[-2:]
        self.taps, self.features = filters.shape[2:], len(filters)
        plain = self.taps == (1, 1) and self.stride == (1, 1) and not any(map(any, self.padding))
        self.flat = plain and all(_merges(a) for a in (self.x, self.out, *self.given))
        columns = math.prod(self.out.shape[2:]) if self.flat else self.out.shape[3]
        self.tile = best_tile(columns, self.features)
        vectors = self.tile.vectors
        self.panels = -(-self.features // (vectors * WIDTH))
        self.weights, self.refresh = prepared(
            context,
            weight,
            ("panels", vectors),
            (self.panels, *self.taps, filters.shape[1], vectors * WIDTH),
            partial(fill_panels, filters, vectors),
        )
        self.kinds = "" if chain is None else chain.kinds(1) or ""

    def row_blocks(self) -> list[slice]:
        """Output rows whose input stays in the cache; about as much for each lane."""
        rows = self.out.shape[2]
        image = self.x[0].size * self.x.itemsize
        limit = (
            BLOCK_BYTES if self.weights.nbytes < image else 4 * BLOCK_BYTES
        )  # each block reads all weights
        pieces = max(1, round(image / limit))
        if len(self.x) % self.context.lanes:
            pieces = -(-pieces // self.context.lanes) * self.context.lanes
        if len(self.shares()) > 1:
            pieces = 1
        pieces = min(pieces, rows)
        return [slice(rows * i // pieces, rows * (i + 1) // pieces) for i in range(pieces)]

    def shares(self) -> list[slice]:
        """All panels; where there are few places, those of each lane, which then reads its own weights only."""
        lanes, places = self.context.lanes, self.out[:, 0].size
        exact = self.features == self.panels * self.tile.vectors * WIDTH
        if lanes == 1 or places >= FEW_PLACES or not exact or self.panels < lanes:
            return [slice(0, self.panels)]
        return [slice(self.panels * i // lanes, self.panels * (i + 1) // lanes) for i in range(lanes)]

    def block(self, image: int, rows: slice, panels: slice) -> list[Kernel]:
        """Some rows of an image for some panels of weights."""
        count, columns = rows.stop - rows.start, self.out.shape[3]
        part, steps = self._input(image, rows)
        if self.flat:
            count, columns = 1, count * columns
        tile = best_tile(columns, self.features, self.tile.vectors)
        function = kernel(direct_text(tile, self.chain, self.kinds), "direct", 21 + 3 * len(self.kinds))
        target = self.out[image, :, rows.start :]
        found = []
        for array in self.given:
            cut = array[image, :, rows.start :]
            found += [_address(cut), *cut.strides[1:]]
        (channel, *axes), (sh, sw), (dh, dw) = part.strides, self.stride, self.dilation
        call = partial(
            function,
            *(_address(part), axes[0] * sh, axes[1] * sw, axes[0] * dh, axes[1] * dw, channel),
            *(*self.taps, len(part), _address(self.weights), 0),
            *(_address(target), *target.strides[1:], columns, self.features, 0, count),
            *(
                panels.start,
                panels.stop,
                *found,
                _address(NONE if self.chain is None else self.chain.constants),
            ),
        )
        call.keep = (part, self.weights, target, self.given, self.chain)  # type: ignore[attr-defined]
        return [*steps, call]

    def _input(self, image: int, rows: slice) -> tuple[Array, list[Kernel]]:
        """What the windows of these rows cover of an image (c, h, w), zeros where there is nothing."""
        cut, borders = [], [(0, 0)]
        for piece, size, k, stride, dilation, (before, _) in zip(
            (rows, slice(0, self.out.shape[3])), self.x.shape[2:], self.taps, self.stride, self.dilation,
            self.padding, strict=True,
        ):  # fmt: skip
            first = piece.start * stride - before
            last = first + (piece.stop - piece.start - 1) * stride + (k - 1) * dilation + 1
            start, stop = min(max(first, 0), size), min(max(last, 0), size)
            inside = max(0, stop - start)
            cut.append(slice(start, start + inside))
            before = min(max(0, -first), last - first - inside)
            borders.append((before, last - first - inside - before))
        part = self.x[(image, slice(None), *cut)]
        if not any(map(any, borders)):
            return part, []
        order = memory_order(self.x[image])
        back = [order.index(axis) for axis in range(3)]
        buffer, inside_view = padded(
            self.context, [part.shape[a] for a in order], [borders[a] for a in order], part.dtype
        )
        return buffer.transpose(back), [partial(np.copyto, inside_view, part.transpose(order))]


def _two(values: Sequence[int], other: int) -> tuple[int, int]:
    return (values[0], values[1]) if len(values) == 2 else (other, values[0])


def _merges(array: Array) -> bool:
    """Whether the rows of (n, c, h, w) follow one another as one."""
    return bool(array.shape[2] == 1 or array.strides[2] == array.shape[3] * array.strides[3])


def _address(array: Array) -> int:
    found: int = array.__array_interface__["data"][0]
    return found


# --- products of the same kind for several matrices ---------------------------------------------------


def product_weights(
    context: Context, weight: Array, form: str, matrices: int, rows: int, features: int, fill: Any
) -> tuple[Array, list[Kernel], Tile]:
    """Room for `matrices` of (c, o) in panels, written by `fill(array (u, c, o))`; for so many left rows."""
    tile = best_tile(rows, features)
    panels = -(-features // (tile.vectors * WIDTH))
    channels = weight.shape[1]
    width = tile.vectors * WIDTH
    index = np.minimum(np.arange(panels * tile.vectors) * WIDTH, features - WIDTH)
    places = (index[:, None] + np.arange(WIDTH)).reshape(panels, width)

    def into(out: Array) -> None:
        plain = np.empty((matrices, channels, features), out.dtype)
        fill(plain)
        for panel in range(panels):
            np.take(plain, places[panel], 2, out[:, panel])

    array, refresh = prepared(
        context, weight, (form, tile.vectors), (matrices, panels, channels, width), into
    )
    return array, refresh, tile


def products(left: Array, weights: Array, out: Array, vectors: int) -> Kernel:
    """left (u, t, c) times weights (u, panels, c, v * 16) -> out (u, t, o)."""
    count, rows, features = out.shape
    tile = best_tile(rows, features, vectors)
    function = kernel(direct_text(tile, None, ""), "direct", 21)
    call = partial(
        function,
        *(_address(left), left.strides[0], left.strides[1], 0, 0, 4),
        *(1, 1, left.shape[2], _address(weights), weights.strides[0]),
        *(_address(out), out.strides[0], out.strides[1], rows, features, 0, count),
        *(0, weights.shape[1], _address(NONE)),
    )
    call.keep = (left, weights, out)  # type: ignore[attr-defined]
    return call
