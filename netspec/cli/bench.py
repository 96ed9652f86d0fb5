"""`netspec bench`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from netspec.benchmark.measure import Measurement, bench
from netspec.benchmark.peers import names
from netspec.benchmark.problem import Problem, processors
from netspec.benchmark.report import text, to_json
from netspec.benchmark.rounds import Effort
from netspec.cli.shapes import parse_shape
from netspec.diagnostics import InputError
from netspec.runtime.profile import profile_of


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of the command."""

    file: Path
    inputs: tuple[str, ...]
    against: str | None
    threads: int | None
    seconds: float
    runs: int | None
    warmup: int
    layers: bool
    alone: bool
    tolerance: float
    format: str
    picture: Path | None
    weights: Path | None
    device: str | None
    dtype: str | None
    precision: str | None
    seed: int
    runner: Path | None
    autotune: bool | None
    jit: bool | None


def run_bench(options: Options) -> None:
    """Measure, print, draw."""
    if options.picture is not None and options.picture.suffix != ".svg":
        raise InputError(f"--picture: expected an .svg file, got {options.picture}")
    problem, against = _problem(options), names(options.against)
    if problem.device != "cpu" and against:
        raise InputError(
            "--against: peers are measured on the CPU; docs/gpu_report.py measures them beside a CUDA device"
        )
    found = bench(
        problem,
        against,
        Effort(options.seconds, options.runs, options.warmup),
        options.tolerance,
        by_layer=options.layers or options.picture is not None,
        in_own_process=options.alone,
    )
    print(json.dumps(to_json(found), indent=2) if options.format == "json" else text(found))
    if options.picture is not None:
        _draw(options.picture, found)


def _draw(path: Path, found: Measurement) -> None:
    from netspec.benchmark.picture import draw
    from netspec.interop.files import write_beside

    try:
        with write_beside(path) as out:
            out.write(draw(found).encode())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None


def _problem(options: Options) -> Problem:
    from netspec.analysis import analyse_file
    from netspec.diagnostics import SpecError

    analysis = analyse_file(options.file)
    if not analysis.valid:
        raise SpecError(analysis.diagnostics)
    assert analysis.graph is not None
    shapes: dict[str, tuple[int, ...]] = {}
    for given in options.inputs:
        name, shape = parse_shape(given, list(analysis.graph.inputs))
        if name not in analysis.graph.inputs:
            raise InputError(f"--input {given}: the network has no input `{name}`")
        if name in shapes:
            raise InputError(f"--input {given}: input {name} is given twice")
        shapes[name] = shape
    runner = None if options.runner is None else str(options.runner)
    profile = profile_of(runner)
    return Problem(
        str(options.file),
        options.threads or profile.threads or processors(),
        shapes,
        None if options.weights is None else str(options.weights),
        options.device or profile.device,
        options.dtype or profile.dtype,
        options.precision or profile.precision,
        runner,
        options.seed,
        options.autotune,
        options.jit,
    )
