"""What is counted: for Prometheus, and for the protocol's statistics.

https://prometheus.io/docs/practices/naming/ and
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from netspec.service.batching import Job, Outcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_MODEL = ("model", "version")


class Metrics:
    """The collectors of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        make: Any = {"registry": self.registry}
        self.requests = Counter(
            "netspec_requests", "Inference requests by the status of their answer; 499: the client left.",
            (*_MODEL, "status"), **make,
        )  # fmt: skip
        self.seconds = Histogram(
            "netspec_request_seconds", "From the headers of an inference request to its answer.",
            _MODEL, buckets=_SECONDS, **make,
        )  # fmt: skip
        self.queue_seconds = Histogram(
            "netspec_queue_seconds", "From a request's arrival in the queue to the start of its computation.",
            _MODEL, buckets=_SECONDS, **make,
        )  # fmt: skip
        self.compute_seconds = Histogram(
            "netspec_compute_seconds", "Computation of one batch.", _MODEL, buckets=_SECONDS, **make
        )
        self.batch_rows = Histogram(
            "netspec_batch_rows", "Rows of the first axis in one batch.", _MODEL, buckets=_ROWS, **make
        )
        self.batch_requests = Histogram(
            "netspec_batch_requests", "Requests in one batch.", _MODEL, buckets=_ROWS, **make
        )
        self.queue_depth = Gauge(
            "netspec_queue_depth", "Requests that wait or are being read.", _MODEL, **make
        )
        self.ready = Gauge("netspec_model_ready", "1: the model answers.", _MODEL, **make)
        self.reloads = Counter(
            "netspec_model_reloads", "Reloads of a model's files.", (*_MODEL, "result"), **make
        )
        self.held = Gauge("netspec_request_bytes_held", "Bytes of request bodies in memory.", **make)

    def text(self) -> bytes:
        """The text format, version 0.0.4."""
        return generate_latest(self.registry)


class Figures:
    """Those of one model, whichever network answers for it at the moment."""

    def __init__(self, metrics: Metrics, model: str, version: str, depth: Callable[[], int]) -> None:
        """depth: requests in the queue now."""
        self._model = (model, version)
        self._requests = metrics.requests
        self._by_status: dict[int, Any] = {}
        self._seconds = metrics.seconds.labels(*self._model)
        self._queue = metrics.queue_seconds.labels(*self._model)
        self._compute = metrics.compute_seconds.labels(*self._model)
        self._rows = metrics.batch_rows.labels(*self._model)
        self._in_batch = metrics.batch_requests.labels(*self._model)
        metrics.queue_depth.labels(*self._model).set_function(depth)
        self.statistics = Statistics()

    def request(self, status: int, seconds: float) -> None:
        """A request was answered (or its client left: 499) after that time."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._requests.labels(*self._model, str(status))
        counter.inc()
        self._seconds.observe(seconds)
        self.statistics.request(status == 200, seconds)

    def batch(self, jobs: Sequence[Job], outcome: Outcome, started: float) -> None:
        """A batch was computed."""
        for job in jobs:
            self._queue.observe(started - job.arrived)
        self._compute.observe(outcome.infer)
        self._rows.observe(outcome.rows)
        self._in_batch.observe(len(jobs))
        self.statistics.batch(jobs, outcome, started)


class Statistics:
    """Counts and nanoseconds as `GET v2/models/{name}/stats` has them."""

    def __init__(self) -> None:
        self.last = 0
        self.inferences = self.executions = 0
        self._durations = {
            key: [0, 0]
            for key in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
        }
        self._batches: dict[int, dict[str, list[int]]] = {}

    def request(self, success: bool, seconds: float) -> None:
        self._add("success" if success else "fail", seconds)

    def output(self, seconds: float) -> None:
        """An answer was put into bytes."""
        self._add("compute_output", seconds)

    def batch(self, jobs: Sequence[Job], outcome: Outcome, started: float) -> None:
        rows = outcome.rows
        self.last = time.time_ns() // 1_000_000
        self.inferences += rows
        self.executions += 1
        for job in jobs:
            self._add("queue", started - job.arrived)
        self._add("compute_input", outcome.assemble, len(jobs))
        self._add("compute_infer", outcome.infer, len(jobs))
        if rows not in self._batches and len(self._batches) >= 1024:  # sizes are the clients'
            return
        sizes = self._batches.setdefault(rows, {"compute_input": [0, 0], "compute_infer": [0, 0]})
        for key, seconds in (("compute_input", outcome.assemble), ("compute_infer", outcome.infer)):
            sizes[key][0] += 1
            sizes[key][1] += int(seconds * 1e9)

    def _add(self, key: str, seconds: float, count: int = 1) -> None:
        total = self._durations[key]
        total[0] += count
        total[1] += int(seconds * 1e9)

    def to_json(self) -> dict[str, Any]:
        """Without the model's name and version."""
        none = {"count": 0, "ns": 0}
        durations = {key: {"count": count, "ns": ns} for key, (count, ns) in self._durations.items()}
        return {
            "last_inference": self.last,
            "inference_count": self.inferences,
            "execution_count": self.executions,
            "inference_stats": {**durations, "cache_hit": none, "cache_miss": none},
            "batch_stats": [
                {
                    "batch_size": rows,
                    **{key: {"count": count, "ns": ns} for key, (count, ns) in sizes.items()},
                    "compute_output": none,
                }
                for rows, sizes in sorted(self._batches.items())
            ],
            "memory_usage": [],
        }
