"""One contender in a process of its own: its peak memory, and its time with nobody beside it.

    python -m netspec.benchmark.alone < job.json

Peak memory is the highest resident size during three calls and after the network was built, less the
resident size with the libraries loaded and no network read: weights, activations and workspace together.
It is read from Linux's /proc; elsewhere there is none.
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
TIMEOUT = 600


def ask(job: Mapping[str, Any]) -> dict[str, Any]:
    """The child's answer: `memory_bytes` (or None) and `minimum` seconds; where it failed, `error`."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "netspec.benchmark.alone"],
            input=json.dumps(job), capture_output=True, text=True, timeout=TIMEOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": f"it took more than {TIMEOUT} s"}
    except OSError as error:
        return {"error": f"it did not start: {error.strerror or error}"}
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return {"error": said[-1] if said else f"it ended with {done.returncode}"}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def work(job: Mapping[str, Any]) -> dict[str, Any]:
    """What the child does."""
    from netspec.benchmark.peers import ours, peer
    from netspec.benchmark.problem import Problem, pose
    from netspec.benchmark.rounds import Effort, measure

    name = job["contender"]
    if name == "netspec":
        import numpy as np

        np.ones((64, 64), np.float32) @ np.ones((64, 64), np.float32)
    else:
        peer(name).prime()
    level = resident("VmRSS")
    problem = Problem(**job["problem"])
    net, task = pose(problem)
    if name == "netspec":
        contender = ours(net, task)
    else:
        contender = peer(name).make(task, job["setting"])
    backend = net._backend
    del net, task
    _trim()
    _write(CLEAR, "5")  # forgets the highest size so far
    with contender.scope():
        for _ in range(3):
            contender.call()
    peak = resident("VmHWM")
    effort = Effort(job["seconds"], job["runs"], 1)
    (samples,) = measure([contender], effort, problem.threads)
    memory = None if peak is None or level is None else max(peak - level, 0)
    if name == "netspec" and (held := backend.held_bytes()) is not None:
        memory = held
    return {"memory_bytes": memory, "minimum": min(samples)}


def resident(field: str) -> int | None:
    """VmRSS or VmHWM of this process in bytes."""
    try:
        lines = STATUS.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))
    except (OSError, StopIteration, ValueError):
        return None


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError:
        return


def _trim() -> None:
    """Give freed memory back to the system, so that what building needed does not count."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


if __name__ == "__main__":
    print(json.dumps(work(json.load(sys.stdin))))
