"""Linear layers: Linear, Identity, and Parameter.

Source: torch.nn's Linear Layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import field_validator

from netspec.layers.base import Call, Layer, State
from netspec.layers.initialize import ZEROS, Init, bias_default, kaiming_default, refusal
from netspec.layers.parameters import Bool, Count, IntegerList
from netspec.layers.tensor import TensorType
from netspec.operations import Linear as LinearOperation
from netspec.program.builder import Builder, Value
from netspec.symbolic import Dim, equal, product


class Linear(Layer):
    """y = x Wᵀ + b over the last axis: (*, in_features) -> (*, out_features).

    Example: `{type: Linear, in_features: 84, out_features: 10}`
    """

    parameter_names: ClassVar = ("weight", "bias")
    inferred: ClassVar = {"in_features": -1}

    in_features: Count | None = None
    """Size of the last axis of the input; left out, it is read off the input."""
    out_features: Count
    """Size of the last axis of the output."""
    bias: Bool = True
    """Whether a learnable bias is added."""

    def infer(self, call: Call) -> TensorType:
        """(*, in_features) -> (*, out_features)."""
        x = call.x
        if x.rank < 1:
            call.fail(f"expected at least one axis, got a 0-d {x}", code="wrong-rank")
        call.need_weight_dtype()
        features = x.shape[-1]
        flat = product(x.shape[1:])
        call.require(
            equal(features, self.in_features or 0),
            f"in_features is {self.in_features}, but the last axis of the input is {features}: {x}",
            code="channel-mismatch",
            parameter="in_features",
            help=(
                f"insert a Flatten layer before it: {x} then becomes [{x.shape[0]}, {flat}]"
                if x.rank > 2 and flat == self.in_features
                else f"write in_features: {features}"
                if isinstance(features, int)
                else None
            ),
            fix=("in_features", features),
        )
        return x.with_shape(*x.shape[:-1], self.out_features)

    def state(self) -> tuple[State, ...]:
        """weight (out_features, in_features) and, with bias, bias (out_features)."""
        weight = (self.out_features, self.in_features or 0)
        states = [State("weight", weight, kaiming_default())]
        if self.bias:
            states.append(State("bias", (self.out_features,), bias_default(weight)))
        return tuple(states)

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """Output elements times in_features."""
        return product(outputs[0].shape) * (self.in_features or 0)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One matrix product."""
        return b.emit(LinearOperation(), inputs[0], b.weight("weight"), b.state("bias"))


class Identity(Layer):
    """Its input, unchanged.

    Example: `{type: Identity}`
    """

    def infer(self, call: Call) -> TensorType:
        """Any shape and dtype."""
        return call.x

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """Nothing to do."""
        return inputs[0]


class Parameter(Layer):
    """A learnable tensor that is not part of another layer; its state-dict key is the entry's own name.

    Example: `{name: scale, type: Parameter, shape: [64, 1, 1], init: 1.0}`
    """

    arity: ClassVar = (0, 0)
    input_names: ClassVar = ()
    source: ClassVar = "https://pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html"

    shape: IntegerList
    """Sizes of the axes; [] is a single number."""
    init: Init | None = None
    """Initial value: a number, a nested list, or {method: xavier_normal, gain: 1.0}; default zeros."""

    @field_validator("shape")
    @classmethod
    def _sizes(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        from netspec.layers.parameters import out_of_range

        if any(size < 0 for size in value):
            raise out_of_range("a list of sizes >= 0", list(value))
        return value

    @field_validator("init")
    @classmethod
    def _known_names(cls, value: Any) -> Any:
        return value

    def infer(self, call: Call) -> TensorType:
        """Its own shape, in the network's dtype."""
        if self.init is not None and (reason := refusal(self.init, self.shape)):
            call.fail(reason, code="wrong-init", parameter="init", inputs=())
        return TensorType(self.shape, call.dtype)

    def state(self) -> tuple[State, ...]:
        """One array, under the entry's own name."""
        return (State("", self.shape, ZEROS if self.init is None else self.init),)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """The array itself."""
        return b.weight("")
