"""Arithmetic of two tensors, or of a tensor and a number: add, sub, mul, div, pow, maximum, minimum.

Shapes broadcast and dtypes are promoted as torch does. Source: torch's Math operations.
"""

from __future__ import annotations

from typing import ClassVar

from netspec.layers.base import Call, _Function
from netspec.layers.broadcasting import broadcast, floating, need_fit, number_dtype, wrapped
from netspec.layers.parameters import Scalar, choice
from netspec.layers.tensor import INTEGERS, TensorType, is_complex, is_inexact, result_dtype
from netspec.program.builder import Builder, Value


class _Binary(_Function):
    """A function of two tensors, or of a tensor and a number."""

    arity: ClassVar = (1, 2)
    input_names: ClassVar = ("input", "other")
    operand: ClassVar[str] = "other"
    """The field that holds the number."""

    def infer(self, call: Call) -> TensorType:
        """The broadcast shape and the promoted dtype."""
        number = self._number()
        if len(call.inputs) == 1 and number is None:
            call.fail(
                f"{self.type_name} needs a second operand",
                code="missing-operand",
                help=f"write inputs: [a, b] for two tensors, or {self.operand}: with a number",
            )
        if len(call.inputs) == 2 and number is not None:
            call.fail(
                f"{self.type_name} has two tensors and the number {number}; one of them is too many",
                code="too-many-operands",
                parameter=self.operand,
                inputs=(1,),
            )
        shape = broadcast(call, *(t.shape for t in call.inputs))
        if number is None:
            common = result_dtype(*call.inputs)
        else:
            common = number_dtype(call, call.x.dtype, number)
            self._check_number(call, number, common)
        return TensorType(shape, self._dtype(call, common))

    def _number(self) -> float | int | bool | None:
        number: float | int | bool | None = getattr(self, self.operand)
        return number

    def _check_number(self, call: Call, number: float | int | bool, dtype: str) -> None:
        """Refuse a number that the function does not take."""

    def _dtype(self, call: Call, common: str) -> str:
        """dtype of the result, refused where the function has no meaning for it."""
        return common

    def _operands(self, b: Builder, inputs: tuple[Value, ...]) -> tuple[Value, Value]:
        """Both operands in the result's dtype; a number becomes a 0-d array."""
        dtype = b.outputs[0].dtype
        first = b.cast(inputs[0], dtype)
        number = self._number()
        if number is None:
            return first, b.cast(inputs[1], dtype)
        # float16 is computed in float32, and as in torch the number is not rounded to float16 before.
        exact = "float32" if dtype == "float16" else dtype
        return first, b.literal(wrapped(number, exact), exact)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One elementwise operation in the result's dtype."""
        return b.elementwise(self.type_name, *self._operands(b, inputs))


class _Scaled(_Binary):
    """add and sub: the second operand is multiplied by alpha."""

    other: Scalar | None = None
    """A number in place of the second tensor."""
    alpha: Scalar = 1
    """Factor of the second operand."""

    def _dtype(self, call: Call, common: str) -> str:
        where = {"code": "wrong-alpha", "parameter": "alpha", "inputs": ()}
        if isinstance(self.alpha, bool) and common != "bool":
            call.fail(f"alpha may be {str(self.alpha).lower()} only for bool results, not {common}", **where)
        if isinstance(self.alpha, float) and not is_inexact(common):
            call.fail(f"alpha must be an integer for {common} results, got {self.alpha}", **where)
        need_fit(call, self.alpha, common, "alpha")
        return common

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One elementwise operation in the result's dtype."""
        alpha = wrapped(self.alpha, b.outputs[0].dtype)
        return b.elementwise(self.type_name, *self._operands(b, inputs), constants=(alpha,))


class Add(_Scaled, type="add"):
    """input + alpha * other, shapes broadcast: (*), (*) -> (*).

    Example: `{type: add, inputs: [branch, shortcut]}`
    """


class Sub(_Scaled, type="sub"):
    """input - alpha * other, shapes broadcast: (*), (*) -> (*).

    Example: `{type: sub, other: 0.5}`
    """

    def _dtype(self, call: Call, common: str) -> str:
        if isinstance(self.other, bool) or any(t.dtype == "bool" for t in call.inputs):
            call.fail("bool tensors cannot be subtracted", code="wrong-dtype", inputs=range(len(call.inputs)))
        return super()._dtype(call, common)


