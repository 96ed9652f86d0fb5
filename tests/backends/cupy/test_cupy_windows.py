"""Pooling and unpooling in every form and layout, against the NumPy backend."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from netspec.backends.base import Context, KernelError
from netspec.operations import (
    AdaptiveAveragePool,
    AdaptiveMaxPool,
    AveragePool,
    MaxPool,
    MaxUnpool,
)
from tests.backends.cupy.cupy_kernels import laid, numbers, on_device, on_numpy
from tests.backends.cupy.host import LAUNCHED, host_backend

pytestmark = pytest.mark.compiler
TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "float16": 4e-3, "complex64": 1e-5, "int64": 0}
SIDES = [(False, False), (True, True), (True, False), (False, True)]
"""Whether the channels of the input and of the output lie inside."""


def drawn(seed: int, ceil: bool = False) -> tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]:
    """Windows, the shape of their input, the shape of their output."""
    rng = random.Random(seed)
    rank = rng.choice([1, 2, 2, 3])
    kernel = tuple(rng.randint(1, 4) for _ in range(rank))
    stride = tuple(rng.randint(1, 3) for _ in range(rank))
    padding = tuple(rng.randint(0, k // 2) for k in kernel)
    dilation = tuple(1 if ceil else rng.choice([1, 1, 2]) for _ in range(rank))
    sizes = tuple(
        rng.randint(max(1, (k - 1) * d + 1 - p), 9) if (k - 1) * d + 1 - p <= 9 else (k - 1) * d + 1
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    )
    counts = []
    for size, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True):
        reach = size + 2 * p - d * (k - 1) - 1
        count = (-(-reach // s) if ceil else reach // s) + 1
        counts.append(count - 1 if (count - 1) * s >= size + p else count)
    windows = {"kernel_size": kernel, "stride": stride, "padding": padding}
    n, c = rng.choice([1, 2]), rng.choice([1, 3, 8, 16])
    return windows | ({} if ceil else {"dilation": dilation}), (n, c, *sizes), (n, c, *counts)


def tied(seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Few different values, and among floating ones NaN and -inf."""
    arrays = np.random.RandomState(seed)
    x = arrays.randint(-2, 3, shape).astype(dtype)
    if x.dtype.kind == "f":
        x[arrays.random_sample(shape) < 0.15] = np.nan
        x[arrays.random_sample(shape) < 0.15] = -np.inf
    return x


@pytest.mark.parametrize("seed", range(60))
def test_max_pools_are_numpys(seed: int) -> None:
    windows, shape, out = drawn(seed)
    dtype = ["float32", "float16", "float64", "int64", "uint8"][seed % 5]
    last, out_last = SIDES[seed % 4]
    x, specs = tied(seed, shape, dtype), [(out, dtype), (out, "int64")]
    op = MaxPool(**windows)
    for count in (1, 2):
        found = on_device(op, [x], specs[:count], last=last, out_last=out_last)
        for mine, numpys in zip(found, on_numpy(op, [x], specs[:count]), strict=True):
            np.testing.assert_array_equal(mine, numpys)


