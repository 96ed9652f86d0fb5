"""Operations that move values: reshape, transpose, slice, broadcast, concatenate, convert, pick."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from netspec.backends.base import Array, Context, Kernel, KernelError
from netspec.backends.numpy.arrays import along, collected, compact, scratch, sequence, viewed
from netspec.backends.numpy.registry import kernel
from netspec.operations import (
    Broadcast,
    Cast,
    Concat,
    Operation,
    Reshape,
    Slice,
    TakeAlong,
    Transpose,
)


def layout_view(operation: Operation, x: Array, shape: Sequence[int]) -> Array | None:
    """The result of a layout operation as a view of `x`, or None where it needs a copy."""
    match operation:
        case Reshape():
            return viewed(x, shape)
        case Transpose(axes):
            return x.transpose(axes)
        case Slice(axis, start, stop, step):
            return x[along(axis % x.ndim, slice(start, stop, step))]
        case Broadcast():
            return np.broadcast_to(x, shape)
    return None


@kernel(Transpose, exact=True)
@kernel(Slice, exact=True)
@kernel(Broadcast, exact=True)
def copy_view(op: Operation, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Copies what the operation would show as a view."""
    (out,) = outputs
    source: Array = layout_view(op, inputs[0], out.shape)
    return partial(np.copyto, out, source)


@kernel(Reshape, exact=True)
def reshape(op: Reshape, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Copies in row-major order."""
    (x,), (out,) = inputs, outputs
    if (source := viewed(x, out.shape)) is not None:
        return partial(np.copyto, out, source)
    target, after = collected(context, "out", out, x.shape)
    return sequence([partial(np.copyto, target, x)], after)


@kernel(Concat, exact=True)
def concat(op: Concat, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Copies each input to its place, in the output's dtype; torch passes over arrays of shape (0,)."""
    (out,) = outputs
    axis = op.axis % out.ndim
    steps: list[Kernel] = []
    start = 0
    for x in inputs:
        if x.ndim != out.ndim or x.size == 0:
            start += x.shape[axis] if x.ndim == out.ndim else 0
            continue
        place = out[along(axis, slice(start, start + x.shape[axis]))]
        start += x.shape[axis]
        if not _same_place(x, place):
            steps.append(partial(np.copyto, place, x, casting="unsafe"))
    return sequence(steps)


def _same_place(x: Array, place: Array) -> bool:
    """Whether x was computed where the concatenation wants it."""
    return bool(
        x.__array_interface__["data"][0] == place.__array_interface__["data"][0]
        and x.strides == place.strides
        and x.dtype == place.dtype
    )


@kernel(Cast, exact=True)
def cast(op: Cast, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Converts: towards zero for integers, real part of complex, float64 to float16 by way of float32."""
    (x,), (out,) = inputs, outputs
    if out.dtype.kind == "b":
        return partial(np.not_equal, x, 0, out)
    if x.dtype.kind == "c" and out.dtype.kind != "c":
        x = x.real
    if x.dtype == np.float64 and out.dtype == np.float16:
        single = scratch(context, "single", x.shape, np.float32)
        return sequence(
            [
                partial(np.copyto, single, x, casting="unsafe"),
                partial(np.copyto, out, single, casting="unsafe"),
            ]
        )
    return partial(np.copyto, out, x, casting="unsafe")


@kernel(TakeAlong, exact=True)
def take_along(op: TakeAlong, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Looks each element up by its flat place; an index outside the axis is a KernelError."""
    (x, index), (out,) = inputs, outputs
    axis = op.axis % x.ndim
    classes = x.shape[axis]
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    # flat place in x of class 0 for each output element
    base = (np.arange(outer)[:, None] * (classes * inner) + np.arange(inner)).reshape(out.shape)
    place = scratch(context, "place", out.shape, np.int64)
    x, before = compact(context, "x", x, (-1,) if x.size else (0,))
    target, after = collected(context, "out", out)

    def run() -> None:
        if not index.size:
            return
        low, high = index.min(), index.max()
        if low < 0 or high >= classes:
            raise KernelError(f"index {low if low < 0 else high} is outside 0..{classes - 1}")
        np.multiply(index, inner, out=place)
        np.add(place, base, out=place)
        x.take(place, out=target, mode="clip")

    return sequence(before, [run], after)
