"""Resampling: gathers and sums along one axis after the other, at the places that `sampling` says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

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
from netspec.backends.sampling import Samples, samples, unmoved
from netspec.operations import Resize

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
    axes = samples(op, x.shape[2:], out.shape[2:], out.dtype)
    first, (x, out) = in_memory_order(x, out)
    moving = [axis for axis, parts in enumerate(axes, first) if not unmoved(parts, x.shape[axis])]

    def make(block: Block) -> list[Kernel]:
        rows = [
            (places[block[first]], weight if weight is None else weight[block[first]])
            for places, weight in axes[0]
        ]
        low = min(int(places.min()) for places, _ in rows)
        high = max(int(places.max()) for places, _ in rows) + 1
        of_axis = [[(places - low, weight) for places, weight in rows], *axes[1:]]
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


def _resample(parts: Samples, axis: int, source: Array, target: Array, context: Context) -> list[Kernel]:
    """target = sum of weight * source[places] along `axis`."""
    steps: list[Kernel] = []
    for number, (places, weight) in enumerate(parts):
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
