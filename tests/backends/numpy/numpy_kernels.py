"""Running one operation in a test: made outputs, messy memory, and a second run on other values."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.backends.base import Context
from netspec.backends.numpy import NumpyBackend
from netspec.operations import Operation

BACKEND = NumpyBackend()


def scattered(array: Any) -> Any:
    """The same values in every second place of a larger array."""
    large = np.zeros(tuple(2 * size + 1 for size in array.shape), array.dtype)
    view = large[(..., *(slice(0, 2 * size, 2) for size in array.shape))]
    view[...] = array
    return view


def channels_last(array: Any) -> Any:
    """The same values with axis 1 last in memory."""
    if array.ndim < 3:
        return np.array(array)
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


def run(
    operation: Operation,
    inputs: list[Any],
    *specs: tuple[tuple[int, ...], Any],
    messy: bool = False,
    last: bool = False,
    lanes: int = 1,
    precision: str = "highest",
) -> Any:
    """The operation's outputs; bound to other values first, so that nothing can be baked in.

    messy: no array is contiguous; last: channels lie side by side in memory.
    """
    real = [np.asarray(x) for x in inputs]
    change = scattered if messy else channels_last if last else np.array
    bound = [change(x if x.dtype.kind in "iub" else np.ones_like(x)) for x in real]
    outputs = [change(np.full(shape, 7, dtype)) for shape, dtype in specs]
    context = Context(rng=np.random.default_rng(0), lanes=lanes, precision=precision)
    kernel = BACKEND.bind(operation, bound, outputs, context)
    with BACKEND.running():
        kernel()
        for place, x in zip(bound, real, strict=True):
            place[...] = x
        kernel()
    for place, x in zip(bound, real, strict=True):
        np.testing.assert_array_equal(place, x)  # inputs are only read
    return outputs[0] if len(outputs) == 1 else outputs


def values(seed: int, shape: tuple[int, ...], dtype: Any = np.float64) -> Any:
    """Random values of about unit size."""
    rng = np.random.default_rng(seed)
    array = rng.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        array = array + 1j * rng.normal(size=shape)
    return (array * 3 if np.dtype(dtype).kind in "iu" else array).astype(dtype)


def tolerance(dtype: Any) -> float:
    """What rounding may do to unit-size results."""
    kind = np.dtype(dtype)
    if kind.kind in "iub":
        return 0
    return {2: 4e-3, 4: 2e-5, 8: 1e-11 if kind.kind == "f" else 2e-5, 16: 1e-11}[kind.itemsize]
