"""Activations: functions of each element, and Softmax and its relatives over one axis.

Source: torch.nn's Non-linear Activations. `inplace` is a hint: values are as if it were false.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema, field_validator, model_validator
from pydantic_core import PydanticCustomError

from netspec.layers.base import Call, Layer, State
from netspec.layers.broadcasting import default_float, need_fit, wrapped
from netspec.layers.initialize import _init
from netspec.layers.parameters import (
    Bool,
    Count,
    Integer,
    Number,
    Scalar,
    choice,
    is_number,
    number,
    out_of_range,
    wrong_type,
)
from netspec.layers.tensor import INTEGERS, TensorType, is_complex, is_float, is_inexact
from netspec.operations import Random, Slice
from netspec.operations import Softmax as SoftmaxOperation
from netspec.program.builder import Builder, Value
from netspec.symbolic import divisible, equal

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946

Finite = number("a finite number", finite=True)
Shrinkage = number("a finite number >= 0", 0.0, finite=True)


class _Activation(Layer):
    """A function of each element: same shape, and by default only for real floating dtypes."""

    function: ClassVar[str]
    """The `Elementwise` function."""
    integers_too: ClassVar[bool] = False
    """Whether integers are read as they are."""
    integers_become_float: ClassVar[bool] = False
    """Whether integers give the default floating dtype, as torch promotes them."""
    bool_too: ClassVar[bool] = False
    """Whether bool is promoted with the integers."""
    complex_too: ClassVar[bool] = False
    """Whether complex numbers are read."""

    def infer(self, call: Call) -> TensorType:
        """Any shape; the same shape."""
        dtype = call.x.dtype
        if is_float(dtype) or (self.complex_too and is_complex(dtype)):
            return call.x
        if dtype in INTEGERS and self.integers_too:
            return call.x
        if (dtype in INTEGERS and self.integers_become_float) or (dtype == "bool" and self.bool_too):
            return TensorType(call.x.shape, default_float(call))
        kinds = "a floating dtype" if self.complex_too else "a real floating dtype"
        if self.integers_too or self.integers_become_float:
            kinds += " or integers"
        call.fail(f"expected {kinds}, got {dtype}", code="wrong-dtype")

    def constants(self) -> tuple[Any, ...]:
        """The function's scalar arguments."""
        return ()

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One elementwise function, after integers that become floats are converted."""
        x = b.cast(inputs[0], b.outputs[0].dtype)
        constants = self.constants()
        if not is_inexact(x.dtype):
            constants = tuple(int(c) for c in constants)  # torch converts scalars to the tensor's dtype
        return b.elementwise(self.function, x, constants=constants)


class ReLU(_Activation):
    """max(x, 0) of each element: (*) -> (*).

    Example: `{type: ReLU}`
    """

    function: ClassVar = "relu"
    integers_too: ClassVar = True

    inplace: Bool = False
    """A memory hint; values are as if it were false."""


class LeakyReLU(_Activation):
    """x where it is positive, negative_slope * x elsewhere: (*) -> (*).

    Example: `{type: LeakyReLU, negative_slope: 0.2}`
    """

    function: ClassVar = "leaky_relu"

    negative_slope: Number = 0.01
    """Factor of the negative elements."""
    inplace: Bool = False
    """A memory hint; values are as if it were false."""

    def constants(self) -> tuple[Any, ...]:
        """The slope."""
        return (self.negative_slope,)


class ReLU6(_Activation):
    """x limited to 0 to 6: (*) -> (*).

    Example: `{type: ReLU6}`
    """

    function: ClassVar = "clamp"
    integers_too: ClassVar = True

    inplace: Bool = False
    """A memory hint; values are as if it were false."""

    def constants(self) -> tuple[Any, ...]:
        """The limits."""
        return (0.0, 6.0)


def _prelu_init(value: Any) -> Any:
    if is_number(value):
        return float(value)
    if not isinstance(value, dict):
        raise wrong_type("a number, or {weight: ...} with an initialisation", value)
    for key in value:
        if key != "weight":
            raise PydanticCustomError(
                "unknown-key",
                "PReLU has no parameter {key} to initialise",
                {"key": str(key), "word": str(key), "options": ["weight"]},
            )
    return {key: _init(init) for key, init in value.items()}


_PReLUInit = Annotated[
    Any,
    PlainValidator(_prelu_init),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "object", "properties": {"weight": {}},
                                                   "additionalProperties": False}]}),
]  # fmt: skip


class PReLU(_Activation):
    """x where it is positive, weight * x elsewhere, one weight or one for each channel: (N, C, *) -> same.

    Example: `{type: PReLU, num_parameters: 64, init: 0.25}`
    """

    function: ClassVar = "prelu"
    parameter_names: ClassVar = ("weight",)

    num_parameters: Count = 1
    """1, or the number of channels (axis 1)."""
    init: _PReLUInit = 0.25
    """Initial slope, a number; or {weight: ...} with any initialisation."""

    @field_validator("init")
    @classmethod
    def _known_names(cls, value: Any) -> Any:
        return value

    def infer(self, call: Call) -> TensorType:
        """Any shape; with several parameters axis 1 must have as many channels."""
        call.need_weight_dtype()
        if is_complex(call.x.dtype):
            call.fail(f"expected a real floating dtype, got {call.x.dtype}", code="wrong-dtype")
        if self.num_parameters == 1:
            return call.x
        if call.x.rank < 2:
            call.fail(
                f"num_parameters is {self.num_parameters}, but the input {call.x} has no channels (axis 1)",
                code="channel-mismatch" if call.x.rank else "wrong-rank",
                parameter="num_parameters",
            )
        channels = call.x.shape[1]
        call.require(
            equal(channels, self.num_parameters),
            f"num_parameters is {self.num_parameters}, but the input has {channels} channels: {call.x}",
            code="channel-mismatch",
            parameter="num_parameters",
            help="write 1 or the number of channels",
            fix=("num_parameters", channels),
        )
        return call.x

    def state(self) -> tuple[State, ...]:
        """weight (num_parameters)."""
        return (State("weight", (self.num_parameters,), 0.25 if isinstance(self.init, dict) else self.init),)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """The weight along axis 1."""
        rank = inputs[0].rank
        shape = (1,) * rank if self.num_parameters == 1 else (1, self.num_parameters, *(1,) * (rank - 2))
        return b.elementwise("prelu", inputs[0], b.reshape(b.weight("weight"), shape))


class RReLU(_Activation):
    """x where it is positive, elsewhere a * x; in training a is drawn for each element: (*) -> (*).

    In evaluation a is the mean of `lower` and `upper`.

    Example: `{type: RReLU, lower: 0.1, upper: 0.3}`
    """

    function: ClassVar = "leaky_relu"

    # `lower` is also the name of a layer's computation, hence the alias.
    lower_: Finite = Field(default=1 / 8, alias="lower")  # type: ignore[valid-type]
    """Least slope."""
    upper: Finite = 1 / 3  # type: ignore[valid-type]
    """Greatest slope."""
    inplace: Bool = False
    """A memory hint; values are as if it were false."""

    @model_validator(mode="after")
    def _ordered(self) -> RReLU:
        if self.lower_ > self.upper:  # type: ignore[operator]
            raise PydanticCustomError(
                "out-of-range",
                "lower must not exceed upper, got {lower} and {upper}",
                {"lower": self.lower_, "upper": self.upper, "field": "lower"},
            )
        return self

    def constants(self) -> tuple[Any, ...]:
        """The mean slope."""
        return ((self.lower_ + self.upper) / 2,)  # type: ignore[operator]

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """The mean slope; in training a fresh one for each element."""
        if not b.training:
            return super().lower(b, *inputs)
        slopes = b.emit(Random("uniform", (self.lower_, self.upper)), shape=b.shape, dtype=inputs[0].dtype)
        return b.elementwise("prelu", inputs[0], slopes)


class ELU(_Activation):
    """x where it is positive, alpha * (exp(x) - 1) elsewhere: (*) -> (*).

    Example: `{type: ELU, alpha: 0.5}`
    """

    function: ClassVar = "elu"

    alpha: Number = 1.0
    """Limit of the negative side, with its sign changed."""
    inplace: Bool = False
    """A memory hint; values are as if it were false."""

    def constants(self) -> tuple[Any, ...]:
        """alpha, scale, input scale."""
        return (self.alpha, 1.0, 1.0)


class CELU(_Activation):
    """x where it is positive, alpha * (exp(x / alpha) - 1) elsewhere: (*) -> (*).

    Example: `{type: CELU, alpha: 0.5}`
    """

    function: ClassVar = "elu"

    alpha: Number = 1.0
    """Limit of the negative side, with its sign changed; not 0."""
    inplace: Bool = False
    """A memory hint; values are as if it were false."""

    @field_validator("alpha")
    @classmethod
    def _not_zero(cls, value: float) -> float:
        if value == 0:
            raise out_of_range("a number other than 0", value)
        return value

    def constants(self) -> tuple[Any, ...]:
        """alpha, scale, input scale."""
        return (self.alpha, 1.0, 1.0 / self.alpha)


class SELU(_Activation):
    """The scaled ELU of self-normalising networks: (*) -> (*).

    Example: `{type: SELU}`
    """

    function: ClassVar = "elu"

    inplace: Bool = False
    """A memory hint; values are as if it were false."""

    def constants(self) -> tuple[Any, ...]:
        """alpha, scale, input scale."""
        return (SELU_ALPHA, SELU_SCALE, 1.0)


class GELU(_Activation):
    """x times the normal distribution function of x: (*) -> (*).

    Example: `{type: GELU, approximate: tanh}`
    """

    function: ClassVar = "gelu"

    approximate: choice("none", "tanh") = "none"  # type: ignore[valid-type]
    """none: exact, by erf; tanh: the usual approximation."""

    def constants(self) -> tuple[Any, ...]:
        """The formula."""
        return (self.approximate,)


class SiLU(_Activation):
    """x * sigmoid(x), also called swish: (*) -> (*).

    Example: `{type: SiLU}`
    """

    function: ClassVar = "silu"
    complex_too: ClassVar = True

    inplace: Bool = False
    """A memory hint; values are as if it were false."""


class Mish(_Activation):
    """x * tanh(softplus(x)): (*) -> (*).

    Example: `{type: Mish}`
    """

    function: ClassVar = "mish"

    inplace: Bool = False
    """A memory hint; values are as if it were false."""


class Hardswish(_Activation):
    """x * clamp(x + 3, 0, 6) / 6: (*) -> (*).

    Example: `{type: Hardswish}`
    """

    function: ClassVar = "hardswish"

    inplace: Bool = False
    """A memory hint; values are as if it were false."""


class Hardsigmoid(_Activation):
    """clamp(x + 3, 0, 6) / 6: (*) -> (*).

    Example: `{type: Hardsigmoid}`
    """

    function: ClassVar = "hardsigmoid"

    inplace: Bool = False
    """A memory hint; values are as if it were false."""


class Hardtanh(_Activation):
    """x limited to min_val to max_val: (*) -> (*).

    Example: `{type: Hardtanh, min_val: -2.0, max_val: 2.0}`
    """

    function: ClassVar = "clamp"
    integers_too: ClassVar = True

    min_val: Number = -1.0
    """Lower limit."""
    max_val: Number = 1.0
    """Upper limit; greater than min_val."""
    inplace: Bool = False
    """A memory hint; values are as if it were false."""

    @model_validator(mode="after")
    def _ordered(self) -> Hardtanh:
        if self.max_val <= self.min_val:
            raise PydanticCustomError(
                "out-of-range",
                "max_val must be greater than min_val, got {max} and {min}",
                {"max": self.max_val, "min": self.min_val, "field": "max_val"},
            )
        return self

    def infer(self, call: Call) -> TensorType:
        """Any shape; the same shape."""
        if call.x.dtype == "uint8" and min(self.min_val, self.max_val) < 0:
            call.fail(
                f"uint8 cannot be limited to negative values, got min_val {self.min_val}",
                code="wrong-dtype",
                parameter="min_val",
            )
        for parameter in ("min_val", "max_val"):
            need_fit(call, getattr(self, parameter), call.x.dtype, parameter)
        return super().infer(call)

    def constants(self) -> tuple[Any, ...]:
        """The limits."""
        return (self.min_val, self.max_val)


class Softplus(_Activation):
    """log(1 + exp(beta * x)) / beta: (*) -> (*).

    Example: `{type: Softplus, beta: 2.0}`
    """

    function: ClassVar = "softplus"

    beta: Number = 1.0
    """Sharpness."""
    threshold: Number = 20.0
    """x itself is given where beta * x is above it."""

    def constants(self) -> tuple[Any, ...]:
        """beta, threshold."""
        return (self.beta, self.threshold)


class Softsign(_Activation):
    """x / (1 + |x|): (*) -> (*).

    Example: `{type: Softsign}`
    """

    function: ClassVar = "softsign"
    integers_become_float: ClassVar = True
    complex_too: ClassVar = True


class Tanhshrink(_Activation):
    """x - tanh(x): (*) -> (*).

    Example: `{type: Tanhshrink}`
    """

    function: ClassVar = "tanhshrink"
    integers_become_float: ClassVar = True
    complex_too: ClassVar = True


class Hardshrink(_Activation):
    """x where |x| > lambd, else 0: (*) -> (*).

    Example: `{type: Hardshrink, lambd: 0.5}`
    """

    function: ClassVar = "hardshrink"

    lambd: Number = 0.5
    """Half the width of the zone that becomes 0."""

    def constants(self) -> tuple[Any, ...]:
        """lambd."""
        return (self.lambd,)


class Softshrink(_Activation):
    """x moved towards 0 by lambd, 0 where it would cross: (*) -> (*).

    Example: `{type: Softshrink, lambd: 0.5}`
    """

    function: ClassVar = "softshrink"

    lambd: Shrinkage = 0.5  # type: ignore[valid-type]
    """Distance by which each element moves; at least 0."""

    def constants(self) -> tuple[Any, ...]:
        """lambd."""
        return (self.lambd,)


class Threshold(_Activation):
    """x where it is above threshold, else value: (*) -> (*).

    Example: `{type: Threshold, threshold: 0.1, value: 20.0}`
    """

    function: ClassVar = "threshold"
    integers_too: ClassVar = True

    threshold: Scalar
    """Elements above it stay."""
    value: Scalar
    """What the others become."""
    inplace: Bool = False
    """A memory hint; values are as if it were false."""

    def infer(self, call: Call) -> TensorType:
        """Any shape; the same shape."""
        need_fit(call, self.threshold, call.x.dtype, "threshold")
        need_fit(call, self.value, call.x.dtype, "value")
        return super().infer(call)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One elementwise function; in integers the numbers wrap around."""
        dtype = inputs[0].dtype
        constants = [
            wrapped(v, dtype) if dtype in INTEGERS else float(v) for v in (self.threshold, self.value)
        ]
        return b.elementwise(self.function, inputs[0], constants=constants)


