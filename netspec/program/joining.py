"""Concatenation without copies: what is joined is written to its place in the result at once.

In a dense block each layer joins all that came before; the shorter joins are the beginning of the longest
one, so that the whole block writes into a single buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

from netspec.operations import VIEWS, Concat
from netspec.program.builder import Step
from netspec.program.compile import Program


@dataclass(frozen=True, slots=True)
class Part:
    """A value that is elements `start` to `stop` of `whole` along `axis`."""

    whole: int
    axis: int
    start: int
    stop: int


def joined_in_place(program: Program, channels_last: frozenset[int]) -> dict[int, Part]:
    """Values that are best computed inside the result of a concatenation.

    Later concatenations come first: an earlier one whose inputs they contain side by side is a part of
    theirs. A value belongs to one result only.
    """
    movable = _movable(program)
    parts: dict[int, Part] = {}
    joins = [step for step in program.steps if isinstance(step.operation, Concat)]
    while joins:
        step = joins.pop()
        if step.outputs[0] in movable:
            _join(program, step, joins, movable, channels_last, parts)
    return parts


def _movable(program: Program) -> set[int]:
    """Values that a step writes to wherever it is told: no inputs, no views, nothing known beforehand."""
    movable: set[int] = set()
    for step in program.steps:
        if not isinstance(step.operation, VIEWS):
            movable.update(step.outputs)
    return movable - set(program.updates.values())


def _join(
    program: Program,
    step: Step,
    earlier: list[Step],
    movable: set[int],
    channels_last: frozenset[int],
    parts: dict[int, Part],
) -> None:
    whole = step.outputs[0]
    spec = program.values[whole]
    axis = step.operation.axis % len(spec.shape)  # type: ignore[attr-defined]
    start = 0
    for value in step.inputs:
        shape = program.values[value].shape
        if len(shape) != len(spec.shape):
            return  # torch's empty (0,): such joins are rare and copied
        stop = start + shape[axis]
        fits = (
            value in movable
            and value not in parts
            and step.inputs.count(value) == 1
            and program.values[value].dtype == spec.dtype
            and (value in channels_last) == (whole in channels_last)
        )
        if fits:
            parts[value] = Part(whole, axis, start, stop)
        start = stop
    _nest_shorter_joins(program, step, earlier, axis, movable, channels_last, parts)


def _nest_shorter_joins(
    program: Program,
    step: Step,
    earlier: list[Step],
    axis: int,
    movable: set[int],
    channels_last: frozenset[int],
    parts: dict[int, Part],
) -> None:
    """Earlier concatenations of a run of the same inputs become parts of this one."""
    whole = step.outputs[0]
    for other in earlier:
        result = other.outputs[0]
        if result in parts or result not in movable:
            continue
        count = len(other.inputs)
        run = next(
            (i for i in range(len(step.inputs) - count + 1) if step.inputs[i : i + count] == other.inputs),
            None,
        )
        same_axis = other.operation.axis % len(program.values[whole].shape) == axis
        if run is None or not same_axis or (result in channels_last) != (whole in channels_last):
            continue
        start = sum(program.values[v].shape[axis] for v in step.inputs[:run])
        parts[result] = Part(whole, axis, start, start + program.values[result].shape[axis])
