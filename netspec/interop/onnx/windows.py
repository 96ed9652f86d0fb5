"""Operations over space: convolutions, pools, padding, resizing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from netspec import operations as ops
from netspec.interop.onnx.writer import Writer, translates
from netspec.program.builder import Step


@translates(ops.Convolution)
def convolution(w: Writer, op: ops.Convolution, step: Step) -> None:
    """Conv."""
    pads = [before for before, _ in op.padding] + [after for _, after in op.padding]
    w.result(
        step.outputs[0], "Conv", *map(w.name, step.inputs), group=op.groups, strides=list(op.stride),
        dilations=list(op.dilation), pads=pads, kernel_shape=list(w.shape(step.inputs[1])[2:]),
    )  # fmt: skip


@translates(ops.TransposedConvolution)
def transposed(w: Writer, op: ops.TransposedConvolution, step: Step) -> None:
    """ConvTranspose; output_padding is what the output's size says."""
    x, weight = step.inputs[:2]
    kernel = w.shape(weight)[2:]
    sizes = zip(w.shape(x)[2:], w.shape(step.outputs[0])[2:], kernel, op.stride, op.padding, op.dilation,
                strict=True)  # fmt: skip
    beyond = [o - ((i - 1) * s - 2 * p + d * (k - 1) + 1) for i, o, k, s, p, d in sizes]
    after = list(op.padding)
    if any(more >= step for more, step in zip(beyond, op.stride, strict=True)):
        # refused by ONNX Runtime; cutting off less is the same as long as there is something to cut
        cut = [min(more, padding) for more, padding in zip(beyond, op.padding, strict=True)]
        after = [padding - less for padding, less in zip(after, cut, strict=True)]
        beyond = [more - less for more, less in zip(beyond, cut, strict=True)]
    w.result(
        step.outputs[0], "ConvTranspose", *map(w.name, step.inputs), group=op.groups, strides=list(op.stride),
        dilations=list(op.dilation), pads=[*op.padding, *after], output_padding=beyond,
        kernel_shape=list(kernel),
    )  # fmt: skip


# --- pools ------------------------------------------------------------------------------------------


def _pads(size: Sequence[int], out: Sequence[int], op: Any) -> list[int]:
    """Padding that gives exactly the output's size: as declared, or with more (or less) at the end where
    the size was rounded up."""
    dilation = getattr(op, "dilation", (1,) * len(size))
    before, after = list(op.padding), []
    for length, count, kernel, stride, padding, gap in zip(
        size, out, op.kernel_size, op.stride, op.padding, dilation, strict=True
    ):
        reach = gap * (kernel - 1) + 1
        if (length + 2 * padding - reach) // stride + 1 == count:
            after.append(padding)
        else:
            after.append(max(0, (count - 1) * stride + reach - length - padding))
    return before + after


def _need_float(w: Writer, x: int, what: str) -> None:
    if not w.dtype(x).startswith("float"):
        raise w.refuse(f"{what} of {w.dtype(x)}")


@translates(ops.MaxPool)
def max_pool(w: Writer, op: ops.MaxPool, step: Step) -> None:
    """MaxPool; ONNX counts indices through the whole tensor, here they are of each plane."""
    (x,), out = step.inputs, step.outputs[0]
    _need_float(w, x, "maximum pooling")
    size = w.shape(x)[2:]
    attributes = {
        "kernel_shape": list(op.kernel_size), "strides": list(op.stride), "dilations": list(op.dilation),
        "pads": _pads(size, w.shape(out)[2:], op),
    }  # fmt: skip
    if len(step.outputs) == 1:
        w.result(out, "MaxPool", w.name(x), **attributes)
        return
    flat = f"{w.label}/flat_indices"
    w.node("MaxPool", [w.name(x)], [w.edge(out), flat], **attributes)
    w.result(step.outputs[1], "Mod", flat, w.number(math.prod(size), "int64"))


