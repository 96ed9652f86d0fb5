"""A program whose arrays are kept in a narrower type than its inputs and outputs have.

NumPy has no bfloat16, and files and services seldom: a network that runs in it takes and gives float32, and is
narrow in between. Weights are narrowed once, after everything that is made of them has been computed in float32.
"""

from __future__ import annotations

from dataclasses import replace

from netspec.operations import ArraySpec, Cast
from netspec.program.builder import Step
from netspec.program.compile import Program
from netspec.program.liveness import kept_values

WIDE = "float32"


def narrowed(program: Program, dtype: str) -> Program:
    """The program with its float32 values kept as `dtype`, converted where they come in and where they go out."""
    values = list(program.values)
    given = {*program.inputs.values(), *program.constants, *program.states.values()}
    given.update(value for step in program.setup for value in step.outputs)
    once = given - set(program.inputs.values()) - _updated(program)
    narrow: dict[int, int] = {}
    setup = list(program.setup)
    steps: list[Step] = []
    last: list[Step] = []

    def beside(value: int) -> int:
        """A narrow value for a float32 one that keeps its own type."""
        values.append(ArraySpec(values[value].shape, dtype))
        return len(values) - 1

    def read(value: int) -> int:
        if values[value].dtype != WIDE or value not in given:
            return narrow.get(value, value)
        if value not in narrow:
            narrow[value] = beside(value)
            cast = Step(Cast(), (value,), (narrow[value],), "")
            (setup if value in once else steps).append(cast)
        return narrow[value]

    kept = kept_values(program)
    for step in program.steps:
        inputs = tuple(read(value) for value in step.inputs)
        outputs = []
        for value in step.outputs:
            if values[value].dtype == WIDE and value in kept:
                narrow[value] = beside(value)
                last.append(Step(Cast(), (narrow[value],), (value,), step.label))
            elif values[value].dtype == WIDE:
                values[value] = ArraySpec(values[value].shape, dtype)
            outputs.append(narrow.get(value, value))
        steps.append(replace(step, inputs=inputs, outputs=tuple(outputs)))
    return replace(program, values=tuple(values), setup=tuple(setup), steps=(*steps, *last))


def _updated(program: Program) -> set[int]:
    """States that the program replaces: they are read anew in each run."""
    return {program.states[key] for key in program.updates if key in program.states}
