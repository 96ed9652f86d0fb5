"""One CUDA device, through CuPy: memory, streams, launches, copies, matrix products, graphs.

Everything that needs a driver is a method here, and arrays are always `cupy.ndarray`, whose shapes, strides
and views need none: the tests run all the rest of this package on a device of their own, whose memory is the
machine's and whose kernels are the same source compiled for it.
"""

from __future__ import annotations

import functools
import gc
import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from netspec.backends.base import Array
from netspec.backends.cupy import source
from netspec.backends.cupy.compiled import machine_code

log = logging.getLogger("netspec")

Launch = Callable[[int, int, Any, int], None]
"""(blocks, threads of a block, arguments, bytes of shared memory): starts a kernel on the current stream."""

TO_DEVICE, TO_HOST, ON_DEVICE = 1, 2, 3
"""cudaMemcpyKind."""

COMPILED_WITH = ("--std=c++17",)
"""Options of the compiler. Products are contracted with sums (FMA), as torch's kernels are."""

SUMS_IN_FULL = 16
"""cublasMath_t: partial sums of float16 and bfloat16 are float32 too."""

_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14, "complex64": 4, "complex128": 5}
"""cudaDataType_t of the dtypes that cuBLAS multiplies."""

_COMPUTE = {"float64": 70, "complex128": 70}
"""cublasComputeType_t; 68 is float32, 77 float32 with operands rounded to TF32."""
SINGLE, SINGLE_TF32 = 68, 77


class DeviceProblem(Exception):
    """The device cannot be used; the text says what is missing and how to get it."""


