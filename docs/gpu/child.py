"""A process of its own that answers questions: it may run out of memory, hang, or lose its device, and only it ends.

Part of `gpu_report.py`. What the process prints goes to a file, whose end is told where it fails.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Answer = Callable[[Any], Any]
"""What a child does with a message."""

Make = Callable[[Any], Answer]
"""Builds it; a function of a module, since a process finds it by name."""

SHORT_OF_MEMORY = re.compile(
    r"out.?of.?memory|not enough memory|MemoryError|alloc|device has .* available", re.I
)
"""How errors say that memory was short: of the device or of the host."""

PRINTED = 400
"""Characters of the end of what a process printed that are told."""


class Plain(Exception):
    """An error whose text says all: its kind and place are left out of the line that is told."""


class Failed(Exception):
    """A child gave no answer; the text is one line that says why."""

    @property
    def out_of_memory(self) -> bool:
        """Whether memory was short."""
        return SHORT_OF_MEMORY.search(str(self)) is not None


class Child:
    """The process, and the line to it."""

    def __init__(self, make: Make, given: Any, timeout: float) -> None:
        """Starts it, and returns when `make(given)` is done. Raises `Failed`."""
        handle, name = tempfile.mkstemp(prefix="netspec-gpu-", suffix=".log")
        os.close(handle)
        self._log = Path(name)
        context = multiprocessing.get_context("spawn")  # a fork would share the state of CUDA's libraries
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, name, make, given))
        self._process.start()
        theirs.close()
        try:
            self._receive(timeout)
        except BaseException:
            self.close()
            raise

    def ask(self, message: Any, timeout: float) -> Any:
        """The answer to a message. Raises `Failed`; the process has ended then."""
        try:
            self._connection.send(message)
            return self._receive(timeout)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise Failed(f"the process does not listen: {error}") from None
            raise

    def _receive(self, timeout: float) -> Any:
        if not self._connection.poll(timeout):
            raise Failed(f"no answer in {timeout:g} s")
        try:
            good, value = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(10)
            said = " ".join(self._log.read_text(errors="replace").split())[-PRINTED:]
            raise Failed(
                f"the process ended with {self._process.exitcode}: {said or 'it said nothing'}"
            ) from None
        if not good:
            raise Failed(value)
        return value

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._log.unlink(missing_ok=True)


def summary(error: BaseException) -> str:
    """One line: the kind of an error and what it says first, and where."""
    said = " ".join(str(error).split())[:PRINTED]
    if isinstance(error, Plain):
        return said
    places = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[-2:]]
    return f"{type(error).__name__}: {said} ({', '.join(places)})" if said else type(error).__name__


def _work(connection: Connection, log: str, make: Make, given: Any) -> None:
    """What the process does: an answer to each message, until there is none."""
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        answer = make(given)
        connection.send((True, None))
        while True:
            connection.send((True, answer(connection.recv())))
    except EOFError:  # nobody asks any more
        return
    except Exception as error:
        connection.send((False, summary(error)))
