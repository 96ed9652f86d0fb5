"""Checks of values at run time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.backends.base import Array, Context, Kernel, KernelError
from netspec.backends.numpy.arrays import CACHE_ELEMENTS, blocks, extent, scratch
from netspec.backends.numpy.registry import kernel
from netspec.operations import Require


@kernel(Require, exact=True)
def require(op: Require, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """Raises KernelError unless every element is in range; comparisons with NaN are false and fail."""
    (x,) = inputs
    x = x.reshape(-1) if x.flags.c_contiguous else x
    pieces = []
    for block in blocks(x.shape, CACHE_ELEMENTS):
        masks = [scratch(context, f"mask{i}", extent(block), np.bool_) for i in range(2)]
        pieces.append((x[block], *masks))

    def run() -> None:
        for part, good, other in pieces:
            np.greater_equal(part, op.low, out=good)
            np.less_equal(part, op.high, out=other)
            np.logical_and(good, other, out=good)
            if op.ignore is not None:
                np.equal(part, op.ignore, out=other)
                np.logical_or(good, other, out=good)
            if not good.all():
                raise KernelError(op.message)

    return run
