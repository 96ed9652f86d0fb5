"""How each elementwise function is computed, as in-place passes.

A function writes `out` only after it has read the inputs for the last time, so `out` may be one of
them. Formulas and the order of operations are those of ATen/native/cpu.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from netspec.backends.base import Kernel, KernelError
from netspec.backends.numpy.erf import erf

Arrays = Sequence[Any]
Body = Callable[[Any, Arrays, Arrays, Arrays], None]
"""(out, inputs, constants, temporaries): computes the function when it is called."""

Plan = Callable[[Any, Arrays, Arrays, Arrays], "list[Kernel] | None"]
"""The same as a list of calls, which saves a Python function a block; None: let the body do it."""


@dataclass(frozen=True)
class Function:
    """How to compute one function; temporaries are `numbers` of the output's dtype, then `masks`."""

    body: Body | None
    numbers: int = 0
    masks: int = 0
    native: tuple[int, ...] = ()  # inputs read in their own dtype
    plan: Plan | None = None

    def steps(self, out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> list[Kernel]:
        """The function on these very arrays."""
        made = self.plan(out, inputs, constants, temporaries) if self.plan else None
        if made is not None:
            return made
        assert self.body is not None
        return [partial(self.body, out, inputs, constants, temporaries)]


TABLE: dict[str, Function] = {}
"""Name in `netspec.operations.elementwise.FUNCTIONS` -> implementation."""


def function(
    name: str, numbers: int = 0, masks: int = 0, native: tuple[int, ...] = (), plan: Plan | None = None
) -> Callable[[Body], Body]:
    """Enter the decorated body into the table."""

    def register(body: Body) -> Body:
        TABLE[name] = Function(body, numbers, masks, native, plan)
        return body

    return register


def planned(name: str, numbers: int = 0, masks: int = 0) -> Callable[[Plan], Plan]:
    """Enter the decorated plan into the table: a function that needs no body."""

    def register(plan: Plan) -> Plan:
        TABLE[name] = Function(None, numbers, masks, plan=plan)
        return plan

    return register


def _bits(array: Any) -> Any:
    """The array's numbers as signed integers of the same size."""
    return array.view(np.dtype(f"i{array.itemsize}"))


# --- one ufunc --------------------------------------------------------------------------------------


def _unary(ufunc: Any) -> Plan:
    return lambda out, inputs, constants, temporaries: [partial(ufunc, inputs[0], out)]


def _binary(ufunc: Any) -> Plan:
    return lambda out, inputs, constants, temporaries: [partial(ufunc, inputs[0], inputs[1], out=out)]


_UNARY: dict[str, Any] = {
    "neg": np.negative,
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "abs": np.absolute,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "square": np.square,
}
_BINARY: dict[str, Any] = {
    "mul": np.multiply,
    "div": np.true_divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "relu": np.maximum,  # of an array of zeros: a scalar operand is slower
}
TABLE.update({name: Function(None, plan=_unary(ufunc)) for name, ufunc in _UNARY.items()})
TABLE.update({name: Function(None, plan=_binary(ufunc)) for name, ufunc in _BINARY.items()})


# --- arithmetic -------------------------------------------------------------------------------------


def _scaled(ufunc: Any) -> Plan:
    def plan(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> list[Kernel]:
        (x, y), (t,) = inputs, temporaries
        if not constants or constants[0] == 1:
            return [partial(ufunc, x, y, out)]
        return [partial(np.multiply, y, constants[0], t, casting="unsafe"), partial(ufunc, x, t, out)]

    return plan


TABLE["add"] = Function(None, numbers=1, plan=_scaled(np.add))
TABLE["sub"] = Function(None, numbers=1, plan=_scaled(np.subtract))


@planned("scale")
def _scale(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> list[Kernel]:
    a, b = constants
    return [
        partial(np.multiply, inputs[0], a, out, casting="unsafe"),
        partial(np.add, out, b, out, casting="unsafe"),
    ]


def _nonzero(y: Any) -> None:
    if y.dtype.kind in "iu" and not y.all():
        raise KernelError("integer division by zero")


@function("div_floor")
def _div_floor(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    x, y = inputs
    _nonzero(y)
    np.floor_divide(x, y, out=out)


@function("div_trunc", numbers=2)
def _div_trunc(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x, y), (t, u) = inputs, temporaries
    _nonzero(y)
    if out.dtype.kind in "iu":
        np.fmod(x, y, out=t)
        np.subtract(x, t, out=u)
        np.floor_divide(u, y, out=out)
    else:
        np.true_divide(x, y, out=t)
        np.trunc(t, out=out)


@function("pow", numbers=2, masks=2)
def _pow(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x, y), (t, u, negative, other) = inputs, temporaries
    if out.dtype.kind != "i":
        if out.dtype.kind == "c":
            np.equal(x, 0, out=negative)
            np.equal(y, 0, out=other)
            np.logical_and(negative, other, out=other)
        np.power(x, y, out=out)
        if out.dtype.kind == "c":  # torch takes exp(y log x), which is NaN for 0 to the power 0
            np.copyto(out, complex(np.nan, np.nan), where=other)
        return
    # torch: an integer to a negative power is 0, except that 1 and -1 keep to their parity
    np.less(y, 0, out=negative)
    np.abs(y, out=t)
    np.power(x, t, out=u)
    np.abs(x, out=t)
    np.not_equal(t, 1, out=other)
    np.logical_and(negative, other, out=negative)
    np.copyto(u, 0, where=negative)
    np.copyto(out, u)


# --- functions of one array -------------------------------------------------------------------------


def _where_positive(out: Any, x: Any, slope: Any, t: Any) -> list[Kernel]:
    """x where its sign bit is not set, else slope * x, chosen by bits."""
    bits, product = _bits(t[0]), t[1]
    return [
        partial(np.multiply, x, slope, product),
        partial(np.right_shift, _bits(x), 8 * x.itemsize - 1, bits),  # all bits of the negative ones
        *_chosen(out, x, product, bits),
    ]


def _chosen(out: Any, x: Any, y: Any, where: Any) -> list[Kernel]:
    """out = y where all bits of `where` are set, x where none is; y (not out) is overwritten.

    NumPy's masked copy takes ten times as long.
    """
    return [
        partial(np.bitwise_xor, _bits(x), _bits(y), _bits(y)),
        partial(np.bitwise_and, _bits(y), where, _bits(y)),
        partial(np.bitwise_xor, _bits(x), _bits(y), _bits(out)),
    ]


@planned("leaky_relu", numbers=2)
def _leaky_relu(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> list[Kernel]:
    (x,), (slope,) = inputs, constants
    product = temporaries[1]
    if not (0 < slope <= 1 or slope > 1):
        return _where_positive(out, x, slope, temporaries)
    larger = np.maximum if slope <= 1 else np.minimum
    return [partial(np.multiply, x, slope, product), partial(larger, x, product, out=out)]


@planned("prelu", numbers=2)
def _prelu(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> list[Kernel]:
    x, slope = inputs
    return _where_positive(out, x, slope, temporaries)


def _clip(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> list[Kernel] | None:
    (x,), (low, high) = inputs, constants
    if out.dtype.kind != "f":
        return None
    return [partial(x.clip, low, high, out)]  # one pass; NaN stays, and `high` wins over a larger `low`


@function("clamp", plan=_clip)
def _clamp(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x,), (low, high) = inputs, constants
    if low is not None:
        x = np.maximum(x, low, out=out, casting="unsafe")
    if high is not None:
        x = np.minimum(x, high, out=out, casting="unsafe")
    if x is not out:
        np.copyto(out, x)


def _expm1_into(t: Any, u: Any) -> None:
    """t = exp(t) - 1, with u as a temporary; NumPy's own expm1 has no vector loop for float32."""
    if t.dtype != np.float32:
        np.expm1(t, out=t)
        return
    np.exp(t, out=u)
    np.add(u, u.dtype.type(1), out=u)
    np.multiply(t, t.dtype.type(0.5), out=t)
    np.tanh(t, out=t)
    np.multiply(t, u, out=t)  # tanh(t / 2) * (exp(t) + 1)


@function("elu", numbers=3)
def _elu(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x,), (alpha, scale, input_scale), (t, u, above) = inputs, constants, temporaries
    zero = t.dtype.type(0)
    np.minimum(x, zero, out=t)
    np.multiply(t, input_scale, out=t)
    _expm1_into(t, u)
    np.multiply(t, alpha * scale, out=t)
    np.maximum(x, zero, out=above)
    np.multiply(above, scale, out=above)
    np.add(t, above, out=out)  # one of the two is 0


@function("gelu", numbers=4, masks=1)
def _gelu(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x,), (approximate,) = inputs, constants
    real = out.dtype.type
    t, u = temporaries[:2]
    if approximate == "tanh":
        np.multiply(x, x, out=t)
        np.multiply(t, x, out=t)
        np.multiply(t, real(0.044715), out=t)
        np.add(t, x, out=t)
        np.multiply(t, real(math.sqrt(2 / math.pi)), out=t)
        np.tanh(t, out=t)
    else:
        np.multiply(x, real(math.sqrt(0.5)), out=u)
        erf(t, u, temporaries[2], temporaries[3], temporaries[4])
    np.add(t, real(1), out=t)
    np.multiply(x, real(0.5), out=u)
    np.multiply(u, t, out=out)


def _denominator(x: Any, t: Any) -> list[Kernel]:
    """t = 1 + exp(-x), the sigmoid's denominator; inf where exp overflows."""
    return [partial(np.negative, x, t), partial(np.exp, t, t), partial(np.add, t, t.dtype.type(1), t)]


@planned("sigmoid", numbers=1)
def _sigmoid(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> list[Kernel]:
    (t,) = temporaries
    return [*_denominator(inputs[0], t), partial(np.true_divide, t.dtype.type(1), t, out)]


@planned("silu", numbers=1)
def _silu(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> list[Kernel]:
    (t,) = temporaries
    return [*_denominator(inputs[0], t), partial(np.true_divide, inputs[0], t, out)]


@function("mish", numbers=1)
def _mish(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (t,) = temporaries
    np.exp(inputs[0], out=t)
    np.log1p(t, out=t)
    np.tanh(t, out=t)
    np.multiply(inputs[0], t, out=out)


def _relu6_shifted(x: Any, t: Any) -> list[Kernel]:
    """t = clamp(x + 3, 0, 6)."""
    real = t.dtype.type
    return [partial(np.add, x, real(3), t), partial(t.clip, real(0), real(6), t)]


@planned("hardswish", numbers=1)
def _hardswish(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> list[Kernel]:
    (x,), (t,) = inputs, temporaries
    sixth = t.dtype.type(1 / 6)
    return [*_relu6_shifted(x, t), partial(np.multiply, x, t, t), partial(np.multiply, t, sixth, out)]


@planned("hardsigmoid", numbers=1)
def _hardsigmoid(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> list[Kernel]:
    (t,) = temporaries
    return [*_relu6_shifted(inputs[0], t), partial(np.multiply, t, t.dtype.type(1 / 6), out)]


@function("softplus", numbers=2, masks=1)
def _softplus(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x,), (beta, threshold), (t, u, linear) = inputs, constants, temporaries
    np.multiply(x, beta, out=t)
    np.greater(t, threshold, out=linear)
    np.exp(t, out=u)
    np.log1p(u, out=u)
    np.true_divide(u, beta, out=u)
    np.copyto(u, x, where=linear)
    np.copyto(out, u)


@function("softsign", numbers=1)
def _softsign(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x,), (t,) = inputs, temporaries
    np.abs(x, out=t)
    np.add(t, t.dtype.type(1), out=t)
    np.true_divide(x, t, out=out)


@function("tanhshrink", numbers=1)
def _tanhshrink(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x,), (t,) = inputs, temporaries
    np.tanh(x, out=t)
    np.subtract(x, t, out=out)


@planned("hardshrink", numbers=2, masks=1)
def _hardshrink(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> list[Kernel]:
    (x,), (limit,), (t, u, small) = inputs, constants, temporaries
    where = _bits(u)
    return [
        partial(np.abs, x, t),
        partial(np.less_equal, t, limit, small),
        partial(np.copyto, where, small),
        partial(np.subtract, where, 1, where),  # all bits of those that are kept
        partial(np.bitwise_and, _bits(x), where, _bits(out)),
    ]


@function("softshrink", numbers=2)
def _softshrink(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x,), (limit,), (t, u) = inputs, constants, temporaries
    np.subtract(x, limit, out=t)
    np.maximum(t, t.dtype.type(0), out=t)  # above the limit
    np.add(x, limit, out=u)
    np.minimum(u, u.dtype.type(0), out=u)  # below minus the limit
    np.add(t, u, out=out)


def _threshold_by_bits(
    out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays
) -> list[Kernel] | None:
    (x,), (limit, value), (t, u, low) = inputs, constants, temporaries
    if out.dtype.kind != "f":
        return None
    where = _bits(t)
    return [
        partial(np.less_equal, x, limit, low),
        partial(np.copyto, where, low),
        partial(np.negative, where, where),
        partial(np.copyto, u, value),
        *_chosen(out, x, u, where),
    ]


@function("threshold", numbers=2, masks=1, plan=_threshold_by_bits)
def _threshold(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x,), (limit, value), (*_, low) = inputs, constants, temporaries
    np.less_equal(x, limit, out=low)
    np.copyto(out, x)
    np.copyto(out, value, where=low, casting="unsafe")


def _log_sigmoid_into(t: Any, x: Any, u: Any) -> None:
    """t = min(x, 0) - log1p(exp(-|x|)), with u as a temporary."""
    np.abs(x, out=u)
    np.negative(u, out=u)
    np.exp(u, out=u)
    np.log1p(u, out=u)
    np.minimum(x, t.dtype.type(0), out=t)
    np.subtract(t, u, out=t)


@function("log_sigmoid", numbers=2)
def _log_sigmoid(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    t, u = temporaries
    _log_sigmoid_into(t, inputs[0], u)
    np.copyto(out, t)


@function("rsqrt", numbers=1)
def _rsqrt(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (t,) = temporaries
    np.sqrt(inputs[0], out=t)
    np.true_divide(t.dtype.type(1), t, out=out)


# --- losses -----------------------------------------------------------------------------------------


@function("bce", numbers=2)
def _bce(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x, y), (t, u) = inputs, temporaries
    least = t.dtype.type(-100)
    np.negative(x, out=t)
    np.log1p(t, out=t)
    np.maximum(t, least, out=t)
    np.subtract(y, y.dtype.type(1), out=u)
    np.multiply(t, u, out=t)  # (y - 1) * log(1 - x)
    np.log(x, out=u)
    np.maximum(u, least, out=u)
    np.multiply(u, y, out=u)
    np.subtract(t, u, out=out)


@function("bce_with_logits", numbers=3)
def _bce_with_logits(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    x, y, *positive = inputs
    t, u, v = temporaries
    one = t.dtype.type(1)
    _log_sigmoid_into(t, x, u)
    if positive:
        np.subtract(positive[0], one, out=u)
        np.multiply(u, y, out=u)
        np.add(u, one, out=u)
        np.multiply(t, u, out=t)
    np.subtract(one, y, out=v)
    np.multiply(v, x, out=v)
    np.subtract(v, t, out=out)


@function("squared_error", numbers=1)
def _squared_error(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (t,) = temporaries
    np.subtract(inputs[0], inputs[1], out=t)
    np.multiply(t, t, out=out)


@function("absolute_error")
def _absolute_error(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    np.subtract(inputs[0], inputs[1], out=out)
    np.abs(out, out=out)


@function("smooth_l1", numbers=2, masks=1)
def _smooth_l1(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (beta,), (t, u, near) = constants, temporaries
    half = t.dtype.type(0.5)
    np.subtract(inputs[0], inputs[1], out=t)
    np.abs(t, out=t)
    np.less(t, beta, out=near)
    np.multiply(t, half, out=u)
    np.multiply(u, t, out=u)
    np.true_divide(u, beta, out=u)
    np.subtract(t, half * beta, out=t)
    np.copyto(t, u, where=near)
    np.copyto(out, t)


@function("huber", numbers=2, masks=1)
def _huber(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (delta,), (t, u, near) = constants, temporaries
    half = t.dtype.type(0.5)
    np.subtract(inputs[0], inputs[1], out=t)
    np.abs(t, out=t)
    np.less_equal(t, delta, out=near)
    np.multiply(t, half, out=u)
    np.multiply(u, t, out=u)
    np.subtract(t, half * delta, out=t)
    np.multiply(t, delta, out=t)
    np.copyto(t, u, where=near)
    np.copyto(out, t)


def _xlogy_into(t: Any, x: Any, y: Any, mask: Any, other: Any) -> None:
    """t = x * log(y), 0 where x is 0 and y a number."""
    np.log(y, out=t)
    np.multiply(t, x, out=t)
    np.equal(x, 0, out=mask)
    np.equal(y, y, out=other)
    np.logical_and(mask, other, out=mask)
    np.copyto(t, 0, where=mask)


@function("xlogy", numbers=1, masks=2)
def _xlogy(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    t, mask, other = temporaries
    _xlogy_into(t, inputs[0], inputs[1], mask, other)
    np.copyto(out, t)


@function("kl_div", numbers=2, masks=2)
def _kl_div(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x, y), (t, u, mask, other) = inputs, temporaries
    if constants and constants[0]:
        np.exp(y, out=t)
        np.subtract(y, x, out=u)
        np.multiply(t, u, out=out)
        return
    _xlogy_into(t, y, y, mask, other)
    np.multiply(y, x, out=u)
    np.subtract(t, u, out=out)


# --- selection --------------------------------------------------------------------------------------


def _comparison(ufunc: Any) -> Body:
    def body(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
        (mask,) = temporaries
        ufunc(inputs[0], constants[0], out=mask)
        np.copyto(out, mask, casting="unsafe")

    return body


TABLE["equal"] = Function(_comparison(np.equal), masks=1, native=(0,))
TABLE["not_equal"] = Function(_comparison(np.not_equal), masks=1, native=(0,))


@function("select", numbers=1, masks=1, native=(0,))
def _select(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    x, y, *other = inputs
    t, mask = temporaries
    np.not_equal(x, 0, out=mask)
    np.copyto(t, other[0] if other else constants[0], casting="unsafe")
    np.copyto(t, y, where=mask)
    np.copyto(out, t)
