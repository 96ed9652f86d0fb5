"""Padding: zeros, a constant, reflection, replication or wrapping around, 1d to 3d.

`padding` is an amount for every side, or two for each axis, LAST axis first, as in torch.nn's Padding
Layers; a negative amount crops.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from netspec.layers.base import Call, Layer
from netspec.layers.broadcasting import need_fit, wrapped
from netspec.layers.parameters import Axes, Scalar
from netspec.layers.tensor import TensorType, is_float, is_inexact
from netspec.operations import Pad, Slice
from netspec.program.builder import Builder, Value
from netspec.symbolic import Dim, any_of, at_least

_LARGEST = {"float16": 65504.0, "float32": 3.4028234663852886e38, "float64": math.inf}


class _Pad(Layer):
    """What the padding layers share."""

    rank: ClassVar[int]
    """Number of axes, counted from the last, that are padded."""

    padding: Axes
    """An amount for every side, or two for each axis, last axis first; negative amounts crop."""

    @field_validator("padding")
    @classmethod
    def _two_an_axis(cls, value: int | tuple[int, ...]) -> tuple[int, ...]:
        if isinstance(value, int):
            return (value,) * (2 * cls.rank)
        if len(value) != 2 * cls.rank:
            raise PydanticCustomError(
                "wrong-length",
                "expected an integer or a list of {sides} (before and after each axis, last axis first), "
                "got {count} values",
                {"sides": 2 * cls.rank, "count": len(value)},
            )
        return value

    def _sides(self) -> tuple[tuple[int, int], ...]:
        """(before, after) of each padded axis, first axis first."""
        flat = self.padding
        assert isinstance(flat, tuple)
        return tuple((flat[i], flat[i + 1]) for i in reversed(range(0, 2 * self.rank, 2)))

    def infer(self, call: Call) -> TensorType:
        """The same shape with wider or narrower last axes."""
        x = call.x
        self._check_input(call)
        result: list[Dim] = []
        for axis, (size, (before, after)) in enumerate(
            zip(x.shape[x.rank - self.rank :], self._sides(), strict=True), x.rank - self.rank
        ):
            self._check_axis(call, axis, size, before, after)
            result.append(size + before + after)
        self._check_result(call, result)
        return x.with_shape(*x.shape[: x.rank - self.rank], *result)

    def _check_input(self, call: Call) -> None:
        raise NotImplementedError

    def _check_axis(self, call: Call, axis: int, size: Dim, before: int, after: int) -> None:
        raise NotImplementedError

    def _check_result(self, call: Call, result: list[Dim]) -> None:
        """Nothing more to check."""


def _check_crop(call: Call, axis: int, size: Dim, cropped: int) -> None:
    call.require(
        at_least(size, cropped),
        f"padding crops {cropped} elements from axis {axis}, which has only {size}",
        code="crop-too-large",
        parameter="padding",
    )


def _pad(b: Builder, x: Value, sides: tuple[tuple[int, int], ...], mode: Any, value: float = 0.0) -> Value:
    widths = ((0, 0),) * (x.rank - len(sides)) + sides
    if not any(side for pair in sides for side in pair):
        return x
    shape = [size + before + after for size, (before, after) in zip(x.shape, widths, strict=True)]
    return b.emit(Pad(widths, mode, value), x, shape=shape)


def _crop(b: Builder, x: Value, sides: tuple[tuple[int, int], ...]) -> Value:
    """x without as many elements at the sides as the negative amounts say."""
    for axis, (before, after) in enumerate(sides, x.rank - len(sides)):
        start, stop = max(-before, 0), x.shape[axis] - max(-after, 0)
        if stop - start != x.shape[axis]:
            shape = (*x.shape[:axis], stop - start, *x.shape[axis + 1 :])
            x = b.emit(Slice(axis, start, stop), x, shape=shape)
    return x


def _positive(sides: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    return tuple((max(before, 0), max(after, 0)) for before, after in sides)


class _ConstantPad(_Pad):
    """ZeroPad and ConstantPad: any number of axes in front, any dtype."""

    def _value(self) -> float | int | bool:
        return 0

    def _check_input(self, call: Call) -> None:
        if call.x.rank < self.rank:
            call.fail(
                f"padding {self.rank} axes needs at least {self.rank}-D input, got {call.x.rank}-D {call.x}",
                code="wrong-rank",
            )
        if any(amount > 0 for pair in self._sides() for amount in pair):  # torch only crops otherwise
            self._check_value(call)

    def _check_value(self, call: Call) -> None:
        dtype, value = call.x.dtype, float(self._value())  # torch fills with a double
        need_fit(call, value, dtype, "value")
        if is_float(dtype) and math.isfinite(value) and abs(value) > _LARGEST[dtype]:
            call.fail(f"{value} does not fit into {dtype}", code="out-of-range", parameter="value")

    def _check_axis(self, call: Call, axis: int, size: Dim, before: int, after: int) -> None:
        _check_crop(call, axis, size, max(-before, 0) + max(-after, 0))

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """Crop, then pad."""
        x = _crop(b, inputs[0], self._sides())
        value = self._value()
        if not is_inexact(x.dtype):
            value = wrapped(float(value), x.dtype) if math.isfinite(value) else 0  # only to crop
        return _pad(b, x, _positive(self._sides()), "constant", value)


class _BorderPad(_Pad):
    """Reflection, replication and wrapping: values come from the input, one axis of channels in front."""

    mode: ClassVar[str]
    """The mode of the Pad operation."""

    def _check_input(self, call: Call) -> None:
        letters = {1: "W", 2: "H, W", 3: "D, H, W"}[self.rank]
        call.need_rank(self.rank + 1, self.rank + 2, axes=f"(N, C, {letters}) or (C, {letters})")

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """Pad, then crop: torch takes the values from the whole input."""
        padded = _pad(b, inputs[0], _positive(self._sides()), self.mode)
        return _crop(b, padded, self._sides())


class _EdgePad(_BorderPad):
    """Reflection and replication."""

    def _check_input(self, call: Call) -> None:
        super()._check_input(call)
        for size in call.x.shape[call.x.rank - self.rank - 1 :]:
            call.require(
                at_least(size, 1), f"only the batch axis may be empty, got {call.x}", code="empty-axis"
            )

    def _check_axis(self, call: Call, axis: int, size: Dim, before: int, after: int) -> None:
        """Only the result's size counts."""

    def _check_result(self, call: Call, result: list[Dim]) -> None:
        # torch's 2d and 3d kernels are content with one axis that is not empty
        for size in result:
            call.require(
                at_least(size, 0),
                f"padding {list(self._sides())} leaves size {size} of {call.x}",
                code="crop-too-large",
                parameter="padding",
            )
        call.require(
            any_of(*(at_least(size, 1) for size in result)),
            f"padding {list(self._sides())} leaves nothing of {call.x}",
            code="crop-too-large",
            parameter="padding",
        )