@pytest.mark.parametrize("seed", range(60))
def test_average_pools_are_numpys(seed: int) -> None:
    windows, shape, out = drawn(seed, ceil=True)
    dtype = ["float32", "float16", "float64", "int64", "complex64"][seed % 5]
    last, out_last = SIDES[seed % 4]
    op = AveragePool(**windows, count_include_pad=seed % 2 == 0, divisor=[None, None, 3, -2][seed // 5 % 4])
    x = (np.random.RandomState(seed).standard_normal(shape) * 5).astype(dtype)
    wide = {"int64": "int64", "complex64": "complex128"}.get(dtype, "float64")
    (found,) = on_device(op, [x], [(out, dtype)], last=last, out_last=out_last)
    (expected,) = on_numpy(op, [x.astype(wide)], [(out, wide)])
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("seed", range(40))
def test_adaptive_pools_are_numpys(seed: int) -> None:
    rng = random.Random(seed)
    sizes = [(rng.randint(1, 9), rng.randint(1, 9)) for _ in range(rng.choice([1, 2, 2, 3]))]
    n, c = rng.choice([1, 2]), rng.choice([3, 8])
    shape, out = (n, c, *(size for size, _ in sizes)), (n, c, *(count for _, count in sizes))
    dtype = ["float32", "float16", "float64", "int64"][seed % 4]
    last, out_last = SIDES[seed // 4 % 4]
    x = tied(seed, shape, dtype)
    for specs in ([(out, dtype)], [(out, dtype), (out, "int64")]):
        found = on_device(AdaptiveMaxPool(), [x], specs, last=last, out_last=out_last)
        for mine, numpys in zip(found, on_numpy(AdaptiveMaxPool(), [x], specs), strict=True):
            np.testing.assert_array_equal(mine, numpys)
    if math.prod(out[2:]) > 1:  # else it is a reduction
        x = (np.random.RandomState(seed).standard_normal(shape) * 5).astype(dtype)
        wide = "int64" if dtype == "int64" else "float64"
        (mean,) = on_device(AdaptiveAveragePool(), [x], [(out, dtype)], last=last, out_last=out_last)
        (expected,) = on_numpy(AdaptiveAveragePool(), [x.astype(wide)], [(out, wide)])
        np.testing.assert_allclose(mean, expected, rtol=TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])


def started(*names: str) -> list[int]:
    """How often kernels were started, of all types together."""
    return [sum(count for (kernel, _), count in LAUNCHED.items() if kernel == name) for name in names]


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "uint8", "complex128"])
def test_packs_of_channels_are_taken_where_they_lie_side_by_side(dtype: str) -> None:
    op = AveragePool((2, 2), (2, 2), (0, 0), True)
    x = (np.random.RandomState(0).standard_normal((2, 48, 16, 18)) * 4).astype(dtype)
    out = (2, 48, 8, 9)
    (expected,) = on_numpy(op, [x.astype("float64") if dtype == "float16" else x], [(out, dtype)])
    for last, packed in ((True, dtype != "complex128"), (False, False)):
        before = started("average_pool_packed", "average_pool")
        (found,) = on_device(op, [x], [(out, dtype)], last=last, out_last=last)
        after = started("average_pool_packed", "average_pool")
        assert [b - a for a, b in zip(before, after, strict=True)] == ([2, 0] if packed else [0, 2])
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE.get(dtype, 1e-12), atol=1e-3)


@pytest.mark.parametrize("last", [False, True])
def test_a_part_of_an_array_is_packed_only_where_packs_begin(last: bool) -> None:
    backend: Any = host_backend()
    x = np.random.RandomState(0).standard_normal((2, 32, 12, 12)).astype("f")
    whole = laid(backend, x, last)
    op = MaxPool((3, 3), (1, 1), (1, 1), (1, 1))
    for start in (0, 4, 3):
        for stop in (start + 8, start + 7):
            part = whole[:, start:stop]
            out = laid(backend, np.zeros(part.shape, "f"), last)
            backend.bind(op, [part], [out], Context(session=backend.session()))()
            (expected,) = on_numpy(op, [x[:, start:stop]], [(part.shape, "float32")])
            np.testing.assert_array_equal(numbers(backend, out), expected)
    backend.device.check_fences()


