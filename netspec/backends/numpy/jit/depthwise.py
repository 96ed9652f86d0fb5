"""Depthwise convolution in channels-last memory: taps summed in registers, stages applied, stored once.

Four output columns are computed at a time, so that an input is loaded once for all windows it is in; places
whose windows stick out of the image take a loop over the taps that they have.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import prepared, spread
from netspec.backends.numpy.finish import Finish, nothing
from netspec.backends.numpy.jit.chains import Chain, fits, strided
from netspec.backends.numpy.jit.compiler import kernel
from netspec.backends.numpy.jit.inlined import addresses, arguments, head, indent, operands
from netspec.operations import Convolution

COLUMNS = 4
WIDTH = 16
LARGEST = 7
"""Kernels beyond this have too many taps to be written out."""

BLOCK_ELEMENTS = 1 << 17
"""Output elements of a block where other steps follow on it."""


def applies(op: Convolution, x: Array, weight: Array, out: Array) -> bool:
    """Two spatial axes, as many outputs as inputs, channels side by side, small kernels without dilation."""
    return (
        out.ndim == 4
        and op.groups == x.shape[1] == out.shape[1] >= WIDTH
        and set(op.dilation) == {1}
        and max(weight.shape[2:]) <= LARGEST
        and max(op.stride) <= 4
        and fits(x)
        and fits(out)
        and weight.dtype == np.float32
        and x.strides[1] == out.strides[1] == 4
    )


def depthwise(
    op: Convolution, x: Array, weight: Array, out: Array, context: Context, chain: Chain | None, rest: Finish
) -> list[Kernel]:
    """x (n, c, h, w) -> out (n, c, h', w'), with the stages of `chain`; `rest` finishes each block."""
    features, taps = out.shape[1], weight.shape[2:]
    weights, refresh = prepared(
        context,
        weight,
        "depthwise compiled",
        (*taps, features),
        lambda array: np.copyto(array, weight[:, 0].transpose(1, 2, 0)),
    )
    kinds = "" if chain is None else chain.kinds(1)
    assert kinds is not None
    function = kernel(_text(taps, op.stride, chain, kinds), "depthwise", 19 + 3 * len(kinds) + 1)
    source, given = strided(x), operands(chain)
    target = strided(out)
    inside = [
        _inside(size, k, stride, pad[0], count)
        for size, k, stride, pad, count in zip(
            x.shape[2:], taps, op.stride, op.padding, out.shape[2:], strict=True
        )
    ]

    def make(item: tuple[int, slice]) -> list[Kernel]:
        image, rows = item
        call = partial(
            function,
            *(source.address + image * source.strides[0], *source.strides[2:], *x.shape[2:]),
            weights.__array_interface__["data"][0],
            *(target.address + image * target.strides[0], *target.strides[2:], out.shape[3], features),
            *(rows.start, rows.stop, op.padding[0][0], op.padding[1][0]),
            *(*inside[0], *inside[1]),
            *arguments(given, chain, image),
        )
        call.keep = (x, weights, out, chain)  # type: ignore[attr-defined]
        return [call, *rest((slice(image, image + 1), slice(None), rows))]

    pieces = 1
    if rest is not nothing:
        pieces = -(-out[0].size // BLOCK_ELEMENTS)
    if len(x) % context.lanes:
        pieces = -(-pieces // context.lanes) * context.lanes
    pieces = min(pieces, out.shape[2])
    rows = [slice(out.shape[2] * i // pieces, out.shape[2] * (i + 1) // pieces) for i in range(pieces)]
    return [
        *refresh,
        *spread(
            context, list(itertools.product(range(len(x)), rows)), make, out.size * math.prod(taps) // 16
        ),
    ]


def _inside(size: int, k: int, stride: int, before: int, count: int) -> tuple[int, int]:
    """The first output place whose window lies inside, and the one after the last."""
    first = min(count, -(-before // stride))
    return first, max(first, min(count, (size - k + before) // stride + 1))


def _text(taps: Sequence[int], stride: Sequence[int], chain: Chain | None, kinds: str) -> str:
    (kh, kw), (sh, sw) = taps, stride
    lines = [
        f"def depthwise(x, xh, xw, height, width, w, out, oh, ow, columns, channels, r0, r1, ph, pw, "
        f"a0, a1, c0, c1{head(kinds)}, constants):"
    ]
    lines += indent(1, chain.constant_lines() if chain else [])
    lines += indent(1, ["tap = 4 * channels", "end = 4 * channels - 64", "for r in range(r0, r1):"])
    lines += indent(2, [f"top = r * {sh} - ph", "o = out + r * oh", *addresses(kinds)])
    lines += indent(2, ["j = 0", "while j < columns:"])
    lines += indent(3, [f"left = j * {sw} - pw"])
    lines += indent(3, [f"if a0 <= r < a1 and c0 <= j < c1 and c1 - c0 >= {COLUMNS}:"])
    lines += indent(4, [f"j = min(j, c1 - {COLUMNS})", f"left = j * {sw} - pw"])
    lines += indent(4, ["corner = x + top * xh + left * xw", "c = 0", "while c <= end:"])
    lines += indent(5, _unrolled(kh, kw, sw))
    for column in range(COLUMNS):
        lines += indent(5, _finished(f"s{column}", f"(j + {column})", chain, kinds))
    lines += indent(5, ["c = c + 64 if c == end else min(c + 64, end)"])
    lines += indent(4, [f"j += {COLUMNS}", "continue"])
    lines += indent(3, [f"i0, i1 = max(0, -top), min({kh}, height - top)"])
    lines += indent(3, [f"k0_, k1_ = max(0, -left), min({kw}, width - left)"])
    lines += indent(3, ["c = 0", "while c <= end:", "    s = splat(FLOAT(0.0))"])
    lines += indent(4, ["for i in range(i0, i1):", "    row = x + (top + i) * xh + left * xw + c"])
    lines += indent(5, [f"at = w + i * {kw} * tap + c", "for k in range(k0_, k1_):"])
    lines += indent(6, ["s = fma(load(row + k * xw), load(at + k * tap), s)"])
    lines += indent(4, _finished("s", "j", chain, kinds))
    lines += indent(4, ["c = c + 64 if c == end else min(c + 64, end)"])
    lines += indent(3, ["j += 1"])
    return "\n".join(lines) + "\n"


def _unrolled(kh: int, kw: int, stride: int) -> list[str]:
    """Sums s0.. of neighbouring columns: each input and each weight loaded once a row."""
    lines = [f"s{column} = splat(FLOAT(0.0))" for column in range(COLUMNS)]
    for i in range(kh):
        lines.append(f"row = corner + {i} * xh + c")
        lines += [f"w{k} = load(w + {i * kw + k} * tap + c)" for k in range(kw)]
        for place in range((COLUMNS - 1) * stride + kw):
            uses = [(column, place - column * stride) for column in range(COLUMNS)]
            uses = [(column, k) for column, k in uses if 0 <= k < kw]
            if uses:
                lines.append(f"t = load(row + {place} * xw)")
                lines += [f"s{column} = fma(t, w{k}, s{column})" for column, k in uses]
    return lines


def _finished(total: str, column: str, chain: Chain | None, kinds: str) -> list[str]:
    lines = [f"v = {total}"]
    for i, kind in enumerate(kinds):
        at = f"q{i} + {column} * p{i}_w"
        lines.append(f"x{i} = load({at} + c)" if kind == "1" else f"x{i} = everywhere({at})")
    return [*lines, *(chain.lines if chain else []), f"store(o + {column} * ow + c, v)"]
