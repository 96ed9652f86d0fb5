"""`CupyBackend`: arrays on a CUDA device, and the kernels of the neighbouring files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netspec.backends.base import Array, Backend, Context, Kernel, is_on_device
from netspec.backends.cupy import (  # each import registers its kernels
    chains,
    convolution,  # noqa: F401
    moves,  # noqa: F401
    products,  # noqa: F401
    rows,  # noqa: F401
    windows,  # noqa: F401
)
from netspec.backends.cupy.device import TO_DEVICE, TO_HOST, Device
from netspec.backends.cupy.layout import layout_view
from netspec.backends.cupy.registry import KERNELS
from netspec.backends.cupy.session import CupySession
from netspec.operations import ArraySpec, Operation

FEWEST_CHANNELS = 8
"""A run of this many channels is 16 bytes of float16: what a tensor core's load takes at a time."""


class CupyBackend(Backend):
    """Kernels over cupy.ndarray.

    graphs: repeated calls are started as one CUDA graph; deterministic: only kernels that give the same bits in
    every run.
    """

    name = "cupy"
    kernels = KERNELS
    fused_types = ("float16", "bfloat16", "float32", "float64")
    calls_ahead = 2

    def __init__(self, device: Device, graphs: bool = True, deterministic: bool = False) -> None:
        self.device, self.graphs, self.deterministic = device, graphs, deterministic
        self.failures = (*device.failures, MemoryError)

    def fewest_channels(self, dtype: str, precision: str, jit: bool) -> int | None:
        """Channels-last where tensor cores multiply: they read it as it lies. Strict float32 has kernels for planes."""
        tensor_cores = dtype in ("float16", "bfloat16") or (dtype == "float32" and precision != "highest")
        return FEWEST_CHANNELS if tensor_cores else None

    def session(self) -> CupySession:
        """A stream of its own."""
        return CupySession(self)

    def empty(self, spec: ArraySpec) -> Array:
        """An uninitialised, C-contiguous array on the device."""
        return self.device.empty(spec.shape, spec.dtype)

    def asarray(self, array: Any, dtype: str | None = None) -> Array:
        """A NumPy array, copied to the device."""
        if is_on_device(array):
            return array
        array = np.ascontiguousarray(array, dtype).reshape(np.shape(array))
        with self.device.current():
            # in order on the current stream: earlier work there may still use what this memory was before
            target = self.device.empty(array.shape, array.dtype)
            self.device.copy(target.data.ptr, array.ctypes.data, array.nbytes, TO_DEVICE)
            self.device.synchronize()  # other streams read it then
        return target

    def to_numpy(self, array: Array) -> Any:
        """A NumPy copy of a contiguous array."""
        assert array.flags.c_contiguous
        result = np.empty(array.shape, array.dtype)
        with self.device.current():
            self.device.copy(result.ctypes.data, array.data.ptr, array.nbytes, TO_HOST)
            self.device.synchronize()
        return result

    def held_bytes(self) -> int | None:
        """Bytes of this process's pool: weights, activations, workspaces."""
        return self.device.held_bytes()

    def reachable(self, arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        """Other libraries' device arrays as CuPy's."""
        cupy = self.device.cupy
        return {
            name: cupy.asarray(x) if is_on_device(x) and not isinstance(x, cupy.ndarray) else x
            for name, x in arrays.items()
        }

    def on_host(self, array: Array) -> Any:
        """A NumPy copy."""
        return self.to_numpy(array)

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
