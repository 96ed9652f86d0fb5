"""Which value lives in which buffer: decided from shapes and the order of steps, before anything is allocated.

A buffer is free again after the last step that reads any value in it. Layout operations share their
input's buffer where its elements already lie in the right order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from netspec.layers.tensor import ITEM_SIZE
from netspec.operations import VIEWS, Affine, ArraySpec, Elementwise, Fused, Operation, Reshape
from netspec.program.builder import Step
from netspec.program.compile import Program
from netspec.program.joining import Part, joined_in_place

ALIGNMENT = 64
"""Bytes; sizes of buffers are rounded up to it, so that similar values can share one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """buffers: sizes in bytes; placed: value -> buffer; views: value -> the value it is a view of.

    channels_last: values whose channels lie side by side in memory; parts: values that are computed inside
    a concatenation of them.
    """

    buffers: tuple[int, ...]
    placed: dict[int, int]
    views: dict[int, int]
    external: int
    channels_last: frozenset[int] = frozenset()
    parts: Mapping[int, Part] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        """Bytes of all buffers, weights and constants not counted."""
        return sum(self.buffers)


def nbytes(spec: ArraySpec) -> int:
    """Size of an array in bytes."""
    return math.prod(spec.shape) * ITEM_SIZE[spec.dtype]


def plan(program: Program, channels_last: frozenset[int] = frozenset()) -> Plan:
    """Place every value."""
    return _Planner(program, channels_last).plan()


class _Planner:
    def __init__(self, program: Program, channels_last: frozenset[int]) -> None:
        self.program, self.channels_last = program, channels_last
        self.parts = joined_in_place(program, channels_last)
        self.views = _views(program, channels_last, self.parts)
        self.fixed = {*program.constants, *program.states.values()}
        self.fixed.update(value for step in program.setup for value in step.outputs)
        self.buffers: list[int] = []
        self.free: list[int] = []
        self.placed: dict[int, int] = {}

    def root(self, value: int) -> int:
        """The value whose buffer this one lies in."""
        while True:
            if value in self.views:
                value = self.views[value]
            elif value in self.parts:
                value = self.parts[value].whole
            else:
                return value

    def plan(self) -> Plan:
        """Place every value when it is first written; a buffer is free after its last use."""
        program = self.program
        last_use = self._last_uses()
        expiring: dict[int, list[int]] = {}
        for value, number in last_use.items():
            expiring.setdefault(number, []).append(value)
        for value in program.inputs.values():
            self._place(value)
        for number, step in enumerate(program.steps):
            ending = expiring.get(number, [])
            for value in step.outputs:
                root = self.root(value)
                if root in self.placed or root in self.fixed:
                    continue
                if value != root or not self._overwrite(step, value, ending):
                    self._place(root)
            self.free += [self.placed[value] for value in ending if value in self.placed]
        external = sum(nbytes(program.values[v]) for v in self.fixed)
        return Plan(tuple(self.buffers), self.placed, self.views, external, self.channels_last, self.parts)

    def _last_uses(self) -> dict[int, int]:
        """The last step that reads or writes anything in each buffer; outputs are read after the last."""
        last_use = dict.fromkeys(self.program.inputs.values(), -1)
        for number, step in enumerate(self.program.steps):
            for value in (*step.inputs, *step.outputs):
                last_use[self.root(value)] = number
        for value in (*self.program.outputs.values(), *self.program.updates.values()):
            last_use[self.root(value)] = len(self.program.steps)
        return last_use

    def _place(self, value: int) -> None:
        size = max(-(-nbytes(self.program.values[value]) // ALIGNMENT), 1) * ALIGNMENT
        fitting = [b for b in self.free if size <= self.buffers[b] <= 4 * size]
        if fitting:
            chosen = min(fitting, key=self.buffers.__getitem__)
            self.free.remove(chosen)
        else:
            chosen = len(self.buffers)
            self.buffers.append(size)
        self.placed[value] = chosen

    def _overwrite(self, step: Step, target: int, ending: list[int]) -> bool:
        """Let an elementwise step write over an input that nobody reads any more.

        What the stages of a fused step read is still needed after the first result has been written.
        """
        main: Operation = step.operation
        read_first = step.inputs
        if isinstance(step.operation, Fused):
            main, read_first = step.operation.main, step.inputs[: step.operation.arity]
        if not isinstance(main, (Elementwise, Affine)):
            return False
        same = self.program.values[target]
        for value in read_first:
            if (
                value in ending
                and value in self.placed
                and self.program.values[value] == same
                and (value in self.channels_last) == (target in self.channels_last)
                and [self.root(v) for v in step.inputs].count(value) == 1  # no view of it is read as well
            ):
                ending.remove(value)
                self.placed[target] = self.placed[value]
                return True
        return False


def _views(program: Program, channels_last: frozenset[int], parts: Mapping[int, Part]) -> dict[int, int]:
    """Values that are views of others: reshapes only of what lies in row-major order."""
    views: dict[int, int] = {}
    strided = {value for value in channels_last if math.prod(program.values[value].shape[2:]) > 1}
    strided.update(parts)
    for step in program.steps:
        if not isinstance(step.operation, VIEWS):
            continue
        (source,), (target,) = step.inputs, step.outputs
        if isinstance(step.operation, Reshape):
            if source not in strided:
                views[target] = source
        else:
            views[target] = source
            strided.add(target)
    return views
