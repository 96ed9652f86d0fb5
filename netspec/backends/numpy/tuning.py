"""`autotune`: the forms of a convolution are timed on this machine, and the fastest is remembered.

What was measured is kept in a file in the user's cache folder, so that it is measured once a shape and not
once a process, and so that later runs choose the same forms and give the same bits.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from netspec.backends.base import Kernel

RUNS = 7
"""Runs of each form; the fastest counts."""

LONG = 0.25
"""Seconds after which no further run of a form is timed."""


def fastest(key: str, forms: Sequence[tuple[str, Callable[[], Kernel]]]) -> int:
    """Which of the named forms is the fastest; `forms` bind a kernel to arrays of their own.

    `key` says everything that the times depend on, except for the machine.
    """
    known = _measured()
    names = [name for name, _ in forms]
    found = known.get(key)
    if found in names:
        return names.index(found)
    times = [_seconds(make()) for _, make in forms]
    best = min(range(len(forms)), key=times.__getitem__)
    known[key] = names[best]
    _save(known)
    return best


def _seconds(kernel: Kernel) -> float:
    best, spent = float("inf"), 0.0
    kernel()
    for _ in range(RUNS):
        start = time.perf_counter()
        kernel()
        taken = time.perf_counter() - start
        best, spent = min(best, taken), spent + taken
        if spent > LONG:
            break
    return best


def path() -> Path:
    """The file of this machine's choices: one for each processor model and version of NumPy."""
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    machine = f"{platform.machine()} {_processor()} {os.cpu_count()} numpy {np.__version__}"
    return Path(folder) / "netspec" / f"autotune-{hashlib.sha256(machine.encode()).hexdigest()[:16]}.json"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


@lru_cache(maxsize=1)
def _measured() -> dict[str, str]:
    """What the file says; nothing if it cannot be read."""
    try:
        found = json.loads(path().read_text())
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _save(known: dict[str, str]) -> None:
    """Written beside and renamed; a cache folder that cannot be written is no error."""
    beside = path().with_suffix(f".{os.getpid()}")
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(known, indent=0, sort_keys=True))
        beside.replace(path())
    except OSError:
        beside.unlink(missing_ok=True)
