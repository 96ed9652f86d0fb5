"""Convolution and transposed convolution as matrix products over unfolded windows.

The algorithm is chosen for the shape when the kernel is bound (`_choose`). Axis letters: n images,
g groups, c input channels of a group, o output channels of a group, k kernel taps, p output places.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import as_strided

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import (
    CACHE_ELEMENTS,
    SCRATCH_BYTES,
    blocks,
    collected,
    compact,
    extent,
    padded,
    reshaped,
    scratch,
    sequence,
    tap,
    viewed,
)
from netspec.backends.numpy.registry import kernel
from netspec.operations import Convolution, TransposedConvolution

UNFOLD_BYTES = 1 << 20
"""Unfolded windows of one block: small enough to be read by the product while still in the cache."""

MERGE_PLACES = 512
"""Below this many output places an image, the images of a batch share one product."""

Algorithm = Callable[[Convolution, Array, Array, "Array | None", Array, Context], list[Kernel]]


@kernel(Convolution)
def convolution(
    op: Convolution, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
) -> Kernel:
    """x (n, g*c, *s), weight (g*o, c, *k), [bias (g*o,)] -> (n, g*o, *s')."""
    x, weight, *bias = inputs
    (out,) = outputs
    if out.size == 0:
        return sequence()
    weight, before = compact(context, "weight", weight)
    after: list[Kernel] = []
    if viewed(out[0], (out.shape[1], -1)) is None:
        out, after = collected(context, "out", out)
    algorithm = _choose(op, x.shape, weight.shape, out.shape)
    return sequence(before, algorithm(op, x, weight, bias[0] if bias else None, out, context), after)


def _choose(op: Convolution, x: tuple[int, ...], weight: tuple[int, ...], out: tuple[int, ...]) -> Algorithm:
    """The algorithm for these shapes."""
    places = math.prod(out[2:])
    if weight[1] == 1 and op.groups > 1:
        return _depthwise
    if math.prod(weight[2:]) == 1 and not any(map(any, op.padding)) and (out[0] == 1 or places >= 64):
        return _pointwise
    return _unfolded


def _pointwise(
    op: Convolution, x: Array, weight: Array, bias: Array | None, out: Array, context: Context
) -> list[Kernel]:
    """Kernel size 1 without padding: one product an image and group, nothing unfolded."""
    n, groups, places = len(x), op.groups, math.prod(out.shape[2:])
    x = x[(..., *(slice(None, None, stride) for stride in op.stride))]
    w = weight.reshape(groups, -1, weight.shape[1])  # (o_all, c, 1..) -> (g, o, c)
    steps: list[Kernel] = []
    for image in range(n):
        source, load = compact(context, "x", x[image], (groups, -1, places))  # (g, c, p)
        target = reshaped(out[image], (groups, -1, places))  # (g, o, p)
        steps += [*load, partial(np.matmul, w, source, target)]
        if bias is not None:
            steps.append(partial(np.add, target, bias.reshape(groups, -1, 1), target))
    return steps


def _depthwise(
    op: Convolution, x: Array, weight: Array, bias: Array | None, out: Array, context: Context
) -> list[Kernel]:
    """One input channel a group: multiply and add tap by tap, a few channels at a time."""
    groups, kernel_size, size = op.groups, weight.shape[2:], out.shape[2:]
    ones = (1,) * len(size)
    w = weight.reshape(groups, -1, *kernel_size)  # (g, o, *k)
    each = w.shape[1]
    steps: list[Kernel] = []
    limit = max(1, CACHE_ELEMENTS // math.prod(size) // each)
    for image, (channels,) in itertools.product(range(len(x)), blocks((groups,), limit)):
        source = x[image, channels]  # (b, *s)
        if any(map(any, op.padding)):
            buffer, inside = padded(context, source.shape, ((0, 0), *op.padding), x.dtype)
            steps.append(partial(np.copyto, inside, source))
            source = buffer
        target = out[image, channels.start * each : channels.stop * each]  # (b*o, *s')
        target = reshaped(target, (-1, each, *size))  # (b, o, *s')
        product = scratch(context, "product", target.shape, out.dtype)
        for number, place in enumerate(itertools.product(*map(range, kernel_size))):
            window = source[
                (
                    slice(None),
                    None,
                    *(
                        slice(k * d, k * d + (count - 1) * s + 1, s)
                        for k, d, s, count in zip(place, op.dilation, op.stride, size, strict=True)
                    ),
                )
            ]  # (b, 1, *s')
            factor = w[(channels, slice(None), *place)].reshape(-1, each, *ones)
            steps.append(partial(np.multiply, window, factor, product if number else target))
            if number:
                steps.append(partial(np.add, target, product, target))
        if bias is not None:
            shift = bias.reshape(groups, each, *ones)[channels]
            steps.append(partial(np.add, target, shift, target))
    return steps


def _unfolded(
    op: Convolution, x: Array, weight: Array, bias: Array | None, out: Array, context: Context
) -> list[Kernel]:
    """im2col in blocks, each multiplied while it is in the cache.

    Large images are cut into output rows; small ones are put side by side in one product.
    """
    groups, kernel_size, size = op.groups, weight.shape[2:], out.shape[2:]
    places, depth = math.prod(size), weight.shape[1] * math.prod(kernel_size)
    w = weight.reshape(groups, -1, depth)  # (g, o, c*k)
    row_bytes = groups * depth * x.itemsize
    merged = 1
    if places < MERGE_PLACES:
        merged = max(1, min(len(x), 4 * UNFOLD_BYTES // max(1, row_bytes * places)))
    limit = max(64, min(UNFOLD_BYTES * 4, SCRATCH_BYTES) // max(1, row_bytes))
    shift = None if bias is None else bias.reshape(groups, -1, 1)
    steps: list[Kernel] = []
    for first in range(0, len(x), merged):
        images = x[first : first + merged]
        if any(map(any, op.padding)):
            buffer, inside = padded(context, images.shape, ((0, 0), (0, 0), *op.padding), x.dtype)
            steps.append(partial(np.copyto, inside, images))
            images = buffer
        windows = _windows(op, images, kernel_size, size)  # (g, c, *k, b, *s')
        target = out[first : first + merged]
        if merged > 1:
            steps += _merged_product(w, windows, target, shift, context)
            continue
        flat = reshaped(target[0], (groups, -1, places))  # (g, o, p)
        start = 0
        for block in blocks(size, limit):
            part = windows[(..., 0, *block)]  # (g, c, *k, *block)
            columns = scratch(context, "columns", part.shape, x.dtype)
            stop = start + math.prod(extent(block))
            result = flat[:, :, start:stop]
            matrix = columns.reshape(groups, depth, stop - start)  # (g, c*k, p of the block)
            steps += [partial(np.copyto, columns, part), partial(np.matmul, w, matrix, result)]
            if shift is not None:
                steps.append(partial(np.add, result, shift, result))
            start = stop
    return steps


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
    steps = [partial(np.copyto, columns, windows), partial(np.matmul, w, matrix, product)]
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


@kernel(TransposedConvolution)
def transposed_convolution(
    op: TransposedConvolution, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
) -> Kernel:
    """x (n, g*c, *s), weight (g*c, o, *k), [bias (g*o,)] -> (n, g*o, *s').

    One product gives every input place's contribution to every tap; each tap is then added to the
    places it falls on.
    """
    x, weight, *bias = inputs
    (out,) = outputs
    if out.size == 0:
        return sequence()
    groups, kernel_size, size = op.groups, weight.shape[2:], x.shape[2:]
    weight, before = compact(context, "weight", weight)
    w = weight.reshape(groups, weight.shape[0] // groups, -1).swapaxes(1, 2)  # (g, o*k, c)
    shift = bias[0].reshape(-1, *(1 for _ in size)) if bias else 0
    steps: list[Kernel] = [partial(np.copyto, out, shift)]
    target = reshaped(out, (len(out), groups, -1, *out.shape[2:]))  # (n, g, o, *s')
    rows = groups * w.shape[1] * x.itemsize
    for image, block in itertools.product(range(len(x)), blocks(size, max(64, UNFOLD_BYTES * 4 // rows))):
        source, load = compact(context, "x", x[(image, slice(None), *block)], (groups, w.shape[2], -1))
        product = scratch(context, "product", (groups, w.shape[1], source.shape[2]), x.dtype)
        taps = product.reshape(groups, -1, *kernel_size, *extent(block))  # (g, o, *k, *block)
        steps += [*load, partial(np.matmul, w, source, product)]
        for place in itertools.product(*map(range, kernel_size)):
            offsets = [
                piece.start * s + k * d - p
                for piece, s, k, d, p in zip(block, op.stride, place, op.dilation, op.padding, strict=True)
            ]
            hits = [
                tap(count, offset, s, limit)
                for count, offset, s, limit in zip(
                    extent(block), offsets, op.stride, out.shape[2:], strict=True
                )
            ]
            into = target[(image, slice(None), slice(None), *(there for _, there in hits))]
            if into.size:
                part = taps[(slice(None), slice(None), *place, *(here for here, _ in hits))]
                steps.append(partial(np.add, into, part, into))
    return sequence(before, steps)
