"""Pooling: the maximum, mean or p-norm of each window, adaptive windows, and max unpooling.

Source: torch.nn's Pooling Layers. A window of `ceil_mode` must start inside the input or its left padding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import field_validator, model_validator
from pydantic_core import PydanticCustomError

from netspec.layers.base import Call, _Spatial
from netspec.layers.broadcasting import floating
from netspec.layers.convolution import requested_size
from netspec.layers.parameters import (
    Bool,
    Counts,
    Integer,
    NonNegatives,
    Number,
    OutputSize,
    out_of_range,
    sizes,
    wrong_type,
)
from netspec.layers.sizes import formula, pooling
from netspec.layers.tensor import INTEGERS, REAL_OF, TensorType, is_complex, is_float, is_inexact
from netspec.operations import (
    AdaptiveAveragePool,
    AdaptiveMaxPool,
    AveragePool,
    MaxPool,
    MaxUnpool,
    Operation,
    Reduce,
)
from netspec.program.builder import Builder, Value
from netspec.symbolic import Condition, Dim, all_of, any_of, at_least, at_most, equal


class _Window(_Spatial):
    """What pools with a fixed window share."""

    per_axis: ClassVar = ("kernel_size", "stride", "padding", "dilation")

    def _axes(self) -> list[tuple[int, int, int, int]]:
        """(kernel, stride, padding, dilation) of each axis."""
        ones, zeros = (1,) * self.rank, (0,) * self.rank
        kernel = getattr(self, "kernel_size")  # noqa: B009  (declared after norm_type in one subclass)
        return list(
            zip(
                kernel,
                getattr(self, "stride", None) or kernel,
                getattr(self, "padding", None) or zeros,
                getattr(self, "dilation", None) or ones,
                strict=True,
            )
        )

    def _pooled(self, call: Call, ceil_mode: bool) -> TensorType:
        """The input with the number of windows for its spatial sizes."""
        x = call.need_rank(self.rank + 1, self.rank + 2, axes=self.layout())
        need_elements(call, x.shape[-self.rank - 1 :])
        result: list[Dim] = []
        for axis, (size, (kernel, stride, padding, dilation)) in enumerate(
            zip(x.shape[-self.rank :], self._axes(), strict=True)
        ):
            out = pooling(size, kernel, stride, padding, dilation, ceil_mode)
            call.require(
                at_least(out, 1),
                f"no window fits: the output would have size {out} on spatial axis {axis}",
                code="kernel-too-large",
                parameter="kernel_size",
                notes=[
                    "output size: " + formula(size, kernel, stride, padding, dilation, out, ceil=ceil_mode)
                ],
            )
            result.append(out)
        return x.with_shape(*x.shape[: -self.rank], *result)


def need_elements(call: Call, shape: Sequence[Dim]) -> None:
    """Refuse an input that is empty on one of these axes; only the batch may be."""
    for size in shape:
        call.require(
            at_least(size, 1),
            f"only the batch axis may be empty, got {call.x}",
            code="empty-axis",
        )


def _need_whole_kernel(call: Call, kernel: Sequence[int]) -> None:
    """Refuse an input smaller than the window: torch's mean in 3d takes no padding for it."""
    for axis, (size, width) in enumerate(zip(call.x.shape[-len(kernel) :], kernel, strict=True)):
        call.require(
            at_least(size, width),
            f"the window of {width} is larger than the input, which has {size} on spatial axis {axis}",
            code="kernel-too-large",
            parameter="kernel_size",
        )


def _half_of_kernel(layer: Any) -> None:
    """torch: padding is at most half of the kernel, whatever its dilation."""
    for kernel, padding in zip(layer.kernel_size, layer.padding, strict=True):
        if padding > kernel // 2:
            raise PydanticCustomError(
                "padding-too-large",
                "padding must be at most half of kernel_size, got {padding} and {kernel}",
                {"padding": padding, "kernel": kernel, "field": "padding"},
            )


