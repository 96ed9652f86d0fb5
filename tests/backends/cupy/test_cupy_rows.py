"""Reductions and normalisations on the CUDA backend: every layout, every type, rows of every length."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.backends.base import Context
from netspec.backends.cupy.rows import MOST_PARTS, Rows, reduced, rows_of, shares_of
from netspec.operations import ArgMax, Moments, Normalize, Operation, Reduce, Softmax
from tests.backends.cupy.cupy_kernels import on_numpy
from tests.backends.cupy.cupy_strides import (
    INEXACT,
    LAYOUTS,
    REAL,
    WHOLE,
    placed,
    run,
    tolerance,
    values,
    wide,
)
from tests.backends.cupy.host import LAUNCHED, host_backend

pytestmark = pytest.mark.compiler
quick = settings(max_examples=60, deadline=None)
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 5]), min_size=1, max_size=4).map(tuple)
PLACES = st.sampled_from([*LAYOUTS, "broadcast"])
OUTS = st.sampled_from(LAYOUTS)


def reduced_shape(shape: tuple[int, ...], axes: tuple[int, ...], keep: bool) -> tuple[int, ...]:
    if keep:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def drawn(shape: tuple[int, ...], dtype: str, layout: str) -> np.ndarray:
    x = values(1, shape, dtype)
    return np.repeat(x[:1], len(x), 0) if layout == "broadcast" and len(x) else x


@quick
@given(SHAPES, st.data(), st.sampled_from([*INEXACT, *WHOLE]), PLACES, OUTS)
def test_reductions(shape: tuple[int, ...], data: Any, dtype: str, layout: str, out_layout: str) -> None:
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    keep = data.draw(st.booleans())
    x = drawn(shape, dtype, layout)
    functions: dict[str, Any] = {"sum": np.sum, "prod": np.prod}
    if dtype in INEXACT and x.size:
        functions["mean"] = np.mean
    if x.dtype.kind != "c" and all(shape[axis] for axis in axes):
        functions |= {"max": np.max, "min": np.min}
    spec = (reduced_shape(shape, axes, keep), dtype)
    for name in functions:
        result = run(Reduce(name, axes, keep), [x], spec, layout=layout, out_layout=out_layout)  # type: ignore[arg-type]
        (expected,) = on_numpy(Reduce(name, axes, keep), [x], [spec])  # type: ignore[arg-type]
        if dtype in WHOLE:
            np.testing.assert_array_equal(result, expected)
        else:
            np.testing.assert_allclose(result, expected, rtol=tolerance(dtype), atol=10 * tolerance(dtype))


def test_of_nothing() -> None:
    assert np.isnan(run(Reduce("mean", (0,)), [np.zeros((0, 2))], ((2,), "float64"))).all()
    assert np.isnan(run(Moments((0,)), [np.zeros((0, 2))], ((2,), "float64"), ((2,), "float64"))).all()
    assert run(Reduce("sum", (0, 1)), [np.zeros((0, 3), np.int32)], ((), "int32")) == 0
    assert run(Reduce("prod", (0, 1)), [np.zeros((3, 0), np.float16)], ((), "float16")) == 1
    for op in (Softmax(0), Softmax(1), Normalize((1,), 0.1), Normalize((0,), 0.1)):
        assert run(op, [np.zeros((0, 3))], ((0, 3), "float64")).shape == (0, 3)
    assert run(ArgMax(1), [np.zeros((0, 3))], ((0,), "int64")).shape == (0,)


LENGTHS = [(1, 5), (31, 40), (31, 2000), (1000, 1), (1000, 7), (1000, 70), (100_000, 1), (100_000, 3)]
"""(elements of a row, rows)"""


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize(("length", "rows"), LENGTHS)
def test_rows_of_any_length(length: int, rows: int, across: bool) -> None:
    layout = "turned" if across else "plain"
    for dtype in ("float32", "float16"):
        x = values(2, (rows, length), dtype) + np.dtype(dtype).type(1)
        sums = wide(x).sum(1)
        result = run(Reduce("mean", (1,)), [x], ((rows,), dtype), layout=layout)
        rounding = np.finfo(dtype).eps
        np.testing.assert_allclose(result, sums / length, rtol=rounding, atol=4 * rounding)
        result = run(Reduce("max", (1,)), [x], ((rows,), dtype), layout=layout)
        np.testing.assert_array_equal(result, x.max(1))
        result = run(Reduce("min", (1,), True), [x], ((rows, 1), dtype), layout=layout)
        np.testing.assert_array_equal(result, x.min(1, keepdims=True))
        result = run(ArgMax(1), [x], ((rows,), "int64"), layout=layout)
        np.testing.assert_array_equal(result, x.argmax(1))
        mean, variance = run(Moments((1,)), [x], ((rows,), "float32"), ((rows,), "float32"), layout=layout)
        np.testing.assert_allclose(mean, wide(x).mean(1), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(variance, wide(x).var(1), rtol=1e-6, atol=1e-6)
        rounding = 3e-7 if dtype == "float32" else 1e-3
        away = wide(x) - wide(x).mean(1, keepdims=True)
        expected = away / np.sqrt((away**2).mean(1, keepdims=True) + 0.01)
        result = run(Normalize((1,), 0.01), [x], (x.shape, dtype), layout=layout, out_layout=layout)
        np.testing.assert_allclose(result, expected, rtol=4 * rounding, atol=4 * rounding)
        expected = wide(x) / np.sqrt((wide(x) ** 2).mean(1, keepdims=True) + 0.01)
        result = run(Normalize((1,), 0.01, center=False), [x], (x.shape, dtype), layout=layout)
        np.testing.assert_allclose(result, expected, rtol=4 * rounding, atol=4 * rounding)
        powers = np.exp(wide(x) - wide(x).max(1, keepdims=True))
        total = powers.sum(1, keepdims=True)
        result = run(Softmax(1), [x], (x.shape, dtype), layout=layout, out_layout=layout)
        np.testing.assert_allclose(result, powers / total, rtol=8 * rounding, atol=1e-7)
        result = run(Softmax(1, log=True), [x], (x.shape, dtype), layout=layout)
        np.testing.assert_allclose(result, np.log(powers / total), rtol=4 * rounding, atol=4 * rounding)


def test_long_sums_are_exact_along_any_axis() -> None:
    x = np.full((200_000, 2), 0.1, np.float32)
    for layout in ("plain", "turned"):
        result = run(Reduce("sum", (0,)), [x], ((2,), "float32"), layout=layout)
        np.testing.assert_allclose(result, 200_000 * float(np.float32(0.1)), rtol=2e-7)
    x = np.full((20, 9000), 0.1, np.float32)
    result = run(Reduce("sum", (1,)), [x], ((20,), "float32"))
    np.testing.assert_allclose(result, 9000 * float(np.float32(0.1)), rtol=2e-7)
    halves = np.full(5000, 20.0, np.float16)  # their sum is beyond float16
    assert run(Reduce("mean", (0,)), [halves], ((), "float16")) == 20


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 21, 10, 13), (2, 2, 30, 40), (2, 90, 5, 7), (1, 16, 1, 900)])
def test_axes_anywhere(shape: tuple[int, ...], layout: str) -> None:
    x = values(1, shape, "float32")
    x[0, 1, 0, 0] = np.nan
    everywhere = ((1,), (2, 3), (0, 2, 3), (0,), (3,), (0, 2), (1, 3), (0, 1, 2, 3))
    for axes in everywhere:
        spec = (reduced_shape(shape, axes, True), "float32")
        result = run(Reduce("max", axes, True), [x], spec, layout=layout)
        np.testing.assert_array_equal(result, x.max(axes, keepdims=True))
    for axis in range(4):
        found = run(ArgMax(axis), [x], (x.argmax(axis).shape, "int64"), layout=layout, out_layout=layout)
        np.testing.assert_array_equal(found, x.argmax(axis))
        found = run(ArgMax(axis, True), [x], (reduced_shape(shape, (axis,), True), "int64"), layout=layout)
        np.testing.assert_array_equal(found, x.argmax(axis, keepdims=True))
    assert run(ArgMax(None), [x], ((), "int64"), layout=layout) == x.argmax()
    x[0, 1, 0, 0] = 1
    for axes in everywhere:
        mean = wide(x).mean(axes)
        spec = (mean.shape, "float32")
        result = run(Reduce("mean", axes), [x], spec, layout=layout)
        np.testing.assert_allclose(result, mean, rtol=1e-6, atol=1e-6)
        found = run(Moments(axes), [x], spec, spec, layout=layout, out_layout=layout)
        np.testing.assert_allclose(found[0], mean, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(found[1], wide(x).var(axes), rtol=1e-6, atol=1e-6)
        away = wide(x) - wide(x).mean(axes, keepdims=True)
        expected = away / np.sqrt((away**2).mean(axes, keepdims=True) + 0.01)
        result = run(Normalize(axes, 0.01), [x], (shape, "float32"), layout=layout, out_layout=layout)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)  # pairs may lie close together
    for axis in range(4):
        powers = np.exp(wide(x) - wide(x).max(axis, keepdims=True))
        expected = powers / powers.sum(axis, keepdims=True)
        result = run(Softmax(axis), [x], (shape, "float32"), layout=layout, out_layout=layout)
        np.testing.assert_allclose(result, expected, rtol=2e-6, atol=1e-9)


@quick
@given(SHAPES, st.data(), st.sampled_from(REAL), OUTS, OUTS)
def test_normalisation(shape: tuple[int, ...], data: Any, dtype: str, layout: str, out_layout: str) -> None:
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    x = values(1, shape, dtype) + np.dtype(dtype).type(2)
    where: dict[str, Any] = {"layout": layout, "out_layout": out_layout}
    operations: list[Operation] = [Normalize(axes, 0.01), Normalize(axes, 0.01, center=False)]
    operations += [Softmax(axes[0]), Softmax(axes[-1] - len(shape), log=True)]
    for op in operations:
        result = run(op, [x], (shape, dtype), **where)
        (expected,) = on_numpy(op, [x], [(shape, dtype)])
        np.testing.assert_allclose(result, expected, rtol=tolerance(dtype), atol=tolerance(dtype))
    specs = [(reduced_shape(shape, axes, False), "float32" if dtype == "float16" else dtype)] * 2
    found = run(Moments(axes), [x], *specs, **where)
    for result, expected in zip(found, on_numpy(Moments(axes), [x], specs), strict=True):
        np.testing.assert_allclose(result, expected, rtol=tolerance(dtype), atol=tolerance(dtype))


@pytest.mark.parametrize("length", [5, 3000, 70_000])
def test_what_is_not_finite(length: int) -> None:
    """In rows that one thread, a block or several blocks read."""
    x = np.zeros((6, length), np.float32)
    x[0, 3] = np.nan
    x[1, [1, 4]] = np.nan
    x[2, 2] = np.inf
    x[3, 1] = -np.inf
    x[4] = -np.inf
    x[5, -1], x[5, 0] = np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        for name, function in (("max", np.max), ("min", np.min), ("sum", np.sum), ("mean", np.mean)):
            result = run(Reduce(name, (1,)), [x], ((6,), "float32"))  # type: ignore[arg-type]
            np.testing.assert_array_equal(result, function(x, 1))
        np.testing.assert_array_equal(run(ArgMax(1), [x], ((6,), "int64")), x.argmax(1))
        np.testing.assert_array_equal(run(ArgMax(1), [-x], ((6,), "int64")), (-x).argmax(1))
        specs = [((6,), "float32")] * 2
        for result, expected in zip(
            run(Moments((1,)), [x], *specs), on_numpy(Moments((1,)), [x], specs), strict=True
        ):
            np.testing.assert_array_equal(result, expected)
        for op in (
            Softmax(1),
            Softmax(1, log=True),
            Normalize((1,), 0.1),
            Normalize((1,), 0.1, center=False),
        ):
            (expected,) = on_numpy(op, [x], [(x.shape, "float32")])
            np.testing.assert_allclose(run(op, [x], (x.shape, "float32")), expected, rtol=1e-5)


def test_products_of_infinities() -> None:
    x = np.array([[complex(np.inf, 1), 1], [2, 3]], np.complex64)
    np.testing.assert_array_equal(run(Reduce("prod", (1,)), [x[:, :1]], ((2,), "complex64")), x[:, 0])


@pytest.mark.parametrize("dtype", [*WHOLE[1:], *REAL])
def test_the_first_of_equal_values(dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 4, (5, 400)).astype(dtype)
    for layout in ("plain", "turned"):
        np.testing.assert_array_equal(run(ArgMax(1), [x], ((5,), "int64"), layout=layout), x.argmax(1))
    np.testing.assert_array_equal(run(ArgMax(None, True), [x], ((1, 1), "int64")), [[x.argmax()]])
    lowest = np.full((2, 30), -np.inf if dtype in REAL else np.iinfo(dtype).min, dtype)
    np.testing.assert_array_equal(run(ArgMax(1), [lowest], ((2,), "int64")), [0, 0])


def test_one_number() -> None:
    x = np.array(3.0, np.float32)
    assert run(Reduce("sum", ()), [x], ((), "float32")) == 3
    assert run(ArgMax(None), [x], ((), "int64")) == 0
    assert run(Softmax(0), [x], ((), "float32")) == 1


@pytest.mark.parametrize("op", [Softmax(9), Normalize((1, 3, 5, 7, 9), 0.1), Normalize((0,), 0.1)])
def test_more_axes_than_the_kernel_has(op: Operation) -> None:
    x = values(3, (2,) * 10, "float64")
    (expected,) = on_numpy(op, [x], [(x.shape, "float64")])
    for layout in ("plain", "turned", "sparse"):
        result = run(op, [x], (x.shape, "float64"), layout=layout, out_layout="sparse")
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("keep", [False, True])
def test_more_reduced_axes_than_the_kernel_has(keep: bool) -> None:
    x = values(3, (2, 3, 2, 3, 2, 3), "float32")
    axes = (0, 2, 4)
    spec = (reduced_shape(x.shape, axes, keep), "float32")
    for layout in LAYOUTS:
        result = run(Reduce("sum", axes, keep), [x], spec, layout=layout, out_layout="turned")
        np.testing.assert_allclose(result, wide(x).sum(axes, keepdims=keep), rtol=1e-5, atol=1e-6)
    assert run(ArgMax(None), [x], ((), "int64"), layout="sparse") == x.argmax()


@pytest.mark.parametrize("dtype", [*INEXACT, *WHOLE])
@pytest.mark.parametrize("shape", [(5, 64), (2, 3, 1040), (2, 40_000)])
def test_aligned_rows_are_read_many_bytes_at_a_time(shape: tuple[int, ...], dtype: str) -> None:
    x = values(1, (*shape[:-1], shape[-1] + 64), dtype)
    axes = (len(shape) - 1,)
    operations: list[tuple[Operation, str, tuple[int, ...]]] = [(Reduce("sum", axes), "rows_sum", shape[:-1])]
    if x.dtype.kind != "c":
        operations.append((Reduce("max", axes), "rows_max", shape[:-1]))
    if dtype in REAL:
        operations += [
            (Softmax(-1), "rows_softmax", shape),
            (Softmax(-1, log=True), "rows_softmax", shape),
            (Normalize(axes, 0.1), "rows_normalize", shape),
            (Normalize(axes, 0.1, center=False), "rows_normalize", shape),
        ]
    backend = host_backend()
    context = Context(session=backend.session())
    whole = backend.asarray(x)
    for start, cut in ((0, True), (64, True), (1, False), (63, False)):
        part = slice(start, start + shape[-1])
        for op, name, out_shape in operations:
            (expected,) = on_numpy(op, [x[..., part]], [(out_shape, dtype)])
            out = backend.asarray(np.zeros(out_shape, dtype))
            before = LAUNCHED.get((f"{name}_wide", dtype), 0)
            backend.bind(op, [whole[..., part]], [out], context)()
            found = backend.to_numpy(out)
            if dtype in WHOLE:
                np.testing.assert_array_equal(found, expected)
            else:
                rounding = tolerance(dtype)
                np.testing.assert_allclose(found, expected, rtol=rounding, atol=100 * rounding)
            used = LAUNCHED.get((f"{name}_wide", dtype), 0) > before
            assert used == (cut and dtype != "complex128")
    backend.device.check_fences()


def made(shape: tuple[int, ...], axes: tuple[int, ...], layout: str = "plain") -> Rows:
    backend = host_backend()
    x = placed(backend, np.zeros(shape, np.float32), layout)
    out = backend.asarray(np.zeros(reduced_shape(shape, axes, False), np.float32))
    return rows_of(x, [out], axes)


def test_rows_are_as_few_axes_as_they_can_be() -> None:
    rows = made((2, 3, 4, 5), (2, 3))
    assert (rows.kept, rows.reduced) == ((6,), (20,))
    rows = made((2, 3, 4, 5), (0, 2, 3))
    assert (rows.kept, rows.reduced) == ((3,), (2, 20))
    rows = made((2, 3, 4, 5), (2, 3), "last")
    assert (rows.kept, rows.reduced) == ((2, 3), (20,))
    rows = made((2, 3, 4, 5), (0, 2, 3), "last")
    assert (rows.kept, rows.reduced) == ((3,), (40,))


@pytest.mark.parametrize(
    ("shape", "axes", "layout", "lanes", "across", "cut"),
    [
        ((64, 1000), (1,), "plain", 256, False, False),  # a block for each row
        ((200_000, 3), (1,), "plain", 1, False, False),  # short rows: a thread for each
        ((100_000, 64), (1,), "plain", 8, False, False),  # 32 bytes at a time
        ((64, 100, 32, 32), (1,), "plain", 4, True, False),  # classes: neighbouring threads on neighbours
        ((1, 64, 32, 32), (2, 3), "last", 8, True, True),  # planes whose channels lie inside
        ((1_000_000,), (0,), "plain", 256, False, True),  # the loss
        ((1, 3, 100, 100), (2, 3), "last", 64, True, True),
    ],
)
def test_how_threads_share(
    shape: tuple[int, ...], axes: tuple[int, ...], layout: str, lanes: int, across: bool, cut: bool
) -> None:
    shares = shares_of(made(shape, axes, layout), 132 if not cut else 4)
    assert (shares.lanes, shares.across, shares.parts > 1) == (lanes, across, cut)


@given(st.integers(1, 10**6), st.integers(1, 10**7), st.booleans(), st.integers(1, 200))
def test_parts_cover_each_row_once(count: int, length: int, across: bool, processors: int) -> None:
    steps = ((4 if across else 4 * length,), (4 * count if across else 4,))
    rows = Rows(None, (), (count,), (steps[0],), (length,), (steps[1],))
    shares = shares_of(rows, processors)
    assert 1 <= shares.lanes <= 256
    assert shares.lanes & (shares.lanes - 1) == 0
    assert (shares.parts - 1) * shares.part < length <= shares.parts * shares.part
    assert shares.parts <= MOST_PARTS
    if 3 * count * shares.lanes * shares.parts < processors * 1024:  # few threads: there is no work for more
        assert length / shares.parts <= 64 * shares.lanes or shares.parts == MOST_PARTS


def test_few_long_rows_take_two_launches() -> None:
    for name, length in (("rows_sum", 70_001), ("rows_sum_wide", 70_000)):
        before = LAUNCHED.get((name, "float32"), 0)
        run(Reduce("sum", (0,)), [np.ones(length, np.float32)], ((), "float32"))
        assert LAUNCHED[name, "float32"] == before + 4  # the test's two runs


def test_no_launch_for_nothing() -> None:
    backend = host_backend()
    x, out = (backend.device.empty(shape, "float32") for shape in ((0, 3), (0,)))
    before = dict(LAUNCHED)
    reduced("rows_sum", x, [out], (1,), Context(session=backend.session()), divisor=1)()
    assert before == LAUNCHED
    assert math.prod(out.shape) == 0
