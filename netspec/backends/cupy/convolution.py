"""Convolutions: which form computes one, and the forms that need no cuDNN.

`cudnn`: NVIDIA's library, with the bias, a sum and ReLU in the same kernel; `direct`: one thread an output, for few
products (depthwise) and for every type; `product`: windows as columns and a matrix product. What is left of the
fused stages is done where a value is stored, or in one more pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.cupy.arguments import OPERANDS, SPACE, STAGES
from netspec.backends.cupy.chains import (
    Chain,
    Link,
    along_axis,
    bind_chain,
    chain_fields,
    copy,
    stage_links,
)
from netspec.backends.cupy.cudnn import ALIGNMENT, Problem
from netspec.backends.cupy.launching import described, held, launch, prepared, scratch, sequence
from netspec.backends.cupy.layout import broadcast
from netspec.backends.cupy.planes import spatial
from netspec.backends.cupy.registry import ended
from netspec.backends.strides import channels_inside
from netspec.operations import RUNNING, Convolution, Elementwise, Stage, TransposedConvolution

COLUMN_BYTES = 1 << 28
"""Most that unfolded windows take at a time: more images are computed in turns."""

FEW_PRODUCTS = 64
"""Up to so many products an output is computed by one thread: columns would be written and read for little."""

PRODUCT_TYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
LIBRARY_TYPES = ("float16", "bfloat16", "float32", "float64")

ADD = Elementwise("add", (1,))


@dataclass(frozen=True)
class Task:
    """One convolution on its arrays; space has SPACE axes everywhere, missing ones of size 1 in front.

    x (n, c, *s); weight (o, c/groups, *k), of a transposed one (c, o/groups, *k); stages with the bias as the first.
    """

    x: Array
    weight: Array
    out: Array
    bias: Array | None
    transposed: bool
    groups: int
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    after: tuple[int, ...]
    dilation: tuple[int, ...]
    stages: tuple[Stage, ...]
    arrays: tuple[Array, ...]

    @property
    def rank(self) -> int:
        """Spatial axes."""
        return int(self.x.ndim) - 2

    @property
    def last(self) -> bool:
        """Whether the output's channels lie side by side."""
        return channels_inside(self.out)

    @property
    def taps(self) -> int:
        """Taps of the kernel."""
        return math.prod(self.weight.shape[2:])

    @property
    def channels(self) -> int:
        """Input channels of a group."""
        return int(self.x.shape[1]) // self.groups

    @property
    def outputs(self) -> int:
        """Output channels of a group."""
        return int(self.out.shape[1]) // self.groups

    def ending(self) -> tuple[list[Array], list[Link]]:
        """Bias and stages, as a chain's operands and links."""
        arrays, links = stage_links(self.stages, self.arrays, self.out)
        if self.bias is None:
            return arrays, links
        moved = [
            replace(link, operands=tuple(i + 1 if i >= 0 else i for i in link.operands)) for link in links
        ]
        return [along_axis(self.bias, 1, self.out.ndim), *arrays], [Link("add", (RUNNING, 0), (1,)), *moved]


@ended(Convolution)
def convolution(
    op: Convolution,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    context: Context,
    stages: Sequence[Stage],
    arrays: Sequence[Array],
) -> Kernel:
    """x (n, g*c, *s), weight (g*o, c, *k), [bias (g*o,)] -> (n, g*o, *s')."""
    x, weight, *bias = inputs
    before, after = zip(*op.padding, strict=True)
    task = Task(x, weight, outputs[0], bias[0] if bias else None, False, op.groups, op.stride, before, after,
                op.dilation, tuple(stages), tuple(arrays))  # fmt: skip
    return _bound(task, context)


@ended(TransposedConvolution)
def transposed_convolution(
    op: TransposedConvolution,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    context: Context,
    stages: Sequence[Stage],
    arrays: Sequence[Array],
) -> Kernel:
    """x (n, g*c, *s), weight (g*c, o, *k), [bias (g*o,)] -> (n, g*o, *s')."""
    x, weight, *bias = inputs
    task = Task(x, weight, outputs[0], bias[0] if bias else None, True, op.groups, op.stride, op.padding,
                op.padding, op.dilation, tuple(stages), tuple(arrays))  # fmt: skip
    return _bound(task, context)


