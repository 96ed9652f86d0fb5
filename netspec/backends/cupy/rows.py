"""Reductions, and the normalisations built on them (kernels/rows.cu): a row is what is reduced to one value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.cupy.arguments import RANK
from netspec.backends.cupy.chains import copy
from netspec.backends.cupy.launching import THREADS, WAVES, described, held, launch, scratch, sequence
from netspec.backends.cupy.layout import joined
from netspec.backends.cupy.registry import kernel
from netspec.operations import ArgMax, Moments, Normalize, Reduce, Softmax

BATCH = 8
"""Elements that a thread reads at a time, and keeps between passes where it has no more; half of it for doubles."""

ENOUGH = 1024
"""Threads for each multiprocessor: with fewer, memory waits for them."""

SIDE = 32
"""Threads of a warp: so many neighbouring rows are read in one go."""

LONG = 64
"""Elements of a thread from which on a row is cut into parts, for a second launch to join them."""

PART = 16
"""Elements of a thread in the smallest part."""

MOST_PARTS = 512
"""Parts of a row: each block of the second launch may have to read the results of all."""

PARTIAL = 24
"""Most bytes of a partial result (`Spread` of doubles): of a thread in shared memory, of a part in scratch memory."""

WIDE = ("rows_sum", "rows_max", "rows_softmax", "rows_moments", "rows_normalize")
"""Kernels that have a form for rows which are single runs of aligned memory."""

WIDE_BYTES = 16
"""Most that a thread reads at once."""

INNER = np.iinfo(np.int32).max
"""The size of the second reduced axis where there is only one: the kernel never comes to its end."""


@dataclass(frozen=True)
class Rows:
    """An array and its results as rows: sizes and strides (in bytes) of the kept axes and of the reduced ones.

    Strides: of x, then of each output; those of the outputs along reduced axes are 0 where they lack these.
    """

    x: Array
    outs: tuple[Array, ...]
    kept: tuple[int, ...]
    kept_steps: tuple[tuple[int, ...], ...]
    reduced: tuple[int, ...]
    reduced_steps: tuple[tuple[int, ...], ...]

    @property
    def count(self) -> int:
        """How many rows there are."""
        return math.prod(self.kept)

    @property
    def length(self) -> int:
        """Elements of a row."""
        return math.prod(self.reduced)

    @property
    def fits(self) -> bool:
        """Whether the kernel has room for the axes."""
        inner = self.reduced[-1]
        return len(self.kept) <= RANK and len(self.reduced) <= 2 and (len(self.reduced) == 1 or inner < INNER)


@dataclass(frozen=True)
class Shares:
    """How threads share the rows: `lanes` of a row, which is cut into `parts` of `part` elements.

    width: elements of one access, more than 1 in kernels named wide.
    """

    width: int
    lanes: int
    across: bool
    parts: int
    part: int


def rows_of(x: Array, outs: Sequence[Array], axes: Sequence[int], ordered: bool = False) -> Rows:
    """x reduced over `axes`; outputs have all axes of x, or keep the reduced ones as 1, or lack them.

    ordered: elements of a row are numbered in row-major order; else in any, such as that of memory.
    """
    kept_axes = [axis for axis in range(x.ndim) if axis not in axes]
    reduced_axes = [axis for axis in range(x.ndim) if axis in axes]
    if not ordered:
        kept_axes.sort(key=lambda axis: -abs(x.strides[axis]))
        reduced_axes.sort(key=lambda axis: -abs(x.strides[axis]))
    steps = [list(x.strides), *(_steps_along(out, x, axes) for out in outs)]
    kept, kept_steps = joined(
        [x.shape[axis] for axis in kept_axes], [[each[axis] for axis in kept_axes] for each in steps]
    )
    reduced, reduced_steps = joined(
        [x.shape[axis] for axis in reduced_axes], [[each[axis] for axis in reduced_axes] for each in steps]
    )
    if 0 in reduced:
        reduced, reduced_steps = (0,), [(0,) for _ in steps]
    return Rows(x, tuple(outs), kept, tuple(kept_steps), reduced, tuple(reduced_steps))


def _steps_along(out: Array, x: Array, axes: Sequence[int]) -> list[int]:
    """The strides of an output along the axes of x: 0 along reduced ones that it lacks or keeps as 1."""
    if out.ndim == x.ndim:
        return [0 if out.shape[axis] != x.shape[axis] else out.strides[axis] for axis in range(x.ndim)]
    strides = iter(out.strides)
    return [0 if axis in axes else next(strides) for axis in range(x.ndim)]


def _power(number: int) -> int:
    """The power of two that is not less."""
    return 1 << max(0, number - 1).bit_length()


def width_of(rows: Rows, whole: bool) -> int:
    """Elements that can be read (and written, if the output is whole) at once, or 1."""
    x = rows.x
    width = min(WIDE_BYTES // x.itemsize, BATCH)
    arrays = (x, *rows.outs) if whole else (x,)
    aligned = all(
        array.data.ptr % (width * array.itemsize) == 0
        and along == (array.itemsize,)
        and all(step % (width * array.itemsize) == 0 for step in kept)
        for array, along, kept in zip(arrays, rows.reduced_steps, rows.kept_steps, strict=False)
    )
    return width if aligned and rows.length % width == 0 else 1


def shares_of(rows: Rows, processors: int, width: int = 1) -> Shares:
    """Neighbouring threads read neighbouring elements, a thread reads at least a batch where rows allow it, and
    there are threads enough for the device where there are elements enough."""
    count, length, enough = rows.count, rows.length, ENOUGH * processors
    beside, along = abs(rows.kept_steps[0][-1]), abs(rows.reduced_steps[0][-1])
    across = count > 1 and (length <= 1 or 0 < beside < along)
    if across:
        lanes, most, least = 1, THREADS // min(SIDE, _power(rows.kept[-1])), BATCH // 2
    else:
        lanes, most, least = min(THREADS, _power(-(-length // BATCH))), THREADS, width
    while lanes < most and count * lanes < enough and lanes * least < length:
        lanes *= 2
    if count * lanes >= enough or length < lanes * LONG:
        return Shares(width, lanes, across, 1, length)
    wanted = min(-(-enough // (count * lanes)), -(-length // (lanes * PART)), MOST_PARTS)
    part = SIDE * (-(-length // (SIDE * wanted)))
    parts = -(-length // part)
    return Shares(width, lanes, across, parts, part if parts > 1 else length)


def bind_rows(name: str, rows: Rows, context: Context, whole: bool = False, **fields: Any) -> list[Kernel]:
    """The launches that reduce each row. whole: the first output has all elements, else one a row."""
    if rows.count == 0 or (whole and rows.length == 0):
        return []
    width = width_of(rows, whole) if name in WIDE else 1
    shares = shares_of(rows, context.session.device.processors, width)
    parts = shares.parts
    if parts == 1:
        return [_launch(name, rows, shares, context, stage=0, slices=1, whole=whole, **fields)]
    partials = scratch(context, "partials", (rows.count * parts * PARTIAL,), np.uint8)
    return [
        held(
            _launch(name, rows, shares, context, stage=stage, slices=slices, whole=whole,
                    partials=partials.data.ptr, **fields),
            partials,
        )
        for stage, slices in ((1, parts), (2, parts if whole else 1))
    ]  # fmt: skip


def _launch(
    name: str,
    rows: Rows,
    shares: Shares,
    context: Context,
    *,
    stage: int,
    slices: int,
    whole: bool,
    **fields: Any,
) -> Kernel:
    x, lanes = rows.x, shares.lanes
    arrays = {
        place: described(array, steps)
        for place, array, steps in zip(("x", "out", "second"), (x, *rows.outs), rows.kept_steps, strict=False)
    }
    turns = -(-rows.count // (THREADS // lanes)) * slices
    once = shares.part <= lanes * (BATCH if x.dtype.itemsize <= 8 else BATCH // 2)
    return launch(
        context, f"{name}_wide" if shares.width > 1 else name, x.dtype, "Rows", 0,
        blocks=min(turns, WAVES * context.session.device.processors), threads=THREADS,
        shared=THREADS * PARTIAL if lanes > 1 else 0, **arrays, **_steps(rows, lanes, whole), **fields,
        rows=rows.count, length=rows.length, turns=turns, slices=slices, parts=shares.parts, part=shares.part,
        stage=stage, lanes=lanes, across=int(shares.across), held=int(once and (whole or stage != 2)),
        width=shares.width, kept_rank=len(rows.kept), kept=rows.kept,
    )  # fmt: skip


def _steps(rows: Rows, lanes: int, whole: bool) -> dict[str, Any]:
    """How a thread gets from one of its elements to the next in x and, where it stores each, in the output."""
    inner = rows.reduced[-1] if len(rows.reduced) == 2 else INNER
    outward, inward = divmod(lanes, inner) if len(rows.reduced) == 2 else (0, 0)
    found: dict[str, Any] = {"inner": inner, "inner_step": inward}
    for place, array, steps in zip(("x", "out"), (rows.x, *rows.outs), rows.reduced_steps, strict=False):
        if place == "out" and not whole:
            break
        last = steps[-1] // array.itemsize
        first = steps[0] // array.itemsize if len(steps) == 2 else inner * last
        found[f"{place}_along"] = [first, last]
        found[f"{place}_step"] = outward * first + (inward if len(steps) == 2 else lanes) * last
        found[f"{place}_carry"] = first - inner * last
    return found


def reduced(
    name: str,
    x: Array,
    outs: Sequence[Array],
    axes: Sequence[int],
    context: Context,
    *,
    whole: bool = False,
    ordered: bool = False,
    **fields: Any,
) -> Kernel:
    """The kernel of kernels/rows.cu that reduces x over `axes` into `outs`."""
    assert x.dtype.kind != "c" or name in ("rows_sum", "rows_prod"), "complex numbers have no order"
    rows = rows_of(x, outs, axes, ordered)
    if rows.fits:
        return sequence(bind_rows(name, rows, context, whole, **fields))
    # too many separate axes: the same on copies, kept axes first
    order = [axis for axis in range(x.ndim) if axis not in axes] + sorted(axes)
    kept = x.ndim - len(axes)
    plain = scratch(context, "plain rows", [x.shape[axis] for axis in order], x.dtype)
    shape = plain.shape if whole else plain.shape[:kept]
    results = [scratch(context, f"plain result {i}", shape, out.dtype) for i, out in enumerate(outs)]
    inside = rows_of(plain, results, range(kept, x.ndim), ordered)
    assert inside.fits
    return sequence([
        copy(plain, x.transpose(order), context),
        *bind_rows(name, inside, context, whole, **fields),
        *(
            copy(out.transpose(order) if whole else _without(out, axes, x.ndim), result, context)
            for out, result in zip(outs, results, strict=True)
        ),
    ])  # fmt: skip


def _without(out: Array, axes: Sequence[int], rank: int) -> Array:
    """An output without the reduced axes, which it may keep as 1."""
    if out.ndim != rank:
        return out
    return out[tuple(0 if axis in axes else slice(None) for axis in range(rank))]


def _positive(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    return tuple(sorted(axis % rank for axis in axes)) if rank else ()


@kernel(Reduce)
def reduce(op: Reduce, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x (*) -> the sum, mean, largest, smallest or product over axes, in the dtype of x."""
    (x,), (out,) = inputs, outputs
    axes = _positive(op.axes, x.ndim)
    before: list[Kernel] = []
    if x.dtype != out.dtype:
        converted = scratch(context, "converted", x.shape, out.dtype)
        before, x = [copy(converted, x, context)], converted
    name = "sum" if op.function == "mean" else op.function
    divisor = math.prod(x.shape[axis] for axis in axes) if op.function == "mean" else 1
    return sequence([*before, reduced(f"rows_{name}", x, outputs, axes, context, divisor=divisor)])


