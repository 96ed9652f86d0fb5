"""Convolution by Winograd's minimal filtering, F(m, r): m outputs of an r-tap filter from m + r - 1 products.

Tiles of the input are carried into another space by one matrix product, multiplied there with the
transformed weights channel by channel, and carried back by another. For 3 x 3 filters F(4, 3) on both axes
needs a quarter of the products of the plain form, F(2, 3) four ninths.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015). The interpolation points
0, +-sqrt(1/2), +-sqrt(2) keep numbers of one size: on unit-size outputs the largest error of F(4, 3) against
float64 is 3e-6, with the usual points 0, +-1, +-2 it is 1.4e-5 (plain float32: 3e-7).

Axis letters: b images, d output depth, h and w tile rows and columns, t all tiles of a block, u the points of
the transformed tile, c input channels, o output channels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import bordered, prepared, reshaped, scratch, spread
from netspec.backends.numpy.finish import Finish, Region
from netspec.operations import Convolution

HALF, TWO = math.sqrt(0.5), math.sqrt(2.0)
POINTS: dict[int, tuple[float, ...]] = {
    4: (0.0, 1.0, -1.0),
    6: (0.0, HALF, -HALF, TWO, -TWO),
}
"""Size of the transformed tile -> its interpolation points; infinity is the last one."""

BLOCK_BYTES = 1 << 20
"""Transformed tiles and products of one block: they stay in the second-level cache."""


LANE_BYTES = 1 << 22
"""The same where several threads work: fewer, longer steps are worth more than the second-level cache."""


FEWEST_FEATURES = 64
"""Where there are few tiles, threads share the output channels, each so many at least."""


BLOCK_TILES = 64
"""So many tiles, or all there are, are expected in a block when the form of compiled weights is chosen."""


@lru_cache
def transforms(outputs: int, taps: int) -> tuple[Array, Array, Array]:
    """A^T (m, u), G (u, r), B^T (u, u) of F(m, r) in float64: y = A^T ((G g) * (B^T d))."""
    size = outputs + taps - 1
    points = POINTS[size]
    back, filters, data = np.zeros((outputs, size)), np.zeros((size, taps)), np.zeros((size, size))
    for j, point in enumerate(points):
        others = [p for p in points if p != point]
        back[:, j] = [point**i for i in range(outputs)]
        filters[j] = [point**k / math.prod(point - p for p in others) for k in range(taps)]
        data[j, : size - 1] = np.poly(others)[::-1]
    back[-1, -1] = filters[-1, -1] = 1
    data[-1] = np.poly(points)[::-1]
    return back, filters, data


@dataclass(frozen=True, slots=True)
class Tiling:
    """F(m, r) on the last axes of an output: m an axis, r an axis, tiles an axis."""

    outputs: tuple[int, ...]
    taps: tuple[int, ...]
    tiles: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Points of the transformed tile along each axis."""
        return tuple(m + r - 1 for m, r in zip(self.outputs, self.taps, strict=True))