@translates(ops.AveragePool)
def average_pool(w: Writer, op: ops.AveragePool, step: Step) -> None:
    """AveragePool; where torch divides by something else, its mean over the whole window times a constant."""
    import numpy as np

    (x,), (out,) = step.inputs, step.outputs
    _need_float(w, x, "average pooling")
    size, result = w.shape(x)[2:], w.shape(out)[2:]
    pads = _pads(size, result, op)
    attributes = {"kernel_shape": list(op.kernel_size), "strides": list(op.stride), "pads": pads}
    rank = len(size)
    as_declared = pads[rank:] == list(op.padding)
    if op.divisor is None and (as_declared or not op.count_include_pad):
        w.result(out, "AveragePool", w.name(x), count_include_pad=int(op.count_include_pad), **attributes)
        return
    whole = math.prod(op.kernel_size)
    mean = w.op("AveragePool", w.name(x), count_include_pad=1, **attributes)
    if op.divisor is not None:
        w.result(out, "Mul", mean, w.number(whole / op.divisor, w.dtype(out)))
        return
    counts = np.ones((), np.float64)
    for length, count, kernel, stride, padding in zip(
        size, result, op.kernel_size, op.stride, op.padding, strict=True
    ):
        start = np.arange(count) * stride - padding
        counts = counts[..., None] * (np.minimum(start + kernel, length + padding) - start)
    w.result(out, "Mul", mean, w.constant((whole / counts).astype(w.dtype(out))))


