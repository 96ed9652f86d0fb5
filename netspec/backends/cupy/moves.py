"""Padding, resampling, picking by index, random numbers, and checks of values (kernels/moves.cu)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.cupy.arguments import RANK
from netspec.backends.cupy.chains import copy
from netspec.backends.cupy.launching import described, held, launch, outer_loops, sequence
from netspec.backends.cupy.layout import joined
from netspec.backends.cupy.planes import along_channels, in_space, pack, spatial
from netspec.backends.cupy.registry import kernel
from netspec.backends.cupy.windows import adaptive_average
from netspec.backends.sampling import Samples, samples, unmoved
from netspec.backends.strides import memory_order
from netspec.operations import Pad, Random, Require, Resize, TakeAlong

PAD_MODES = ("constant", "reflect", "replicate", "circular")
"""Numbers of the modes in the kernel: positions here."""

DISTRIBUTIONS = ("bernoulli", "uniform")
"""Numbers of the distributions in the kernel: positions here."""

SEEDS = 1 << 63
"""Seeds are below this."""

# --- padding ----------------------------------------------------------------------------------------


@kernel(Pad)
def pad(op: Pad, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x with each axis wider or narrower; every output looks up where it is from."""
    (x,), (out,) = inputs, outputs
    if out.size == 0:
        return sequence([])
    axes = _pad_axes(op, x, out)
    if len(axes["sizes"]) > RANK:
        return _pad_in_turns(op, x, out, context)
    value = np.asarray(op.value).astype(out.dtype).tobytes()
    return launch(
        context, "pad", out.dtype, "Pad", out.size, count=out.size, rank=len(axes["sizes"]),
        mode=PAD_MODES.index(op.mode), sizes=axes["sizes"], limits=axes["limits"], before=axes["before"],
        kept=axes["kept"], x=described(x, axes["x"]), out=described(out, axes["out"]),
        value=list(np.frombuffer(value.ljust(16, b"\0"), np.int64)),
    )  # fmt: skip


def _pad_axes(op: Pad, x: Array, out: Array) -> dict[str, list[int]]:
    """Numbers of each axis in the output's memory order; neighbours that nothing is added to are joined."""
    axes: dict[str, list[int]] = {
        name: [] for name in ("sizes", "limits", "before", "kept", "x", "out", "plain")
    }
    for axis in memory_order(out):
        (before, after), limit, size = op.widths[axis], int(x.shape[axis]), int(out.shape[axis])
        plain = before == after == 0
        steps = int(x.strides[axis]), int(out.strides[axis])
        if plain and size == 1:
            continue
        runs_on = axes["plain"] and axes["plain"][-1] and plain
        if runs_on and (axes["x"][-1], axes["out"][-1]) == (steps[0] * size, steps[1] * size):
            for name in ("sizes", "limits", "kept"):
                axes[name][-1] *= size
            axes["x"][-1], axes["out"][-1] = steps
            continue
        kept = limit + min(before, 0) + min(after, 0)
        entry = {
            "sizes": size, "limits": limit, "before": before, "kept": kept, "plain": int(plain),
            "x": steps[0], "out": steps[1],
        }  # fmt: skip
        for name, number in entry.items():
            axes[name].append(number)
    return axes


def _pad_in_turns(op: Pad, x: Array, out: Array, context: Context) -> Kernel:
    """One axis after the other, for more axes than the kernel takes: of rows it sees three at most."""
    device = context.session.device
    arrays = [device.empty(x.shape, x.dtype)]
    kernels = [copy(arrays[0], x, context)]
    for axis, width in enumerate(op.widths):
        if width != (0, 0):
            source = arrays[-1]
            arrays.append(device.empty((*out.shape[: axis + 1], *source.shape[axis + 1 :]), x.dtype))
            widths = tuple(width if i == axis else (0, 0) for i in range(x.ndim))
            kernels.append(pad(Pad(widths, op.mode, op.value), [source], arrays[-1:], context))
    kernels.append(copy(out, arrays[-1], context))
    return held(sequence(kernels), *arrays)


# --- resampling -------------------------------------------------------------------------------------


