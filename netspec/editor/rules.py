"""Shape rules with the numbers put in."""

from __future__ import annotations

from collections.abc import Iterator

from netspec.editor.view import View
from netspec.layers import Layer
from netspec.layers.convolution import _Conv, _ConvTranspose
from netspec.layers.pooling import _Window
from netspec.layers.sizes import formula, transposed_formula
from netspec.layers.tensor import TensorType

_AXES = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}


def formulas(view: View, layer: Layer, x: TensorType, y: TensorType) -> list[str]:
    """torch's formula for each spatial axis of a windowed layer; axes with the same numbers are said once."""
    rank = getattr(layer, "rank", 0)
    if rank not in _AXES or x.rank < rank or y.rank < rank:
        return []
    found: dict[str, list[str]] = {}
    sizes = zip(_AXES[rank], x.shape[-rank:], y.shape[-rank:], _parameters(layer), strict=False)
    for axis, before, after, numbers in sizes:
        before, after = view.simplify(before), view.simplify(after)
        if isinstance(layer, _ConvTranspose):
            kernel, stride, padding, extra, dilation = numbers
            text = transposed_formula(before, kernel, stride, padding, extra, dilation, after)
        else:
            kernel, stride, low, high, dilation = numbers
            pad = low if low == high else (low, high)
            text = formula(
                before, kernel, stride, pad, dilation, after, bool(getattr(layer, "ceil_mode", False))
            )
        found.setdefault(text, []).append(axis)
    return [f"{', '.join(axes)}: {text}" for text, axes in found.items()]


def _parameters(layer: Layer) -> Iterator[tuple[int, int, int, int, int]]:
    """For each axis kernel, stride, padding (before and after; of a transposed one also output_padding), dilation."""
    if isinstance(layer, _Conv):
        for kernel, stride, before, after, dilation in layer._axes():
            yield kernel, stride, before, after, dilation
    elif isinstance(layer, _ConvTranspose):
        if not getattr(layer, "output_size", None):
            fields = ("kernel_size", "stride", "padding", "output_padding", "dilation")
            yield from zip(*(getattr(layer, field) for field in fields), strict=True)
    elif isinstance(layer, _Window) and "Unpool" not in layer.type_name:
        for kernel, stride, padding, dilation in layer._axes():
            yield kernel, stride, padding, padding, dilation
