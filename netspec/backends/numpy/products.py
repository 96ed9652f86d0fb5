"""Matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import collected, compact, gemm_ready, scratch, sequence
from netspec.backends.numpy.registry import kernel
from netspec.operations import Einsum, Linear, MatMul


@kernel(Linear)
def linear(op: Linear, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x (*, i) as rows (r, i), weight (o, i), [bias (o,)] -> (r, o)."""
    x, weight, *bias = inputs
    (out,) = outputs
    rows = math.prod(x.shape[:-1])
    source, before = compact(context, "x", x, (rows, x.shape[-1]))
    if not gemm_ready(weight):
        weight, load = compact(context, "weight", weight)
        before += load
    target, after = collected(context, "out", out, (rows, out.shape[-1]))
    steps: list[Kernel] = [partial(np.matmul, source, weight.T, target)]
    if bias:
        steps.append(partial(np.add, target, bias[0], target))
    return sequence(before, steps, after)


@kernel(MatMul)
def matmul(op: MatMul, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """One-dimensional operands get an axis of size 1; a batch times one matrix is a single product."""
    (x, y), (out,) = inputs, outputs
    if y.ndim == 1:
        y, out = y[:, None], out[..., None]  # (k, 1), (..., m, 1)
    if x.ndim == 1:
        x, out = x[None], out[..., None, :]  # (1, k), (..., 1, n)
    before: list[Kernel] = []
    if y.ndim == 2 and x.ndim > 2:
        x, before = compact(context, "x", x, (math.prod(x.shape[:-1]), x.shape[-1]))
        target, after = collected(context, "out", out, (x.shape[0], out.shape[-1]))
    else:
        target, after = (out, []) if gemm_ready(out) else collected(context, "out", out)
    if not gemm_ready(x):
        x, load = compact(context, "x", x)
        before += load
    if not gemm_ready(y):
        y, load = compact(context, "y", y)
        before += load
    return sequence(before, [partial(np.matmul, x, y, target)], after)


@kernel(Einsum)
def einsum(op: Einsum, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """np.einsum with the order of contractions worked out once."""
    (out,) = outputs
    path = np.einsum_path(op.equation, *inputs, optimize="greedy")[0] if len(inputs) > 1 else False
    result = scratch(context, "result", out.shape, out.dtype)

    def run() -> None:
        np.einsum(op.equation, *inputs, out=result, optimize=path)
        np.copyto(out, result)

    return run