def _pool(b: Builder, operation: Operation, x: Value, rank: int) -> tuple[Value, ...]:
    """The operation on x, with a batch axis while it runs; one value for each output of the layer."""
    batched = x.rank == rank + 2
    if not batched:
        x = b.reshape(x, (1, *x.shape))
    results = [b.value(o.shape if batched else (1, *o.shape), o.dtype) for o in b.outputs]
    b.append(operation, [x], results)
    return tuple(b.reshape(r, o.shape) for r, o in zip(results, b.outputs, strict=True))


# --- maximum ----------------------------------------------------------------------------------------


class _MaxPool(_Window):
    """MaxPool1d, 2d and 3d."""

    kernel_size: Counts
    """Size of the window."""
    stride: Counts | None = None
    """Step of the window; null: kernel_size."""
    padding: NonNegatives = 0
    """Amount of minus infinity added to both ends of each spatial axis; at most half of kernel_size."""
    dilation: Counts = 1
    """Distance between the elements of the window."""
    return_indices: Bool = False
    """Adds the port `indices`: where each maximum was, flat in its plane, for MaxUnpool."""
    ceil_mode: Bool = False
    """Rounds the output size up instead of down."""

    @model_validator(mode="after")
    def _check_padding(self) -> _MaxPool:
        _half_of_kernel(self)
        return self

    def ports(self) -> tuple[str, ...]:
        """`out`, and `indices` where they are asked for."""
        return ("out", "indices") if self.return_indices else ("out",)

    def infer(self, call: Call) -> TensorType | tuple[TensorType, ...]:
        """(N, C, *size) or (C, *size) -> the same with the number of windows."""
        out = self._pooled(call, self.ceil_mode)
        _need_ordered(call)
        return (out, TensorType(out.shape, "int64")) if self.return_indices else out

    def lower(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """One maximum pooling."""
        axes = self._axes()
        kernel, stride, padding, dilation = (tuple(a[i] for a in axes) for i in range(4))
        operation = MaxPool(kernel, stride, padding, dilation)
        return _pool(b, operation, inputs[0], self.rank)


def _need_ordered(call: Call) -> None:
    """Refuse dtypes without an order."""
    if not is_float(call.x.dtype) and call.x.dtype not in INTEGERS:
        call.fail(f"expected a real floating dtype or integers, got {call.x.dtype}", code="wrong-dtype")


class MaxPool1d(_MaxPool):
    """Largest value of each window: (N, C, L) or (C, L) -> (N, C, L_out) or (C, L_out).

    Example: `{type: MaxPool1d, kernel_size: 3, stride: 2}`
    """

    rank: ClassVar = 1


class MaxPool2d(_MaxPool):
    """Largest value of each window: (N, C, H, W) or (C, H, W) -> the same with H_out, W_out.

    Example: `{type: MaxPool2d, kernel_size: 3, stride: 2, padding: 1}`
    """

    rank: ClassVar = 2


class MaxPool3d(_MaxPool):
    """Largest value of each window: (N, C, D, H, W) or (C, D, H, W) -> the same with smaller sizes.

    Example: `{type: MaxPool3d, kernel_size: 2}`
    """

    rank: ClassVar = 3


# --- mean -------------------------------------------------------------------------------------------


class _AvgPool(_Window):
    """AvgPool1d, 2d and 3d."""

    kernel_size: Counts
    """Size of the window."""
    stride: Counts | None = None
    """Step of the window; null: kernel_size."""
    padding: NonNegatives = 0
    """Zeros added to both ends of each spatial axis; at most half of kernel_size."""
    ceil_mode: Bool = False
    """Rounds the output size up instead of down."""
    count_include_pad: Bool = True
    """Whether the padding counts in the mean."""

    @model_validator(mode="after")
    def _check_padding(self) -> _AvgPool:
        _half_of_kernel(self)
        return self

    def infer(self, call: Call) -> TensorType:
        """(N, C, *size) or (C, *size) -> the same with the number of windows."""
        out = self._pooled(call, self.ceil_mode)
        if not is_inexact(out.dtype) and out.dtype != "int64":
            call.fail(f"expected a floating dtype or int64, got {out.dtype}", code="wrong-dtype")
        if self.rank == 3:
            _need_whole_kernel(call, self.kernel_size)
        return out

    def lower(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """One average pooling."""
        axes = self._axes()
        kernel, stride, padding = (tuple(a[i] for a in axes) for i in range(3))
        divisor = getattr(self, "divisor_override", None)
        operation = AveragePool(kernel, stride, padding, self.count_include_pad, divisor)
        return _pool(b, operation, inputs[0], self.rank)


class _AvgPoolWithDivisor(_AvgPool):
    """AvgPool2d and 3d."""

    divisor_override: Integer | None = None
    """Divides every window's sum instead of its number of elements; not 0."""

    @field_validator("divisor_override")
    @classmethod
    def _not_zero(cls, value: int | None) -> int | None:
        if value == 0:
            raise out_of_range("an integer other than 0", value)
        return value


class AvgPool1d(_AvgPool):
    """Mean of each window: (N, C, L) or (C, L) -> (N, C, L_out) or (C, L_out).

    Example: `{type: AvgPool1d, kernel_size: 3, stride: 2}`
    """

    rank: ClassVar = 1


class AvgPool2d(_AvgPoolWithDivisor):
    """Mean of each window: (N, C, H, W) or (C, H, W) -> the same with H_out, W_out.

    Example: `{type: AvgPool2d, kernel_size: 3, stride: 2, padding: 1, count_include_pad: false}`
    """

    rank: ClassVar = 2


class AvgPool3d(_AvgPoolWithDivisor):
    """Mean of each window: (N, C, D, H, W) or (C, D, H, W) -> the same with smaller sizes.

    Example: `{type: AvgPool3d, kernel_size: 2}`
    """

    rank: ClassVar = 3


# --- p-norm -----------------------------------------------------------------------------------------


class _LPPool(_Window):
    """LPPool1d, 2d and 3d: the p-th root of each window's sum of p-th powers."""

    norm_type: Number
    """p; .inf takes the largest, -.inf the smallest absolute value; not 0."""
    kernel_size: Counts
    """Size of the window."""
    stride: Counts | None = None
    """Step of the window; null: kernel_size."""
    ceil_mode: Bool = False
    """Rounds the output size up instead of down."""

    @classmethod
    def single_means_all(cls, parameter: str) -> bool:
        """torch wants an integer, or one an axis."""
        return parameter != "kernel_size"

    @field_validator("norm_type")
    @classmethod
    def _not_zero(cls, value: float) -> float:
        if value == 0:
            raise out_of_range("a number other than 0", value)
        return value

    def infer(self, call: Call) -> TensorType:
        """(N, C, *size) or (C, *size) -> the same with the number of windows."""
        out = self._pooled(call, self.ceil_mode)
        if math.isinf(self.norm_type):
            if out.dtype == "bool":
                call.fail("expected numbers, got bool", code="wrong-dtype")
            return TensorType(out.shape, REAL_OF.get(out.dtype, out.dtype))
        if is_complex(out.dtype):
            call.fail(f"expected real numbers, got {out.dtype}", code="wrong-dtype")
        if self.rank == 3:
            _need_whole_kernel(call, self.kernel_size)
        return TensorType(out.shape, floating(call, out.dtype))

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """Power, average pooling, product with the window's size, root."""
        axes = self._axes()
        kernel, stride = (tuple(a[i] for a in axes) for i in range(2))
        none = (0,) * self.rank

        def compute(x: Value) -> Value:
            shape = (x.shape[0], *b.shape[-self.rank - 1 :])
            if math.isinf(self.norm_type):
                largest = self.norm_type > 0
                x = b.elementwise("abs", x, dtype=b.outputs[0].dtype)
                x = x if largest else b.elementwise("neg", x)
                x = b.emit(MaxPool(kernel, stride, none, (1,) * self.rank), x, shape=shape)
                return x if largest else b.elementwise("neg", x)
            x = b.cast(x, b.outputs[0].dtype)
            x = b.elementwise("pow", x, b.literal(self.norm_type, x.dtype))
            mean = b.emit(AveragePool(kernel, stride, none, True), x, shape=shape)
            total = b.elementwise("scale", mean, constants=(float(math.prod(kernel)), 0.0))
            # torch: sign(out) * relu(|out|), which changes nothing but the sign of a zero
            return b.elementwise("pow", total, b.literal(1.0 / self.norm_type, x.dtype))

        return b.batched(inputs[0], self.rank + 2, compute)


class LPPool1d(_LPPool):
    """p-norm of each window: (N, C, L) or (C, L) -> (N, C, L_out) or (C, L_out).

    Example: `{type: LPPool1d, norm_type: 2, kernel_size: 3}`
    """

    rank: ClassVar = 1

    @model_validator(mode="before")
    @classmethod
    def _one_integer(cls, data: Any) -> Any:
        # torch multiplies by kernel_size as it is, except where the norm is a maximum
        kernel = data.get("kernel_size") if isinstance(data, dict) else None
        norm = data.get("norm_type") if isinstance(data, dict) else None
        if isinstance(kernel, list | tuple) and not (isinstance(norm, float) and math.isinf(norm)):
            raise PydanticCustomError(
                "wrong-type", "kernel_size must be an integer here, not a list", {"field": "kernel_size"}
            )
        return data


class LPPool2d(_LPPool):
    """p-norm of each window: (N, C, H, W) or (C, H, W) -> the same with H_out, W_out.

    Example: `{type: LPPool2d, norm_type: 2, kernel_size: 3, stride: 2}`
    """

    rank: ClassVar = 2


class LPPool3d(_LPPool):
    """p-norm of each window: (N, C, D, H, W) or (C, D, H, W) -> the same with smaller sizes.

    Example: `{type: LPPool3d, norm_type: 2, kernel_size: 2}`
    """

    rank: ClassVar = 3


# --- adaptive windows -------------------------------------------------------------------------------


class _Adaptive(_Spatial):
    """Pools whose windows follow from the output's size: floor(i*L/o) to ceil((i+1)*L/o)."""

    per_axis: ClassVar = ("output_size",)

    output_size: sizes("an integer >= 0 (inside a list, null keeps the size)", 0, null=True)  # type: ignore[valid-type]
    """Spatial size of the output; an entry that is null keeps the input's size."""

    @classmethod
    def single_means_all(cls, parameter: str) -> bool:
        """torch wants an integer, or one an axis."""
        return False

    @field_validator("output_size")
    @classmethod
    def _not_null(cls, value: Any) -> Any:
        # torch's 1d types take no None, the others only inside a tuple
        if value is None or (cls.rank == 1 and None in value):
            raise wrong_type(
                "an integer >= 0" if cls.rank == 1 else "an integer >= 0, or a list that may hold null", None
            )
        return value

    def _resized(self, call: Call, any_rank: bool = False) -> TensorType:
        x = call.x
        if not any_rank or x.rank <= self.rank:
            call.need_rank(self.rank + 1, self.rank + 2, axes=self.layout())
        space = x.shape[-self.rank :]
        result = [have if want is None else want for want, have in zip(self.output_size, space, strict=True)]
        return x.with_shape(*x.shape[: -self.rank], *result)


class _AdaptiveAvgPool(_Adaptive):
    """AdaptiveAvgPool1d, 2d and 3d."""

    def infer(self, call: Call) -> TensorType:
        """(N, C, *size) or (C, *size) -> the same with output_size."""
        # torch takes one whole window as a mean, which any number of axes may precede
        out = self._resized(call, any_rank=self.rank > 1 and set(self.output_size) == {1})
        call.need_float()
        need_adaptive_elements(call, out.shape[-self.rank :])
        return out

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One adaptive pooling; over whole planes it is a mean."""
        return adaptive_average(b, inputs[0], self.rank)


def need_adaptive_elements(call: Call, result: tuple[Dim, ...]) -> None:
    """Refuse what torch's adaptive average does: empty axes, unless the output is one whole mean."""
    x, rank = call.x, len(result)
    # the 3d version looks at the channels of a batch as well
    needed = x.shape[1:] if rank == 3 else x.shape[-rank:]
    whole: list[Condition | bool] = [equal(size, 1) for size in result]
    filled: list[Condition | bool] = [at_least(size, 1) for size in needed]
    call.require(
        any_of(all_of(*whole), all_of(*filled)),
        f"the spatial axes must not be empty, got {x}",
        code="empty-axis",
    )


def adaptive_average(b: Builder, x: Value, rank: int) -> Value:
    """Mean over adaptive windows, onto the spatial size of the layer's output."""
    size = b.shape[-rank:]
    if all(s == 1 for s in size):
        axes = tuple(range(x.rank - rank, x.rank))
        return b.emit(Reduce("mean", axes, keepdims=True), x)
    return b.batched(x, rank + 2, lambda v: b.emit(AdaptiveAveragePool(), v, shape=(*v.shape[:2], *size)))


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Mean over as many windows as asked for: (N, C, L) or (C, L) -> (N, C, output_size) or (C, output_size).

    Example: `{type: AdaptiveAvgPool1d, output_size: 5}`
    """

    rank: ClassVar = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Mean over as many windows as asked for: (N, C, H, W) or (C, H, W) -> the same with output_size.

    Example: `{type: AdaptiveAvgPool2d, output_size: [7, null]}`
    """

    rank: ClassVar = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Mean over as many windows as asked for: (N, C, D, H, W) or (C, D, H, W) -> the same with output_size.

    Example: `{type: AdaptiveAvgPool3d, output_size: 1}`
    """

    rank: ClassVar = 3


class _AdaptiveMaxPool(_Adaptive):
    """AdaptiveMaxPool1d, 2d and 3d."""

    return_indices: Bool = False
    """Adds the port `indices`: where each maximum was, flat in its plane."""

    def ports(self) -> tuple[str, ...]:
        """`out`, and `indices` where they are asked for."""
        return ("out", "indices") if self.return_indices else ("out",)

    def infer(self, call: Call) -> TensorType | tuple[TensorType, ...]:
        """(N, C, *size) or (C, *size) -> the same with output_size."""
        out = self._resized(call)
        _need_ordered(call)
        need_elements(call, call.x.shape[1:])
        return (out, TensorType(out.shape, "int64")) if self.return_indices else out

    def lower(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """One adaptive maximum."""
        return _pool(b, AdaptiveMaxPool(), inputs[0], self.rank)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Maximum over as many windows as asked for: (N, C, L) or (C, L) -> the same with output_size.

    Example: `{type: AdaptiveMaxPool1d, output_size: 5}`
    """

    rank: ClassVar = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Maximum over as many windows as asked for: (N, C, H, W) or (C, H, W) -> the same with output_size.

    Example: `{type: AdaptiveMaxPool2d, output_size: [7, null]}`
    """

    rank: ClassVar = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Maximum over as many windows as asked for: (N, C, D, H, W) or (C, D, H, W) -> with output_size.

    Example: `{type: AdaptiveMaxPool3d, output_size: 2}`
    """

    rank: ClassVar = 3


# --- unpooling --------------------------------------------------------------------------------------


class _MaxUnpool(_Window):
    """MaxUnpool1d, 2d and 3d: the inverse of MaxPool, zero where nothing was the maximum."""

    reference_parameters: ClassVar = ("output_size",)

    arity: ClassVar = (2, 2)
    input_names: ClassVar = ("input", "indices")

    kernel_size: Counts
    """Window of the pooling that is undone."""
    stride: Counts | None = None
    """Step of the pooling that is undone; null: kernel_size."""
    padding: NonNegatives = 0
    """Padding of the pooling that is undone."""
    output_size: OutputSize | None = None
    """Spatial size of the output (torch's call argument), or a reference to a tensor of that size."""

    @classmethod
    def single_means_all(cls, parameter: str) -> bool:
        """torch wants an integer, or one an axis."""
        return False

    def references(self) -> tuple[str, ...]:
        """The tensor that `output_size` names."""
        return (self.output_size,) if isinstance(self.output_size, str) else ()

    def infer(self, call: Call) -> TensorType:
        """input and indices (N, C, *size) or (C, *size) -> the larger size."""
        x = call.need_rank(self.rank + 1, self.rank + 2, axes=self.layout())
        call.need_float()
        self._check_indices(call)
        need_elements(call, x.shape[1:])
        wanted = self._wanted(call)
        result: list[Dim] = []
        for axis, (size, (kernel, stride, padding, _)) in enumerate(
            zip(x.shape[-self.rank :], self._axes(), strict=True)
        ):
            natural = (size - 1) * stride - 2 * padding + kernel
            out = natural if wanted is None else wanted[axis]
            if wanted is not None:
                for ok in (at_least(out, natural - stride + 1), at_most(out, natural + stride - 1)):
                    call.require(
                        ok,
                        f"output_size {out} on spatial axis {axis} is out of range: "
                        f"{natural - stride + 1} to {natural + stride - 1} can be reached from {size}",
                        code="output-size-out-of-range",
                        parameter="output_size",
                    )
            call.require(
                at_least(out, 0),
                f"the output would have size {out} on spatial axis {axis}",
                code="empty-output",
                parameter="padding" if wanted is None else "output_size",
                notes=[f"output size: ({size} - 1)*{stride} - 2*{padding} + {kernel} = {natural}"],
            )
            result.append(out)
        return x.with_shape(*x.shape[: -self.rank], *result)

    def _check_indices(self, call: Call) -> None:
        x, indices = call.inputs
        if indices.dtype != "int64":
            call.fail(f"expected int64 indices, got {indices.dtype}", code="wrong-dtype", inputs=(1,))
        message = f"input and indices must have the same shape, got {x} and {indices}"
        if x.rank != indices.rank:
            call.fail(message, inputs=(0, 1))
        for a, c in zip(x.shape, indices.shape, strict=True):
            call.require(equal(a, c), message, inputs=(0, 1))

    def _wanted(self, call: Call) -> tuple[Dim, ...] | None:
        size = self.output_size
        if isinstance(size, tuple):
            if len(size) not in (self.rank, self.rank + 2):
                call.fail(
                    f"output_size needs {self.rank} sizes (or {self.rank + 2} with N and C), got {len(size)}",
                    code="wrong-length",
                    parameter="output_size",
                )
            size = size[-self.rank :]
        return requested_size(call, size, call.x, self.rank)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One unpooling; an index outside the plane is refused when it runs."""
        x, indices = inputs
        if x.rank == self.rank + 2:
            return b.emit(MaxUnpool(), x, indices)
        x, indices = (b.reshape(v, (1, *v.shape)) for v in inputs)
        return b.reshape(b.emit(MaxUnpool(), x, indices, shape=(1, *b.shape)), b.shape)


class MaxUnpool1d(_MaxUnpool):
    """Puts maxima back where MaxPool1d found them: input, indices (N, C, L) or (C, L) -> (N, C, L_out).

    Example: `{type: MaxUnpool1d, kernel_size: 2, inputs: [pool1, pool1.indices]}`
    """

    rank: ClassVar = 1


class MaxUnpool2d(_MaxUnpool):
    """Puts maxima back where MaxPool2d found them: input, indices (N, C, H, W) or (C, H, W) -> larger.

    Example: `{type: MaxUnpool2d, kernel_size: 2, inputs: [pool1, pool1.indices], output_size: image}`
    """

    rank: ClassVar = 2


class MaxUnpool3d(_MaxUnpool):
    """Puts maxima back where MaxPool3d found them: input, indices (N, C, D, H, W) or (C, D, H, W) -> larger.

    Example: `{type: MaxUnpool3d, kernel_size: 2, inputs: [pool1, pool1.indices]}`
    """

    rank: ClassVar = 3
