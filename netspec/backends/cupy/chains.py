"""Elementwise functions, affine maps, fused chains of both, and copies: all one kernel (kernels/chain.cuh)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.cupy.arguments import FUNCTION_CODES, OPERANDS, STAGES
from netspec.backends.cupy.launching import described, launch, outer_loops, sequence
from netspec.backends.cupy.layout import broadcast, joined, layout_view
from netspec.backends.cupy.registry import ENDED, kernel
from netspec.backends.strides import memory_order
from netspec.operations import (
    RUNNING,
    Affine,
    Broadcast,
    Cast,
    Concat,
    Elementwise,
    Fused,
    Operation,
    Reshape,
    Slice,
    Stage,
    Transpose,
)

NONE = -2
"""An operand that a stage has not."""

PER_THREAD = 4
"""Elements that a thread of the flat kernel takes at a time."""


@dataclass(frozen=True)
class Link:
    """One stage as the kernel reads it; operands are positions among the chain's, RUNNING or NONE."""

    function: str
    operands: tuple[int, ...]
    constants: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Chain:
    """Stages on a running value. start: the operand that it begins with, or RUNNING where a stage makes it."""

    operands: tuple[Array, ...]
    links: tuple[Link, ...]
    start: int = RUNNING

    def cut(self) -> list[Chain]:
        """As several chains that the kernel has room for; each but the first goes on from the output."""
        parts: list[Chain] = []
        begin = self.start != RUNNING
        current = Chain((self.operands[self.start],), (), 0) if begin else Chain((), (), RUNNING)
        for link in self.links:
            used = dict.fromkeys(i for i in link.operands if i >= 0)
            fresh = [i for i in used if not any(self.operands[i] is x for x in current.operands)]
            if current.links and (
                len(current.links) == STAGES or len(current.operands) + len(fresh) > OPERANDS - 1
            ):
                parts.append(current)
                current = Chain((), (), RUNNING)
                fresh = list(used)
            arrays = [*current.operands, *(self.operands[i] for i in fresh)]
            at = {i: next(n for n, x in enumerate(arrays) if x is self.operands[i]) for i in used}
            moved = replace(link, operands=tuple(at.get(i, i) for i in link.operands))
            current = Chain(tuple(arrays), (*current.links, moved), current.start)
        return [*parts, current]


def stage_links(
    stages: Sequence[Stage], inputs: Sequence[Array], out: Array
) -> tuple[list[Array], list[Link]]:
    """The arrays that fused stages read, shaped to broadcast to `out`, and the stages as links."""
    arrays: list[Array] = []
    links = []
    for stage in stages:
        places = []
        for number, index in enumerate(stage.operands):
            if index == RUNNING:
                places.append(RUNNING)
                continue
            x = inputs[index]
            if isinstance(stage.operation, Affine) and number:
                x = along_axis(x, stage.operation.axis, out.ndim)
            places.append(len(arrays))
            arrays.append(x)
        links.append(link_of(stage.operation, places))
    return arrays, links


def link_of(operation: Elementwise | Affine, places: Sequence[int]) -> Link:
    """An elementwise or affine operation on operands at these places."""
    if isinstance(operation, Affine):
        return Link("affine", tuple(places))
    return Link(operation.function, tuple(places), operation.constants)


def along_axis(x: Array, axis: int, rank: int) -> Array:
    """A vector as an array that broadcasts along one axis of `rank`."""
    after = rank - axis % rank - 1
    return x[(slice(None), *(None,) * after)]


@kernel(Elementwise, Affine)
def elementwise(
    op: Elementwise | Affine, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
) -> Kernel:
    """One stage."""
    (out,) = outputs
    arrays = list(inputs)
    if isinstance(op, Affine):
        arrays[1:] = [along_axis(x, op.axis, out.ndim) for x in inputs[1:]]
    link = link_of(op, range(len(arrays)))
    return bind_chain(Chain(tuple(arrays), (link,)), out, context)


