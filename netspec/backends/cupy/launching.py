"""From arrays to the arguments of a kernel, and how many threads run it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.cupy.arguments import DTYPES, RANK, arguments

THREADS = 256
"""Threads of a block of a kernel without barriers."""

WAVES = 16
"""Blocks for each multiprocessor at most: beyond it a thread takes several elements in turn."""

OWNER = "owner"

LARGE = 1 << 26
"""Bytes beyond which scratch memory grows in steps, not in powers of two."""


def described(array: Array, strides: Sequence[int] | None = None) -> dict[str, Any]:
    """The fields of an `Array` in arguments.py: address, dtype, strides in elements (given in bytes).

    The array goes along as the owner of the memory, for as long as a launch refers to it.
    """
    steps = array.strides if strides is None else strides
    return {
        OWNER: array,
        "data": array.data.ptr,
        "dtype": DTYPES.index(str(array.dtype)),
        "strides": [step // array.itemsize for step in steps],
    }


def fill(record: Any, **fields: Any) -> None:
    """Set fields of a struct; a mapping fills a struct, lists of them the beginning of an array of structs."""
    for name, value in fields.items():
        if name == OWNER:
            continue
        if isinstance(value, dict):
            fill(record[name], **value)
        elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            for target, part in zip(record[name], value, strict=False):
                fill(target, **part)
        elif isinstance(value, list | tuple):
            record[name][: len(value)] = value
        else:
            record[name] = value


def launch(
    context: Context,
    name: str,
    dtype: Any,
    struct: str,
    work: int,
    *,
    blocks: int | None = None,
    threads: int = THREADS,
    shared: int = 0,
    **fields: Any,
) -> Kernel:
    """The launch of a kernel with these arguments. work: elements that threads take one at a time."""
    device = context.session.device
    struct_of = arguments(struct)
    fill(struct_of[0], **fields)
    if blocks is None:
        blocks = max(1, min(-(-work // threads), WAVES * device.processors))
    start = device.function(name, dtype)
    return held(partial(start, blocks, threads, struct_of, shared), *owners(fields))


def held(kernel: Kernel, *arrays: Array) -> Kernel:
    """The kernel as the owner of arrays that it knows by their addresses."""
    run: Any = partial(kernel)
    run.arrays = arrays
    started: Kernel = run
    return started


def owners(fields: Any) -> list[Array]:
    """The arrays that described fields refer to."""
    if isinstance(fields, dict):
        own = [fields[OWNER]] if OWNER in fields else []
        return own + [array for value in fields.values() for array in owners(value)]
    if isinstance(fields, list | tuple) and fields and isinstance(fields[0], dict):
        return [array for value in fields for array in owners(value)]
    return []


def outer_loops(
    shape: Sequence[int], strides: Sequence[Sequence[int]], rank: int = RANK
) -> tuple[tuple[int, ...], list[tuple[int, ...]], list[list[int]]]:
    """Cut off the first axes beyond `rank`: the rest, its strides, and each array's offsets, one a round."""
    extra = len(shape) - rank
    if extra <= 0:
        return tuple(shape), [tuple(s) for s in strides], [[0] * len(strides)]
    offsets = [[0] * len(strides)]
    for axis in range(extra):
        offsets = [
            [start + i * steps[axis] for start, steps in zip(before, strides, strict=True)]
            for before in offsets
            for i in range(shape[axis])
        ]
    return tuple(shape[extra:]), [tuple(s[extra:]) for s in strides], offsets


def scratch(context: Context, name: str, shape: Sequence[int], dtype: Any) -> Array:
    """An uninitialised contiguous array, valid during one run of one kernel.

    Kernels of an executor run one after the other, so those of one `name` share memory, in powers of two.
    """
    dtype = np.dtype(dtype)
    size = max(1, math.prod(shape)) * dtype.itemsize
    room = 1 << max(12, (size - 1).bit_length())
    if room > LARGE:
        room = -(-size // LARGE) * LARGE
    key = (name, room)
    if key not in context.scratch:
        context.scratch[key] = context.session.device.empty((room,), np.uint8)
    return context.scratch[key][:size].view(dtype)[: math.prod(shape)].reshape(tuple(shape))


def prepared(
    context: Context, weight: Array, form: Hashable, make: Callable[[], tuple[Array, list[Kernel]]]
) -> tuple[Array, list[Kernel]]:
    """`weight` in the form that a kernel reads, and the kernels that refresh it before each run.

    make: allocates it, and the kernels that fill it. Fixed weights are brought into a form once for all executors
    of a network.
    """
    origin = context.origins.get(id(weight))
    if origin is None:
        return make()
    key = (origin, form)
    if key not in context.prepared:
        array, kernels = make()
        for start in kernels:
            start()
        context.prepared[key] = array
    return context.prepared[key], []


def sequence(kernels: Sequence[Callable[[], None]]) -> Kernel:
    """One kernel that starts all of them in order."""
    if len(kernels) == 1:
        return kernels[0]

    def run() -> None:
        for each in kernels:
            each()

    return run
