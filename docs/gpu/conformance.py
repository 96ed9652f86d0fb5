"""Does the CUDA path compute what it should? Every layer case, every refusal, whole networks, the device itself.

Part of `gpu_report.py`. Checks run one after the other in a process of their own; where one loses the device's
context or ends the process, the next one begins in a new process. With `host` the device is this machine's
processor and the kernels are compiled by g++ (tests/backends/cupy/host.py), which proves these checks and the
kernels' arithmetic, and nothing that needs a driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from docs.gpu import driver, layers, networks
from docs.gpu.checks import OWN, Check, Finding, Group, Outcome, Place, run
from docs.gpu.child import Child, Failed
from tests.layers.test_values import CASES, REJECTIONS

GROUPS: dict[str, tuple[Group, str]] = {
    "case": (layers.one_case, layers.TORCH),
    "narrow": (layers.narrow_case, layers.NARROW),
    "refusal": (layers.refusal, layers.REFUSED),
    "network": (networks.network, "networks: run at all"),
    "same bits": (networks.repeated, networks.SAME),
    "strict": (layers.strict, layers.STRICTLY),
    "device": (driver.device, driver.DRIVER),
}
"""Group -> what runs a check of it, and the line of the table that an unexpected error is counted in."""

GROUPS |= {OWN + name: GROUPS[name] for name in ("case", "narrow", "network", "strict")}

RESTARTS = 40
"""Processes that may be lost before the rest is given up."""


def checks(quick: bool, host: bool, chosen: Sequence[Check] = ()) -> list[Check]:
    """All checks; quick: some, and those that are `chosen`."""
    named = networks.SMALL if quick else networks.NETWORKS
    found = [Check("case", family, case.id) for family, case in CASES[:: 12 if quick else 1]]
    found += [Check("narrow", f"{family}, {dtype}", case.id) for dtype in layers.NARROW_TOLERANCE
              for family, case in CASES[:: 24 if quick else 1] if layers.narrows(case)]  # fmt: skip
    found += [Check("refusal", family, case.id) for family, case in REJECTIONS[:: 12 if quick else 1]]
    found += [Check("network", kind, name) for name in named for kind in networks.KINDS]
    found += [Check("strict", how, name) for name in layers.STRICT for how in ("", "autotuned")]
    found += [Check("device", "", name) for name in driver.DEVICE]
    repeated = [name for name in networks.DETERMINISTIC if name in named]
    found += [Check("same bits", kind, name) for name in repeated for kind in networks.KINDS]
    if not host:  # which has no cuDNN anyway
        found += [Check(OWN + check.group, check.kind, check.name) for check in found if _convolves(check)]
    return list(dict.fromkeys([*found, *(chosen if quick else ())]))


def _convolves(check: Check) -> bool:
    """Whether it is one that has convolutions and is also run without cuDNN."""
    return check.group in ("network", "strict") or (
        check.group in ("case", "narrow") and "convolution" in check.kind
    )


def make(given: tuple[str, bool]) -> Callable[[Check], Outcome]:
    """A child that runs checks. Raises what opening the device raises."""
    import warnings

    warnings.simplefilter("ignore")  # of layers that torch warns about, too
    place = Place(*given)
    with place.opened():
        pass
    return lambda check: run(check, *GROUPS[check.group], place)


def run_all(
    todo: Sequence[Check], device: str, host: bool, timeout: float, advance: Callable[[], None] = lambda: None
) -> list[tuple[Check, Outcome]]:
    """Every check with its outcome. Raises `Failed` where the device does not open."""
    found: list[tuple[Check, Outcome]] = []
    child = Child(make, (device, host), timeout)
    lost = 0
    try:
        for number, check in enumerate(todo):
            if lost > RESTARTS:
                rest = [Finding(GROUPS[check.group][1], error="not run: too many processes were lost before")]
                found += [(each, Outcome(rest)) for each in todo[number:]]
                break
            try:
                outcome: Outcome = child.ask(check, timeout)
            except Failed as failed:
                outcome = Outcome([Finding(GROUPS[check.group][1], error=str(failed))], lost=True)
            found.append((check, outcome))
            if outcome.lost:
                lost += 1
                child.close()
                child = Child(make, (device, host), timeout)
            advance()
    finally:
        child.close()
    return found


@dataclass
class Line:
    """A line of the table."""

    part: str
    count: int = 0
    failed: int = 0
    largest: float | None = None


def lines(outcomes: Iterable[tuple[Check, Outcome]]) -> list[Line]:
    """The table: checks by part."""
    found: dict[str, Line] = {}
    for _, outcome in outcomes:
        for finding in outcome.findings:
            line = found.setdefault(finding.part, Line(finding.part))
            line.count += 1
            line.failed += finding.error is not None
            if finding.apart is not None:
                line.largest = max(line.largest or 0.0, finding.apart)
    return sorted(found.values(), key=lambda line: line.part)


def failures(outcomes: Iterable[tuple[Check, Outcome]]) -> list[str]:
    """What is wrong, by name."""
    return [
        f"{finding.part}: {check.title}: {finding.error}"
        for check, outcome in outcomes
        for finding in outcome.findings
        if finding.error is not None
    ]
