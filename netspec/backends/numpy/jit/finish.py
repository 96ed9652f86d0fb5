"""The stages after a step's main operation: compiled as far as they can be, the others by NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.finish import Finish, Region, finisher, nothing
from netspec.backends.numpy.jit.chains import Chain, compilable, fits
from netspec.operations import RUNNING, Affine, Elementwise, Stage


class Finishing:
    """A finish in two parts: a compiled chain, and what NumPy does after it (from the first stage it must do)."""

    def __init__(
        self,
        stages: Sequence[Stage],
        inputs: Sequence[Array],
        out: Array,
        context: Context,
        bias: Array | None = None,
    ) -> None:
        """bias: one number a channel of out (n, c, *s), added first."""
        if bias is not None:
            inputs = [*inputs, bias.reshape(-1, *(1,) * (out.ndim - 2))]
            stages = [Stage(Elementwise("add"), (RUNNING, len(inputs) - 1)), *stages]
        operands = [[_operand(stage, i, inputs, out) for i in stage.operands] for stage in stages]
        count = 0
        if fits(out) and out.size and out.ndim:
            while count < len(stages) and compilable(stages[count], operands[count], out):
                count += 1
        self.chain = Chain(stages[:count], operands[:count], out) if count else None
        self.done = count == len(stages)  # nothing is left to NumPy
        self.rest = finisher(stages[count:], inputs, out, context) if stages[count:] else nothing

    def __call__(self, region: Region) -> list[Kernel]:
        """The steps that finish a region in place."""
        return [*(self.chain(region) if self.chain else []), *self.rest(region)]

    def parts(self, axis: int) -> tuple[Chain | None, Finish]:
        """The chain that a kernel with `axis` innermost can apply itself, and what is left to do."""
        if self.chain is None or self.chain.kinds(axis) is None:
            return None, self
        return self.chain, self.rest


def _operand(stage: Stage, index: int, inputs: Sequence[Array], out: Array) -> Array | None:
    """An input as large as the output; None: the running value."""
    if index == RUNNING:
        return None
    array = inputs[index]
    if isinstance(stage.operation, Affine) and array.ndim == 1 and out.ndim > 1:
        array = array.reshape(-1, *(1,) * (out.ndim - 1 - stage.operation.axis % out.ndim))
    return np.broadcast_to(array, out.shape)