@kernel(ArgMax)
def argmax(op: ArgMax, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x (*) -> int64 numbers of the first largest elements along an axis, or of all in row-major order."""
    (x,) = inputs
    axes = tuple(range(x.ndim)) if op.axis is None or x.ndim == 0 else (op.axis % x.ndim,)
    return reduced("rows_argmax", x, outputs, axes, context, ordered=True)


@kernel(Softmax)
def softmax(op: Softmax, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x (*) -> exp(x - max) / sum, or x - max - log(sum), of the same shape."""
    (x,) = inputs
    axes = _positive((op.axis,), x.ndim)
    return reduced("rows_softmax", x, outputs, axes, context, whole=True, log=int(op.log))


@kernel(Moments)
def moments(op: Moments, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x (*) -> mean, then the mean squared distance from it, over axes that are dropped."""
    (x,) = inputs
    return reduced("rows_moments", x, outputs, _positive(op.axes, x.ndim), context, center=1)


@kernel(Normalize)
def normalize(op: Normalize, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x (*) -> (x - mean) / sqrt(variance + eps), or x / sqrt(mean of squares + eps), of the same shape."""
    (x,) = inputs
    axes = _positive(op.axes, x.ndim)
    return reduced("rows_normalize", x, outputs, axes, context, whole=True, center=int(op.center), eps=op.eps)
