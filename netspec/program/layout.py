"""Which values lie channels-last in memory.

A convolution's windows, and its product with the weights, are runs of channels: (n, *s, c) in memory reads
and writes them whole. The logical shape stays (n, c, *s) everywhere; only strides differ, as with torch's
memory formats, so that every kernel is right on either and the fast ones look at the strides.
"""

from __future__ import annotations

from netspec.operations import (
    AdaptiveAveragePool,
    AdaptiveMaxPool,
    Affine,
    AveragePool,
    Cast,
    Concat,
    Convolution,
    Elementwise,
    Fused,
    MaxPool,
    Operation,
    Pad,
    Resize,
    TransposedConvolution,
)
from netspec.program.compile import Program

PRODUCERS = (Convolution, TransposedConvolution)
FOLLOWERS = (
    Elementwise,
    Affine,
    MaxPool,
    AveragePool,
    AdaptiveAveragePool,
    AdaptiveMaxPool,
    Resize,
    Pad,
    Concat,
    Cast,
)
"""Operations whose output lies as their first input of the same rank does."""


def channels_last(program: Program, fewest: int | None) -> frozenset[int]:
    """The values (n, c, *s) of at least `fewest` channels that are best kept channels-last (None: no values).

    Those of a view are not asked.
    """
    last: set[int] = set()
    if fewest is None:
        return frozenset()
    for step in program.steps:
        operation: Operation = step.operation
        if isinstance(operation, Fused):
            operation = operation.main
        for value in step.outputs:
            shape = program.values[value].shape
            if len(shape) < 3 or shape[1] < fewest:
                continue
            if isinstance(operation, PRODUCERS) or (
                isinstance(operation, FOLLOWERS)
                and any(_same_kind(program, v, value, last) for v in step.inputs)
            ):
                last.add(value)
    return frozenset(last)


def _same_kind(program: Program, source: int, value: int, last: set[int]) -> bool:
    return source in last and len(program.values[source].shape) == len(program.values[value].shape)
