"""A device without a GPU: real `cupy.ndarray`s over this machine's memory, the real kernels compiled by g++.

All of `netspec.backends.cupy` runs on it but what needs a driver or a library of NVIDIA's: those few methods of
`Device` are replaced here. It is stricter than a GPU: memory starts as NaN and is fenced, nothing may be
allocated or copied from the host while a graph is being captured, and a graph replays exactly what was captured.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from netspec.backends.base import Context
from netspec.backends.cupy import source
from netspec.backends.cupy.arguments import STRUCTS
from netspec.backends.cupy.backend import CupyBackend
from netspec.backends.cupy.cudnn import Problem
from netspec.backends.cupy.device import Device
from netspec.backends.numpy import NumpyBackend
from netspec.operations import Convolution, TransposedConvolution

HEADER = Path(__file__).with_name("host.h")
FENCE = 64
"""Bytes before and behind each allocation that nobody may write."""

FLAGS = (
    "-std=c++17",
    "-O1",
    "-fPIC",
    "-shared",
    "-fwrapv",
    "-ffp-contract=off",
    "-w",
    "-include",
    str(HEADER),
)
LAUNCHED: dict[tuple[str, str], int] = {}
"""(kernel, element type) -> how often it was started here."""


def compiler() -> str | None:
    """The C++ compiler, or None."""
    return shutil.which("g++")


@functools.cache
def library(unit: str, dtype: str) -> ctypes.CDLL:
    """A source for one element type, compiled once for all processes of this user."""
    text = source.text(unit, dtype)
    digest = hashlib.sha256((text + HEADER.read_text() + " ".join(FLAGS)).encode()).hexdigest()[:20]
    folder = Path(tempfile.gettempdir()) / f"netspec-host-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{unit}-{dtype}-{digest}.so"
    with (folder / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            written = target.with_suffix(".cpp")
            written.write_text(text)
            beside = target.with_suffix(".part")
            command = [compiler() or "g++", *FLAGS, "-o", str(beside), str(written)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[:4000]
            beside.rename(target)
    return ctypes.CDLL(str(target))


class HostStream:
    """A stream of a device that does everything at once."""

    ptr = 0

    def __enter__(self) -> HostStream:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Owner:
    """Whoever holds this holds a piece of memory."""


class HostDevice(Device):
    """This machine as a device."""

    processors = 4
    failures = ()
    cudnn = None  # type: ignore[assignment]

    def __init__(self, memory_limit: int | None = None) -> None:
        import cupy

        self.cupy, self.index, self.memory_limit = cupy, 0, memory_limit
        self.recording: list[Callable[[], None]] | None = None
        self.graphs = self.replays = self.copied = 0
        self.used = self.allocations = 0
        self.fences: list[Any] = []

    def current(self) -> Any:
        return HostStream()

    def allocate(self, size: int) -> Any:
        assert self.recording is None, "allocated while a graph was being captured"
        if self.memory_limit is not None and self.used + size > self.memory_limit:
            raise MemoryError(f"{size} bytes")
        self.used += size
        self.allocations += 1
        buffer = np.full(size + 2 * FENCE, 0xFF, np.uint8)
        self.fences += [buffer[:FENCE], buffer[FENCE + size :]]
        owner = Owner()
        weakref.finalize(owner, self._given_back, buffer).atexit = False
        memory = self.cupy.cuda.UnownedMemory(buffer.ctypes.data + FENCE, max(size, 1), owner, 0)
        return self.cupy.cuda.MemoryPointer(memory, 0)

    def _given_back(self, buffer: np.ndarray) -> None:
        """Memory that nobody owns any more is NaN, and stays so: a kernel that still knows its address shows."""
        buffer[:] = 0xFF
        self.fences.append(buffer)

    def check_fences(self) -> None:
        """No kernel has written outside its arrays, or into memory that was given back."""
        assert all((part == 0xFF).all() for part in self.fences)

    def pinned(self, size: int) -> Any:
        assert self.recording is None, "allocated while a graph was being captured"
        return np.empty(size, np.uint8)

    def copy(self, target: int, origin: int, size: int, kind: int) -> None:
        assert self.recording is None, "copied while a graph was being captured"
        self.copied += 1
        ctypes.memmove(target, origin, size)

    def free_bytes(self) -> int:
        return 1 << 33 if self.memory_limit is None else max(0, self.memory_limit - self.used)

    def held_bytes(self) -> int:
        return self.used

    def stream(self) -> Any:
        return HostStream()

    def forget(self, stream: Any) -> None:
        pass

    def synchronize(self, stream: Any = None) -> None:
        pass

    def wait_for_caller(self, stream: Any) -> None:
        pass

    def let_caller_wait(self, stream: Any) -> None:
        pass

    def capture(self, stream: Any, run: Callable[[], None]) -> Callable[[], None]:
        self.recording = recorded = []
        try:
            run()
        finally:
            self.recording = None
        self.graphs += 1

        def replay() -> None:
            self.replays += 1
            for start in recorded:
                start()

        return replay

    def elapsed(self, run: Callable[[], None]) -> float:
        run()
        return 1.0

    def _start(self, run: Callable[[], None]) -> None:
        if self.recording is None:
            run()
        else:
            self.recording.append(run)

    def function(self, name: str, dtype: Any) -> Callable[..., None]:
        unit, struct, _ = source.kernels()[name]
        dtype = str(np.dtype(dtype))
        compiled = library(unit, dtype)
        assert ctypes.c_int.in_dll(compiled, f"{name}_size").value == STRUCTS[struct].itemsize
        kernel = getattr(compiled, name)
        kernel.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint]
        kernel.restype = None

        def launch(blocks: int, threads: int, arguments: Any, shared: int = 0) -> None:
            assert 0 < blocks < 1 << 31
            assert 0 < threads <= 1024
            assert shared <= 48 * 1024
            LAUNCHED[name, dtype] = LAUNCHED.get((name, dtype), 0) + 1
            self._start(lambda: kernel(arguments.ctypes.data, blocks, threads, shared))

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
        """cuBLAS's part, by NumPy, with its conditions on leading dimensions."""
        m, n, k = sizes
        kind = np.dtype(dtype)

        def matrix(address: int, rows: int, columns: int, turned: bool, step: int, batch: int) -> Any:
            assert step >= max(1, rows if turned else columns), "leading dimension"
            size = kind.itemsize
            strides = (batch * size, size, step * size) if turned else (batch * size, step * size, size)
            reach = (
                1
                + sum((extent - 1) * s for extent, s in zip((count, rows, columns), strides, strict=True))
                // size
            )
            memory = (ctypes.c_char * (reach * size)).from_address(address)
            return np.ndarray((count, rows, columns), kind, memory, 0, strides)

        def run() -> None:
            x, y = matrix(left[0], m, k, *left[1:]), matrix(right[0], k, n, *right[1:])
            wide = np.float32 if kind.itemsize == 2 else kind
            matrix(out[0], m, n, False, *out[1:])[...] = np.matmul(x.astype(wide), y.astype(wide))

        return lambda: self._start(run)


