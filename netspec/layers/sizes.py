"""Size arithmetic of windows, as small pure functions on one axis, and the formulas that messages show.

Every size may be an expression over named sizes. Sources: the Shape sections of torch.nn's Conv2d,
ConvTranspose2d and MaxPool2d; ceil_mode's rule is torch's pooling_output_shape.
"""

from __future__ import annotations

from netspec.symbolic import Dim, minimum


def window(kernel: int, dilation: int) -> int:
    """Extent of a dilated kernel."""
    return dilation * (kernel - 1) + 1


def convolution(size: Dim, kernel: int, stride: int, before: int, after: int, dilation: int) -> Dim:
    """Number of windows that fit into the padded axis."""
    return (size + before + after - window(kernel, dilation)) // stride + 1


def transposed(size: Dim, kernel: int, stride: int, padding: int, output_padding: int, dilation: int) -> Dim:
    """Size that a transposed convolution gives."""
    return (size - 1) * stride - 2 * padding + window(kernel, dilation) + output_padding


def pooling(size: Dim, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> Dim:
    """Number of pooling windows; with ceil_mode the last must start inside the input or left padding."""
    room = size + 2 * padding - window(kernel, dilation)
    if not ceil_mode:
        return room // stride + 1
    return minimum((room + stride - 1) // stride + 1, (size + padding - 1) // stride + 1)


def formula(
    size: Dim,
    kernel: int,
    stride: int,
    padding: int | tuple[int, int],
    dilation: int,
    result: Dim,
    ceil: bool = False,
) -> str:
    """`(5 + 2*0 - 1*(7 - 1) - 1)//1 + 1 = -1`: torch's formula with the numbers put in."""
    pad = f"2*{padding}" if isinstance(padding, int) else f"{padding[0]} + {padding[1]}"
    text = f"{size} + {pad} - {dilation}*({kernel} - 1) - 1"
    if ceil:
        text += f" + {stride} - 1"
    return f"({text})//{stride} + 1 = {result}"


def transposed_formula(
    size: Dim, kernel: int, stride: int, padding: int, output_padding: int, dilation: int, result: Dim
) -> str:
    """torch's ConvTranspose formula with the numbers put in."""
    return (
        f"({size} - 1)*{stride} - 2*{padding} + {dilation}*({kernel} - 1) + {output_padding} + 1 = {result}"
    )
