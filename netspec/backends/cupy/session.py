"""An executor's line to its device: a stream, page-locked memory, a graph, and what kernels refuse.

Inputs go through page-locked memory, so that copying them does not stop the processor; kernels are started one
by one in the first call and from the second on as one CUDA graph; outputs come back the same way. A call returns
when all of it is in the stream's queue, so that another executor's call can be prepared meanwhile.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec.backends.base import Array, Kernel, KernelError, Session, is_on_device
from netspec.backends.cupy.device import ON_DEVICE, TO_DEVICE, TO_HOST

if TYPE_CHECKING:
    from netspec.backends.cupy.backend import CupyBackend

log = logging.getLogger("netspec")

WORDS = 2
"""Words of a check: the lowest and the highest refused value, so that which thread came first means nothing."""

CHECKS = 64
"""Checks that share a piece of memory."""

UNTOUCHED = (np.iinfo(np.int64).max, np.iinfo(np.int64).min)


@dataclass(frozen=True)
class Check:
    """Values that a kernel may refuse: whose, and what is said then of the lowest and the highest."""

    label: str
    message: Callable[[int, int], str]


class CupySession(Session):
    """One stream of one device."""

    backend: CupyBackend

    def __init__(self, backend: CupyBackend) -> None:
        super().__init__(backend)
        self.device = backend.device
        self.stream = self.device.stream()
        weakref.finalize(self, self.device.forget, self.stream).atexit = False
        self.refresh: list[tuple[Array, Callable[[], Any]]] = []
        self._checks: list[Check] = []
        self._flags: list[Array] = []
        self._staging: dict[int, Any] = {}
        self._graph: Callable[[], None] | None = None
        self._capturable, self._started = backend.graphs, False
        self._kept: dict[str, Array] | None = None

    @contextmanager
    def binding(self) -> Iterator[None]:
        """This stream is the current one; at the end all that was started has been done, also if it failed."""
        with self._current():
            try:
                yield
            finally:
                self.device.synchronize(self.stream)  # prepared weights are read by other streams too

    @contextmanager
    def _current(self) -> Iterator[None]:
        with self.device.current(), self.stream:
            yield

    def check(self, label: str, message: Callable[[int, int], str]) -> int:
        """The address that a kernel reports to (see `report` in common.cuh)."""
        number = len(self._checks) % CHECKS
        if number == 0:
            flags = self.device.empty((CHECKS, WORDS), np.int64)
            self._flags.append(flags)
            self._reset(flags)
        self._checks.append(Check(label, message))
        return int(self._flags[-1].data.ptr) + number * WORDS * 8

    def _reset(self, flags: Array) -> None:
        self._send(flags, np.tile(np.array(UNTOUCHED, np.int64), (CHECKS, 1)))

    def _staged(self, array: Array) -> Any:
        """Page-locked memory for an array, as a NumPy array of its shape."""
        if id(array) not in self._staging:
            memory = self.device.pinned(array.nbytes)
            self._staging[id(array)] = memory.view(array.dtype).reshape(array.shape)
        return self._staging[id(array)]

    def _send(self, target: Array, source: Any) -> None:
        staged = self._staged(target)
        np.copyto(staged, source, casting="unsafe")
        self.device.copy(target.data.ptr, staged.ctypes.data, target.nbytes, TO_DEVICE)

    def _receive(self, source: Array) -> None:
        self.device.copy(self._staged(source).ctypes.data, source.data.ptr, source.nbytes, TO_HOST)

    def outgoing(self, array: Array, kernels: list[tuple[Kernel, str]]) -> Array:
        """The array itself, or a contiguous copy that is made at the end of each run."""
        if array.flags.c_contiguous:
            return array
        copy = self.device.empty(array.shape, array.dtype)
        kernels.append((self.backend.copying(copy, array, self), "the output"))
        return copy

    def start(
        self,
        kernels: Sequence[tuple[Kernel, str]],
        inputs: Sequence[tuple[Array, Any]],
        outputs: Mapping[str, Array],
        keep: bool = False,
    ) -> None:
        """Queue the whole call."""
        device = self.device
        given = any(is_on_device(source) for _, source in inputs)
        self._kept = None
        if keep or given:
            with device.current():  # on the caller's stream, whose memory the results are
                if keep:
                    self._kept = {name: device.empty(y.shape, y.dtype) for name, y in outputs.items()}
                device.wait_for_caller(self.stream)
        with self._current():
            for target, source in inputs:
                if is_on_device(source):
                    self._copy(target, source)
                elif target.size:
                    self._send(target, source)
        if given:
            with device.current():  # so that the caller may write to the inputs, or give their memory back
                device.let_caller_wait(self.stream)
        with self._current():
            for target, fresh in self.refresh:
                self._send(target, fresh())
            self._launch(kernels)
            for name, array in outputs.items():
                if self._kept is not None:
                    self._copy(self._kept[name], array)
                else:
                    self._receive(array)
            for flags in self._flags:
                self._receive(flags)

    def _launch(self, kernels: Sequence[tuple[Kernel, str]]) -> None:
        """The first call starts kernels one by one, since a shape that comes once is not worth a graph, and since
        libraries load and allocate then what must not be done during a capture.
        """
        if self._graph is None and self._capturable and self._started and kernels:
            try:
                self._graph = self.device.capture(self.stream, lambda: self._each(kernels))
            except self.backend.failures as error:
                log.warning("no CUDA graph could be made (%s): kernels are started one by one", error)
                self._capturable = False
        if self._graph is not None:
            self._graph()
        else:
            self._each(kernels)
        self._started = True

    def _each(self, kernels: Sequence[tuple[Kernel, str]]) -> None:
        for kernel, _ in kernels:
            kernel()

    def results(self, outputs: Mapping[str, Array]) -> dict[str, Any]:
        """Wait for the call; copies of the outputs."""
        with self._current():
            self.device.synchronize(self.stream)
            self._raise_refused()
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return dict(kept)
        return {name: self._staged(array).copy() for name, array in outputs.items()}

    def _raise_refused(self) -> None:
        if not self._flags:
            return
        found = np.concatenate([self._staged(flags) for flags in self._flags])
        touched = np.flatnonzero(found[:, 0] != UNTOUCHED[0])
        if not touched.size:
            return
        for flags in self._flags:
            self._reset(flags)
        self.device.synchronize(self.stream)
        check = self._checks[int(touched[0])]
        low, high = map(int, found[touched[0]])
        error = KernelError(check.message(low, high))
        error.label = check.label
        raise error

    def timed(
        self, kernels: Sequence[tuple[Kernel, str]], inputs: Sequence[tuple[Array, Any]]
    ) -> Sequence[float]:
        """Seconds that the device takes for each kernel, by its own clock."""
        with self._current():
            for target, source in inputs:
                if target.size:
                    self._send(target, source)
            return [self.device.elapsed(kernel) for kernel, _ in kernels]

    def store(self, target: Array, source: Array) -> None:
        """Copy an array of the device to a contiguous one; done when this returns: other streams may read it then."""
        with self._current():
            self._copy(target, source)
            self.device.synchronize(self.stream)

    def _copy(self, target: Array, source: Array) -> None:
        if not (source.flags.c_contiguous and source.dtype == target.dtype):
            source = self.device.cupy.ascontiguousarray(source, target.dtype)
        if target.size:
            self.device.copy(target.data.ptr, source.data.ptr, target.nbytes, ON_DEVICE)