class Mul(_Binary, type="mul"):
    """input * other, shapes broadcast: (*), (*) -> (*).

    Example: `{type: mul, inputs: [features, gate]}`
    """

    other: Scalar | None = None
    """A number in place of the second tensor."""


class Div(_Binary, type="div"):
    """input / other, shapes broadcast: (*), (*) -> (*); integers give floating point unless rounded.

    Example: `{type: div, other: 2}`
    """

    other: Scalar | None = None
    """A number in place of the second tensor."""
    rounding_mode: choice("floor", "trunc") | None = None  # type: ignore[valid-type]
    """null divides truly; "floor" rounds the quotient down, "trunc" towards zero."""

    def _dtype(self, call: Call, common: str) -> str:
        if self.rounding_mode is None:
            return floating(call, common)
        if common == "bool" or is_complex(common):
            call.fail(f"a {common} quotient cannot be rounded", code="wrong-dtype", parameter="rounding_mode")
        if common in INTEGERS and self.other is not None and wrapped(self.other, common) == 0:
            call.fail("integer division by zero", code="division-by-zero", parameter="other", inputs=())
        return common

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One elementwise operation in the result's dtype."""
        function = "div" if self.rounding_mode is None else f"div_{self.rounding_mode}"
        return b.elementwise(function, *self._operands(b, inputs))


class Pow(_Binary, type="pow"):
    """input to the power of exponent, shapes broadcast: (*), (*) -> (*).

    Example: `{type: pow, exponent: 2}`
    """

    operand: ClassVar = "exponent"
    input_names: ClassVar = ("input", "exponent")
    special: ClassVar[dict[float, str]] = {2: "square", 0.5: "sqrt", -0.5: "rsqrt"}
    """Exponents that torch computes by a function of their own."""

    exponent: Scalar | None = None
    """A number in place of the second tensor."""

    def _check_number(self, call: Call, number: float | int | bool, dtype: str) -> None:
        if dtype not in INTEGERS:
            return
        if number < 0:
            call.fail(
                f"integers cannot be raised to the negative integer power {number}",
                code="negative-power",
                parameter="exponent",
                help=f"write exponent: {float(number)} for a floating result",
            )
        if number not in (0, 1):
            need_fit(call, number, dtype, "exponent")

    def _dtype(self, call: Call, common: str) -> str:
        if common == "bool" and self.exponent is None:
            call.fail("pow of two bool tensors has no meaning", code="wrong-dtype", inputs=(0, 1))
        return common

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One elementwise operation in the result's dtype; of bool, by way of integers."""
        x, exponent = self._operands(b, inputs)
        if x.dtype == "bool":
            power = b.elementwise("pow", b.cast(x, "uint8"), b.cast(exponent, "uint8"))
            return b.cast(power, "bool")
        if self.exponent is not None and self.exponent == 0 and is_complex(x.dtype):
            return b.broadcast(b.literal(1.0, x.dtype), x.shape)
        if self.exponent is not None and self.exponent in self.special:
            return b.elementwise(self.special[self.exponent], x)
        return b.elementwise("pow", x, exponent)


class _Extremum(_Binary):
    """maximum and minimum."""

    other: Scalar | None = None
    """A number in place of the second tensor."""

    def _check_number(self, call: Call, number: float | int | bool, dtype: str) -> None:
        need_fit(call, number, dtype, "other")

    def _dtype(self, call: Call, common: str) -> str:
        if is_complex(common):
            call.fail(f"complex numbers have no {self.type_name}", code="wrong-dtype")
        return common


class Maximum(_Extremum, type="maximum"):
    """The larger of input and other, shapes broadcast: (*), (*) -> (*); NaN wins.

    Example: `{type: maximum, inputs: [a, b]}`
    """


class Minimum(_Extremum, type="minimum"):
    """The smaller of input and other, shapes broadcast: (*), (*) -> (*); NaN wins.

    Example: `{type: minimum, inputs: [a, b]}`
    """
