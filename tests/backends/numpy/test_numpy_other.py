"""Reductions, products, layout, checks, random numbers and the backend itself."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_kernels import BACKEND, run, tolerance, values

from netspec import operations
from netspec.backends.base import Context, KernelError
from netspec.backends.numpy import backend as backend_module
from netspec.operations import (
    RUNNING,
    ArgMax,
    ArraySpec,
    Broadcast,
    Cast,
    Concat,
    Einsum,
    Elementwise,
    Fused,
    Linear,
    MatMul,
    Moments,
    Normalize,
    Operation,
    Random,
    Reduce,
    Require,
    Reshape,
    Slice,
    Softmax,
    Stage,
    TakeAlong,
    Transpose,
)

quick = settings(max_examples=40, deadline=None)
SHAPES = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)


def test_every_operation_has_a_kernel() -> None:
    found = {
        value
        for value in vars(operations).values()
        if inspect.isclass(value) and issubclass(value, Operation)
    } - {Operation, Fused}  # a fused step is bound by the kernels of its parts
    assert found == set(BACKEND.kernels)


@quick
@given(SHAPES, st.data(), st.sampled_from([np.float16, np.float32, np.float64, np.complex64, np.int64]))
def test_reductions(shape: tuple[int, ...], data: Any, dtype: Any) -> None:
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    keep, messy = data.draw(st.booleans()), data.draw(st.booleans())
    x = values(1, shape, dtype)
    wide = x.astype({"f": np.float64, "c": np.complex128, "i": np.int64}[x.dtype.kind])
    functions: dict[str, Any] = {"sum": np.sum, "prod": np.prod}
    if x.dtype.kind != "i" and x.size:
        functions["mean"] = np.mean
    if x.dtype.kind != "c" and all(shape[axis] for axis in axes):
        functions |= {"max": np.max, "min": np.min}
    for name, function in functions.items():
        expected = np.asarray(function(wide, axis=axes, keepdims=keep))
        result = run(Reduce(name, axes, keep), [x], (expected.shape, dtype), messy=messy)
        np.testing.assert_allclose(result, expected, rtol=tolerance(dtype), atol=10 * tolerance(dtype))


def test_the_mean_of_nothing_is_nan() -> None:
    assert np.isnan(run(Reduce("mean", (0,)), [np.zeros((0, 2))], ((2,), np.float64))).all()
    assert np.isnan(run(Moments((0,)), [np.zeros((0, 2))], ((2,), np.float64), ((2,), np.float64))).all()


def test_long_sums_are_exact_along_any_axis() -> None:
    x = np.full((200_000, 2), 0.1, np.float32)
    for data, axis in ((x, 0), (x.T.copy(), 1)):
        result = run(Reduce("sum", (axis,)), [data], ((2,), np.float32))
        np.testing.assert_allclose(result, 200_000 * float(np.float32(0.1)), rtol=2e-7)


LANES: list[dict[str, Any]] = [{}, {"last": True}, {"lanes": 2}, {"last": True, "lanes": 2}, {"messy": True}]


@pytest.mark.parametrize("how", LANES)
@pytest.mark.parametrize("shape", [(3, 21, 40, 61), (2, 2, 130, 70), (2, 300, 9, 11), (1, 64, 1, 3000)])
def test_reductions_in_blocks(shape: tuple[int, ...], how: dict[str, Any]) -> None:
    x = values(1, shape, np.float32)
    x[0, 1, 0, 0] = np.nan
    for axes in ((1,), (2, 3), (0, 2, 3), (0,), (3,), (0, 1, 2, 3)):
        kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
        result = run(Reduce("max", axes, True), [x], (kept, np.float32), **how)
        np.testing.assert_array_equal(result, x.max(axes, keepdims=True))
    for axis in range(4):
        found = run(ArgMax(axis), [x], (x.argmax(axis).shape, np.int64), **how)
        np.testing.assert_array_equal(found, x.argmax(axis))
    x[0, 1, 0, 0] = 1
    wide = x.astype(np.float64)
    for axes in ((1,), (2, 3), (0, 2, 3), (0,), (3,), (0, 1, 2, 3)):
        mean = wide.mean(axes)
        result = run(Reduce("mean", axes), [x], (mean.shape, np.float32), **how)
        np.testing.assert_allclose(result, mean, rtol=1e-5, atol=1e-6)
        found = run(Moments(axes), [x], (mean.shape, np.float32), (mean.shape, np.float32), **how)
        np.testing.assert_allclose(found[1], wide.var(axes), rtol=1e-5, atol=1e-6)
        away = wide - wide.mean(axes, keepdims=True)
        expected = away / np.sqrt((away**2).mean(axes, keepdims=True) + 0.01)
        result = run(Normalize(axes, 0.01), [x], (shape, np.float32), **how)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    for axis in range(4):
        powers = np.exp(wide - wide.max(axis, keepdims=True))
        expected = powers / powers.sum(axis, keepdims=True)
        result = run(Softmax(axis), [x], (shape, np.float32), **how)
        np.testing.assert_allclose(result, expected, rtol=2e-6, atol=1e-9)


def test_sums_are_the_same_for_any_number_of_lanes() -> None:
    x = values(1, (5, 33, 50, 61), np.float32)
    for op, shape in ((Softmax(1), x.shape), (Normalize((1, 2, 3), 1e-5), x.shape), (Softmax(3), x.shape)):
        for last in (False, True):
            one, two = (run(op, [x], (shape, np.float32), last=last, lanes=lanes) for lanes in (1, 2))
            np.testing.assert_array_equal(one, two)


def test_maximum_and_its_place() -> None:
    x = np.array([[1, 3, 3], [np.nan, 5, np.nan]])
    np.testing.assert_array_equal(run(Reduce("max", (1,)), [x], ((2,), np.float64)), [3, np.nan])
    for messy in (False, True):
        assert run(ArgMax(1), [x], ((2,), np.int64), messy=messy).tolist() == [1, 0]
        assert run(ArgMax(0, True), [x], ((1, 3), np.int64), messy=messy).tolist() == [[1, 1, 1]]
        assert run(ArgMax(None), [x[:1]], ((), np.int64)).tolist() == 1


@quick
@given(st.lists(st.integers(0, 4), min_size=1, max_size=3).map(tuple), st.data())
def test_softmax(shape: tuple[int, ...], data: Any) -> None:
    axis, messy = data.draw(st.integers(-len(shape), len(shape) - 1)), data.draw(st.booleans())
    x = values(1, shape) * 300
    expected = np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-1e4))
    expected /= expected.sum(axis=axis, keepdims=True)
    result = run(Softmax(axis), [x], (shape, np.float64), messy=messy)
    np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-300)
    result = run(Softmax(axis, log=True), [x], (shape, np.float64), messy=messy)
    np.testing.assert_allclose(np.exp(result), expected, rtol=1e-10, atol=1e-300)


@quick
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4).map(tuple), st.data())
def test_normalisation(shape: tuple[int, ...], data: Any) -> None:
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    messy = data.draw(st.booleans())
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64]))
    x = values(1, shape, dtype) + np.dtype(dtype).type(2)
    wide = x.astype(np.float64)
    mean, variance = wide.mean(axes), wide.var(axes)
    found = run(Moments(axes), [x], (mean.shape, dtype), (mean.shape, dtype), messy=messy)
    np.testing.assert_allclose(found[0], mean, rtol=tolerance(dtype), atol=tolerance(dtype))
    np.testing.assert_allclose(found[1], variance, rtol=tolerance(dtype), atol=tolerance(dtype))
    away = wide - wide.mean(axes, keepdims=True)
    expected = away / np.sqrt((away**2).mean(axes, keepdims=True) + 0.01)
    result = run(Normalize(axes, 0.01), [x], (shape, dtype), messy=messy)
    np.testing.assert_allclose(result, expected, rtol=tolerance(dtype), atol=tolerance(dtype))
    expected = wide / np.sqrt((wide**2).mean(axes, keepdims=True) + 0.01)
    result = run(Normalize(axes, 0.01, center=False), [x], (shape, dtype), messy=messy)
    np.testing.assert_allclose(result, expected, rtol=tolerance(dtype), atol=tolerance(dtype))


@pytest.mark.parametrize("messy", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.complex64, np.int64])
@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 4)),
        ((3,), (5, 3, 4)),
        ((5, 2, 3), (3,)),
        ((5, 2, 3), (3, 4)),
        ((5, 1, 2, 3), (6, 3, 4)),
        ((2, 0), (0, 4)),
        ((0, 3), (3, 4)),
    ],
)
def test_matmul(x: Any, y: Any, dtype: Any, messy: bool) -> None:
    a, b = values(1, x, dtype), values(2, y, dtype)
    wide = np.float32 if dtype == np.float16 else dtype
    expected = np.matmul(a.astype(wide), b.astype(wide))
    result = run(MatMul(), [a, b], (expected.shape, dtype), messy=messy)
    np.testing.assert_allclose(result, expected, rtol=tolerance(dtype), atol=tolerance(dtype))


@pytest.mark.parametrize("messy", [False, True])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (4, 2, 3), (0, 3), (2, 0)])
def test_linear(shape: tuple[int, ...], messy: bool) -> None:
    x, w, b = values(1, shape), values(2, (5, shape[-1])), values(3, (5,))
    spec = ((*shape[:-1], 5), np.float64)
    np.testing.assert_allclose(run(Linear(), [x, w, b], spec, messy=messy), x @ w.T + b, atol=1e-12)
    np.testing.assert_allclose(run(Linear(), [x, w], spec, messy=messy), x @ w.T, atol=1e-12)


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize(
    ("rows", "size", "features"), [(1, 4000, 1100), (17, 2100, 1030), (70, 900, 700), (9, 50, 7)]
)
def test_large_linear_in_pieces(rows: int, size: int, features: int, lanes: int) -> None:
    x, w, b = (
        values(i, shape, np.float32) for i, shape in enumerate([(rows, size), (features, size), (features,)])
    )
    op = Fused(Linear(), 3, (Stage(Elementwise("relu"), (RUNNING,)), Stage(Elementwise("add"), (RUNNING, 3))))
    spec = ((rows, features), np.float32)
    expected = np.maximum(x.astype(float) @ w.T.astype(float) + b, 0) + b
    for messy in (False, True):
        result = run(op, [x, w, b, b], spec, lanes=lanes, messy=messy)
        np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(run(op, [x, w, b, b], spec, lanes=lanes), run(op, [x, w, b, b], spec))
    # weights that are fixed are kept in another form
    out = np.empty((rows, features), np.float32)
    context = Context(lanes=lanes, origins={id(w): "w"})
    kernel = BACKEND.bind(
        Fused(Linear(), 2, (Stage(Elementwise("add"), (RUNNING, 2)),)), [x, w, b], [out], context
    )
    with BACKEND.running():
        kernel()
    np.testing.assert_allclose(out, x.astype(float) @ w.T + b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize(
    ("x", "y"),
    [((40, 3, 130, 70), (40, 3, 70, 130)), ((40, 1, 130, 70), (1, 5, 70, 130)), ((900, 300), (300, 200)),
     ((3, 200), (200, 30000)), ((40, 100, 200), (200, 100)), ((5000,), (5000, 900))],
)  # fmt: skip
def test_large_matmul_in_pieces(x: Any, y: Any, lanes: int) -> None:
    a, b = values(1, x, np.float32), values(2, y, np.float32)
    expected = np.matmul(a.astype(float), b.astype(float))
    result = run(MatMul(), [a, b], (expected.shape, np.float32), lanes=lanes)
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(result, run(MatMul(), [a, b], (expected.shape, np.float32)))


@pytest.mark.parametrize(
    "equation", ["ab,bc->ca", "ab,bc,cd->ad", "aab->ab", "aa->", "ab,ab->", "aab,bc->ac"]
)
def test_einsum(equation: str) -> None:
    sizes = {"a": 2, "b": 3, "c": 4, "d": 5}
    arrays = [
        values(i, tuple(sizes[letter] for letter in term))
        for i, term in enumerate(equation.split("->")[0].split(","))
    ]
    expected = np.asarray(np.einsum(equation, *arrays))
    for messy in (False, True):
        result = run(Einsum(equation), arrays, (expected.shape, np.float64), messy=messy)
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


X = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (Reshape(), X.reshape(4, 6)),
        (Transpose((2, 0, 1)), X.transpose(2, 0, 1)),
        (Slice(2, 1, 4, 2), X[:, :, 1:4:2]),
        (Slice(1, 2, 2), X[:, 2:2]),
        (Broadcast(), np.broadcast_to(X, (5, 2, 3, 4))),
    ],
)
@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.complex64])
def test_layout(op: Operation, expected: Any, dtype: Any) -> None:
    x = X.astype(dtype)
    for messy in (False, True):
        np.testing.assert_array_equal(run(op, [x], (expected.shape, dtype), messy=messy), expected)
    view = BACKEND.view(op, x, ArraySpec(expected.shape, np.dtype(dtype).name))
    assert view is not None
    assert not view.size or np.shares_memory(view, x)
    np.testing.assert_array_equal(view, expected)


def test_a_reshape_that_needs_a_copy_has_no_view() -> None:
    assert BACKEND.view(Reshape(), X.transpose(2, 0, 1), ArraySpec((24,), "float64")) is None
    assert BACKEND.view(Reshape(), X[:, :, ::2], ArraySpec((6, 2), "float64")) is not None


def test_concat_converts_and_passes_over_empty_vectors() -> None:
    parts = [np.array([[1], [2]]), np.zeros(0, np.float32), np.zeros((2, 0)), np.array([[0.5], [0.25]])]
    for messy in (False, True):
        result = run(Concat(-1), parts, ((2, 2), np.float64), messy=messy)
        np.testing.assert_array_equal(result, [[1, 0.5], [2, 0.25]])


@pytest.mark.parametrize(
    ("x", "dtype", "expected"),
    [
        (np.array([1.9, -1.9]), np.int64, [1, -1]),
        (np.array([1 + 2j, 3]), np.float32, [1, 3]),
        (np.array([0, 2, -0.0, np.nan]), np.bool_, [False, True, False, True]),
        (np.array([1j, 0]), np.bool_, [True, False]),
        (np.array([True, False]), np.float16, [1, 0]),
        (np.array([1e6, 1 + 2**-11 + 2**-40]), np.float16, [np.inf, 1]),  # by way of float32, as torch
        (np.array([1.5], np.float16), np.complex64, [1.5]),
    ],
)
def test_cast(x: Any, dtype: Any, expected: Any) -> None:
    for messy in (False, True):
        result = run(Cast(), [x], (x.shape, dtype), messy=messy)
        np.testing.assert_array_equal(result, np.array(expected, dtype))


def test_take_along() -> None:
    x, index = values(1, (2, 5, 3, 2)), np.random.default_rng(0).integers(0, 5, (2, 3, 2))
    expected = np.take_along_axis(x, index[:, None], 1)[:, 0]
    for messy in (False, True):
        result = run(TakeAlong(1), [x, index], ((2, 3, 2), np.float64), messy=messy)
        np.testing.assert_array_equal(result, expected)
    with pytest.raises(KernelError, match=r"index 5 is outside 0\.\.4"):
        run(TakeAlong(0), [np.zeros(5), np.array(5)], ((), np.float64))
    empty = run(TakeAlong(1), [np.zeros((0, 3)), np.zeros(0, np.int64)], ((0,), np.float64))
    assert empty.shape == (0,)


@pytest.mark.parametrize(
    ("x", "ignore", "good"),
    [
        ([0.0, 1.0, 0.5], None, True),
        ([], None, True),
        ([1.5], None, False),
        ([-0.1], None, False),
        ([np.nan], None, False),
        ([-100, 0], -100, True),
        ([-100, 2], -100, False),
        (0.5, None, True),
        (7.0, None, False),
    ],
)
def test_require(x: Any, ignore: int | None, good: bool) -> None:
    for dtype in (np.float32, np.float16):
        array = np.zeros_like(np.array(x, dtype))
        kernel = BACKEND.bind(Require(0, 1, "out of range", ignore), [array], [], Context())
        kernel()
        array[...] = x
        if good:
            kernel()
        else:
            with BACKEND.running(), pytest.raises(KernelError, match=r"^out of range$"):
                kernel()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_random_reads_the_generator_of_the_run(dtype: Any) -> None:
    context = Context()
    out, other = np.zeros((100, 100), dtype), np.zeros((100, 100), dtype)
    bernoulli = BACKEND.bind(Random("bernoulli", (0.3,)), [], [out], context)
    uniform = BACKEND.bind(Random("uniform", (2.0, 4.0)), [], [other], context)
    seen = []
    for seed in (1, 1, 2):
        context.rng = np.random.default_rng(seed)
        bernoulli()
        uniform()
        seen.append((out.copy(), other.copy()))
    assert set(np.unique(out)) == {0, 1}
    assert abs(out.astype(float).mean() - 0.3) < 0.02
    assert other.min() >= 2
    assert other.max() <= 4
    assert abs(other.astype(float).mean() - 3) < 0.05
    np.testing.assert_array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0][0], seen[2][0])


def test_arrays() -> None:
    made = BACKEND.empty(ArraySpec((2, 3), "float16"))
    assert (made.shape, made.dtype, made.flags.c_contiguous) == ((2, 3), np.float16, True)
    x = np.arange(4)
    assert BACKEND.asarray(x) is x
    assert BACKEND.asarray([1, 2], "float32").dtype == np.float32
    copy = BACKEND.to_numpy(x)
    copy[0] = 9
    assert x[0] == 0


def test_available_memory_is_the_smaller_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo, groups = tmp_path / "meminfo", tmp_path / "cgroup"
    groups.mkdir()
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:       2048 kB\n")
    monkeypatch.setattr(backend_module, "MEMORY", meminfo)
    monkeypatch.setattr(backend_module, "GROUPS", groups)
    assert BACKEND.available_bytes() == 2048 * 1024
    (groups / "memory.max").write_text("max\n")
    (groups / "memory.current").write_text("5\n")
    assert BACKEND.available_bytes() == 2048 * 1024
    (groups / "memory.max").write_text("1000\n")
    assert BACKEND.available_bytes() == 995
    meminfo.unlink()
    monkeypatch.delattr(backend_module.os, "sysconf", raising=False)
    (groups / "memory.max").unlink()
    assert BACKEND.available_bytes() is None
