"""Functions element by element, as in-place passes over blocks that stay in the cache.

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

from netspec.backends.base import Array, Context, Kernel, KernelError
from netspec.backends.numpy.arrays import (
    CACHE_ELEMENTS,
    Block,
    blocks,
    extent,
    memory_order,
    scratch,
    sequence,
    spread,
    zeros,
)
from netspec.backends.numpy.finish import Finish
from netspec.backends.numpy.registry import kernel
from netspec.operations import Affine, Elementwise

Arrays = Sequence[Any]
Body = Callable[[Any, Arrays, Arrays, Arrays], None]
"""(out, inputs, constants, temporaries)."""


@dataclass(frozen=True)
class Function:
    """How to compute one function; temporaries are `numbers` of the output's dtype, then `masks`."""

    body: Body
    numbers: int = 0
    masks: int = 0
    native: tuple[int, ...] = ()  # inputs read in their own dtype


TABLE: dict[str, Function] = {}
"""Name in `netspec.operations.elementwise.FUNCTIONS` -> implementation."""


def function(
    name: str, numbers: int = 0, masks: int = 0, native: tuple[int, ...] = ()
) -> Callable[[Body], Body]:
    """Enter the decorated body into the table."""

    def register(body: Body) -> Body:
        TABLE[name] = Function(body, numbers, masks, native)
        return body

    return register


@kernel(Elementwise, finishes=True)
def elementwise(
    op: Elementwise,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    context: Context,
    finish: Finish | None = None,
) -> Kernel:
    """Runs the function block by block, in the order that the output lies in memory."""
    (out,) = outputs
    entry = TABLE[op.function]
    constants = [_constant(value, _constant_dtype(op, inputs, out)) for value in op.constants]
    arrays = [np.broadcast_to(x, out.shape) if x.shape != out.shape else x for x in inputs]

    def make(block: Block, arrays: Sequence[Array], out: Array) -> list[Kernel]:
        shape = extent(block)
        steps: list[Kernel] = []
        values: list[Array] = []
        for number, x in enumerate(arrays):
            value = x[block]
            if x.dtype != out.dtype and number not in entry.native and not _keeps_complex(op, x):
                value = scratch(context, f"input{number}", shape, out.dtype)
                steps.append(partial(np.copyto, value, x[block], casting="unsafe"))
            values.append(value)
        temporaries = [scratch(context, f"number{i}", shape, out.dtype) for i in range(entry.numbers)]
        temporaries += [scratch(context, f"mask{i}", shape, np.bool_) for i in range(entry.masks)]
        if op.function == "relu":
            values.append(zeros(context, shape, out.dtype))
        steps.append(partial(entry.body, out[block], values, constants, temporaries))
        return steps

    return sequence(_by_block(arrays, out, context, make, finish))


def _by_block(
    arrays: Sequence[Array],
    out: Array,
    context: Context,
    make: Callable[[Block, Sequence[Array], Array], list[Kernel]],
    finish: Finish | None,
) -> list[Kernel]:
    """The steps of `make` for blocks of arrays as large as `out`, spread over the lanes."""
    order, back = memory_order(out), None
    if order != tuple(range(out.ndim)):
        back = np.argsort(order)
        arrays, out = [x.transpose(order) for x in arrays], out.transpose(order)
    if finish is None and out.flags.c_contiguous and all(x.flags.c_contiguous for x in arrays):
        arrays, out = [x.reshape(-1) for x in arrays], out.reshape(-1)

    def steps(block: Block) -> list[Kernel]:
        made = make(block, arrays, out)
        if finish is None:
            return made
        whole = (*block, *(slice(None) for _ in range(out.ndim - len(block))))
        return made + finish(whole if back is None else tuple(whole[axis] for axis in back))

    return spread(context, blocks(out.shape, CACHE_ELEMENTS), steps, out.size)


def _keeps_complex(op: Elementwise, x: Array) -> bool:
    """The magnitude of a complex array is real."""
    return op.function == "abs" and x.dtype.kind == "c"


def _constant_dtype(op: Elementwise, inputs: Sequence[Array], out: Array) -> Any:
    """Comparisons happen in the input's dtype, all else in the output's."""
    return inputs[0].dtype if op.function in ("equal", "not_equal") else out.dtype


