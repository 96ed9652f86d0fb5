"""Elementwise functions over blocks that stay in the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import (
    Block,
    block_limit,
    blocks,
    scratch,
    sequence,
    spread,
    zeros,
)
from netspec.backends.numpy.finish import Finish
from netspec.backends.numpy.functions import TABLE
from netspec.backends.numpy.registry import kernel
from netspec.backends.strides import memory_order
from netspec.operations import Affine, Elementwise

SHORT_RUN = 48
"""One number a channel, where so few channels lie side by side, is repeated along a row beforehand."""

Make = Callable[[Block, Sequence[Array], Array], list[Kernel]]
"""(block, inputs as large as the output, output) -> the steps of the block."""


@kernel(Elementwise, finishes=True)
def elementwise(
    op: Elementwise,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    context: Context,
    finish: Finish | None = None,
) -> Kernel:
    """Runs the function block by block, in the order that the output lies in memory."""
    (out,) = outputs
    entry = TABLE[op.function]
    constants = [_constant(value, _constant_dtype(op, inputs, out)) for value in op.constants]

    def make(block: Block, arrays: Sequence[Array], out: Array) -> list[Kernel]:
        target = out[block] if block else out
        shape = target.shape
        steps: list[Kernel] = []
        values: list[Array] = []
        for number, x in enumerate(arrays):
            value = x[block] if block else x
            if x.dtype != out.dtype and number not in entry.native and not _keeps_complex(op, x):
                converted = scratch(context, f"input{number}", shape, out.dtype)
                steps.append(partial(np.copyto, converted, value, casting="unsafe"))
                value = converted
            values.append(value)
        temporaries = [scratch(context, f"number{i}", shape, out.dtype) for i in range(entry.numbers)]
        temporaries += [scratch(context, f"mask{i}", shape, np.bool_) for i in range(entry.masks)]
        if op.function == "relu":
            values.append(zeros(context, shape, out.dtype))
        return steps + entry.steps(target, values, constants, temporaries)

    return sequence(_by_block(inputs, out, context, make, finish))


def _by_block(
    inputs: Sequence[Array], out: Array, context: Context, make: Make, finish: Finish | None
) -> list[Kernel]:
    """The steps of `make` for blocks of the inputs, broadcast to `out`, spread over the lanes."""
    wide, limit = block_limit(context, out.size)
    if out.size <= limit and (out.flags.c_contiguous and all(_alike(x, out) for x in inputs)):
        # whatever its rank, one run of memory
        arrays = [x.reshape(-1) for x in inputs]
        return make((), arrays, out.reshape(-1)) + (finish(()) if finish else [])
    arrays = [np.broadcast_to(x, out.shape) if x.shape != out.shape else x for x in inputs]
    order, back = memory_order(out), None
    if order != tuple(range(out.ndim)):
        back = np.argsort(order)
        arrays, out = [x.transpose(order) for x in arrays], out.transpose(order)
    steps: list[Kernel] = []
    for number, x in enumerate(arrays):
        if (tiled := _tiled(x, out, context)) is not None:
            arrays[number], load = tiled
            steps.append(load)
    if finish is None and out.flags.c_contiguous and all(x.flags.c_contiguous for x in arrays):
        arrays, out = [x.reshape(-1) for x in arrays], out.reshape(-1)

    def both(block: Block) -> list[Kernel]:
        made = make(block, arrays, out)
        if finish is None:
            return made
        whole = (*block, *(slice(None) for _ in range(out.ndim - len(block))))
        return made + finish(whole if back is None else tuple(whole[axis] for axis in back))

    return steps + spread(context, blocks(out.shape, limit), both, out.size if wide else 0)


def _alike(x: Array, out: Array) -> bool:
    return x.shape == out.shape and bool(x.flags.c_contiguous)


def _tiled(x: Array, out: Array, context: Context) -> tuple[Array, Kernel] | None:
    """x, one number for each place of a short last axis, repeated along the axis before, and how."""
    if x.ndim < 2 or not 1 < x.shape[-1] < SHORT_RUN or x.shape[-2] == 1:
        return None
    if x.strides[-2] != 0 or x.strides[-1] == 0 or out.strides[-2] != out.strides[-1] * out.shape[-1]:
        return None
    least = x[tuple(slice(0, 1) if step == 0 else slice(None) for step in x.strides[:-2])]
    if least.size * 4 > out.size:
        return None
    # by its address, since a stage that runs between two blocks may have a tile of its own
    name = f"tile {x.__array_interface__['data'][0]}"
    tile = scratch(context, name, least.shape, x.dtype)
    return np.broadcast_to(tile, x.shape), partial(np.copyto, tile, least)


def _keeps_complex(op: Elementwise, x: Array) -> bool:
    """The magnitude of a complex array is real."""
    return op.function == "abs" and x.dtype.kind == "c"


def _constant_dtype(op: Elementwise, inputs: Sequence[Array], out: Array) -> Any:
    """Comparisons happen in the input's dtype, all else in the output's."""
    return inputs[0].dtype if op.function in ("equal", "not_equal") else out.dtype


def _constant(value: Any, dtype: Any) -> Any:
    """A scalar argument in the dtype of the computation."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if dtype.kind in "iub":
        if isinstance(value, float) and not value.is_integer():
            return np.float64(value)
        limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        return dtype.type(min(max(int(value), int(limits[0])), int(limits[1])))
    return dtype.type(value)


@kernel(Affine, finishes=True)
def affine(
    op: Affine,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    context: Context,
    finish: Finish | None = None,
) -> Kernel:
    """Two passes over each block."""
    x, scale, shift = inputs
    (out,) = outputs
    axis = op.axis % x.ndim
    shape = [1] * axis + [-1] + [1] * (x.ndim - axis - 1)
    arrays = [x, scale.reshape(shape), shift.reshape(shape)]

    def make(block: Block, arrays: Sequence[Array], out: Array) -> list[Kernel]:
        x, scale, shift = arrays
        part = out[block]
        return [
            partial(np.multiply, x[block], scale[block], part),
            partial(np.add, part, shift[block], part),
        ]

    return sequence(_by_block(arrays, out, context, make, finish))