class LogSigmoid(_Activation):
    """log(sigmoid(x)), without overflow: (*) -> (*).

    Example: `{type: LogSigmoid}`
    """

    function: ClassVar = "log_sigmoid"


class Sigmoid(_Activation):
    """1 / (1 + exp(-x)): (*) -> (*).

    Example: `{type: Sigmoid}`
    """

    function: ClassVar = "sigmoid"
    integers_become_float: ClassVar = True
    bool_too: ClassVar = True
    complex_too: ClassVar = True


class Tanh(_Activation):
    """Hyperbolic tangent: (*) -> (*).

    Example: `{type: Tanh}`
    """

    function: ClassVar = "tanh"
    integers_become_float: ClassVar = True
    bool_too: ClassVar = True
    complex_too: ClassVar = True


class GLU(Layer):
    """First half of an axis times the sigmoid of its second half: (*, N, *) -> (*, N/2, *).

    Example: `{type: GLU, dim: 1}`
    """

    dim: Integer = -1
    """Axis that is halved; its size must be even."""

    def infer(self, call: Call) -> TensorType:
        """The axis with half its size."""
        call.need_float(complex_too=False)
        x = call.x
        if not x.rank:
            call.fail(f"expected at least one axis to halve, got a 0-d {x}", code="wrong-rank")
        axis = call.axis(self.dim, x.rank)
        size = x.shape[axis]
        call.require(
            divisible(size, 2),
            f"axis {axis} must have an even size to be halved, got {size}: {x}",
            code="not-divisible",
            parameter="dim",
        )
        return x.with_shape(*x.shape[:axis], size // 2, *x.shape[axis + 1 :])

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """Two slices, sigmoid, product."""
        x = inputs[0]
        axis = self.dim % x.rank
        half = x.shape[axis] // 2
        first = b.emit(Slice(axis, 0, half), x)
        second = b.emit(Slice(axis, half, 2 * half), x)
        return b.elementwise("mul", first, b.elementwise("sigmoid", second))


class _SoftmaxFamily(Layer):
    """Softmax over one axis; with dim null torch takes axis 0 of 0-d, 1-d and 3-d tensors, else 1."""

    log: ClassVar[bool] = False
    """Whether the logarithm is given."""
    sign: ClassVar[int] = 1
    """-1 for Softmin."""

    dim: Integer | None = None
    """Axis whose elements add up to 1; null: torch's old rule (0 for 0-d, 1-d and 3-d input, else 1)."""

    def infer(self, call: Call) -> TensorType:
        """Any shape; the same shape."""
        call.need_float(complex_too=False)
        if self.dim is None:
            call.warn(
                f"dim is not given: axis {self._axis(call.x.rank)} is used for {call.x.rank}-D input",
                code="implicit-dim",
                parameter="dim",
                help=f"write dim: {self._axis(call.x.rank)}",
            )
        else:
            call.axis(self.dim, call.x.rank)
        return call.x

    def _axis(self, rank: int) -> int:
        if self.dim is None:
            return 0 if rank in (0, 1, 3) else 1
        return int(self.dim % max(rank, 1))

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One softmax; a 0-d tensor gets an axis for it."""
        x = inputs[0]
        if self.sign < 0:
            x = b.elementwise("neg", x)
        operation = SoftmaxOperation(self._axis(x.rank), self.log)
        if x.rank:
            return b.emit(operation, x, shape=x.shape)
        return b.reshape(b.emit(operation, b.reshape(x, (1,)), shape=(1,)), ())


class Softmax(_SoftmaxFamily):
    """exp(x) divided by its sum over one axis: (*) -> (*).

    Example: `{type: Softmax, dim: 1}`
    """


class LogSoftmax(_SoftmaxFamily):
    """Logarithm of Softmax: (*) -> (*).

    Example: `{type: LogSoftmax, dim: 1}`
    """

    log: ClassVar = True


class Softmin(_SoftmaxFamily):
    """Softmax of -x: (*) -> (*).

    Example: `{type: Softmin, dim: 1}`
    """

    sign: ClassVar = -1


class Softmax2d(Layer):
    """Softmax over the channels at each place: (N, C, H, W) or (C, H, W) -> same.

    Example: `{type: Softmax2d}`
    """

    def infer(self, call: Call) -> TensorType:
        """(N, C, H, W) or (C, H, W); the same shape."""
        call.need_rank(3, 4, axes="(N, C, H, W) or (C, H, W)")
        call.need_float(complex_too=False)
        return call.x

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One softmax over the third axis from the right."""
        return b.emit(SoftmaxOperation(inputs[0].rank - 3), inputs[0])