def _constant(value: Any, dtype: Any) -> Any:
    """A scalar argument in the dtype of the computation."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if dtype.kind in "iub":
        if isinstance(value, float) and not value.is_integer():
            return np.float64(value)
        limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        return dtype.type(min(max(int(value), int(limits[0])), int(limits[1])))
    return dtype.type(value)


@kernel(Affine, finishes=True)
def affine(
    op: Affine,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    context: Context,
    finish: Finish | None = None,
) -> Kernel:
    """Two passes over each block."""
    x, scale, shift = inputs
    (out,) = outputs
    axis = op.axis % x.ndim
    shape = [1] * axis + [-1] + [1] * (x.ndim - axis - 1)
    arrays = [x, *(np.broadcast_to(array.reshape(shape), out.shape) for array in (scale, shift))]

    def make(block: Block, arrays: Sequence[Array], out: Array) -> list[Kernel]:
        x, scale, shift = arrays
        part = out[block]
        return [
            partial(np.multiply, x[block], scale[block], part),
            partial(np.add, part, shift[block], part),
        ]

    return sequence(_by_block(arrays, out, context, make, finish))


# --- one ufunc --------------------------------------------------------------------------------------


def _unary(ufunc: Any) -> Body:
    return lambda out, inputs, constants, temporaries: ufunc(inputs[0], out=out)


def _binary(ufunc: Any) -> Body:
    return lambda out, inputs, constants, temporaries: ufunc(inputs[0], inputs[1], out=out)


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
}
TABLE.update({name: Function(_unary(ufunc)) for name, ufunc in _UNARY.items()})
TABLE.update({name: Function(_binary(ufunc)) for name, ufunc in _BINARY.items()})


# --- arithmetic -------------------------------------------------------------------------------------


def _scaled(ufunc: Any) -> Body:
    def body(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
        (x, y), (t,) = inputs, temporaries
        if constants and constants[0] != 1:
            y = np.multiply(y, constants[0], out=t, casting="unsafe")
        ufunc(x, y, out=out)

    return body


TABLE["add"] = Function(_scaled(np.add), numbers=1)
TABLE["sub"] = Function(_scaled(np.subtract), numbers=1)


@function("scale")
def _scale(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    a, b = constants
    np.multiply(inputs[0], a, out=out, casting="unsafe")
    np.add(out, b, out=out, casting="unsafe")


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
        np.power(x, y, out=out)
        if out.dtype.kind == "c":  # torch takes exp(y log x), which is NaN for 0 to the power 0
            np.equal(x, 0, out=negative)
            np.equal(y, 0, out=other)
            np.logical_and(negative, other, out=other)
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


@function("relu")
def _relu(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    x, zero = inputs  # NumPy's maximum of two arrays is five times as fast as with a scalar
    np.maximum(x, zero, out=out)


def _where_positive(out: Any, x: Any, slope: Any, t: Any, mask: Any) -> None:
    """x where it is positive, else slope * x."""
    np.greater(x, 0, out=mask)
    np.multiply(x, slope, out=t)
    np.copyto(t, x, where=mask)
    np.copyto(out, t)


@function("leaky_relu", numbers=1, masks=1)
def _leaky_relu(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x,), (slope,), (t, mask) = inputs, constants, temporaries
    if 0 < slope <= 1:
        np.multiply(x, slope, out=t)
        np.maximum(x, t, out=out)
    else:
        _where_positive(out, x, slope, t, mask)


@function("prelu", numbers=1, masks=1)
def _prelu(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    x, slope = inputs
    _where_positive(out, x, slope, *temporaries)


@function("clamp")
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


def _sigmoid_into(t: Any, x: Any) -> None:
    """t = 1 + exp(-x), the sigmoid's denominator; inf where exp overflows."""
    np.negative(x, out=t)
    np.exp(t, out=t)
    np.add(t, t.dtype.type(1), out=t)


