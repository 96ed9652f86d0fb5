"""Layout operations as views: shapes and strides alone, so that nothing is copied where nothing has to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from netspec.backends.base import Array
from netspec.backends.cupy.device import Device
from netspec.operations import Broadcast, Operation, Reshape, Slice, Transpose


def layout_view(device: Device, operation: Operation, x: Array, shape: Sequence[int]) -> Array | None:
    """The result of a layout operation as a view of `x`, or None where it needs a copy."""
    match operation:
        case Reshape():
            return viewed(device, x, shape)
        case Transpose(axes):
            return x.transpose(axes) if x.ndim else x
        case Slice(axis, start, stop, step):
            return x[(*(slice(None),) * (axis % x.ndim), slice(start, stop, step))]
        case Broadcast():
            return broadcast(device, x, shape)
    return None


def broadcast(device: Device, x: Array, shape: Sequence[int]) -> Array:
    """`x` repeated along axes of size 1 and missing first axes: strides of 0."""
    missing = len(shape) - x.ndim
    strides = [0] * missing + [
        0 if size == 1 and wide != 1 else step
        for size, wide, step in zip(x.shape, shape[missing:], x.strides, strict=True)
    ]
    return device.strided(x, shape, strides)


def viewed(device: Device, x: Array, shape: Sequence[int]) -> Array | None:
    """`x` reshaped without a copy, or None."""
    if x.flags.c_contiguous or x.size == 0:
        step, strides = x.itemsize, []
        for size in reversed(shape):
            strides.append(step)
            step *= size
        return device.strided(x, shape, strides[::-1])
    found = reshaped_strides(x.shape, x.strides, shape)
    return None if found is None else device.strided(x, shape, found)


def reshaped_strides(
    before: Sequence[int], strides: Sequence[int], after: Sequence[int]
) -> tuple[int, ...] | None:
    """Strides under which the same memory shows the same elements in row-major order, or None.

    Groups of axes with equal products are matched; those of the source must be one run.
    """
    old = [(size, step) for size, step in zip(before, strides, strict=True) if size != 1]
    result: list[int] = []
    position = 0
    pending: list[int] = []
    for size in after:
        pending.append(size)
        wanted = math.prod(pending)
        if wanted == 1:
            continue
        count, stop = 1, position
        while count < wanted and stop < len(old):
            count *= old[stop][0]
            stop += 1
        if count != wanted:
            continue  # more of the new axes belong to this group
        group = old[position:stop]
        if any(step != below * inner for (_, step), (inner, below) in pairwise(group)):
            return None
        step = group[-1][1]
        steps = []
        for extent in reversed(pending):
            steps.append(step)
            step *= extent
        result += steps[::-1]
        position, pending = stop, []
    if position != len(old):
        return None
    return (*result, *(1 for _ in pending))


def joined(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Fewer axes with the same elements in the same order: neighbours that are one run in every array are one.

    strides: those of each array. Axes of size 1 go; what has no axis left gets one of size 1.
    """
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        here = [array[axis] for array in strides]
        if sizes and all(kept[-1] == step * size for kept, step in zip(steps, here, strict=True)):
            sizes[-1] *= size
            for kept, step in zip(steps, here, strict=True):
                kept[-1] = step
        else:
            sizes.append(size)
            for kept, step in zip(steps, here, strict=True):
                kept.append(step)
    if not sizes:
        return (1,), [(0,) for _ in strides]
    return tuple(sizes), [tuple(kept) for kept in steps]
