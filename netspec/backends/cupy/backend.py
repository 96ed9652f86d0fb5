"""`CupyBackend`: arrays on a CUDA device, and the kernels of the neighbouring files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.backends.base import Array, Backend, Context, Kernel
from netspec.backends.cupy import (  # each import registers its kernels
    chains,
    convolution,  # noqa: F401
)
from netspec.backends.cupy.device import Device
from netspec.backends.cupy.layout import layout_view
from netspec.backends.cupy.registry import KERNELS
from netspec.backends.cupy.session import CupySession
from netspec.operations import ArraySpec, Operation


class CupyBackend(Backend):
    """Kernels over cupy.ndarray.

    graphs: repeated calls are started as one CUDA graph; deterministic: only kernels that give the same bits in
    every run.
    """

    name = "cupy"
    kernels = KERNELS

    def __init__(self, device: Device, graphs: bool = True, deterministic: bool = False) -> None:
        self.device, self.graphs, self.deterministic = device, graphs, deterministic

    def session(self) -> CupySession:
        """A stream of its own."""
        return CupySession(self)

    def empty(self, spec: ArraySpec) -> Array:
        """An uninitialised, C-contiguous array on the device."""
        return self.device.empty(spec.shape, spec.dtype)

    def asarray(self, array: Any, dtype: str | None = None) -> Array:
        """A NumPy array, copied to the device."""
        if hasattr(array, "__cuda_array_interface__"):
            return array
        array = np.ascontiguousarray(array, dtype).reshape(np.shape(array))
        target = self.device.empty(array.shape, array.dtype)
        if array.size:
            with self.device.current(), self.device.stream() as stream:
                self.device.copy(target.data.ptr, array.ctypes.data, array.nbytes, 1)
                self.device.synchronize(stream)
        return target

    def to_numpy(self, array: Array) -> Any:
        """A NumPy copy of a contiguous array."""
        assert array.flags.c_contiguous
        result = np.empty(array.shape, array.dtype)
        if array.size:
            with self.device.current(), self.device.stream() as stream:
                self.device.copy(result.ctypes.data, array.data.ptr, array.nbytes, 2)
                self.device.synchronize(stream)
        return result

    def available_bytes(self) -> int | None:
        """Free memory of the device, within the limit that was set."""
        return self.device.free_bytes()

    def view(self, operation: Operation, array: Array, spec: ArraySpec) -> Array | None:
        """The result of a layout operation as a view of `array`, or None where it needs a copy."""
        return layout_view(self.device, operation, array, spec.shape)

    def copying(self, target: Array, source: Array, session: CupySession) -> Kernel:
        """A kernel that copies between two arrays of one shape, whatever their strides and dtypes."""
        return chains.copy(target, source, Context(session=session))

    def bind(
        self, operation: Operation, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
    ) -> Kernel:
        """The kernel of `operation` on these arrays."""
        return self.kernels[type(operation)](operation, inputs, outputs, context)
