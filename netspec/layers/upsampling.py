"""Changing the spatial size: Upsample and interpolate, PixelShuffle and its inverse, ChannelShuffle.

Source: torch.nn's Vision Layers. Coordinates are mapped with the scale factor as given, not with the ratio
of the sizes.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated, Any, ClassVar

from pydantic import PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from netspec.layers.base import Call, Layer, _Function
from netspec.layers.parameters import Bool, Count, Counts, choice, is_number, out_of_range, wrong_type
from netspec.layers.pooling import adaptive_average, need_adaptive_elements
from netspec.layers.tensor import TensorType, is_inexact
from netspec.operations import Resize
from netspec.program.builder import Builder, Value
from netspec.symbolic import Dim, at_least, divisible

MODES = ("nearest", "linear", "bilinear", "bicubic", "trilinear", "nearest-exact", "area")
RANK = {"linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2}
"""Spatial axes that a mode works on; the others work on one to three."""
OPERATION = {"linear": "linear", "bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}
"""The mode of the Resize operation."""


def _scales(value: Any) -> Any:
    expected = "a number > 0 or a list of them"
    items = value if isinstance(value, list | tuple) else [value]
    for item in items:
        if not is_number(item):
            raise wrong_type(expected, value)
        if not (item > 0 and math.isfinite(item)):
            raise out_of_range(expected, value)
    scales = tuple(float(item) for item in items)
    return scales if isinstance(value, list | tuple) else scales[0]


_SCALE: dict[str, Any] = {"type": "number", "exclusiveMinimum": 0}
Scales = Annotated[
    Any, PlainValidator(_scales), WithJsonSchema({"anyOf": [_SCALE, {"type": "array", "items": _SCALE}]})
]
"""A scale factor, or one for each spatial axis."""


class _Resize(Layer):
    """What Upsample and interpolate share: subclasses have size and scale_factor."""

    resize_mode: ClassVar[str | None] = None
    """The mode where it is not a parameter."""
    corners: ClassVar[bool | None] = None
    """align_corners where it is not a parameter."""

    def _mode(self) -> str:
        return self.resize_mode or self.mode  # type: ignore[attr-defined]

    def _corners(self) -> bool | None:
        return getattr(self, "align_corners", None) if self.resize_mode is None else self.corners

    def _recompute(self) -> bool:
        return self._mode() == "area" or bool(getattr(self, "recompute_scale_factor", None))

    @model_validator(mode="after")
    def _check_parameters(self) -> _Resize:
        size, scale = self.size, self.scale_factor  # type: ignore[attr-defined]
        if (size is None) == (scale is None):
            raise PydanticCustomError(
                "conflicting-parameters" if size is not None else "missing-key",
                "exactly one of size and scale_factor is needed, got {count}",
                {"count": "none" if size is None else "both",
                 "field": "scale_factor" if size is not None else "size"},
            )  # fmt: skip
        if self._corners() is not None and self._mode() not in OPERATION:
            raise PydanticCustomError(
                "conflicting-parameters",
                "align_corners is for linear, bilinear, bicubic and trilinear, not for {mode}",
                {"mode": self._mode(), "field": "align_corners"},
            )
        if size is not None and getattr(self, "recompute_scale_factor", None):
            raise PydanticCustomError(
                "conflicting-parameters",
                "recompute_scale_factor has no meaning with size",
                {"field": "recompute_scale_factor"},
            )
        return self

    def infer(self, call: Call) -> TensorType:
        """(N, C, *size) with one to three spatial axes -> the same with the new size."""
        x, mode = call.x, self._mode()
        if mode in RANK:
            letters = {1: "L", 2: "H, W", 3: "D, H, W"}[RANK[mode]]
            call.need_rank(RANK[mode] + 2, axes=f"(N, C, {letters}), as {mode} needs it")
        else:
            call.need_rank(3, 4, 5, axes="(N, C, L), (N, C, H, W) or (N, C, D, H, W)")
        if not is_inexact(x.dtype) and (mode in OPERATION or mode == "area" or x.dtype == "bool"):
            call.fail(f"expected a floating dtype for {mode}, got {x.dtype}", code="wrong-dtype")
        result = self._sizes(call, x.shape[2:])
        out = x.with_shape(*x.shape[:2], *result)
        if mode == "area":
            need_adaptive_elements(call, tuple(result))
            return out
        for size in x.shape[1:]:
            call.require(at_least(size, 1), f"only the batch axis may be empty, got {x}", code="empty-axis")
        for axis, (size, old) in enumerate(zip(result, x.shape[2:], strict=True)):
            call.require(
                at_least(size, 1),
                f"the output would have size {size} on spatial axis {axis}, from {old}",
                code="empty-output",
                parameter="scale_factor",
            )
        return out

    def _sizes(self, call: Call, space: tuple[Dim, ...]) -> list[Dim]:
        size, scale = self.size, self.scale_factor  # type: ignore[attr-defined]
        parameter, value = ("size", size) if size is not None else ("scale_factor", scale)
        if not isinstance(value, tuple):
            value = (value,) * len(space)
        if len(value) != len(space):
            call.fail(
                f"{parameter} needs {len(space)} values for the spatial axes of {call.x}, got {len(value)}",
                code="wrong-length",
                parameter=parameter,
            )
        if size is not None:
            return list(value)
        return [scaled(call, old, factor) for old, factor in zip(space, value, strict=True)]

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One resampling; area is an adaptive mean."""
        x, mode = inputs[0], self._mode()
        if mode == "area":
            return adaptive_average(b, x, x.rank - 2)
        factors: tuple[float | None, ...] = (None,) * (x.rank - 2)
        scale = self.scale_factor  # type: ignore[attr-defined]
        if scale is not None and not self._recompute():
            factors = scale if isinstance(scale, tuple) else (scale,) * (x.rank - 2)
        operation = Resize(OPERATION.get(mode, mode), factors, bool(self._corners()))  # type: ignore[arg-type]
        return b.emit(operation, x)


