"""Where resampling reads, with torch's coordinate rules (torch.nn.functional.interpolate).

Source: ATen/native/UpSample.h. Positions are computed in float32, or in float64 for arrays of that width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.backends.base import Array
from netspec.operations import Resize

CUBIC = -0.75
"""torch's coefficient A of cubic convolution."""

SMALL_PLANE = 128
"""Up to this height plus width of the output, torch's nearest has its own rule (see `_samples`)."""

Samples = list[tuple[Array, "Array | None"]]
"""What is read along one axis: places (out,) and their weights (out,); weight None is 1."""


def samples(op: Resize, sizes: Sequence[int], counts: Sequence[int], dtype: Any) -> list[Samples]:
    """The samples of each spatial axis: `sizes` of the input, `counts` of the output; weights are of `dtype`."""
    small = len(sizes) == 2 and sum(counts) <= SMALL_PLANE
    axes = zip(sizes, counts, op.scales, strict=True)
    return [_samples(op, size, count, scale, dtype, small) for size, count, scale in axes]


def unmoved(parts: Samples, size: int) -> bool:
    """Whether every output along an axis of `size` is the input at its place."""
    return parts[0][1] is None and np.array_equal(parts[0][0], np.arange(size))


def _samples(op: Resize, size: int, count: int, scale: float | None, dtype: Any, small: bool) -> Samples:
    """Where along an axis of `size` each of `count` outputs reads, and with which weights.

    In small planes torch's nearest looks at the sizes before the scale: equal and doubled sizes are
    copied and repeated, even where a scale such as 1.05 or 2.3 says otherwise.
    """
    if op.mode == "nearest" and small and count in (size, 2 * size):
        return [(np.arange(count) // (count // size), None)]
    real: Any = np.float64 if dtype in (np.float64, np.complex128) else np.float32
    ratio = real(1.0 / scale) if scale is not None and scale > 0 else real(size) / real(count)
    place = np.arange(count, dtype=real)
    if op.mode in ("nearest", "nearest-exact"):
        half = real(0.5 if op.mode == "nearest-exact" else 0)
        return [(np.minimum(np.floor((place + half) * ratio).astype(np.int64), size - 1), None)]
    if op.align_corners:
        ratio = real(size - 1) / real(count - 1) if count > 1 else real(0)
        position = place * ratio
    else:
        position = (place + real(0.5)) * ratio - real(0.5)
    if op.mode == "linear":
        if size == count:
            return [(np.arange(count), None)]
        position = np.maximum(position, real(0))
        low = np.minimum(position.astype(np.int64), size - 1)
        part = np.clip(position - low.astype(real), 0, 1).astype(dtype)
        high = np.minimum(low + 1, size - 1)
        return [(low, 1 - part), (high, part)]
    low = np.floor(position).astype(np.int64)
    part = (position - low.astype(real)).astype(dtype)
    return [
        (np.clip(low + step, 0, size - 1), weight)
        for step, weight in zip(range(-1, 3), _cubic_weights(part), strict=True)
    ]


def _cubic_weights(t: Array) -> list[Array]:
    """Weights of the places at -1, 0, 1 and 2 around a point t in [0, 1) (Keys, 1981)."""

    def near(d: Array) -> Array:
        return ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1

    def far(d: Array) -> Array:
        return ((CUBIC * d - 5 * CUBIC) * d + 8 * CUBIC) * d - 4 * CUBIC

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]