def at(address: int, shape: Sequence[int], strides: Sequence[int], dtype: str) -> np.ndarray:
    """The array that lies at an address; strides in elements."""
    kind = np.dtype(dtype)
    reach = 1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    memory = (ctypes.c_char * (reach * kind.itemsize)).from_address(address)
    return np.ndarray(tuple(shape), kind, memory, 0, [step * kind.itemsize for step in strides])


class HostLibrary:
    """cuDNN's part, by the NumPy backend: it knows a convolution only by its `Problem` and addresses.

    As choosy as cuDNN was seen to be: nothing follows a transposed convolution, and nothing but a bias follows
    one without a bias.
    """

    def __init__(self, device: HostDevice) -> None:
        self.device, self.asked = device, []

    def plan(self, problem: Problem, measure: Any = None) -> HostPlan | None:
        self.asked.append(problem)
        if problem.transposed and (problem.bias or problem.residual or problem.relu):
            return None
        if (problem.residual or problem.relu) and not problem.bias:
            return None
        return HostPlan(self.device, problem)


class HostPlan:
    """One convolution."""

    workspace_bytes = 64

    def __init__(self, device: HostDevice, problem: Problem) -> None:
        self.device, self.problem = device, problem

    def run(
        self, x: int, weight: int, y: int, bias: int | None, residual: int | None, workspace: int, stream: int
    ) -> None:
        self.device._start(lambda: self._compute(x, weight, y, bias, residual))

    def _compute(self, x: int, weight: int, y: int, bias: int | None, residual: int | None) -> None:
        p = self.problem
        wide = "float64" if p.dtype == "float64" else "float32"
        op: Any
        if p.transposed:
            assert p.pre_padding == p.post_padding
            op = TransposedConvolution(p.stride, p.pre_padding, p.dilation, p.groups)
        else:
            op = Convolution(
                p.stride, tuple(zip(p.pre_padding, p.post_padding, strict=True)), p.dilation, p.groups
            )
        out = at(y, p.y_shape, p.y_strides, p.dtype)
        inputs = [
            at(x, p.x_shape, p.x_strides, p.dtype),
            at(weight, p.weight_shape, p.weight_strides, p.dtype),
        ]
        result = np.empty(p.y_shape, wide)
        NumpyBackend().bind(op, [a.astype(wide) for a in inputs], [result], Context(precision="highest"))()
        if residual is not None:
            result += at(residual, p.y_shape, p.y_strides, p.dtype).astype(wide)
        if bias is not None:
            vector = at(bias, (p.y_shape[1],), (1,), p.dtype).astype(wide)
            result += vector.reshape(-1, *(1 for _ in p.y_shape[2:]))
        out[...] = np.maximum(result, 0) if p.relu else result


def host_backend(**options: Any) -> CupyBackend:
    """The backend on this machine."""
    return CupyBackend(HostDevice(), **options)


@contextmanager
def cuda_is_host(monkeypatch: Any) -> Iterator[HostDevice]:
    """`device="cuda"` means this machine."""
    device = HostDevice()
    monkeypatch.setattr("netspec.backends.cupy.device.opened", lambda index, limit: device)
    yield device
