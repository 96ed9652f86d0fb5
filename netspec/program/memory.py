"""Which value lives in which buffer: decided from shapes and the order of steps, before anything is allocated.

A buffer is free again after the last step that reads any value in it. Layout operations share their
input's buffer where its elements already lie in the right order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from netspec.layers.tensor import ITEM_SIZE
from netspec.operations import VIEWS, ArraySpec, Reshape
from netspec.program.compile import Program

ALIGNMENT = 64
"""Bytes; sizes of buffers are rounded up to it, so that similar values can share one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """buffers: sizes in bytes; placed: value -> buffer; views: value -> the value it is a view of.

    channels_last: values whose channels lie side by side in memory.
    """

    buffers: tuple[int, ...]
    placed: dict[int, int]
    views: dict[int, int]
    external: int
    channels_last: frozenset[int] = frozenset()

    @property
    def total_bytes(self) -> int:
        """Bytes of all buffers, weights and constants not counted."""
        return sum(self.buffers)


def nbytes(spec: ArraySpec) -> int:
    """Size of an array in bytes."""
    return math.prod(spec.shape) * ITEM_SIZE[spec.dtype]


def plan(program: Program, channels_last: frozenset[int] = frozenset()) -> Plan:
    """Place every value."""
    views = _views(program, channels_last)
    fixed = set(program.constants) | set(program.states.values())
    fixed.update(value for step in program.setup for value in step.outputs)
    kept = set(program.inputs.values()) | set(program.outputs.values()) | set(program.updates.values())

    def root(value: int) -> int:
        while value in views:
            value = views[value]
        return value

    last_use: dict[int, int] = {}
    for number, step in enumerate(program.steps):
        for value in (*step.inputs, *step.outputs):
            last_use[root(value)] = number
    for value in kept:
        last_use[root(value)] = len(program.steps)

    buffers: list[int] = []
    free: list[int] = []
    placed: dict[int, int] = {}

    def place(value: int) -> None:
        size = max(-(-nbytes(program.values[value]) // ALIGNMENT), 1) * ALIGNMENT
        fitting = [b for b in free if size <= buffers[b] <= 4 * size]
        if fitting:
            chosen = min(fitting, key=buffers.__getitem__)
            free.remove(chosen)
        else:
            chosen = len(buffers)
            buffers.append(size)
        placed[value] = chosen

    for value in program.inputs.values():
        if value not in placed:
            place(value)
    expiring: dict[int, list[int]] = {}
    for value, number in last_use.items():
        expiring.setdefault(number, []).append(value)
    for number, step in enumerate(program.steps):
        for value in step.outputs:
            if value not in views and value not in fixed and value not in placed:
                place(value)
        for value in expiring.get(number, ()):
            if value in placed:
                free.append(placed[value])
    external = sum(nbytes(program.values[v]) for v in fixed)
    return Plan(tuple(buffers), placed, views, external, channels_last)


def _views(program: Program, channels_last: frozenset[int]) -> dict[int, int]:
    """Values that are views of others: reshapes only of what lies in row-major order."""
    views: dict[int, int] = {}
    strided = {value for value in channels_last if math.prod(program.values[value].shape[2:]) > 1}
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
