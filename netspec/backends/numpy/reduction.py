"""Reductions, and the normalisations built on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import (
    CACHE_ELEMENTS,
    Block,
    block_limit,
    blocks,
    collected,
    compact,
    scratch,
    sequence,
    spread,
)
from netspec.backends.numpy.registry import kernel
from netspec.backends.numpy.sums import extreme_over, sum_over
from netspec.backends.strides import memory_order
from netspec.operations import ArgMax, Moments, Normalize, Reduce, Softmax

ROW_ELEMENTS = 2 * CACHE_ELEMENTS
"""Elements of a block; with fewer, the numbers kept for each row weigh more than the block."""

LONGEST_RUN = 512
"""A last axis of up to this size is not cut: short runs cost more than a block beyond the cache."""


def _positive(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    return tuple(sorted(axis % rank for axis in axes)) if rank else ()


def _kept(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """The shape after a reduction that keeps its axes."""
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


@kernel(Reduce)
def reduce(op: Reduce, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """One reduction; the mean divides afterwards (the mean of nothing is NaN)."""
    (x,), (out,) = inputs, outputs
    axes = _positive(op.axes, x.ndim)
    target = out.reshape(_kept(x.shape, axes))  # axes of size 1 put back: always a view
    count = math.prod(x.shape[axis] for axis in axes)
    if op.function == "mean":
        divide = partial(np.true_divide, target, target.dtype.type(count), target)
        return sequence(sum_over(x, axes, target, context), [divide])
    if op.function == "sum":
        return sequence(sum_over(x, axes, target, context))
    if out.size == 0:
        return sequence()
    if op.function == "prod":
        return partial(np.multiply.reduce, x, axes, out.dtype, target, True)
    return sequence(
        extreme_over(np.maximum if op.function == "max" else np.minimum, x, axes, target, context)
    )


def _by_rows(
    x: Array,
    others: Sequence[Array],
    axes: tuple[int, ...],
    context: Context,
    make: Callable[[Array, list[Array], tuple[int, ...], Block], list[Kernel]],
) -> list[Kernel]:
    """The steps of `make` for blocks of x in which `axes` are whole, in the order that x lies in memory.

    make: (block of x, the same block of the others, the axes, the block) -> steps. Blocks do not depend on
    the number of lanes, since sums round differently in other blocks.
    """
    order = memory_order(x)
    moved = tuple(place for place, axis in enumerate(order) if axis in axes)
    x, *others = (array.transpose(order) for array in (x, *others))
    last = x.ndim - 1
    keep = (*moved, last) if last not in moved and x.shape[-1] <= LONGEST_RUN else moved
    cuts = blocks(x.shape, ROW_ELEMENTS, keep=keep)
    return spread(
        context,
        cuts,
        lambda block: make(x[block], [_at(other, block) for other in others], moved, block),
        x.size if block_limit(context, x.size)[0] else 0,
    )


def _at(array: Array, block: Block) -> Array:
    """The part of an array that keeps reduced axes with size 1."""
    return array[
        tuple(slice(0, 1) if size == 1 else piece for size, piece in zip(array.shape, block, strict=True))
    ]


@kernel(ArgMax)
def argmax(op: ArgMax, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """The searched axis is made innermost, where NumPy needs no copy of its own."""
    (x,), (out,) = inputs, outputs
    if out.size == 0:
        return sequence()
    if op.axis is None or x.ndim == 0:
        rows, before = compact(context, "rows", x, (1, x.size))
        target, after = collected(context, "out", out, (1,))
        return sequence(before, [partial(rows.argmax, 1, target)], after)
    axis = op.axis % x.ndim
    moved = np.moveaxis(x, axis, -1)
    places = out.reshape(moved.shape[:-1])  # with or without the searched axis as 1: always a view

    def make(block: Block) -> list[Kernel]:
        rows, before = compact(context, "rows", moved[block], (-1, moved.shape[-1]))
        target, after = collected(context, "out", places[block[:-1]], (len(rows),))
        return [*before, partial(rows.argmax, 1, target), *after]

    cuts = blocks(moved.shape, CACHE_ELEMENTS, keep=(moved.ndim - 1,))
    return sequence(spread(context, cuts, make, x.size if block_limit(context, x.size)[0] else 0))


@kernel(Softmax)
def softmax(op: Softmax, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """exp(x - max) / sum, or x - max - log(sum)."""
    (x,), (out,) = inputs, outputs
    if out.size == 0:
        return sequence()
    if x.ndim == 0:
        x, out = x.reshape(1), out.reshape(1)

    def make(part: Array, others: list[Array], axes: tuple[int, ...], block: Block) -> list[Kernel]:
        (target,) = others
        row = scratch(context, "row", _kept(part.shape, axes), out.dtype)
        direct = target.flags.c_contiguous and not op.log
        powers = target if direct else scratch(context, "powers", part.shape, out.dtype)
        steps: list[Kernel] = [
            *extreme_over(np.maximum, part, axes, row, context),
            partial(np.subtract, part, row, target),
            partial(np.exp, target, powers),
            *sum_over(powers, axes, row, context),
        ]
        if op.log:
            return [*steps, partial(np.log, row, row), partial(np.subtract, target, row, target)]
        return [*steps, partial(np.true_divide, powers, row, target)]

    return sequence(_by_rows(x, [out], (op.axis % x.ndim,), context, make))


def _divided(array: Array, count: int) -> Kernel:
    return partial(np.true_divide, array, array.dtype.type(count), array)


def _deviations(
    part: Array, axes: tuple[int, ...], mean: Array, away: Array, context: Context
) -> list[Kernel]:
    """mean over `axes` (kept), and away = x - mean."""
    count = math.prod(part.shape[axis] for axis in axes)
    return [
        *sum_over(part, axes, mean, context),
        _divided(mean, count),
        partial(np.subtract, part, mean, away),
    ]


def _mean_square(
    part: Array, axes: tuple[int, ...], out: Array, squares: Array, context: Context
) -> list[Kernel]:
    """out = mean of part**2 over `axes` (kept)."""
    count = math.prod(part.shape[axis] for axis in axes)
    return [
        partial(np.multiply, part, part, squares),
        *sum_over(squares, axes, out, context),
        _divided(out, count),
    ]


@kernel(Moments)
def moments(op: Moments, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Two passes: the mean, then the mean squared deviation from it."""
    (x,), results = inputs, outputs
    axes = _positive(op.axes, x.ndim)
    kept = [array.reshape(_kept(x.shape, axes)) for array in results]
    if x.size == 0:
        return sequence([partial(np.copyto, array, np.nan) for array in kept])

    def make(part: Array, others: list[Array], axes: tuple[int, ...], block: Block) -> list[Kernel]:
        mean, variance = others
        away = scratch(context, "away", part.shape, x.dtype)
        return [
            *_deviations(part, axes, mean, away, context),
            *_mean_square(away, axes, variance, away, context),
        ]

    return sequence(_by_rows(x, kept, axes, context, make))


@kernel(Normalize)
def normalize(op: Normalize, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """(x - mean) / sqrt(variance + eps), block by block; `out` holds the deviations in between."""
    (x,), (out,) = inputs, outputs

    def make(part: Array, others: list[Array], axes: tuple[int, ...], block: Block) -> list[Kernel]:
        (target,) = others
        row = scratch(context, "row", _kept(part.shape, axes), out.dtype)
        squares = scratch(context, "squares", part.shape, out.dtype)
        steps: list[Kernel] = []
        if op.center:
            steps += _deviations(part, axes, row, target, context)
            part = target
        return [
            *steps,
            *_mean_square(part, axes, row, squares, context),
            partial(np.add, row, out.dtype.type(op.eps), row),
            partial(np.sqrt, row, row),
            partial(np.true_divide, part, row, target),
        ]

    return sequence(_by_rows(x, [out], _positive(op.axes, x.ndim), context, make))
