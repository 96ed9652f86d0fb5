"""Deadlines, and clients that leave: looked at for all requests together, every few milliseconds.

A timer and a task for every request would take longer than many a computation.
"""

from __future__ import annotations

import asyncio
from typing import Any

from netspec.service.body import Receive
from netspec.service.errors import Disconnected, Refused

INTERVAL = 0.02
"""Seconds between two looks. What is answered sooner is never looked at."""


class Patience:
    """The requests that wait for something."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: set[_Body | _Result] = set()
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """The clock of deadlines."""
        return self._loop.time()

    async def body(self, read: Any, deadline: float) -> bytes:
        """What the coroutine `read` gives. Raises `Refused` (408) where it takes longer."""
        task = asyncio.current_task()
        assert task is not None
        waiting = _Body(task, deadline)
        self._add(waiting)
        try:
            return bytes(await read)
        except asyncio.CancelledError:
            if waiting.expired and task.uncancel() == 0:
                raise Refused(408, "the body did not arrive in time") from None
            raise
        finally:
            self._waiting.discard(waiting)

    async def result(
        self, future: asyncio.Future[dict[str, Any]], receive: Receive, deadline: float
    ) -> dict[str, Any]:
        """A future's result. Raises `Refused` (504) at the deadline and `Disconnected`; both end the future."""
        waiting = _Result(future, receive, deadline)
        self._add(waiting)
        try:
            return await future
        finally:
            self._waiting.discard(waiting)
            if waiting.watcher is not None:
                waiting.watcher.cancel()

    def _add(self, waiting: _Body | _Result) -> None:
        self._waiting.add(waiting)
        if self._timer is None:
            self._timer = self._loop.call_later(INTERVAL, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        for waiting in tuple(self._waiting):
            waiting.look(now)
        self._timer = self._loop.call_later(INTERVAL, self._look) if self._waiting else None


class _Body:
    """A request whose body is read."""

    __slots__ = ("deadline", "expired", "task")

    def __init__(self, task: asyncio.Task[Any], deadline: float) -> None:
        self.task, self.deadline, self.expired = task, deadline, False

    def look(self, now: float) -> None:
        if now >= self.deadline and not self.expired:
            self.expired = True
            self.task.cancel()


class _Result:
    """A request that waits for its result."""

    __slots__ = ("deadline", "future", "receive", "watcher")

    def __init__(self, future: asyncio.Future[dict[str, Any]], receive: Receive, deadline: float) -> None:
        self.future, self.receive, self.deadline = future, receive, deadline
        self.watcher: asyncio.Task[None] | None = None

    def look(self, now: float) -> None:
        if self.future.done():
            return
        if now >= self.deadline:
            self.future.set_exception(Refused(504, "the request was not computed in its time", 1))
        elif self.watcher is None:
            self.watcher = asyncio.create_task(self.watch())

    async def watch(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        if not self.future.done():
            self.future.set_exception(Disconnected())
