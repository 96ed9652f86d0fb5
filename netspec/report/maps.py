"""A tensor as a picture: an image as it is, feature maps as a grid of grey tiles. Needs Pillow."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from netspec.diagnostics import InputError
from netspec.interop.files import write_beside
from netspec.interop.pictures import MOST_PIXELS

GAP = 128
"""Grey of the line between two tiles, and of what is left over in the last row."""


def write_map(path: Path, name: str, array: Any, tapped: bool) -> None:
    """The tensor `name` as a PNG file. Raises `InputError` for what has no picture."""
    from PIL import Image

    image = Image.fromarray(draw(name, array, tapped))
    with write_beside(path) as file:
        image.save(file, format="PNG")


def draw(name: str, array: Any, tapped: bool) -> Any:
    """Pixels of a tensor, uint8: (height, width), or (height, width, 3) for an output with three channels.

    The first row of the batch of (N, C, H, W) is shown; (C, H, W) and (H, W) as they are; of more spatial
    axes every plane. An output with one or three channels is one picture, its values taken as 0..1, or scaled
    from their common min..max where some lie outside. Other planes, and all of a tapped layer, are tiles of
    a grid, each scaled from its own min..max; a constant one is black. Raises `InputError`.
    """
    planes = _planes(name, array)
    if not tapped and len(planes) in (1, 3) and array.ndim <= 4:
        _check_size(name, *planes.shape[1:])
        pixels = _grey(planes, *_image_range(planes))
        return pixels[0] if len(planes) == 1 else pixels.transpose(1, 2, 0)
    return _grid(name, planes)


def _planes(name: str, array: Any) -> Any:
    """(planes, height, width) of the first row."""
    if array.dtype.kind == "c":
        raise InputError(f"{name} is {array.dtype}: complex numbers have no picture; write to a .npy file")
    if array.ndim < 2:
        raise InputError(
            f"{name} has shape {list(array.shape)}: a picture needs 2 axes; write to a .npy file"
        )
    if not array.size:
        raise InputError(f"{name} has shape {list(array.shape)}: there is nothing to show")
    row = array[0] if array.ndim > 3 else array
    return row.reshape(-1, *row.shape[-2:])


def _check_size(name: str, height: int, width: int) -> None:
    if height * width > MOST_PIXELS:  # it could not be read back
        raise InputError(f"{name}: its picture would have {height} x {width} pixels, which is too many")


# --- values -----------------------------------------------------------------------------------------


def _image_range(planes: Any) -> tuple[float, float]:
    """0..1 where all values lie there, else their min..max."""
    low, high = _range(planes)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _range(values: Any) -> tuple[float, float]:
    """min..max of the finite values; 0..0 where there are none."""
    import numpy as np

    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _grey(values: Any, low: float, high: float) -> Any:
    """low..high as 0..255, NaN and a constant as black, infinities as the ends."""
    import numpy as np

    if not low < high:
        return np.zeros(values.shape, np.uint8)
    # halved, since high - low may be more than a float64 holds
    share = (values.astype(np.float64) / 2 - low / 2) / (high / 2 - low / 2)
    return np.rint(np.nan_to_num(share, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1) * 255).astype(np.uint8)


# --- the grid ---------------------------------------------------------------------------------------


def _grid(name: str, planes: Any) -> Any:
    """The planes side by side, about as high as wide, a line of one pixel between them."""
    import numpy as np

    count, high, wide = planes.shape
    columns = min(count, max(1, math.ceil(math.sqrt(count * high / wide))))
    rows = math.ceil(count / columns)
    columns = math.ceil(count / rows)
    height, width = rows * (high + 1) - 1, columns * (wide + 1) - 1
    _check_size(name, height, width)
    pixels = np.full((height, width), GAP, np.uint8)
    for index, plane in enumerate(planes):
        top, left = index // columns * (high + 1), index % columns * (wide + 1)
        pixels[top : top + high, left : left + wide] = _grey(plane, *_range(plane))
    return pixels
