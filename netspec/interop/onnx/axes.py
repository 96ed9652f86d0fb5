"""Operations over axes, products, and other layouts of the same elements."""

from __future__ import annotations

from typing import Any

from netspec import operations as ops
from netspec.interop.onnx.writer import KINDS, Writer, translates
from netspec.program.builder import Step

# --- normalisation ----------------------------------------------------------------------------------


@translates(ops.Affine)
def affine(w: Writer, op: ops.Affine, step: Step) -> None:
    """BatchNormalization with mean 0 and variance 1 where scale and shift are numbers."""
    import numpy as np

    (x, scale, shift), (out,) = step.inputs, step.outputs
    rank, count = len(w.shape(x)), w.shape(scale)[0]
    if op.axis == 1 and rank >= 2 and scale in w.known and shift in w.known:
        dtype = w.dtype(x)
        mean, variance = (
            w.constant(np.full(count, value, dtype), f"{w.label}.{key}_{out}")
            for key, value in (("mean", 0), ("variance", 1))
        )
        names = [
            w.constant(w.known[v], f"{w.label}.{k}_{out}") for k, v in (("scale", scale), ("shift", shift))
        ]
        w.result(out, "BatchNormalization", w.name(x), *names, mean, variance, epsilon=0.0)
        return
    shape = w.integers([count if axis == op.axis else 1 for axis in range(rank)])
    product = w.op("Mul", w.name(x), w.op("Reshape", w.name(scale), shape))
    w.result(out, "Add", product, w.op("Reshape", w.name(shift), shape))


@translates(ops.Normalize)
def normalize(w: Writer, op: ops.Normalize, step: Step) -> None:
    """InstanceNormalization, or LayerNormalization together with the scale that follows it."""
    import numpy as np

    (x,), (out,) = step.inputs, step.outputs
    shape, dtype = w.shape(x), w.dtype(x)
    rank = len(shape)
    axes = tuple(sorted(axis % rank for axis in op.axes))
    if not op.center:
        square = w.op("Mul", w.name(x), w.name(x))
        mean = w.op("ReduceMean", square, w.integers(axes), keepdims=1)
        root = w.op("Sqrt", w.op("Add", mean, w.number(op.eps, dtype)))
        w.result(out, "Div", w.name(x), root)
        return
    if rank > 2 and axes == tuple(range(2, rank)):
        ones, zeros = (w.constant(np.full(shape[1], value, dtype)) for value in (1, 0))
        w.result(out, "InstanceNormalization", w.name(x), ones, zeros, epsilon=op.eps)
        return
    if axes == tuple(range(axes[0], rank)):
        _layer_norm(w, op, step, axes[0])
        return
    mean = w.op("ReduceMean", w.name(x), w.integers(axes), keepdims=1)
    centred = w.op("Sub", w.name(x), mean)
    variance = w.op("ReduceMean", w.op("Mul", centred, centred), w.integers(axes), keepdims=1)
    w.result(out, "Div", centred, w.op("Sqrt", w.op("Add", variance, w.number(op.eps, dtype))))


def _layer_norm(w: Writer, op: ops.Normalize, step: Step, axis: int) -> None:
    import numpy as np

    (x,), (out,) = step.inputs, step.outputs
    shape = w.shape(x)[axis:]
    following = w.following
    if (
        following is not None
        and isinstance(following.operation, ops.Affine)
        and following.operation.axis == axis == len(w.shape(x)) - 1
        and following.inputs[0] == out
        and following.inputs[1] in w.known
        and following.inputs[2] in w.known
        and following.label == w.label  # so nothing else reads what lies between
    ):
        scale, shift = (w.name(v) for v in following.inputs[1:])
        w.result(
            following.outputs[0], "LayerNormalization", w.name(x), scale, shift, axis=axis, epsilon=op.eps
        )
        w.taken_along = True
        return
    ones = w.constant(np.ones(shape, w.dtype(x)))
    w.result(out, "LayerNormalization", w.name(x), ones, axis=axis, epsilon=op.eps)


@translates(ops.Moments)
def moments(w: Writer, op: ops.Moments, step: Step) -> None:
    """Mean and biased variance."""
    (x,), (mean, variance) = step.inputs, step.outputs
    axes = w.integers(op.axes)
    w.result(mean, "ReduceMean", w.name(x), axes, keepdims=0)
    centred = w.op("Sub", w.name(x), w.op("ReduceMean", w.name(x), axes, keepdims=1))
    w.result(variance, "ReduceMean", w.op("Mul", centred, centred), axes, keepdims=0)


# --- reductions -------------------------------------------------------------------------------------

_REDUCE = {
    "sum": "ReduceSum",
    "mean": "ReduceMean",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "prod": "ReduceProd",
}


