"""Normalisation: BatchNorm, InstanceNorm, GroupNorm, LayerNorm, RMSNorm, LocalResponseNorm.

All divide by the biased deviation, eps inside the root; running variances take the unbiased one.
Source: torch.nn's Normalization Layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from pydantic import field_validator, model_validator
from pydantic_core import PydanticCustomError

from netspec.layers.base import Call, Layer, State
from netspec.layers.broadcasting import floating
from netspec.layers.initialize import ONES, ZEROS
from netspec.layers.parameters import Axes, Bool, Count, Number, number, out_of_range
from netspec.layers.tensor import REAL_OF, TensorType, format_shape, is_complex
from netspec.operations import Affine, AveragePool, Moments, Normalize, Pad, Reduce
from netspec.program.builder import Builder, Value
from netspec.symbolic import Dim, any_of, at_least, divisible, equal, product

EPSILON = {"float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}
"""Distance from 1 to the next number of a dtype."""


def need_several(call: Call, count: Dim, message: str) -> None:
    """Refuse a statistic over exactly one value; none at all is fine."""
    one = equal(count, 1)
    call.require(
        not one if isinstance(one, bool) else any_of(at_least(count, 2), equal(count, 0)),
        message,
        code="too-few-values",
    )


def single(b: Builder, x: Value) -> Value:
    """float16 statistics in float32, where torch computes them too."""
    return b.cast(x, "float32") if x.dtype == "float16" else x


def affine(b: Builder, x: Value, axis: int, scale: Value | None, shift: Value | None) -> Value:
    """x * scale + shift along an axis; either may be missing."""
    if scale is None and shift is None:
        return x
    if scale is None or shift is None:
        present = scale or shift
        assert present is not None
        shape = [1] * x.rank
        shape[axis] = present.shape[0]
        function = "add" if scale is None else "mul"
        constants = (1,) if scale is None else ()
        return b.elementwise(function, x, b.reshape(present, shape), constants=constants, dtype=x.dtype)
    return b.emit(Affine(axis), x, scale, shift, shape=x.shape)


def normalized(
    b: Builder,
    x: Value,
    axis: int,
    mean: Value,
    variance: Value,
    eps: float,
    weight: Value | None,
    bias: Value | None,
) -> Value:
    """(x - mean) / sqrt(variance + eps) * weight + bias with one of each along `axis`, as one map."""
    scale = b.elementwise("rsqrt", b.elementwise("scale", single(b, variance), constants=(1.0, eps)))
    if weight is not None:
        scale = b.elementwise("mul", scale, single(b, weight))
    shift = b.elementwise("neg", b.elementwise("mul", single(b, mean), scale))
    if bias is not None:
        shift = b.elementwise("add", shift, single(b, bias), constants=(1,))
    return affine(b, x, axis, scale, shift)


def moments(b: Builder, x: Value, axes: Sequence[int]) -> tuple[Value, Value]:
    """Mean and biased variance over `axes`."""
    shape = [size for axis, size in enumerate(x.shape) if axis not in axes]
    dtype = "float32" if x.dtype == "float16" else x.dtype
    mean, variance = b.value(shape, dtype), b.value(shape, dtype)
    b.append(Moments(tuple(axes)), [x], [mean, variance])
    return mean, variance


def moved(b: Builder, old: Value, new: Value, momentum: float | Value) -> Value:
    """(1 - momentum) * old + momentum * new, in old's dtype."""
    if isinstance(momentum, Value):
        rest = b.elementwise("scale", momentum, constants=(-1.0, 1.0))
        kept = b.elementwise("mul", single(b, old), rest)
        result = b.elementwise("add", kept, b.elementwise("mul", new, momentum), constants=(1,))
    else:
        kept = b.elementwise("scale", single(b, old), constants=(1.0 - momentum, 0.0))
        result = b.elementwise("add", kept, new, constants=(momentum,))
    return b.cast(result, old.dtype)


