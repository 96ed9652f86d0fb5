"""Where the time goes: least seconds of each layer."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netspec.benchmark.contender import Task
from netspec.layers.tensor import TensorType
from netspec.program.executor import Executor
from netspec.report.shapes import report_of
from netspec.runtime.network import Network


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One layer: seconds by runtime; a runtime that has fused it into another layer has none."""

    name: str
    type: str
    output: str
    macs: int
    seconds: Mapping[str, float]

    def gflops(self, runtime: str) -> float | None:
        """Twice the multiply-adds, in 1e9 a second."""
        taken = self.seconds.get(runtime)
        return 2e-9 * self.macs / taken if taken and self.macs else None


def ours(net: Network, task: Task, seconds: float) -> dict[str, float]:
    """Least seconds of each layer's kernels over several whole runs, in the order of the program."""
    executor = executor_of(net, task)
    kernels = list(executor.kernels)
    best = [math.inf] * len(kernels)
    clock = time.perf_counter
    inputs = [(target, task.inputs[name]) for name, target in executor.inputs.items()]
    end, runs = clock() + seconds, 0
    while runs < 3 or (clock() < end and runs < 10_000):
        best = list(map(min, best, executor.session.timed(kernels, inputs)))
        runs += 1
    found: dict[str, float] = {}
    for (_, label), taken in zip(kernels, best, strict=True):
        found[label] = found.get(label, 0.0) + taken
    return found


def executor_of(net: Network, task: Task) -> Executor:
    """The buffers and kernels that a call of the network uses."""
    net.run(task.inputs)
    prepared = next(reversed(net._model.programs.values()))
    return prepared.idle[-1]


def planned_bytes(net: Network, task: Task) -> int:
    """Bytes of the buffers that the program plans, with weights and constants."""
    net.run(task.inputs)
    plan = next(reversed(net._model.programs.values())).plan
    return plan.total_bytes + plan.external


def table(task: Task, times: Mapping[str, Mapping[str, float]]) -> list[LayerTime]:
    """A row for each layer that some runtime spends time in, then what belongs to no layer."""
    rows: list[LayerTime] = []
    known = set()
    for row in report_of(task.shaped).rows:
        known.add(row.name)
        seconds = {runtime: found[row.name] for runtime, found in times.items() if row.name in found}
        if seconds:
            macs = row.macs if isinstance(row.macs, int) else 0
            rows.append(LayerTime(row.name, row.type, _shape(row.outputs), macs, seconds))
    others = dict.fromkeys(name for found in times.values() for name in found if name not in known)
    for name in others:
        seconds = {runtime: found[name] for runtime, found in times.items() if name in found}
        rows.append(LayerTime(name, "", "", 0, seconds))
    return rows


def _shape(outputs: Mapping[str, TensorType]) -> str:
    tensor: Any = next(iter(outputs.values()))
    return str(list(tensor.shape))
