"""Convolution and transposed convolution as matrix products over unfolded windows.

The form is chosen for the shape when the kernel is bound (`candidates`). Axis letters: n images,
g groups, c input channels of a group, o output channels of a group, k kernel taps, p output places.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import (
    CACHE_ELEMENTS,
    blocks,
    collected,
    compact,
    extent,
    padded,
    reshaped,
    scratch,
    sequence,
    tap,
    viewed,
)
from netspec.backends.numpy.costs import unfolded_cost, winograd_cost
from netspec.backends.numpy.finish import Finish, nothing
from netspec.backends.numpy.planes import pointwise_planes, unfolded_planes, unfolded_rows
from netspec.backends.numpy.registry import kernel
from netspec.backends.numpy.unfold import unfolded
from netspec.backends.numpy.winograd import tiling, winograd
from netspec.operations import Convolution, TransposedConvolution

UNFOLD_BYTES = 1 << 20
"""Contributions of one block of a transposed convolution."""

FEW_CHANNELS = 16
"""Below this a run of channels is too short to gather."""

Algorithm = Callable[[Convolution, Array, Array, "Array | None", Array, Context, Finish], list[Kernel]]


@kernel(Convolution, finishes=True)
def convolution(
    op: Convolution,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    context: Context,
    finish: Finish | None = None,
) -> Kernel:
    """x (n, g*c, *s), weight (g*o, c, *k), [bias (g*o,)] -> (n, g*o, *s')."""
    x, weight, *bias = inputs
    (out,) = outputs
    if out.size == 0:
        return sequence()
    steps: list[Kernel] = []
    target, after = out, []
    if not (_is_last(x) or _is_last(out)):
        weight, steps = compact(context, "weight", weight)
        if viewed(out[0], (out.shape[1], -1)) is None:
            target, after = collected(context, "out", out)
    form = _chosen(op, x, weight, target, context)
    if after:
        done = form(op, x, weight, bias[0] if bias else None, target, context, nothing)
        return sequence(steps, done, after, (finish or nothing)(()))
    return sequence(steps, form(op, x, weight, bias[0] if bias else None, out, context, finish or nothing))


def _chosen(op: Convolution, x: Array, weight: Array, out: Array, context: Context) -> Algorithm:
    """The form for these arrays: by the cost model, or by measurement if the context says so."""
    forms = candidates(op, x, weight, out, context)
    if not context.autotune or len(forms) == 1:
        return forms[0]
    from netspec.backends.numpy import tuning

    rng = np.random.default_rng(0)
    source, target, filters = (np.empty_like(array) for array in (x, out, weight))
    for array in (source, filters):
        array[...] = rng.standard_normal(array.shape)  # no subnormal numbers, which are slow

    def bound(form: Algorithm) -> Kernel:
        trial = Context(lanes=context.lanes, precision=context.precision, jit=context.jit)
        trial.origins[id(filters)] = "trial"
        return sequence(form(op, source, filters, None, target, trial, nothing))

    layout = [array.strides[1] == array.itemsize for array in (x, out)]
    key = (
        f"{op} {x.shape} {weight.shape} {x.dtype} {layout} {context.lanes} {context.precision} {context.jit}"
    )
    return forms[tuning.fastest(key, [(_name(form), partial(bound, form)) for form in forms])]


def _name(form: Algorithm) -> str:
    """A form's name in the file of measured choices."""
    if isinstance(form, partial):
        return f"{form.func.__name__} {form.keywords['how'].outputs}"
    return form.__name__  # type: ignore[attr-defined]


def _is_last(array: Array) -> bool:
    """Whether the channels lie side by side."""
    return array.ndim > 2 and array.shape[1] > 1 and array.strides[1] == array.itemsize


def candidates(op: Convolution, x: Array, weight: Array, out: Array, context: Context) -> list[Algorithm]:
    """The algorithms for these arrays, the one that should be fastest first."""
    if op.groups > 1 and weight.shape[1] == 1:
        return [depthwise_last]
    if not (_is_last(x) or _is_last(out)):
        places = math.prod(out.shape[2:])
        plain = math.prod(weight.shape[2:]) == 1 and not any(map(any, op.padding))
        return [pointwise_planes if plain and (len(out) == 1 or places >= 64) else unfolded_planes]
    if weight.shape[1] < FEW_CHANNELS and op.groups == 1 and not _is_last(x):
        return [unfolded_rows]
    costs: list[tuple[float, Algorithm]] = [(unfolded_cost(op, weight.shape, out.shape), unfolded)]
    if context.precision != "highest" and x.dtype == np.float32:
        for outputs in (2, 4):
            how = tiling(op, weight.shape, out.shape, outputs)
            if how is not None:
                cost = winograd_cost(how, weight.shape, out.shape)
                costs.append((cost, partial(winograd, how=how)))
    return [algorithm for _, algorithm in sorted(costs, key=lambda pair: pair[0])]


def _depthwise(
    op: Convolution, x: Array, weight: Array, bias: Array | None, out: Array, context: Context
) -> list[Kernel]:
    """One input channel a group: multiply and add tap by tap, a few channels at a time."""
    groups, kernel_size, size = op.groups, weight.shape[2:], out.shape[2:]
    ones = (1,) * len(size)
    w = weight.reshape(groups, -1, *kernel_size)  # (g, o, *k)
    each = w.shape[1]
    steps: list[Kernel] = []
    limit = max(1, CACHE_ELEMENTS // math.prod(size) // each)
    for image, (channels,) in itertools.product(range(len(x)), blocks((groups,), limit)):
        source = x[image, channels]  # (b, *s)
        if any(map(any, op.padding)):
            buffer, inside = padded(context, source.shape, ((0, 0), *op.padding), x.dtype)
            steps.append(partial(np.copyto, inside, source))
            source = buffer
        target = out[image, channels.start * each : channels.stop * each]  # (b*o, *s')
        target = reshaped(target, (-1, each, *size))  # (b, o, *s')
        product = scratch(context, "product", target.shape, out.dtype)
        for number, place in enumerate(itertools.product(*map(range, kernel_size))):
            window = source[
                (
                    slice(None),
                    None,
                    *(
                        slice(k * d, k * d + (count - 1) * s + 1, s)
                        for k, d, s, count in zip(place, op.dilation, op.stride, size, strict=True)
                    ),
                )
            ]  # (b, 1, *s')
            factor = w[(channels, slice(None), *place)].reshape(-1, each, *ones)
            steps.append(partial(np.multiply, window, factor, product if number else target))
            if number:
                steps.append(partial(np.add, target, product, target))
        if bias is not None:
            shift = bias.reshape(groups, each, *ones)[channels]
            steps.append(partial(np.add, target, shift, target))
    return steps


def depthwise_last(
    op: Convolution, x: Array, weight: Array, bias: Array | None, out: Array, context: Context, finish: Finish
) -> list[Kernel]:
    """Placeholder until depthwise.py is in: the contiguous form on a copy."""
    target, after = collected(context, "out", out)
    return [*_depthwise(op, x, weight, bias, target, context), *after, *finish(())]


@kernel(TransposedConvolution)
def transposed_convolution(
    op: TransposedConvolution, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
) -> Kernel:
    """x (n, g*c, *s), weight (g*c, o, *k), [bias (g*o,)] -> (n, g*o, *s').

    One product gives every input place's contribution to every tap; each tap is then added to the
    places it falls on.
    """
    x, weight, *bias = inputs
    (out,) = outputs
    if out.size == 0:
        return sequence()
    groups, kernel_size, size = op.groups, weight.shape[2:], x.shape[2:]
    weight, before = compact(context, "weight", weight)
    w = weight.reshape(groups, weight.shape[0] // groups, -1).swapaxes(1, 2)  # (g, o*k, c)
    shift = bias[0].reshape(-1, *(1 for _ in size)) if bias else 0
    steps: list[Kernel] = [partial(np.copyto, out, shift)]
    target = reshaped(out, (len(out), groups, -1, *out.shape[2:]))  # (n, g, o, *s')
    rows = groups * w.shape[1] * x.itemsize
    for image, block in itertools.product(range(len(x)), blocks(size, max(64, UNFOLD_BYTES * 4 // rows))):
        source, load = compact(context, "x", x[(image, slice(None), *block)], (groups, w.shape[2], -1))
        product = scratch(context, "product", (groups, w.shape[1], source.shape[2]), x.dtype)
        taps = product.reshape(groups, -1, *kernel_size, *extent(block))  # (g, o, *k, *block)
        steps += [*load, partial(np.matmul, w, source, product)]
        for place in itertools.product(*map(range, kernel_size)):
            offsets = [
                piece.start * s + k * d - p
                for piece, s, k, d, p in zip(block, op.stride, place, op.dilation, op.padding, strict=True)
            ]
            hits = [
                tap(count, offset, s, limit)
                for count, offset, s, limit in zip(
                    extent(block), offsets, op.stride, out.shape[2:], strict=True
                )
            ]
            into = target[(image, slice(None), slice(None), *(there for _, there in hits))]
            if into.size:
                part = taps[(slice(None), slice(None), *place, *(here for here, _ in hits))]
                steps.append(partial(np.add, into, part, into))
    return sequence(before, steps)
