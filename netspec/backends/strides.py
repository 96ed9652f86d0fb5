"""How an array lies in memory, told by its shape and strides alone: the same for every backend."""

from __future__ import annotations

from netspec.backends.base import Array


def channels_inside(x: Array) -> bool:
    """Whether the channels of x (n, c, *s) lie closer together than its places."""
    steps = [abs(step) for step, size in zip(x.strides[2:], x.shape[2:], strict=True) if size > 1]
    return bool(steps) and x.shape[1] > 1 and abs(x.strides[1]) < min(steps)


def memory_order(array: Array) -> tuple[int, ...]:
    """The axes from the longest stride to the shortest; axes of size 1 stay where they are."""
    moving = [axis for axis, size in enumerate(array.shape) if size > 1]
    order = iter(sorted(moving, key=lambda axis: -abs(array.strides[axis])))
    return tuple(next(order) if size > 1 else axis for axis, size in enumerate(array.shape))
