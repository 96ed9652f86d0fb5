"""One loaded network: requests in, results out, figures kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.diagnostics import InputError, NetspecError
from netspec.runtime.batches import batch_ranges
from netspec.runtime.network import Network
from netspec.runtime.profile import Service
from netspec.service.batching import Batcher, Job, Observer, Outcome, Ticket
from netspec.service.errors import Refused
from netspec.service.request import Head, Parser

log = logging.getLogger("netspec.service")

SIZES = 15
"""Numbers of rows that batches have; one fewer than the programs that a network keeps."""
_KEYS_KEPT = 256
"""Shapes of which it is remembered whether their rows may be computed together."""


class Model:
    """A network with its queue. Made and used on the event loop; `_compute` runs in the queue's threads."""

    def __init__(
        self,
        name: str,
        version: str,
        net: Network,
        parser: Parser,
        service: Service,
        observer: Observer,
    ) -> None:
        self.name, self.version, self.net = name, version, net
        self.parser, self.signature = parser, parser.signature
        self.report: bytes | None = None
        self._loop = asyncio.get_running_loop()
        self.sizes = batch_sizes(service.max_batch)
        self._together: dict[Any, bool] = {}
        self.batcher = Batcher(
            name,
            self._compute,
            observer,
            max_batch=service.max_batch,
            max_delay=service.max_delay_ms / 1000,
            max_queue=service.max_queue,
            workers=service.workers,
        )

    def start(self, head: Head, inputs: dict[str, Any], ticket: Ticket) -> asyncio.Future[dict[str, Any]]:
        """Queue a request; the future gets its outputs by name. Ending it frees what the request holds."""
        future: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        alone = not 0 < head.rows <= self.sizes[-1]
        self.batcher.submit(Job(inputs, head.names, head.rows, head.key, future, ticket, alone=alone))
        return future

    def rows_are_independent(self, outputs: tuple[str, ...], tails: Any) -> bool:
        """Whether requests of these outputs and input shapes (without their first axes) may be one batch."""
        key = (outputs, tails)
        if key not in self._together:
            if len(self._together) >= _KEYS_KEPT:
                self._together.clear()
            probe = {name: np.broadcast_to(np.zeros((), "?"), (2, *tail)) for name, _, tail in tails}
            try:
                batch_ranges(self.net, probe, self.signature.wanted(outputs)[0], 1)
                self._together[key] = True
            except NetspecError:  # mixed by a layer, or refused: each request then gets its own answer
                self._together[key] = False
        return self._together[key]

    # --- in the threads -----------------------------------------------------------------------------

    def _compute(self, jobs: Sequence[Job]) -> Outcome:
        first = jobs[0]
        together = not first.alone and self.rows_are_independent(first.outputs, first.key[1])  # type: ignore[index]
        if together:
            try:
                return self._batch(jobs)
            except Exception as error:
                if len(jobs) == 1:
                    return Outcome([_refused(error)], first.rows)
        # One request's values may be what was refused: the others are not to suffer for it.
        started = time.perf_counter()
        results = [self._single(job) for job in jobs]
        rows = sum(job.rows for job in jobs)
        return Outcome(results, rows, infer=time.perf_counter() - started, together=together or first.alone)

    def _single(self, job: Job) -> dict[str, Any] | Exception:
        try:
            inputs = {name: _aligned(array) for name, array in job.inputs.items()}
            return self.net.compute(inputs, self.signature.wanted(job.outputs)[0])
        except Exception as error:
            return _refused(error)

    def _batch(self, jobs: Sequence[Job]) -> Outcome:
        """All jobs in one array, whose rows are a size that a program is kept for."""
        started = time.perf_counter()
        rows = sum(job.rows for job in jobs)
        size = next(size for size in self.sizes if size >= rows)
        inputs = {name: _joined([job.inputs[name] for job in jobs], rows, size) for name in jobs[0].inputs}
        assembled = time.perf_counter()
        found = self.net.compute(inputs, self.signature.wanted(jobs[0].outputs)[0])
        results: list[dict[str, Any] | Exception] = []
        start = 0
        for job in jobs:
            results.append({name: array[start : start + job.rows] for name, array in found.items()})
            start += job.rows
        return Outcome(results, rows, assembled - started, time.perf_counter() - assembled)


def batch_sizes(largest: int) -> tuple[int, ...]:
    """The numbers of rows that batches are filled up to: 1, 2, ..., 8, 10, 12, 15, ..., `largest`.

    A network keeps the programs of a few shapes, and making one takes as long as many calls.
    """
    for part in range(SIZES, 0, -1):  # each size is larger than the one before by at most 1/part of it
        sizes = [1]
        while sizes[-1] < largest:
            sizes.append(min(largest, sizes[-1] + max(1, sizes[-1] // part)))
        if len(sizes) <= SIZES:
            break
    return tuple(sizes)


def _joined(arrays: Sequence[Any], rows: int, size: int) -> Any:
    """The arrays' rows one after the other, and the last one repeated, whose values a network takes."""
    if len(arrays) == 1 and rows == size:
        return _aligned(arrays[0])
    joined = np.empty((size, *arrays[0].shape[1:]), arrays[0].dtype)
    start = 0
    for array in arrays:
        joined[start : start + len(array)] = array
        start += len(array)
    joined[start:] = joined[start - 1]
    return joined


def _aligned(array: Any) -> Any:
    """The array, where a kernel may read it: tensors lie in a body wherever the JSON part ends."""
    return array if array.flags.aligned else array.copy()


def _refused(error: Exception) -> Exception:
    """A library's error as the client is told of it."""
    if isinstance(error, InputError):
        lines = [error.message, *(diagnostic.message for diagnostic in error.diagnostics)]
        return Refused(400, ": ".join(line for line in lines if line))
    if isinstance(error, NetspecError | MemoryError):
        return Refused(503, f"the machine cannot do it now: {error}", retry_after=1)
    log.error("inference failed", exc_info=error)
    return Refused(500, "the inference failed; the server's log says why")