def scaled(call: Call, size: Dim, factor: float) -> Dim:
    """floor(size * factor) as torch computes it: in double precision.

    A symbolic size needs a factor that is a fraction with a small power of two below, such as 2 or 1.5:
    for others (1/3, 0.7) the product's rounding decides and no formula says it.
    """
    if isinstance(size, int):
        return int(size * factor)
    fraction = Fraction(factor)
    if fraction.denominator > 1024 or fraction.numerator > 2**20:
        call.fail(
            f"the size {size} * {factor} depends on rounding, which named sizes cannot express",
            code="inexact-scale",
            parameter="scale_factor",
            help="write size, a factor such as 2 or 1.5, or a number in the input's shape",
        )
    return size * fraction.numerator // fraction.denominator


class Upsample(_Resize):
    """Resamples the spatial axes: (N, C, L), (N, C, H, W) or (N, C, D, H, W) -> the same with a new size.

    Example: `{type: Upsample, scale_factor: 2, mode: bilinear}`
    """

    size: Counts | None = None
    """Size of the output, an integer for every spatial axis or a list; instead of scale_factor."""
    scale_factor: Scales | None = None
    """Output size divided by input size, a number or a list; instead of size."""
    mode: choice(*MODES) = "nearest"  # type: ignore[valid-type]
    """How values between the samples are found."""
    align_corners: Bool | None = None
    """Whether the centres of the corner samples coincide; only for linear, bilinear, bicubic, trilinear."""
    recompute_scale_factor: Bool | None = None
    """Whether the ratio of the sizes replaces scale_factor in the computation."""


class UpsamplingNearest2d(_Resize):
    """Upsample with mode nearest: (N, C, H, W) -> the same with a new size.

    Example: `{type: UpsamplingNearest2d, scale_factor: 2}`
    """

    resize_mode: ClassVar = "nearest"

    size: Counts | None = None
    """Size of the output; instead of scale_factor."""
    scale_factor: Scales | None = None
    """Output size divided by input size; instead of size."""


