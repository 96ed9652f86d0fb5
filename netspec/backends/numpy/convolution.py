"""Convolution: which of the neighbouring files computes it.

The form is chosen for the shape when the kernel is bound (`candidates`). Axis letters: n images,
g groups, c input channels of a group, o output channels of a group, k kernel taps, p output places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import (
    collected,
    compact,
    sequence,
    viewed,
)
from netspec.backends.numpy.costs import unfolded_cost, winograd_cost
from netspec.backends.numpy.depthwise import depthwise
from netspec.backends.numpy.finish import Finish, nothing
from netspec.backends.numpy.planes import pointwise_planes, unfolded_planes, unfolded_rows
from netspec.backends.numpy.registry import kernel
from netspec.backends.numpy.unfold import unfolded
from netspec.backends.numpy.winograd import tiling, winograd
from netspec.operations import Convolution

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
    target = out
    after: list[Kernel] = []
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
    return form.__name__


def _is_last(array: Array) -> bool:
    """Whether the channels lie side by side."""
    return bool(array.ndim > 2 and array.shape[1] > 1 and array.strides[1] == array.itemsize)


def candidates(op: Convolution, x: Array, weight: Array, out: Array, context: Context) -> list[Algorithm]:
    """The algorithms for these arrays, the one that should be fastest first."""
    compiled: list[tuple[float, Algorithm]] = []
    if context.jit:
        from netspec.backends.numpy.jit import direct

        if direct.applies(op, x, weight, out):
            compiled = [(direct.cost(op, weight.shape, out.shape), direct.direct)]
    if op.groups > 1 and weight.shape[1] == 1:
        return [depthwise]
    if not (_is_last(x) or _is_last(out)):
        places = math.prod(out.shape[2:])
        plain = math.prod(weight.shape[2:]) == 1 and not any(map(any, op.padding))
        return [pointwise_planes if plain and (len(out) == 1 or places >= 64) else unfolded_planes]
    if weight.shape[1] < FEW_CHANNELS and op.groups == 1 and not _is_last(x):
        return [*(algorithm for _, algorithm in compiled), unfolded_rows]
    costs = [*compiled, (unfolded_cost(op, weight.shape, out.shape), unfolded)]
    if context.precision != "highest" and x.dtype == np.float32:
        for outputs in (2, 4):
            how = tiling(op, weight.shape, out.shape, outputs)
            if how is not None:
                cost = winograd_cost(how, weight.shape, out.shape)
                costs.append((cost, partial(winograd, how=how)))
    return [algorithm for _, algorithm in sorted(costs, key=lambda pair: pair[0])]
