"""Windows swept one axis after the other, in the order in which the arrays lie in memory.

The first spatial axis comes first: its shifted copies are runs of whole rows. What is left for the other
axes is as many rows as the output has, still in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
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
    spread,
    tap,
)
from netspec.backends.strides import channels_inside

Taps = list[tuple[slice, slice]]
"""For each kernel tap along one axis: the outputs whose window has it inside the input, and where."""


@dataclass(frozen=True, slots=True)
class Window:
    """The windows of a pool along one axis."""

    width: int
    stride: int
    padding: int = 0
    dilation: int = 1

    @property
    def trivial(self) -> bool:
        """Whether each window is the place itself."""
        return (self.width, self.stride, self.padding) == (1, 1, 0)

    def taps(self, places: slice, size: int) -> Taps:
        """The taps of the outputs `places`, counted from the first of them, on an axis of `size`."""
        start = places.start * self.stride - self.padding
        count = places.stop - places.start
        return [tap(count, start + k * self.dilation, self.stride, size) for k in range(self.width)]


def in_memory_order(x: Array, *others: Array) -> tuple[int, list[Array]]:
    """The first spatial axis, and the arrays as (n, *s, c) if the channels of `x` lie inside, else as they are."""
    if channels_inside(x):
        return 1, [np.moveaxis(array, 1, -1) for array in (x, *others)]
    return 2, [x, *others]


def row_blocks(first: int, x: Array, out: Array, limit: int) -> list[Block]:
    """Slices of the axes of `out` up to its first spatial one, such that whole input rows fit the cache."""
    shape = (*out.shape[: first + 1], *x.shape[first + 1 :])
    return [block[: first + 1] for block in blocks(shape, limit, keep=range(first + 1, x.ndim))]


def sweep(
    combine: Any,
    start: Any,
    windows: Sequence[Window],
    x: Array,
    out: Array,
    context: Context,
    after: Callable[[Block, Array], list[Kernel]] | None = None,
) -> list[Kernel]:
    """out (n, c, *s') = `combine` over the windows of x (n, c, *s).

    after: the steps that end a block, of its place in `out` (in memory order) and the block itself.
    """
    if out.size == 0:
        return []
    first, (x, out) = in_memory_order(x, out)
    moving = [axis for axis, window in enumerate(windows, first) if not window.trivial]

    def make(block: Block) -> list[Kernel]:
        source, target = x[block[:first]], out[block]
        if not moving or moving[0] != first:
            source = x[block]
        steps: list[Kernel] = [] if moving else [partial(np.copyto, target, source)]
        for axis in moving:
            shape = (*target.shape[: axis + 1], *x.shape[axis + 1 :])
            last = axis == moving[-1]
            result = target if last else scratch(context, f"axis{axis}", shape, out.dtype)
            places = block[first] if axis == first else slice(0, out.shape[axis])
            taps = windows[axis - first].taps(places, x.shape[axis])
            steps += sweep_axis(combine, start, taps, axis, source, result)
            source = result
        return steps + (after(block, target) if after else [])

    wide, limit = block_limit(context, x.size)
    cuts = row_blocks(first, x, out, limit if wide else 2 * CACHE_ELEMENTS)
    return spread(context, cuts, make, x.size if wide else 0)


def sweep_axis(combine: Any, start: Any, taps: Taps, axis: int, source: Array, result: Array) -> list[Kernel]:
    """Combines the shifted copies of `source` along one axis into `result`."""
    taps = sorted((t for t in taps if t[0].stop > t[0].start), key=lambda t: t[0].start - t[0].stop)
    if result.shape[axis] == 1 and len(taps) > 2:
        places = sorted(there.start for _, there in taps)
        piece = source[along(axis, slice(places[0], places[-1] + 1, places[1] - places[0]))]
        return [partial(combine.reduce, piece, axis, result.dtype, result, True)]
    steps = _beginning(combine, start, taps[:2], axis, source, result)
    for here, there in taps[2:]:
        part = result[along(axis, here)]
        steps.append(partial(combine, part, source[along(axis, there)], out=part))
    return steps


def _beginning(combine: Any, start: Any, taps: Taps, axis: int, source: Array, result: Array) -> list[Kernel]:
    """The first two taps: combined where a window has both, copied where it has one, else `start`."""
    edges = sorted({0, result.shape[axis], *(edge for here, _ in taps for edge in (here.start, here.stop))})
    steps: list[Kernel] = []
    for low, high in pairwise(edges):
        target = result[along(axis, slice(low, high))]
        parts = [
            source[along(axis, _shifted(here, there, low, high))]
            for here, there in taps
            if here.start <= low and high <= here.stop
        ]
        if len(parts) == 2:
            steps.append(partial(combine, *parts, out=target))
        else:
            steps.append(partial(np.copyto, target, parts[0] if parts else start))
    return steps


def _shifted(here: slice, there: slice, low: int, high: int) -> slice:
    """The places of `there` for the outputs from `low` to `high`, which `here` contains."""
    step = there.step
    first = there.start + (low - here.start) * step
    return slice(first, first + (high - low - 1) * step + 1, step)