def _bound(task: Task, context: Context) -> Kernel:
    """The form for this task: by the number of products, or by measurement if the context says so."""
    if task.out.size == 0:
        return sequence([])
    dtype = str(task.out.dtype)
    if dtype not in PRODUCT_TYPES or task.x.size == 0:
        return direct(task, context)
    few = task.channels * task.taps <= FEW_PRODUCTS and (task.groups > 1 or task.outputs <= 16)
    library = dtype in LIBRARY_TYPES and context.session.device.cudnn is not None
    if context.autotune:
        forms = [f for f in (direct(task, context), library and by_library(task, context)) if f]
        if not library:
            forms.append(by_product(task, context))
        return forms[0] if len(forms) == 1 else min(forms, key=context.session.device.elapsed)
    if few:
        return direct(task, context)
    return (library and by_library(task, context)) or by_product(task, context)


# --- one thread an output ---------------------------------------------------------------------------


def direct(task: Task, context: Context) -> Kernel:
    """Every product in the thread that stores the sum."""
    name = "transposed_convolution" if task.transposed else "convolution"
    fields = {"x": described(_in_space(task, task.x)), "weight": described(_in_space(task, task.weight))}
    return _ended_launch(task, context, name, fields)


def _in_space(task: Task, array: Array) -> Array:
    """(a, b, *s) with SPACE axes of space."""
    return array[(slice(None), slice(None), *(None,) * (SPACE - task.rank))]


def _ended_launch(task: Task, context: Context, name: str, fields: dict[str, Any]) -> Kernel:
    """A kernel whose threads store one output each, after as many stages as it has room for."""
    arrays, links = task.ending()
    fits = len(links) <= STAGES and len(arrays) <= OPERANDS
    chain = Chain(tuple(arrays), tuple(links)) if fits else Chain((), ())
    device, out = context.session.device, _in_space(task, task.out)
    order = (0, 2, 3, 4, 1) if task.last else (0, 1, 2, 3, 4)
    operands = [
        described(_in_space(task, broadcast(device, x, task.out.shape)).transpose(order))
        for x in chain.operands
    ]
    sizes = [out.shape[axis] for axis in order]
    chain_of = {
        **chain_fields(chain, operands, out.dtype, context),
        "count": out.size, "rank": 2 + SPACE, "sizes": sizes, "out": described(out.transpose(order)),
    }  # fmt: skip
    first = launch(
        context, name, out.dtype, "Convolution", out.size, **fields, chain=chain_of,
        channels=task.channels, group_outputs=task.outputs, last=int(task.last),
        sizes=spatial(task.x.shape[2:], 1), kernel=spatial(task.weight.shape[2:], 1),
        stride=spatial(task.stride, 1), padding=spatial(task.padding, 0),
        dilation=spatial(task.dilation, 1),
    )  # fmt: skip
    if fits:
        return first
    return sequence([first, *_ending(task, task.out, context)])


def _ending(task: Task, source: Array, context: Context) -> list[Kernel]:
    """Bias and stages on the sums in `source`, into the output."""
    arrays, links = task.ending()
    if not links and source is task.out:
        return []
    if not links:
        return [copy(task.out, source, context)]
    position = len(arrays)
    first, *rest = links
    places = tuple(position if i == RUNNING else i for i in first.operands)
    chain = Chain((*arrays, source), (replace(first, operands=places), *rest))
    return [bind_chain(chain, task.out, context)]


# --- windows as columns -----------------------------------------------------------------------------