class _ReflectionPad(_EdgePad):
    """ReflectionPad1d, 2d and 3d."""

    mode: ClassVar = "reflect"

    def _check_axis(self, call: Call, axis: int, size: Dim, before: int, after: int) -> None:
        call.require(
            at_least(size, max(before, after) + 1),
            f"reflection needs padding less than the size, got [{before}, {after}] for size {size} "
            f"on axis {axis}",
            code="padding-too-large",
            parameter="padding",
        )


class _ReplicationPad(_EdgePad):
    """ReplicationPad1d, 2d and 3d."""

    mode: ClassVar = "replicate"


class _CircularPad(_BorderPad):
    """CircularPad1d, 2d and 3d."""

    mode: ClassVar = "circular"

    def _check_axis(self, call: Call, axis: int, size: Dim, before: int, after: int) -> None:
        cropped = max(-before, 0) + max(-after, 0)
        _check_crop(call, axis, size, cropped)
        call.require(
            at_least(size - cropped, max(before, after, 0)),
            f"circular padding must be at most the size, got [{before}, {after}] for size {size} "
            f"on axis {axis}",
            code="padding-too-large",
            parameter="padding",
        )

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """Crop, then wrap around what is left."""
        cropped = _crop(b, inputs[0], self._sides())
        return _pad(b, cropped, _positive(self._sides()), self.mode)


