"""Convolution on planes (n, c, *s): for few channels, whose runs are too short to be kept side by side.

Axis letters: n images, g groups, c input channels of a group, o output channels of a group, k kernel taps,
p output places.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import as_strided

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import (
    blocks,
    compact,
    extent,
    padded,
    prepared,
    reshaped,
    scratch,
    spread,
    viewed,
)
from netspec.backends.numpy.finish import Finish
from netspec.backends.numpy.unfold import places_per_block
from netspec.operations import Convolution

BLOCK_BYTES = 1 << 22
"""Unfolded windows of one block."""

MERGE_PLACES = 64
"""Below this many output places an image, the images of a batch share one product."""


def pointwise_planes(
    op: Convolution,
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    context: Context,
    finish: Finish,
) -> list[Kernel]:
    """Kernel size 1 without padding: one product an image and group, nothing unfolded."""
    groups, places = op.groups, math.prod(out.shape[2:])
    x = x[(..., *(slice(None, None, stride) for stride in op.stride))]
    w = weight.reshape(groups, -1, weight.shape[1])  # (g*o, c, 1..) -> (g, o, c)

    def make(image: int) -> list[Kernel]:
        source, steps = compact(context, "x", x[image], (groups, -1, places))  # (g, c, p)
        target = reshaped(out[image], (groups, -1, places))  # (g, o, p)
        steps = [*steps, partial(np.matmul, w, source, target)]
        if bias is not None:
            steps.append(partial(np.add, target, bias.reshape(groups, -1, 1), target))
        return steps + finish((slice(image, image + 1),))

    return spread(context, range(len(x)), make, out.size * w.shape[2] // 32)


def unfolded_planes(
    op: Convolution,
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    context: Context,
    finish: Finish,
) -> list[Kernel]:
    """im2col in blocks. Large images are cut into output rows; small ones are put side by side."""
    groups, kernel_size, size = op.groups, weight.shape[2:], out.shape[2:]
    places, depth = math.prod(size), weight.shape[1] * math.prod(kernel_size)
    w = weight.reshape(groups, -1, depth)  # (g, o, c*k)
    row_bytes = max(1, groups * depth * x.itemsize)
    limit = max(64, BLOCK_BYTES // row_bytes)
    images = max(1, min(-(-len(x) // context.lanes), BLOCK_BYTES // (row_bytes * places)))
    shift = None if bias is None else bias.reshape(groups, -1, 1)

    def make(first: int) -> list[Kernel]:
        part = x[first : first + images]
        steps: list[Kernel] = []
        if any(map(any, op.padding)):
            buffer, inside = padded(context, part.shape, ((0, 0), (0, 0), *op.padding), x.dtype)
            steps.append(partial(np.copyto, inside, part))
            part = buffer
        windows = _windows(op, part, kernel_size, size)  # (g, c, *k, b, *s')
        target = out[first : first + images]
        if places < MERGE_PLACES and images > 1:
            steps += _merged_product(w, windows, target, shift, context)
        else:
            each = np.moveaxis(windows, len(kernel_size) + 2, 0)  # (b, g, c, *k, *s')
            for block in blocks(size, limit):
                there = target[(slice(None), slice(None), *block)]
                steps += _block_product(w, each[(..., *block)], there, shift, context)
        return steps + finish((slice(first, first + images),))

    return spread(context, range(0, len(x), images), make, out.size * depth // 32)


def _block_product(
    w: Array, part: Array, target: Array, shift: Array | None, context: Context
) -> list[Kernel]:
    """Windows (b, g, c, *k, *block), a product an image and group, into target (b, g*o, *block)."""
    groups, features, depth = w.shape
    columns = scratch(context, "columns", part.shape, w.dtype)
    matrix = columns.reshape(len(part), groups, depth, -1)  # (b, g, c*k, p)
    result = reshaped(target, (len(part), groups, features, matrix.shape[3]))
    steps: list[Kernel] = [partial(np.copyto, columns, part), partial(np.matmul, w, matrix, result)]
    return steps if shift is None else [*steps, partial(np.add, result, shift, result)]


def _merged_product(
    w: Array, windows: Array, target: Array, shift: Array | None, context: Context
) -> list[Kernel]:
    """The windows of several images (g, c, *k, b, *s') through one product into target (b, g*o, *s')."""
    groups, features, depth = w.shape
    count, places = len(target), math.prod(target.shape[2:])
    columns = scratch(context, "columns", windows.shape, w.dtype)
    matrix = columns.reshape(groups, depth, count * places)  # (g, c*k, b*p)
    product = scratch(context, "product", (groups, features, count * places), w.dtype)
    swapped = product.reshape(groups, features, count, places).transpose(2, 0, 1, 3)  # (b, g, o, p)
    result = reshaped(target, (count, groups, features, places))
    steps: list[Kernel] = [partial(np.copyto, columns, windows), partial(np.matmul, w, matrix, product)]
    if shift is None:
        return [*steps, partial(np.copyto, result, swapped)]
    return [*steps, partial(np.add, swapped, shift, result)]


def _windows(op: Convolution, x: Array, kernel_size: Sequence[int], size: Sequence[int]) -> Array:
    """A view of padded x (b, g*c, *s) as (g, c, *k, b, *s')."""
    image, channel, *steps = x.strides
    per_group = x.shape[1] // op.groups
    taps = [step * dilation for step, dilation in zip(steps, op.dilation, strict=True)]
    moves = [step * stride for step, stride in zip(steps, op.stride, strict=True)]
    return as_strided(
        x,
        (op.groups, per_group, *kernel_size, len(x), *size),
        (channel * per_group, channel, *taps, image, *moves),
        writeable=False,
    )


# --- to channels side by side ------------------------------------------------------------------------


def unfolded_rows(
    op: Convolution,
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    context: Context,
    finish: Finish,
) -> list[Kernel]:
    """x (b, c, *s) of few channels -> out (b, o, *s') channels-last, for a picture's first layer.

    Windows are gathered as rows of places, one row a channel and tap; columns of the input are sorted by
    their remainder modulo the stride first, so that each row is one run.
    """
    kernel_size, size = weight.shape[2:], out.shape[2:]
    depth = math.prod(weight.shape[1:])
    features, total = out.shape[1], math.prod(size)
    origin = None if bias is None else context.origins.get(id(bias))
    inner = bias is not None and origin is not None  # the bias as one more row of weights
    weights, refresh = prepared(
        context,
        weight,
        ("rows", origin),
        (depth + inner, features),
        partial(_as_rows, weight, bias if inner else None),
    )
    target = np.moveaxis(out, 1, -1)
    limit = places_per_block(depth, features, x.itemsize)
    if context.lanes > 1:
        rounds = -(-total // (limit * 8 * context.lanes)) if len(x) < context.lanes else 1
        limit = max(48, -(-total // (rounds * context.lanes))) if len(x) < context.lanes else limit * 8
    keep = (len(size) - 1,)  # the last axis is never cut: it is the run
    items = list(itertools.product(range(len(x)), blocks(size, limit, keep=keep)))

    def make(item: tuple[int, tuple[slice, ...]]) -> list[Kernel]:
        image, block = item
        sizes = extent(block)
        columns = scratch(context, "columns", (len(weights), math.prod(sizes)), x.dtype)
        steps = _gather_rows(op, x[image], kernel_size, block, columns[:depth], context)
        if inner:
            steps.append(partial(columns[depth].fill, 1))
        place = target[(image, *block)]
        direct = viewed(place, (columns.shape[1], features))
        assert direct is not None
        steps.append(partial(np.matmul, columns.T, weights, direct))
        if bias is not None and not inner:
            steps.append(partial(np.add, direct, bias, direct))
        return steps + finish((slice(image, image + 1), slice(None), *block))

    return [*refresh, *spread(context, items, make, out.size * depth // 32)]


def _as_rows(weight: Array, bias: Array | None, out: Array) -> None:
    """weight (o, c, *k) -> out (k_last * c * k_others [+ 1], o): the last tap slowest, then the bias."""
    last = np.moveaxis(weight, -1, 0)  # (k_last, o, c, *k)
    depth = weight[0].size
    rows = out[:depth].reshape(len(last), -1, out.shape[1])
    rows[...] = last.reshape(len(last), len(weight), -1).transpose(0, 2, 1)
    if bias is not None:
        out[depth] = bias


def _gather_rows(
    op: Convolution,
    planes: Array,
    kernel_size: Sequence[int],
    block: Sequence[slice],
    columns: Array,
    context: Context,
) -> list[Kernel]:
    """Fill columns (k_last, c, *k_others, *block) from planes (c, *s)."""
    stride, dilation = op.stride[-1], op.dilation[-1]
    spans = []
    for piece, k, s, d, pad in zip(block, kernel_size, op.stride, op.dilation, op.padding, strict=True):
        first = piece.start * s - pad[0]
        spans.append((first, first + (piece.stop - piece.start - 1) * s + (k - 1) * d + 1))
    width = -(-(spans[-1][1] - spans[-1][0]) // stride)  # of one remainder class
    spans[-1] = (spans[-1][0], spans[-1][0] + width * stride)
    cut, borders = [], []
    for (first, last), size in zip(spans, planes.shape[1:], strict=True):
        start, stop = min(max(first, 0), size), min(max(last, 0), size)
        cut.append(slice(start, stop))
        borders.append((start - first, last - first - (start - first) - (stop - start)))
    part = planes[(slice(None), *cut)]
    buffer, inside = padded(context, part.shape, ((0, 0), *borders), part.dtype)
    steps: list[Kernel] = [partial(np.copyto, inside, part)]
    if stride > 1:
        sorted_ = scratch(context, "remainders", (stride, *buffer.shape[:-1], width), part.dtype)
        by_class = np.moveaxis(reshaped(buffer, (*buffer.shape[:-1], width, stride)), -1, 0)
        steps.append(partial(np.copyto, sorted_, by_class))
    else:
        sorted_ = buffer[None]
    sizes = extent(tuple(block))
    _, channel, *each, last_step = sorted_.strides
    rows = columns.reshape(kernel_size[-1], len(planes), *kernel_size[:-1], *sizes)
    for tap in range(kernel_size[-1]):
        offset = tap * dilation
        windows = as_strided(
            sorted_[offset % stride, ..., offset // stride :],
            (len(planes), *kernel_size[:-1], *sizes),
            (
                channel,
                *(d * s for d, s in zip(op.dilation[:-1], each, strict=True)),
                *(m * s for m, s in zip(op.stride[:-1], each, strict=True)),
                last_step,
            ),
            writeable=False,
        )
        steps.append(partial(np.copyto, rows[tap], windows))
    return steps
