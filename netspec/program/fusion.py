"""Elementwise operations join the step that computes their input, so that its result is still in the cache."""

from __future__ import annotations

from dataclasses import replace

from netspec.operations import (
    RUNNING,
    Affine,
    Convolution,
    Elementwise,
    Fused,
    Linear,
    Operation,
    Stage,
    TransposedConvolution,
)
from netspec.program.builder import Step
from netspec.program.compile import Program
from netspec.program.liveness import use_counts

MAINS = (Convolution, TransposedConvolution, Linear, Elementwise, Affine)
"""Operations that elementwise stages may follow."""

FUSED_TYPES = ("float32", "float64")
"""Types that are computed in themselves: float16 goes through float32, and is rounded after each layer by default."""


def fuse_stages(program: Program, types: tuple[str, ...] = FUSED_TYPES) -> Program:
    """Chains of elementwise steps of these types become stages of the step that they start from.

    A chain goes on while the value has one reader, which keeps its shape and type. The fused step stands
    where the last of the chain stood, so that all it reads has been computed by then.
    """
    uses = use_counts(program)
    steps: list[Step | None] = []
    producer: dict[int, int] = {}
    for step in program.steps:
        found = _source(program, step, steps, producer, uses, types)
        if found is not None:
            place, running = found
            main = steps[place]
            assert main is not None
            steps[place] = None
            step = _joined(main, step, running)
        for value in step.outputs:
            producer[value] = len(steps)
        steps.append(step)
    return replace(program, steps=tuple(s for s in steps if s is not None))


def _source(
    program: Program,
    step: Step,
    steps: list[Step | None],
    producer: dict[int, int],
    uses: dict[int, int],
    types: tuple[str, ...],
) -> tuple[int, int] | None:
    """Where the step stands that this one can join, and the value that both share: the latest of several."""
    if not isinstance(step.operation, (Elementwise, Affine)):
        return None
    target = program.values[step.outputs[0]]
    if target.dtype not in types or not target.shape:
        return None
    operands = step.inputs[:1] if isinstance(step.operation, Affine) else step.inputs
    best: tuple[int, int] | None = None
    for value in operands:
        if value not in producer or uses[value] != 1 or program.values[value] != target:
            continue
        place = producer[value]
        main = steps[place]
        assert main is not None
        operation = main.operation.main if isinstance(main.operation, Fused) else main.operation
        if isinstance(operation, MAINS) and (best is None or place > best[0]):
            best = place, value
    return best


def _joined(main: Step, step: Step, running: int) -> Step:
    inputs = list(main.inputs)
    operands = []
    for value in step.inputs:
        if value == running:
            operands.append(RUNNING)
        else:
            operands.append(len(inputs))
            inputs.append(value)
    assert isinstance(step.operation, (Elementwise, Affine))
    stage = Stage(step.operation, tuple(operands))
    before = main.operation
    operation: Operation
    if isinstance(before, Fused):
        operation = replace(before, stages=(*before.stages, stage))
    else:
        operation = Fused(before, len(main.inputs), (stage,))
    absorbed = (*main.absorbed, step.label, *step.absorbed)
    return Step(operation, tuple(inputs), step.outputs, main.label, tuple(dict.fromkeys(absorbed)))
