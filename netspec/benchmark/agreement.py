"""Whether two runtimes compute the same: asked before any time is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netspec.diagnostics import InputError

TOLERANCE = 1e-3
"""Largest allowed difference, as a part of the largest value of the output."""


class Disagreement(InputError):
    """Outputs differ by more than the tolerance."""


def difference(expected: Mapping[str, Any], found: Mapping[str, Any], title: str, tolerance: float) -> float:
    """The largest difference of all outputs, each as a part of its largest expected value.

    Integers and truth values must be equal, NaN and infinities stand at the same places.
    Raises `Disagreement`.
    """
    largest = 0.0
    for name, wanted in expected.items():
        got = found.get(name)
        if got is None or got.shape != wanted.shape or got.dtype != wanted.dtype:
            what = "nothing" if got is None else f"{list(got.shape)} {got.dtype}"
            raise Disagreement(
                f"output {name}: netspec gives {list(wanted.shape)} {wanted.dtype}, {title} gives {what}"
            )
        apart = _apart(wanted, got)
        if not apart <= tolerance:
            raise Disagreement(
                f"output {name}: netspec and {title} differ by {apart:.2g} of the largest value, "
                f"{tolerance:.2g} is allowed (--tolerance): not timed"
            )
        largest = max(largest, apart)
    return largest


def _apart(wanted: Any, got: Any) -> float:
    import numpy as np

    if not wanted.size:
        return 0.0
    if wanted.dtype.kind not in "fc":
        return 0.0 if np.array_equal(wanted, got) else float("inf")
    finite = np.isfinite(wanted)
    if not np.array_equal(finite, np.isfinite(got)):
        return float("inf")
    if not np.array_equal(wanted[~finite], got[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    wide = np.complex128 if wanted.dtype.kind == "c" else np.float64
    a, b = wanted[finite].astype(wide), got[finite].astype(wide)
    scale = float(np.abs(a).max())
    apart = float(np.abs(a - b).max())
    return apart / scale if scale > 0 else (0.0 if apart == 0 else float("inf"))
