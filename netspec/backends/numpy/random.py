"""Random numbers, from the generator that the context carries at run time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import scratch
from netspec.backends.numpy.registry import kernel
from netspec.operations import Random


@kernel(Random)
def random(op: Random, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """bernoulli(p): 1 where a uniform number is below p; uniform(low, high)."""
    (out,) = outputs
    dtype = np.float64 if out.dtype == np.float64 else np.float32
    draw = scratch(context, "draw", out.shape, dtype)

    def bernoulli() -> None:
        (probability,) = op.arguments
        context.rng.random(out=draw, dtype=dtype)
        np.less(draw, probability, out=out, casting="unsafe")

    def uniform() -> None:
        low, high = op.arguments
        context.rng.random(out=draw, dtype=dtype)
        np.multiply(draw, high - low, out=draw)
        np.add(draw, low, out=out, casting="unsafe")

    return bernoulli if op.distribution == "bernoulli" else uniform
