"""torch's broadcasting on sizes that may be expressions, and what numbers do to dtypes.

Source: PyTorch's notes on broadcasting semantics and on type promotion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from netspec.layers.base import Call
from netspec.layers.tensor import INTEGERS, ITEM_SIZE, REAL_OF, format_shape, is_inexact, with_number
from netspec.symbolic import Condition, ConstraintSet, Dim, any_of, at_least, equal, maximum


def broadcast(call: Call, *shapes: tuple[Dim, ...], inputs: Sequence[int] | None = None) -> tuple[Dim, ...]:
    """The common shape, axes aligned at the right; refused where two sizes differ and none is 1.

    inputs: which input of the layer each shape belongs to; by default their order. Exact for all sizes
    from 1 on.
    """
    places = range(len(shapes)) if inputs is None else inputs
    result: list[Dim] = [1] * max(map(len, shapes), default=0)
    last = dict.fromkeys(range(len(result)), 0)  # axis -> the shape that gave the size so far
    for number, shape in enumerate(shapes):
        for axis, size in enumerate(shape, len(result) - len(shape)):
            if size == 1:
                continue
            earlier = last[axis]
            message = (
                f"shapes {format_shape(shapes[earlier])} and {format_shape(shape)} do not broadcast: "
                f"on axis {axis - len(result)} one is {result[axis]}, the other {size}"
            )
            result[axis] = _common(call, result[axis], size, message, (places[earlier], places[number]))
            last[axis] = number
    return tuple(result)


def broadcast_to(
    call: Call, shape: tuple[Dim, ...], target: tuple[Dim, ...], what: str, parameter: str
) -> None:
    """Refuse a parameter's shape (of ints) that does not broadcast to `target` without widening it."""
    message = f"{what} of shape {format_shape(shape)} does not broadcast to the input {format_shape(target)}"
    if len(shape) > len(target):
        call.fail(message, code="cannot-broadcast", parameter=parameter)
    for size, wanted in zip(reversed(shape), reversed(target), strict=False):
        if size != 1:
            call.require(equal(size, wanted), message, code="cannot-broadcast", parameter=parameter)


def _common(call: Call, a: Dim, b: Dim, message: str, inputs: tuple[int, int]) -> Dim:
    """The size that axes of `a` and `b` give together."""
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    stretched_a, stretched_b = _may_be_one(call, a, b), _may_be_one(call, b, a)
    allowed = [equal(a, b)]
    allowed += [equal(a, 1)] if stretched_a else []
    allowed += [equal(b, 1)] if stretched_b else []
    call.require(any_of(*allowed), message, code="cannot-broadcast", inputs=inputs)
    if stretched_a and stretched_b:
        return maximum(a, b)
    return b if stretched_a or isinstance(b, int) else a


def _may_be_one(call: Call, size: Dim, other: Dim) -> bool:
    """Whether `size` can be 1 while `other` is not, as far as is known."""
    one = equal(size, 1)
    if one is False:
        return False
    if call.constraints.implies(any_of(equal(size, 0), at_least(size, 2), equal(other, 1))):
        return False
    trial = ConstraintSet(call.constraints.conditions)
    return trial.add(one) and trial.add(any_of(equal(other, 0), at_least(other, 2)))


def forced(call: Call, condition: Condition | bool) -> bool:
    """Whether the condition holds for every size that is still allowed."""
    return condition is True or call.constraints.implies(condition)


# --- dtypes -----------------------------------------------------------------------------------------


def default_float(call: Call) -> str:
    """The real dtype that integers become where a function's values are real.

    torch's default dtype; in a network of another dtype it is that one, as if
    torch.set_default_dtype had been called with it.
    """
    return REAL_OF.get(call.dtype, call.dtype)


def floating(call: Call, dtype: str) -> str:
    """`dtype` if it is floating, else the default one."""
    return dtype if is_inexact(dtype) else default_float(call)


def number_dtype(call: Call, dtype: str, number: float | int | bool) -> str:
    """dtype of a tensor of `dtype` together with a number."""
    result = with_number(dtype, number)
    return result if result == dtype or not is_inexact(result) else default_float(call)


def fits(number: float | int | bool, dtype: str) -> bool:
    """Whether torch converts the number to an integer dtype; negative integers wrap around in unsigned."""
    if dtype not in INTEGERS:
        return True
    if not math.isfinite(number):
        return False
    bits: int = 8 * ITEM_SIZE[dtype]
    high = (1 << bits) - 1 if dtype == "uint8" else (1 << bits - 1) - 1
    if dtype == "uint8":
        return (0 if isinstance(number, float) else -high) <= number <= high
    return -high - 1 <= number <= high


def wrapped(number: float | int | bool, dtype: str) -> float | int | bool:
    """The number as an element of `dtype`: integers wrap around, booleans are "not 0", floats overflow."""
    if dtype == "bool":
        return number != 0
    if dtype not in INTEGERS:
        return math.copysign(math.inf, number) if abs(number) >= _OVERFLOW.get(dtype, math.inf) else number
    bits: int = 8 * ITEM_SIZE[dtype]
    value = int(number) % (1 << bits)
    return value - (1 << bits) if dtype != "uint8" and value >= 1 << bits - 1 else value


_OVERFLOW = {"float32": 3.4028235677973366e38, "complex64": 3.4028235677973366e38}
"""The least number that rounds to infinity; float16 is computed in float32."""


def need_fit(call: Call, number: float | int | bool | None, dtype: str, parameter: str) -> None:
    """Refuse a number that does not fit into the integer dtype it is computed in."""
    if number is not None and not fits(number, dtype):
        call.fail(f"{number} does not fit into {dtype}", code="out-of-range", parameter=parameter)
