"""The range of an output's values, gathered a block at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

BLOCK = 1 << 22
"""Values that are looked at together."""


@dataclass(slots=True)
class Range:
    """The smallest and the largest number seen (None: there was none), and how many were NaN."""

    low: Any = None
    high: Any = None
    nan: int = 0

    def add(self, array: Any) -> None:
        """Look at further values; complex ones have no order and are passed over."""
        import numpy as np

        if array.dtype.kind == "c" or not array.size:
            return
        if array.dtype.kind == "f":
            array = array[~np.isnan(array)] if (missing := int(np.isnan(array).sum())) else array
            self.nan += missing
        if array.size:
            low, high = array.min().item(), array.max().item()
            self.low = low if self.low is None else min(low, self.low)
            self.high = high if self.high is None else max(high, self.high)

    def merge(self, other: Range) -> None:
        """The values of another range."""
        self.nan += other.nan
        if other.low is not None:
            self.low = other.low if self.low is None else min(other.low, self.low)
            self.high = other.high if self.high is None else max(other.high, self.high)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; JSON has no infinity, so one is a text."""
        low, high = (str(n) if isinstance(n, float) and math.isinf(n) else n for n in (self.low, self.high))
        return {"min": low, "max": high, "nan": self.nan}

    def cells(self) -> tuple[str, str]:
        """The two numbers as a table shows them."""
        low, high = ("" if n is None else _number(n) for n in (self.low, self.high))
        return low, high + (f" ({self.nan} NaN)" if self.nan else "")


def range_of(array: Any) -> Range:
    """The range of a whole array; of one that is mapped, no more than a block is ever in memory."""
    from netspec.runtime.streaming import release

    found = Range()
    if array.ndim == 0:
        found.add(array)
        return found
    step = max(BLOCK * len(array) // max(array.size, 1), 1)
    for start in range(0, len(array), step):
        found.add(array[start : start + step])
        release(array)
    return found


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