class ZeroPad1d(_ConstantPad):
    """Puts zeros around the last axis: (*, W) -> wider.

    Example: `{type: ZeroPad1d, padding: [3, 1]}`
    """

    rank: ClassVar = 1


class ZeroPad2d(_ConstantPad):
    """Puts zeros around the last 2 axes: (*, H, W) -> wider.

    Example: `{type: ZeroPad2d, padding: [1, 1, 2, 0]}`
    """

    rank: ClassVar = 2


class ZeroPad3d(_ConstantPad):
    """Puts zeros around the last 3 axes: (*, D, H, W) -> wider.

    Example: `{type: ZeroPad3d, padding: [3, 3, 6, 6, 0, 1]}`
    """

    rank: ClassVar = 3


class _ValuePad(_ConstantPad):
    """ConstantPad1d, 2d and 3d."""

    value: Scalar
    """What the new elements hold; converted to the input's dtype."""

    def _value(self) -> float | int | bool:
        return self.value


class ConstantPad1d(_ValuePad):
    """Puts a constant around the last axis: (*, W) -> wider.

    Example: `{type: ConstantPad1d, padding: [3, 1], value: 3.5}`
    """

    rank: ClassVar = 1


class ConstantPad2d(_ValuePad):
    """Puts a constant around the last 2 axes: (*, H, W) -> wider.

    Example: `{type: ConstantPad2d, padding: [1, 1, 2, 0], value: 3.5}`
    """

    rank: ClassVar = 2


class ConstantPad3d(_ValuePad):
    """Puts a constant around the last 3 axes: (*, D, H, W) -> wider.

    Example: `{type: ConstantPad3d, padding: [3, 3, 6, 6, 0, 1], value: 3.5}`
    """

    rank: ClassVar = 3


class ReflectionPad1d(_ReflectionPad):
    """Mirrors the values around the last axis: (C, W) or (N, C, W) -> wider.

    Example: `{type: ReflectionPad1d, padding: 2}`
    """

    rank: ClassVar = 1


class ReflectionPad2d(_ReflectionPad):
    """Mirrors the values around the last 2 axes: (C, H, W) or (N, C, H, W) -> wider.

    Example: `{type: ReflectionPad2d, padding: 2}`
    """

    rank: ClassVar = 2


class ReflectionPad3d(_ReflectionPad):
    """Mirrors the values around the last 3 axes: (C, D, H, W) or (N, C, D, H, W) -> wider.

    Example: `{type: ReflectionPad3d, padding: 2}`
    """

    rank: ClassVar = 3


class ReplicationPad1d(_ReplicationPad):
    """Repeats the border around the last axis: (C, W) or (N, C, W) -> wider.

    Example: `{type: ReplicationPad1d, padding: [3, 1]}`
    """

    rank: ClassVar = 1


class ReplicationPad2d(_ReplicationPad):
    """Repeats the border around the last 2 axes: (C, H, W) or (N, C, H, W) -> wider.

    Example: `{type: ReplicationPad2d, padding: [1, 1, 2, 0]}`
    """

    rank: ClassVar = 2


class ReplicationPad3d(_ReplicationPad):
    """Repeats the border around the last 3 axes: (C, D, H, W) or (N, C, D, H, W) -> wider.

    Example: `{type: ReplicationPad3d, padding: [3, 3, 6, 6, 0, 1]}`
    """

    rank: ClassVar = 3


class CircularPad1d(_CircularPad):
    """Wraps the values around the last axis: (C, W) or (N, C, W) -> wider.

    Example: `{type: CircularPad1d, padding: [3, 1]}`
    """

    rank: ClassVar = 1


class CircularPad2d(_CircularPad):
    """Wraps the values around the last 2 axes: (C, H, W) or (N, C, H, W) -> wider.

    Example: `{type: CircularPad2d, padding: [1, 1, 2, 0]}`
    """

    rank: ClassVar = 2


class CircularPad3d(_CircularPad):
    """Wraps the values around the last 3 axes: (C, D, H, W) or (N, C, D, H, W) -> wider.

    Example: `{type: CircularPad3d, padding: [3, 3, 6, 6, 0, 1]}`
    """

    rank: ClassVar = 3