@pytest.mark.parametrize(("last", "out_last"), SIDES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64"])
@pytest.mark.parametrize("shape", [(1, 3, 41, 23), (2, 40, 16, 16), (1, 1, 5, 300), (3, 2, 7, 9, 8)])
def test_threads_share_large_windows(shape: tuple[int, ...], dtype: str, last: bool, out_last: bool) -> None:
    x = tied(7, shape, dtype)
    out = (*shape[:2], *(1 for _ in shape[2:]))
    forms = ("max_pool_wide", "max_pool_indices_wide", "average_pool_wide")
    before = started(*forms)
    for specs in ([(out, dtype)], [(out, dtype), (out, "int64")]):
        found = on_device(AdaptiveMaxPool(), [x], specs, last=last, out_last=out_last)
        for mine, numpys in zip(found, on_numpy(AdaptiveMaxPool(), [x], specs), strict=True):
            np.testing.assert_array_equal(mine, numpys)
    op = AveragePool(shape[2:], shape[2:], tuple(0 for _ in shape[2:]), True)
    x = (np.random.RandomState(0).standard_normal(shape) * 20).astype(dtype)
    (mean,) = on_device(op, [x], [(out, dtype)], last=last, out_last=out_last)
    wide = "int64" if dtype == "int64" else "float64"
    (expected,) = on_numpy(op, [x.astype(wide)], [(out, wide)])
    np.testing.assert_allclose(mean, expected, rtol=TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])
    assert [b - a for a, b in zip(before, started(*forms), strict=True)] == [2, 2, 2]


@pytest.mark.parametrize("last", [False, True])
def test_shared_windows_have_the_first_of_equal_values_and_the_last_of_several_nan(last: bool) -> None:
    x = np.zeros((1, 4, 20, 30), "f")
    x[0, 1] = -np.inf
    x[0, 2, 3, 4:9] = 2
    x[0, 3, 3:18:5, 7] = np.nan
    out = (1, 4, 1, 1)
    _, index = on_device(AdaptiveMaxPool(), [x], [(out, "float32"), (out, "int64")], last=last)
    assert index.ravel().tolist() == [0, 0, 3 * 30 + 4, 13 * 30 + 7]


def test_windows_beside_the_input_hold_the_lowest_value() -> None:
    op = MaxPool((2,), (1,), (1,), (5,))  # the second tap is beyond both ends
    specs = [((1, 1, 1), "float32"), ((1, 1, 1), "int64")]
    x = np.array([[[3.0, 4.0, 5.0, 6.0]]], "f")
    for mine, numpys in zip(on_device(op, [x], specs), on_numpy(op, [x], specs), strict=True):
        np.testing.assert_array_equal(mine, numpys)


@pytest.mark.parametrize("divisor", [None, 2, -1])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_whole_numbers_are_divided_towards_zero(dtype: str, divisor: int | None) -> None:
    op = AveragePool((3,), (1,), (1,), False, divisor)
    x = np.random.RandomState(0).randint(-40, 40, (2, 3, 9)).astype(dtype)
    if np.dtype(dtype).kind == "i":
        x[0, 0] = np.iinfo(dtype).min
    with np.errstate(all="ignore"):
        (expected,) = on_numpy(op, [x], [(x.shape, dtype)])
    np.testing.assert_array_equal(on_device(op, [x], [(x.shape, dtype)])[0], expected)


@pytest.mark.parametrize("op", [AdaptiveMaxPool(), AdaptiveAveragePool(), MaxUnpool()])
def test_nothing_is_started_for_an_empty_output(op: Any) -> None:
    before = dict(LAUNCHED)
    x = np.zeros((0, 3, 4), "f")
    inputs = [x, x.astype("int64")] if isinstance(op, MaxUnpool) else [x]
    backend: Any = host_backend()
    arrays = [backend.asarray(a) for a in inputs]
    out = backend.asarray(np.zeros((0, 3, 2), "f"))
    backend.bind(op, arrays, [out], Context(session=backend.session()))()
    assert before == LAUNCHED


# --- places far away ------------------------------------------------------------------------------------


def test_indices_of_planes_beyond_32_bits() -> None:
    """A plane of 70000 times 70000 places that all lie in one."""
    backend: Any = host_backend()
    one = backend.asarray(np.ones((1, 1, 1, 1), "f"))
    size = 70_000
    x = backend.device.strided(one, (1, 1, size, size), (0, 0, 0, 0))
    values, indices = (backend.asarray(np.zeros((1, 1, 2, 2), dtype)) for dtype in ("f", "int64"))
    op = MaxPool((1, 1), (size - 1, size - 1), (0, 0), (1, 1))
    backend.bind(op, [x], [values, indices], Context(session=backend.session()))()
    assert backend.to_numpy(indices).ravel().tolist() == [0, size - 1, size * (size - 1), size * size - 1]


