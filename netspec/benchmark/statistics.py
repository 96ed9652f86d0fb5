"""Timings: what is kept of many calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Statistics:
    """Seconds a call: the least, percentiles, the mean; `runs` calls were timed."""

    runs: int
    minimum: float
    p50: float
    p90: float
    p99: float
    mean: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Statistics:
        """Of at least one sample."""
        ordered = sorted(samples)
        p50, p90, p99 = (percentile(ordered, share) for share in (0.5, 0.9, 0.99))
        return cls(len(ordered), ordered[0], p50, p90, p99, sum(ordered) / len(ordered))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share of the sorted samples lies, interpolated as numpy.percentile does."""
    place = (len(ordered) - 1) * share
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
