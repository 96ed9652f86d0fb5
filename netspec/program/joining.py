"""Concatenation without copies: what is joined is written to its place in the result at once.

In a dense block each layer joins all that came before; the shorter joins are the beginning of the longest
one, so that the whole block writes into a single buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

from netspec.operations import VIEWS, Concat
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
    joining = _Joining(program, channels_last)
    joins = [
        _Join(step.inputs, step.outputs[0], step.operation.axis)
        for step in program.steps
        if isinstance(step.operation, Concat)
    ]
    while joins:
        join = joins.pop()
        if join.whole in joining.movable:
            joining.take(join)
            for earlier in joins:
                joining.nest(join, earlier)
    return joining.parts


@dataclass(frozen=True, slots=True)
class _Join:
    inputs: tuple[int, ...]
    whole: int
    axis: int


class _Joining:
    def __init__(self, program: Program, channels_last: frozenset[int]) -> None:
        self.values, self.channels_last = program.values, channels_last
        self.parts: dict[int, Part] = {}
        # what a step writes wherever it is told: no inputs, no views, nothing known beforehand
        self.movable = {
            v for step in program.steps if not isinstance(step.operation, VIEWS) for v in step.outputs
        } - set(program.updates.values())

    def take(self, join: _Join) -> None:
        """Make the inputs parts of the result, each at its place."""
        whole = self.values[join.whole]
        if any(len(self.values[v].shape) != len(whole.shape) for v in join.inputs):
            return  # torch's empty (0,): such joins are rare and copied
        start = 0
        for value in join.inputs:
            stop = start + self.values[value].shape[self._axis(join)]
            if join.inputs.count(value) == 1 and self._fits(value, join.whole):
                self.parts[value] = Part(join.whole, self._axis(join), start, stop)
            start = stop

    def nest(self, join: _Join, earlier: _Join) -> None:
        """An earlier concatenation of a run of the same inputs is a part of this one."""
        axis, count = self._axis(join), len(earlier.inputs)
        if not self._fits(earlier.whole, join.whole) or self._axis(earlier) != axis:
            return
        for first in range(len(join.inputs) - count + 1):
            if join.inputs[first : first + count] == earlier.inputs:
                start = sum(self.values[v].shape[axis] for v in join.inputs[:first])
                stop = start + self.values[earlier.whole].shape[axis]
                self.parts[earlier.whole] = Part(join.whole, axis, start, stop)
                return

    def _axis(self, join: _Join) -> int:
        return join.axis % len(self.values[join.whole].shape)

    def _fits(self, value: int, whole: int) -> bool:
        """Whether the value can lie inside the whole: free to move, of one type and layout with it."""
        return (
            value in self.movable
            and value not in self.parts
            and self.values[value].dtype == self.values[whole].dtype
            and (value in self.channels_last) == (whole in self.channels_last)
        )
