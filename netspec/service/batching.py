"""Requests of one model gathered into batches and computed in threads, away from the event loop.

All of it but `_Worker` runs on the event loop, so nothing needs a lock. A request waits for others only
where others are to be expected: as many as went into the last batches, and no longer than `max_delay`.
A client on its own is answered at once.
"""

from __future__ import annotations

import asyncio
import math
import queue
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from netspec.service.errors import Refused


@dataclass(slots=True, eq=False)
class Job:
    """One request's tensors. Jobs of one `key` may be computed together, if `rows` says how many they are."""

    inputs: dict[str, Any]
    outputs: tuple[str, ...]
    rows: int
    key: Hashable
    future: asyncio.Future[dict[str, Any]]
    ticket: Ticket
    arrived: float = field(default_factory=time.perf_counter)
    alone: bool = False


@dataclass(slots=True)
class Outcome:
    """What became of a batch: a result or an error for each job, and the seconds it took."""

    results: list[dict[str, Any] | Exception]
    rows: int
    assemble: float = 0.0
    infer: float = 0.0
    together: bool = True


Compute = Callable[[Sequence[Job]], Outcome]


class Observer(Protocol):
    """Who keeps the figures."""

    def batch(self, jobs: Sequence[Job], outcome: Outcome, started: float) -> None:
        """A batch was computed; `started` is when it was taken from the queue."""


class Ticket:
    """A place in the queue: taken before the body is read, given back when the request is computed, or by
    whoever took it."""

    __slots__ = ("_batcher",)

    def __init__(self, batcher: Batcher) -> None:
        self._batcher: Batcher | None = batcher

    def release(self) -> None:
        """Give the place back; a second time does nothing."""
        if self._batcher is not None:
            self._batcher.waiting -= 1
            self._batcher = None


@dataclass(slots=True, eq=False)
class _Group:
    """Jobs of one key that wait, in their order."""

    jobs: list[Job] = field(default_factory=list)
    rows: int = 0


