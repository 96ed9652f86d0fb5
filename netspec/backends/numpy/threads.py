"""Threads: one BLAS thread while we run, and our own for blocks of every kernel.

NumPy lets go of the interpreter inside its loops and products, so two Python threads compute side by side.
BLAS would start threads of its own for each product and leave all other passes to one: they would fight
over the cores. So each of our threads does its products alone.
"""

from __future__ import annotations

import ctypes
import glob
import os
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from queue import SimpleQueue
from typing import Any

import numpy as np

_PREFIXES = ("scipy_openblas", "openblas")
_SUFFIXES = ("64_", "")


@lru_cache
def _switch() -> tuple[Any, Any] | None:
    """OpenBLAS's own setter and getter in the library that NumPy's wheel brings, or None."""
    folder = os.path.join(os.path.dirname(os.path.dirname(np.__file__)), "numpy.libs")
    for path in sorted(glob.glob(os.path.join(folder, "*openblas*"))):
        library = ctypes.CDLL(path)
        for prefix in _PREFIXES:
            for suffix in _SUFFIXES:
                setter = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
                getter = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
                if setter is not None and getter is not None:
                    setter.argtypes, setter.restype = [ctypes.c_int], None
                    return setter, getter
    return None


def default_lanes() -> int:
    """The processors that this process may use; 1 where BLAS cannot be told to keep to one thread."""
    if _switch() is None:
        return 1
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


class _SingleBlas:
    """Counts the runs in progress: the first turns BLAS's threads off, the last turns them on again."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth = 0
        self.before = 1
        self.switch = _switch()

    def enter(self) -> None:
        switch = self.switch
        if switch is None:
            return
        with self.lock:
            self.depth += 1
            if self.depth == 1:
                self.before = switch[1]()
                if self.before != 1:
                    switch[0](1)

    def leave(self) -> None:
        switch = self.switch
        if switch is None:
            return
        with self.lock:
            self.depth -= 1
            if self.depth == 0 and self.before != 1:
                switch[0](self.before)


_single_blas = _SingleBlas()


class Running:
    """Around a run: one BLAS thread for each of ours; floating point exceptions pass without a word."""

    __slots__ = ("errors",)

    def __enter__(self) -> None:
        self.errors = np.errstate(all="ignore")
        self.errors.__enter__()
        _single_blas.enter()

    def __exit__(self, *error: object) -> None:
        _single_blas.leave()
        self.errors.__exit__(None, None, None)


Task = Callable[[], None]


class _Workers:
    """Daemon threads that take tasks from one queue; made when they are first needed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Begin anew: after a fork the threads are gone."""
        self.tasks: SimpleQueue[tuple[Task, SimpleQueue[BaseException | None]]] = SimpleQueue()
        self.count = 0

    def need(self, count: int) -> None:
        with self.lock:
            while self.count < count:
                self.count += 1
                threading.Thread(target=_work, args=(self.tasks,), name="netspec", daemon=True).start()


def _work(tasks: SimpleQueue[tuple[Task, SimpleQueue[BaseException | None]]]) -> None:
    with np.errstate(all="ignore"):
        while True:
            task, done = tasks.get()
            try:
                task()
            except BaseException as error:  # handed to the thread that waits for it
                done.put(error)
            else:
                done.put(None)
            del task, done


_workers = _Workers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.forget)


def together(tasks: Sequence[Task]) -> Task:
    """One task that runs all of them at the same time, the first on the calling thread."""
    mine, *others = tasks
    if not others:
        return mine
    done: SimpleQueue[BaseException | None] = SimpleQueue()

    def run() -> None:
        _workers.need(len(others))
        put = _workers.tasks.put
        for task in others:
            put((task, done))
        failed: BaseException | None = None
        try:
            mine()
        except BaseException as error:
            failed = error
        for _ in others:
            failed = done.get() or failed
        if failed is not None:
            raise failed

    return run
