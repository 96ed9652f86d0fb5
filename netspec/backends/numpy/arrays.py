"""Memory for kernels: shared scratch, padded borders, contiguous copies, blocks that fit a cache.

Scratch belongs to the context and is shared by all its kernels, which run one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.threads import together

CACHE_ELEMENTS = 1 << 15
"""Elements of one block of a chain of passes: a few arrays of it stay in the second-level cache."""

SCRATCH_BYTES = 1 << 26
"""Most that one kernel takes for unfolded windows."""

Block = tuple[slice, ...]
Item = TypeVar("Item")


def scratch(context: Context, name: str, shape: Sequence[int], dtype: Any) -> Array:
    """An uninitialised contiguous array, valid during one run of one kernel.

    Arrays of different `name` never overlap; those of one name share memory, in powers of two.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = 1 << max(12, (size - 1).bit_length())
    key = (name, room, context.lane)
    buffer = context.scratch.get(key)
    if buffer is None:
        buffer = context.scratch[key] = np.empty(room, np.uint8)
    return buffer[:size].view(dtype).reshape(shape)


def padded(
    context: Context, shape: Sequence[int], padding: Sequence[tuple[int, int]], dtype: Any
) -> tuple[Array, Array]:
    """A zero-bordered array around `shape` and the view of its inside; only the inside may be written.

    The border is made once: kernels with the same geometry share the array.
    """
    key = ("padded", tuple(shape), tuple(padding), np.dtype(dtype), context.lane)
    buffer = context.scratch.get(key)
    if buffer is None:
        sizes = [size + before + after for size, (before, after) in zip(shape, padding, strict=True)]
        buffer = context.scratch[key] = np.zeros(sizes, dtype)
    inside = tuple(slice(before, before + size) for size, (before, _) in zip(shape, padding, strict=True))
    return buffer, buffer[inside]


def bordered(context: Context, source: Array, spans: Sequence[tuple[int, int]]) -> tuple[Array, list[Kernel]]:
    """Places first to last of each spatial axis of source (b, *s, c), zeros where there are none.

    The result has channels side by side; it is `source` itself where that has them and nothing lies outside.
    """
    cut, borders = [], []
    for (first, last), size in zip(spans, source.shape[1:-1], strict=True):
        start, stop = min(max(first, 0), size), min(max(last, 0), size)
        cut.append(slice(start, max(start, stop)))
        inside = max(0, stop - start)
        before = min(max(0, -first), last - first - inside)
        borders.append((before, last - first - inside - before))
    part = source[(slice(None), *cut)]
    if not any(map(any, borders)) and part.strides[-1] == part.itemsize:
        return part, []
    buffer, inside_view = padded(context, part.shape, ((0, 0), *borders, (0, 0)), part.dtype)
    return buffer, [partial(np.copyto, inside_view, part)]


def viewed(array: Array, shape: Sequence[int]) -> Array | None:
    """`array` reshaped without a copy, or None."""
    result = array.reshape(shape)
    if array.flags.c_contiguous or array.size == 0 or np.may_share_memory(result, array):
        return result
    return None


def prepared(
    context: Context, weight: Array, form: Hashable, shape: Sequence[int], fill: Callable[[Array], Any]
) -> tuple[Array, list[Kernel]]:
    """`weight` in the form that a kernel reads, written by `fill`, and the steps that refresh it.

    Fixed weights are brought into a form once for all executors of a network and need no refreshing.
    """
    origin = context.origins.get(id(weight))
    if origin is None:
        array = np.empty(shape, weight.dtype)
        fill(array)
        return array, [partial(fill, array)]
    key = (origin, form)
    if key not in context.prepared:
        array = np.empty(shape, weight.dtype)
        fill(array)
        context.prepared[key] = array
    return context.prepared[key], []


def compact(
    context: Context, name: str, array: Array, shape: Sequence[int] | None = None
) -> tuple[Array, list[Kernel]]:
    """An input as a C-contiguous array of `shape`, and the steps that refresh it before each run."""
    if array.flags.c_contiguous:
        return array if shape is None else array.reshape(shape), []
    shape = array.shape if shape is None else shape
    copy = scratch(context, name, array.shape, array.dtype)
    return copy.reshape(shape), [partial(np.copyto, copy, array)]


def collected(
    context: Context, name: str, array: Array, shape: Sequence[int] | None = None
) -> tuple[Array, list[Kernel]]:
    """The same for an output: the steps write the contiguous array back after each run."""
    shape = array.shape if shape is None else shape
    if array.flags.c_contiguous:
        return array.reshape(shape), []
    copy = scratch(context, name, array.shape, array.dtype)
    return copy.reshape(shape), [partial(np.copyto, array, copy)]