@kernel(Resize)
def resize(op: Resize, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x (n, c, *s) -> (n, c, *s') by tables of the places and weights of each axis."""
    (x,), (out,) = inputs, outputs
    if out.size == 0:
        return sequence([])
    if op.mode == "area":
        return adaptive_average(x, out, context)
    real = np.dtype(np.float64 if out.dtype in (np.float64, np.complex128) else np.float32)
    axes = samples(op, x.shape[2:], out.shape[2:], real)
    tables = [_tables(parts, size, real, context) for parts, size in zip(axes, x.shape[2:], strict=True)]
    arrays = [table for pair in tables for table in pair if table is not None]
    addresses = [[0 if table is None else table.data.ptr for table in pair] for pair in tables]
    weighted = any(weights is not None for _, weights in tables)
    last = along_channels(out, x)
    size = pack(x, out) if last else 1
    name = ("resize_sum" if weighted else "resize_copy") + ("_packed" if size > 1 else "")
    run = launch(
        context, name, out.dtype, "Resize", out.size // size, x=in_space(x), out=in_space(out), count=out.size,
        batch=list(out.shape[:2]), outputs=spatial(out.shape[2:], 1), last=int(last),
        places=spatial([places for places, _ in addresses], 0),
        weights=spatial([weights for _, weights in addresses], 0), taps=spatial([len(axis) for axis in axes], 1),
    )  # fmt: skip
    return held(run, *arrays)


def _tables(parts: Samples, size: int, real: Any, context: Context) -> tuple[Array | None, Array | None]:
    """Places (out, taps) and weights (out, taps) of one axis on the device; None for what the kernel knows."""
    if unmoved(parts, size):
        return None, None
    backend = context.session.backend
    places = backend.asarray(np.stack([places for places, _ in parts], axis=-1), "int32")
    weights = [weight for _, weight in parts if weight is not None]
    return places, backend.asarray(np.stack(weights, axis=-1), str(real)) if weights else None


# --- picking by index ---------------------------------------------------------------------------------


@kernel(TakeAlong)
def take_along(op: TakeAlong, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x (..., c, ...), index (..., ...) -> x at that class; an index outside the axis is reported."""
    (x, index), (out,) = inputs, outputs
    if out.size == 0:
        return sequence([])
    axis = op.axis % x.ndim
    classes = int(x.shape[axis])

    def message(low: int, high: int) -> str:
        return f"index {low if low < 0 else high} is outside 0..{classes - 1}"

    flags = context.session.check(context.label, message)
    along = x.strides[axis] // x.itemsize
    steps = [(*x.strides[:axis], *x.strides[axis + 1 :]), index.strides, out.strides]
    return _each_place(
        out, [x, index, out], steps,
        lambda places, sizes: launch(
            context, "take_along", out.dtype, "Take", math.prod(sizes), count=math.prod(sizes), rank=len(sizes),
            sizes=sizes, x=places[0], indices=places[1], out=places[2], flags=flags, along=along, classes=classes,
        ),
    )  # fmt: skip


def _each_place(
    like: Array,
    arrays: Sequence[Array],
    strides: Sequence[Sequence[int]],
    bind: Callable[[list[dict[str, Any]], list[int]], Kernel],
) -> Kernel:
    """What `bind` makes of the `Array` structs and sizes of all places of `like`, in its memory order.

    strides: those of each array along the axes of `like`, in bytes. More axes than RANK are several launches.
    """
    order = memory_order(like)
    shape = [like.shape[axis] for axis in order]
    sizes, steps, rounds = outer_loops(*joined(shape, [[s[axis] for axis in order] for s in strides]))
    kernels = []
    for offsets in rounds:
        places = [
            {**described(x, step), "data": x.data.ptr + offset}
            for x, step, offset in zip(arrays, steps, offsets, strict=True)
        ]
        kernels.append(bind(places, list(sizes)))
    return sequence(kernels)


# --- random numbers -----------------------------------------------------------------------------------


@kernel(Random)
def random(op: Random, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """bernoulli(p): 1 where a number in [0, 1) is below p; uniform(low, high)."""
    (out,) = outputs
    if out.size == 0:
        return sequence([])
    seed, streams = _randomness(context)
    low, high = (*op.arguments, 0.0)[:2]
    return _each_place(
        out, [out], [out.strides],
        lambda places, sizes: launch(
            context, "random_numbers", out.dtype, "Random", math.prod(sizes) // 2, count=math.prod(sizes),
            rank=len(sizes), sizes=sizes, out=places[0], seed=seed.data.ptr, stream=next(streams),
            kind=DISTRIBUTIONS.index(op.distribution), low=low, high=high,
        ),
    )  # fmt: skip


def _randomness(context: Context) -> tuple[Array, Any]:
    """The seed of this executor on the device, drawn for each run, and the numbers of the steps that use it."""
    if "seed" not in context.scratch:
        seed = context.session.device.empty((1,), np.int64)
        context.session.refresh.append((seed, lambda: context.rng.integers(SEEDS, dtype=np.int64)))
        context.scratch["seed"] = seed, itertools.count()
    found: tuple[Array, Any] = context.scratch["seed"]
    return found


# --- checks of values -----------------------------------------------------------------------------------


@kernel(Require)
def require(op: Require, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Reports unless every element is in range; comparisons with NaN are false and fail."""
    (x,) = inputs
    if x.size == 0:
        return sequence([])
    flags = context.session.check(context.label, lambda low, high: op.message)
    return _each_place(
        x, [x], [x.strides],
        lambda places, sizes: launch(
            context, "require_range", x.dtype, "Require", math.prod(sizes), count=math.prod(sizes),
            rank=len(sizes), sizes=sizes, x=places[0], flags=flags, low=op.low, high=op.high,
            ignore=op.ignore or 0, ignores=int(op.ignore is not None),
        ),
    )  # fmt: skip
