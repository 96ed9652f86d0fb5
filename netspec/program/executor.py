"""A program on real arrays: allocated and bound once, then only run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from netspec.backends.base import Array, Backend, Context, Kernel, KernelError
from netspec.operations import ArraySpec
from netspec.program.builder import Step
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
        self.session = context.session = backend.session()
        with self.session.binding():
            self._bind(program, states, planned or plan(program))

    def _bind(self, program: Program, states: Mapping[str, Array], planned: Plan) -> None:
        backend, context = self.backend, self.context
        arrays: dict[int, Array] = {}
        for value, constant in program.constants.items():
            arrays[value] = backend.asarray(constant)
        for key, value in program.states.items():
            arrays[value] = states[key]
            context.origins[id(arrays[value])] = ("state", key)
        set_up = _SetUp(program, backend, context, arrays)
        _place(program, planned, backend, arrays)
        self.kernels: list[tuple[Kernel, str]] = []
        for step in program.steps:
            context.label = step.label
            set_up.compute(step)
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
            set_up.release(step)
        self.arrays = arrays  # kernels of a device know them by their addresses alone
        context.origins.clear()  # ids mean nothing once the arrays of the set-up are gone
        self.inputs = {name: arrays[v] for name, v in program.inputs.items()}
        self.updates = {key: arrays[v] for key, v in program.updates.items()}
        self.outputs = {
            name: self.session.outgoing(arrays[v], self.kernels) for name, v in program.outputs.items()
        }

    def start(self, inputs: Mapping[str, Array], rng: Any = None, keep: bool = False) -> None:
        """Begin one call; `results` ends it. keep: outputs stay on the device.

        Raises `StepError` for a value that a layer refuses, as `results` does.
        """
        self.context.rng = rng
        given = [(target, inputs[name]) for name, target in self.inputs.items()]
        try:
            self.session.start(self.kernels, given, self.outputs, keep)
        except KernelError as error:
            raise StepError(error.label, str(error)) from None

    def results(self) -> dict[str, Any]:
        """The outputs of the call that was started, safe to keep."""
        try:
            return self.session.results(self.outputs)
        except KernelError as error:
            raise StepError(error.label, str(error)) from None

    def run(self, inputs: Mapping[str, Array], rng: Any = None) -> dict[str, Any]:
        """The outputs of one call. Raises `StepError` for a value that a layer refuses."""
        self.start(inputs, rng)
        return self.results()


class _SetUp:
    """The steps that depend on weights alone: each runs when a kernel is bound to its result.

    A result that no further step reads is given up at once, since most kernels have brought it into a form
    of their own: folded weights never lie beside each other in memory.
    """

    def __init__(
        self, program: Program, backend: Backend, context: Context, arrays: dict[int, Array]
    ) -> None:
        self.values, self.backend, self.context, self.arrays = program.values, backend, context, arrays
        self.producer = {value: step for step in program.setup for value in step.outputs}
        self.readers = Counter(v for step in (*program.setup, *program.steps) for v in step.inputs)

    def compute(self, step: Step) -> None:
        """Have the inputs of a step ready."""
        waiting = [step]
        while waiting:
            missing = [v for v in waiting[-1].inputs if v in self.producer and v not in self.arrays]
            if missing:
                waiting.append(self.producer[missing[0]])
                continue
            ready = waiting.pop()
            if ready is not step:
                self._run(ready)
                self.release(ready)

    def release(self, step: Step) -> None:
        """The step has been bound: forget what nobody else reads."""
        for value in step.inputs:
            self.readers[value] -= 1
            if value in self.producer and not self.readers[value]:
                self.context.origins.pop(id(self.arrays[value]), None)
                del self.arrays[value]

    def _run(self, step: Step) -> None:
        arrays, context = self.arrays, self.context
        inputs = [arrays[v] for v in step.inputs]
        outputs = [self.backend.empty(self.values[v]) for v in step.outputs]
        with self.backend.running():
            self.backend.bind(step.operation, inputs, outputs, context)()
        arrays.update(zip(step.outputs, outputs, strict=True))
        origins = tuple(context.origins.get(id(x)) for x in inputs)
        if None not in origins:
            for port, value in enumerate(step.outputs):
                context.origins[id(arrays[value])] = (step.operation, origins, port, self.values[value])


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
