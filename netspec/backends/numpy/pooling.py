"""Pooling: windows are swept one axis after the other, a few planes at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel, KernelError
from netspec.backends.numpy.arrays import (
    CACHE_ELEMENTS,
    along,
    blocks,
    collected,
    compact,
    reshaped,
    scratch,
    sequence,
    tap,
)
from netspec.backends.numpy.registry import kernel
from netspec.operations import AdaptiveAveragePool, AdaptiveMaxPool, AveragePool, MaxPool, MaxUnpool

Taps = list[tuple[slice, slice]]
"""For each kernel tap along one axis: the outputs whose window has it inside the input, and where."""


@kernel(MaxPool)
def max_pool(op: MaxPool, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x (n, c, *s) -> values (n, c, *s') [, indices]."""
    (x,), out = inputs, outputs[0]
    windows = list(zip(op.kernel_size, op.stride, op.padding, op.dilation, strict=True))
    taps = [
        [tap(count, k * dilation - pad, stride, size) for k in range(width)]
        for (width, stride, pad, dilation), count, size in zip(
            windows, out.shape[2:], x.shape[2:], strict=True
        )
    ]
    if len(outputs) == 1:
        return sequence(_sweep(np.maximum, _lowest(x.dtype), taps, x, out, context))
    starts = [
        np.arange(count) * stride - pad
        for (_, stride, pad, _), count in zip(windows, out.shape[2:], strict=True)
    ]
    # the first place of a window that lies inside the input
    firsts = [
        start + -(np.minimum(start, 0) // dilation) * dilation
        for start, (_, _, _, dilation) in zip(starts, windows, strict=True)
    ]
    steps: list[Kernel] = []
    for block in blocks(out.shape, CACHE_ELEMENTS, keep=range(2, out.ndim)):
        best, index = (array[block[:2]] for array in outputs)
        steps += [
            partial(np.copyto, best, _lowest(x.dtype)),
            partial(np.copyto, index, _flat(firsts, x.shape[2:])),
        ]
        scratches = _Comparison(context, best.shape, x.dtype)
        for place in itertools.product(*(range(len(axis)) for axis in taps)):
            pieces = [axis[k] for axis, k in zip(taps, place, strict=True)]
            here, there = ((..., *(piece[side] for piece in pieces)) for side in (0, 1))
            if best[here].size == 0:
                continue
            offsets = [k * window[3] for k, window in zip(place, windows, strict=True)]
            source = [s[piece[0]] + o for s, piece, o in zip(starts, pieces, offsets, strict=True)]
            flat = _flat(source, x.shape[2:])
            steps.append(scratches.step(best[here], index[here], x[block[:2]][there], flat))
    return sequence(steps)


class _Comparison:
    """Takes over larger values, the first of equal ones, and every NaN, so that the last NaN stays."""

    def __init__(self, context: Context, shape: Sequence[int], dtype: Any) -> None:
        self.masks = [scratch(context, f"mask{i}", (math.prod(shape),), np.bool_) for i in range(2)]
        self.floating = dtype.kind == "f"

    def step(self, best: Array, index: Array, value: Array, flat: Array) -> Kernel:
        better, other = (mask[: best.size].reshape(best.shape) for mask in self.masks)
        floating = self.floating

        def run() -> None:
            np.greater(value, best, out=better)
            if floating:
                np.isnan(value, out=other)
                np.logical_or(better, other, out=better)
            np.copyto(best, value, where=better)
            np.copyto(index, flat, where=better)

        return run


def _flat(places: Sequence[Array], sizes: Sequence[int]) -> Array:
    """The flat index in a plane of the outer product of places along its axes."""
    total: Any = 0
    for place, size in zip(places, sizes, strict=True):
        total = np.asarray(total)[..., None] * size + place
    return total


def _lowest(dtype: Any) -> Any:
    """What a maximum starts from."""
    if dtype.kind == "f":
        return dtype.type(-np.inf)
    return dtype.type(False) if dtype.kind == "b" else np.iinfo(dtype).min


def _sweep(
    combine: Any, start: Any, taps: Sequence[Taps], x: Array, out: Array, context: Context
) -> list[Kernel]:
    """`combine` over separable windows: x (n, c, *s) -> out (n, c, *s'), one axis after the other."""
    steps: list[Kernel] = []
    limit = max(1, CACHE_ELEMENTS // max(1, math.prod(x.shape[2:])))
    if out.size == 0:
        return steps
    for block in blocks(out.shape[:2], limit):
        source, target = x[block], out[block]
        for axis in range(2, x.ndim):
            shape = (*target.shape[: axis + 1], *x.shape[axis + 1 :])
            last = axis == x.ndim - 1
            result = target if last else scratch(context, f"axis{axis}", shape, out.dtype)
            steps += _sweep_axis(combine, start, taps[axis - 2], axis, source, result)
            source = result
    return steps


def _sweep_axis(
    combine: Any, start: Any, taps: Taps, axis: int, source: Array, result: Array
) -> list[Kernel]:
    """Combines the shifted copies of `source` along one axis into `result`."""
    count = result.shape[axis]
    whole = [along(axis, there) for here, there in taps if here == slice(0, count)]
    partly = [
        (along(axis, here), along(axis, there))
        for here, there in taps
        if here != slice(0, count) and here.stop > here.start
    ]
    if len(whole) > 1:
        steps: list[Kernel] = [partial(combine, source[whole[0]], source[whole[1]], out=result)]
    elif whole:
        steps = [partial(np.copyto, result, source[whole[0]])]
    else:
        steps = [partial(np.copyto, result, start)]
    steps += [partial(combine, result, source[there], out=result) for there in whole[2:]]
    steps += [partial(combine, result[here], source[there], out=result[here]) for here, there in partly]
    return steps


@kernel(AveragePool)
def average_pool(
    op: AveragePool, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
) -> Kernel:
    """Sums swept axis by axis, then one division."""
    (x,), (out,) = inputs, outputs
    taps: list[Taps] = []
    divisor: Any = 1
    for width, stride, pad, count, size in zip(
        op.kernel_size, op.stride, op.padding, out.shape[2:], x.shape[2:], strict=True
    ):
        taps.append([tap(count, k - pad, stride, size) for k in range(width)])
        start = np.arange(count) * stride - pad
        stop = np.minimum(start + width, size + pad)
        if not op.count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, size)
        divisor = np.asarray(divisor)[..., None] * np.maximum(stop - start, 1)  # outer product, (*s')
    if op.divisor is not None:
        divisor = op.divisor
    return sequence(
        _sweep(np.add, out.dtype.type(0), taps, x, out, context), [_division(out, divisor, context)]
    )


def _division(out: Array, divisor: Any, context: Context) -> Kernel:
    """out / divisor in place, towards zero for integers."""
    divisor = np.asarray(divisor).astype(out.dtype)
    if out.dtype.kind in "fc":
        return partial(np.divide, out, divisor, out)
    rest = scratch(context, "rest", out.shape, out.dtype)

    def run() -> None:
        np.fmod(out, divisor, out=rest)
        np.subtract(out, rest, out=out)
        np.floor_divide(out, divisor, out=out)

    return run


def _adaptive_windows(size: int, count: int) -> tuple[Array, Array]:
    """Starts and stops of the windows that share `size` places among `count` outputs."""
    place = np.arange(count)
    return place * size // max(count, 1), -(-(place + 1) * size // max(count, 1))


def adaptive_average(x: Array, out: Array, context: Context) -> Kernel:
    """Sums window by window along each axis, then one division."""
    divisor: Any = 1
    steps: list[Kernel] = []
    if out.size == 0:
        return sequence()
    source = x
    for axis in range(2, x.ndim):
        starts, stops = _adaptive_windows(x.shape[axis], out.shape[axis])
        divisor = np.asarray(divisor)[..., None] * (stops - starts)  # (*s')
        shape = (*out.shape[: axis + 1], *x.shape[axis + 1 :])
        result = out if axis == x.ndim - 1 else scratch(context, f"axis{axis}", shape, out.dtype)
        for i, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            piece, place = source[along(axis, slice(start, stop))], result[along(axis, i)]
            steps.append(partial(np.add.reduce, piece, axis, out.dtype, place))
        source = result
    return sequence(steps, [_division(out, divisor, context)])


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
    """Maximum over the same windows; with indices, place by place of a window for all windows at once."""
    (x,), out = inputs, outputs[0]
    if out.size == 0:
        return sequence()
    windows = [_adaptive_windows(*sizes) for sizes in zip(x.shape[2:], out.shape[2:], strict=True)]
    if len(outputs) == 2:
        return _adaptive_max_indices(x, outputs, windows, context)
    steps: list[Kernel] = []
    source = x
    for axis, (starts, stops) in enumerate(windows, 2):
        shape = (*out.shape[: axis + 1], *x.shape[axis + 1 :])
        result = out if axis == x.ndim - 1 else scratch(context, f"axis{axis}", shape, out.dtype)
        for i, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            piece, place = source[along(axis, slice(start, stop))], result[along(axis, i)]
            steps.append(partial(np.maximum.reduce, piece, axis, None, place))
        source = result
    return sequence(steps)


def _adaptive_max_indices(
    x: Array, outputs: Sequence[Array], windows: Sequence[tuple[Array, Array]], context: Context
) -> Kernel:
    """Shorter windows repeat their last place, which changes neither the value nor the index."""
    values, indices = outputs
    best, after = collected(context, "best", values)
    index, more = collected(context, "index", indices)
    x, before = compact(context, "x", x)
    compare = _Comparison(context, best.shape, x.dtype)
    firsts = [starts for starts, _ in windows]
    steps: list[Kernel] = [
        partial(np.copyto, best, _lowest(x.dtype)),
        partial(np.copyto, index, _flat(firsts, x.shape[2:])),
    ]
    lengths = [range(int((stops - starts).max())) for starts, stops in windows]

    def visit(source: Array, axis: int, places: list[Array]) -> None:
        if axis == x.ndim:
            steps.append(compare.step(best, index, source, _flat(places, x.shape[2:])))
            return
        starts, stops = windows[axis - 2]
        shape = (*source.shape[:axis], len(starts), *source.shape[axis + 1 :])
        taken = scratch(context, f"axis{axis}", shape, x.dtype)
        for t in lengths[axis - 2]:
            place = np.minimum(starts + t, stops - 1)
            steps.append(partial(source.take, place, axis, taken, "clip"))
            visit(taken, axis + 1, [*places, place])

    visit(x, 2, [])
    return sequence(before, steps, after, more)


@kernel(MaxUnpool, exact=True)
def max_unpool(op: MaxUnpool, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Scatters x to its flat indices in planes of zeros; of repeated indices the last one stays."""
    x, index = inputs
    (out,) = outputs
    if out.ndim < 3:
        raise ValueError(f"MaxUnpool needs (n, c, *s), got {out.ndim} axes")
    planes, size = math.prod(out.shape[:2]), math.prod(out.shape[2:])
    target, after = collected(context, "out", out, (planes * size,))
    x, before = compact(context, "x", x, (math.prod(x.shape),))
    place = scratch(context, "place", index.shape, np.int64)
    base = (np.arange(planes) * size).reshape(*index.shape[:2], *(1 for _ in index.shape[2:]))
    flat = reshaped(place, (math.prod(index.shape),))

    def run() -> None:
        np.copyto(target, 0)
        if not index.size or not size:  # torch leaves an empty plane without looking at the indices
            return
        low, high = index.min(), index.max()
        if low < 0 or high >= size:
            wrong = low if low < 0 else high
            raise KernelError(f"index {wrong} is outside the output plane of {size} elements")
        np.add(index, base, out=place)
        target[flat] = x

    return sequence(before, [run], after)