def sequence(*parts: Iterable[Callable[[], Any]]) -> Kernel:
    """One kernel that runs all steps in order; a kernel that was made here gives its own steps."""
    steps = [single for part in parts for step in part for single in steps_of(step)]
    if len(steps) == 1:
        return steps[0]

    def run() -> None:
        for step in steps:
            step()

    run.steps = steps  # type: ignore[attr-defined]
    return run


def steps_of(kernel: Callable[[], Any]) -> list[Callable[[], Any]]:
    """The steps of a kernel that `sequence` made; any other is its own only step."""
    steps: list[Callable[[], Any]] | None = getattr(kernel, "steps", None)
    return [kernel] if steps is None else steps


SPREAD_ELEMENTS = 1 << 18
"""Work on fewer elements than this is done before a second thread has woken up."""


def spread(
    context: Context, items: Sequence[Item], make: Callable[[Item], Iterable[Kernel]], elements: int
) -> list[Kernel]:
    """The steps that `make` gives for each item, the items shared out over the context's lanes.

    `make` is called for one lane at a time, so that its scratch memory is that lane's own. `elements`
    says how much there is to do. Steps of different items must not write what others read.
    """
    lanes = min(context.lanes, len(items)) if elements >= SPREAD_ELEMENTS else 1
    if lanes <= 1:
        return [step for item in items for step in make(item)]
    tasks = []
    for lane in range(lanes):
        part = items[len(items) * lane // lanes : len(items) * (lane + 1) // lanes]
        with context.on_lane(lane):
            tasks.append(sequence(*(make(item) for item in part)))
    return [together(tasks)]


WIDE_ELEMENTS = 1 << 17
"""The same where lanes share the work: each call costs a few microseconds more, since it ends by waiting
for the interpreter."""


def block_limit(context: Context, elements: int) -> tuple[bool, int]:
    """Whether cheap passes over so many elements are worth several lanes, and the elements of a block."""
    if context.lanes == 1 or elements < 2 * WIDE_ELEMENTS:
        return False, WIDE_ELEMENTS if context.beside else CACHE_ELEMENTS
    rounds = -(-elements // (WIDE_ELEMENTS * context.lanes))
    return True, -(-elements // (rounds * context.lanes))


def zeros(context: Context, shape: Sequence[int], dtype: Any) -> Array:
    """An array of zeros that nobody writes to."""
    size = math.prod(shape)
    key = ("zeros", np.dtype(dtype))
    buffer = context.scratch.get(key)
    if buffer is None or buffer.size < size:
        buffer = context.scratch[key] = np.zeros(max(size, CACHE_ELEMENTS), dtype)
    return buffer[:size].reshape(shape)


def blocks(shape: Sequence[int], limit: int, keep: Sequence[int] = ()) -> list[Block]:
    """Cut an array of `shape` into slices of at most `limit` elements where possible.

    Outer axes are cut first and inner ones stay whole, so that a block of a contiguous array is
    contiguous when nothing is kept. Axes in `keep` are never cut.
    """
    if math.prod(shape) == 0:
        return []
    cuts: list[Block] = [()]
    for axis, size in enumerate(shape):
        inner = math.prod(shape[axis + 1 :])
        outer = math.prod(shape[kept] for kept in keep if kept < axis)
        step = size if axis in keep else min(size, max(1, limit // max(1, inner * outer)))
        pieces = [slice(start, min(start + step, size)) for start in range(0, size, step)]
        cuts = [(*cut, piece) for cut in cuts for piece in pieces]
    return cuts


def extent(block: Block) -> tuple[int, ...]:
    """The shape of a block."""
    return tuple(piece.stop - piece.start for piece in block)


def tap(count: int, offset: int, stride: int, limit: int) -> tuple[slice, slice]:
    """Which i of `count` have 0 <= i * stride + offset < limit, and those places themselves."""
    first = max(0, -(offset // stride))
    last = min(count, (limit - 1 - offset) // stride + 1)
    if last <= first:
        return slice(0, 0), slice(0, 0)
    return slice(first, last), slice(first * stride + offset, (last - 1) * stride + offset + 1, stride)


def along(axis: int, piece: slice | int) -> tuple[Any, ...]:
    """The index that takes `piece` of `axis` and everything of the axes before."""
    return (slice(None),) * axis + (piece,)


def reshaped(array: Array, shape: Sequence[int]) -> Array:
    """`array` with axes split or merged where that needs no copy; the caller knows that it does not."""
    result = viewed(array, shape)
    assert result is not None
    return result


def gemm_ready(array: Array) -> bool:
    """Whether BLAS can read the last two axes in place; NumPy's own loop for others is slow."""
    rows, columns = array.shape[-2:]
    step = array.itemsize
    row, column = array.strides[-2:]
    plain = column == step and row % step == 0 and row >= columns * step
    turned = row == step and column % step == 0 and column >= rows * step
    return bool(plain or turned)
