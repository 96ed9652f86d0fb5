"""What a check of the CUDA path is: where it runs, what it finds, how results are compared.

Part of `gpu_report.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from docs.gpu.child import Plain, summary
from docs.gpu.watch import NO_GRAPH, watched
from netspec.runtime.network import Network

GRAPH = "calls again, as a graph: the same bits"
"""The line of the table that replayed graphs are counted in."""

OWN = "own "
"""How groups of checks begin that run as on a machine without cuDNN: convolutions by the kernels of this project."""


@dataclass(frozen=True)
class Check:
    """One thing that is run. group: what kind of thing; kind: a family of cases, or how a network is loaded."""

    group: str
    kind: str
    name: str

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.name} [{self.kind}]" if self.kind else self.name


@dataclass
class Finding:
    """One verdict. apart: the largest difference as a part of what is allowed; error: what is wrong."""

    part: str
    apart: float | None = None
    error: str | None = None


@dataclass
class Outcome:
    """What a check found. started: kernels and pieces of the driver that it used; lost: the device is gone."""

    findings: list[Finding] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    seconds: float = 0.0
    lost: bool = False


class Wrong(Plain):
    """A result is not what it should be."""


Group = Callable[[Check, "Place"], Iterator[Finding]]
"""What runs a check and says what it finds, step by step."""


# --- where they run ---------------------------------------------------------------------------------


class Place:
    """The device of the checks."""

    def __init__(self, name: str, host: bool) -> None:
        self.name, self.host = ("cuda" if host else name), host

    @contextmanager
    def opened(self, library: bool = True) -> Iterator[set[str]]:
        """Around one check: what it starts is put into the set. library: whether cuDNN may be used."""
        from netspec.backends.cupy import device as opening

        started: set[str] = set()
        if not self.host:
            real = opening.opened(int(self.name[5:] or 0), None)
            cudnn = real.cudnn
            real.cudnn = cudnn if library else None
            try:
                with watched(real, started.add):
                    yield started
            finally:
                real.cudnn = cudnn
            return
        import pytest

        from tests.backends.cupy.host import HostDevice

        device = HostDevice()  # keeps all memory that it gives out, so each check has one of its own
        with pytest.MonkeyPatch.context() as patch, watched(device, started.add):
            patch.setattr(opening, "opened", lambda _, limit: device if limit is None else HostDevice(limit))
            yield started
        device.check_fences()

    def alive(self) -> bool:
        """Whether the device still answers: after some errors nothing works in this process any more."""
        if self.host:
            return True
        import cupy

        try:
            cupy.cuda.runtime.deviceSynchronize()
        except Exception:
            return False
        return True


def run(check: Check, group: Group, part: str, place: Place) -> Outcome:
    """One check, whatever happens in it. part: the line of the table for an error that was not expected."""
    outcome, own = Outcome(), check.group.startswith(OWN)
    start = time.perf_counter()
    try:
        with place.opened(library=not own) as started:
            try:
                for finding in group(check, place):
                    outcome.findings.append(finding)
            finally:
                refused = [each for each in started if each.startswith(NO_GRAPH)]
                outcome.findings += [Finding(GRAPH, error=each) for each in refused]
                outcome.started = sorted(started.difference(refused))
    except Exception as error:
        outcome.findings.append(Finding(part, error=summary(error)))
        outcome.lost = not place.alive()
    outcome.seconds = time.perf_counter() - start
    for finding in outcome.findings:
        finding.part += " (without cuDNN)" * own
    return outcome


# --- comparisons ------------------------------------------------------------------------------------


def widened(array: Any) -> Any:
    """float16 and float32 as float64, anything else as it is."""
    return array.astype(np.float64) if array.dtype in (np.float16, np.float32) else array


def excess(found: Any, expected: Any, tolerance: float, exact_type: bool = True) -> float:
    """The largest difference as a part of what the tolerance, relative and absolute, allows. Raises `Wrong`."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape or (exact_type and found.dtype != expected.dtype):
        raise Wrong(f"{list(found.shape)} {found.dtype}, not {list(expected.shape)} {expected.dtype}")
    if expected.dtype.kind in "biu":
        different = int((found != expected).sum())
        if different:
            raise Wrong(f"{different} of {found.size} whole numbers differ")
        return 0.0
    wide = np.complex128 if "c" in found.dtype.kind + expected.dtype.kind else np.float64
    found, expected = found.astype(wide), expected.astype(wide)
    finite = np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True):
        raise Wrong("NaN or infinities are at other places")
    if not finite.any():
        return 0.0
    found, expected = found[finite], expected[finite]
    apart = np.abs(found - expected) / (tolerance * (1 + np.abs(expected)))
    return float(apart.max()) if not np.isnan(apart).any() else float("inf")


def verdict(part: str, apart: float, note: str = "") -> Finding:
    """A finding from a difference as a part of what is allowed."""
    return Finding(part, apart, None if apart <= 1 else f"{note}differs by {apart:.3g} times what is allowed")


def relative(found: Mapping[str, Any], expected: Mapping[str, Any], same: float, mean: bool = False) -> float:
    """The largest difference of all outputs, each as a part of its largest number. Raises `Wrong`.

    same: part of the whole numbers that must be equal; mean: the root of the mean square of the differences.
    """
    largest = 0.0
    for name, wanted in expected.items():
        got = found[name]
        if got.shape != wanted.shape:
            raise Wrong(f"output {name}: {list(got.shape)}, not {list(wanted.shape)}")
        if wanted.dtype.kind in "biu":
            equal = float((got == wanted).mean())
            if equal < same:
                raise Wrong(f"output {name}: only {equal:.1%} of the whole numbers are equal")
            continue
        apart = np.abs(got.astype(np.float64) - wanted)
        if not np.isfinite(apart).all():
            raise Wrong(f"output {name}: not finite")
        scale = float(np.abs(wanted).max()) or 1.0
        size = float(np.sqrt(np.square(apart).mean())) if mean else float(apart.max())
        largest = max(largest, size / scale)
    return largest


def same_bits(part: str, first: Mapping[str, Any], second: Mapping[str, Any], what: str) -> Finding:
    """Whether two calls gave the same."""
    for name, array in first.items():
        if np.asarray(array).tobytes() != np.asarray(second[name]).tobytes():
            return Finding(part, error=f"output {name}: {what}")
    return Finding(part)


def again(
    call: Callable[[Network], Mapping[str, Any]],
    net: Network,
    found: Mapping[str, Any],
    load: Callable[..., Network],
) -> Finding:
    """The second call, which captures a graph and starts it, and the third.

    Libraries may give other bits from run to run unless they are told not to: where bits differ, they must not
    where `deterministic` is asked for.
    """
    for _ in range(2):
        finding = same_bits(GRAPH, found, call(net), "a graph gives other bits")
        if finding.error is not None:
            break
    else:
        return finding
    strict = load(deterministic=True)
    first = call(strict)
    return same_bits(GRAPH, first, call(strict), "a graph gives other bits, deterministic or not")