class _Tracked(Layer):
    """BatchNorm and InstanceNorm: one mean, variance, weight and bias for each channel."""

    rank: ClassVar[int]
    """Number of spatial axes."""
    inferred: ClassVar = {"num_features": 1}
    parameter_names: ClassVar = ("weight", "bias", "running_mean", "running_var")

    num_features: Count | None = None
    """Channels of the input; left out, they are read off the input."""

    def _has_weight(self) -> bool:
        return bool(self.affine)  # type: ignore[attr-defined]

    def _has_bias(self) -> bool:
        return bool(self.affine and self.bias)  # type: ignore[attr-defined]

    def _tracks(self) -> bool:
        return bool(self.track_running_stats)  # type: ignore[attr-defined]

    def state(self) -> tuple[State, ...]:
        """weight, bias, running_mean, running_var (num_features) and num_batches_tracked, as asked for."""
        shape = (self.num_features or 0,)
        states = []
        if self._has_weight():
            states.append(State("weight", shape, ONES))
        if self._has_bias():
            states.append(State("bias", shape, ZEROS))
        if self._tracks():
            states += [
                State("running_mean", shape, ZEROS, buffer=True),
                State("running_var", shape, ONES, buffer=True),
                State("num_batches_tracked", (), 0, dtype="int64", buffer=True, optional=True),
            ]
        return tuple(states)

    def _check_dtype(self, call: Call) -> None:
        if self._has_weight() or self._tracks():
            call.need_weight_dtype()
        call.need_float(complex_too=False)

    def _check_channels(self, call: Call, channels: Dim) -> None:
        call.require(
            equal(channels, self.num_features or 0),
            f"num_features is {self.num_features}, but the input has {channels} channels: {call.x}",
            code="channel-mismatch",
            parameter="num_features",
            help=f"write num_features: {channels}" if isinstance(channels, int) else None,
            fix=("num_features", channels),
        )


# --- BatchNorm --------------------------------------------------------------------------------------


