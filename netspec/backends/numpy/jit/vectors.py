"""Vectors of sixteen float32 for compiled kernels: loads, stores and arithmetic as LLVM's vector instructions.

Plain loops are left as they are by LLVM wherever it cannot prove that arrays do not overlap, and it never
keeps a tile of thirty-six values in registers; with these a kernel says what it means. LLVM cuts a vector
into what the machine has (two of AVX2, one of AVX-512). Memory is given by its address, an int64 in bytes.

Imported by generated kernels only: this is where Numba comes in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic, models, register_model

WIDTH = 16
_FLOATS = ir.VectorType(ir.FloatType(), WIDTH)
_INTS = ir.VectorType(ir.IntType(32), WIDTH)
_BITS = ir.VectorType(ir.IntType(1), WIDTH)


class _Vector(types.Type):
    """Numba's name of the type."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{WIDTH}")


VECTOR = _Vector()


@register_model(_Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)  # type: ignore[no-untyped-call]


def _instruction(emit: Callable[..., Any], *arguments: Any, result: Any = VECTOR) -> Any:
    """A function for kernels that takes values of these types and becomes what `emit` builds."""
    names = ", ".join(f"a{i}" for i in range(len(arguments)))

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        made = emit(builder, *values)
        return context.get_dummy_value() if result == types.none else made

    scope: dict[str, Any] = {"signature": result(*arguments), "generate": generate}
    exec(f"def typed(context, {names}):\n    return signature, generate", scope)
    return intrinsic(scope["typed"])


def _constant(value: float) -> Any:
    return ir.Constant(_FLOATS, [value] * WIDTH)


def _spread(builder: Any, value: Any, kind: Any = _FLOATS) -> Any:
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH))


def _pointer(builder: Any, address: Any, kind: Any = _FLOATS) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _call(builder: Any, name: str, *values: Any) -> Any:
    kind = ir.FunctionType(_FLOATS, [value.type for value in values])
    module = builder.module
    function = module.globals.get(name) or ir.Function(module, kind, name)
    return builder.call(function, values)


def _load(builder: Any, address: Any) -> Any:
    return builder.load(_pointer(builder, address), align=4)


def _store(builder: Any, address: Any, value: Any) -> Any:
    return builder.store(value, _pointer(builder, address), align=4)


def _first(builder: Any, count: Any) -> Any:
    """Which lanes are below `count`."""
    lanes = ir.Constant(_INTS, list(range(WIDTH)))
    return builder.icmp_signed("<", lanes, _spread(builder, builder.trunc(count, ir.IntType(32)), _INTS))


def _load_part(builder: Any, address: Any, count: Any) -> Any:
    pointer = _pointer(builder, address)
    kind = ir.FunctionType(_FLOATS, [pointer.type, ir.IntType(32), _BITS, _FLOATS])
    name = f"llvm.masked.load.v{WIDTH}f32.p0"
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    align = ir.Constant(ir.IntType(32), 4)
    return builder.call(function, [pointer, align, _first(builder, count), _constant(0.0)])


def _store_part(builder: Any, address: Any, value: Any, count: Any) -> Any:
    pointer = _pointer(builder, address)
    kind = ir.FunctionType(ir.VoidType(), [_FLOATS, pointer.type, ir.IntType(32), _BITS])
    name = f"llvm.masked.store.v{WIDTH}f32.p0"
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    align = ir.Constant(ir.IntType(32), 4)
    return builder.call(function, [value, pointer, align, _first(builder, count)])


def _fetch(builder: Any, address: Any) -> Any:
    """To be read soon, and again; an address beyond all memory does nothing."""
    pointer = _pointer(builder, address, ir.IntType(8))
    small = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, small, small, small])
    name = "llvm.prefetch.p0"
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, [pointer, *(ir.Constant(small, value) for value in (0, 3, 1))])


def _larger(builder: Any, x: Any, y: Any) -> Any:
    """The larger one; NaN wins."""
    first = builder.or_(builder.fcmp_ordered(">", x, y), builder.fcmp_unordered("uno", x, x))
    return builder.select(first, x, y)


def _smaller(builder: Any, x: Any, y: Any) -> Any:
    first = builder.or_(builder.fcmp_ordered("<", x, y), builder.fcmp_unordered("uno", x, x))
    return builder.select(first, x, y)


