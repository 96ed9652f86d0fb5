"""Device arrays with strides of every kind, and one operation run on them twice, the second time as a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.backends.base import Context
from netspec.backends.cupy.backend import CupyBackend
from netspec.operations import Operation
from tests.backends.cupy.cupy_kernels import laid, numbers
from tests.backends.cupy.host import host_backend

LAYOUTS = ("plain", "last", "turned", "sparse")
"""Row-major; channels inside; axes from the last to the first; every second place of a larger array."""

REAL = ("float16", "float32", "float64")
INEXACT = (*REAL, "complex64", "complex128")
WHOLE = ("bool", "uint8", "int8", "int16", "int32", "int64")


def placed(backend: CupyBackend, array: np.ndarray, layout: str) -> Any:
    """A device array with these numbers in one of LAYOUTS; "broadcast": all like the first along axis 0."""
    if layout == "turned" and array.ndim:
        return backend.asarray(np.ascontiguousarray(array.T)).transpose()
    if layout == "sparse":
        large = np.full([2 * size + 1 for size in array.shape], 99).astype(array.dtype)
        places = tuple(slice(1, 2 * size, 2) for size in array.shape)
        large[places] = array
        return backend.asarray(large)[(..., *places)]
    if layout == "broadcast" and array.size:
        one = backend.asarray(array[0])
        return backend.device.strided(one, array.shape, (0, *one.strides))
    return laid(backend, array, layout == "last")


def run(
    op: Operation,
    inputs: Sequence[np.ndarray],
    *outputs: tuple[tuple[int, ...], str],
    layout: str | Sequence[str] = "plain",
    out_layout: str = "plain",
) -> Any:
    """The outputs of one operation, (shape, dtype) each; the only one alone."""
    backend = host_backend()
    layouts = [layout] * len(inputs) if isinstance(layout, str) else layout
    arrays = [placed(backend, x, how) for x, how in zip(inputs, layouts, strict=True)]
    results = [placed(backend, np.full(shape, 7).astype(dtype), out_layout) for shape, dtype in outputs]
    context = Context(session=backend.session())  # which holds the kernels' scratch memory
    kernel = backend.bind(op, arrays, results, context)
    kernel()
    once = [numbers(backend, y) for y in results]
    backend.device.capture(backend.device.stream(), kernel)()
    for first, y in zip(once, results, strict=True):
        np.testing.assert_array_equal(numbers(backend, y), first)
    for x, array in zip(inputs, arrays, strict=True):
        np.testing.assert_array_equal(numbers(backend, array), x)  # inputs are left alone
    backend.device.check_fences()
    return once[0] if len(once) == 1 else once


def values(seed: int, shape: Sequence[int], dtype: Any = "float64") -> np.ndarray:
    """Numbers of about unit size; whole ones of any size, so that sums and products wrap."""
    rng, kind = np.random.default_rng(seed), np.dtype(dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        return rng.integers(limits.min, limits.max, tuple(shape), kind, endpoint=True)
    if kind.kind == "b":
        return rng.random(tuple(shape)) < 0.7
    array = rng.standard_normal(tuple(shape))
    if kind.kind == "c":
        return (array + 1j * rng.standard_normal(tuple(shape))).astype(kind)
    return array.astype(kind)


def tolerance(dtype: Any) -> float:
    """What rounding may do to results of unit size."""
    return {"float16": 4e-3, "float32": 2e-5, "float64": 1e-11, "complex64": 4e-5, "complex128": 1e-11}[
        str(dtype)
    ]


def wide(array: np.ndarray) -> np.ndarray:
    """In double precision."""
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