class _BatchNorm(_Tracked):
    """BatchNorm1d, 2d and 3d."""

    ranks: ClassVar[tuple[int, ...]]
    """Numbers of axes that the input may have."""
    axes: ClassVar[str]
    """The layout, for messages."""

    eps: number("a number >= 0", 0.0) = 1e-5  # type: ignore[valid-type]
    """Added to the variance, inside the root; positive where batch statistics are used."""
    momentum: Number | None = 0.1
    """Share of the new statistics in the running ones; null: the mean over all batches so far."""
    affine: Bool = True
    """Whether a learnable weight and bias for each channel follow."""
    track_running_stats: Bool = True
    """Whether evaluation uses running statistics; false: each batch's own, also in evaluation."""
    bias: Bool = True
    """Whether the affine map has a bias."""

    def infer(self, call: Call) -> TensorType:
        """The same shape; where batch statistics are used, not exactly one value for each channel."""
        x = call.need_rank(*self.ranks, axes=self.axes)
        self._check_dtype(call)
        if self._has_weight() or self._tracks():
            self._check_channels(call, x.shape[1])
        if call.training or not self._tracks():
            if self.eps == 0:
                call.fail(
                    "eps must be positive where batch statistics are used, got 0.0",
                    code="out-of-range",
                    parameter="eps",
                    inputs=(),
                )
            need_several(
                call,
                x.shape[0] * product(x.shape[2:]),
                f"batch statistics need more than one value for each channel, got {x}",
            )
        return x

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One affine map for each channel; in training the running statistics move."""
        x = inputs[0]
        weight, bias = b.state("weight"), b.state("bias")
        if not b.training and self._tracks():
            mean, variance = b.weight("running_mean"), b.weight("running_var")
            return normalized(b, x, 1, mean, variance, self.eps, weight, bias)
        factor = self._count(b) if b.training and self._tracks() else 0.0
        if not math.prod(x.shape):
            return x
        mean, variance = moments(b, x, (0, *range(2, x.rank)))
        if b.training and self._tracks():
            values = math.prod(x.shape) // x.shape[1]
            unbiased = b.elementwise("scale", variance, constants=(values / (values - 1), 0.0))
            b.update("running_mean", moved(b, b.weight("running_mean"), mean, factor))
            b.update("running_var", moved(b, b.weight("running_var"), unbiased, factor))
        return normalized(b, x, 1, mean, variance, self.eps, weight, bias)

    def _count(self, b: Builder) -> float | Value:
        """Count the batch; the share of its statistics."""
        count = b.elementwise("scale", b.weight("num_batches_tracked"), constants=(1, 1))
        b.update("num_batches_tracked", count)
        if self.momentum is not None:
            return float(self.momentum)
        dtype = "float64" if b.dtype == "float64" else "float32"
        return b.elementwise("div", b.literal(1.0, dtype), b.cast(count, dtype))


class BatchNorm1d(_BatchNorm):
    """Normalises each channel over batch and length: (N, C) or (N, C, L) -> same.

    Example: `{type: BatchNorm1d, num_features: 100}`
    """

    rank: ClassVar = 1
    ranks: ClassVar = (2, 3)
    axes: ClassVar = "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """Normalises each channel over batch and image: (N, C, H, W) -> same.

    Example: `{type: BatchNorm2d, num_features: 64, momentum: 0.1}`
    """

    rank: ClassVar = 2
    ranks: ClassVar = (4,)
    axes: ClassVar = "(N, C, H, W)"


class BatchNorm3d(_BatchNorm):
    """Normalises each channel over batch and volume: (N, C, D, H, W) -> same.

    Example: `{type: BatchNorm3d, num_features: 16}`
    """

    rank: ClassVar = 3
    ranks: ClassVar = (5,)
    axes: ClassVar = "(N, C, D, H, W)"


# --- InstanceNorm -----------------------------------------------------------------------------------


class _InstanceNorm(_Tracked):
    """InstanceNorm1d, 2d and 3d."""

    eps: Number = 1e-5
    """Added to the variance, inside the root."""
    momentum: Number | None = 0.1
    """Share of the new statistics in the running ones; null leaves them as they are."""
    affine: Bool = False
    """Whether a learnable weight and bias for each channel follow."""
    track_running_stats: Bool = False
    """Whether evaluation uses running statistics instead of each plane's own."""
    bias: Bool = True
    """Whether the affine map has a bias."""

    def _channel_axis(self, x: TensorType, axis: int) -> int:
        return x.rank - self.rank - 1

    def infer(self, call: Call) -> TensorType:
        """The same shape; where plane statistics are used, not exactly one value in each plane."""
        letters = {1: "L", 2: "H, W", 3: "D, H, W"}[self.rank]
        x = call.need_rank(self.rank + 1, self.rank + 2, axes=f"(N, C, {letters}) or (C, {letters})")
        self._check_dtype(call)
        channels = x.shape[-self.rank - 1]
        if self._has_weight() or self._tracks():
            self._check_channels(call, channels)
        elif equal(channels, self.num_features or 0) is False:
            call.warn(
                f"num_features is {self.num_features}, but the input has {channels} channels: {x}; "
                "without affine and running statistics it is not used",
                code="channel-mismatch",
                parameter="num_features",
            )
        if self._has_weight() and x.rank > self.rank + 1:
            call.require(
                at_least(x.shape[0], 1),
                f"with affine the batch must not be empty, got {x}",
                code="empty-axis",
            )
        if call.training or not self._tracks():
            need_several(
                call,
                product(x.shape[-self.rank :]),
                f"plane statistics need more than one value in each plane, got {x}",
            )
        return x

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """Normalise each plane, then an affine map for each channel."""
        weight, bias = b.state("weight"), b.state("bias")

        def compute(x: Value) -> Value:
            if not b.training and self._tracks():
                mean, variance = b.weight("running_mean"), b.weight("running_var")
                return normalized(b, x, 1, mean, variance, self.eps, weight, bias)
            axes = tuple(range(2, x.rank))
            if math.prod(x.shape[2:]) == 0:
                return x
            if b.training and self._tracks():
                self._track(b, x, axes)
            return affine(b, b.emit(Normalize(axes, self.eps), x, shape=x.shape), 1, weight, bias)

        return b.batched(inputs[0], self.rank + 2, compute)

    def _track(self, b: Builder, x: Value, axes: tuple[int, ...]) -> None:
        """Running statistics take the mean over the batch of each plane's."""
        momentum = self.momentum or 0.0
        values = math.prod(x.shape[2:])
        mean, variance = moments(b, x, axes)
        unbiased = b.elementwise("scale", variance, constants=(values / (values - 1), 0.0))
        for name, planes in (("running_mean", mean), ("running_var", unbiased)):
            channels = b.emit(Reduce("mean", (0,)), planes, shape=planes.shape[1:])
            b.update(name, moved(b, b.weight(name), channels, momentum))


