"""The table of functions against the formulas in scalar arithmetic, and the extremes by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy_kernels import BACKEND, run, values

from netspec.backends.base import Context, KernelError
from netspec.backends.numpy.functions import TABLE
from netspec.operations import RUNNING, Affine, Elementwise, Fused, Stage
from netspec.operations.elementwise import FUNCTIONS

INF, NAN = math.inf, math.nan


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def log_sigmoid(x: float) -> float:
    return min(x, 0) - math.log1p(math.exp(-abs(x)))


def clamp(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


CASES: list[tuple[str, tuple[Any, ...], Callable[..., float]]] = [
    ("add", (), lambda x, y: x + y),
    ("add", (2.5,), lambda x, y: x + 2.5 * y),
    ("sub", (2.0,), lambda x, y: x - 2 * y),
    ("mul", (), lambda x, y: x * y),
    ("div", (), lambda x, y: x / y),
    ("div_floor", (), lambda x, y: x // y),
    ("div_trunc", (), lambda x, y: float(math.trunc(x / y))),
    ("pow", (), lambda x, y: x**y if x > 0 else NAN),
    ("maximum", (), max),
    ("minimum", (), min),
    ("neg", (), lambda x: -x),
    ("square", (), lambda x: x * x),
    ("scale", (2.0, -1.0), lambda x: 2 * x - 1),
    ("relu", (), lambda x: max(x, 0)),
    ("leaky_relu", (0.1,), lambda x: x if x > 0 else 0.1 * x),
    ("leaky_relu", (2.0,), lambda x: x if x > 0 else 2 * x),
    ("prelu", (), lambda x, y: x if x > 0 else y * x),
    ("clamp", (-1.0, None), lambda x: max(x, -1)),
    ("clamp", (-1.0, 0.5), lambda x: clamp(x, -1, 0.5)),
    ("elu", (1.5, 1.1, 0.5), lambda x: 1.1 * x if x > 0 else 1.1 * 1.5 * math.expm1(x * 0.5)),
    ("gelu", ("none",), lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2)))),
    (
        "gelu",
        ("tanh",),
        lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    ("silu", (), lambda x: x * sigmoid(x)),
    ("mish", (), lambda x: x * math.tanh(math.log1p(math.exp(x)))),
    ("hardswish", (), lambda x: x * clamp(x + 3, 0, 6) / 6),
    ("hardsigmoid", (), lambda x: clamp(x + 3, 0, 6) / 6),
    ("softplus", (2.0, 3.0), lambda x: x if 2 * x > 3 else math.log1p(math.exp(2 * x)) / 2),
    ("softsign", (), lambda x: x / (1 + abs(x))),
    ("tanhshrink", (), lambda x: x - math.tanh(x)),
    ("hardshrink", (0.5,), lambda x: x if abs(x) > 0.5 else 0),
    ("softshrink", (0.5,), lambda x: x - 0.5 if x > 0.5 else x + 0.5 if x < -0.5 else 0),
    ("threshold", (0.5, -9.0), lambda x: x if x > 0.5 else -9),
    ("log_sigmoid", (), log_sigmoid),
    ("sigmoid", (), sigmoid),
    ("tanh", (), math.tanh),
    ("exp", (), math.exp),
    ("log", (), lambda x: math.log(x) if x > 0 else NAN),
    ("log1p", (), lambda x: math.log1p(x) if x > -1 else NAN),
    ("sqrt", (), lambda x: math.sqrt(x) if x >= 0 else NAN),
    ("rsqrt", (), lambda x: 1 / math.sqrt(x) if x > 0 else NAN),
    ("abs", (), abs),
    ("sin", (), math.sin),
    ("cos", (), math.cos),
    ("bce_with_logits", (), lambda x, y: (1 - y) * x - log_sigmoid(x)),
    ("bce_with_logits", (), lambda x, y, z: (1 - y) * x - (1 + (z - 1) * y) * log_sigmoid(x)),
    ("squared_error", (), lambda x, y: (x - y) ** 2),
    ("absolute_error", (), lambda x, y: abs(x - y)),
    ("smooth_l1", (1.0,), lambda x, y: 0.5 * (x - y) ** 2 if abs(x - y) < 1 else abs(x - y) - 0.5),
    ("smooth_l1", (0.0,), lambda x, y: abs(x - y)),
    ("huber", (2.0,), lambda x, y: 0.5 * (x - y) ** 2 if abs(x - y) <= 2 else 2 * (abs(x - y) - 1)),
    ("kl_div", (False,), lambda x, y: y * (math.log(y) - x) if y > 0 else NAN),
    ("kl_div", (True,), lambda x, y: math.exp(y) * (y - x)),
    ("xlogy", (), lambda x, y: x * math.log(y) if y > 0 else NAN),
    ("equal", (0.0,), lambda x: float(x == 0)),
    ("not_equal", (0.0,), lambda x: float(x != 0)),
    ("select", (), lambda x, y, z: y if x else z),
    ("select", (4.0,), lambda x, y: y if x else 4.0),
]


def test_every_function_is_implemented_and_tested() -> None:
    assert set(TABLE) == set(FUNCTIONS)
    assert {name for name, _, _ in CASES} | {"bce"} == set(FUNCTIONS)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("name", "constants", "formula"), CASES)
def test_function(name: str, constants: tuple[Any, ...], formula: Any, dtype: Any) -> None:
    arity = (
        formula.__code__.co_argcount
        if hasattr(formula, "__code__")
        else {"maximum": 2, "minimum": 2}.get(name, 1)
    )
    inputs = [values(i, (3, 4, 5), dtype) for i in range(arity)]
    expected = np.array(
        [formula(*map(float, cells)) for cells in zip(*(x.flat for x in inputs), strict=True)]
    ).reshape(3, 4, 5)
    limit = {2: 1e-3, 4: 1e-6, 8: 1e-13}[np.dtype(dtype).itemsize]
    for messy in (False, True):
        result = run(Elementwise(name, constants), inputs, ((3, 4, 5), dtype), messy=messy)
        np.testing.assert_allclose(result, expected, rtol=limit, atol=limit)
    # in place, and with the other inputs broadcast
    for place in range(arity):
        bound = [x.copy() for x in inputs]
        kernel = BACKEND.bind(Elementwise(name, constants), bound, [bound[place]], Context())
        with BACKEND.running():
            kernel()
        np.testing.assert_array_equal(bound[place], result)
    if arity > 1:
        bound = [inputs[0], *(x[:1, :, :1] for x in inputs[1:])]
        wide = [np.broadcast_to(x, (3, 4, 5)).copy() for x in bound]
        spec = ((3, 4, 5), dtype)
        op = Elementwise(name, constants)
        np.testing.assert_array_equal(run(op, bound, spec), run(op, wide, spec))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_nothing_and_a_single_number(name: str) -> None:
    found = next((case for case in CASES if case[0] == name), (name, (), None))
    arity = 3 if found == ("select", (), found[2]) else 1
    if name in {"add", "sub", "mul", "div", "div_floor", "div_trunc", "pow", "maximum", "minimum", "prelu"}:
        arity = 2
    if name in {"bce", "bce_with_logits", "squared_error", "absolute_error", "smooth_l1", "huber"}:
        arity = 2
    if name in {"kl_div", "xlogy"}:
        arity = 2
    for shape in ((0, 3), ()):
        inputs = [np.full(shape, 0.5, np.float32)] * arity
        out = run(Elementwise(name, found[1]), inputs, (shape, np.float32))
        assert out.shape == shape
        assert np.isfinite(out).all()


@pytest.mark.parametrize(
    ("name", "constants", "x", "expected"),
    [
        ("relu", (), [NAN, -INF, INF, -0.0], [NAN, 0, INF, 0]),
        ("leaky_relu", (0.0,), [NAN, INF, -1], [NAN, INF, 0]),
        ("clamp", (-1.0, 1.0), [NAN, INF, -INF], [NAN, 1, -1]),
        ("clamp", (3.0, 1.0), [0, 2, 5], [1, 1, 1]),
        ("sigmoid", (), [-1e4, 1e4, -INF, INF, NAN], [0, 1, 0, 1, NAN]),
        ("silu", (), [-1e4, 1e4, INF], [0, 1e4, INF]),
        ("mish", (), [-1e4, 1e4, INF], [0, 1e4, INF]),
        ("gelu", ("none",), [-50, 50, INF, NAN], [0, 50, INF, NAN]),
        ("gelu", ("tanh",), [-50, 50, INF, NAN], [0, 50, INF, NAN]),
        ("softplus", (1.0, 20.0), [-1e4, 1e4, INF, -INF, NAN], [0, 1e4, INF, 0, NAN]),
        ("log_sigmoid", (), [-1e4, 1e4, -INF, INF], [-1e4, 0, -INF, 0]),
        ("elu", (1.0, 1.0, 1.0), [-INF, INF, NAN, 0], [-1, INF, NAN, 0]),
        ("hardswish", (), [-INF, INF, NAN, -9], [NAN, INF, NAN, 0]),
        ("hardsigmoid", (), [-INF, INF, NAN, -9], [0, 1, NAN, 0]),
        ("leaky_relu", (0.1,), [NAN, -INF, INF, -0.0], [NAN, -INF, INF, 0]),
        ("leaky_relu", (3.0,), [NAN, -INF, INF, -0.0], [NAN, -INF, INF, 0]),
        ("leaky_relu", (-1.0,), [NAN, -INF, INF, -0.0], [NAN, INF, INF, 0]),
        ("clamp", (None, 1.0), [NAN, INF, -INF], [NAN, 1, -INF]),
        ("hardshrink", (0.5,), [NAN, -INF], [NAN, -INF]),
        ("softshrink", (0.5,), [NAN, -INF, INF], [NAN, -INF, INF]),
        ("threshold", (0.0, 7.0), [NAN, 0, 1], [NAN, 7, 1]),
        ("log", (), [0, -1, INF], [-INF, NAN, INF]),
        ("log1p", (), [-1, -2], [-INF, NAN]),
        ("sqrt", (), [-1, 0, INF], [NAN, 0, INF]),
        ("rsqrt", (), [0, INF], [INF, 0]),
        ("exp", (), [1e3, -1e3], [INF, 0]),
        ("tanh", (), [-INF, INF], [-1, 1]),
    ],
)
def test_extremes(name: str, constants: tuple[Any, ...], x: list[float], expected: list[float]) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        result = run(Elementwise(name, constants), [np.array(x, dtype)], ((len(x),), dtype))
        np.testing.assert_array_equal(result, np.array(expected, dtype))


@pytest.mark.parametrize(
    ("name", "x", "y", "expected"),
    [
        ("xlogy", [0, 0, 0, 2], [0, INF, NAN, 0], [0, 0, NAN, -INF]),
        ("kl_div", [1, 2], [0, 1], [0, -2]),
        ("bce", [0, 1, 0, 1, 0.5], [0, 1, 1, 0, 1], [0, 0, 100, 100, math.log(2)]),
        ("prelu", [NAN, -INF, INF, -1, 1], [0.5, 0.5, -1, NAN, NAN], [NAN, -INF, INF, NAN, 1]),
        ("prelu", [-INF, -2, 2], [0, INF, INF], [NAN, -INF, 2]),
        ("maximum", [NAN, 1, -INF], [1, NAN, INF], [NAN, NAN, INF]),
        ("minimum", [NAN, 1, -INF], [1, NAN, INF], [NAN, NAN, -INF]),
        ("div", [1, -1, 0], [0, 0, 0], [INF, -INF, NAN]),
        ("div_floor", [-7, 7, -7.5], [2, -2, 2], [-4, -4, -4]),
        ("div_trunc", [-7, 7, -7.5], [2, -2, 2], [-3, -3, -3]),
        ("pow", [-8, 0, 2], [1 / 3, 0, -1], [NAN, 1, 0.5]),
    ],
)
def test_extremes_of_pairs(name: str, x: list[float], y: list[float], expected: list[float]) -> None:
    for dtype in (np.float32, np.float64):
        result = run(Elementwise(name), [np.array(x, dtype), np.array(y, dtype)], ((len(x),), dtype))
        np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "constants", "inputs", "expected"),
    [
        ("add", (3,), [[1, 2], [3, 4]], [10, 14]),
        ("div_floor", (), [[-7, 7], [2, -2]], [-4, -4]),
        ("div_trunc", (), [[-7, 7], [2, -2]], [-3, -3]),
        ("pow", (), [[2, -3, 1, -1, 2], [10, 3, -5, -3, -1]], [1024, -27, 1, -1, 0]),
        ("clamp", (-1, 2), [[-5, 1, 9]], [-1, 1, 2]),
        ("abs", (), [[-3, 4]], [3, 4]),
        ("relu", (), [[-3, 4]], [0, 4]),
        ("equal", (4,), [[-3, 4]], [0, 1]),
        ("scale", (2, 1), [[-3, 4]], [-5, 9]),
        ("mul", (), [[2**62, 3], [4, 5]], [0, 15]),
    ],
)
def test_integers(name: str, constants: Any, inputs: list[list[int]], expected: list[int]) -> None:
    result = run(Elementwise(name, constants), [np.array(x) for x in inputs], ((len(expected),), np.int64))
    assert result.tolist() == expected


@pytest.mark.parametrize("name", ["div_floor", "div_trunc"])
def test_an_integer_is_not_divided_by_zero(name: str) -> None:
    with pytest.raises(KernelError, match="integer division by zero"):
        run(Elementwise(name), [np.array([1]), np.array([0])], ((1,), np.int64))


def test_inputs_are_converted_to_the_output() -> None:
    result = run(Elementwise("div"), [np.array([1, 2]), np.array([4, 4])], ((2,), np.float32))
    assert result.tolist() == [0.25, 0.5]
    result = run(Elementwise("equal", (1,)), [np.array([1.0, 2.0])], ((2,), np.bool_))
    assert result.tolist() == [True, False]


def test_complex() -> None:
    z = np.array([3 + 4j, -1j])
    assert run(Elementwise("abs"), [z], ((2,), np.float64)).tolist() == [5, 1]
    for name, formula in {
        "exp": np.exp,
        "log": np.log,
        "sqrt": np.sqrt,
        "sin": np.sin,
        "cos": np.cos,
        "tanh": np.tanh,
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    }.items():
        np.testing.assert_allclose(run(Elementwise(name), [z], ((2,), z.dtype)), formula(z), rtol=1e-12)
    for name, pair in {"add": np.add, "mul": np.multiply, "div": np.divide, "pow": np.power}.items():
        np.testing.assert_allclose(run(Elementwise(name), [z, z + 1], ((2,), z.dtype)), pair(z, z + 1))


def test_blocks_cover_large_arrays() -> None:
    x = values(1, (3, 5, 70, 90), np.float32)
    for data, messy in itertools.product((x, x.transpose(0, 3, 1, 2)), (False, True)):
        result = run(Elementwise("silu"), [data], (data.shape, np.float32), messy=messy)
        np.testing.assert_allclose(result, data / (1 + np.exp(-data)), rtol=2e-6)
        scale = values(2, data.shape[1:2], np.float32)
        result = run(Affine(1), [data, scale, scale], (data.shape, np.float32), messy=messy)
        shape = (-1, 1, 1)
        np.testing.assert_allclose(result, data * scale.reshape(shape) + scale.reshape(shape), rtol=1e-6)


@pytest.mark.parametrize("how", [{}, {"last": True}, {"lanes": 2}, {"last": True, "lanes": 2}])
@pytest.mark.parametrize("channels", [16, 80])
def test_one_number_a_channel_in_any_layout(how: dict[str, Any], channels: int) -> None:
    x = values(1, (2, channels, 5000 // channels, 64), np.float32)
    each = values(2, (2, channels, 1, 1), np.float32)
    spec = (x.shape, np.float32)
    np.testing.assert_array_equal(run(Elementwise("mul"), [x, each], spec, **how), x * each)
    slopes = np.where(x > 0, x, x * each[:1])
    np.testing.assert_array_equal(run(Elementwise("prelu"), [x, each[:1]], spec, **how), slopes)
    gate = Fused(Elementwise("mul"), 2, (Stage(Elementwise("add"), (RUNNING, 2)),))
    result = run(gate, [x, each, each + 1], spec, **how)
    np.testing.assert_array_equal(result, x * each + (each + 1))
    scale, shift = each[0, :, 0, 0], each[1, :, 0, 0]
    result = run(Affine(1), [x, scale, shift], spec, **how)
    np.testing.assert_array_equal(result, x * each[0] + each[1])


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_any_number_of_lanes_gives_the_same_bits(lanes: int) -> None:
    x = values(1, (7, 16, 81, 80), np.float32)
    steps = (Stage(Elementwise("add"), (RUNNING, 1)), Stage(Elementwise("gelu", ("none",)), (RUNNING,)))
    op = Fused(Elementwise("silu"), 1, steps)
    results = [run(op, [x, x], (x.shape, np.float32), last=last, lanes=lanes) for last in (False, True)]
    for result in results:
        np.testing.assert_array_equal(result, run(op, [x, x], (x.shape, np.float32)))


def test_error_function_is_exact() -> None:
    for dtype, limit in ((np.float32, 5e-7), (np.float64, 5e-16)):
        points = np.linspace(-7, 7, 20001).astype(dtype)
        ones = run(Elementwise("gelu", ("none",)), [points], (points.shape, dtype))
        exact = np.array([0.5 * x * (1 + math.erf(x * math.sqrt(0.5))) for x in points.astype(float)])
        assert np.abs(ones - exact).max() <= 4 * limit
