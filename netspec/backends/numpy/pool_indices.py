"""Largest values with their indices, and putting values back at such indices.

Of equal values the first in row-major order counts, so the last axis is swept first: each step takes over
strictly larger values. A NaN wins, and the last of several: a block in which one turns up, which is seen
in its maxima, is searched again place by place.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from operator import setitem
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel, KernelError
from netspec.backends.numpy.arrays import (
    CACHE_ELEMENTS,
    Block,
    along,
    block_limit,
    blocks,
    collected,
    compact,
    scratch,
    spread,
)
from netspec.backends.numpy.sweep import Window, in_memory_order

Tap = tuple[slice, slice]
"""The outputs whose windows have the tap inside the input, and where."""

MOST_TAPS = 255
"""Taps along one axis are counted in bytes."""


def lowest(dtype: Any) -> Any:
    """What a maximum starts from."""
    if dtype.kind == "f":
        return dtype.type(-np.inf)
    return dtype.type(False) if dtype.kind == "b" else np.iinfo(dtype).min


def max_with_indices(
    windows: Sequence[Window], x: Array, outputs: Sequence[Array], context: Context
) -> list[Kernel]:
    """Values and flat indices of the windows of x (n, c, *s), a block at a time."""
    first, (x, values, indices) = in_memory_order(x, *outputs)
    counts, sizes = values.shape[first : first + len(windows)], x.shape[first : first + len(windows)]
    whole = [
        window.taps(slice(0, count), size) for window, count, size in zip(windows, counts, sizes, strict=True)
    ]
    quick = all(window.width <= MOST_TAPS for window in windows) and all(map(_covered, whole, counts))

    def make(block: Block) -> list[Kernel]:
        source, rows = x[block[:first]], block[first]
        search = _Search(windows, source, values[block], indices[block], rows, first, context)
        return search.quick() if quick else search.every_place()

    wide, limit = block_limit(context, x.size)
    cuts = blocks(values.shape, limit, keep=range(first + 1, x.ndim))
    return spread(context, [block[: first + 1] for block in cuts], make, x.size if wide else 0)


def _covered(taps: Sequence[Tap], count: int) -> bool:
    """Whether each window has a place inside the input."""
    return {i for here, _ in taps for i in range(here.start, here.stop)} == set(range(count))


class _Search:
    """The search in one block: x with its whole planes, the block's values and indices, its rows.

    All arrays are in memory order, their spatial axes from `first` on.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        x: Array,
        values: Array,
        indices: Array,
        rows: slice,
        first: int,
        context: Context,
    ) -> None:
        self.windows, self.first, self.rows, self.context = windows, first, rows, context
        self.x, self.values, self.indices = x, values, indices
        self.sizes = x.shape[first : first + len(windows)]
        self.places = [slice(0, count) for count in values.shape[first : first + len(windows)]]
        self.places[0] = rows
        self.starts = [
            np.arange(place.start, place.stop) * window.stride - window.padding
            for place, window in zip(self.places, windows, strict=True)
        ]
        self.masks = [scratch(context, f"mask{i}", values.shape, np.bool_) for i in range(2)]

    def flat(self, places: Sequence[Array]) -> Array:
        """The flat index in a plane of the outer product of places along its axes, as `indices` lies."""
        total: Any = 0
        for place, size in zip(places, self.sizes, strict=True):
            total = np.asarray(total)[..., None] * size + place
        return total.reshape(total.shape + (1,) * (self.x.ndim - self.first - len(self.sizes)))

    def quick(self) -> list[Kernel]:
        """Axis by axis, the last one first."""
        window, size = self.windows[0], self.sizes[0]
        low = max(0, int(self.starts[0][0]))
        high = min(size, int(self.starts[0][-1]) + (window.width - 1) * window.dilation + 1)
        source = self.x[along(self.first, slice(low, high))]
        codes: list[Array] = []
        steps: list[Kernel] = []
        for axis in reversed(range(self.first, self.first + len(self.windows))):
            taps = self.windows[axis - self.first].taps(
                self.places[axis - self.first], self.sizes[axis - self.first]
            )
            if axis == self.first:
                result = self.values
                taps = [
                    (here, slice(there.start - low, there.stop - low, there.step)) for here, there in taps
                ]
            else:
                shape = (*source.shape[:axis], self.values.shape[axis], *source.shape[axis + 1 :])
                result = scratch(self.context, f"axis{axis}", shape, source.dtype)
            more, codes = self._axis(taps, axis, source, codes, result)
            steps += more
            source = result
        steps += self._indices_of(codes)
        if self.values.dtype.kind == "f":
            steps.append(self._mind_nan())
        return steps

    def _axis(
        self, taps: Sequence[Tap], axis: int, source: Array, codes: Sequence[Array], result: Array
    ) -> tuple[list[Kernel], list[Array]]:
        """The largest along one axis into `result`; the taps it was found at, of this and the inner axes."""
        names = ["mask", "bits", *(f"code{axis} {number}" for number in range(len(codes) + 1))]
        mask, bits, code, *inner = (scratch(self.context, name, result.shape, np.uint8) for name in names)
        pairs = list(zip(inner, codes, strict=True))
        steps: list[Kernel] = []
        done: slice | None = None
        for number, (here, there) in enumerate(taps):
            if here.stop <= here.start:
                continue
            # windows that begin before the input have their first place at a later tap than others
            start = here.stop if done is None else done.start
            fresh, common = slice(here.start, max(here.start, start)), slice(start, here.stop)
            done = here if done is None else slice(min(here.start, done.start), done.stop)
            if fresh.stop > fresh.start:
                at, by = along(axis, fresh), along(axis, _part(here, there, fresh))
                steps += [partial(np.copyto, result[at], source[by]), partial(np.copyto, code[at], number)]
                steps += [partial(np.copyto, new[at], old[by]) for new, old in pairs]
            if common.stop > common.start:
                at, by = along(axis, common), along(axis, _part(here, there, common))
                best, value = result[at], source[by]
                only = len(taps) == 2 and common == slice(0, result.shape[axis])
                found = code[at] if only else mask[at]
                steps.append(partial(np.greater, value, best, found.view(np.bool_)))
                steps.append(partial(np.maximum, best, value, out=best))
                if not only:
                    steps.append(partial(np.multiply, found, np.uint8(number), bits[at]))
                    steps.append(partial(np.maximum, code[at], bits[at], out=code[at]))
                if pairs:
                    steps.append(partial(np.negative, found, bits[at]))  # 1 -> 255
                for new, old in pairs:
                    steps += _taken_over(new[at], old[by], bits[at], mask[at])
        return steps, [code, *inner]

    def _indices_of(self, codes: Sequence[Array]) -> list[Kernel]:
        """Flat indices from the taps along each axis."""
        steps: list[Kernel] = []
        for number, (code, window) in enumerate(zip(codes, self.windows, strict=True)):
            step = math.prod(self.sizes[number + 1 :]) * window.dilation
            if number == 0:
                steps.append(partial(np.multiply, code, np.int64(step), self.indices))
            elif step == 1:
                steps.append(partial(np.add, self.indices, code, self.indices))
            else:
                product = scratch(self.context, "product", code.shape, np.int64)
                steps.append(partial(np.multiply, code, np.int64(step), product))
                steps.append(partial(np.add, self.indices, product, self.indices))
        return [*steps, partial(np.add, self.indices, self.flat(self.starts), self.indices)]

    def _mind_nan(self) -> Kernel:
        values, mask = self.values, self.masks[0]
        exact: list[Kernel] = []

        def run() -> None:
            np.isnan(values, mask)
            if mask.any():
                if not exact:
                    exact.extend(self.every_place())
                for step in exact:
                    step()

        return run

    def every_place(self) -> list[Kernel]:
        """Each tap against the best so far, in row-major order."""
        firsts = [
            start + -(np.minimum(start, 0) // window.dilation) * window.dilation
            for start, window in zip(self.starts, self.windows, strict=True)
        ]  # the first place of a window that lies inside the input
        steps: list[Kernel] = [
            partial(np.copyto, self.values, lowest(self.values.dtype)),
            partial(np.copyto, self.indices, self.flat(firsts)),
        ]
        taps = [
            window.taps(place, size)
            for window, place, size in zip(self.windows, self.places, self.sizes, strict=True)
        ]
        outer = (slice(None),) * self.first
        for place in itertools.product(*(range(window.width) for window in self.windows)):
            pieces = [axis[k] for axis, k in zip(taps, place, strict=True)]
            here, there = ((*outer, *(piece[side] for piece in pieces)) for side in (0, 1))
            if self.values[here].size == 0:
                continue
            source = [
                start[piece[0]] + k * window.dilation
                for start, piece, k, window in zip(self.starts, pieces, place, self.windows, strict=True)
            ]
            steps.append(
                take_larger(
                    self.masks, self.values[here], self.indices[here], self.x[there], self.flat(source)
                )
            )
        return steps


def _part(here: slice, there: slice, piece: slice) -> slice:
    """The places of `there` for the outputs `piece`, a part of `here`."""
    first = there.start + (piece.start - here.start) * there.step
    return slice(first, first + (piece.stop - piece.start - 1) * there.step + 1, there.step)


def _taken_over(new: Array, old: Array, where: Array, bits: Array) -> list[Kernel]:
    """new = old where all bits of `where` are set: NumPy's masked copy is twenty times slower."""
    return [
        partial(np.bitwise_xor, new, old, bits),
        partial(np.bitwise_and, bits, where, bits),
        partial(np.bitwise_xor, new, bits, new),
    ]


def take_larger(masks: Sequence[Array], best: Array, index: Array, value: Array, flat: Array) -> Kernel:
    """Takes over larger values, the first of equal ones, and every NaN, so that the last NaN stays."""
    better, other = (mask.reshape(-1)[: best.size].reshape(best.shape) for mask in masks)
    floating = best.dtype.kind == "f"

    def run() -> None:
        np.greater(value, best, out=better)
        if floating:
            np.isnan(value, out=other)
            np.logical_or(better, other, out=better)
        np.copyto(best, value, where=better)
        np.copyto(index, flat, where=better)

    return run


def adaptive_max_with_indices(
    x: Array, outputs: Sequence[Array], windows: Sequence[tuple[Array, Array]], context: Context
) -> list[Kernel]:
    """Place by place of a window, for all windows at once; `windows` are starts and stops along each axis.

    Shorter windows repeat their last place, which changes neither the value nor the index.
    """
    values, indices = outputs
    best, after = collected(context, "best", values)
    index, more = collected(context, "index", indices)
    x, before = compact(context, "x", x)
    masks = [scratch(context, f"mask{i}", best.shape, np.bool_) for i in range(2)]
    steps: list[Kernel] = [
        partial(np.copyto, best, lowest(x.dtype)),
        partial(np.copyto, index, _flat([starts for starts, _ in windows], x.shape[2:])),
    ]
    lengths = [range(int((stops - starts).max())) for starts, stops in windows]

    def visit(source: Array, axis: int, places: list[Array]) -> None:
        if axis == x.ndim:
            steps.append(take_larger(masks, best, index, source, _flat(places, x.shape[2:])))
            return
        starts, stops = windows[axis - 2]
        shape = (*source.shape[:axis], len(starts), *source.shape[axis + 1 :])
        taken = scratch(context, f"axis{axis}", shape, x.dtype)
        for t in lengths[axis - 2]:
            place = np.minimum(starts + t, stops - 1)
            steps.append(partial(source.take, place, axis, taken, "clip"))
            visit(taken, axis + 1, [*places, place])

    visit(x, 2, [])
    return [*before, *steps, *after, *more]


def _flat(places: Sequence[Array], sizes: Sequence[int]) -> Array:
    """The flat index in a plane of the outer product of places along its axes."""
    total: Any = 0
    for place, size in zip(places, sizes, strict=True):
        total = np.asarray(total)[..., None] * size + place
    return total


PLANE = 1 << 8
"""Planes of at least so many places are filled one by one, which needs no index into the whole array."""


def unpool(x: Array, index: Array, out: Array, context: Context) -> list[Kernel]:
    """out (n, c, *s') = zeros with x (n, c, *s) at the flat indices of each plane; the last one wins."""
    size = math.prod(out.shape[2:])
    if not index.size or not size:  # torch leaves an empty plane without looking at the indices
        return [partial(np.copyto, out, 0)]
    first, (moved, x, index) = in_memory_order(out, x, index)
    limit = out.shape[1] if first == 1 else max(1, CACHE_ELEMENTS // size)
    target, after = collected(context, "out", moved)

    def make(block: Block) -> list[Kernel]:
        where: Any = block if first == 2 else (block[0], ..., block[1])
        part = target[where]
        steps: list[Kernel] = [partial(np.copyto, part, 0), partial(_check_places, index[where], size)]
        if first == 2 and size >= PLANE:
            lists = [compact(context, name, a[where]) for name, a in (("x", x), ("place", index))]
            steps += [step for _, load in lists for step in load]
            values, places = (a.reshape(-1, a[0, 0].size) for a, _ in lists)
            planes = zip(part.reshape(-1, size), places, values, strict=True)
            return [*steps, *(partial(setitem, *plane) for plane in planes)]
        return steps + _put_flat(x[where], index[where], target, block, first, context)

    # on one lane: NumPy assigns by index without letting go of the interpreter
    return [*(step for block in blocks(out.shape[:2], limit) for step in make(block)), *after]


def _put_flat(
    x: Array, index: Array, target: Array, block: Block, first: int, context: Context
) -> list[Kernel]:
    """x at its places in the whole target, a few rows at a time; `block`: its images and channels."""
    image, channel = (np.arange(piece.start, piece.stop) for piece in block)
    ones = (1,) * (target.ndim - 2)
    if first == 2:
        size, channels, step = math.prod(target.shape[2:]), target.shape[1], 1
        base = (image[:, None] * channels + channel).reshape(len(image), len(channel), *ones) * size
    else:
        size, channels = math.prod(target.shape[1:-1]), target.shape[-1]
        base = (image[:, None] * (size * channels) + channel).reshape(len(image), *ones, len(channel))
        step = channels
    steps: list[Kernel] = []
    for rows in blocks(x.shape, CACHE_ELEMENTS // 2, keep=range(first + 1, x.ndim)):
        at = rows[: first + 1]
        source, load = compact(context, "x", x[at])
        place = scratch(context, "place", source.shape, np.int64)
        steps += [
            *load,
            partial(np.multiply, index[at], step, place),
            partial(np.add, place, base[at[:first]], place),
            partial(setitem, target.reshape(-1), place.reshape(-1), source.reshape(-1)),
        ]
    return steps


def _check_places(index: Array, size: int) -> None:
    """Raises KernelError for an index outside 0 .. size - 1, which as an unsigned number is too large."""
    if index.view(np.uint64).max() >= size:
        low, high = index.min(), index.max()
        raise KernelError(f"index {low if low < 0 else high} is outside the output plane of {size} elements")
