"""Padding and cropping."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import along, scratch, sequence
from netspec.backends.numpy.registry import kernel
from netspec.backends.strides import memory_order
from netspec.operations import Pad


@kernel(Pad, exact=True)
def pad(op: Pad, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Constant borders around a copy; for the other modes one axis after the other."""
    (x,), (out,) = inputs, outputs
    if out.size == 0:
        return sequence()
    order = memory_order(x)
    x, out = x.transpose(order), out.transpose(order)
    widths = [op.widths[axis] for axis in order]
    if op.mode == "constant":
        return sequence(_constant(widths, op.value, x, out))
    wide = [axis for axis, width in enumerate(widths) if width != (0, 0)]
    if not wide:
        return partial(np.copyto, out, x)
    steps: list[Kernel] = []
    for axis in wide:
        shape = (*out.shape[: axis + 1], *x.shape[axis + 1 :])
        target = out if axis == wide[-1] else scratch(context, f"axis{axis}", shape, out.dtype)
        places = _places(op.mode, x.shape[axis], *widths[axis])
        for here, there in _runs(places):
            steps.append(partial(np.copyto, target[along(axis, here)], x[along(axis, there)]))
        x = target
    return sequence(steps)


def _constant(widths: Sequence[tuple[int, int]], number: float, x: Array, out: Array) -> list[Kernel]:
    """Copies the inside, then fills the strips of each axis beside the inside of the axes before it."""
    value = np.asarray(number).astype(out.dtype)
    inside: list[slice] = []
    crop: list[slice] = []
    steps: list[Kernel] = []
    for (before, after), wide in zip(widths, out.shape, strict=True):
        start = min(max(before, 0), wide)
        stop = max(start, wide - max(after, 0))
        steps += [
            partial(np.copyto, out[(*inside, strip)], value)
            for strip in (slice(0, start), slice(stop, wide))
            if strip.stop > strip.start
        ]
        inside.append(slice(start, stop))
        crop.append(slice(max(-before, 0), max(-before, 0) + stop - start))
    return [*steps, partial(np.copyto, out[tuple(inside)], x[tuple(crop)])]


def _places(mode: str, size: int, before: int, after: int) -> Array:
    """For each output place along an axis, the input place it repeats."""
    place = np.arange(-before, size + after)
    if mode == "replicate":
        return np.clip(place, 0, size - 1)
    if mode == "reflect":
        place = np.abs(place)
        return np.where(place >= size, 2 * (size - 1) - place, place)
    first = max(-before, 0)  # circular: what cropping leaves goes round
    kept = size + min(before, 0) + min(after, 0)
    return first + (place - first) % kept


def _runs(places: Array) -> list[tuple[slice, slice]]:
    """Output and input slices that together copy x[places]: rising or falling by 1, or single places."""
    found: list[tuple[slice, slice]] = []
    start = 0
    while start < len(places):
        stop = start + 1
        step = int(places[stop] - places[start]) if stop < len(places) else 1
        if step in (1, -1):
            while stop < len(places) and places[stop] - places[stop - 1] == step:
                stop += 1
        else:
            step = 1
            if stop < len(places) and places[stop] == places[start]:
                while stop < len(places) and places[stop] == places[start]:
                    stop += 1
        first, last = int(places[start]), int(places[stop - 1])
        end = last + step
        found.append((slice(start, stop), slice(first, end if end >= 0 else None, step)))
        start = stop
    return found
