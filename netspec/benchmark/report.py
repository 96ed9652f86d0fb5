"""A measurement as tables and as JSON."""

from __future__ import annotations

from typing import Any

from netspec.benchmark.layers import LayerTime
from netspec.benchmark.measure import Measurement, Result
from netspec.report.tables import Table, format_bytes


def seconds(amount: float) -> str:
    """`1.23 ms`: three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if amount >= size * 0.9995:
            return f"{amount / size:.3g} {unit}" if amount / size < 999.5 else f"{amount / size:.0f} {unit}"
    return f"{amount * 1e6:.3g} µs"


def text(found: Measurement) -> str:
    """What people read."""
    lines = [_head(found), "", _runtimes(found).text()]
    lines += ["", *_remarks(found)]
    if found.layers:
        lines += ["", _layers(found).text()]
    return "\n".join(lines)


def _head(found: Measurement) -> str:
    inputs = ", ".join(f"{name} {list(shape)}" for name, shape in found.inputs.items())
    threads = found.problem.threads
    return (
        f"{found.name}: {inputs}, {found.problem.dtype}, {threads} thread{'s' * (threads > 1)}, "
        f"{found.macs:,} multiply-adds; {found.machine['processor']}"
    )


def _runtimes(found: Measurement) -> Table:
    table = Table(
        ("runtime", "min", "p50", "p90", "p99", "mean", "rows/s", "GFLOP/s", "memory", "alone", "ratio"),
        "lrrrrrrrrrr",
    )
    for result in found.results:
        times = result.times
        table.add(
            f"{result.name} {result.version}",
            *(seconds(t) for t in (times.minimum, times.p50, times.p90, times.p99, times.mean)),
            f"{found.rows / times.mean:.4g}",
            f"{gflops(found, result):.3g}" if found.macs else "",
            "" if result.memory_bytes is None else format_bytes(result.memory_bytes),
            "" if result.alone is None else seconds(result.alone),
            "" if result is found.ours else f"{found.ratio(result):.2f}",
        )
    return table


def gflops(found: Measurement, result: Result) -> float:
    """Twice the multiply-adds, in 1e9 a second, at the least time."""
    return 2e-9 * found.macs / result.times.minimum


def _remarks(found: Measurement) -> list[str]:
    lines = []
    for result in found.results[1:]:
        setting = result.setting or "as it comes"
        tried = ", ".join(f"{name or 'as it comes'} {seconds(t)}" for name, t in result.tried.items())
        lines.append(
            f"{result.name}: {setting}{f' (tried: {tried})' if tried else ''}; outputs differ from netspec's by "
            f"{result.difference:.1g} of the largest value ({found.tolerance:.0e} is allowed)"
        )
    for result in found.results:
        if result.failure:
            lines.append(f"{result.name} in a process of its own: {result.failure}")
    lines.append(f"netspec plans {format_bytes(found.planned_bytes)} for buffers, weights and constants")
    if len(found.results) > 1:
        lines.append("ratio: its min / netspec's min, above 1 netspec is faster")
    if found.layers and len(found.results) > 1:
        lines.append(
            "layers: least times one by one; torch's have some µs of interpretation on top each, ONNX Runtime's "
            "profile counts whole µs"
        )
    if any(result.alone is not None for result in found.results):
        lines.append("memory, alone: peak and min in a process of its own")
    return lines


def _layers(found: Measurement) -> Table:
    runtimes = [result.name for result in found.results]
    table = Table(
        ("layer", "type", "output", *runtimes, "share", "GFLOP/s"), "lll" + "r" * len(runtimes) + "rr"
    )
    total = sum(layer.seconds.get("netspec", 0.0) for layer in found.layers)
    for layer in found.layers:
        table.add(
            layer.name, layer.type, layer.output,
            *(seconds(layer.seconds[r]) if r in layer.seconds else "" for r in runtimes),
            f"{100 * _share(layer, total):.1f}%", _rate(layer),
        )  # fmt: skip
    table.rule()
    sums = [sum(layer.seconds.get(r, 0.0) for layer in found.layers) for r in runtimes]
    table.add("sum", "", "", *map(seconds, sums), "", "")
    return table


def _share(layer: LayerTime, total: float) -> float:
    return layer.seconds.get("netspec", 0.0) / total if total else 0.0


def _rate(layer: LayerTime) -> str:
    rate = layer.gflops("netspec")
    return "" if rate is None else f"{rate:.3g}"


def to_json(found: Measurement) -> dict[str, Any]:
    """All figures; times in seconds, memory in bytes."""
    problem = found.problem
    total = sum(layer.seconds.get("netspec", 0.0) for layer in found.layers)
    return {
        "name": found.name,
        "file": problem.file,
        "inputs": {name: list(shape) for name, shape in found.inputs.items()},
        "dtype": problem.dtype,
        "precision": problem.precision or "high",
        "device": problem.device,
        "threads": problem.threads,
        "macs": found.macs,
        "tolerance": found.tolerance,
        "planned_bytes": found.planned_bytes,
        "runtimes": [_result(found, result) for result in found.results],
        "layers": [
            {
                "name": layer.name,
                "type": layer.type,
                "output": layer.output,
                "macs": layer.macs,
                "seconds": dict(layer.seconds),
                "share": _share(layer, total),
                "gflops": layer.gflops("netspec"),
            }
            for layer in found.layers
        ],
        "machine": found.machine,
    }


def _result(found: Measurement, result: Result) -> dict[str, Any]:
    times = result.times
    return {
        "name": result.name,
        "version": result.version,
        "setting": result.setting,
        "tried": result.tried,
        "runs": times.runs,
        "min": times.minimum,
        "p50": times.p50,
        "p90": times.p90,
        "p99": times.p99,
        "mean": times.mean,
        "rows_per_second": found.rows / times.mean,
        "gflops": gflops(found, result) if found.macs else None,
        "ratio": found.ratio(result),
        "difference": result.difference,
        "memory_bytes": result.memory_bytes,
        "alone": result.alone,
    }