@translates(ops.Reduce)
def reduce(w: Writer, op: ops.Reduce, step: Step) -> None:
    """ReduceSum and its kin; the mean of each plane is a GlobalAveragePool."""
    (x,), (out,) = step.inputs, step.outputs
    rank = len(w.shape(x))
    axes = tuple(sorted(axis % rank for axis in op.axes))
    if op.function == "mean" and op.keepdims and rank > 2 and axes == tuple(range(2, rank)):
        w.result(out, "GlobalAveragePool", w.name(x))
        return
    w.result(out, _REDUCE[op.function], w.name(x), w.integers(axes), keepdims=int(op.keepdims))


@translates(ops.ArgMax)
def argmax(w: Writer, op: ops.ArgMax, step: Step) -> None:
    """ArgMax, of all elements where there is no axis."""
    (x,), (out,) = step.inputs, step.outputs
    if op.axis is not None:
        w.result(out, "ArgMax", w.name(x), axis=op.axis, keepdims=int(op.keepdims))
        return
    place = w.op("ArgMax", w.op("Reshape", w.name(x), w.integers([-1])), axis=0, keepdims=1)
    w.result(out, "Reshape", place, w.integers(w.shape(out)))


@translates(ops.Softmax)
def softmax(w: Writer, op: ops.Softmax, step: Step) -> None:
    """Softmax or LogSoftmax."""
    w.result(step.outputs[0], "LogSoftmax" if op.log else "Softmax", w.name(step.inputs[0]), axis=op.axis)


# --- products ---------------------------------------------------------------------------------------


@translates(ops.Linear)
def linear(w: Writer, op: ops.Linear, step: Step) -> None:
    """Gemm for a matrix, MatMul and Add for more axes."""
    x, weight, *bias = step.inputs
    out = step.outputs[0]
    if len(w.shape(x)) == 2:
        w.result(out, "Gemm", *map(w.name, step.inputs), transB=1)
        return
    if weight in w.known:
        turned = w.constant(w.known[weight].T, f"{w.label}.weight_turned_{out}")
    else:
        turned = w.op("Transpose", w.name(weight), perm=[1, 0])
    if not bias:
        w.result(out, "MatMul", w.name(x), turned)
        return
    w.result(out, "Add", w.op("MatMul", w.name(x), turned), w.name(bias[0]))


@translates(ops.MatMul)
def matmul(w: Writer, op: ops.MatMul, step: Step) -> None:
    """MatMul."""
    w.result(step.outputs[0], "MatMul", *map(w.name, step.inputs))


@translates(ops.Einsum)
def einsum(w: Writer, op: ops.Einsum, step: Step) -> None:
    """Einsum."""
    w.result(step.outputs[0], "Einsum", *map(w.name, step.inputs), equation=op.equation)


# --- layout -----------------------------------------------------------------------------------------


@translates(ops.Reshape)
def reshape(w: Writer, op: ops.Reshape, step: Step) -> None:
    """Reshape."""
    (x,), (out,) = step.inputs, step.outputs
    w.result(out, "Reshape", w.name(x), w.integers(w.shape(out)), allowzero=int(0 in w.shape(out)))


@translates(ops.Transpose)
def transpose(w: Writer, op: ops.Transpose, step: Step) -> None:
    """Transpose."""
    w.result(step.outputs[0], "Transpose", w.name(step.inputs[0]), perm=list(op.axes))


@translates(ops.Slice)
def cut(w: Writer, op: ops.Slice, step: Step) -> None:
    """Slice."""
    bounds = [w.integers([number]) for number in (op.start, op.stop, op.axis, op.step)]
    w.result(step.outputs[0], "Slice", w.name(step.inputs[0]), *bounds)


@translates(ops.Broadcast)
def broadcast(w: Writer, op: ops.Broadcast, step: Step) -> None:
    """Expand."""
    w.result(step.outputs[0], "Expand", w.name(step.inputs[0]), w.integers(w.shape(step.outputs[0])))


@translates(ops.Concat)
def concat(w: Writer, op: ops.Concat, step: Step) -> None:
    """Concat."""
    w.result(step.outputs[0], "Concat", *map(w.name, step.inputs), axis=op.axis)


@translates(ops.Cast)
def cast(w: Writer, op: ops.Cast, step: Step) -> None:
    """Cast."""
    w.result(step.outputs[0], "Cast", w.name(step.inputs[0]), to=KINDS[w.dtype(step.outputs[0])])


@translates(ops.TakeAlong)
def take_along(w: Writer, op: ops.TakeAlong, step: Step) -> None:
    """GatherElements with the index's missing axis put in, and taken away again."""
    (x, index), (out,) = step.inputs, step.outputs
    axis = w.integers([op.axis])
    taken = w.op("GatherElements", w.name(x), w.op("Unsqueeze", w.name(index), axis), axis=op.axis)
    w.result(out, "Squeeze", taken, axis)


@translates(ops.Require)
def require(w: Writer, op: Any, step: Step) -> None:
    """Nothing: ONNX does not check values."""
