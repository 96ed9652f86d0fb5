"""The clock: contenders take turns in one process, in short blocks, many times.

Machines drift: another program starts, the clock speed changes. Turns in blocks of about a tenth of a
second let everybody meet the same weather; the order rotates, so that nobody always follows the same
neighbour. The first call of a block is not counted: the caches still hold the neighbour's weights. With
more than one thread there is a short pause before a block, because the pools of OpenBLAS, OpenMP and ONNX
Runtime keep turning for some milliseconds after their last job and would take a core from whoever comes next.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netspec.benchmark.contender import Contender

BLOCK = 0.1
"""Seconds of a turn."""
PAUSE = 0.04
"""Seconds before a turn with several threads: OpenBLAS gives up its processor after 26 ms at 2.6 GHz."""
LEAST = 3
"""Calls that are timed at least, however long they take."""
WARM = 1.0
"""Seconds after which a contender is warm, whatever the number of calls asked for."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: calls that warm up, then `runs` timed calls, or as many as `seconds` hold."""

    seconds: float = 2.0
    runs: int | None = None
    warmup: int = 3


def measure(
    contenders: Sequence[Contender], effort: Effort, threads: int, turn: Callable[[], None] | None = None
) -> list[list[float]]:
    """Seconds of every timed call, a list for each contender; `turn` is called after each block."""
    gc.collect()
    expected = [_warm(contender, effort.warmup) for contender in contenders]
    samples: list[list[float]] = [[] for _ in contenders]
    order = list(range(len(contenders)))
    while any(not _enough(samples[i], effort) for i in order):
        for i in order:
            if _enough(samples[i], effort):
                continue
            if threads > 1:
                time.sleep(PAUSE)
            left = effort.runs - len(samples[i]) if effort.runs is not None else None
            samples[i] += _block(contenders[i], expected[i], left)
            if turn is not None:
                turn()
        order = order[1:] + order[:1]
    return samples


def _enough(samples: Sequence[float], effort: Effort) -> bool:
    if effort.runs is not None:
        return len(samples) >= effort.runs
    return len(samples) >= LEAST and sum(samples) >= effort.seconds


def _warm(contender: Contender, calls: int) -> float:
    """Seconds that a call takes by now."""
    taken = total = 0.0
    with contender.scope():
        for number in range(max(calls, 1) + 1):
            start = time.perf_counter()
            contender.call()
            taken = time.perf_counter() - start
            total += taken
            if number and total > WARM:
                break
    return taken


def _block(contender: Contender, expected: float, left: int | None) -> list[float]:
    """The timed calls of one turn."""
    clock, call = time.perf_counter, contender.call
    count = max(1, round(BLOCK / max(expected, 1e-7)))
    count = count if left is None else min(count, left)
    samples = []
    gc.disable()  # as timeit does: a collection would fall on whoever happens to run
    try:
        with contender.scope():
            if expected < BLOCK:
                call()
            for _ in range(count):
                start = clock()
                call()
                samples.append(clock() - start)
    finally:
        gc.enable()
    return samples
