"""Work on constants and weights alone is done once, when the program's buffers are made."""

from __future__ import annotations

from dataclasses import replace

from netspec.operations import Random, Require
from netspec.program.compile import Program


def move_constants(program: Program) -> Program:
    """The steps that depend on no input, no random number and no updated state, moved to `setup`.

    What an output or an update shows stays among the steps: its buffer is written at every run.
    """
    updated = {program.states[key] for key in program.updates if key in program.states}
    fixed = {*program.constants, *program.states.values()} - updated
    shown = {*program.outputs.values(), *program.updates.values()}
    setup, steps = list(program.setup), []
    for step in program.steps:
        once = fixed.issuperset(step.inputs) and shown.isdisjoint(step.outputs)
        if once and not isinstance(step.operation, (Random, Require)):
            setup.append(step)
            fixed.update(step.outputs)
        else:
            steps.append(step)
    return replace(program, setup=tuple(setup), steps=tuple(steps))