def test_arrays_beyond_32_bits_are_read_at_their_places() -> None:
    """Memory that the machine never has to give, but for a few places."""
    backend: Any = host_backend()
    cupy, size = backend.device.cupy, 50_000
    lazy = np.zeros(size * size, np.uint8)
    lazy[[0, size - 1, size * (size - 1), size * size - 1]] = [1, 2, 3, 4]
    memory = cupy.cuda.UnownedMemory(lazy.ctypes.data, lazy.nbytes, lazy, 0)
    x = cupy.ndarray((1, 1, size, size), np.uint8, cupy.cuda.MemoryPointer(memory, 0))
    values = backend.asarray(np.zeros((1, 1, 2, 2), np.uint8))
    op = MaxPool((1, 1), (size - 1, size - 1), (0, 0), (1, 1))
    backend.bind(op, [x], [values], Context(session=backend.session()))()
    assert backend.to_numpy(values).ravel().tolist() == [1, 2, 3, 4]


# --- unpooling ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("last", "out_last"), SIDES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int64"])
@pytest.mark.parametrize(
    ("shape", "space"), [((2, 3, 4, 5), (9, 8)), ((1, 16, 6), (30,)), ((2, 2, 3, 2, 4), (4, 4, 6))]
)
def test_of_repeated_indices_the_last_stays(
    shape: tuple[int, ...], space: tuple[int, ...], dtype: str, last: bool, out_last: bool
) -> None:
    arrays = np.random.RandomState(1)
    x = (arrays.standard_normal(shape) * 9).astype(dtype)
    index = arrays.randint(0, math.prod(space) // 3, shape)  # each about twice
    out = [((*shape[:2], *space), dtype)]
    (expected,) = on_numpy(MaxUnpool(), [x, index], out)
    for sides in ([last, last], [last, not last]):
        (found,) = on_device(MaxUnpool(), [x, index], out, last=sides, out_last=out_last)
        np.testing.assert_array_equal(found, expected)


def test_nothing_put_back_leaves_zeros() -> None:
    x = np.zeros((2, 3, 0), "f")
    (found,) = on_device(MaxUnpool(), [x, x.astype("int64")], [((2, 3, 5), "float32")])
    assert not found.any()


@pytest.mark.parametrize("wrong", [-1, 5, 1 << 40, -(1 << 40)])
def test_an_index_outside_the_plane_is_refused_and_the_next_call_goes_on(wrong: int) -> None:
    backend: Any = host_backend()
    session = backend.session()
    x, index = (backend.device.empty((1, 2, 3), dtype) for dtype in ("float32", "int64"))
    out = backend.device.empty((1, 2, 5), "float32")
    kernel = backend.bind(MaxUnpool(), [x, index], [out], Context(session=session, label="layer"))

    def run(places: list[int]) -> Any:
        given = np.array(places).reshape(1, 2, 3)
        values = np.arange(1, 7, dtype="f").reshape(1, 2, 3)
        session.start([(kernel, "layer")], [(x, values), (index, given)], {"out": out})
        return session.results({"out": out})["out"]

    for _ in range(3):  # on its own, captured, replayed
        with pytest.raises(KernelError, match=rf"index {wrong} is outside the output plane of 5 ") as found:
            run([0, 4, wrong, 1, 1, 3])
        assert found.value.label == "layer"
        assert run([0, 4, 4, 1, 1, 3]).ravel().tolist() == [1, 0, 0, 0, 3, 0, 5, 0, 6, 0]
        assert run([1, 1, 1, 0, 0, 0]).ravel().tolist() == [0, 3, 0, 0, 0, 6, 0, 0, 0, 0]
    backend.device.check_fences()