def _scaled_by_power(builder: Any, x: Any, exponent: Any) -> Any:
    """x * 2**exponent, in two steps so that the factors stay normal numbers."""
    name = f"llvm.fptosi.sat.v{WIDTH}i32.v{WIDTH}f32"  # NaN becomes 0, where fptosi is undefined
    kind = ir.FunctionType(_INTS, [_FLOATS])
    whole = builder.call(
        builder.module.globals.get(name) or ir.Function(builder.module, kind, name), [exponent]
    )
    half = builder.ashr(whole, ir.Constant(_INTS, [1] * WIDTH))
    for part in (half, builder.sub(whole, half)):
        biased = builder.add(part, ir.Constant(_INTS, [127] * WIDTH))
        x = builder.fmul(x, builder.bitcast(builder.shl(biased, ir.Constant(_INTS, [23] * WIDTH)), _FLOATS))
    return x


_AT, _ONE = types.int64, types.float32

load = _instruction(_load, _AT)
store = _instruction(_store, _AT, VECTOR, result=types.none)
fetch = _instruction(_fetch, _AT, result=types.none)
load_part = _instruction(_load_part, _AT, types.int64)
store_part = _instruction(_store_part, _AT, VECTOR, types.int64, result=types.none)
everywhere = _instruction(
    lambda b, address: _spread(b, b.load(_pointer(b, address, ir.FloatType()), align=4)), _AT
)
"""The number at an address, sixteen times."""
splat = _instruction(lambda b, x: _spread(b, x), _ONE)

add = _instruction(lambda b, x, y: b.fadd(x, y), VECTOR, VECTOR)
sub = _instruction(lambda b, x, y: b.fsub(x, y), VECTOR, VECTOR)
mul = _instruction(lambda b, x, y: b.fmul(x, y), VECTOR, VECTOR)
div = _instruction(lambda b, x, y: b.fdiv(x, y), VECTOR, VECTOR)
neg = _instruction(lambda b, x: b.fneg(x), VECTOR)
fma = _instruction(lambda b, x, y, z: _call(b, f"llvm.fmuladd.v{WIDTH}f32", x, y, z), VECTOR, VECTOR, VECTOR)
"""x * y + z, in one rounding where the machine can."""
larger = _instruction(_larger, VECTOR, VECTOR)
smaller = _instruction(_smaller, VECTOR, VECTOR)
at_least = _instruction(lambda b, x, low: b.select(b.fcmp_ordered("<", x, low), low, x), VECTOR, VECTOR)
"""x, or the limit where x is below; NaN stays."""
at_most = _instruction(lambda b, x, high: b.select(b.fcmp_ordered(">", x, high), high, x), VECTOR, VECTOR)
where_positive = _instruction(
    lambda b, x, y, z: b.select(b.fcmp_ordered(">", x, _constant(0.0)), y, z), VECTOR, VECTOR, VECTOR
)
"""y where x > 0, else z."""
nearest = _instruction(lambda b, x: _call(b, f"llvm.rint.v{WIDTH}f32", x), VECTOR)
magnitude = _instruction(lambda b, x: _call(b, f"llvm.fabs.v{WIDTH}f32", x), VECTOR)
root = _instruction(lambda b, x: _call(b, f"llvm.sqrt.v{WIDTH}f32", x), VECTOR)
scaled_by_power = _instruction(_scaled_by_power, VECTOR, VECTOR)


def _inline(function: Any) -> Any:
    return numba.njit(function, forceinline=True)


@_inline
def exp(x):  # type: ignore[no-untyped-def]
    """e ** x to two units in the last place: 2 ** n times a polynomial on |r| <= log(2) / 2.

    Source: S. Moshier, Cephes, expf.
    """
    limited = at_most(at_least(x, splat(numba.float32(-104.0))), splat(numba.float32(89.0)))
    n = nearest(mul(limited, splat(numba.float32(1.44269504088896341))))
    r = fma(n, splat(numba.float32(-0.693359375)), limited)
    r = fma(n, splat(numba.float32(2.12194440e-4)), r)
    p = fma(splat(numba.float32(1.9875691500e-4)), r, splat(numba.float32(1.3981999507e-3)))
    p = fma(p, r, splat(numba.float32(8.3334519073e-3)))
    p = fma(p, r, splat(numba.float32(4.1665795894e-2)))
    p = fma(p, r, splat(numba.float32(1.6666665459e-1)))
    p = fma(p, r, splat(numba.float32(5.0000001201e-1)))
    p = add(fma(p, mul(r, r), r), splat(numba.float32(1.0)))
    return scaled_by_power(p, n)
