"""Resampling with torch's coordinate rules (torch.nn.functional.interpolate).

Source: ATen/native/UpSample.h. Positions are computed in float32, or in float64 for arrays of that width.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import compact, scratch, sequence, viewed
from netspec.backends.numpy.pooling import adaptive_average
from netspec.backends.numpy.registry import kernel
from netspec.operations import Resize

CUBIC = -0.75
"""torch's coefficient A of cubic convolution."""

SMALL_PLANE = 128
"""Up to this height plus width of the output, torch's nearest has its own rule (see `_samples`)."""

Samples = list[tuple[Array, "Array | None"]]
"""What is read along one axis: places (out,) and their weights (out,); weight None is 1."""


@kernel(Resize)
def resize(op: Resize, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x (n, c, *s) -> (n, c, *s'), last axis first."""
    (x,), (out,) = inputs, outputs
    if out.size == 0:
        return sequence()
    if op.mode == "area":
        return adaptive_average(x, out, context)
    small = x.ndim == 4 and sum(out.shape[2:]) <= SMALL_PLANE
    samples = [
        _samples(op, x.shape[axis], out.shape[axis], op.scales[axis - 2], out.dtype, small)
        for axis in range(2, x.ndim)
    ]
    if (repeated := _repetition(samples, x, out)) is not None:
        return repeated
    source, before = compact(context, "x", x)
    steps: list[Kernel] = []
    for axis in reversed(range(2, x.ndim)):
        shape = (*x.shape[:axis], *out.shape[axis:])
        target = scratch(context, f"axis{axis}", shape, out.dtype)
        steps += _resample(samples[axis - 2], axis, source, target, context)
        source = target
    return sequence(before, steps, [partial(np.copyto, out, source)])


def _resample(samples: Samples, axis: int, source: Array, target: Array, context: Context) -> list[Kernel]:
    """target = sum of weight * source[places] along `axis`."""
    steps: list[Kernel] = []
    for number, (places, weight) in enumerate(samples):
        taken = scratch(context, "taken", target.shape, target.dtype) if number else target
        steps.append(partial(source.take, places, axis, taken, "clip"))
        if weight is not None:
            spread = weight.reshape(-1, *(1 for _ in target.shape[axis + 1 :]))
            steps.append(partial(np.multiply, taken, spread, taken))
        if number:
            steps.append(partial(np.add, target, taken, target))
    return steps


def _repetition(samples: Sequence[Samples], x: Array, out: Array) -> Kernel | None:
    """Each element repeated a whole number of times along each axis: a copy for each column's repeats."""
    shape: list[int] = list(out.shape[:2])
    index: list[Any] = [slice(None), slice(None)]
    for axis, parts in enumerate(samples, 2):
        (places, weight), *more = parts
        times, rest = divmod(out.shape[axis], x.shape[axis])
        if more or weight is not None or rest:
            return None
        if not np.array_equal(places, np.repeat(np.arange(x.shape[axis]), times)):
            return None
        shape += [x.shape[axis], times]
        index += [slice(None), None]
    target = viewed(out, shape)  # (n, c, s, times, ...)
    if target is None:
        return None
    source = x[tuple(index)][..., 0]
    return sequence([partial(np.copyto, target[..., i], source) for i in range(shape[-1])])


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