class UpsamplingBilinear2d(_Resize):
    """Upsample with mode bilinear and align_corners: (N, C, H, W) -> the same with a new size.

    Example: `{type: UpsamplingBilinear2d, scale_factor: 2}`
    """

    resize_mode: ClassVar = "bilinear"
    corners: ClassVar = True

    size: Counts | None = None
    """Size of the output; instead of scale_factor."""
    scale_factor: Scales | None = None
    """Output size divided by input size; instead of size."""


class Interpolate(_Resize, _Function, type="interpolate"):
    """Resamples the spatial axes: (N, C, L), (N, C, H, W) or (N, C, D, H, W) -> the same with a new size.

    Example: `{type: interpolate, size: [32, 32], mode: bicubic, align_corners: false}`
    """

    source: ClassVar = "https://pytorch.org/docs/stable/generated/torch.nn.functional.interpolate.html"

    size: Counts | None = None
    """Size of the output, an integer for every spatial axis or a list; instead of scale_factor."""
    scale_factor: Scales | None = None
    """Output size divided by input size, a number or a list; instead of size."""
    mode: choice(*MODES) = "nearest"  # type: ignore[valid-type]
    """How values between the samples are found."""
    align_corners: Bool | None = None
    """Whether the centres of the corner samples coincide; only for linear, bilinear, bicubic, trilinear."""
    recompute_scale_factor: Bool | None = None
    """Whether the ratio of the sizes replaces scale_factor in the computation."""
    antialias: Bool = False
    """Whether the kernel widens when the size shrinks; only for bilinear and bicubic."""

    @model_validator(mode="after")
    def _check_antialias(self) -> Interpolate:
        if self.antialias and self.mode not in ("bilinear", "bicubic"):
            raise PydanticCustomError(
                "conflicting-parameters",
                "antialias is for bilinear and bicubic, not for {mode}",
                {"mode": self.mode, "field": "antialias"},
            )
        return self

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One resampling; with antialias, a product with the matrix of weights along each axis."""
        if not self.antialias:
            return super().lower(b, *inputs)
        x = inputs[0]
        scale = self.scale_factor
        for axis in (3, 2):
            size, result = x.shape[axis], b.shape[axis]
            factor = scale[axis - 2] if isinstance(scale, tuple) else scale
            if self._recompute():
                factor = None
            step = _step(size, result, factor, bool(self.align_corners))
            weights = _antialias_weights(size, result, step, self.mode)
            x = _along(b, x, axis, weights)
        return x


def _step(size: int, result: int, factor: float | None, corners: bool) -> float:
    """Distance of neighbouring output samples in the input."""
    if corners:
        return (size - 1) / (result - 1) if result > 1 else 0.0
    return 1.0 / factor if factor else size / result


def _triangle(x: float) -> float:
    return max(1.0 - abs(x), 0.0)


def _cubic(x: float, a: float = -0.5) -> float:
    x = abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def _antialias_weights(size: int, result: int, step: float, mode: str) -> list[list[float]]:
    """One row an output sample: the kernel, as wide as the step, around its place, adding up to 1."""
    kernel, reach = (_triangle, 1.0) if mode == "bilinear" else (_cubic, 2.0)
    support = reach * step if step >= 1 else reach
    inverse = 1.0 / step if step >= 1 else 1.0
    rows = []
    for i in range(result):
        centre = step * (i + 0.5)
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), size)
        row = [0.0] * size
        for j in range(first, last):
            row[j] = kernel((j - centre + 0.5) * inverse)
        total = sum(row)
        rows.append([value / total for value in row] if total else row)
    return rows


def _along(b: Builder, x: Value, axis: int, weights: list[list[float]]) -> Value:
    """x with `axis` replaced by its product with the rows of `weights`."""
    from netspec.operations import Linear

    matrix = b.literal(weights, "float32" if x.dtype == "float16" else x.dtype)
    matrix = b.cast(matrix, x.dtype)
    order = [a for a in range(x.rank) if a != axis] + [axis]
    moved = b.transpose(x, order)
    product = b.emit(Linear(), moved, matrix, shape=(*moved.shape[:-1], len(weights)))
    return b.transpose(product, [order.index(a) for a in range(x.rank)])


# --- shuffles ---------------------------------------------------------------------------------------


class PixelShuffle(Layer):
    """Spreads groups of channels over space: (*, C r^2, H, W) -> (*, C, H r, W r).

    Example: `{type: PixelShuffle, upscale_factor: 3}`
    """

    upscale_factor: Count
    """r: factor of height and width."""

    def infer(self, call: Call) -> TensorType:
        """(*, C r^2, H, W) -> (*, C, H r, W r)."""
        x, r = call.x, self.upscale_factor
        if x.rank < 3:
            call.fail(f"expected at least 3-D input (*, C, H, W), got {x.rank}-D {x}", code="wrong-rank")
        *front, channels, height, width = x.shape
        call.require(
            divisible(channels, r * r),
            f"the channels must be divisible by upscale_factor squared, got {channels} and {r * r}: {x}",
            code="not-divisible",
            parameter="upscale_factor",
        )
        return x.with_shape(*front, channels // (r * r), height * r, width * r)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """(n, c, r, r, h, w) -> (n, c, h, r, w, r)."""
        x, r = inputs[0], self.upscale_factor
        c, h, w = x.shape[-3:]
        n = math.prod(x.shape[:-3])
        split = b.reshape(x, (n, c // (r * r), r, r, h, w))
        return b.reshape(b.transpose(split, (0, 1, 4, 2, 5, 3)), b.shape)


class PixelUnshuffle(Layer):
    """Gathers blocks of pixels into channels: (*, C, H r, W r) -> (*, C r^2, H, W).

    Example: `{type: PixelUnshuffle, downscale_factor: 3}`
    """

    downscale_factor: Count
    """r: factor by which height and width shrink."""

    def infer(self, call: Call) -> TensorType:
        """(*, C, H r, W r) -> (*, C r^2, H, W)."""
        x, r = call.x, self.downscale_factor
        if x.rank < 3:
            call.fail(f"expected at least 3-D input (*, C, H, W), got {x.rank}-D {x}", code="wrong-rank")
        *front, channels, height, width = x.shape
        for word, size in (("height", height), ("width", width)):
            call.require(
                divisible(size, r),
                f"the {word} must be divisible by downscale_factor, got {size} and {r}: {x}",
                code="not-divisible",
                parameter="downscale_factor",
            )
        return x.with_shape(*front, channels * (r * r), height // r, width // r)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """(n, c, h, r, w, r) -> (n, c, r, r, h, w)."""
        x, r = inputs[0], self.downscale_factor
        c, h, w = x.shape[-3:]
        n = math.prod(x.shape[:-3])
        split = b.reshape(x, (n, c, h // r, r, w // r, r))
        return b.reshape(b.transpose(split, (0, 1, 3, 5, 2, 4)), b.shape)


class ChannelShuffle(Layer):
    """Interleaves the groups of channels: (N, C, *) -> same.

    Example: `{type: ChannelShuffle, groups: 2}`
    """

    groups: Count
    """Number of groups; it divides the channels (axis 1)."""

    def infer(self, call: Call) -> TensorType:
        """(N, C, *) with at least one axis behind the channels; the same shape."""
        x = call.x
        if x.rank < 3:
            call.fail(f"expected at least 3-D input (N, C, *), got {x.rank}-D {x}", code="wrong-rank")
        call.require(
            divisible(x.shape[1], self.groups),
            f"the channels must be divisible by groups, got {x.shape[1]} and {self.groups}: {x}",
            code="groups-do-not-divide",
            parameter="groups",
        )
        return x

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """(n, g, c/g, space) -> (n, c/g, g, space)."""
        x = inputs[0]
        n, c = x.shape[:2]
        split = b.reshape(x, (n, self.groups, c // self.groups, math.prod(x.shape[2:])))
        return b.reshape(b.transpose(split, (0, 2, 1, 3)), x.shape)
