"""Who is called how often and in which order; the clock itself is not tested."""

from __future__ import annotations

import gc

import pytest

from netspec.benchmark import rounds
from netspec.benchmark.contender import Contender
from netspec.benchmark.rounds import Effort, measure


def contender(name: str, calls: list[str]) -> Contender:
    return Contender(name, "1", "", lambda: calls.append(name), lambda result: {})


def test_runs_are_counted_and_warm_up_is_not() -> None:
    calls: list[str] = []
    samples = measure([contender("a", calls), contender("b", calls)], Effort(runs=7, warmup=4), 1)
    assert [len(taken) for taken in samples] == [7, 7]
    assert all(taken > 0 for each in samples for taken in each)
    # warm-up and one more to see how long a call takes, the first of the block, seven timed
    assert calls.count("a") == calls.count("b") == 5 + 1 + 7


def test_turns_rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "BLOCK", 0.0)  # blocks of one call
    calls: list[str] = []
    names = "abc"
    measure([contender(name, calls) for name in names], Effort(runs=6, warmup=1), 1)
    assert "".join(calls) == "aabbcc" + "abc" + "bca" + "cab" + "abc" + "bca" + "cab"


def test_seconds_hold_at_least_some_calls() -> None:
    calls: list[str] = []
    (samples,) = measure([contender("a", calls)], Effort(seconds=0.0), 1)
    assert len(samples) >= rounds.LEAST


def test_garbage_is_collected_again_afterwards_even_if_a_call_fails() -> None:
    count = 0

    def call() -> None:
        nonlocal count
        count += 1
        if count > 4:
            raise RuntimeError("no more")

    broken = Contender("a", "1", "", call, lambda result: {})
    with pytest.raises(RuntimeError):
        measure([broken], Effort(runs=5, warmup=1), 1)
    assert gc.isenabled()
