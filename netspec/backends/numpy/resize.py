"""Resampling with torch's coordinate rules (torch.nn.functional.interpolate).

Source: ATen/native/UpSample.h. Positions are computed in float32, or in float64 for arrays of that width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import (
    CACHE_ELEMENTS,
    Block,
    along,
    block_limit,
    blocks,
    scratch,
    sequence,
    spread,
)
from netspec.backends.numpy.pooling import adaptive_average
from netspec.backends.numpy.registry import kernel
from netspec.backends.numpy.sweep import in_memory_order
from netspec.operations import Resize

CUBIC = -0.75
"""torch's coefficient A of cubic convolution."""

SMALL_PLANE = 128
"""Up to this height plus width of the output, torch's nearest has its own rule (see `_samples`)."""

Samples = list[tuple[Array, "Array | None"]]
"""What is read along one axis: places (out,) and their weights (out,); weight None is 1."""


PERIODS = (1, 2, 3, 4)
"""Every so many outputs, the places they read are looked for as evenly spaced runs."""

SHORT_RUN = 24
"""Fewer elements than this in a run are gathered instead."""


@kernel(Resize)
def resize(op: Resize, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x (n, c, *s) -> (n, c, *s'), a block of output rows at a time, last axis first."""
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
    first, (x, out) = in_memory_order(x, out)
    moving = [axis for axis, parts in enumerate(samples, first) if not _unmoved(parts, x.shape[axis])]

    def make(block: Block) -> list[Kernel]:
        rows = [
            (places[block[first]], weight if weight is None else weight[block[first]])
            for places, weight in samples[0]
        ]
        low = min(int(places.min()) for places, _ in rows)
        high = max(int(places.max()) for places, _ in rows) + 1
        of_axis = [[(places - low, weight) for places, weight in rows], *samples[1:]]
        source, target = x[(*block[:first], slice(low, high))], out[block]
        if not moving:
            return [partial(np.copyto, target, source)]
        steps: list[Kernel] = []
        for axis in reversed(moving):
            shape = (*source.shape[:axis], *target.shape[axis : axis + 1], *source.shape[axis + 1 :])
            result = target if axis == moving[0] else scratch(context, f"axis{axis}", shape, out.dtype)
            steps += _resample(of_axis[axis - first], axis, source, result, context)
            source = result
        return steps

    wide, limit = block_limit(context, out.size)
    cuts = blocks(out.shape, limit if wide else 2 * CACHE_ELEMENTS, keep=range(first + 1, out.ndim))
    return sequence(spread(context, [cut[: first + 1] for cut in cuts], make, out.size if wide else 0))


def _unmoved(samples: Samples, size: int) -> bool:
    """Whether every output along an axis is the input at its place."""
    return samples[0][1] is None and np.array_equal(samples[0][0], np.arange(size))


def _resample(samples: Samples, axis: int, source: Array, target: Array, context: Context) -> list[Kernel]:
    """target = sum of weight * source[places] along `axis`."""
    steps: list[Kernel] = []
    for number, (places, weight) in enumerate(samples):
        taken = scratch(context, "taken", target.shape, target.dtype) if number else target
        steps += _taken(places, weight, axis, source, taken, context)
        if number:
            steps.append(partial(np.add, target, taken, target))
    return steps


def _taken(
    places: Array, weight: Array | None, axis: int, source: Array, target: Array, context: Context
) -> list[Kernel]:
    """target = weight * source[places] along `axis`: by slices where the places run evenly."""
    factor = None if weight is None else weight.reshape(-1, *(1 for _ in target.shape[axis + 1 :]))
    runs = min((_runs(places, period) for period in PERIODS), key=len)
    steps: list[Kernel] = []
    inner = math.prod(target.shape[axis + 1 :])
    if 4 * len(runs) > len(places) + 8 or len(places) * inner < SHORT_RUN * len(runs):
        direct = target.flags.c_contiguous
        taken = target if direct else scratch(context, "gathered", target.shape, target.dtype)
        steps.append(partial(source.take, places, axis, taken, "clip"))
        if factor is not None:
            return [*steps, partial(np.multiply, taken, factor, target)]
        return steps if direct else [*steps, partial(np.copyto, target, taken)]
    for here, there in runs:
        part, value = target[along(axis, here)], source[along(axis, there)]
        if factor is None:
            steps.append(partial(np.copyto, part, value))
        else:
            each = factor[here]
            same = bool((each == each.flat[0]).all())
            steps.append(partial(np.multiply, value, each.flat[0] if same else each, part))
    return steps


def _runs(places: Array, period: int) -> list[tuple[slice, slice]]:
    """Outputs `period` apart, and the evenly spaced places that they read, as slices."""
    found: list[tuple[slice, slice]] = []
    for phase in range(min(period, len(places))):
        chain = places[phase::period]
        start = 0
        while start < len(chain):
            stop = start + 1
            step = int(chain[stop] - chain[start]) if stop < len(chain) else 1
            if step > 0:
                while stop < len(chain) and chain[stop] - chain[stop - 1] == step:
                    stop += 1
            step = max(step, 1)
            first = int(chain[start])
            here = slice(phase + start * period, phase + (stop - 1) * period + 1, period)
            found.append((here, slice(first, first + (stop - start - 1) * step + 1, step)))
            start = stop
    return found


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
