"""The whole of `netspec bench`: build, compare, choose settings, measure in turns, look at memory and layers."""

from __future__ import annotations

import gc
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from netspec.benchmark import alone, layers, peers
from netspec.benchmark.agreement import TOLERANCE, difference
from netspec.benchmark.contender import Contender, Task
from netspec.benchmark.layers import LayerTime
from netspec.benchmark.problem import Problem, pose
from netspec.benchmark.rounds import Effort, measure
from netspec.benchmark.statistics import Statistics
from netspec.report.shapes import report_of
from netspec.runtime.network import Network

TRIAL = 0.25
"""Share of the time that a setting is tried for, before the best one of a runtime is measured."""


@dataclass(frozen=True)
class Result:
    """One runtime in its best setting.

    tried: least seconds of every setting; difference: from netspec's outputs, as a part of their largest value;
    memory_bytes and alone: in a process of its own (see `alone`), or why there are none.
    """

    name: str
    version: str
    setting: str
    times: Statistics
    tried: dict[str, float]
    difference: float
    memory_bytes: int | None = None
    alone: float | None = None
    failure: str = ""


@dataclass(frozen=True)
class Measurement:
    """All that was found out; `results` start with netspec's."""

    problem: Problem
    name: str
    inputs: dict[str, tuple[int, ...]]
    macs: int
    rows: int
    tolerance: float
    results: tuple[Result, ...]
    planned_bytes: int
    layers: tuple[LayerTime, ...]
    machine: dict[str, str]

    @property
    def ours(self) -> Result:
        """netspec's result."""
        return self.results[0]

    def ratio(self, result: Result) -> float:
        """Its least time over netspec's: above 1 netspec is faster."""
        return result.times.minimum / self.ours.times.minimum


def bench(
    problem: Problem,
    against: Sequence[str] = (),
    effort: Effort = Effort(),  # noqa: B008  (frozen)
    tolerance: float = TOLERANCE,
    by_layer: bool = False,
    in_own_process: bool = True,
) -> Measurement:
    """Measure one network, with the named peers beside it. Raises `NetspecError`."""
    peers.need(against)
    net, task = pose(problem)
    own = peers.ours(net, task)
    expected = own.outputs()
    chosen, apart = [own], {"netspec": 0.0}
    tried: dict[str, dict[str, float]] = {"netspec": {}}
    for name in against:
        settings = peers.peer(name).makers(task)
        contenders = {setting: make() for setting, make in settings.items()}
        apart[name] = max(difference(expected, c.outputs(), c.title, tolerance) for c in contenders.values())
        best, tried[name] = _best(contenders, effort, problem.threads)
        chosen.append(best)
        del settings, contenders
        gc.collect()
    samples = measure(chosen, effort, problem.threads)
    results = tuple(
        _result(problem, c, Statistics.of(taken), tried[c.name], apart[c.name], effort, in_own_process)
        for c, taken in zip(chosen, samples, strict=True)
    )
    macs = report_of(task.shaped).macs
    first = next(iter(task.inputs.values()))
    return Measurement(
        problem, task.shaped.graph.spec.name or Path(problem.file).stem,
        {name: array.shape for name, array in task.inputs.items()},
        macs if isinstance(macs, int) else 0, first.shape[0] if first.ndim else 1, tolerance, results,
        layers.planned_bytes(net, task), tuple(_layers(net, task, results, effort)) if by_layer else (),
        machine(),
    )  # fmt: skip


def _best(
    contenders: dict[str, Contender], effort: Effort, threads: int
) -> tuple[Contender, dict[str, float]]:
    """The setting with the least time in a short trial, and the times of all."""
    if len(contenders) == 1:
        return next(iter(contenders.values())), {}
    short = Effort(effort.seconds * TRIAL, effort.runs, effort.warmup)
    samples = measure(list(contenders.values()), short, threads)
    least = {setting: min(taken) for setting, taken in zip(contenders, samples, strict=True)}
    return contenders[min(least, key=least.__getitem__)], least


def _result(
    problem: Problem,
    contender: Contender,
    times: Statistics,
    tried: dict[str, float],
    apart: float,
    effort: Effort,
    in_own_process: bool,
) -> Result:
    answer: dict[str, Any] = {}
    if in_own_process:
        job = {"problem": asdict(problem), "contender": contender.name, "setting": contender.setting,
               "seconds": effort.seconds * TRIAL, "runs": effort.runs}  # fmt: skip
        answer = alone.ask(job)
    return Result(
        contender.name, contender.version, contender.setting, times, tried, apart,
        answer.get("memory_bytes"), answer.get("minimum"), answer.get("error", ""),
    )  # fmt: skip


def _layers(net: Network, task: Task, results: Sequence[Result], effort: Effort) -> list[LayerTime]:
    times = {"netspec": layers.ours(net, task, effort.seconds / 2)}
    for result in results[1:]:
        module = peers.peer(result.name)
        times[result.name] = dict(module.layer_times(task, result.setting, effort.seconds / 2))
    return layers.table(task, times)


def machine() -> dict[str, str]:
    """Processor, system and versions."""
    import numpy as np

    from netspec.benchmark.problem import processors

    return {
        "processor": _processor(),
        "processors": str(processors()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