class Batcher:
    """The queue of one model and the threads that compute it."""

    def __init__(
        self,
        name: str,
        compute: Compute,
        observer: Observer,
        *,
        max_batch: int,
        max_delay: float,
        max_queue: int,
        workers: int = 1,
    ) -> None:
        """max_batch: rows; max_delay: seconds; max_queue: requests that wait or are being read."""
        self._observer = observer
        self._max_batch, self._max_delay, self._max_queue = max_batch, max_delay, max_queue
        self.waiting = 0
        self._groups: dict[Hashable, _Group] = {}
        self._running: set[Job] = set()
        self._separate: set[Hashable] = set()
        self._usual = 1
        self._seconds_a_job = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._idle: list[_Worker] = [
            _Worker(f"{name}-{number}", compute, self._loop, self._finished) for number in range(workers)
        ]
        self._workers = tuple(self._idle)

    def admit(self) -> Ticket:
        """A place in the queue. Raises `Refused` (503) where there is none."""
        if self._closed:
            raise Refused(503, "the model is being unloaded", retry_after=1)
        if self.waiting >= self._max_queue:
            ahead = self.waiting * self._seconds_a_job / len(self._workers)
            raise Refused(503, f"{self.waiting} requests wait already", max(1, math.ceil(ahead)))
        self.waiting += 1
        return Ticket(self)

    def submit(self, job: Job) -> None:
        """Have a job computed; its future gets the result or the error. Cancelling the future takes it back."""
        group = self._groups.setdefault(job.key, _Group())
        group.jobs.append(job)
        group.rows += job.rows
        job.future.add_done_callback(lambda _: self._taken_back(job))
        self._schedule()

    @property
    def busy(self) -> bool:
        """Whether something is read, waits or is computed."""
        return bool(self.waiting or self._running)

    def abort(self, error: Exception) -> None:
        """Answer everything that waits or is computed with an error."""
        for job in [*self._running, *(job for group in self._groups.values() for job in group.jobs)]:
            if not job.future.done():
                job.future.set_exception(error)

    async def close(self) -> None:
        """Take nothing more, compute what waits, end the threads."""
        self._closed = True
        while self.busy:
            await asyncio.sleep(0.005)
        for worker in self._workers:
            worker.stop()

    # --- gathering ----------------------------------------------------------------------------------

    def _taken_back(self, job: Job) -> None:
        """The client went away, or its time was up: what still waits is not computed."""
        group = self._groups.get(job.key)
        if group is None or job not in group.jobs:
            return
        group.jobs.remove(job)
        group.rows -= job.rows
        if not group.jobs:
            del self._groups[job.key]

    def _schedule(self) -> None:
        while self._idle and self._groups:
            now = time.perf_counter()
            ready = [key for key, group in self._groups.items() if self._is_ready(key, group, now)]
            if not ready:
                self._wait(now)
                return
            key = min(ready, key=lambda k: self._groups[k].jobs[0].arrived)
            group = self._groups[key]
            self._dispatch(key, len(group.jobs) < self._usual and group.rows < self._max_batch)

    def _is_ready(self, key: Hashable, group: _Group, now: float) -> bool:
        return (
            len(group.jobs) >= self._usual
            or group.rows >= self._max_batch
            or now - group.jobs[0].arrived >= self._max_delay
            or group.jobs[0].alone
            or key in self._separate
        )

    def _wait(self, now: float) -> None:
        """Look again when the first job has waited long enough."""
        if self._timer is None:
            first = min(group.jobs[0].arrived for group in self._groups.values())
            self._timer = self._loop.call_later(max(0.0, first + self._max_delay - now), self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        self._schedule()

    def _expect(self, count: int, late: bool) -> None:
        """How many requests the next batch should wait for, after one of `count`.

        As many as are open now, fewer with every batch; and after waiting in vain as many as came. So the
        requests of several clients fall into step, and the event loop and the computation do not fight for
        the interpreter.
        """
        open_now = len(self._running) + sum(len(group.jobs) for group in self._groups.values())
        self._usual = count if late else max(math.ceil(open_now / len(self._workers)), self._usual - 1)

    def _dispatch(self, key: Hashable, late: bool) -> None:
        group = self._groups[key]
        count, rows = 1, group.jobs[0].rows
        if key not in self._separate and not group.jobs[0].alone:
            for job in group.jobs[1:]:
                if job.alone or rows + job.rows > self._max_batch:
                    break
                count, rows = count + 1, rows + job.rows
        jobs, group.jobs = group.jobs[:count], group.jobs[count:]
        group.rows -= rows
        if not group.jobs:
            del self._groups[key]
        for job in jobs:
            job.ticket.release()
        self._running.update(jobs)
        self._expect(count, late)
        self._idle.pop().start(jobs)

    def _finished(self, worker: _Worker, jobs: Sequence[Job], outcome: Outcome, started: float) -> None:
        self._running.difference_update(jobs)
        self._idle.append(worker)
        if not outcome.together:
            self._separate.add(jobs[0].key)
            if len(self._separate) > 256:  # keys are the clients' shapes
                self._separate.clear()
            self._usual = 1
        seconds = (outcome.assemble + outcome.infer) / len(jobs)
        self._seconds_a_job += 0.1 * (seconds - self._seconds_a_job)
        for job, result in zip(jobs, outcome.results, strict=True):
            if job.future.done():
                continue
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)
        self._observer.batch(jobs, outcome, started)
        self._schedule()


class _Worker:
    """A thread that computes one batch after the other."""

    def __init__(
        self,
        name: str,
        compute: Compute,
        loop: asyncio.AbstractEventLoop,
        finished: Callable[[_Worker, Sequence[Job], Outcome, float], None],
    ) -> None:
        self._compute, self._loop, self._finished = compute, loop, finished
        self._queue: queue.SimpleQueue[Sequence[Job] | None] = queue.SimpleQueue()
        # A daemon, so that a computation without end does not keep the process from ending.
        threading.Thread(target=self._run, name=f"netspec-{name}", daemon=True).start()

    def start(self, jobs: Sequence[Job]) -> None:
        self._queue.put(jobs)

    def stop(self) -> None:
        self._queue.put(None)

    def _run(self) -> None:
        while (jobs := self._queue.get()) is not None:
            started = time.perf_counter()
            try:
                outcome = self._compute(jobs)
            except Exception as error:  # the thread must live, and every job gets an answer
                outcome = Outcome([error] * len(jobs), sum(job.rows for job in jobs))
            try:
                self._loop.call_soon_threadsafe(self._finished, self, jobs, outcome, started)
            except RuntimeError:  # the loop was closed: nobody waits any more
                return
            del jobs, outcome  # else they would be held until the next batch comes
