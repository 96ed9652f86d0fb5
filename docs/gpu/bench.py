"""How fast is the CUDA path, beside torch eager, torch.compile and ONNX Runtime on the same device?

Part of `gpu_report.py`. The contenders of a row are processes that hold their network ready and take turns, in short
blocks and rotating order, many times; while one computes the others wait. Two figures of each: `one`, a call that is
waited for before the next begins, and `queued`, the time a call takes when many are begun in a row and results are
taken as late as each runtime allows.

Outputs are compared before anything is timed. Memory is what the device's driver says is taken, after the calls that
warm up less before the network was built (context and libraries were there by then), with nobody else building; and
beside it what the runtime's own counters say: the pool of netspec, the allocator's peak in a call of torch.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from docs.gpu.child import Child, Failed
from docs.gpu.contenders import CONTENDERS, KINDS, Job, make, probe
from netspec.benchmark.agreement import difference
from netspec.diagnostics import InputError

NETWORKS: dict[str, tuple[str, tuple[int, ...]]] = {
    "LeNet-5": ("lenet5", (1, 28, 28)),
    "ResNet-18": ("resnet18", (3, 224, 224)),
    "ResNet-50": ("resnet50", (3, 224, 224)),
    "VGG16": ("vgg16", (3, 224, 224)),
    "MobileNetV2": ("mobilenet_v2", (3, 224, 224)),
    "U-Net 256x256": ("unet", (3, 256, 256)),
    "DCGAN generator": ("dcgan_generator", (100, 1, 1)),
}
"""Title -> file in configs/, and the shape of one input."""

BATCHES = (1, 8, 64)
QUICK_NETWORKS = ("LeNet-5", "ResNet-18")
QUICK_BATCHES = (1, 64)
DRY_BATCHES = (1, 8)
"""64 pictures at a time tell nothing on a processor."""

AGREEMENT = {"float32 strict": 1e-3, "TF32": 4e-2, "float16": 8e-2}
"""Largest difference of outputs, as a part of the largest number, with which two runtimes are timed beside each other;
MobileNetV2 on made-up weights needs the width (SENSITIVE in gpu/conformance.py)."""

SAME_CLASSES = 0.97
"""Part of whole numbers (U-Net's mask) that must be equal in kinds that round to fewer bits than float32."""

FIGURES = ("one", "queued")
BLOCK_MS, ROUNDS, QUICK_ROUNDS = 100.0, 12, 3
"""Milliseconds of a turn, and turns of each contender."""
BUILD_SECONDS, CALL_SECONDS = 3600.0, 600.0
"""Longest that one is waited for: torch.compile tries many kernels."""


@dataclass(frozen=True)
class Target:
    """How many times a peer's time netspec's must go into it."""

    peer: str
    batches: tuple[int, ...]
    kinds: tuple[str, ...]
    ratio: float


TARGETS = (
    Target("torch eager", (1,), tuple(KINDS), 2.0),
    Target("torch eager", (64,), ("float32 strict",), 1.0),
    Target("torch eager", (64,), ("TF32", "float16"), 1.2),
    Target("torch.compile", BATCHES, tuple(KINDS), 0.9),
)


@dataclass
class Result:
    """One contender in one row."""

    setting: str = ""
    median: dict[str, float] = field(default_factory=dict)
    minimum: dict[str, float] = field(default_factory=dict)
    taken_bytes: int | None = None
    live_bytes: int | None = None
    apart: float | None = None
    said: list[str] = field(default_factory=list)
    error: str | None = None


@dataclass
class Row:
    """One network, batch and kind. alone: contenders were there one after the other, for want of memory."""

    network: str
    batch: int
    kind: str
    results: dict[str, Result] = field(default_factory=dict)
    alone: bool = False

    def ratio(self, peer: str, figure: str) -> float | None:
        """How many times netspec's median goes into a peer's."""
        ours, theirs = self.results.get("netspec"), self.results.get(peer)
        if ours is None or theirs is None or figure not in ours.median or figure not in theirs.median:
            return None
        return theirs.median[figure] / ours.median[figure]


class Crowded(Exception):
    """A contender found no memory, while others held theirs."""


def available(device: str) -> tuple[dict[str, str], dict[str, str]]:
    """Contender -> version of those that are here, and why the others are not."""
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in CONTENDERS:
        try:
            child = Child(probe, Job(name, "", "lenet5", (), "TF32", device), CALL_SECONDS)
        except Failed as failed:
            missing[name] = str(failed)
            continue
        try:
            versions[name] = child.ask(None, CALL_SECONDS)
        finally:
            child.close()
    return versions, missing


# --- one row ----------------------------------------------------------------------------------------


@dataclass
class Entrant:
    """A contender that is ready, in the faster of its settings."""

    name: str
    child: Child
    result: Result
    outputs: dict[str, Any]
    milliseconds: float
    samples: dict[str, list[float]] = field(default_factory=lambda: {figure: [] for figure in FIGURES})


def measure(
    title: str, batch: int, kind: str, names: Sequence[str], device: str, threads: int, rounds: int
) -> Row:
    """A row, whatever fails in it."""
    try:
        return _measured(title, batch, kind, names, device, threads, rounds, together=True)
    except Crowded:
        return _measured(title, batch, kind, names, device, threads, rounds, together=False)


def _measured(
    title: str, batch: int, kind: str, names: Sequence[str], device: str, threads: int, rounds: int, together: bool
) -> Row:  # fmt: skip
    row = Row(title, batch, kind, alone=not together)
    file, shape = NETWORKS[title]
    entrants: list[Entrant] = []
    reference: dict[str, Any] | None = None
    try:
        for name in names:
            row.results[name] = result = Result()
            jobs = [
                Job(name, setting, file, (batch, *shape), kind, device, threads)
                for setting in CONTENDERS[name].settings
            ]
            try:
                entrant = _entered(jobs, result)
            except Failed as failed:
                if failed.out_of_memory and entrants:
                    raise Crowded from None
                result.error = str(failed)
                continue
            entrants.append(entrant)
            if reference is None:
                reference = entrant.outputs
            else:
                result.apart, result.error = _compared(reference, entrant.outputs, name, kind)
            if result.error is not None or not together:
                if result.error is None:
                    _rounds([entrant], rounds)
                entrants.remove(entrant)
                entrant.child.close()
        _rounds(entrants, rounds)
    finally:
        for entrant in entrants:
            entrant.child.close()
    return row


def _entered(jobs: Sequence[Job], result: Result) -> Entrant:
    """The fastest of several settings. Raises `Failed` with the first refusal where none works."""
    best: Entrant | None = None
    refusals: list[Failed] = []
    for job in jobs:
        try:
            child = Child(make, job, BUILD_SECONDS)
        except Failed as failed:
            refusals.append(failed)
            continue
        try:
            outputs, taken, live, said = child.ask(("outputs",), CALL_SECONDS)
            once = min(child.ask(("one", 3), CALL_SECONDS))
            count = max(1, min(50, round(BLOCK_MS / max(once, 1e-3))))
            milliseconds = statistics.median(child.ask(("one", count), CALL_SECONDS))
        except Failed as failed:
            refusals.append(failed)
            continue
        except BaseException:
            child.close()
            raise
        found = Entrant(job.contender, child, result, outputs, milliseconds)
        if best is not None and best.milliseconds <= milliseconds:
            child.close()
            continue
        if best is not None:
            best.child.close()
        best = found
        result.setting, result.taken_bytes, result.live_bytes = job.setting, taken, live
        result.said = said
    if best is None:
        raise refusals[0]
    return best


def _compared(
    reference: dict[str, Any], found: dict[str, Any], name: str, kind: str
) -> tuple[float | None, str | None]:
    """The largest difference from netspec's outputs, and what is wrong with it."""
    whole = {key for key, array in reference.items() if array.dtype.kind in "biu"}
    if kind != "float32 strict":
        for key in whole:
            same = float(np.mean(reference[key] == found.get(key)))
            if same < SAME_CLASSES:
                return None, f"output {key}: only {same:.1%} of the whole numbers are netspec's: not timed"
        reference = {key: array for key, array in reference.items() if key not in whole}
    try:
        return difference(reference, found, name, AGREEMENT[kind]), None
    except InputError as error:
        return None, str(error).replace(" (--tolerance)", "")


def _rounds(entrants: Sequence[Entrant], rounds: int) -> None:
    """Turns in rotating order; one that fails is out."""
    order = list(entrants)
    for _ in range(rounds):
        for entrant in order:
            if entrant.result.error is not None:
                continue
            count = max(1, min(2000, round(BLOCK_MS / max(entrant.milliseconds, 1e-3))))
            try:
                for figure in FIGURES:
                    entrant.samples[figure] += entrant.child.ask((figure, count), CALL_SECONDS)
            except Failed as failed:
                entrant.result.error = str(failed)
        order = order[1:] + order[:1]
    for entrant in entrants:
        if entrant.result.error is None:
            for figure, samples in entrant.samples.items():
                entrant.result.median[figure] = statistics.median(samples)
                entrant.result.minimum[figure] = min(samples)


def run_all(
    cases: Iterable[tuple[str, int, str]],
    names: Sequence[str],
    device: str,
    threads: int,
    rounds: int,
    show: Callable[[str], None],
) -> list[Row]:
    """All rows, each shown when it is there; those that there are where somebody stops it."""
    found: list[Row] = []
    for title, batch, kind in cases:
        try:
            row = measure(title, batch, kind, names, device, threads, rounds)
        except KeyboardInterrupt:
            break
        found.append(row)
        show(line(row, names))
    return found


# --- tables -----------------------------------------------------------------------------------------


def head(names: Sequence[str]) -> str:
    """The first two lines of the table."""
    peers = [name for name in names if not name.startswith("netspec")]
    cells = ["network", "batch", "kind", *names, *(f"{peer} / netspec" for peer in peers)]
    return f"| {' | '.join(cells)} |\n| --- | ---: | --- |" + " --- |" * len(names) + " ---: |" * len(peers)


def line(row: Row, names: Sequence[str]) -> str:
    """A row of the table: milliseconds `one (its least) / queued`, then the ratios of both."""
    cells = [row.network, str(row.batch), row.kind]
    cells += [_cell(row.results.get(name)) for name in names]
    for peer in names:
        if not peer.startswith("netspec"):
            ratios = [row.ratio(peer, figure) for figure in FIGURES]
            cells.append(" / ".join("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios))
    return f"| {' | '.join(cells)} |"


def _cell(result: Result | None) -> str:
    if result is None:
        return "-"
    if result.error is not None:
        return "failed"
    one, queued = (result.median[figure] for figure in FIGURES)
    return f"{one:.3g} ({result.minimum['one']:.3g}) / {queued:.3g}"


def details(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Setting, memory and difference of each contender, as lines of a table."""
    found = [
        "| network | batch | kind | runtime | setting | MB taken | MB live | differs by | |",
        "| --- | ---: | --- | --- | --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        for name in names:
            result = row.results.get(name, Result(error="not run"))
            sizes = [
                "" if size is None else f"{size / 1e6:.0f}"
                for size in (result.taken_bytes, result.live_bytes)
            ]
            apart = "" if result.apart is None else f"{result.apart:.1g}"
            note = (result.error or "").replace("|", "\\|")
            if not note:
                note = "; ".join([*result.said, *(["not in turns: memory was short"] if row.alone else [])])
            cells = [row.network, str(row.batch), row.kind, name, result.setting, *sizes, apart, note]
            found.append(f"| {' | '.join(cells)} |")
    return found


def means(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Geometric means of ratios by kind and batch, as lines of a table."""
    found = ["| peer / netspec | kind | batch | one | queued |", "| --- | --- | ---: | ---: | ---: |"]
    for peer in names:
        if peer == "netspec":
            continue
        for kind in KINDS:
            for batch in sorted({row.batch for row in rows}):
                those = [row for row in rows if (row.kind, row.batch) == (kind, batch)]
                cells = []
                for figure in FIGURES:
                    ratios = [ratio for row in those if (ratio := row.ratio(peer, figure)) is not None]
                    cells.append(f"{geometric_mean(ratios):.2f} of {len(ratios)}" if ratios else "-")
                if cells != ["-", "-"]:
                    found.append(f"| {peer} | {kind} | {batch} | {' | '.join(cells)} |")
    return found


def geometric_mean(values: Sequence[float]) -> float:
    """Of at least one."""
    return math.exp(sum(map(math.log, values)) / len(values))


def missed(rows: Sequence[Row]) -> list[str]:
    """How many targets were looked at; a line for each that is missed, and for each row that netspec failed in."""
    found, looked = [], 0
    for row in rows:
        ours = row.results.get("netspec", Result(error="not run"))
        if ours.error is not None:
            found.append(f"{row.network}, batch {row.batch}, {row.kind}: netspec failed: {ours.error}")
        for target in TARGETS:
            if row.batch not in target.batches or row.kind not in target.kinds:
                continue
            for figure in FIGURES:
                ratio = row.ratio(target.peer, figure)
                looked += ratio is not None
                if ratio is not None and ratio < target.ratio:
                    found.append(
                        f"{row.network}, batch {row.batch}, {row.kind}, {figure}: {ratio:.2f} of {target.peer}, "
                        f"{target.ratio:g} wanted"
                    )
    return [f"{looked} targets looked at, {len(found)} missed or failed" + (":" if found else "."), *found]
