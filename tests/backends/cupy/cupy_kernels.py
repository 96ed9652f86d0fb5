"""Kernels of the CUDA backend on this machine, beside those of the NumPy backend on the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netspec.backends.base import Context, Kernel
from netspec.backends.cupy.backend import CupyBackend
from netspec.backends.numpy import NumpyBackend
from netspec.operations import Operation
from tests.backends.cupy.host import host_backend

REFERENCE = NumpyBackend()


def laid(backend: CupyBackend, array: np.ndarray, last: bool = False) -> Any:
    """A device array with these numbers: row-major, or (n, c, *s) with its channels inside."""
    if not last or array.ndim < 3:
        return backend.asarray(array)
    inside = backend.asarray(np.ascontiguousarray(np.moveaxis(array, 1, -1)))
    return inside.transpose((0, inside.ndim - 1, *range(1, inside.ndim - 1)))


def numbers(backend: CupyBackend, array: Any) -> np.ndarray:
    """A device array as NumPy's, whatever its strides."""
    context = Context(session=backend.session())
    plain = backend.device.empty(array.shape, array.dtype)
    backend.copying(plain, array, context.session)()
    return backend.to_numpy(plain)


Bind = Callable[[Operation, Sequence[Any], Sequence[Any], Context], Kernel]


def on_device(
    op: Operation,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[tuple[tuple[int, ...], str]],
    *,
    last: Sequence[bool] | bool = False,
    out_last: bool = False,
    bind: Bind | None = None,
    **context: Any,
) -> list[np.ndarray]:
    """The outputs of one operation, (shape, dtype) each; `last`: which inputs have their channels inside."""
    backend = host_backend()
    sides = [last] * len(inputs) if isinstance(last, bool) else list(last)
    arrays = [laid(backend, x, side) for x, side in zip(inputs, sides, strict=True)]
    results = [laid(backend, np.full(shape, 7).astype(dtype), out_last) for shape, dtype in outputs]
    settings = Context(session=backend.session(), **context)
    kernel = (bind or backend.bind)(op, arrays, results, settings)
    kernel()
    once = [numbers(backend, y) for y in results]
    kernel()
    for first, y in zip(once, results, strict=True):
        np.testing.assert_array_equal(numbers(backend, y), first)  # the same again
    for x, array in zip(inputs, arrays, strict=True):
        np.testing.assert_array_equal(numbers(backend, array), x)  # inputs are left alone
    backend.device.check_fences()
    return once


def on_numpy(
    op: Operation, inputs: Sequence[np.ndarray], outputs: Sequence[tuple[tuple[int, ...], str]]
) -> list[np.ndarray]:
    """The same by the NumPy backend."""
    results = [np.zeros(shape, dtype) for shape, dtype in outputs]
    REFERENCE.bind(op, [np.array(x) for x in inputs], results, Context(precision="highest"))()
    return results
