"""Dropout: random zeroing in training, nothing in evaluation.

Source: torch.nn's Dropout Layers. Random numbers have torch's distribution, not torch's values.
"""

from __future__ import annotations

import math
from typing import ClassVar

from netspec.layers.base import Call, Layer
from netspec.layers.parameters import Bool, Probability
from netspec.layers.tensor import REAL_OF, TensorType, is_inexact
from netspec.operations import Random
from netspec.program.builder import Builder, Value
from netspec.symbolic import equal, product

ALPHA = 1.7580993408473766
"""SELU's scale times its alpha: what dropped elements become, before the correction."""


class _Dropout(Layer):
    """What the dropout layers share; `p` = 0 and evaluation change nothing, `p` = 1 gives zeros."""

    alpha: ClassVar[bool] = False
    """Whether mean and variance are kept, for SELU networks."""
    features: ClassVar[bool] = False
    """Whether whole channels are dropped: one number for each index of the first two axes."""

    p: Probability = 0.5
    """Probability of an element (or channel) to be dropped."""
    inplace: Bool = False
    """A memory hint; values are as if it were false."""

    def infer(self, call: Call) -> TensorType:
        """Any shape; the same shape."""
        if call.training and 0 < self.p < 1:
            empty = equal(product(call.x.shape), 0)
            if not is_inexact(call.x.dtype):
                call.require(empty, f"expected a floating dtype, got {call.x.dtype}", code="wrong-dtype")
            if self.features and call.x.rank < self._least_rank():
                call.require(
                    empty,
                    f"dropping channels needs at least {self._least_rank()}-D input, "
                    f"got {call.x.rank}-D {call.x}",
                    code="wrong-rank",
                )
        return call.x

    def _least_rank(self) -> int:
        return 2

    def _mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the random numbers, which broadcasts to the input's."""
        return shape[:2] + (1,) * (len(shape) - 2) if self.features else shape

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """The input times random numbers 0 and 1 / (1 - p)."""
        x = inputs[0]
        if not b.training or self.p == 0 or not math.prod(x.shape):
            return x
        if self.p == 1:
            return b.elementwise("mul", x, b.literal(0, x.dtype))
        dtype = REAL_OF.get(x.dtype, x.dtype)
        mask = b.emit(Random("bernoulli", (1 - self.p,)), shape=self._mask_shape(x.shape), dtype=dtype)
        if not self.alpha:
            mask = b.elementwise("scale", mask, constants=(1 / (1 - self.p), 0.0))
            return b.elementwise("mul", x, mask, dtype=x.dtype)
        a = 1 / math.sqrt((ALPHA**2 * self.p + 1) * (1 - self.p))
        # kept: a*x + a*ALPHA*p; dropped: -a*ALPHA + a*ALPHA*p
        shift = b.elementwise("scale", mask, constants=(ALPHA * a, ALPHA * a * (self.p - 1)))
        factor = b.elementwise("scale", mask, constants=(a, 0.0))
        kept = b.elementwise("mul", x, factor, dtype=x.dtype)
        return b.elementwise("add", kept, shift, constants=(1,), dtype=x.dtype)


class Dropout(_Dropout):
    """Zeroes elements with probability p in training, the others are divided by 1 - p: (*) -> (*).

    Example: `{type: Dropout, p: 0.5}`
    """


class Dropout1d(_Dropout):
    """Zeroes whole channels in training: (N, C, L) or (C, L) -> same.

    Example: `{type: Dropout1d, p: 0.2}`
    """

    features: ClassVar = True

    def infer(self, call: Call) -> TensorType:
        """(N, C, L) or (C, L); the same shape."""
        call.need_rank(2, 3, axes="(N, C, L) or (C, L)")
        return super().infer(call)

    def _mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], 1)


class Dropout2d(_Dropout):
    """Zeroes whole channels in training: (N, C, H, W) -> same; 3-D input is read as (N, C, L).

    Example: `{type: Dropout2d, p: 0.2}`
    """

    features: ClassVar = True

    def infer(self, call: Call) -> TensorType:
        """(N, C, H, W), or with a warning other numbers of axes; the same shape."""
        if call.x.rank == 3:
            call.warn(
                f"3-D input {call.x} is read as (N, C, L), not as an image without a batch",
                code="unusual-rank",
                help="use Dropout1d for (N, C, L)",
            )
        elif call.x.rank != 4:
            call.warn(f"expected 4-D input (N, C, H, W), got {call.x.rank}-D {call.x}", code="unusual-rank")
        return super().infer(call)


class Dropout3d(_Dropout):
    """Zeroes whole channels in training: (N, C, D, H, W) or (C, D, H, W) -> same.

    Example: `{type: Dropout3d, p: 0.2}`
    """

    features: ClassVar = True

    def infer(self, call: Call) -> TensorType:
        """(N, C, D, H, W) or (C, D, H, W), or with a warning other numbers of axes; the same shape."""
        if call.x.rank not in (4, 5):
            call.warn(
                f"expected 4-D or 5-D input (N, C, D, H, W) or (C, D, H, W), got {call.x.rank}-D {call.x}",
                code="unusual-rank",
            )
        return super().infer(call)

    def _least_rank(self) -> int:
        return 1

    def _mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        # torch adds a batch axis unless there are five axes
        kept = 2 if len(shape) == 5 else 1
        return shape[:kept] + (1,) * (len(shape) - kept)


class AlphaDropout(_Dropout):
    """Dropout that keeps mean and variance, for SELU networks: (*) -> (*).

    Example: `{type: AlphaDropout, p: 0.1}`
    """

    alpha: ClassVar = True


class FeatureAlphaDropout(_Dropout):
    """AlphaDropout of whole channels: (N, C, *) -> same.

    Example: `{type: FeatureAlphaDropout, p: 0.1}`
    """

    alpha: ClassVar = True
    features: ClassVar = True
