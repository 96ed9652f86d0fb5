"""Reductions, and the normalisations built on them.

NumPy adds pairwise only along the innermost axis. Where other axes are summed in float32, the
accumulator is float64, so that sums are at least as exact as torch's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import (
    CACHE_ELEMENTS,
    blocks,
    collected,
    compact,
    extent,
    scratch,
    sequence,
)
from netspec.backends.numpy.registry import kernel
from netspec.operations import ArgMax, Moments, Normalize, Reduce, Softmax

NAIVE_TERMS = 64
"""So many terms may be added one after the other in float32."""


def _positive(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    return tuple(sorted(axis % rank for axis in axes)) if rank else ()


def _kept(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """The shape after a reduction that keeps its axes."""
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def _sum(x: Array, axes: tuple[int, ...], out: Array, context: Context, name: str) -> list[Kernel]:
    """out = sum of x over `axes`; `out` has the kept shape."""
    terms = math.prod(x.shape[axis] for axis in axes)
    # the run of summed innermost axes is added pairwise; what is left is added one by one
    inner = x.ndim
    while inner and inner - 1 in axes:
        inner -= 1
    naive = terms // max(1, math.prod(x.shape[inner:]))
    if out.dtype in (np.float32, np.complex64) and (
        naive > NAIVE_TERMS or (terms > NAIVE_TERMS and not x.flags.c_contiguous)
    ):
        wide = np.float64 if out.dtype == np.float32 else np.complex128
        total = scratch(context, name, out.shape, wide)
        return [
            partial(np.add.reduce, x, axes, wide, total, True),
            partial(np.copyto, out, total, casting="unsafe"),
        ]
    return [partial(np.add.reduce, x, axes, out.dtype, out, True)]


@kernel(Reduce)
def reduce(op: Reduce, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """One ufunc reduction; the mean divides afterwards (the mean of nothing is NaN)."""
    (x,), (out,) = inputs, outputs
    axes = _positive(op.axes, x.ndim)
    target = out.reshape(_kept(x.shape, axes))  # axes of size 1 put back: always a view
    count = math.prod(x.shape[axis] for axis in axes)
    if op.function == "mean":
        divide = partial(np.true_divide, target, target.dtype.type(count), target)
        return sequence(_sum(x, axes, target, context, "total"), [divide])
    if op.function == "sum":
        return sequence(_sum(x, axes, target, context, "total"))
    ufunc: Any = {"max": np.maximum, "min": np.minimum, "prod": np.multiply}[op.function]
    if out.size == 0:
        return sequence()
    return partial(ufunc.reduce, x, axes, out.dtype, target, True)


@kernel(ArgMax)
def argmax(op: ArgMax, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """The searched axis is made innermost, where NumPy needs no copy of its own."""
    (x,), (out,) = inputs, outputs
    if out.size == 0:
        return sequence()
    if op.axis is None or x.ndim == 0:
        rows, before = compact(context, "rows", x, (1, x.size))
    else:
        axis = op.axis % x.ndim
        moved = np.moveaxis(x, axis, -1)
        rows, before = compact(context, "rows", moved, (-1, x.shape[axis]))
    target, after = collected(context, "out", out, (len(rows),))
    return sequence(before, [partial(rows.argmax, 1, target)], after)


@kernel(Softmax)
def softmax(op: Softmax, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """exp(x - max) / sum, or x - max - log(sum)."""
    (x,), (out,) = inputs, outputs
    if out.size == 0:
        return sequence()
    if x.ndim == 0:
        x, out = x.reshape(1), out.reshape(1)
    axis = op.axis % x.ndim
    steps: list[Kernel] = []
    for block in blocks(x.shape, CACHE_ELEMENTS, keep=(axis,)):
        part, target = x[block], out[block]
        row = scratch(context, "row", _kept(part.shape, (axis,)), out.dtype)
        powers = scratch(context, "powers", part.shape, out.dtype) if op.log else target
        steps += [
            partial(np.maximum.reduce, part, axis, None, row, True),
            partial(np.subtract, part, row, target),
            partial(np.exp, target, powers),
            *_sum(powers, (axis,), row, context, "total"),
        ]
        if op.log:
            steps += [partial(np.log, row, row), partial(np.subtract, target, row, target)]
        else:
            steps.append(partial(np.true_divide, target, row, target))
    return sequence(steps)


def _deviations(
    part: Array, axes: tuple[int, ...], mean: Array, away: Array, context: Context
) -> list[Kernel]:
    """mean over `axes` (kept), and away = x - mean."""
    count = mean.dtype.type(math.prod(part.shape[axis] for axis in axes))
    return [
        *_sum(part, axes, mean, context, "total"),
        partial(np.true_divide, mean, count, mean),
        partial(np.subtract, part, mean, away),
    ]


def _mean_square(
    part: Array, axes: tuple[int, ...], out: Array, squares: Array, context: Context
) -> list[Kernel]:
    """out = mean of part**2 over `axes` (kept)."""
    count = out.dtype.type(math.prod(part.shape[axis] for axis in axes))
    return [
        partial(np.multiply, part, part, squares),
        *_sum(squares, axes, out, context, "total"),
        partial(np.true_divide, out, count, out),
    ]


@kernel(Moments)
def moments(op: Moments, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Two passes: the mean, then the mean squared deviation from it."""
    (x,), (mean, variance) = inputs, outputs
    axes = _positive(op.axes, x.ndim)
    mean, variance = (array.reshape(_kept(x.shape, axes)) for array in (mean, variance))
    steps: list[Kernel] = []
    if x.size == 0:
        return sequence([partial(np.copyto, array, np.nan) for array in (mean, variance)])
    for block in blocks(x.shape, CACHE_ELEMENTS, keep=axes):
        row = tuple(slice(0, 1) if axis in axes else piece for axis, piece in enumerate(block))
        away = scratch(context, "away", extent(block), x.dtype)
        steps += _deviations(x[block], axes, mean[row], away, context)
        steps += _mean_square(away, axes, variance[row], away, context)
    return sequence(steps)


@kernel(Normalize)
def normalize(op: Normalize, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """(x - mean) / sqrt(variance + eps), block by block; `out` holds the deviations in between."""
    (x,), (out,) = inputs, outputs
    axes = _positive(op.axes, x.ndim)
    steps: list[Kernel] = []
    for block in blocks(x.shape, CACHE_ELEMENTS, keep=axes):
        part, target = x[block], out[block]
        row = scratch(context, "row", _kept(part.shape, axes), out.dtype)
        squares = scratch(context, "squares", part.shape, out.dtype)
        if op.center:
            steps += _deviations(part, axes, row, target, context)
            part = target
        steps += [
            *_mean_square(part, axes, row, squares, context),
            partial(np.add, row, out.dtype.type(op.eps), row),
            partial(np.sqrt, row, row),
            partial(np.true_divide, part, row, target),
        ]
    return sequence(steps)
