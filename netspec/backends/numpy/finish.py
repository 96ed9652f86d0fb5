"""The elementwise stages of a fused step, applied to each region as soon as it has been computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.registry import KERNELS
from netspec.operations import RUNNING, Affine, Stage

Region = tuple[slice, ...]
"""A slice for each of the first axes of the output; the others whole."""

Finish = Callable[[Region], list[Kernel]]
"""The steps that finish a region in place."""


def nothing(region: Region) -> list[Kernel]:
    """The finish of a step without stages."""
    return []


def finisher(stages: Sequence[Stage], inputs: Sequence[Array], out: Array, context: Context) -> Finish:
    """The stages as steps on any region of `out`; operands are cut to the same region."""
    prepared = [(stage, [_operand(stage, i, inputs, out) for i in stage.operands]) for stage in stages]

    def finish(region: Region) -> list[Kernel]:
        part = out[region]
        steps: list[Kernel] = []
        for stage, operands in prepared:
            arrays = [part if x is None else _cut(stage, x, region) for x in operands]
            steps.append(KERNELS[type(stage.operation)](stage.operation, arrays, [part], context))
        return steps

    return finish


def _operand(stage: Stage, index: int, inputs: Sequence[Array], out: Array) -> Array | None:
    """An input as a region of it can be cut: as large as the output, or one number a channel of Affine."""
    if index == RUNNING:
        return None
    array = inputs[index]
    return array if isinstance(stage.operation, Affine) else np.broadcast_to(array, out.shape)


def _cut(stage: Stage, x: Array, region: Region) -> Array:
    if isinstance(stage.operation, Affine) and x.ndim == 1:
        axis = stage.operation.axis
        assert axis >= 0
        return x[region[axis]] if axis < len(region) else x
    return x[region]
