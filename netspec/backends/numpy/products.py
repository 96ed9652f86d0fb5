"""Matrix products.

Large ones are cut into pieces, the same for any number of lanes, since BLAS rounds differently at other sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import (
    collected,
    compact,
    gemm_ready,
    prepared,
    scratch,
    sequence,
    spread,
    viewed,
)
from netspec.backends.numpy.finish import Finish, nothing
from netspec.backends.numpy.registry import kernel
from netspec.operations import Einsum, Linear, MatMul

PIECES = 8
"""A large product is cut into so many."""

PIECE = 64
"""Rows or columns of a piece are a multiple of it."""

WORK = 1 << 23
"""Multiplications of a piece, about 100 microseconds; a single row waits for the weights and has a quarter."""

TURNED = 1 << 20
"""Weights of up to so many elements are kept turned, (i, o), which products of several rows read faster."""


def _pieces(size: int, work: int) -> list[slice]:
    """Parts of an axis, as many as there is work for, and none very narrow."""
    count = max(1, min(PIECES, work // WORK))
    step = -(-size // (count * PIECE)) * PIECE if count > 1 else max(1, size)
    return [slice(start, min(start + step, size)) for start in range(0, max(1, size), step)]


@kernel(Linear, finishes=True)
def linear(
    op: Linear,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    context: Context,
    finish: Finish | None = None,
) -> Kernel:
    """x (*, i) as rows (r, i), weight (o, i), [bias (o,)] -> (r, o), some features at a time."""
    x, weight, *bias = inputs
    (out,) = outputs
    rows, features = math.prod(x.shape[:-1]), out.shape[-1]
    source, before = compact(context, "x", x, (rows, x.shape[-1]))
    whole = viewed(out, (rows, features)) is not None
    target, after = (
        (out.reshape(rows, features), []) if whole else collected(context, "out", out, (rows, features))
    )
    if not whole and finish is not None:
        after += finish(())
    if not gemm_ready(weight):
        weight, load = compact(context, "weight", weight)
        before += load
    elif rows > 1 and weight.size <= TURNED and id(weight) in context.origins:
        turned = weight.T
        form, _ = prepared(context, weight, "turned", turned.shape, lambda array: np.copyto(array, turned))
        weight = form.T
    columns = rows > 1 and weight.size > TURNED and weight.strides[1] == weight.itemsize
    if columns:  # few columns beside a large matrix: BLAS reads it once and as it lies
        turned_rows = scratch(context, "columns", (x.shape[-1], rows), x.dtype)
        before.append(partial(np.copyto, turned_rows, source.T))

    def make(piece: slice) -> list[Kernel]:
        part = target[:, piece]
        if columns:
            product = scratch(context, "product", (piece.stop - piece.start, rows), x.dtype)
            steps: list[Kernel] = [partial(np.matmul, weight[piece], turned_rows, product)]
            if bias:
                steps.append(partial(np.add, product.T, bias[0][piece], part))
            else:
                steps.append(partial(np.copyto, part, product.T))
        else:
            steps = [partial(np.matmul, source, weight[piece].T, part)]
            if bias:
                steps.append(partial(np.add, part, bias[0][piece], part))
        region = (*(slice(None) for _ in out.shape[1:]), piece)
        return steps + (finish if finish and whole else nothing)(region)

    work = weight.size * (4 if rows == 1 else rows)
    return sequence(before, spread(context, _pieces(features, work), make, work), after)


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
    return sequence(before, _product(x, y, target, context), after)


def _product(x: Array, y: Array, out: Array, context: Context) -> list[Kernel]:
    """out = x @ y in pieces: of the batch where there is one, else of the longer side of the result."""
    work = out.size * x.shape[-1] * (4 if 1 in out.shape[-2:] else 1)
    if out.ndim > 2 and out.shape[0] > 1:
        count = max(1, min(PIECES, work // WORK))
        step = -(-out.shape[0] // count)

        def make(first: int) -> list[Kernel]:
            piece = slice(first, first + step)
            left, right = (a[piece] if a.ndim == out.ndim and len(a) > 1 else a for a in (x, y))
            return [partial(np.matmul, left, right, out[piece])]

        return spread(context, range(0, len(out), step), make, work)
    by_row = out.shape[-2] >= out.shape[-1]

    def part(piece: slice) -> list[Kernel]:
        if by_row:
            return [partial(np.matmul, x[..., piece, :], y, out[..., piece, :])]
        return [partial(np.matmul, x, y[..., piece], out[..., piece])]

    return spread(context, _pieces(out.shape[-2 if by_row else -1], work), part, work)


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