@function("sigmoid", numbers=1)
def _sigmoid(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (t,) = temporaries
    _sigmoid_into(t, inputs[0])
    np.true_divide(t.dtype.type(1), t, out=out)


@function("silu", numbers=1)
def _silu(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (t,) = temporaries
    _sigmoid_into(t, inputs[0])
    np.true_divide(inputs[0], t, out=out)


@function("mish", numbers=1)
def _mish(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (t,) = temporaries
    np.exp(inputs[0], out=t)
    np.log1p(t, out=t)
    np.tanh(t, out=t)
    np.multiply(inputs[0], t, out=out)


def _relu6_shifted(x: Any, t: Any) -> None:
    """t = clamp(x + 3, 0, 6)."""
    real = t.dtype.type
    np.add(x, real(3), out=t)
    np.maximum(t, real(0), out=t)
    np.minimum(t, real(6), out=t)


@function("hardswish", numbers=1)
def _hardswish(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x,), (t,) = inputs, temporaries
    _relu6_shifted(x, t)
    np.multiply(x, t, out=t)
    np.true_divide(t, t.dtype.type(6), out=out)


@function("hardsigmoid", numbers=1)
def _hardsigmoid(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (t,) = temporaries
    _relu6_shifted(inputs[0], t)
    np.true_divide(t, t.dtype.type(6), out=out)


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


@function("hardshrink", numbers=1, masks=1)
def _hardshrink(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x,), (limit,), (t, small) = inputs, constants, temporaries
    np.abs(x, out=t)
    np.less_equal(t, limit, out=small)
    np.copyto(out, x)
    np.copyto(out, 0, where=small)


@function("softshrink", numbers=2)
def _softshrink(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x,), (limit,), (t, u) = inputs, constants, temporaries
    np.subtract(x, limit, out=t)
    np.maximum(t, t.dtype.type(0), out=t)  # above the limit
    np.add(x, limit, out=u)
    np.minimum(u, u.dtype.type(0), out=u)  # below minus the limit
    np.add(t, u, out=out)


@function("threshold", masks=1)
def _threshold(out: Any, inputs: Arrays, constants: Arrays, temporaries: Arrays) -> None:
    (x,), (limit, value), (low,) = inputs, constants, temporaries
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


# --- the error function -----------------------------------------------------------------------------

_SINGLE_P = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_SINGLE_Q = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)
_SMALL_P = (
    1.85777706184603153e-1,
    3.16112374387056560e00,
    1.13864154151050156e02,
    3.77485237685302021e02,
    3.20937758913846947e03,
)
_SMALL_Q = (
    1.0,
    2.36012909523441209e01,
    2.44024637934444173e02,
    1.28261652607737228e03,
    2.84423683343917062e03,
)
_LARGE_P = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e0,
    6.61191906371416295e01,
    2.98635138197400131e02,
    8.81952221241769090e02,
    1.71204761263407058e03,
    2.05107837782607147e03,
    1.23033935479799725e03,
)
_LARGE_Q = (
    1.0,
    1.57449261107098347e01,
    1.17693950891312499e02,
    5.37181101862009858e02,
    1.62138957456669019e03,
    3.29079923573345963e03,
    4.36261909014324716e03,
    3.43936767414372164e03,
    1.23033935480374942e03,
)


def _polynomial(t: Any, x: Any, coefficients: Sequence[float]) -> None:
    """t = the polynomial at x, highest power first (Horner)."""
    real = t.dtype.type
    np.multiply(x, real(coefficients[0]), out=t)
    for coefficient in coefficients[1:-1]:
        np.add(t, real(coefficient), out=t)
        np.multiply(t, x, out=t)
    np.add(t, real(coefficients[-1]), out=t)


def erf(out: Any, x: Any, t: Any, u: Any, mask: Any) -> None:
    """out = erf(x); x is overwritten, t and u are temporaries; none of them the same array.

    float32: x P(x^2)/Q(x^2) on [-4, 4] (the rational approximation of Eigen and XLA). float64:
    Cody, Rational Chebyshev approximations for the error function, 1969, whose range up to 4 is
    good to 1e-16 up to 6 here, because 1 - erf is below 1.6e-8 there.
    """
    real = out.dtype.type
    if out.dtype == np.float32:
        np.maximum(x, real(-4), out=x)
        np.minimum(x, real(4), out=x)
        np.multiply(x, x, out=t)
        _polynomial(u, t, _SINGLE_P)
        np.multiply(u, x, out=u)
        _polynomial(out, t, _SINGLE_Q)
        np.true_divide(u, out, out=out)
        return
    np.abs(x, out=t)
    np.less_equal(t, 0.46875, out=mask)
    np.minimum(t, 6.0, out=t)
    _polynomial(out, t, _LARGE_P)
    _polynomial(u, t, _LARGE_Q)
    np.true_divide(out, u, out=out)
    np.multiply(t, t, out=t)
    np.negative(t, out=u)
    np.exp(u, out=u)
    np.multiply(out, u, out=out)
    np.subtract(1.0, out, out=out)
    np.copysign(out, x, out=out)
    np.minimum(t, 0.25, out=t)
    _polynomial(u, t, _SMALL_P)
    np.multiply(x, u, out=x, where=mask)
    _polynomial(u, t, _SMALL_Q)
    np.true_divide(x, u, out=out, where=mask)