class InstanceNorm1d(_InstanceNorm):
    """Normalises each channel of each sample: (N, C, L) or (C, L) -> same.

    Example: `{type: InstanceNorm1d, num_features: 100, affine: true}`
    """

    rank: ClassVar = 1


class InstanceNorm2d(_InstanceNorm):
    """Normalises each channel of each sample: (N, C, H, W) or (C, H, W) -> same.

    Example: `{type: InstanceNorm2d, num_features: 64}`
    """

    rank: ClassVar = 2


class InstanceNorm3d(_InstanceNorm):
    """Normalises each channel of each sample: (N, C, D, H, W) or (C, D, H, W) -> same.

    Example: `{type: InstanceNorm3d, num_features: 16}`
    """

    rank: ClassVar = 3


# --- GroupNorm, LayerNorm, RMSNorm ------------------------------------------------------------------


class GroupNorm(Layer):
    """Normalises groups of channels of each sample together: (N, C, *) -> same.

    Example: `{type: GroupNorm, num_groups: 3, num_channels: 6}`
    """

    parameter_names: ClassVar = ("weight", "bias")

    num_groups: Count
    """Number of groups; it divides num_channels."""
    num_channels: Count
    """Channels of the input."""
    eps: Number = 1e-5
    """Added to the variance, inside the root."""
    affine: Bool = True
    """Whether a learnable weight and bias for each channel follow."""
    bias: Bool = True
    """Whether the affine map has a bias."""

    @model_validator(mode="after")
    def _groups_divide(self) -> GroupNorm:
        if self.num_channels % self.num_groups:
            raise PydanticCustomError(
                "groups-do-not-divide",
                "num_channels must be divisible by num_groups, got {channels} and {groups}",
                {"channels": self.num_channels, "groups": self.num_groups, "field": "num_groups"},
            )
        return self

    def infer(self, call: Call) -> TensorType:
        """(N, C, *); not exactly one value in the whole batch's group."""
        x = call.x
        if x.rank < 2:
            call.fail(f"expected at least 2-D input (N, C, *), got {x.rank}-D {x}", code="wrong-rank")
        if self.affine:
            call.need_weight_dtype()
        call.need_float(complex_too=False)
        channels = x.shape[1]
        if self.affine:
            call.require(
                equal(channels, self.num_channels),
                f"num_channels is {self.num_channels}, but the input has {channels} channels: {x}",
                code="channel-mismatch",
                parameter="num_channels",
                fix=("num_channels", channels),
            )
        else:
            call.require(
                divisible(channels, self.num_groups),
                f"the input's {channels} channels must be divisible by num_groups {self.num_groups}: {x}",
                code="groups-do-not-divide",
                parameter="num_groups",
            )
        need_several(
            call,
            x.shape[0] * channels // self.num_groups * product(x.shape[2:]),
            f"group statistics need more than one value, got {x} in {self.num_groups} groups",
        )
        return x

    def state(self) -> tuple[State, ...]:
        """With affine, weight and bias (num_channels)."""
        return affine_state((self.num_channels,), self.affine, self.affine and self.bias)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """(N, C, *) as (N, groups, rest), normalised over the rest."""
        x = inputs[0]
        if not math.prod(x.shape):
            return x
        # (n, g, c/g * space)
        grouped = b.reshape(x, (x.shape[0], self.num_groups, math.prod(x.shape[1:]) // self.num_groups))
        grouped = b.emit(Normalize((2,), self.eps), grouped, shape=grouped.shape)
        return affine(b, b.reshape(grouped, x.shape), 1, b.state("weight"), b.state("bias"))


def affine_state(shape: tuple[int, ...], weight: bool, bias: bool) -> tuple[State, ...]:
    """weight (ones) and bias (zeros), as asked for."""
    states = [State("weight", shape, ONES)] if weight else []
    return (*states, State("bias", shape, ZEROS)) if bias else tuple(states)


class _ShapeNorm(Layer):
    """LayerNorm and RMSNorm: over the last axes, whose sizes are given."""

    normalized_shape: Axes
    """Sizes of the last axes, which are normalised together."""

    @field_validator("normalized_shape")
    @classmethod
    def _sizes(cls, value: int | tuple[int, ...]) -> tuple[int, ...]:
        shape = (value,) if isinstance(value, int) else value
        if not shape or any(size < 0 for size in shape):
            raise out_of_range("a size or a list of one or more sizes, each >= 0", value)
        return shape

    def _shape(self) -> tuple[int, ...]:
        assert isinstance(self.normalized_shape, tuple)
        return self.normalized_shape

    def _check_shape(self, call: Call) -> None:
        x, shape = call.x, self._shape()
        expected = f"[*, {', '.join(map(str, shape))}]"
        message = f"normalized_shape {format_shape(shape)} needs input {expected}, got {x}"
        if x.rank < len(shape):
            call.fail(message, code="wrong-rank", parameter="normalized_shape")
        for size, wanted in zip(x.shape[x.rank - len(shape) :], shape, strict=True):
            call.require(equal(size, wanted), message, code="shape-mismatch", parameter="normalized_shape")

    def _flat(self, b: Builder, x: Value) -> Value:
        """x as (outer, normalised elements)."""
        inner = math.prod(self._shape())
        return b.reshape(x, (math.prod(x.shape) // inner, inner))

    def _vector(self, b: Builder, name: str) -> Value | None:
        value = b.state(name)
        return None if value is None else b.reshape(value, (math.prod(value.shape),))


class LayerNorm(_ShapeNorm):
    """Normalises the last axes of each sample: (*, normalized_shape) -> same.

    Example: `{type: LayerNorm, normalized_shape: [5, 10]}`
    """

    parameter_names: ClassVar = ("weight", "bias")

    eps: Number = 1e-5
    """Added to the variance, inside the root."""
    elementwise_affine: Bool = True
    """Whether a learnable weight and bias for each element follow."""
    bias: Bool = True
    """Whether the affine map has a bias."""

    def infer(self, call: Call) -> TensorType:
        """(*, normalized_shape); the same shape."""
        if self.elementwise_affine:
            call.need_weight_dtype()
        call.need_float(complex_too=False)
        self._check_shape(call)
        return call.x

    def state(self) -> tuple[State, ...]:
        """With elementwise_affine, weight and bias (normalized_shape)."""
        return affine_state(self._shape(), self.elementwise_affine, self.elementwise_affine and self.bias)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """Normalise (outer, inner) over the inner axis, then an affine map along it."""
        x = inputs[0]
        if not math.prod(x.shape):
            return x
        flat = self._flat(b, x)
        flat = b.emit(Normalize((1,), self.eps), flat, shape=flat.shape)
        flat = affine(b, flat, 1, self._vector(b, "weight"), self._vector(b, "bias"))
        return b.reshape(flat, x.shape)


class RMSNorm(_ShapeNorm):
    """Divides the last axes of each sample by their root mean square: (*, normalized_shape) -> same.

    Example: `{type: RMSNorm, normalized_shape: 64}`
    """

    parameter_names: ClassVar = ("weight",)

    eps: Number | None = None
    """Added to the mean square, inside the root; null: the dtype's machine epsilon."""
    elementwise_affine: Bool = True
    """Whether a learnable weight for each element follows."""

    def infer(self, call: Call) -> TensorType:
        """(*, normalized_shape); the same shape."""
        if self.elementwise_affine and not is_complex(call.x.dtype):
            call.need_weight_dtype()
        call.need_float()
        self._check_shape(call)
        return call.x

    def state(self) -> tuple[State, ...]:
        """With elementwise_affine, weight (normalized_shape)."""
        return affine_state(self._shape(), self.elementwise_affine, False)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """Normalise (outer, inner) over the inner axis without centring, then scale along it."""
        x = inputs[0]
        if not math.prod(x.shape):
            return x
        eps = EPSILON[_computed_in(x.dtype)] if self.eps is None else self.eps
        flat = self._flat(b, x)
        if is_complex(x.dtype):
            flat = self._complex(b, flat, eps)
        else:
            flat = b.emit(Normalize((1,), eps, center=False), flat, shape=flat.shape)
        weight = self._vector(b, "weight")
        if weight is not None:
            weight = b.cast(weight, x.dtype)
        return b.reshape(affine(b, flat, 1, weight, None), x.shape)

    def _complex(self, b: Builder, flat: Value, eps: float) -> Value:
        """torch squares complex numbers as they are, without taking magnitudes."""
        square = b.elementwise("mul", flat, flat)
        mean = b.emit(Reduce("mean", (1,), keepdims=True), square, shape=(flat.shape[0], 1))
        root = b.elementwise("sqrt", b.elementwise("scale", mean, constants=(1.0, eps)))
        return b.elementwise("div", flat, root)


def _computed_in(dtype: str) -> str:
    """The real dtype whose epsilon torch takes: float16 is computed in float32."""
    return "float32" if dtype == "float16" else REAL_OF.get(dtype, dtype)


# --- LocalResponseNorm ------------------------------------------------------------------------------


class LocalResponseNorm(Layer):
    """Divides each value by a power of the mean square of neighbouring channels: (N, C, *) -> same.

    Example: `{type: LocalResponseNorm, size: 5}`
    """

    size: Count
    """Number of neighbouring channels."""
    alpha: Number = 1e-4
    """Factor of the mean square."""
    beta: Number = 0.75
    """Exponent."""
    k: Number = 1.0
    """Added before the power is taken."""

    def infer(self, call: Call) -> TensorType:
        """(N, C, *) with at least one axis behind the channels; the same shape."""
        if call.x.rank < 3:
            call.fail(
                f"expected at least 3-D input (N, C, *), got {call.x.rank}-D {call.x}", code="wrong-rank"
            )
        if call.x.dtype != "int64":
            call.need_float(complex_too=False)
        return TensorType(call.x.shape, floating(call, call.x.dtype))

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """x / (k + alpha * mean of squares over the channels' window) ** beta."""
        x, dtype = inputs[0], b.outputs[0].dtype
        if not math.prod(x.shape):
            return b.cast(x, dtype)
        n, c, space = x.shape[0], x.shape[1], math.prod(x.shape[2:])
        squares = b.reshape(b.elementwise("square", x), (n, 1, c, space))  # channels as height
        before, after = self.size // 2, (self.size - 1) // 2
        widths = ((0, 0), (0, 0), (before, after), (0, 0))
        squares = b.emit(Pad(widths), squares, shape=(n, 1, c + before + after, space))
        pool = AveragePool((self.size, 1), (1, 1), (0, 0), True)
        mean = b.reshape(b.emit(pool, squares, shape=(n, 1, c, space)), x.shape)
        base = b.elementwise("scale", b.cast(mean, dtype), constants=(self.alpha, self.k))
        root = b.elementwise("pow", base, b.literal(self.beta, dtype))
        return b.elementwise("div", b.cast(x, dtype), root)
