"""Depthwise convolution: one input channel a group, summed tap by tap over runs of channels.

Nothing is shared between the outputs, so a matrix product has nothing to gain. `np.einsum` multiplies and
adds in one pass without a temporary; its inner loop costs as much to enter as some eighty elements,
therefore several columns of channels-last memory, which lie side by side, are one run, and the weights
are repeated to match it. Letters: a-h kernel axes, s-z spatial axes, r a run (columns * channels).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import Block, extent, padded, prepared, scratch, spread
from netspec.backends.numpy.finish import Finish, nothing
from netspec.operations import Convolution

RUN_ELEMENTS = 1024
"""Elements of a run: its inputs, its output and the weights of nine taps fit the first-level cache."""

BLOCK_ELEMENTS = 1 << 17
"""Output elements of a block, which is finished while it and its inputs are in the second-level cache."""

REGION_ELEMENTS = 1 << 12
"""Elements that can be copied in the time that one more region of the output takes."""


class Span(NamedTuple):
    """Output places on one axis whose windows have the same taps inside the input, and those taps."""

    places: slice
    taps: slice


def depthwise(
    op: Convolution,
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    context: Context,
    finish: Finish | None = None,
) -> list[Kernel]:
    """x (n, g, *s), weight (g*m, 1, *k), [bias (g*m,)] -> (n, g*m, *s')."""
    features, kernel_size, size = out.shape[1], weight.shape[2:], out.shape[2:]
    columns = min(size[-1], max(1, RUN_ELEMENTS // features)) if op.stride[-1] == 1 else 1
    taps, steps = prepared(
        context,
        weight,
        ("depthwise", columns),
        (*kernel_size, columns, features),
        lambda array: np.copyto(array, np.moveaxis(weight[:, 0], 0, -1)[..., None, :]),
    )
    taps = taps.reshape(*kernel_size, -1)
    cuts = _row_blocks(size, features, len(x), context.lanes)
    shift = None
    if bias is not None:
        shift, refresh = repeated(context, bias, max(extent(cut)[-1] for cut in cuts))
        steps = steps + refresh
    source, target = np.moveaxis(x, 1, -1), np.moveaxis(out, 1, -1)  # (n, *s, c)
    finish = finish or nothing

    def make(item: tuple[int, Block]) -> list[Kernel]:
        image, block = item
        there = target[(image, *block)]
        result = there if _dense(there) else scratch(context, "result", there.shape, out.dtype)
        made = _block(op, source[image], taps, result, block, context)
        if shift is not None:
            made.append(partial(np.add, result, shift[: result.shape[-2]], there))
        elif result is not there:
            made.append(partial(np.copyto, there, result))
        return made + finish((slice(image, image + 1), slice(None), *block))

    items = list(itertools.product(range(len(x)), cuts))
    return steps + spread(context, items, make, out.size * math.prod(kernel_size) // 32)


def repeated(context: Context, bias: Array, columns: int) -> tuple[Array, list[Kernel]]:
    """One number a channel as a row (columns, c) of channels-last memory, and the steps that refresh it."""
    shape = (columns, len(bias))
    return prepared(context, bias, ("row", columns), shape, lambda row: np.copyto(row, bias))


def _row_blocks(size: Sequence[int], features: int, images: int, lanes: int) -> list[Block]:
    """The output places of an image in blocks of about equal size, at least one block a lane."""
    pieces = -(-math.prod(size) * features // BLOCK_ELEMENTS)
    if images % lanes:
        pieces = -(-pieces // lanes) * lanes
    pieces = min(size[0], pieces)
    whole = [slice(0, count) for count in size[1:]]
    return [(slice(size[0] * i // pieces, size[0] * (i + 1) // pieces), *whole) for i in range(pieces)]


def _dense(rows: Array) -> bool:
    """Whether the columns of (*s, c) follow one another without gaps."""
    return bool(rows.strides[-1] == rows.itemsize and rows.strides[-2] == rows.shape[-1] * rows.itemsize)


def _block(
    op: Convolution, x: Array, taps: Array, out: Array, block: Block, context: Context
) -> list[Kernel]:
    """Image x (*s, c) -> out (*block, c): directly, or from a copy with a border of zeros.

    Without a copy the places whose windows stick out of the input are regions of their own.
    """
    features = out.shape[-1]
    geometry = list(zip(block, x.shape, taps.shape, op.stride, op.dilation, op.padding, strict=False))
    windows = [
        (piece.start * stride - before, (piece.stop - 1) * stride + dilation * (k - 1) + 1 - before)
        for piece, _, k, stride, dilation, (before, _) in geometry
    ]
    spans = [
        _spans(count, limit, k, stride, dilation, start)
        for count, (start, _), (_, limit, k, stride, dilation, _) in zip(
            extent(block), windows, geometry, strict=True
        )
    ]
    regions = math.prod(map(len, spans))
    steps: list[Kernel] = []
    expanded = x.shape[-1] != features
    covered = math.prod(stop - start for start, stop in windows) * features
    if expanded or not _dense(x) or (regions - 1) * REGION_ELEMENTS > covered:
        x, steps = _bordered(x, windows, features, context)
        windows = [(0, stop - start) for start, stop in windows]
        spans = [
            [Span(slice(0, count), slice(0, k))] for count, k in zip(extent(block), taps.shape, strict=False)
        ]
    for region in itertools.product(*spans):
        steps += _region(op, x, taps, out, region, [start for start, _ in windows])
    return steps


def _spans(count: int, limit: int, k: int, stride: int, dilation: int, start: int) -> list[Span]:
    """`count` places in groups: place p has tap t at start + p * stride + t * dilation of `limit`."""
    spans: list[Span] = []
    inside = range(max(0, -(start // stride)), (limit - 1 - dilation * (k - 1) - start) // stride + 1)
    place = 0
    while place < count:
        if inside.start <= place < inside.stop:
            stop, piece = min(count, inside.stop), slice(0, k)
        else:
            at = start + place * stride
            first, last = max(0, -(at // dilation)), min(k, (limit - 1 - at) // dilation + 1)
            stop, piece = place + 1, slice(first, last) if first < last else slice(0, 0)
        if spans and spans[-1].taps == piece:
            place, piece = spans[-1].places.start, spans.pop().taps
        spans.append(Span(slice(place, stop), piece))
        place = stop
    return spans


def _bordered(
    x: Array, windows: Sequence[tuple[int, int]], features: int, context: Context
) -> tuple[Array, list[Kernel]]:
    """What the windows of a block cover, with zeros outside the image, each channel repeated as needed."""
    inside, borders = [], []
    for (start, stop), limit in zip(windows, x.shape, strict=False):
        first, last = max(0, start), min(limit, stop)
        if first >= last:
            first = last = 0
            borders.append((stop - start, 0))
        else:
            borders.append((first - start, stop - last))
        inside.append(slice(first, last))
    part = x[(*inside, slice(None), None)]  # (*s, g, 1)
    shape = (*extent(tuple(inside)), x.shape[-1], features // x.shape[-1])
    buffer, middle = padded(context, shape, (*borders, (0, 0), (0, 0)), x.dtype)
    return buffer.reshape(*buffer.shape[:-2], features), [partial(np.copyto, middle, part)]


def _region(
    op: Convolution, x: Array, taps: Array, out: Array, region: Sequence[Span], starts: Sequence[int]
) -> list[Kernel]:
    """x (*s, c), weights (*k, run) -> the region of out (*s', c), its columns cut into runs."""
    result = out[tuple(span.places for span in region)]
    weights = taps[tuple(span.taps for span in region)]
    if 0 in weights.shape:
        return [partial(np.copyto, result, 0)]
    features, width = out.shape[-1], result.shape[-2]
    most = taps.shape[-1] // features
    columns = -(-width // -(-width // most))
    at = [
        start + span.places.start * stride + span.taps.start * dilation
        for start, span, stride, dilation in zip(starts, region, op.stride, op.dilation, strict=True)
    ]
    corner = x[tuple(slice(place, None) for place in at)]
    moves = [step * stride for step, stride in zip(corner.strides, op.stride, strict=False)]
    jumps = [step * dilation for step, dilation in zip(corner.strides, op.dilation, strict=False)]
    rank = len(region)
    kernel_axes, axes = "abcdefgh"[:rank], "stuvwxyz"[:rank]
    subscripts = f"{kernel_axes}{axes}r,{kernel_axes}r->{axes}r"
    steps: list[Kernel] = []
    for first, pieces, wide in (
        (0, width // columns, columns),
        (width - width % columns, 1, width % columns),
    ):
        if not wide:
            continue
        run = wide * features
        view = as_strided(
            corner[(*(slice(None) for _ in range(rank - 1)), slice(first, None))],
            (*weights.shape[:-1], *result.shape[:-2], pieces, run),
            (*jumps, *moves[:-1], moves[-1] * wide, x.itemsize),
            writeable=False,
        )
        into = result[..., first : first + pieces * wide, :]
        into = into.reshape(*into.shape[:-2], pieces, run)
        steps.append(partial(np.einsum, subscripts, view, weights[..., :run], out=into))
    return steps
