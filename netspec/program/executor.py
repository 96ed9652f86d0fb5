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
        arrays: dict[int, Array] = {}
        for value, constant in program.constants.items():
            arrays[value] = backend.asarray(constant)
        for key, value in program.states.items():
            arrays[value] = states[key]
            context.origins[id(arrays[value])] = ("state", key)
        self._set_up(arrays)
        planned = planned or plan(program)
        _place(program, planned, backend, arrays)
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
        context.origins.clear()  # ids mean nothing once the arrays of the set-up are gone
        self.inputs = {name: arrays[v] for name, v in program.inputs.items()}
        self.outputs = {name: arrays[v] for name, v in program.outputs.items()}
        self.updates = {key: arrays[v] for key, v in program.updates.items()}

    def _set_up(self, arrays: dict[int, Array]) -> None:
        """Run the steps that depend on weights alone."""
        program, context = self.program, self.context
        with self.backend.running():
            for step in program.setup:
                inputs = [arrays[v] for v in step.inputs]
                outputs = [self.backend.empty(program.values[v]) for v in step.outputs]
                self.backend.bind(step.operation, inputs, outputs, context)()
                arrays.update(zip(step.outputs, outputs, strict=True))
                origins = tuple(context.origins.get(id(x)) for x in inputs)
                if None not in origins:
                    for value in step.outputs:
                        form = (step.operation, origins, step.outputs.index(value), program.values[value])
                        context.origins[id(arrays[value])] = form

    def run(self, inputs: Mapping[str, Array], rng: Any = None) -> dict[str, Array]:
        """The outputs of one call, as views of the buffers: copy what is to be kept.

        Raises `StepError` for a value that a layer refuses.
        """
        self.context.rng = rng
        label = ""
        with self.backend.running():
            for name, target in self.inputs.items():
                target[...] = inputs[name]
            try:
                for kernel, label in self.kernels:  # noqa: B007 - the label is read if a kernel raises
                    kernel()
            except KernelError as error:
                raise StepError(label, str(error)) from None
        return self.outputs


def _place(program: Program, planned: Plan, backend: Backend, arrays: dict[int, Array]) -> None:
    """Arrays of the planned values in buffers of their own, in the layout that was planned."""
    buffers = [backend.empty(ArraySpec((size,), "uint8")) for size in planned.buffers]
    for value, buffer in planned.placed.items():
        spec = program.values[value]
        count = math.prod(spec.shape) * _item_size(spec.dtype)
        flat = buffers[buffer][:count].view(spec.dtype)
        if value in planned.channels_last:
            n, c, *space = spec.shape
            arrays[value] = backend.moved_channels(flat.reshape(n, *space, c))
        else:
            arrays[value] = flat.reshape(spec.shape)
    for value in planned.parts:
        _inside(value, planned, arrays)


def _inside(value: int, planned: Plan, arrays: dict[int, Array]) -> Array:
    """The array of a value that is a part of another one."""
    if value not in arrays:
        part = planned.parts[value]
        whole = _inside(part.whole, planned, arrays)
        arrays[value] = whole[(*(slice(None),) * part.axis, slice(part.start, part.stop))]
    return arrays[value]


def _item_size(dtype: str) -> int:
    from netspec.layers.tensor import ITEM_SIZE

    return ITEM_SIZE[dtype]
