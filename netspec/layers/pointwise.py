"""Functions applied to each element: relu, exp, clamp, softmax and their kin, and detach.

The activations' modules are in `activation.py`; both lower to the same operations.
Source: torch's Pointwise Ops and torch.nn.functional.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from netspec.layers.base import Call, _Function
from netspec.layers.broadcasting import default_float, need_fit, number_dtype, wrapped
from netspec.layers.parameters import Axis, Bool, Number, Scalar, choice
from netspec.layers.tensor import DTYPES, REAL_OF, TensorType, is_complex, is_float
from netspec.operations import Softmax as SoftmaxOperation
from netspec.program.builder import Builder, Value

FUNCTIONAL = "https://pytorch.org/docs/stable/generated/torch.nn.functional.{}.html"


class _Pointwise(_Function):
    """A function of each element; its elementwise operation has the type's name."""

    integers: ClassVar[str] = "float"
    """What becomes of integers: "float" (they are converted), "keep" or "refuse"."""
    booleans: ClassVar[str] = "float"
    """What becomes of bool: the same words, or "int64"."""
    complexes: ClassVar[bool] = True
    """Whether complex numbers are taken."""

    def infer(self, call: Call) -> TensorType:
        """The same shape; the dtype that torch gives."""
        return TensorType(call.x.shape, self._dtype(call, call.x.dtype))

    def _dtype(self, call: Call, dtype: str) -> str:
        if is_float(dtype):
            return dtype
        if is_complex(dtype):
            return dtype if self.complexes else self._refuse(call, dtype)
        fate = self.booleans if dtype == "bool" else self.integers
        return {"float": default_float(call), "keep": dtype, "int64": "int64"}.get(fate) or self._refuse(
            call, dtype
        )

    def _refuse(self, call: Call, dtype: str) -> str:
        call.fail(f"{self.type_name} does not take {dtype}", code="wrong-dtype")

    def _constants(self) -> tuple[Any, ...]:
        """The operation's scalar arguments."""
        return ()

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One elementwise operation in the result's dtype."""
        x = b.cast(inputs[0], b.outputs[0].dtype)
        return b.elementwise(self.type_name, x, constants=self._constants())


class Exp(_Pointwise, type="exp"):
    """e to the power of each element: (*) -> (*).

    Example: `{type: exp}`
    """


class Log(_Pointwise, type="log"):
    """Natural logarithm of each element: (*) -> (*); -inf at 0, NaN below.

    Example: `{type: log}`
    """


class Sqrt(_Pointwise, type="sqrt"):
    """Square root of each element: (*) -> (*); NaN below 0.

    Example: `{type: sqrt}`
    """


class Rsqrt(_Pointwise, type="rsqrt"):
    """1 / square root of each element: (*) -> (*).

    Example: `{type: rsqrt}`
    """


class Sin(_Pointwise, type="sin"):
    """Sine of each element: (*) -> (*).

    Example: `{type: sin}`
    """


class Cos(_Pointwise, type="cos"):
    """Cosine of each element: (*) -> (*).

    Example: `{type: cos}`
    """


class SigmoidFunction(_Pointwise, type="sigmoid"):
    """1 / (1 + e^-x) of each element: (*) -> (*).

    Example: `{type: sigmoid}`
    """


class TanhFunction(_Pointwise, type="tanh"):
    """Hyperbolic tangent of each element: (*) -> (*).

    Example: `{type: tanh}`
    """


class Neg(_Pointwise, type="neg"):
    """-x of each element: (*) -> (*).

    Example: `{type: neg}`
    """

    integers: ClassVar = "keep"
    booleans: ClassVar = "refuse"


class Square(_Pointwise, type="square"):
    """x * x of each element: (*) -> (*).

    Example: `{type: square}`
    """

    integers: ClassVar = "keep"
    booleans: ClassVar = "int64"


