"""What is to be measured, as plain values that another process can be told too."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netspec.analysis import analyse_file
from netspec.benchmark import drawing
from netspec.benchmark.contender import Task
from netspec.diagnostics import InputError, SpecError
from netspec.graph import select
from netspec.graph.infer import states_of
from netspec.runtime.inputs import check_sizes
from netspec.runtime.network import Network, check_dtype, outer_dtype


@dataclass(frozen=True)
class Problem:
    """A network file with the sizes of its inputs, and how netspec is to run it."""

    file: str
    threads: int
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    weights: str | None = None
    device: str = "cpu"
    dtype: str = "float32"
    precision: str | None = None
    runner: str | None = None
    seed: int = 0
    autotune: bool | None = None
    jit: bool | None = None


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pose(problem: Problem) -> tuple[Network, Task]:
    """The network, loaded, and the task for everybody. Raises `SpecError`, `WeightsError`, `InputError`."""
    from netspec.api import load

    dtype = outer_dtype(check_dtype(problem.dtype))
    analysis = analyse_file(problem.file, dtype)
    if not analysis.valid:
        raise SpecError(analysis.diagnostics)
    assert analysis.spec is not None and analysis.graph is not None and analysis.shaped is not None
    weights: Any = problem.weights
    if weights is None and analysis.spec.weights is None:
        weights = drawing.weights(states_of(analysis.shaped), dtype, problem.seed)
    net = load(
        problem.file, weights=weights, device=problem.device, dtype=problem.dtype, precision=problem.precision,
        threads=problem.threads, seed=problem.seed, runner=problem.runner, autotune=problem.autotune,
        jit=problem.jit,
    )  # fmt: skip
    del weights
    specs = analysis.graph.inputs
    wanted = net.wanted()
    _, needed = select(analysis.graph, wanted)
    shapes = drawing.sizes({name: specs[name] for name in needed}, problem.shapes)
    check_sizes(analysis.graph, shapes)
    shaped = net.shaped(shapes)
    found = [d for d in shaped.diagnostics if d.severity == "error"]
    if found:
        sizes = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise InputError(f"the network does not take {sizes}", found)
    inputs = drawing.arrays(specs, shapes, dtype, problem.seed)
    return net, Task(shaped, dict(wanted), net.state_dict(), inputs, problem.threads)
