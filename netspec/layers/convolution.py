"""Convolutions: Conv1d/2d/3d and ConvTranspose1d/2d/3d.

A convolution slides a kernel without flipping it (cross-correlation) and sums over the channels of its
group. A padding mode other than zeros widens the input first. Source: torch.nn's Convolution Layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from netspec.layers.base import Call, State, _Spatial
from netspec.layers.initialize import bias_default, kaiming_default
from netspec.layers.parameters import Bool, Count, Counts, NonNegatives, OutputSize, choice, sizes
from netspec.layers.sizes import convolution, formula, transposed, transposed_formula, window
from netspec.layers.tensor import TensorType
from netspec.operations import Convolution, Pad, TransposedConvolution
from netspec.program.builder import Builder, Value
from netspec.symbolic import Dim, any_of, at_least, at_most, equal, parse, product

_MODES = {"reflect": "reflect", "replicate": "replicate", "circular": "circular"}


class _Convolution(_Spatial):
    """What convolutions share: channels, groups and state."""

    parameter_names: ClassVar = ("weight", "bias")
    inferred: ClassVar = {"in_channels": 1}
    per_axis: ClassVar = ("kernel_size", "stride", "padding", "output_padding", "dilation")

    in_channels: Count | None = None
    """Channels of the input; left out, they are read off the input."""
    out_channels: Count
    """Channels that the convolution produces."""
    kernel_size: Counts
    """Size of the kernel."""

    @classmethod
    def single_means_all(cls, parameter: str) -> bool:
        """torch spreads a list of one over every axis, but not kernel_size, which shapes the weight."""
        return parameter != "kernel_size"

    @model_validator(mode="after")
    def _groups_divide(self) -> _Convolution:
        groups: int = self.groups  # type: ignore[attr-defined]
        for parameter in ("in_channels", "out_channels"):
            channels = getattr(self, parameter)
            if channels is not None and channels % groups:
                raise PydanticCustomError(
                    "groups-do-not-divide",
                    "{parameter} must be divisible by groups, got {channels} and {groups}",
                    {"parameter": parameter, "channels": channels, "groups": groups,
                     "field": "groups" if groups != 1 else parameter},
                )  # fmt: skip
        return self

    def _channel_axis(self, x: TensorType, axis: int) -> int:
        return x.rank - self.rank - 1

    def _arriving(self, call: Call) -> tuple[TensorType, Dim, tuple[Dim, ...]]:
        """The checked input, its channels and its spatial sizes."""
        x = call.need_rank(self.rank + 1, self.rank + 2, axes=self.layout("C_in"))
        call.need_weight_dtype()
        channels, *space = x.shape[-self.rank - 1 :]
        call.require(
            equal(channels, self.in_channels or 0),
            f"in_channels is {self.in_channels}, but the input has {channels} channels: {x}",
            code="channel-mismatch",
            parameter="in_channels",
            help=f"write in_channels: {channels}" if isinstance(channels, int) else None,
            fix=("in_channels", channels),
        )
        if self.in_channels is not None and self.in_channels % self.groups:  # type: ignore[attr-defined]
            call.fail(
                f"in_channels must be divisible by groups, got {self.in_channels} and {self.groups}",  # type: ignore[attr-defined]
                code="groups-do-not-divide",
                parameter="groups",
            )
        return x, channels, tuple(space)

    def _state(self, weight: tuple[int, ...]) -> tuple[State, ...]:
        states = [State("weight", weight, kaiming_default())]
        if self.bias:  # type: ignore[attr-defined]
            states.append(State("bias", (self.out_channels,), bias_default(weight)))
        return tuple(states)


class _Conv(_Convolution):
    """Conv1d, Conv2d and Conv3d: weight (out_channels, in_channels/groups, *kernel_size)."""

    stride: Counts = 1
    """Step of the window."""
    padding: sizes("an integer >= 0", 0, words=("same", "valid")) = 0  # type: ignore[valid-type]
    """Amount added to both ends of each spatial axis; "same" keeps the size, "valid" adds nothing."""
    dilation: Counts = 1
    """Distance between the elements of the kernel."""
    groups: Count = 1
    """Number of groups of channels that are convolved separately; it divides both channel counts."""
    bias: Bool = True
    """Whether a learnable bias is added."""
    padding_mode: choice("zeros", "reflect", "replicate", "circular") = "zeros"  # type: ignore[valid-type]
    """What the padding holds."""

    @model_validator(mode="before")
    @classmethod
    def _one_amount_an_axis(cls, data: Any) -> Any:
        # torch pads with the list as it is, on the last axis alone, and then refuses or misreads the rest
        padding = data.get("padding") if isinstance(data, dict) else None
        if (
            isinstance(padding, list | tuple)
            and len(padding) == 1 < cls.rank
            and data.get("padding_mode", "zeros") != "zeros"
        ):
            raise PydanticCustomError(
                "wrong-length",
                "padding_mode {mode} needs an integer or a list of {rank} (one for each spatial axis), "
                "got {count} values",
                {"mode": str(data["padding_mode"]), "rank": cls.rank, "count": 1, "field": "padding"},
            )
        return data

    @model_validator(mode="after")
    def _same_needs_stride_one(self) -> _Conv:
        if self.padding == "same" and any(step != 1 for step in self.stride):
            raise PydanticCustomError(
                "strided-same",
                "padding: same needs stride 1, got {stride}",
                {"stride": str(list(self.stride)), "field": "stride"},
            )
        return self

    def _axes(self) -> list[tuple[int, int, int, int, int]]:
        """(kernel, stride, before, after, dilation) of each axis."""
        pads: list[tuple[int, int]] = []
        for axis, (kernel, step) in enumerate(zip(self.kernel_size, self.dilation, strict=True)):
            if self.padding == "same":
                total = step * (kernel - 1)
                pads.append((total // 2, total - total // 2))
            else:
                amount = 0 if self.padding == "valid" else self.padding[axis]
                pads.append((amount, amount))
        return [
            (k, s, before, after, d)
            for k, s, (before, after), d in zip(
                self.kernel_size, self.stride, pads, self.dilation, strict=True
            )
        ]

    def infer(self, call: Call) -> TensorType:
        """(N, C_in, *size) or (C_in, *size) -> the same with C_out and the number of windows."""
        x, _, space = self._arriving(call)
        result: list[Dim] = []
        for axis, (size, (kernel, stride, before, after, dilation)) in enumerate(
            zip(space, self._axes(), strict=True)
        ):
            if self.padding_mode in ("reflect", "circular"):
                _check_wrap(call, self.padding_mode, size, max(before, after), axis)
            elif self.padding_mode == "replicate":
                call.require(at_least(size, 1), f"replicate padding needs a size >= 1, got {size}")
            if before + after >= window(kernel, dilation):  # else the kernel does not fit an empty axis
                batch = x.shape[0] if x.rank > self.rank + 1 else 1
                call.require(
                    any_of(at_least(size, 1), equal(batch, 0)),
                    f"spatial axis {axis} of the input is empty: {x}",
                    code="empty-axis",
                )
            out = convolution(size, kernel, stride, before, after, dilation)
            pad = before if before == after else (before, after)
            shown = formula(size, kernel, stride, pad, dilation, out)
            call.require(
                at_least(size + before + after, window(kernel, dilation)),
                f"the kernel spans {window(kernel, dilation)} but the padded input has only "
                f"{size + before + after} on spatial axis {axis}",
                code="kernel-too-large",
                parameter="kernel_size",
                notes=[f"output size: {shown}"],
            )
            result.append(out)
        return x.with_shape(*x.shape[: -self.rank - 1], self.out_channels, *result)

    def state(self) -> tuple[State, ...]:
        """weight and, with bias, bias (out_channels)."""
        return self._state((self.out_channels, (self.in_channels or 0) // self.groups, *self.kernel_size))

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """Output elements times the weights each one reads."""
        weights: int = (self.in_channels or 0) // self.groups * math.prod(self.kernel_size)
        return product(outputs[0].shape) * weights

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """Pad where the mode asks for it, then convolve."""
        axes = self._axes()
        padding = tuple((before, after) for _, _, before, after, _ in axes)

        def compute(x: Value) -> Value:
            pads = padding
            if self.padding_mode != "zeros":
                widths = ((0, 0), (0, 0), *padding)
                wider = [size + lo + hi for size, (lo, hi) in zip(x.shape, widths, strict=True)]
                x = b.emit(Pad(widths, _MODES[self.padding_mode]), x, shape=wider)  # type: ignore[arg-type]
                pads = ((0, 0),) * self.rank
            operation = Convolution(tuple(a[1] for a in axes), pads, tuple(a[4] for a in axes), self.groups)
            shape = (x.shape[0], *b.shape[-self.rank - 1 :])
            return b.emit(operation, x, b.weight("weight"), b.state("bias"), shape=shape)

        return b.batched(inputs[0], self.rank + 2, compute)


def _check_wrap(call: Call, mode: str, size: Dim, pad: int, axis: int) -> None:
    limit, word = (size - 1, "less than") if mode == "reflect" else (size, "at most")
    call.require(
        at_least(limit, pad),
        f"{mode} padding must be {word} the size, got padding {pad} for size {size} on spatial axis {axis}",
        code="padding-too-large",
        parameter="padding",
    )


class Conv1d(_Conv):
    """Slides a kernel over a sequence of channels: (N, C_in, L) -> (N, C_out, L_out).

    Example: `{type: Conv1d, in_channels: 16, out_channels: 33, kernel_size: 3, stride: 2}`
    """

    rank: ClassVar = 1


class Conv2d(_Conv):
    """Slides a kernel over images of channels: (N, C_in, H, W) -> (N, C_out, H_out, W_out).

    Example: `{type: Conv2d, in_channels: 16, out_channels: 33, kernel_size: [3, 5], padding: [4, 2]}`
    """

    rank: ClassVar = 2


class Conv3d(_Conv):
    """Slides a kernel over volumes of channels: (N, C_in, D, H, W) -> (N, C_out, D_out, H_out, W_out).

    Example: `{type: Conv3d, in_channels: 16, out_channels: 33, kernel_size: 3, stride: 2}`
    """

    rank: ClassVar = 3


class _ConvTranspose(_Convolution):
    """ConvTranspose1d, 2d and 3d: weight (in_channels, out_channels/groups, *kernel_size)."""

    reference_parameters: ClassVar = ("output_size",)

    stride: Counts = 1
    """Step of the window in the output."""
    padding: NonNegatives = 0
    """Amount cut from both ends of each spatial axis of the full result."""
    output_padding: NonNegatives = 0
    """Size added on the right of each spatial axis; it holds the bias alone where nothing reaches it."""
    groups: Count = 1
    """Number of groups of channels that are convolved separately; it divides both channel counts."""
    bias: Bool = True
    """Whether a learnable bias is added."""
    dilation: Counts = 1
    """Distance between the elements of the kernel."""
    padding_mode: choice("zeros") = "zeros"  # type: ignore[valid-type]
    """Only zeros, as in torch."""
    output_size: OutputSize | None = None
    """Spatial size of the output (torch's call argument), or a reference to a tensor of that size."""

    def references(self) -> tuple[str, ...]:
        """The tensor that `output_size` names."""
        return (self.output_size,) if isinstance(self.output_size, str) else ()

    def infer(self, call: Call) -> TensorType:
        """(N, C_in, *size) or (C_in, *size) -> the same with C_out and the larger size."""
        x, _, space = self._arriving(call)
        wanted = requested_size(call, self.output_size, x, self.rank)
        parameters = zip(
            self.kernel_size, self.stride, self.padding, self.output_padding, self.dilation, strict=True
        )
        result: list[Dim] = []
        for axis, (size, (kernel, stride, padding, extra, dilation)) in enumerate(
            zip(space, parameters, strict=True)
        ):
            call.require(
                at_least(size, 1), f"spatial axis {axis} of the input is empty: {x}", code="empty-axis"
            )
            if wanted is not None:
                least = transposed(size, kernel, stride, padding, 0, dilation)
                for ok in (at_least(wanted[axis], least), at_most(wanted[axis], least + stride - 1)):
                    call.require(
                        ok,
                        f"output_size {wanted[axis]} on spatial axis {axis} is out of range: "
                        f"{least} to {least + stride - 1} can be reached from {size}",
                        code="output-size-out-of-range",
                        parameter="output_size",
                    )
                # torch turns output_size into an output_padding, and then checks that one.
                extra_dim = wanted[axis] - least
                result.append(wanted[axis])
                if isinstance(extra_dim, int):
                    self._check_extra(call, extra_dim, stride, dilation, "output_size")
                call.require(
                    at_least(wanted[axis], 1),
                    f"the output would have size {wanted[axis]} on spatial axis {axis}",
                    code="empty-output",
                    parameter="output_size",
                )
                continue
            self._check_extra(call, extra, stride, dilation, "output_padding")
            out = transposed(size, kernel, stride, padding, extra, dilation)
            call.require(
                at_least(out, 1),
                f"the output would have size {out} on spatial axis {axis}",
                code="empty-output",
                parameter="padding",
                notes=[
                    "output size: " + transposed_formula(size, kernel, stride, padding, extra, dilation, out)
                ],
            )
            result.append(out)
        return x.with_shape(*x.shape[: -self.rank - 1], self.out_channels, *result)

    def _check_extra(self, call: Call, extra: int, stride: int, dilation: int, parameter: str) -> None:
        if extra >= max(stride, dilation):
            call.fail(
                f"output_padding must be smaller than stride or dilation, got {extra} with stride {stride} "
                f"and dilation {dilation}",
                code="output-padding-too-large",
                parameter=parameter,
                inputs=(),
            )

    def state(self) -> tuple[State, ...]:
        """weight and, with bias, bias (out_channels)."""
        return self._state((self.in_channels or 0, self.out_channels // self.groups, *self.kernel_size))

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """Input elements times the weights each one is multiplied with."""
        weights: int = self.out_channels // self.groups * math.prod(self.kernel_size)
        return product(inputs[0].shape) * weights

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One transposed convolution; the output's shape says where it ends."""
        operation = TransposedConvolution(self.stride, self.padding, self.dilation, self.groups)

        def compute(x: Value) -> Value:
            shape = (x.shape[0], *b.shape[-self.rank - 1 :])
            return b.emit(operation, x, b.weight("weight"), b.state("bias"), shape=shape)

        return b.batched(inputs[0], self.rank + 2, compute)


def requested_size(call: Call, output_size: Any, x: TensorType, rank: int) -> tuple[Dim, ...] | None:
    """The spatial sizes that an `output_size` asks for: torch takes them alone or behind N and C."""
    if output_size is None:
        return None
    if isinstance(output_size, str):
        if call.size_of is None or call.size_of.rank < rank:
            call.fail(
                f"output_size needs a tensor with {rank} spatial axes, {output_size} is {call.size_of}",
                code="wrong-rank",
                parameter="output_size",
            )
        return call.size_of.shape[-rank:]
    if len(output_size) not in (rank, x.rank):
        call.fail(
            f"output_size needs {rank} sizes (or {x.rank} with the leading axes), got {len(output_size)}",
            code="wrong-length",
            parameter="output_size",
        )
    return tuple(dimension(call, size, "output_size") for size in output_size[-rank:])


def dimension(call: Call, size: int | str, parameter: str) -> Dim:
    """An int, or an expression over the network's symbols, as a size."""
    if isinstance(size, int):
        return size
    from netspec.symbolic import ExpressionError, substitute

    try:
        parsed = parse(size, allowed=list(call.symbols))
    except ExpressionError as error:
        call.fail(str(error), code="wrong-expression", parameter=parameter, inputs=())
    return substitute(parsed, call.symbols)


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution over sequences: (N, C_in, L) -> (N, C_out, L_out).

    Example: `{type: ConvTranspose1d, in_channels: 16, out_channels: 33, kernel_size: 3, stride: 2}`
    """

    rank: ClassVar = 1


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution over images: (N, C_in, H, W) -> (N, C_out, H_out, W_out).

    Example: `{type: ConvTranspose2d, in_channels: 16, out_channels: 33, kernel_size: 3, stride: 2}`
    """

    rank: ClassVar = 2


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution over volumes: (N, C_in, D, H, W) -> (N, C_out, D_out, H_out, W_out).

    Example: `{type: ConvTranspose3d, in_channels: 16, out_channels: 33, kernel_size: 3, stride: 2}`
    """

    rank: ClassVar = 3
