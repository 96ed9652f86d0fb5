"""Sums and extremes over axes, in the order in which the array lies in memory.

Rows are summed by BLAS (times a vector of ones), columns by adding whole rows, at most `NAIVE_TERMS` of
them one after the other: the error stays that of a pairwise sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import scratch
from netspec.backends.strides import memory_order

NAIVE_TERMS = 16
"""So many terms may be added one after the other in float32."""

BLAS_TERMS = 4096
"""BLAS adds a row in tens of running sums; beyond this length NumPy's pairwise sum is as fast."""

FEW = 12
"""Rows of so few elements are compared column by column."""

SHORT = 256
"""Rows of so few elements are halved first: NumPy's own reduction costs 80 ns a row."""


def sum_over(
    x: Array, axes: tuple[int, ...], out: Array, context: Context, name: str = "total"
) -> list[Kernel]:
    """out = sum of x over `axes`; `out` keeps them with size 1 and is not `x`."""
    order = memory_order(x)
    moved, target = x.transpose(order), out.transpose(order)
    if x.size == 0 or out.dtype not in (np.float32, np.float64) or not moved.flags.c_contiguous:
        return _plain_sum(x, axes, out, context, name)
    groups = _groups(moved.shape, [axis in axes for axis in order])
    steps: list[Kernel] = []
    current = moved.reshape(-1)
    last = max((i for i, (summed, _) in enumerate(groups) if summed), default=-1)
    while last >= 0:
        size = groups[last][1]
        inner = math.prod(count for _, count in groups[last + 1 :])
        outer = current.size // (size * inner)
        del groups[last]
        last = max((i for i, (summed, _) in enumerate(groups) if summed), default=-1)
        if last < 0 and target.flags.c_contiguous:
            result = target.reshape(-1)
        else:
            result = scratch(context, f"{name}{last + 1}", (outer * inner,), out.dtype)
        steps += _sum_middle(current.reshape(outer, size, inner), result.reshape(outer, inner), context, name)
        current = result
    if not np.may_share_memory(current, out):
        steps.append(partial(np.copyto, target, current.reshape(target.shape)))
    return steps


def _plain_sum(x: Array, axes: tuple[int, ...], out: Array, context: Context, name: str) -> list[Kernel]:
    """NumPy's reduction, in double precision where it would add many terms one by one."""
    terms = math.prod(x.shape[axis] for axis in axes)
    if out.dtype in (np.float32, np.complex64) and terms > NAIVE_TERMS:
        wide = np.float64 if out.dtype == np.float32 else np.complex128
        total = scratch(context, name, out.shape, wide)
        return [
            partial(np.add.reduce, x, axes, wide, total, True),
            partial(np.copyto, out, total, casting="unsafe"),
        ]
    return [partial(np.add.reduce, x, axes, out.dtype, out, True)]


def _groups(shape: Sequence[int], summed: Sequence[bool]) -> list[tuple[bool, int]]:
    """Neighbouring axes of the same kind as one; those of size 1 belong to any."""
    groups: list[tuple[bool, int]] = []
    for size, is_summed in zip(shape, summed, strict=True):
        if size == 1:
            continue
        if groups and groups[-1][0] == is_summed:
            groups[-1] = (is_summed, groups[-1][1] * size)
        else:
            groups.append((is_summed, size))
    return groups


def _sum_middle(x: Array, out: Array, context: Context, name: str) -> list[Kernel]:
    """x (outer, terms, inner) -> out (outer, inner), both contiguous."""
    outer, terms, inner = x.shape
    if inner == 1:
        return _sum_rows(x[:, :, 0], out[:, 0], context)
    if terms <= NAIVE_TERMS:
        return [partial(np.add.reduce, x, 1, out.dtype, out)]
    # terms far apart are added first, so that what is added is long runs, however short `inner` is
    parts, rest = divmod(terms, NAIVE_TERMS)
    sums = scratch(context, f"{name}{terms} parts", (outer, parts + (rest > 0), inner), out.dtype)
    whole = x[:, : parts * NAIVE_TERMS].reshape(outer, NAIVE_TERMS, parts, inner)
    steps: list[Kernel] = [partial(np.add.reduce, whole, 1, out.dtype, sums[:, :parts])]
    if rest:
        steps.append(partial(np.add.reduce, x[:, parts * NAIVE_TERMS :], 1, out.dtype, sums[:, parts]))
    return steps + _sum_middle(sums, out, context, name)


def _sum_rows(x: Array, out: Array, context: Context) -> list[Kernel]:
    """x (rows, terms) -> out (rows,)."""
    rows, terms = x.shape
    if terms > BLAS_TERMS or rows == 1:
        return [partial(np.add.reduce, x, 1, out.dtype, out)]
    return [partial(np.matmul, x, ones(context, terms, out.dtype), out)]


def ones(context: Context, count: int, dtype: Any) -> Array:
    """A vector of ones that nobody writes to."""
    key = ("ones", count, np.dtype(dtype))
    if key not in context.scratch:
        context.scratch[key] = np.ones(count, dtype)
    return context.scratch[key]


def extreme_over(ufunc: Any, x: Array, axes: tuple[int, ...], out: Array, context: Context) -> list[Kernel]:
    """out = `ufunc` (maximum or minimum) of x over `axes`; `out` keeps them with size 1 and is not `x`."""
    order = memory_order(x)
    moved, target = x.transpose(order), out.transpose(order)
    groups = _groups(moved.shape, [axis in axes for axis in order])
    contiguous = moved.flags.c_contiguous and target.flags.c_contiguous
    if contiguous and groups and groups[-1][0] and sum(reduced for reduced, _ in groups) == 1:
        terms = groups[-1][1]
        if terms <= SHORT and moved.size > 8 * terms:
            return _extreme_rows(ufunc, moved.reshape(-1, terms), target.reshape(-1), context)
    return [partial(ufunc.reduce, x, axes, out.dtype, out, True)]


def _extreme_rows(ufunc: Any, x: Array, out: Array, context: Context) -> list[Kernel]:
    """x (rows, terms) -> out (rows,): halves of each row against each other, the last few one by one."""
    steps: list[Kernel] = []
    while x.shape[1] > FEW:
        half, odd = divmod(x.shape[1], 2)
        result = x[:, :half] if steps else scratch(context, "half", (len(x), half), x.dtype)
        steps.append(partial(ufunc, x[:, :half], x[:, half : 2 * half], out=result))
        if odd:
            steps.append(partial(ufunc, result[:, 0], x[:, -1], out=result[:, 0]))
        x = result
    columns = [x[:, i] for i in range(x.shape[1])]
    if len(columns) == 1:
        return [*steps, partial(np.copyto, out, columns[0])]
    steps.append(partial(ufunc, columns[0], columns[1], out=out))
    return steps + [partial(ufunc, out, column, out=out) for column in columns[2:]]
