"""Where layers write down their computation: values in, operations appended, values out.

The builder knows shapes and dtypes (all concrete by now) and nothing of arrays, except for literal
constants that a layer brings along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from netspec.operations import (
    ArraySpec,
    Broadcast,
    Cast,
    Elementwise,
    Operation,
    Reshape,
    Transpose,
)


@dataclass(frozen=True, slots=True)
class Value:
    """One array of the program: its number, shape and dtype."""

    id: int
    spec: ArraySpec

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.spec.shape

    @property
    def dtype(self) -> str:
        """NumPy's name of the dtype."""
        return self.spec.dtype

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.spec.shape)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on numbered values; `label` is the layer it came from, `absorbed` those fused into it."""

    operation: Operation
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    label: str
    absorbed: tuple[str, ...] = ()


@dataclass
class Builder:
    """Collects the steps of one program.

    `outputs` are the types that the current layer must produce; `state` and `update` speak of the
    current layer's own arrays. Set anew by `layer(...)` for each one.
    """

    dtype: str = "float32"
    training: bool = False
    values: list[Value] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)
    states: dict[str, Value] = field(default_factory=dict)
    updates: dict[str, Value] = field(default_factory=dict)
    outputs: tuple[ArraySpec, ...] = ()
    label: str = ""
    _prefix: str = ""
    _state_specs: dict[str, ArraySpec] = field(default_factory=dict)

    # --- the frame of one layer ---------------------------------------------------------------------

    def layer(
        self, label: str, prefix: str, outputs: tuple[ArraySpec, ...], states: dict[str, ArraySpec]
    ) -> None:
        """Begin the steps of a layer: `prefix` is the path that its state-dict keys start with."""
        self.label, self._prefix, self.outputs, self._state_specs = label, prefix, outputs, states

    def value(self, shape: Sequence[int], dtype: str) -> Value:
        """A new value, not yet computed by anything."""
        value = Value(len(self.values), ArraySpec(tuple(shape), dtype))
        self.values.append(value)
        return value

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the layer's first output."""
        return self.outputs[0].shape

    # --- sources ------------------------------------------------------------------------------------

    def state(self, name: str) -> Value | None:
        """The layer's array of this name (after the updates of earlier calls), or None."""
        if name not in self._state_specs:
            return None
        key = self.key(name)
        if key in self.updates:
            return self.updates[key]
        if key not in self.states:
            spec = self._state_specs[name]
            self.states[key] = self.value(spec.shape, spec.dtype)
        return self.states[key]

    def weight(self, name: str) -> Value:
        """The layer's array of this name; it must exist."""
        value = self.state(name)
        assert value is not None, f"{self.label} has no state {name}"
        return value

    def update(self, name: str, value: Value) -> None:
        """Say that after the run the layer's array holds `value`."""
        self.updates[self.key(name)] = value

    def key(self, name: str) -> str:
        """State-dict key of one of the layer's arrays; a Parameter's own name is empty."""
        return f"{self._prefix}.{name}" if name else self._prefix

    def constant(self, array: Any) -> Value:
        """A literal array."""
        value = self.value(array.shape, str(array.dtype))
        self.constants[value.id] = array
        return value

    def literal(self, numbers: Any, dtype: str) -> Value:
        """Nested literal numbers as an array."""
        import numpy as np

        return self.constant(np.array(numbers, dtype=dtype))

    # --- operations ---------------------------------------------------------------------------------

    def emit(
        self,
        operation: Operation,
        *inputs: Value | None,
        shape: Sequence[int] | None = None,
        dtype: str | None = None,
    ) -> Value:
        """Append an operation with one output: by default of the layer's first output shape, and of the
        first input's dtype. Inputs that are None are left out."""
        given = [v for v in inputs if v is not None]
        out = self.value(
            self.shape if shape is None else shape, dtype or (given[0].dtype if given else self.dtype)
        )
        self.append(operation, given, [out])
        return out

    def append(self, operation: Operation, inputs: Sequence[Value], outputs: Sequence[Value]) -> None:
        """Append an operation with any number of outputs."""
        self.steps.append(
            Step(operation, tuple(v.id for v in inputs), tuple(v.id for v in outputs), self.label)
        )

    def elementwise(
        self, function: str, *inputs: Value, constants: Sequence[Any] = (), dtype: str | None = None
    ) -> Value:
        """An elementwise function of broadcast inputs."""
        return self.emit(
            Elementwise(function, tuple(constants)),
            *inputs,
            shape=broadcast_shapes(*(v.shape for v in inputs)),
            dtype=dtype,
        )

    def cast(self, x: Value, dtype: str) -> Value:
        """x in another dtype; x itself where it has it already."""
        return x if x.dtype == dtype else self.emit(Cast(), x, shape=x.shape, dtype=dtype)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """x's elements in row-major order under another shape."""
        return x if x.shape == tuple(shape) else self.emit(Reshape(), x, shape=shape)

    def transpose(self, x: Value, axes: Sequence[int]) -> Value:
        """x with its axes in another order."""
        if list(axes) == list(range(x.rank)):
            return x
        return self.emit(Transpose(tuple(axes)), x, shape=[x.shape[a] for a in axes])

    def broadcast(self, x: Value, shape: Sequence[int]) -> Value:
        """x repeated to a larger shape."""
        return x if x.shape == tuple(shape) else self.emit(Broadcast(), x, shape=shape)

    def batched(self, x: Value, rank: int, compute: Callable[[Value], Value]) -> Value:
        """`compute` of x with a batch axis put in front if x has fewer than `rank` axes, and taken away."""
        if x.rank >= rank:
            return compute(x)
        y = compute(self.reshape(x, (1, *x.shape)))
        return self.reshape(y, y.shape[1:])


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape of arrays that broadcast together (known to fit)."""
    rank = max(map(len, shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            if size != 1:
                result[axis] = size
    return tuple(result)
