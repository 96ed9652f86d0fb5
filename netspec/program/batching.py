"""Whether a program treats every row of the first axis on its own, so that batches give the same answer.

Decided on operations, of which there are few, and not on layers, of which there are many.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from netspec import operations as ops
from netspec.operations import ArraySpec
from netspec.program.builder import Step
from netspec.program.compile import Program


class Rows(Enum):
    """How a value depends on the batch: not at all, row by row along axis 0, or otherwise."""

    FREE = 0
    EACH = 1
    MIXED = 2


def mixing_layer(program: Program) -> str | None:
    """The layer because of which some output would change if the batch were cut, or None.

    The program must have been compiled for a batch of two or more rows.
    """
    rows: dict[int, Rows] = {}
    blame: dict[int, str] = {}
    for value in program.inputs.values():
        rows[value] = Rows.EACH
    for value in (*program.constants, *program.states.values()):
        rows[value] = Rows.FREE
    for step in program.steps:
        arriving = [rows[v] for v in step.inputs]
        if isinstance(step.operation, ops.Random) or Rows.MIXED in arriving:
            result = Rows.MIXED
        elif Rows.EACH not in arriving:
            result = Rows.FREE
        else:
            result = Rows.EACH if _row_wise(step, arriving, program.values) else Rows.MIXED
        for value in step.outputs:
            rows[value] = result
            if result is Rows.MIXED:
                sources = [blame[v] for v in step.inputs if v in blame]
                blame[value] = sources[0] if sources else step.label
    for value in (*program.outputs.values(), *program.updates.values()):
        if rows[value] is not Rows.EACH:
            return blame.get(value, next((s.label for s in reversed(program.steps)), "the network"))
    return None


def _row_wise(step: Step, rows: list[Rows], values: tuple[ArraySpec, ...]) -> bool:
    inputs = [values[v] for v in step.inputs]
    outputs = [values[v] for v in step.outputs]
    rule = _RULES.get(type(step.operation))
    return rule is not None and rule(step.operation, rows, inputs, outputs)


def _only_first(operation: Any, rows: list[Rows], inputs: list[ArraySpec], outputs: list[ArraySpec]) -> bool:
    """The data is the first input (and indices beside it), the others are weights."""
    return rows[0] is Rows.EACH


def _axes(operation: Any, rows: list[Rows], inputs: list[ArraySpec], outputs: list[ArraySpec]) -> bool:
    axes = getattr(operation, "axes", None)
    if axes is None:
        axes = (operation.axis,)
    rank = len(inputs[0].shape)
    return rows[0] is Rows.EACH and None not in axes and 0 not in [a % rank for a in axes]


def _elementwise(operation: Any, rows: list[Rows], inputs: list[ArraySpec], outputs: list[ArraySpec]) -> bool:
    rank = len(outputs[0].shape)
    for state, spec in zip(rows, inputs, strict=True):
        leads = len(spec.shape) == rank and rank > 0
        if state is Rows.EACH and (not leads or spec.shape[0] != outputs[0].shape[0]):
            return False
        if state is Rows.FREE and leads and spec.shape[0] != 1:
            return False
    return True


def _reshape(operation: Any, rows: list[Rows], inputs: list[ArraySpec], outputs: list[ArraySpec]) -> bool:
    before, after = inputs[0].shape, outputs[0].shape
    return bool(before) and bool(after) and before[0] == after[0]


def _matmul(operation: Any, rows: list[Rows], inputs: list[ArraySpec], outputs: list[ArraySpec]) -> bool:
    left, right = (len(spec.shape) for spec in inputs)
    if rows[0] is Rows.EACH and rows[1] is Rows.EACH:
        return left == right and left > 2
    if rows[0] is Rows.EACH:
        return left >= 2 and right <= max(2, left - 1)
    return right > 2 and left < right


def _einsum(operation: Any, rows: list[Rows], inputs: list[ArraySpec], outputs: list[ArraySpec]) -> bool:
    terms, result = operation.equation.split("->")
    if not result:
        return False
    batch = result[0]
    for state, term in zip(rows, terms.split(","), strict=True):
        if state is Rows.EACH and (not term or term[0] != batch or batch in term[1:]):
            return False
        if state is Rows.FREE and batch in term:
            return False
    return batch not in result[1:]


def _concat(operation: Any, rows: list[Rows], inputs: list[ArraySpec], outputs: list[ArraySpec]) -> bool:
    return operation.axis != 0 and all(state is Rows.EACH for state in rows)


def _all_rows(operation: Any, rows: list[Rows], inputs: list[ArraySpec], outputs: list[ArraySpec]) -> bool:
    return all(state is Rows.EACH for state in rows)


_WINDOWED = (
    ops.Convolution,
    ops.TransposedConvolution,
    ops.MaxPool,
    ops.AveragePool,
    ops.AdaptiveAveragePool,
    ops.AdaptiveMaxPool,
    ops.Resize,
    ops.Cast,
    ops.Require,
)
"""Operations that read (n, c, *s), or any element, row by row."""

_Rule = Callable[[Any, list[Rows], list[ArraySpec], list[ArraySpec]], bool]
_RULES: dict[type[ops.Operation], _Rule] = {
    **dict.fromkeys(_WINDOWED, _only_first),
    ops.Linear: lambda o, rows, inputs, outputs: rows[0] is Rows.EACH and len(inputs[0].shape) >= 2,
    ops.MaxUnpool: _all_rows,
    ops.TakeAlong: lambda o, rows, i, out: _all_rows(o, rows, i, out) and o.axis != 0,
    ops.Pad: lambda o, rows, i, out: o.widths[0] == (0, 0),
    ops.Elementwise: _elementwise,
    ops.Affine: _axes,
    ops.Reduce: _axes,
    ops.ArgMax: lambda o, rows, i, out: o.axis is not None and _axes(o, rows, i, out),
    ops.Softmax: _axes,
    ops.Moments: _axes,
    ops.Normalize: _axes,
    ops.MatMul: _matmul,
    ops.Einsum: _einsum,
    ops.Reshape: _reshape,
    ops.Transpose: lambda o, rows, i, out: o.axes[0] == 0,
    ops.Slice: _axes,
    ops.Broadcast: lambda o, rows, i, out: len(i[0].shape) == len(out[0].shape),
    ops.Concat: _concat,
}