class Device:
    """A CUDA device with memory of its own pool; thread safe."""

    def __init__(self, index: int = 0, memory_limit: int | None = None) -> None:
        """index: as CUDA counts; memory_limit: most bytes that are taken. Raises `DeviceProblem`."""
        self.cupy = usable(index)
        self.index, self.memory_limit = index, memory_limit
        self._lock = threading.Lock()
        self._modules: dict[tuple[str, str], Any] = {}
        self._functions: dict[tuple[str, str], Any] = {}
        self._handles: dict[int, int] = {}
        self._idle: list[Any] = []
        with self.current():
            self.pool = self.cupy.cuda.MemoryPool()
            self.pinned_pool = self.cupy.cuda.PinnedMemoryPool()
            if memory_limit is not None:
                self.pool.set_limit(size=memory_limit)
            self.processors: int = self.cupy.cuda.Device(index).attributes["MultiProcessorCount"]

    def current(self) -> Any:
        """A context in which this device is the thread's current one."""
        return self.cupy.cuda.Device(self.index)

    # --- memory -------------------------------------------------------------------------------------

    def allocate(self, size: int) -> Any:
        """Device memory, as a pointer that owns it. Raises MemoryError."""
        try:
            with self.current():
                return self.pool.malloc(size)
        except self.cupy.cuda.memory.OutOfMemoryError as error:
            raise MemoryError(str(error)) from None

    def pinned(self, size: int) -> Any:
        """Page-locked host memory as a NumPy array of bytes, which the device can copy from while others work."""
        if size == 0:
            return np.empty(0, np.uint8)
        return np.frombuffer(self.pinned_pool.malloc(size), np.uint8, size)

    def copy(self, target: int, origin: int, size: int, kind: int) -> None:
        """Copy bytes between addresses, in order on the current stream."""
        if size == 0:  # where nothing is, there may be no address either
            return
        runtime, stream = self.cupy.cuda.runtime, self.cupy.cuda.get_current_stream()
        runtime.memcpyAsync(target, origin, size, kind, stream.ptr)

    def free_bytes(self) -> int:
        """Bytes that can still be allocated."""
        with self.current():
            free: int = self.cupy.cuda.runtime.memGetInfo()[0] + self.pool.free_bytes()
            if self.memory_limit is not None:
                free = min(free, self.memory_limit - self.pool.used_bytes())
        return max(0, free)

    def held_bytes(self) -> int:
        """Bytes that this process has taken of the device's memory for arrays."""
        with self.current():
            return int(self.pool.total_bytes())

    # --- arrays -------------------------------------------------------------------------------------

    def empty(self, shape: Sequence[int], dtype: Any) -> Array:
        """An uninitialised, C-contiguous array."""
        dtype = np.dtype(dtype)
        memory = self.allocate(math.prod(shape) * dtype.itemsize)
        return self.cupy.ndarray(tuple(shape), dtype, memory)

    def strided(self, array: Array, shape: Sequence[int], strides: Sequence[int]) -> Array:
        """The memory of `array` under another shape and strides (in bytes)."""
        return self.cupy.ndarray(tuple(shape), array.dtype, array.data, tuple(strides))

    # --- streams ------------------------------------------------------------------------------------

    def stream(self) -> Any:
        """A stream beside all others: a context in which it is the thread's current one.

        One that was given up comes first, with its handles of cuBLAS and cuDNN, and the memory that the pool keeps
        for it: blocks are only handed out again on the stream on which they were allocated.
        """
        with suppress(IndexError):
            return self._idle.pop()
        return self._new_stream()

    def _new_stream(self) -> Any:
        with self.current():
            return self.cupy.cuda.Stream(non_blocking=True)

    def forget(self, stream: Any) -> None:
        """Keep a stream that nobody uses any more for the next one, once all that was started on it has been done:
        the memory of a call that nobody waited for may be given back right after this.

        The garbage collector calls this, in any thread and at any point: it takes no lock that the same thread may
        hold already, and destroys nothing. To destroy a handle is to wait for the whole device, which would end
        the capture of another thread.
        """
        with suppress(*self.failures):
            stream.synchronize()
            self._idle.append(stream)

    def synchronize(self, stream: Any = None) -> None:
        """Wait for all that was started on a stream, or on the thread's current one."""
        (self.cupy.cuda.get_current_stream() if stream is None else stream).synchronize()

    def wait_for_caller(self, stream: Any) -> None:
        """Let a stream wait for what the calling thread has started on its own."""
        stream.wait_event(self.cupy.cuda.get_current_stream().record())

    def let_caller_wait(self, stream: Any) -> None:
        """Let what the calling thread starts on its own stream wait for what was started on another so far."""
        self.cupy.cuda.get_current_stream().wait_event(stream.record())

    def capture(self, stream: Any, run: Callable[[], None]) -> Callable[[], None]:
        """What `run` starts on the current stream as one graph: calling the result starts it all again.

        Relaxed, since a thread's first launch asks the driver for more than a launch.
        """
        with _capturing, _garbage_kept():
            stream.begin_capture(self.cupy.cuda.runtime.streamCaptureModeRelaxed)
            try:
                run()
            except BaseException:
                with suppress(*self.failures):  # says that the capture was broken off, not why
                    stream.end_capture()
                raise
            graph = stream.end_capture()
        return functools.partial(graph.launch, stream)

    def elapsed(self, run: Callable[[], None]) -> float:
        """Seconds that the device takes for what `run` starts: the least of several."""
        cuda = self.cupy.cuda
        times = []
        for _ in range(5):
            before, after = cuda.Event(), cuda.Event()
            before.record()
            run()
            after.record()
            after.synchronize()
            times.append(float(cuda.get_elapsed_time(before, after)) / 1000)
        return min(times)

    # --- kernels ------------------------------------------------------------------------------------

    def function(self, name: str, dtype: Any) -> Launch:
        """A kernel of kernels/*.cu for one element type; its source is compiled at first use."""
        dtype = str(np.dtype(dtype))
        module = (source.kernels()[name][0], dtype)
        with self._lock, self.current():
            if module not in self._modules:
                loaded = self.cupy.cuda.Module()
                loaded.load(machine_code(self.cupy, source.text(*module), COMPILED_WITH))
                self._modules[module] = loaded
            if (name, dtype) not in self._functions:
                self._functions[name, dtype] = self._modules[module].get_function(name)
        kernel = self._functions[name, dtype]

        def launch(blocks: int, threads: int, arguments: Any, shared: int = 0) -> None:
            kernel((blocks,), (threads,), (arguments,), shared)

        return launch

    def multiply(
        self,
        dtype: str,
        sizes: tuple[int, int, int],
        left: tuple[int, bool, int, int],
        right: tuple[int, bool, int, int],
        out: tuple[int, int, int],
        count: int,
        tf32: bool = False,
    ) -> Callable[[], None]:
        """A kernel for `count` products out (m, n) = left (m, k) @ right (k, n), row-major; sizes: m, n, k.

        left, right: address, whether the matrix lies turned, elements from one row to the next, and from one
        matrix to the next; out: address and the same two steps. float16 and bfloat16 are summed in float32.
        """
        from cupy_backends.cuda.libs import cublas

        m, n, k = sizes
        kind = _TYPES[dtype]
        compute = _COMPUTE.get(dtype, SINGLE_TF32 if tf32 and dtype == "float32" else SINGLE)
        scalar = {"float64": np.float64, "complex64": np.complex64, "complex128": np.complex128}.get(
            dtype, np.float32
        )
        handle = self._handle(cublas)
        one: Any = np.array(1, scalar)
        zero: Any = np.array(0, scalar)
        turned = 1

        def run() -> None:
            # column-major (n, m) = right.T @ left.T is row-major (m, n) = left @ right
            cublas.gemmStridedBatchedEx(
                handle, turned if right[1] else 0, turned if left[1] else 0, n, m, k,
                one.ctypes.data, right[0], kind, right[2], right[3], left[0], kind, left[2], left[3],
                zero.ctypes.data, out[0], kind, out[1], out[2], count, compute, -1,
            )  # fmt: skip

        return run

    def _handle(self, cublas: Any) -> int:
        """The handle of cuBLAS for the current stream, made before any graph is captured.

        One for each stream: a handle has one workspace, which two streams would write to at the same time.
        """
        stream = int(self.cupy.cuda.get_current_stream().ptr)
        with self._lock:
            if stream not in self._handles:
                handle = int(cublas.create())
                cublas.setMathMode(handle, SUMS_IN_FULL)
                cublas.setStream(handle, stream)
                self._handles[stream] = handle
            return self._handles[stream]

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What is raised when the device or its driver fails."""
        from cupy_backends.cuda.libs import cublas

        from netspec.backends.cupy import cudnn

        cuda = self.cupy.cuda
        return (
            cuda.runtime.CUDARuntimeError,
            cuda.driver.CUDADriverError,
            cublas.CUBLASError,
            cuda.compiler.CompileException,
            cudnn.Failure,
        )

    @functools.cached_property
    def cudnn(self) -> Any:
        """cuDNN on this device, or None where it is not installed, or does not start."""
        from netspec.backends.cupy import cudnn

        if cudnn.available() is not None:
            return None
        try:
            with self.current():
                return cudnn.Cudnn()
        except RuntimeError as error:  # a driver that is older than the library, say
            log.warning("cuDNN does not start (%s): convolutions are computed without it", error)
            return None


_capturing = threading.Lock()
"""Held by whoever captures: one after the other, since the garbage collector is the process's."""


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """No garbage is collected inside, in any thread: among it may be what waits for the device when it is destroyed."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@functools.cache
def opened(index: int, memory_limit: int | None) -> Device:
    """The device of this number, one for all networks of a process. Raises `DeviceProblem`."""
    return Device(index, memory_limit)


def usable(index: int) -> Any:
    """The module cupy, if it sees the device. Raises `DeviceProblem` with one line: what is missing, how to get it."""
    how = 'pip install "netspec-runner[cuda13]" (or [cuda12] for a driver older than 580)'
    try:
        import cupy
    except ImportError as error:
        missing = (
            "CuPy is not installed"
            if (error.name or "").startswith("cupy")
            else f"CuPy does not import: {error}"
        )
        raise DeviceProblem(f"{missing}: {how}") from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if "InsufficientDriver" in str(error):
            raise DeviceProblem(
                f"no CUDA driver for CUDA {cupy.cuda.runtime.runtimeGetVersion() // 1000} was found: install the "
                "NVIDIA driver, or the extra for your driver's CUDA version (cuda12 or cuda13)"
            ) from None
        raise DeviceProblem(f"no CUDA device is usable: {error}") from None
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:  # the loader's own kinds of error
        raise DeviceProblem(f"NVRTC, CUDA's compiler, was not found ({_first_line(error)}): {how}") from None
    try:
        from cupy_backends.cuda.libs import cublas  # noqa: F401  (loads the library)
    except ImportError as error:
        raise DeviceProblem(f"cuBLAS was not found ({_first_line(error)}): {how}") from None
    if index >= count:
        seen = (
            "no CUDA device"
            if count == 0
            else f"{count} (cuda:0{f' to cuda:{count - 1}' if count > 1 else ''})"
        )
        raise DeviceProblem(f"there is no device {index}; this machine has {seen}")
    return cupy


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