def by_product(task: Task, context: Context) -> Kernel:
    """A matrix product a group; of several images at once as far as memory allows."""
    per_image = task.taps * task.x.itemsize * max(
        task.x.shape[1] * math.prod(task.out.shape[2:]) if not task.transposed else 0,
        task.out.shape[1] * math.prod(task.x.shape[2:]) if task.transposed else 0,
    )  # fmt: skip
    images = max(1, min(len(task.x), COLUMN_BYTES // max(1, per_image)))
    kernels = []
    for start in range(0, len(task.x), images):
        part = _images(task, slice(start, start + images))
        kernels.append(_transposed_product(part, context) if task.transposed else _product(part, context))
    return sequence(kernels)


def _images(task: Task, part: slice) -> Task:
    """The task for some of the images."""
    if part.start == 0 and part.stop >= len(task.x):
        return task
    # stages read arrays that broadcast to the output: those that have the images are cut too
    arrays = tuple(
        x[part] if x.ndim == task.out.ndim and x.shape[0] == len(task.x) else x for x in task.arrays
    )
    return replace(task, x=task.x[part], out=task.out[part], arrays=arrays)


def _product(task: Task, context: Context) -> Kernel:
    """columns @ weights: (n*p, taps*c) @ (taps*c, o) channels-last, else (o, c*taps) @ (c*taps, p) an image."""
    x, out, groups = task.x, task.out, task.groups
    n, places, depth = len(x), math.prod(out.shape[2:]), task.taps * task.channels
    target = out if _is_matrix(out, task.last) else _fresh(context, "sums", out, task.last)
    pointwise = task.taps == 1 and not any((*task.padding, *task.after)) and set(task.stride) <= {1}
    kernels: list[Kernel] = []
    if pointwise and _is_matrix(x, task.last):
        step, group_step, image_step = _matrix_steps(x, task.last, task.channels)
        source = x.data.ptr
    else:
        columns, kernel = _columns(task, context)
        kernels.append(kernel)
        source = columns.data.ptr
        step, group_step, image_step = (
            (depth, n * places * depth, 0) if task.last else (places, depth * places, groups * depth * places)
        )
    out_step, out_group, out_image = _matrix_steps(target, task.last, task.outputs)
    weight, refresh = _weight(task, context)
    size = x.itemsize
    multiply = context.session.device.multiply
    dtype, tf32 = str(x.dtype), context.precision != "highest"
    if task.last:
        kernels.append(
            multiply(
                dtype, (n * places, task.outputs, depth), (source, False, step, group_step),
                (weight.data.ptr, True, depth, task.outputs * depth), (target.data.ptr, out_step, out_group),
                groups, tf32,
            )
        )  # fmt: skip
    else:
        kernels += [
            multiply(
                dtype, (task.outputs, places, depth),
                (weight.data.ptr + g * task.outputs * depth * size, False, depth, 0),
                (source + g * group_step * size, False, step, image_step),
                (target.data.ptr + g * out_group * size, out_step, out_image), n, tf32,
            )
            for g in range(groups)
        ]  # fmt: skip
    kernels = [held(kernel, x, weight, target) for kernel in kernels]
    return sequence([*refresh, *kernels, *_ending(task, target, context)])


def _transposed_product(task: Task, context: Context) -> Kernel:
    """Each input place's part of every tap by one product, then each output adds up what reaches it."""
    x, groups, last = task.x, task.groups, task.last
    n, places, width = len(x), math.prod(x.shape[2:]), task.taps * task.outputs
    kernels: list[Kernel] = []
    if not _is_matrix(x, last):
        ordered = _fresh(context, "ordered", x, last)
        kernels.append(copy(ordered, x, context))
        x = ordered
    step, group_step, image_step = _matrix_steps(x, last, task.channels)
    weight, refresh = _weight(task, context)
    multiply = context.session.device.multiply
    dtype, size, tf32 = str(x.dtype), x.itemsize, context.precision != "highest"
    columns = scratch(context, "columns", (n * groups * width * places,), x.dtype)
    if last:  # (g, n*p, taps*o)
        kernels.append(
            multiply(
                dtype, (n * places, width, task.channels), (x.data.ptr, False, step, group_step),
                (weight.data.ptr, False, width, task.channels * width), (columns.data.ptr, width, n * places * width),
                groups, tf32,
            )
        )  # fmt: skip
        strides = [places * width, n * places * width, 1, task.outputs, width]
    else:  # (n, g, o*taps, p)
        kernels += [
            multiply(
                dtype, (width, places, task.channels),
                (weight.data.ptr + g * task.channels * width * size, True, width, 0),
                (x.data.ptr + g * group_step * size, False, step, image_step),
                (columns.data.ptr + g * width * places * size, places, groups * width * places), n, tf32,
            )
            for g in range(groups)
        ]  # fmt: skip
        strides = [groups * width * places, width * places, task.taps * places, places, 1]
    gathered = {**described(columns), "strides": strides}
    kernels = [held(kernel, x, weight) for kernel in kernels]
    return sequence([*refresh, *kernels, _ended_launch(task, context, "gather_columns", {"x": gathered})])


def _weight(task: Task, context: Context) -> tuple[Array, list[Kernel]]:
    """Weights as the product reads them, contiguous.

    (o, taps, c) where channels lie inside, else (o, c, taps); of a transposed one (c, taps, o) or (c, o, taps).
    """
    weight = task.weight
    inside = (0, *range(2, weight.ndim), 1)
    order = inside if task.last and task.taps > 1 else tuple(range(weight.ndim))
    turned = weight.transpose(order)
    if turned.flags.c_contiguous:
        return turned, []

    def make() -> tuple[Array, list[Kernel]]:
        array = context.session.device.empty(turned.shape, weight.dtype)
        return array, [copy(array, turned, context)]

    return prepared(context, weight, ("order", order), make)


def _columns(task: Task, context: Context) -> tuple[Array, Kernel]:
    """The windows of x, zeros outside, and the kernel that gathers them."""
    x, out = task.x, task.out
    count = len(x) * x.shape[1] * task.taps * math.prod(out.shape[2:])
    columns = scratch(context, "columns", (count,), x.dtype)
    kernel = launch(
        context, "columns", x.dtype, "Columns", count, x=described(_in_space(task, x)), columns=columns.data.ptr,
        images=len(x), groups=task.groups, channels=task.channels, last=int(task.last), count=count,
        sizes=spatial(x.shape[2:], 1), outputs=spatial(out.shape[2:], 1),
        kernel=spatial(task.weight.shape[2:], 1), stride=spatial(task.stride, 1),
        padding=spatial(task.padding, 0), dilation=spatial(task.dilation, 1),
    )  # fmt: skip
    return columns, kernel


def _is_matrix(x: Array, last: bool) -> bool:
    """Whether x (n, c, *s) is a matrix that a product can read: (n*p, c) with `last`, else (c, p) for each image."""
    size = x.itemsize
    shape, strides = x.shape, x.strides
    run = strides[-1] if not last else None
    expected = size if not last else strides[-1]
    for extent, step in zip(reversed(shape[2:]), reversed(strides[2:]), strict=True):
        if extent > 1 and step != expected:
            return False
        expected = expected * extent
    if not last:
        places = math.prod(shape[2:])
        return run is not None and (shape[1] == 1 or strides[1] >= places * size)
    if strides[1] != size and shape[1] > 1:
        return False
    return bool((shape[0] == 1 or strides[0] == expected) and strides[-1] >= shape[1] * size)


def _matrix_steps(x: Array, last: bool, channels: int) -> tuple[int, int, int]:
    """Elements from one row to the next, from one group of channels to the next, from one image to the next."""
    size = x.itemsize
    if last:
        return x.strides[-1] // size, channels, 0
    places = math.prod(x.shape[2:])
    row = x.strides[1] // size if x.shape[1] > 1 else places
    return row, channels * row, x.strides[0] // size


def _fresh(context: Context, name: str, like: Array, last: bool) -> Array:
    """Scratch memory shaped like (n, c, *s), in this layout."""
    n, c, *space = like.shape
    if not last:
        return scratch(context, name, like.shape, like.dtype)
    array = scratch(context, name, (n, *space, c), like.dtype)
    return array.transpose((0, array.ndim - 1, *range(1, array.ndim - 1)))


# --- cuDNN ------------------------------------------------------------------------------------------


def by_library(task: Task, context: Context) -> Kernel | None:
    """cuDNN with as much of what follows as it takes; None where it has no engine for the convolution itself."""
    first: list[Kernel] = []
    if channels_inside(task.x) != task.last:  # it would convert in its workspace, in every layer
        ordered = _fresh(context, "ordered", task.x, task.last)
        first = [copy(ordered, task.x, context)]
        task = replace(task, x=ordered)
    for residual, relu, left in _fusions(task):
        found = _planned(replace(task, stages=left), context, residual, relu)
        if found is not None:
            return sequence([*first, *found])
    return None


def _fusions(task: Task) -> list[tuple[Array | None, bool, tuple[Stage, ...]]]:
    """What the library may take over, most first: an array that is added, whether ReLU follows, the stages left."""
    stages, found = task.stages, []
    relu = Elementwise("relu")
    if stages and stages[0].operation == ADD:
        other = [i for i in stages[0].operands if i != RUNNING]
        if len(other) == 1 and _laid_alike(task.arrays[other[0]], task.out):
            residual = task.arrays[other[0]]
            if len(stages) > 1 and stages[1].operation == relu:
                found.append((residual, True, stages[2:]))
            found.append((residual, False, stages[1:]))
    if stages and stages[0].operation == relu:
        found.append((None, True, stages[1:]))
    return [*found, (None, False, stages)]


def _laid_alike(x: Array, out: Array) -> bool:
    return bool(x.shape == out.shape and x.strides == out.strides and x.dtype == out.dtype)


def _planned(task: Task, context: Context, residual: Array | None, relu: bool) -> list[Kernel] | None:
    """The library's kernel, and what is left to do; None where it has no engine for so much.

    Nothing may follow a transposed convolution, and its fast engines add in any order if they may.
    """
    device = context.session.device
    bias = None if task.transposed else task.bias
    if bias is None and (residual is not None or relu):
        if task.transposed:
            return None
        bias = _zeros(task, context)
    weight, refresh = _library_weight(task, context)
    size = task.x.itemsize

    if any(x is not None and x.data.ptr % ALIGNMENT for x in (task.x, weight, task.out, bias, residual)):
        return None  # a part of a concatenation that begins between two vectors

    def steps(array: Array) -> tuple[int, ...]:
        return tuple(step // size for step in array.strides)

    problem = Problem(
        task.transposed, task.x.shape, steps(task.x), weight.shape, steps(weight), task.out.shape, steps(task.out),
        str(task.x.dtype), tuple(task.stride), tuple(task.padding), tuple(task.after), tuple(task.dilation),
        task.groups, bias is not None, residual is not None, relu, context.precision != "highest",
        context.session.backend.deterministic or task.transposed,
    )  # fmt: skip
    plan = device.cudnn.plan(problem, device.elapsed if context.autotune else None)
    if plan is None:
        return None
    workspace = scratch(context, "workspace", (plan.workspace_bytes,), "uint8")
    addresses = [
        None if x is None else x.data.ptr for x in (task.x, weight, task.out, bias, residual, workspace)
    ]
    stream = context.session.stream.ptr

    def run() -> None:
        plan.run(*addresses, stream)

    left = task if task.transposed else replace(task, bias=None)
    after = _ending(left, task.out, context)
    return [*refresh, held(run, task.x, weight, task.out, bias, residual), *after]


def _zeros(task: Task, context: Context) -> Array:
    """A bias of zeros, without which the library has no kernel for what follows."""
    key = ("zeros", task.out.shape[1], str(task.out.dtype))
    if key not in context.prepared:
        context.prepared[key] = context.session.backend.asarray(np.zeros(task.out.shape[1], task.out.dtype))
    return context.prepared[key]


def _library_weight(task: Task, context: Context) -> tuple[Array, list[Kernel]]:
    """Weights with channels inside where the output has them inside; the shape stays torch's."""
    if not task.last or task.taps == 1:
        return task.weight, []
    array, kernels = _weight(task, context)
    return array.transpose((0, array.ndim - 1, *range(1, array.ndim - 1))), kernels