@kernel(Fused)
def fused(op: Fused, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """A chain that begins with an elementwise operation, or another operation that ends with a chain."""
    (out,) = outputs
    if isinstance(op.main, (Elementwise, Affine)):
        first = Stage(op.main, tuple(range(op.arity)))
        arrays, links = stage_links((first, *op.stages), inputs, out)
        return bind_chain(Chain(tuple(arrays), tuple(links)), out, context)
    bound: Kernel = ENDED[type(op.main)](op.main, inputs[: op.arity], outputs, context, op.stages, inputs)
    return bound


@kernel(Cast)
def cast(op: Cast, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Conversion while copying."""
    return copy(outputs[0], inputs[0], context)


@kernel(Transpose, Slice, Broadcast)
def copy_view(op: Operation, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Copies what the operation would show as a view."""
    (out,) = outputs
    source = layout_view(context.session.device, op, inputs[0], out.shape)
    assert source is not None
    return copy(out, source, context)


@kernel(Reshape)
def reshape(op: Reshape, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Copies in row-major order."""
    (x,), (out,) = inputs, outputs
    device = context.session.device
    if (source := layout_view(device, op, x, out.shape)) is not None:
        return copy(out, source, context)
    target = layout_view(device, op, out, x.shape)
    if target is not None:
        return copy(target, x, context)
    between = device.empty(x.shape, x.dtype)
    ordered = layout_view(device, op, between, out.shape)
    assert ordered is not None
    return sequence([copy(between, x, context), copy(out, ordered, context)])


@kernel(Concat)
def concat(op: Concat, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Copies each input to its place, in the output's dtype; torch passes over arrays of shape (0,)."""
    (out,) = outputs
    axis = op.axis % out.ndim
    kernels: list[Kernel] = []
    start = 0
    for x in inputs:
        if x.ndim != out.ndim or x.size == 0:
            start += x.shape[axis] if x.ndim == out.ndim else 0
            continue
        place = out[(*(slice(None),) * axis, slice(start, start + x.shape[axis]))]
        start += x.shape[axis]
        if not (x.data.ptr == place.data.ptr and x.strides == place.strides and x.dtype == place.dtype):
            kernels.append(copy(place, x, context))
    return sequence(kernels)


def copy(target: Array, source: Array, context: Context) -> Kernel:
    """target = source, whatever their strides and dtypes."""
    return bind_chain(Chain((source,), (), 0), target, context)


def bind_chain(chain: Chain, out: Array, context: Context) -> Kernel:
    """The launches that write a chain's result to `out`."""
    if out.size == 0:
        return sequence([])
    parts = chain.cut()
    kernels = []
    for number, part in enumerate(parts):
        if number:  # the last value lies in `out`
            part = replace(part, operands=(*part.operands, out), start=len(part.operands))
        kernels += _launches(part, out, context)
    return sequence(kernels)


def _launches(chain: Chain, out: Array, context: Context) -> list[Kernel]:
    arrays = [broadcast(context.session.device, x, out.shape) for x in chain.operands]
    order = memory_order(out)
    shape = [out.shape[axis] for axis in order]
    strides = [[x.strides[axis] for axis in order] for x in (out, *arrays)]
    sizes, steps, rounds = outer_loops(*joined(shape, strides))
    flat = len(sizes) == 1
    count = int(np.prod(sizes, dtype=np.int64))
    kernels = []
    for offsets in rounds:
        places = [
            {**described(x, step), "data": x.data.ptr + offset}
            for x, step, offset in zip((out, *arrays), steps, offsets, strict=True)
        ]
        kernels.append(
            launch(
                context, "chain_flat" if flat else "chain_strided", out.dtype, "Chain",
                -(-count // PER_THREAD) if flat else count,
                **chain_fields(chain, places[1:], out.dtype, context),
                count=count, rank=len(sizes), sizes=sizes, out=places[0],
            )
        )  # fmt: skip
    return kernels


def chain_fields(chain: Chain, operands: Sequence[Any], dtype: Any, context: Context) -> dict[str, Any]:
    """The fields of a `Chain` struct that say what is computed; operands: their `Array` structs."""
    return {
        "start": chain.start,
        "stage_count": len(chain.links),
        "operands": list(operands),
        "stages": [_stage(link, chain.operands, dtype) for link in chain.links],
        "flags": _refusals(chain, dtype, context),
    }


def _refusals(chain: Chain, dtype: Any, context: Context) -> int:
    """Where a division by zero is reported, if one could be."""
    if dtype.kind in "iu" and any(link.function in ("div_floor", "div_trunc") for link in chain.links):
        return int(context.session.check(context.label, lambda low, high: "integer division by zero"))
    return 0


def _stage(link: Link, operands: Sequence[Array], dtype: Any) -> dict[str, Any]:
    function, first = link.function, operands[link.operands[0]].dtype if link.operands[0] >= 0 else dtype
    if function in ("equal", "not_equal"):
        dtype = first  # comparisons happen in the input's dtype
    elif function == "abs" and first.kind == "c" and dtype.kind != "c":
        function = "magnitude"
    given, real, imaginary, whole = 0, [0.0] * 3, [0.0] * 3, [0] * 3
    for i, value in enumerate(link.constants):
        if value is None or value == "none":  # no limit; gelu without an approximation
            continue
        given |= 1 << i
        if isinstance(value, str):
            continue
        if dtype.kind in "iub" and not isinstance(value, complex):
            limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            whole[i] = min(max(int(value), int(limits[0])), int(limits[1])) if np.isfinite(value) else 0
            real[i] = float(value) if value != int(value) else float(whole[i])
        else:
            number = complex(value)
            real[i], imaginary[i] = number.real, number.imag
            whole[i] = int(bool(value))
    places = [*link.operands, NONE, NONE, NONE][:3]
    return {
        "function": FUNCTION_CODES[function], "operands": places, "given": given,
        "real": real, "imaginary": imaginary, "whole": whole,
    }  # fmt: skip
