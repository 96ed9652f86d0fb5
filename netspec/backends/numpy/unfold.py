"""Convolution as a matrix product over unfolded windows (im2col), a block at a time while it is in the cache.

Axis letters: b images, g groups, c input channels of a group, o output channels of a group, k kernel taps,
p output places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import as_strided

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import (
    blocks,
    bordered,
    extent,
    prepared,
    scratch,
    spread,
    viewed,
)
from netspec.backends.numpy.finish import Finish
from netspec.operations import Convolution

UNFOLD_BYTES = 1 << 19
"""Unfolded windows of one block: small enough to be read by the product while still in the cache."""

LANE_BYTES = 1 << 22
"""The same where several threads work: fewer, longer steps are worth more than the second-level cache."""

FEWEST_PLACES = 256
"""Each product packs the weights anew: this many places are worth it."""

FEW_PLACES = 128
"""Below this many places lanes share the output channels instead: each then reads its own weights only."""


def places_per_block(depth: int, features: int, itemsize: int) -> int:
    """Output places of which windows and results stay in the cache."""
    return max(FEWEST_PLACES, UNFOLD_BYTES // max(1, itemsize * (depth + features)))


# --- channels side by side --------------------------------------------------------------------------


def unfolded(
    op: Convolution,
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    context: Context,
    finish: Finish,
) -> list[Kernel]:
    """x (b, g*c, *s) -> out (b, g*o, *s'), windows gathered as runs of channels."""
    groups, kernel_size, size = op.groups, weight.shape[2:], out.shape[2:]
    depth = math.prod(kernel_size) * weight.shape[1]
    features = out.shape[1] // groups
    weights, refresh = prepared(
        context, weight, ("columns", groups), (groups, depth, features), partial(_as_columns, weight)
    )
    source, target = np.moveaxis(x, 1, -1), np.moveaxis(out, 1, -1)
    limit = places_per_block(depth * groups, out.shape[1], x.itemsize)
    total = math.prod(size)
    shares = [slice(0, features)]
    if len(x) * total < FEW_PLACES and context.lanes > 1 and features >= 32:
        shares = _shares(features, context.lanes)
    elif context.lanes > 1:
        # long steps, since threads that meet over the interpreter wait for each other; a share each
        most = LANE_BYTES // max(1, x.itemsize * (depth * groups + out.shape[1]))
        rounds = -(-len(x) * total // max(1, context.lanes * most))
        limit = max(48, -(-len(x) * total // (rounds * context.lanes)))
    images = max(1, min(len(x), limit // max(1, total)))
    items = [
        (slice(first, min(first + images, len(x))), block, share)
        for share in shares
        for first in range(0, len(x), images)
        for block in blocks(size, max(1, limit // images))
    ]

    def make(item: tuple[slice, tuple[slice, ...], slice]) -> list[Kernel]:
        images, block, share = item
        columns, steps = _gather(op, source[images], kernel_size, block, groups, context)
        w = weights[:, :, share]
        channels = slice(None) if groups > 1 else share
        place = target[(images, *block)]  # (b, *block, g*o)
        shift = None if bias is None else bias
        if groups == 1:
            place = place[..., share]
            shift = None if bias is None else bias[share]
            direct = (
                viewed(place, (len(columns[0]), w.shape[2])) if place.strides[-1] == place.itemsize else None
            )
            if direct is not None and np.may_share_memory(direct, out):
                steps.append(partial(np.matmul, columns[0], w[0], direct))
                if shift is not None:
                    steps.append(partial(np.add, direct, shift, direct))
                return steps + finish((images, channels, *block))
        product = scratch(context, "product", (groups, columns.shape[1], w.shape[2]), out.dtype)
        steps.append(partial(np.matmul, columns, w, product))
        result = product.transpose(1, 0, 2).reshape(place.shape) if groups == 1 else None
        if result is None:
            split = as_strided(  # (b, *block, g, o)
                place,
                (*place.shape[:-1], groups, features),
                (*place.strides[:-1], place.strides[-1] * features, place.strides[-1]),
            )
            result = np.moveaxis(product.reshape(groups, *place.shape[:-1], features), 0, -2)
            place, shift = split, None if bias is None else bias.reshape(groups, features)
        steps.append(
            partial(np.copyto, place, result) if shift is None else partial(np.add, result, shift, place)
        )
        return steps + finish((images, channels, *block))

    return [*refresh, *spread(context, items, make, out.size * depth // 32)]


def _shares(features: int, lanes: int) -> list[slice]:
    """Output channels in one piece a lane, multiples of 16 where possible."""
    width = -(-features // lanes)
    width = -(-width // 16) * 16
    return [slice(start, min(start + width, features)) for start in range(0, features, width)]


def _as_columns(weight: Array, out: Array) -> None:
    """weight (g*o, c, *k) -> out (g, k*c, o)."""
    groups, _, features = out.shape
    by_group = weight.reshape(groups, features, weight.shape[1], -1)  # (g, o, c, k)
    out.reshape(groups, -1, weight.shape[1], features)[...] = by_group.transpose(0, 3, 2, 1)


def _gather(
    op: Convolution,
    source: Array,
    kernel_size: Sequence[int],
    block: Sequence[slice],
    groups: int,
    context: Context,
) -> tuple[Array, list[Kernel]]:
    """Windows of the block's places as a matrix (g, b*p, k*c), and the steps that fill it."""
    spans = []
    for piece, k, stride, dilation, pad in zip(
        block, kernel_size, op.stride, op.dilation, op.padding, strict=True
    ):
        first = piece.start * stride - pad[0]
        spans.append((first, first + (piece.stop - piece.start - 1) * stride + (k - 1) * dilation + 1))
    part, steps = bordered(context, source, spans)
    sizes = extent(tuple(block))
    image, *each, channel = part.strides
    per_group = part.shape[-1] // groups
    windows = as_strided(
        part,
        (groups, len(part), *sizes, *kernel_size, per_group),
        (
            channel * per_group,
            image,
            *(stride * s for stride, s in zip(op.stride, each, strict=True)),
            *(dilation * s for dilation, s in zip(op.dilation, each, strict=True)),
            channel,
        ),
        writeable=False,
    )  # (g, b, *block, *k, c)
    shape = (groups, len(part) * math.prod(sizes), math.prod(kernel_size) * per_group)
    matrix = viewed(windows, shape)
    if matrix is not None and np.may_share_memory(matrix, part):
        return matrix, steps
    columns = scratch(context, "columns", shape, part.dtype)
    return columns, [*steps, partial(np.copyto, columns.reshape(windows.shape), windows)]
