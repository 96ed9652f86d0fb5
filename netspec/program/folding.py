"""An affine map of channels behind a convolution or linear layer becomes part of its weights."""

from __future__ import annotations

from dataclasses import replace

from netspec.operations import (
    Affine,
    ArraySpec,
    Convolution,
    Elementwise,
    Linear,
    Reshape,
    TransposedConvolution,
)
from netspec.program.builder import Step
from netspec.program.compile import Program
from netspec.program.liveness import use_counts

FOLDED = ("float32", "float64")
"""Types in which the products of weights are exact enough to be made once, by default."""


def fold_affine(program: Program, types: tuple[str, ...] = FOLDED) -> Program:
    """Affine(convolution(x, w, b), scale, shift) = convolution(x, w * scale, b * scale + shift).

    Only where scale and shift are known before the run and nobody else reads the convolution.
    """
    fold = _Folding(program, types)
    for step in program.steps:
        fold.add(step)
    return replace(
        program, values=tuple(fold.values), steps=tuple(fold.steps), setup=(*program.setup, *fold.setup)
    )


class _Folding:
    def __init__(self, program: Program, types: tuple[str, ...]) -> None:
        self.types = types
        self.values = list(program.values)
        self.steps: list[Step] = []
        self.setup: list[Step] = []
        self.uses = use_counts(program)
        updated = {program.states[key] for key in program.updates if key in program.states}
        self.known = {*program.constants, *program.states.values()} - updated
        for step in program.setup:
            self.known.update(step.outputs)
        self.producer: dict[int, int] = {}

    def add(self, step: Step) -> None:
        """Take the step over, folded into its producer where that is possible."""
        if isinstance(step.operation, Affine) and self._fold(step):
            return
        for value in step.outputs:
            self.producer[value] = len(self.steps)
        self.steps.append(step)

    def _fold(self, affine: Step) -> bool:
        x, scale, shift = affine.inputs
        if x not in self.producer or self.uses[x] != 1 or not self.known.issuperset((scale, shift)):
            return False
        main = self.steps[self.producer[x]]
        axis = self._weight_axis(main, affine)
        if axis is None or not self.known.issuperset(main.inputs[1:]):
            return False
        weight, *bias = main.inputs[1:]
        folded = self._times(weight, scale, axis, affine.label)
        if bias:
            shift = self._emit(
                Elementwise("add", (1,)), (self._times(bias[0], scale, 0, affine.label), shift), affine.label
            )
        self.steps[self.producer[x]] = replace(
            main,
            inputs=(main.inputs[0], folded, shift),
            outputs=affine.outputs,
            absorbed=(*main.absorbed, affine.label),
        )
        self.producer[affine.outputs[0]] = self.producer.pop(x)
        return True

    def _weight_axis(self, main: Step, affine: Step) -> int | None:
        """The axis of the weight that runs over output channels; None where nothing can be folded."""
        spec = self.values[main.outputs[0]]
        if spec.dtype not in self.types or any(self.values[v].dtype != spec.dtype for v in affine.inputs):
            return None
        axis = affine.operation.axis % len(spec.shape)  # type: ignore[attr-defined]
        match main.operation:
            case Convolution() if axis == 1:
                return 0
            case TransposedConvolution(groups=1) if axis == 1:
                return 1
            case Linear() if axis == len(spec.shape) - 1:
                return 0
        return None

    def _times(self, array: int, scale: int, axis: int, label: str) -> int:
        """array * scale, the scale along one axis of the array."""
        rank = len(self.values[array].shape)
        count = self.values[scale].shape[0]
        shape = tuple(count if a == axis else 1 for a in range(rank))
        if rank > 1:
            scale = self._emit(Reshape(), (scale,), label, shape)
        return self._emit(Elementwise("mul"), (array, scale), label)

    def _emit(
        self,
        operation: Elementwise | Reshape,
        inputs: tuple[int, ...],
        label: str,
        shape: tuple[int, ...] | None = None,
    ) -> int:
        first = self.values[inputs[0]]
        value = len(self.values)
        self.values.append(ArraySpec(shape or first.shape, first.dtype))
        self.setup.append(Step(operation, inputs, (value,), label))
        self.known.add(value)
        return value