@translates(ops.AdaptiveAveragePool)
def adaptive_average(w: Writer, op: ops.AdaptiveAveragePool, step: Step) -> None:
    """AveragePool where all windows are of one size, else a product with each axis' windows."""
    (x,), (out,) = step.inputs, step.outputs
    size, result = w.shape(x)[2:], w.shape(out)[2:]
    if size == result:
        w.same(out, w.name(x))
        return
    if all(o and i % o == 0 for i, o in zip(size, result, strict=True)):
        kernel = [i // o for i, o in zip(size, result, strict=True)]
        w.result(out, "AveragePool", w.name(x), kernel_shape=kernel, strides=kernel)
        return
    edge, shape = w.name(x), list(w.shape(x))
    for axis in range(len(shape) - 1, 1, -1):
        matrix = _windows(shape[axis], w.shape(out)[axis]).astype(w.dtype(out))  # (in, out)
        before, inside = shape[:axis], shape[axis + 1 :]
        shape[axis] = w.shape(out)[axis]
        if inside:
            flat = w.op("Reshape", edge, w.integers([*before, matrix.shape[0], math.prod(inside)]))
            product = w.op("MatMul", w.constant(matrix.T), flat)
            edge = w.op("Reshape", product, w.integers(shape))
        else:
            edge = w.op("MatMul", edge, w.constant(matrix))
    w.result(out, "Identity", edge)


def _windows(size: int, count: int) -> Any:
    """(size, count): 1/length where the adaptive window of an output covers an input."""
    import numpy as np

    matrix = np.zeros((size, count))
    for i in range(count):
        start, stop = i * size // count, -(-(i + 1) * size // count)
        matrix[start:stop, i] = 1 / (stop - start)
    return matrix


@translates(ops.AdaptiveMaxPool)
def adaptive_max(w: Writer, op: ops.AdaptiveMaxPool, step: Step) -> None:
    """MaxPool, where all windows are of one size."""
    size, result = w.shape(step.inputs[0])[2:], w.shape(step.outputs[0])[2:]
    if not all(o and i % o == 0 for i, o in zip(size, result, strict=True)):
        raise w.refuse(f"adaptive maximum of {list(size)} in {list(result)} windows of several sizes")
    kernel = tuple(i // o for i, o in zip(size, result, strict=True))
    none, ones = (0,) * len(kernel), (1,) * len(kernel)
    max_pool(w, ops.MaxPool(kernel, kernel, none, ones), step)


@translates(ops.MaxUnpool)
def max_unpool(w: Writer, op: ops.MaxUnpool, step: Step) -> None:
    """Zeros with the values scattered into each plane."""
    import numpy as np

    (x, indices), (out,) = step.inputs, step.outputs
    n, c = w.shape(out)[:2]
    plane = math.prod(w.shape(out)[2:])
    flat = w.integers([n * c, math.prod(w.shape(x)[2:])])
    zeros = w.constant(np.zeros((n * c, plane), w.dtype(out)))
    places = w.op("Reshape", w.name(indices), flat)
    values = w.op("Reshape", w.name(x), flat)
    filled = w.op("ScatterElements", zeros, places, values, axis=1)
    w.result(out, "Reshape", filled, w.integers(w.shape(out)))


# --- padding and resizing ---------------------------------------------------------------------------

_PAD = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@translates(ops.Pad)
def pad(w: Writer, op: ops.Pad, step: Step) -> None:
    """Pad."""
    (x,), (out,) = step.inputs, step.outputs
    edge, widths = w.name(x), op.widths
    if op.mode in ("reflect", "replicate") and any(amount < 0 for pair in widths for amount in pair):
        # ONNX crops first; the border is taken from the whole input
        wider = tuple((max(before, 0), max(after, 0)) for before, after in widths)
        edge = w.op("Pad", edge, _amounts(w, wider), mode=_PAD[op.mode])
        widths = tuple((min(before, 0), min(after, 0)) for before, after in widths)
        w.result(out, "Pad", edge, _amounts(w, widths))
        return
    value = [w.number(op.value, w.dtype(x))] if op.mode == "constant" else []
    w.result(out, "Pad", edge, _amounts(w, widths), *value, mode=_PAD[op.mode])


def _amounts(w: Writer, widths: ops.Pairs) -> str:
    return w.integers([before for before, _ in widths] + [after for _, after in widths])


_SMALL_PLANE = 128
"""Up to this height plus width torch's nearest looks at equal and doubled sizes, not at their scales."""


@translates(ops.Resize)
def resize(w: Writer, op: ops.Resize, step: Step) -> None:
    """Resize with torch's coordinates: half pixels, corners, or (nearest) the upper left of a pixel."""
    import numpy as np

    (x,), (out,) = step.inputs, step.outputs
    if op.mode == "area":
        adaptive_average(w, ops.AdaptiveAveragePool(), step)
        return
    attributes: dict[str, Any] = {"mode": op.mode, "coordinate_transformation_mode": "half_pixel"}
    if op.mode == "nearest":
        attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    elif op.mode == "nearest-exact":
        attributes |= {"mode": "nearest", "nearest_mode": "round_prefer_ceil"}
    elif op.align_corners:
        attributes["coordinate_transformation_mode"] = "align_corners"
    if op.mode == "cubic":
        attributes["cubic_coeff_a"] = -0.75
    before, after = w.shape(x)[2:], w.shape(out)[2:]
    scales = None if None in op.scales or op.align_corners else list(op.scales)
    if scales is not None and op.mode == "nearest" and len(before) == 2 and sum(after) <= _SMALL_PLANE:
        scales = [
            o / i if o in (i, 2 * i) else s for i, o, s in zip(before, after, scales, strict=True)
        ]  # torch's own rule for small planes
    factors = np.array([1.0, 1.0, *(scales or [])], np.float32)
    if scales is not None:  # a product that rounding lifted to the next size: 100 * 1.15 is 114.99...
        lifted = np.floor(factors[2:] * np.array(before, np.float32)) == np.array(after) + 1
        factors[2:][lifted] = np.nextafter(factors[2:][lifted], np.float32(0))
    if scales is not None and (np.floor(factors[2:] * np.array(before, np.float32)) == after).all():
        w.result(out, "Resize", w.name(x), "", w.constant(factors), **attributes)
    else:
        w.result(out, "Resize", w.name(x), "", "", w.integers(w.shape(out)), **attributes)