class Abs(_Pointwise, type="abs"):
    """Absolute value of each element: (*) -> (*); of complex numbers, their real magnitude.

    Example: `{type: abs}`
    """

    integers: ClassVar = "keep"
    booleans: ClassVar = "refuse"

    def _dtype(self, call: Call, dtype: str) -> str:
        return REAL_OF.get(dtype) or super()._dtype(call, dtype)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One elementwise operation; its result is real."""
        return b.elementwise("abs", inputs[0], dtype=b.outputs[0].dtype)


class Relu(_Pointwise, type="relu"):
    """max(x, 0) of each element: (*) -> (*).

    Example: `{type: relu}`
    """

    integers: ClassVar = "keep"
    booleans: ClassVar = "refuse"
    complexes: ClassVar = False

    inplace: Bool = False
    """A memory hint; values are as if it were false."""


class _Real(_Pointwise):
    """A function of torch.nn.functional that takes real floating point only."""

    integers: ClassVar = "refuse"
    booleans: ClassVar = "refuse"
    complexes: ClassVar = False


class LeakyRelu(_Real, type="leaky_relu"):
    """x where it is positive, else negative_slope * x: (*) -> (*).

    Example: `{type: leaky_relu, negative_slope: 0.2}`
    """

    source: ClassVar = FUNCTIONAL.format("leaky_relu")

    negative_slope: Number = 0.01
    """Slope below 0."""
    inplace: Bool = False
    """A memory hint; values are as if it were false."""

    def _constants(self) -> tuple[Any, ...]:
        return (self.negative_slope,)


class Elu(_Real, type="elu"):
    """x where it is positive, else alpha * (e^x - 1): (*) -> (*).

    Example: `{type: elu}`
    """

    source: ClassVar = FUNCTIONAL.format("elu")

    alpha: Number = 1.0
    """The limit, negated, towards minus infinity."""
    inplace: Bool = False
    """A memory hint; values are as if it were false."""

    def _constants(self) -> tuple[Any, ...]:
        return (self.alpha, 1.0, 1.0)


class Gelu(_Real, type="gelu"):
    """x times the normal distribution function of x: (*) -> (*).

    Example: `{type: gelu, approximate: tanh}`
    """

    source: ClassVar = FUNCTIONAL.format("gelu")

    approximate: choice("none", "tanh") = "none"  # type: ignore[valid-type]
    """"none" is exact (erf), "tanh" its usual approximation."""

    def _constants(self) -> tuple[Any, ...]:
        return (self.approximate,)


class Silu(_Real, type="silu"):
    """x * sigmoid(x): (*) -> (*).

    Example: `{type: silu}`
    """

    source: ClassVar = FUNCTIONAL.format("silu")
    complexes: ClassVar = True

    inplace: Bool = False
    """A memory hint; values are as if it were false."""


class HardswishFunction(_Real, type="hardswish"):
    """x * clamp(x + 3, 0, 6) / 6: (*) -> (*).

    Example: `{type: hardswish}`
    """

    source: ClassVar = FUNCTIONAL.format("hardswish")

    inplace: Bool = False
    """A memory hint; values are as if it were false."""


class HardsigmoidFunction(_Real, type="hardsigmoid"):
    """clamp(x + 3, 0, 6) / 6: (*) -> (*).

    Example: `{type: hardsigmoid}`
    """

    source: ClassVar = FUNCTIONAL.format("hardsigmoid")

    inplace: Bool = False
    """A memory hint; values are as if it were false."""


class SoftplusFunction(_Real, type="softplus"):
    """log(1 + e^(beta x)) / beta, and x itself where beta x exceeds threshold: (*) -> (*).

    Example: `{type: softplus}`
    """

    source: ClassVar = FUNCTIONAL.format("softplus")

    beta: Number = 1.0
    """How sharp the bend is."""
    threshold: Number = 20.0
    """Above it the function is linear."""

    def _constants(self) -> tuple[Any, ...]:
        return (self.beta, self.threshold)


class Clamp(_Pointwise, type="clamp"):
    """Each element limited to [min, max]: (*) -> (*); NaN stays.

    Example: `{type: clamp, min: 0, max: 6}`
    """

    complexes: ClassVar = False

    min: Scalar | None = None
    """Lower limit; null: none."""
    max: Scalar | None = None
    """Upper limit; null: none."""

    @model_validator(mode="after")
    def _one_limit(self) -> Clamp:
        if self.min is None and self.max is None:
            raise PydanticCustomError("missing-key", "clamp needs min or max", {"field": "min"})
        return self

    def _dtype(self, call: Call, dtype: str) -> str:
        if is_complex(dtype):
            return self._refuse(call, dtype)
        for limit in (self.min, self.max):
            dtype = dtype if limit is None else number_dtype(call, dtype, limit)
        if dtype == "bool":
            self._refuse(call, dtype)
        need_fit(call, self.min, dtype, "min")
        need_fit(call, self.max, dtype, "max")
        return dtype

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One elementwise operation in the result's dtype."""
        dtype = b.outputs[0].dtype
        limits = [None if limit is None else wrapped(limit, dtype) for limit in (self.min, self.max)]
        return b.elementwise("clamp", b.cast(inputs[0], dtype), constants=limits)


class _Softmax(_Function):
    """softmax and log_softmax."""

    log: ClassVar[bool] = False

    dim: Axis | None = None
    """Axis along which the values sum to 1; null: 0 for 0-, 1- and 3-D input, else 1 (deprecated)."""
    dtype: choice(*DTYPES) | None = None  # type: ignore[valid-type]
    """dtype that the input is converted to first."""

    def infer(self, call: Call) -> TensorType:
        """The same shape."""
        dtype = self.dtype or call.x.dtype
        if not is_float(dtype):
            call.fail(
                f"{self.type_name} takes real floating point, got {dtype}",
                code="wrong-dtype",
                parameter="dtype" if self.dtype else None,
            )
        axis = self._axis(call.x.rank)
        if self.dim is None:
            call.warn(
                f"{self.type_name} without dim takes axis {axis} of this {call.x.rank}-D input",
                code="implicit-dim",
                help=f"write dim: {axis}",
            )
        call.axis(axis, call.x.rank)
        return TensorType(call.x.shape, dtype)

    def _axis(self, rank: int) -> int:
        return self.dim if self.dim is not None else 0 if rank in (0, 1, 3) else 1

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One softmax."""
        x = b.cast(inputs[0], b.outputs[0].dtype)
        return b.emit(SoftmaxOperation(self._axis(x.rank) % max(x.rank, 1), self.log), x)


class SoftmaxFunction(_Softmax, type="softmax"):
    """e^x over its sum along an axis: (*) -> (*).

    Example: `{type: softmax, dim: 1}`
    """


class LogSoftmaxFunction(_Softmax, type="log_softmax"):
    """Logarithm of the softmax along an axis: (*) -> (*).

    Example: `{type: log_softmax, dim: 1}`
    """

    log: ClassVar = True


class Detach(_Function, type="detach"):
    """Its input, unchanged: there are no gradients here.

    Example: `{type: detach}`
    """

    source: ClassVar = "https://pytorch.org/docs/stable/generated/torch.Tensor.detach.html"

    def infer(self, call: Call) -> TensorType:
        """Any shape and dtype."""
        return call.x

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """Nothing to do."""
        return inputs[0]
