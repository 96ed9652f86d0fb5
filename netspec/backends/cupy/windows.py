"""Pooling and its way back (kernels/windows.cu)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.cupy.launching import THREADS, WAVES, held, launch, sequence
from netspec.backends.cupy.planes import along_channels, in_space, pack, spatial
from netspec.backends.cupy.registry import KERNELS, kernel
from netspec.backends.strides import channels_inside
from netspec.operations import (
    AdaptiveAveragePool,
    AdaptiveMaxPool,
    AveragePool,
    MaxPool,
    MaxUnpool,
    Reduce,
)

BUSY = 1024
"""Threads for each multiprocessor: with fewer outputs, several threads share a window."""

TURNS = 8
"""Places of a window that each of them should have at least."""

STATE_BYTES = 16
"""Shared memory of a thread that shares a window: a value and its index, or a complex sum."""


@kernel(MaxPool)
def max_pool(op: MaxPool, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x (n, c, *s) -> values (n, c, *s') [, indices]."""
    fields = _fixed(op.kernel_size, op.stride, op.padding, op.dilation)
    return _pool(_largest(outputs), inputs[0], outputs, math.prod(op.kernel_size), context, **fields)


@kernel(AveragePool)
def average_pool(
    op: AveragePool, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
) -> Kernel:
    """x (n, c, *s) -> (n, c, *s')."""
    fields = _fixed(op.kernel_size, op.stride, op.padding, (1,) * len(op.kernel_size))
    return _pool(
        "average_pool", inputs[0], outputs, math.prod(op.kernel_size), context,
        count_padding=int(op.count_include_pad), divisor=op.divisor or 0, **fields,
    )  # fmt: skip


@kernel(AdaptiveAveragePool)
def adaptive_average_pool(
    op: AdaptiveAveragePool, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
) -> Kernel:
    """Mean over overlapping windows that share the input out evenly."""
    return adaptive_average(inputs[0], outputs[0], context)


@kernel(AdaptiveMaxPool)
def adaptive_max_pool(
    op: AdaptiveMaxPool, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
) -> Kernel:
    """Maximum over the same windows [and its indices]."""
    (x,) = inputs
    return _pool(_largest(outputs), x, outputs, _largest_share(x, outputs[0]), context, adaptive=1)


def adaptive_average(x: Array, out: Array, context: Context) -> Kernel:
    """out (n, c, *s') = means of the windows that share x (n, c, *s) out; of whole planes as a reduction."""
    if math.prod(out.shape[2:]) == 1 and out.size and out.dtype.kind not in "iub":
        axes = tuple(range(2, x.ndim))
        return KERNELS[Reduce](Reduce("mean", axes, keepdims=True), [x], [out], context)
    return _pool("average_pool", x, [out], _largest_share(x, out), context, adaptive=1)


@kernel(MaxUnpool)
def max_unpool(op: MaxUnpool, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x, indices (n, c, *s) -> (n, c, *s'): the last x of each place is found, then every place looks it up."""
    (x, indices), (out,) = inputs, outputs
    if out.size == 0:  # torch leaves an empty plane without looking at the indices
        return sequence([])
    plane = math.prod(out.shape[2:])
    owners = context.session.device.empty((out.size,), np.int32)

    def message(low: int, high: int) -> str:
        return f"index {low if low < 0 else high} is outside the output plane of {plane} elements"

    fields: dict[str, Any] = {
        "x": in_space(x), "indices": in_space(indices), "out": in_space(out), "owners": owners.data.ptr,
        "flags": context.session.check(context.label, message), "batch": list(out.shape[:2]), "plane": plane,
        "sizes": spatial(x.shape[2:], 1), "outputs": spatial(out.shape[2:], 1),
        "last": int(channels_inside(x)), "out_last": int(channels_inside(out)),
    }  # fmt: skip
    launch(context, "unpool_clear", x.dtype, "Unpool", out.size, count=out.size, **fields)()
    kernels = []
    if x.size:
        kernels.append(launch(context, "unpool_owners", x.dtype, "Unpool", x.size, count=x.size, **fields))
    kernels.append(launch(context, "unpool_gather", x.dtype, "Unpool", out.size, count=out.size, **fields))
    return held(sequence(kernels), owners)


def _largest(outputs: Sequence[Array]) -> str:
    return "max_pool_indices" if len(outputs) == 2 else "max_pool"


def _fixed(
    kernel_size: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> dict[str, Any]:
    """The fields of windows of one size."""
    return {
        "kernel": spatial(kernel_size, 1), "stride": spatial(stride, 1),
        "padding": spatial(padding, 0), "dilation": spatial(dilation, 1),
    }  # fmt: skip


def _largest_share(x: Array, out: Array) -> int:
    """About how many places the windows have that share x out."""
    return math.prod(
        -(-size // max(count, 1)) for size, count in zip(x.shape[2:], out.shape[2:], strict=True)
    )


def _pool(
    name: str, x: Array, outputs: Sequence[Array], taps: int, context: Context, **fields: Any
) -> Kernel:
    """One pool of windows with up to `taps` places, by the form of the kernel `name` that suits the sizes."""
    values = outputs[0]
    if values.size == 0:
        return sequence([])
    last = along_channels(values, x)
    fields |= {
        "x": in_space(x), "values": in_space(values), "count": values.size, "batch": list(values.shape[:2]),
        "sizes": spatial(x.shape[2:], 1), "outputs": spatial(values.shape[2:], 1), "last": int(last),
    }  # fmt: skip
    if len(outputs) == 2:
        fields["indices"] = in_space(outputs[1])
    lanes = _lanes(values.size, taps, context)
    if lanes > 1:
        blocks = min(-(-values.size * lanes // THREADS), WAVES * context.session.device.processors)
        return launch(
            context, f"{name}_wide", x.dtype, "Pool", 0, blocks=blocks, shared=THREADS * STATE_BYTES,
            lanes=lanes, **fields,
        )  # fmt: skip
    size = pack(x, values) if last else 1
    form = name if size == 1 else f"{name}_packed"
    return launch(context, form, x.dtype, "Pool", values.size // size, **fields)


def _lanes(count: int, taps: int, context: Context) -> int:
    """Threads that share a window: a power of two."""
    lanes = 1
    while count * lanes < BUSY * context.session.device.processors and lanes < min(THREADS, taps // TURNS):
        lanes *= 2
    return lanes
