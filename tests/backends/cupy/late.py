"""A device that does everything as late as it may: what depends on work that nobody waited for shows.

Work is kept in its stream until somebody waits for that stream, or for an event behind it. Memory that was given
back goes to the next who asks for as much on the same stream, as in CuPy's pools, and is NaN after the work that its
stream already has. Page-locked memory goes round at once, on whatever stream.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from netspec.backends.cupy.device import TO_DEVICE, TO_HOST, Device
from tests.backends.cupy.host import FENCE, HostDevice, Owner

UNIT = 512
"""Bytes that CuPy's pool rounds sizes up to, so that arrays of other sizes come to lie where a small one was."""


class LateStream:
    """Work in order, done when it is waited for."""

    def __init__(self, device: LateDevice, number: int) -> None:
        self.device, self.ptr = device, number
        self.waiting: deque[Callable[[], None]] = deque()
        self.begun = self.done = 0

    def __enter__(self) -> LateStream:
        self.device.streams.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.device.streams.pop()

    def add(self, work: Callable[[], None]) -> None:
        self.waiting.append(work)
        self.begun += 1

    def run(self, until: int) -> None:
        """Do the first pieces of work, so many of all that there ever were."""
        with self.device.running:
            while self.done < until:
                self.done += 1
                self.waiting.popleft()()

    def synchronize(self) -> None:
        assert self.device.recording is None, "waited for a stream while a graph was being captured"
        self.run(self.begun)

    def behind(self, other: LateStream) -> None:
        """Go on when the other has done all that it has by now."""
        reached = other.begun
        self.add(lambda: other.run(reached))


class LateDevice(HostDevice):
    """This machine as a device that is never ahead."""

    forget = Device.forget
    stream = Device.stream

    def __init__(self, memory_limit: int | None = None) -> None:
        self.running, self.own = threading.RLock(), threading.local()
        super().__init__(memory_limit)
        self.made = 0
        self.null = self._new_stream()
        self._idle = []
        self.free: dict[tuple[int, int], list[np.ndarray]] = {}
        self.locked_free: dict[int, list[np.ndarray]] = {}
        self.locked: list[tuple[int, int]] = []
        self.copying: list[int] = []
        self.lost: list[int] = []

    def _new_stream(self) -> LateStream:
        self.made += 1
        return LateStream(self, self.made - 1)

    @property
    def recording(self) -> list[Callable[[], None]] | None:
        """What this thread captures."""
        return getattr(self.own, "recording", None)

    @recording.setter
    def recording(self, recorded: list[Callable[[], None]] | None) -> None:
        self.own.recording = recorded

    @property
    def streams(self) -> list[LateStream]:
        """This thread's streams, the current one last."""
        if not hasattr(self.own, "streams"):
            self.own.streams = [self.null]
        return self.own.streams  # type: ignore[no-any-return]

    def current(self) -> AbstractContextManager[None]:
        return nullcontext()

    def synchronize(self, stream: Any = None) -> None:
        (self.streams[-1] if stream is None else stream).synchronize()

    def wait_for_caller(self, stream: Any) -> None:
        stream.behind(self.streams[-1])

    def let_caller_wait(self, stream: Any) -> None:
        self.streams[-1].behind(stream)

    def allocate(self, size: int) -> Any:
        """Memory that has its stream's work still before it."""
        assert self.recording is None, "allocated while a graph was being captured"
        stream = self.streams[-1]
        size = max(1, -(-size // UNIT)) * UNIT
        free = self.free.setdefault((stream.ptr, size), [])
        if free:
            buffer = free.pop()
        else:
            buffer = np.full(size + 2 * FENCE, 0xFF, np.uint8)
            self.fences += [buffer[:FENCE], buffer[FENCE + size :]]
        owner = Owner()
        weakref.finalize(owner, self._put_back, buffer, stream, size).atexit = False
        memory = self.cupy.cuda.UnownedMemory(buffer.ctypes.data + FENCE, size, owner, 0)
        return self.cupy.cuda.MemoryPointer(memory, 0)

    def _put_back(self, buffer: np.ndarray, stream: LateStream, size: int) -> None:
        stream.add(lambda: buffer[FENCE : FENCE + size].fill(0xFF))
        self.free.setdefault((stream.ptr, size), []).append(buffer)

    def pinned(self, size: int) -> Any:
        assert self.recording is None, "allocated while a graph was being captured"
        free = self.locked_free.setdefault(size, [])
        if free:
            memory = free.pop()
        else:
            memory = np.empty(max(size, 1), np.uint8)
            self.locked.append((memory.ctypes.data, memory.ctypes.data + size))
        memory.fill(0xFF)
        lent = (ctypes.c_char * size).from_address(memory.ctypes.data)
        weakref.finalize(lent, self._unlock, free, memory).atexit = False
        return np.frombuffer(lent, np.uint8, size)

    def _unlock(self, free: list[np.ndarray], memory: np.ndarray) -> None:
        self.lost += [at for at in self.copying if 0 <= at - memory.ctypes.data < memory.size]
        free.append(memory)

    def check_fences(self) -> None:
        """And no page-locked memory was given back before it had been copied from or to."""
        super().check_fences()
        assert not self.lost

    def copy(self, target: int, origin: int, size: int, kind: int) -> None:
        assert self.recording is None, "copied while a graph was being captured"
        self.copied += 1
        stream = self.streams[-1]
        address = {TO_DEVICE: origin, TO_HOST: target}.get(kind)
        pageable = address is not None and not any(a <= address < b for a, b in self.locked)
        if kind == TO_DEVICE and pageable:  # the driver has its own copy when it returns
            content = ctypes.string_at(origin, size)
            stream.add(lambda: ctypes.memmove(target, content, size) and None)
        else:
            self.copying += [target, origin]
            stream.add(lambda: self._copied(target, origin, size))
        if kind == TO_HOST and pageable:
            stream.synchronize()

    def _copied(self, target: int, origin: int, size: int) -> None:
        ctypes.memmove(target, origin, size)
        self.copying.remove(target)
        self.copying.remove(origin)

    def _start(self, run: Callable[[], None]) -> None:
        if self.recording is None:
            self.streams[-1].add(run)
        else:
            self.recording.append(run)

    def capture(self, stream: Any, run: Callable[[], None]) -> Callable[[], None]:
        assert self.streams[-1] is stream, "only the current stream's work is captured"
        replay = super().capture(stream, run)
        return lambda: stream.add(replay)

    def elapsed(self, run: Callable[[], None]) -> float:
        run()
        self.synchronize()
        return 1.0


@contextmanager
def cuda_is_late(monkeypatch: Any) -> Iterator[LateDevice]:
    """`device="cuda"` means this machine, late."""
    device = LateDevice()
    monkeypatch.setattr("netspec.backends.cupy.device.opened", lambda index, limit: device)
    yield device
