"""Transposed convolution: one product gives each input place's part of every tap, then the parts are summed.

An output place q = phase + stride * m on an axis takes tap k of input place m + (phase + padding -
dilation * k) / stride where that is whole: all outputs of a phase have the same taps, few of them, so a
tap is one addition of a whole array into every stride-th place. Nothing is unfolded, and nothing is
multiplied with the zeros between the inputs. With stride 1 it is a convolution with the taps reversed.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import (
    along,
    extent,
    gemm_ready,
    prepared,
    scratch,
    sequence,
    spread,
    tap,
    viewed,
)
from netspec.backends.numpy.convolution import convolution
from netspec.backends.numpy.depthwise import repeated
from netspec.backends.numpy.finish import Finish, nothing
from netspec.backends.numpy.registry import kernel
from netspec.operations import Convolution, TransposedConvolution

PRODUCT_ELEMENTS = 1 << 17
"""Elements of one product: they are summed while they are in the second-level cache."""

PRODUCT_COLUMNS = 256
"""Taps of the first axis share a product while its columns (taps * channels) are fewer than this."""

BLOCK_MULTIPLIES = 1 << 23
"""Multiplications that are worth a block of their own."""

FEWEST_BLOCKS = 4
"""Blocks that enough multiplications are cut into, so that there is something to share out."""

CONVOLUTION_EXCESS = 1.5
"""Reversed taps are used where they multiply with at most this many times as many elements."""

WHOLE_SHARE = 0.3
"""A part of a sum that is smaller than this is added where it falls, for want of arrays without gaps."""


class Tap(NamedTuple):
    """One tap on one axis: the input places that reach an output, and the outputs that they reach."""

    number: int
    phase: int
    here: slice
    there: slice


class Block(NamedTuple):
    """Whole images, or some output rows of one image (the first spatial axis, from a multiple of stride)."""

    images: slice
    rows: slice


@kernel(TransposedConvolution, finishes=True)
def transposed_convolution(
    op: TransposedConvolution,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    context: Context,
    finish: Finish | None = None,
) -> Kernel:
    """x (n, g*c, *s), weight (g*c, o, *k), [bias (g*o,)] -> (n, g*o, *s')."""
    x, weight = inputs[:2]
    (out,) = outputs
    if out.size == 0:
        return sequence()
    reversed_padding = _reversed_padding(op, x.shape, weight.shape, out.shape)
    if reversed_padding is not None:
        reversed_op = Convolution(op.stride, reversed_padding, op.dilation, op.groups)
        return _reversed(reversed_op, inputs, outputs, context, finish)
    return sequence(_summed(op, x, weight, inputs[2] if len(inputs) > 2 else None, out, context, finish))


def _reversed_padding(
    op: TransposedConvolution, x: tuple[int, ...], weight: tuple[int, ...], out: tuple[int, ...]
) -> tuple[tuple[int, int], ...] | None:
    """The padding with which a convolution gives the same, or None where there is none or it does more."""
    if any(stride != 1 for stride in op.stride) or 0 in x[2:]:
        return None
    if math.prod(out[2:]) > CONVOLUTION_EXCESS * math.prod(x[2:]):
        return None
    pairs = []
    for size, count, k, dilation, cut in zip(
        x[2:], out[2:], weight[2:], op.dilation, op.padding, strict=True
    ):
        before = dilation * (k - 1) - cut
        after = count + dilation * (k - 1) - size - before
        if before < 0 or after < 0:
            return None
        pairs.append((before, after))
    return tuple(pairs)


def _reversed(
    op: Convolution,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    context: Context,
    finish: Finish | None,
) -> Kernel:
    """The convolution with the weights (g*c, o, *k) as (g*o, c, *k), each kernel turned round."""
    x, weight, *bias = inputs
    groups = op.groups
    split = weight.reshape(groups, -1, *weight.shape[1:])  # (g, c, o, *k)
    turned = np.flip(split, tuple(range(3, split.ndim))).swapaxes(1, 2)  # (g, o, c, *k)
    shape = (groups * turned.shape[1], *turned.shape[2:])
    array, refresh = prepared(
        context,
        weight,
        ("reversed", groups),
        shape,
        lambda array: np.copyto(array.reshape(turned.shape), turned),
    )
    if not refresh:  # fixed weights: `array` lives as long as the network, so its id stays its own
        context.origins[id(array)] = (context.origins[id(weight)], "reversed", groups)
    made = convolution(op, [x, array, *bias], outputs, context, finish)  # type: ignore[call-arg]
    return sequence(refresh, [made])


def _summed(
    op: TransposedConvolution,
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    context: Context,
    finish: Finish | None,
) -> list[Kernel]:
    """The parts of all taps, block by block, summed into the output."""
    groups, features, kernel_size = op.groups, weight.shape[1], weight.shape[2:]
    first_axis, *rest = (
        _taps(size, k, stride, dilation, cut, limit)
        for size, k, stride, dilation, cut, limit in zip(
            x.shape[2:], kernel_size, op.stride, op.dilation, op.padding, out.shape[2:], strict=True
        )
    )
    width = math.prod(kernel_size[1:]) * features
    together = max(1, PRODUCT_COLUMNS // width)
    shares = [first_axis[start : start + together] for start in range(0, len(first_axis), together)]
    steps: list[Kernel] = []
    weights = []
    for share in shares:
        array, refresh = _weights(weight, [each.number for each in share], groups, context)
        weights.append(array)
        steps += refresh
    target = np.moveaxis(out.reshape(len(out), groups, features, *out.shape[2:]), (1, 2), (-2, -1))
    multiplies = math.prod(x.shape) * math.prod(kernel_size) * features
    columns = min(together, len(first_axis)) * width * groups
    blocks = _blocks(len(x), math.prod(x.shape[2:]) * columns, multiplies, out.shape[2], op.stride[0])
    shift = None
    if bias is not None:
        across = out.shape[-1] if out.ndim > 3 else max(extent(block)[-1] for block in blocks)
        shift, refresh = repeated(context, bias, across)
        steps += refresh
    finish = finish or nothing

    def make(block: Block) -> list[Kernel]:
        cut = [[_cut(each, block.rows) for each in share] for share in shares]
        reached = [[each for each in share if each.here.start < each.here.stop] for share in cut]
        sums = _Sums(target[block], [list(itertools.chain(*reached)), *rest], op, context)
        for share, taps, array in zip(cut, reached, weights, strict=True):
            if not taps or not all(rest):
                continue
            first, last = min(each.here.start for each in taps), max(each.here.stop for each in taps)
            if block.images.stop - block.images.start > 1:
                first, last = 0, x.shape[2]  # so that the places of all images are one axis of a matrix
            source = np.moveaxis(x[block.images, :, first:last], 1, -1)
            product, made = _product(source, array, out.strides[1] == out.itemsize, context)
            sums.steps += made
            for places in itertools.product(taps, *rest):
                leading = places[0]
                here = slice(leading.here.start - first, leading.here.stop - first)
                index = (slice(None), here, *(each.here for each in places[1:]), share.index(leading))
                sums.add(product[(*index, *(each.number for each in places[1:]))], places)
        made = sums.steps
        if shift is not None:
            rows = np.moveaxis(out[block.images, :, block.rows], 1, -1)
            made.append(partial(np.add, rows, shift[: rows.shape[-2]], rows))
        return made + finish((block.images, slice(None), block.rows))

    return steps + spread(context, blocks, make, multiplies // 64 + out.size)


def _taps(size: int, k: int, stride: int, dilation: int, cut: int, limit: int) -> list[Tap]:
    """The taps of one axis that reach an output, phase by phase, first those that reach all of it."""
    taps = [
        Tap(number, (number * dilation - cut) % stride, *tap(size, number * dilation - cut, stride, limit))
        for number in range(k)
    ]

    def order(each: Tap) -> tuple[int, bool]:
        return each.phase, len(range(limit)[each.there]) < len(range(each.phase, limit, stride))

    return sorted((each for each in taps if each.here.start < each.here.stop), key=order)


def _cut(leading: Tap, rows: slice) -> Tap:
    """The tap with the output rows of a block alone, counted from its first."""
    start, stride = leading.there.start, leading.there.step or 1
    count = leading.here.stop - leading.here.start
    first = max(0, -((start - rows.start) // stride))
    last = max(first, min(count, -((start - rows.stop) // stride)))
    here = slice(leading.here.start + first, leading.here.start + last)
    begin = start + first * stride - rows.start
    return leading._replace(here=here, there=slice(begin, begin + (last - first) * stride, stride))


def _weights(weight: Array, numbers: list[int], groups: int, context: Context) -> tuple[Array, list[Kernel]]:
    """(g*c, o, *k) as (g, c, *k, o) with some taps of the first kernel axis."""
    split = np.moveaxis(weight.reshape(groups, -1, *weight.shape[1:]), 2, -1)
    order = np.moveaxis(split, 0, -2) if split.shape[1] == 1 else split  # (c, *k, g, o) for runs of groups
    axis = 2 if order is split else 1

    def fill(array: Array) -> None:
        for place, number in enumerate(numbers):
            array[along(axis, place)] = order[along(axis, number)]

    shape = list(order.shape)
    shape[axis] = len(numbers)
    array, refresh = prepared(context, weight, ("transposed", groups, *numbers), shape, fill)
    return (array if order is split else np.moveaxis(array, -2, 0)), refresh


def _blocks(images: int, products: int, multiplies: int, rows: int, stride: int) -> list[Block]:
    """Images side by side while their products are small, else each in pieces of about equal size."""
    pieces = max(
        -(-images * products // PRODUCT_ELEMENTS), min(FEWEST_BLOCKS, multiplies // BLOCK_MULTIPLIES), 1
    )
    if pieces <= images:
        return [
            Block(slice(images * i // pieces, images * (i + 1) // pieces), slice(0, rows))
            for i in range(pieces)
        ]
    phases = -(-rows // stride)
    pieces = min(phases, -(-pieces // images))
    cuts = [min(rows, phases * i // pieces * stride) for i in range(pieces + 1)]
    return [
        Block(slice(image, image + 1), slice(*pair))
        for image in range(images)
        for pair in itertools.pairwise(cuts)
    ]


def _product(x: Array, weights: Array, channels_last: bool, context: Context) -> tuple[Array, list[Kernel]]:
    """x (b, *s, g*c), weights (g, c, *k, o) -> (b, *s, *k, g, o), in memory as the output lies."""
    groups, channels, *columns = weights.shape
    places = math.prod(x.shape[:-1])
    steps: list[Kernel] = []
    matrix = viewed(x, (places, groups, channels))
    if matrix is None or not gemm_ready(matrix.swapaxes(0, 1)):
        copy = scratch(context, "x", x.shape, x.dtype)
        steps.append(partial(np.copyto, copy, x))
        matrix = copy.reshape(places, groups, channels)
    if channels == 1:  # nothing to sum over: each tap is a multiple of the input
        factors = np.moveaxis(weights[:, 0], 0, -2).reshape(-1, groups, columns[-1])  # (k, g, o)
        product = scratch(context, "product", (places, *factors.shape), x.dtype)
        steps.append(partial(np.multiply, matrix[:, None], factors, product))
        return product.reshape(*x.shape[:-1], *columns[:-1], groups, columns[-1]), steps
    matrix = matrix.swapaxes(0, 1)  # (g, p, c)
    factor = weights.reshape(groups, channels, -1)
    if channels_last:
        product = scratch(context, "product", (groups, places, factor.shape[2]), x.dtype)
        steps.append(partial(np.matmul, matrix, factor, product))
        split = product.reshape(groups, *x.shape[:-1], *columns)
        return np.moveaxis(split, 0, -2), steps
    product = scratch(context, "product", (groups, factor.shape[2], places), x.dtype)
    steps.append(partial(np.matmul, factor.swapaxes(1, 2), matrix.swapaxes(1, 2), product))
    split = product.reshape(groups, *columns, *x.shape[:-1])  # (g, *k, o, b, *s)
    inner = range(1 + len(columns), split.ndim)
    return split.transpose(*inner, *range(1, len(columns)), 0, len(columns)), steps


class _Sums:
    """The output of a block (b, *s', g, o) and the steps that sum parts into it, phase by phase.

    NumPy adds into arrays with gaps by copies to and fro, at three times the cost: so the sum of a phase is
    an array of its own, and a part that does not cover it all is first put between zeros.
    """

    def __init__(
        self, out: Array, taps: Sequence[Sequence[Tap]], op: TransposedConvolution, context: Context
    ) -> None:
        self.out, self.stride, self.context = out, op.stride, context
        self.steps: list[Kernel] = []
        self.sums: dict[tuple[int, ...], Array] = {}
        self.covered: dict[tuple[int, ...], Array] = {}  # where a sum has got a part already
        self.waiting = Counter(tuple(each.phase for each in places) for places in itertools.product(*taps))
        for phase in itertools.product(*map(range, op.stride)):
            if not self.waiting[phase]:  # between the taps, where the stride is larger than the kernel
                self.steps.append(partial(np.copyto, self._phase(phase), 0))

    def add(self, part: Array, taps: Sequence[Tap]) -> None:
        """A part (b, *s, g, o) of these taps, one an axis."""
        phase = tuple(each.phase for each in taps)
        target = self._phase(phase)
        # `there` in places of the phase: the output's are `stride` apart
        there = tuple(
            slice(each.there.start // stride, each.there.start // stride + part.shape[axis])
            for axis, (each, stride) in enumerate(zip(taps, self.stride, strict=True), 1)
        )
        partly = part.shape != target.shape
        inside = (slice(None), *there)
        self.waiting[phase] -= 1
        if phase not in self.covered:
            self.covered[phase] = np.zeros(target.shape[1:-2], np.bool_)
            alone = not self.waiting[phase]
            self.sums[phase] = target if alone else self._array(f"phase{len(self.sums)}", target.shape)
            if partly:
                self.steps.append(partial(np.copyto, self.sums[phase], 0))
        total, covered = self.sums[phase], self.covered[phase]
        if not covered[there].any():
            self.steps.append(partial(np.copyto, total[inside], part))
        elif partly and part.size < WHOLE_SHARE * target.size:
            self.steps.append(partial(np.add, total[inside], part, total[inside]))
        else:
            if partly:
                whole = self._array("part", target.shape)
                self.steps += [partial(np.copyto, whole, 0), partial(np.copyto, whole[inside], part)]
                part = whole
            self.steps.append(partial(np.add, total, part, total))
        covered[there] = True
        if not self.waiting[phase] and total is not target:
            self.steps.append(partial(np.copyto, target, total))

    def _array(self, name: str, shape: Sequence[int]) -> Array:
        """Scratch of a logical shape (b, *s, g, o), in memory as the output lies."""
        if self.out.strides[-1] == self.out.itemsize:
            return scratch(self.context, name, shape, self.out.dtype)
        turned = scratch(self.context, name, (*shape[-2:], *shape[:-2]), self.out.dtype)
        return turned.transpose(*range(2, turned.ndim), 0, 1)

    def _phase(self, phase: Sequence[int]) -> Array:
        places = (slice(start, None, stride) for start, stride in zip(phase, self.stride, strict=True))
        return self.out[(slice(None), *places)]
