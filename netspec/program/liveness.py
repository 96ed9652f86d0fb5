"""Who reads which value, and which steps nobody reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from netspec.operations import Require
from netspec.program.builder import Step
from netspec.program.compile import Program


def kept_values(program: Program) -> set[int]:
    """Values that somebody outside the steps reads."""
    return {*program.outputs.values(), *program.updates.values()}


def use_counts(program: Program) -> Counter[int]:
    """How many times each value is read, being an output counted as one."""
    counts = Counter(kept_values(program))
    for step in (*program.setup, *program.steps):
        counts.update(step.inputs)
    return counts


def drop_unused(program: Program) -> Program:
    """Without the steps whose results nobody reads; checks of values stay."""
    needed = kept_values(program)

    def alive(steps: tuple[Step, ...]) -> tuple[Step, ...]:
        kept: list[Step] = []
        for step in reversed(steps):
            if isinstance(step.operation, Require) or not needed.isdisjoint(step.outputs):
                kept.append(step)
                needed.update(step.inputs)
        return tuple(reversed(kept))

    steps = alive(program.steps)
    return replace(program, steps=steps, setup=alive(program.setup))
