"""Pictures as arrays: RGB or grey as the input's channels say, 0 to 1, (1, C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netspec.diagnostics import InputError


def read_picture(path: Path, shape: Sequence[int | str]) -> Any:
    """A picture for an input of this declared shape, as float32 (1, C, H, W), or (C, H, W) for three axes.

    Needs Pillow (extra `image`). Raises `InputError`.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise InputError(f"{path}: pictures need Pillow: pip install 'netspec-runner[image]'") from None
    import numpy as np

    if len(shape) not in (3, 4):
        raise InputError(f"{path}: a picture needs an input with 3 or 4 axes, this one has {len(shape)}")
    channels = shape[-3]
    if channels not in (1, 3) and isinstance(channels, int):
        raise InputError(f"{path}: a picture has 1 or 3 channels, the input has {channels}")
    try:
        with Image.open(path) as image:
            pixels = np.asarray(
                image.convert("L" if channels == 1 else "RGB"), dtype=np.float32
            ) / np.float32(255)
    except UnidentifiedImageError:
        raise InputError(f"{path}: not a picture that can be read") from None
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: the picture cannot be read: {error}") from None
    array = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(array[None] if len(shape) == 4 else array)
