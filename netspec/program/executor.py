"""A program on real arrays: allocated and bound once, then only run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from netspec.backends.base import Array, Backend, Context, Kernel, KernelError
from netspec.operations import ArraySpec
from netspec.program.compile import Program
from netspec.program.memory import Plan, plan


class StepError(Exception):
    """A value that a layer refuses, found while running."""

    def __init__(self, layer: str, message: str) -> None:
        super().__init__(message)
        self.layer = layer


class Executor:
    """One set of buffers for one program; one thread at a time runs it."""

    def __init__(
        self,
        program: Program,
        backend: Backend,
        states: Mapping[str, Array],
        context: Context,
        planned: Plan | None = None,
    ) -> None:
        """Allocate the buffers and bind every kernel; `states` are read where they lie."""
        self.program = program
        self.backend = backend
        self.context = context
        planned = planned or plan(program)
        buffers = [backend.empty(ArraySpec((size,), "uint8")) for size in planned.buffers]
        arrays: dict[int, Array] = {}
        for value, buffer in planned.placed.items():
            spec = program.values[value]
            count = math.prod(spec.shape) * _item_size(spec.dtype)
            arrays[value] = buffers[buffer][:count].view(spec.dtype).reshape(spec.shape)
        for value, constant in program.constants.items():
            arrays[value] = backend.asarray(constant)
        for key, value in program.states.items():
            arrays[value] = states[key]
        self.kernels: list[tuple[Kernel, str]] = []
        for step in program.steps:
            if step.outputs and step.outputs[0] in planned.views:
                target = step.outputs[0]
                view = backend.view(step.operation, arrays[step.inputs[0]], program.values[target])
                if view is not None:
                    arrays[target] = view
                    continue
                arrays[target] = backend.empty(program.values[target])
            inputs = [arrays[v] for v in step.inputs]
            outputs = [arrays[v] for v in step.outputs]
            self.kernels.append((backend.bind(step.operation, inputs, outputs, context), step.label))
        self.inputs = {name: arrays[v] for name, v in program.inputs.items()}
        self.outputs = {name: arrays[v] for name, v in program.outputs.items()}
        self.updates = {key: arrays[v] for key, v in program.updates.items()}

    def run(self, inputs: Mapping[str, Array], rng: Any = None) -> dict[str, Array]:
        """The outputs of one call, as views of the buffers: copy what is to be kept.

        Raises `StepError` for a value that a layer refuses.
        """
        self.context.rng = rng
        for name, target in self.inputs.items():
            target[...] = inputs[name]
        for kernel, label in self.kernels:
            try:
                kernel()
            except KernelError as error:
                raise StepError(label, str(error)) from None
        return self.outputs


def _item_size(dtype: str) -> int:
    from netspec.layers.tensor import ITEM_SIZE

    return ITEM_SIZE[dtype]
