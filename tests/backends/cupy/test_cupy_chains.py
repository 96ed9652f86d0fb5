"""Chains of elementwise stages: cut where a kernel has no room, on any layout; conversions; every function."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.backends.base import Context
from netspec.backends.cupy import source
from netspec.backends.cupy.arguments import EXTRA_FUNCTIONS, OPERANDS, STAGES
from netspec.backends.cupy.chains import Chain, Link, bind_chain, copy
from netspec.backends.cupy.layout import joined, reshaped_strides
from netspec.operations import RUNNING, ArraySpec, Cast, Elementwise, Reshape, Transpose
from netspec.operations.elementwise import FUNCTIONS
from tests.backends.cupy.cupy_kernels import numbers, on_device, on_numpy
from tests.backends.cupy.host import host_backend

pytestmark = pytest.mark.compiler


def test_every_function_has_a_case_in_the_source() -> None:
    text = source.text("elementwise", "float32")
    for name in (*FUNCTIONS, *EXTRA_FUNCTIONS):
        assert re.search(rf"\bcase F_{name}\b", text), name


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("arrays", [1, OPERANDS + 3])
@pytest.mark.parametrize("stages", [1, STAGES, 3 * STAGES + 1])
def test_long_chains_are_cut(stages: int, arrays: int, start: bool) -> None:
    backend = host_backend()
    rng = np.random.RandomState(0)
    values = [rng.standard_normal((3, 4)).astype("f") for _ in range(arrays)]
    links = [Link("add", (RUNNING, i % arrays), (0.5,)) for i in range(stages)]
    if not start:
        links[0] = Link("add", (0, 0), (0.5,))
    chain = Chain(tuple(backend.asarray(v) for v in values), tuple(links), 0 if start else RUNNING)
    expected = values[0].copy() if start else values[0] * np.float32(1.5)
    for i in range(0 if start else 1, stages):
        expected = expected + np.float32(0.5) * values[i % arrays]
    out = backend.device.empty((3, 4), "float32")
    bind_chain(chain, out, Context(session=backend.session()))()
    np.testing.assert_allclose(numbers(backend, out), expected, rtol=1e-5, atol=1e-5)
    backend.device.check_fences()


DTYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


@pytest.mark.parametrize("target", DTYPES)
@pytest.mark.parametrize("origin", DTYPES)
def test_conversions_are_numpys(origin: str, target: str) -> None:
    values = np.array([0, 1, 2.75, 3.5, 100.25, 0.125]).astype(origin)
    (expected,) = on_numpy(Cast(), [values], [(values.shape, target)])
    (found,) = on_device(Cast(), [values], [(values.shape, target)])
    np.testing.assert_array_equal(found, expected)


def test_half_types_round_to_even_and_keep_what_is_special() -> None:
    """Every float16 there and back, and float32 numbers halfway between two of them."""
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    (wide,) = on_device(Cast(), [every], [(every.shape, "float32")])
    np.testing.assert_array_equal(wide, every.astype("f4"))
    special = [65519.99, 65520.0, 1e-8, 2.9e-8, 3e-8, -1e-30]
    with np.errstate(all="ignore"):
        halfway = np.concatenate([(wide[:-1] + wide[1:]) / 2, special]).astype("f4")
        expected = halfway.astype("f2")
    (found,) = on_device(Cast(), [halfway], [(halfway.shape, "float16")])
    np.testing.assert_array_equal(found, expected)


def test_bfloat16_rounds_to_even() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    values = np.random.RandomState(0).standard_normal(4096).astype("f4")
    values[:4] = [np.inf, -np.inf, np.nan, 3.39e38]
    values[4:8] = np.array([0x3F808000, 0x3F818000, 0x00008000, 0x80018000], "u4").view("f4")  # halfway
    backend: Any = host_backend()
    out = backend.device.empty(values.shape, ml_dtypes.bfloat16)
    copy(out, backend.asarray(values), Context(session=backend.session()))()
    np.testing.assert_array_equal(
        numbers(backend, out).astype("f4"), values.astype(ml_dtypes.bfloat16).astype("f4")
    )


@settings(max_examples=60)
@given(st.data())
def test_any_strides_are_copied(data: st.DataObject) -> None:
    """Axes in any order, steps, up to eleven of them: more than a kernel walks."""
    rank = data.draw(st.integers(0, 11))
    shape = [data.draw(st.integers(1, 3 if rank < 7 else 2)) for _ in range(rank)]
    order = data.draw(st.permutations(range(rank)))
    x = np.arange(int(np.prod(shape, dtype=int)), dtype="i4").reshape(shape)
    backend: Any = host_backend()
    source_array = backend.asarray(x).transpose(order) if rank else backend.asarray(x)
    expected = x.transpose(order)
    if rank:
        steps = tuple(slice(None, None, data.draw(st.sampled_from([1, 2]))) for _ in range(rank))
        source_array, expected = source_array[steps], expected[steps]
    out = backend.device.empty(expected.shape, "int64")
    copy(out, source_array, Context(session=backend.session()))()
    np.testing.assert_array_equal(backend.to_numpy(out), expected)
    backend.device.check_fences()


@settings(max_examples=200)
@given(st.data())
def test_reshaping_without_a_copy_is_numpys(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.sampled_from([1, 2, 3, 4]), max_size=4))
    order = data.draw(st.permutations(range(len(shape))))
    x = np.zeros(shape, "f4").transpose(order)
    after = data.draw(st.permutations(x.shape))
    if data.draw(st.booleans()) and len(after) > 1:
        after = [after[0] * after[1], *after[2:]]
    found = reshaped_strides(x.shape, x.strides, after)
    try:
        expected = np.reshape(x, after, copy=False)
    except ValueError:
        expected = None
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        moving = [(a, b) for size, a, b in zip(after, found, expected.strides, strict=True) if size > 1]
        assert all(a == b for a, b in moving)


def test_neighbouring_axes_are_joined() -> None:
    assert joined((2, 3, 4), [(48, 16, 4), (0, 16, 4)]) == ((2, 12), [(48, 4), (0, 4)])
    assert joined((1, 1), [(4, 4)]) == ((1,), [(0,)])


def test_a_view_or_a_copy_of_a_reshape() -> None:
    backend: Any = host_backend()
    x = backend.asarray(np.arange(24, dtype="f4").reshape(2, 3, 4))
    spec = ArraySpec((6, 4), "float32")
    assert backend.view(Reshape(), x, spec).data.ptr == x.data.ptr
    turned = backend.view(Transpose((0, 2, 1)), x, ArraySpec((2, 4, 3), "float32"))
    assert backend.view(Reshape(), turned, ArraySpec((2, 2, 2, 3), "float32")) is not None
    assert backend.view(Reshape(), turned, ArraySpec((2, 12), "float32")) is None


@pytest.mark.parametrize("function", ["div_floor", "div_trunc"])
def test_whole_numbers_divide_as_numpys_do(function: str) -> None:
    x = np.array([-7, -7, 7, 7, -(2**63), 2**63 - 1, 0], "i8")
    y = np.array([2, -2, 2, -2, -1, -1, 5], "i8")
    (found,) = on_device(Elementwise(function), [x, y], [(x.shape, "int64")])
    with np.errstate(all="ignore"):
        expected = np.floor_divide(x, y)
        if function == "div_trunc":
            expected = np.where((x % y != 0) & ((x < 0) != (y < 0)), expected + 1, expected)
    np.testing.assert_array_equal(found, expected)