def tiling(op: Convolution, weight: Sequence[int], out: Sequence[int], outputs: int) -> Tiling | None:
    """How F(outputs, r) covers the last two spatial axes (or the only one); None where it does not apply."""
    axes = min(2, len(out) - 2)
    taps = tuple(weight[-axes:])
    if op.groups != 1 or any(s != 1 for s in (*op.stride, *op.dilation)):
        return None
    if any(outputs + r - 1 not in POINTS or r < 2 for r in taps):
        return None
    return Tiling((outputs,) * axes, taps, tuple(-(-size // outputs) for size in out[-axes:]))


def winograd(
    op: Convolution,
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    context: Context,
    finish: Finish,
    how: Tiling,
) -> list[Kernel]:
    """x (b, c, [d,] *s) -> out (b, o, [d,] *s') in channels-last memory."""
    work = _Work(op, x, weight, bias, out, context, finish, how)
    blocks = _blocks(work, len(x), context.lanes)
    shares = [slice(0, work.features)]
    if len(blocks) < context.lanes:
        shares = _cut(shares[0], max(1, min(context.lanes, work.features // FEWEST_FEATURES)), work.unit)
    items = [(images, rows, channels) for channels in shares for images, rows in blocks]
    return [*work.refresh, *spread(context, items, work.block, work.work)]


def _blocks(work: _Work, images: int, lanes: int) -> list[tuple[slice, slice]]:
    """Images and tile rows of each block: as many tiles as the cache holds, or as repay reading the weights."""
    how = work.how
    row = math.prod(how.tiles[1:])
    tile_bytes = (2 * work.channels + work.features) * work.points * work.out.itemsize
    tiles = max(
        BLOCK_BYTES // tile_bytes, work.channels * work.features // (work.channels + work.features), 1
    )
    total = images * how.tiles[0] * row
    count = max(1, round(total / tiles))
    if lanes > 1:
        # long steps, since threads that meet over the interpreter wait for each other; a share each
        rounds = -(-total * tile_bytes // (lanes * LANE_BYTES))
        count = max(1, min(count, rounds * lanes))
    tiles = -(-total // count)
    if tiles >= row * how.tiles[0]:
        step = min(images, round(tiles / (row * how.tiles[0])))
        return [
            (slice(first, min(first + step, images)), slice(0, how.tiles[0]))
            for first in range(0, images, step)
        ]
    step = -(-how.tiles[0] // -(-how.tiles[0] * row // tiles))
    return [
        (slice(image, image + 1), slice(first, min(first + step, how.tiles[0])))
        for image in range(images)
        for first in range(0, how.tiles[0], step)
    ]


class _Work:
    """What all blocks of one convolution share."""

    def __init__(
        self,
        op: Convolution,
        x: Array,
        weight: Array,
        bias: Array | None,
        out: Array,
        context: Context,
        finish: Finish,
        how: Tiling,
    ) -> None:
        self.op, self.how, self.context, self.finish = op, how, context, finish
        self.out, self.bias = out, bias
        self.source = np.moveaxis(x, 1, -1)  # (b, [d,] *s, c)
        self.target = np.moveaxis(out, 1, -1)  # (b, [d',] *s', o)
        self.features, self.channels = weight.shape[:2]
        self.depth = weight.shape[2] if weight.ndim == 5 else 1
        self.points = math.prod(how.sizes)
        tiles = len(x) * (out.size // math.prod(out.shape[:2]) // math.prod(how.outputs))
        self.work = tiles * self.points * self.channels * self.features // 32  # in elements, for `spread`
        matrices = [transforms(m, r) for m, r in zip(how.outputs, how.taps, strict=True)]
        self.matrices = matrices
        back, filters, data = (_kronecker([each[i] for each in matrices]) for i in range(3))
        self.back, self.data = back.astype(x.dtype), data.astype(x.dtype)  # (m, u), (u, u)
        self.compiled = _compiled(context, finish, self.source, self.target, bias)
        self.vectors, self.unit = 0, 1
        fill = partial(_transform_weights, weight, filters)
        shape = (self.depth, self.points, self.channels, self.features)
        if self.compiled is None or self.depth > 1 or not self.compiled.multiplies():
            form = ("winograd", how.outputs)
            self.weights, self.refresh = prepared(context, weight, form, shape, fill)
            return
        rows = min(len(x) * math.prod(how.tiles), BLOCK_TILES)
        self.weights, self.refresh, self.vectors, self.unit = self.compiled.weights(
            context, weight, f"winograd {how.outputs}", shape, rows, fill
        )

    def block(self, block: tuple[slice, slice, slice]) -> list[Kernel]:
        """The steps of some images, tile rows and output channels; planes come in as they are needed."""
        images, rows, channels = block
        tiles = self._tiles(rows)
        count = (images.stop - images.start) * math.prod(tiles)  # t
        if self.out.ndim < 5:
            carried = self._carried("", count)
            steps = self._carry(images, rows, tiles, None, carried)
            product = self._product("product", count, channels)
            steps.append(self._products(carried, channels, product))
            return steps + self._return(images, rows, channels, None, product)
        return self._by_depth(images, rows, channels, count)

    def _products(self, carried: Array, channels: slice, product: Array) -> Kernel:
        """One product a point: (t, c) times (c, o)."""
        if self.compiled is None or not self.vectors:
            return partial(np.matmul, carried, self.weights[0, :, :, channels], product)
        panels = slice(channels.start // self.unit, -(-channels.stop // self.unit))
        made: Kernel = self.compiled.products(carried, self.weights[:, panels], product, self.vectors)
        return made

    def _tiles(self, rows: slice) -> tuple[int, ...]:
        return (rows.stop - rows.start, *self.how.tiles[1:])

    def _by_depth(self, images: slice, rows: slice, channels: slice, count: int) -> list[Kernel]:
        before, size, kernel = self.op.padding[0][0], self.source.shape[1], self.depth
        tiles = self._tiles(rows)
        ring = [self._carried(str(i), count) for i in range(kernel)]
        product, term = (self._product(name, count, channels) for name in ("product", "term"))
        steps: list[Kernel] = []
        ready = -1
        for place in range(self.target.shape[1]):
            planes = [p for p in range(place - before, place - before + kernel) if 0 <= p < size]
            for plane in planes:
                if plane > ready:
                    steps += self._carry(images, rows, tiles, plane, ring[plane % kernel])
                    ready = plane
            for number, plane in enumerate(planes):
                weights = self.weights[plane - (place - before), :, :, channels]
                into = term if number else product
                steps.append(partial(np.matmul, ring[plane % kernel], weights, into))
                if number:
                    steps.append(partial(np.add, product, term, product))
            if not planes:
                steps.append(partial(product.fill, 0))
            steps += self._return(images, rows, channels, place, product)
        return steps

    def _carried(self, name: str, count: int) -> Array:
        shape = (self.points, count, self.channels)
        return scratch(self.context, f"winograd carried{name}", shape, self.out.dtype)

    def _product(self, name: str, count: int, channels: slice) -> Array:
        shape = (self.points, count, channels.stop - channels.start)
        return scratch(self.context, f"winograd {name}", shape, self.out.dtype)

    def _carry(
        self, images: slice, rows: slice, tiles: tuple[int, ...], plane: int | None, into: Array
    ) -> list[Kernel]:
        """Tiles of the padded input, (u, t, c), through B^T."""
        how = self.how
        source = self.source[images] if plane is None else self.source[images, plane]  # (b, *s, c)
        if self.compiled is not None:
            padding = [pad for pad, _ in self.op.padding[-len(tiles) :]]
            data = [each[2] for each in self.matrices]
            return [self.compiled.carry(data, how.outputs, source, padding, tiles, rows, into, self.context)]
        starts = (rows.start, *(0 for _ in tiles[1:]))
        spans = []
        for start, number, m, r, pad in zip(
            starts, tiles, how.outputs, how.taps, self.op.padding[-len(tiles) :], strict=True
        ):
            first = start * m - pad[0]
            spans.append((first, first + number * m + r - 1))
        part, steps = bordered(self.context, source, spans)
        image, *steps_of_axes, channel = part.strides
        windows = as_strided(
            part,
            (*how.sizes, len(part), *tiles, self.channels),
            (
                *steps_of_axes,
                image,
                *(m * s for m, s in zip(how.outputs, steps_of_axes, strict=True)),
                channel,
            ),
            writeable=False,
        )  # (u.., b, *tiles, c)
        gathered = scratch(self.context, "winograd gathered", into.shape, into.dtype)
        steps.append(partial(np.copyto, gathered.reshape(windows.shape), windows))
        flat = (self.points, into[0].size)
        steps.append(partial(np.matmul, self.data, gathered.reshape(flat), reshaped(into, flat)))
        return steps

    def _return(
        self, images: slice, rows: slice, channels: slice, place: int | None, product: Array
    ) -> list[Kernel]:
        """Products (u, t, o) through A^T to the outputs (m, t, o), which go to their places with the bias."""
        how, tiles = self.how, self._tiles(rows)
        target = self.target[images] if place is None else self.target[images, place]
        target = target[..., channels]  # (b, *s', o)
        span = slice(rows.start * how.outputs[0], min(rows.stop * how.outputs[0], target.shape[1]))
        region: Region = (images, channels, span)
        if place is not None:
            region = (images, channels, slice(place, place + 1), span)
        if self.compiled is not None:
            back = [each[0] for each in self.matrices]
            chain, rest = self.finish.parts(1)  # type: ignore[attr-defined]
            at = (images.start, channels.start, place)
            return [self.compiled.give_back(back, product, target, tiles, rows, chain, at), *rest(region)]
        count = math.prod(how.outputs)
        results = scratch(self.context, "winograd gathered", (count, *product.shape[1:]), product.dtype)
        steps: list[Kernel] = [
            partial(
                np.matmul,
                self.back,
                reshaped(product, (self.points, product[0].size)),
                results.reshape(count, -1),
            )
        ]
        values = results.reshape(*how.outputs, len(target), *tiles, target.shape[-1])
        starts = (rows.start, *(0 for _ in tiles[1:]))
        pieces = [
            _pieces(start, number, m, size)
            for start, number, m, size in zip(starts, tiles, how.outputs, target.shape[1:-1], strict=True)
        ]
        for piece in itertools.product(*pieces):
            here = values[
                (
                    *(slice(0, width) for _, _, width in piece),
                    slice(None),
                    *(
                        slice(first - start, last - start)
                        for (first, last, _), start in zip(piece, starts, strict=True)
                    ),
                )
            ]
            there = _tiled(target, how.outputs, piece)
            if self.bias is None:
                steps.append(partial(np.copyto, there, here))
            else:
                steps.append(partial(np.add, here, self.bias[channels], there))
        return steps + self.finish(region)


def _compiled(context: Context, finish: Finish, source: Array, target: Array, bias: Array | None) -> Any:
    """The compiled passes, or None where these arrays are left to NumPy."""
    if not context.jit or bias is not None:
        return None
    from netspec.backends.numpy.jit import winograd as compiled
    from netspec.backends.numpy.jit.finish import Finishing

    return compiled if isinstance(finish, Finishing) and compiled.applies(source, target) else None


def _cut(whole: slice, count: int, unit: int) -> list[slice]:
    """A range in at most `count` pieces of nearly the same length, whole units each if they fit it."""
    length = whole.stop - whole.start
    if length % unit:
        return [whole]
    count = min(count, length // unit)
    edges = [whole.start + length // unit * i // count * unit for i in range(count + 1)]
    return [slice(first, last) for first, last in itertools.pairwise(edges)]


def _pieces(start: int, number: int, m: int, size: int) -> list[tuple[int, int, int]]:
    """(first tile, last tile, outputs of each) along an axis: whole tiles, then the one that is cut off."""
    whole = min(start + number, size // m)
    pieces = [(start, whole, m)] if whole > start else []
    if start + number > whole and size % m:
        pieces.append((start + number - 1, start + number, size % m))
    return pieces


def _tiled(target: Array, outputs: Sequence[int], piece: Sequence[tuple[int, int, int]]) -> Array:
    """The places (m.., b, *tiles, o) of these tiles in target (b, *s', o)."""
    image, *steps, channel = target.strides
    corner = target[
        (slice(None), *(slice(first * m, None) for (first, _, _), m in zip(piece, outputs, strict=True)))
    ]
    return as_strided(
        corner,
        (
            *(width for _, _, width in piece),
            len(target),
            *(last - first for first, last, _ in piece),
            target.shape[-1],
        ),
        (*steps, image, *(m * s for m, s in zip(outputs, steps, strict=True)), channel),
    )


def _kronecker(matrices: Sequence[Array]) -> Array:
    result = matrices[0]
    for matrix in matrices[1:]:
        result = np.kron(result, matrix)
    return result


def _transform_weights(weight: Array, filters: Array, out: Array) -> None:
    """weight (o, c, [k,] *r) -> out ([k =] 1.., u, c, o)."""
    features, channels = weight.shape[:2]
    depth = len(out)
    taps = weight.reshape(features, channels, depth, -1)
    for d in range(depth):
        for c in range(channels):  # one channel at a time: the float64 copy stays small
            out[d, :, c] = filters @ taps[:, c, d].T.astype(np.float64)
