"""Pooling kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import Block, along, scratch, sequence
from netspec.backends.numpy.pool_indices import adaptive_max_with_indices, lowest, max_with_indices, unpool
from netspec.backends.numpy.registry import kernel
from netspec.backends.numpy.sums import sum_over
from netspec.backends.numpy.sweep import Window, in_memory_order, sweep
from netspec.backends.strides import channels_inside
from netspec.operations import AdaptiveAveragePool, AdaptiveMaxPool, AveragePool, MaxPool, MaxUnpool


@kernel(MaxPool)
def max_pool(op: MaxPool, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x (n, c, *s) -> values (n, c, *s') [, indices]."""
    windows = [
        Window(*window) for window in zip(op.kernel_size, op.stride, op.padding, op.dilation, strict=True)
    ]
    (x,), out = inputs, outputs[0]
    if len(outputs) == 2:
        return sequence(max_with_indices(windows, x, outputs, context))
    return sequence(sweep(np.maximum, lowest(x.dtype), windows, x, out, context))


@kernel(AveragePool)
def average_pool(
    op: AveragePool, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
) -> Kernel:
    """Sums swept axis by axis, and one division of each block."""
    (x,), (out,) = inputs, outputs
    windows = [Window(*window) for window in zip(op.kernel_size, op.stride, op.padding, strict=True)]
    counts = []
    for window, count, size in zip(windows, out.shape[2:], x.shape[2:], strict=True):
        start = np.arange(count) * window.stride - window.padding
        stop = np.minimum(start + window.width, size + window.padding)
        if not op.count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, size)
        counts.append(np.maximum(stop - start, 1))
    return sequence(_averages(windows, counts, op.divisor, x, out, context))


@kernel(AdaptiveAveragePool)
def adaptive_average_pool(
    op: AdaptiveAveragePool, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
) -> Kernel:
    """Mean over overlapping windows that share the input out evenly."""
    return adaptive_average(inputs[0], outputs[0], context)


@kernel(AdaptiveMaxPool)
def adaptive_max_pool(
    op: AdaptiveMaxPool, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
) -> Kernel:
    """Maximum over the same windows [and its indices]."""
    (x,), out = inputs, outputs[0]
    if out.size == 0:
        return sequence()
    if len(outputs) == 2:
        ends = [_adaptive_ends(*sizes) for sizes in zip(x.shape[2:], out.shape[2:], strict=True)]
        return sequence(adaptive_max_with_indices(x, outputs, ends, context))
    if (windows := _even_windows(x, out)) is not None:
        return sequence(sweep(np.maximum, lowest(x.dtype), windows, x, out, context))
    return sequence(_adaptive(np.maximum, x, out, context))


@kernel(MaxUnpool, exact=True)
def max_unpool(op: MaxUnpool, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Scatters x to its flat indices in planes of zeros; of repeated indices the last one stays."""
    x, index = inputs
    return sequence(unpool(x, index, outputs[0], context))


def adaptive_average(x: Array, out: Array, context: Context) -> Kernel:
    """Sums of the windows that share the input out, and one division."""
    if out.size == 0:
        return sequence()
    axes = tuple(range(2, x.ndim))
    if math.prod(out.shape[2:]) == 1 and not channels_inside(x):
        steps = sum_over(x, axes, out, context)
        return sequence(steps, divided(out, math.prod(x.shape[2:]), context))
    if (windows := _even_windows(x, out)) is not None:
        counts = [np.full(size, window.width) for size, window in zip(out.shape[2:], windows, strict=True)]
        return sequence(_averages(windows, counts, None, x, out, context))
    divisor: Any = 1
    for sizes in zip(x.shape[2:], out.shape[2:], strict=True):
        starts, stops = _adaptive_ends(*sizes)
        divisor = np.asarray(divisor)[..., None] * (stops - starts)  # (*s')
    return sequence(_adaptive(np.add, x, out, context), divided(out, divisor, context))


def _averages(
    windows: Sequence[Window],
    counts: Sequence[Array],
    divisor: int | None,
    x: Array,
    out: Array,
    context: Context,
) -> list[Kernel]:
    """Sums swept axis by axis, each block divided by `divisor` or by the product of the counts."""
    first, _ = in_memory_order(x)
    total: Any = 1
    for count in counts:
        total = np.asarray(total)[..., None] * count  # outer product, (*s')
    even = divisor is not None or (total == total.flat[0]).all()
    if first == 1:
        total = total[..., None]  # (*s', 1)

    def after(block: Block, target: Array) -> list[Kernel]:
        return divided(target, (divisor or total.flat[0]) if even else total[block[first]], context)

    return sweep(np.add, out.dtype.type(0), windows, x, out, context, after)


def divided(out: Array, divisor: Any, context: Context) -> list[Kernel]:
    """out / divisor in place, towards zero for integers."""
    divisor = np.asarray(divisor).astype(out.dtype)
    if divisor.ndim == 0 and divisor == 1:
        return []
    if out.dtype.kind in "fc":
        return [partial(np.divide, out, divisor, out)]
    rest = scratch(context, "rest", out.shape, out.dtype)
    return [
        partial(np.fmod, out, divisor, rest),
        partial(np.subtract, out, rest, out),
        partial(np.floor_divide, out, divisor, out),
    ]


def _even_windows(x: Array, out: Array) -> list[Window] | None:
    """The windows that share x out among `out`, if all of an axis are equal and side by side."""
    sizes = list(zip(x.shape[2:], out.shape[2:], strict=True))
    if any(count == 0 or size % count for size, count in sizes):
        return None
    return [Window(size // count, size // count) for size, count in sizes]


def _adaptive_ends(size: int, count: int) -> tuple[Array, Array]:
    """Starts and stops of the windows that share `size` places among `count` outputs."""
    place = np.arange(count)
    return place * size // max(count, 1), -(-(place + 1) * size // max(count, 1))


def _adaptive(combine: Any, x: Array, out: Array, context: Context) -> list[Kernel]:
    """Window by window along each axis."""
    steps: list[Kernel] = []
    first, (source, out) = in_memory_order(x, out)
    for axis in range(first, first + x.ndim - 2):
        starts, stops = _adaptive_ends(source.shape[axis], out.shape[axis])
        shape = (*out.shape[: axis + 1], *source.shape[axis + 1 :])
        last = axis == first + x.ndim - 3
        result = out if last else scratch(context, f"axis{axis}", shape, out.dtype)
        for i, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            piece, place = source[along(axis, slice(start, stop))], result[along(axis, i)]
            steps.append(partial(combine.reduce, piece, axis, out.dtype, place))
        source = result
    return steps
