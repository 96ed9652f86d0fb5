"""Pictures as arrays: RGB or grey as the input's channels say, 0 to 1, (1, C, H, W).

What an input's `picture` asks for is done as torchvision does it with PIL images: convert, Resize and
CenterCrop on eight-bit pixels, ToTensor, Normalize. So, as there:

- the EXIF orientation is not applied: a photo taken upright may lie on its side;
- transparency is dropped, and the colour below it shows; palettes and CMYK become RGB;
- grey is 0.299 R + 0.587 G + 0.114 B;
- of an animation the first picture is taken.

Of sixteen bits the upper eight are kept, in grey as in RGB (torchvision would cut grey off at 255).
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.diagnostics import InputError
from netspec.network.picture import PictureSpec, cropped, resized

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

MOST_PIXELS = 178_956_970
"""Pixels of the largest picture that is read or prepared: what Pillow takes for a decompression bomb."""
FORMATS = ("PNG", "JPEG")
"""What is opened, whatever the file's name says: Pillow's other readers may start programs."""
AS_IT_IS = PictureSpec()


def read_picture(path: Path, shape: Sequence[int | str], picture: PictureSpec | None = None) -> Any:
    """A picture for an input of this declared shape, as float32 (1, C, H, W), or (C, H, W) for three axes.

    picture: how it is resized, cropped and normalised; None: only scaled to 0..1.
    Needs Pillow (extra `image`). Raises `InputError`.
    """
    check_pillow(path)
    if len(shape) not in (3, 4):
        raise InputError(f"{path}: a picture needs an input with 3 or 4 axes, this one has {len(shape)}")
    channels = shape[-3]
    if channels not in (1, 3) and isinstance(channels, int):
        raise InputError(f"{path}: a picture has 1 or 3 channels, the input has {channels}")
    image = _decode(path, "L" if channels == 1 else "RGB")
    array = _normalise(_pixels(_prepare(path, image, picture or AS_IT_IS)), picture or AS_IT_IS)
    return array[None] if len(shape) == 4 else array


def check_pillow(path: Path) -> None:
    """Raises `InputError` where pictures can be neither read nor written."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise InputError(f"{path}: pictures need Pillow: pip install 'netspec-runner[image]'") from None


# --- files ------------------------------------------------------------------------------------------


def _decode(path: Path, mode: str) -> PilImage:
    """The picture in mode L or RGB."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about palettes with transparency and large pictures
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:  # also where somebody has lifted Pillow's limit
                    raise InputError(f"{path}: {_too_large(image.height, image.width)}")
                return _eight_bits(path, image).convert(mode)
    except UnidentifiedImageError:
        raise InputError(f"{path}: not a picture that can be read (PNG and JPEG are)") from None
    except Image.DecompressionBombError:
        raise InputError(f"{path}: the picture has more than {MOST_PIXELS:,} pixels") from None
    except PermissionError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error) as error:
        raise InputError(f"{path}: the picture cannot be read: {error}") from None


def _eight_bits(path: Path, image: PilImage) -> PilImage:
    """Sixteen bits a pixel as eight; Pillow by itself would cut them off at 255."""
    import numpy as np
    from PIL import Image

    if image.mode == "F":
        raise InputError(f"{path}: the picture holds floats; write them to a .npy file")
    if not image.mode.startswith("I"):
        return image
    pixels = np.asarray(image)
    if pixels.size and (pixels.min() < 0 or pixels.max() > 65_535):
        raise InputError(f"{path}: the picture has more than sixteen bits a pixel")
    return Image.fromarray((pixels >> 8).astype(np.uint8))


def _too_large(height: int, width: int) -> str:
    return f"the picture has {height} x {width} pixels, more than {MOST_PIXELS:,}"


# --- preparation ------------------------------------------------------------------------------------


def _prepare(path: Path, image: PilImage, picture: PictureSpec) -> PilImage:
    """Resize and CenterCrop."""
    from PIL import Image

    height, width = resized(picture, image.height, image.width)
    top, left, high, wide = cropped(picture, height, width)
    for size in ((height, width), (high, wide)):
        if size[0] * size[1] > MOST_PIXELS:
            raise InputError(f"{path}: once prepared, {_too_large(*size)}")
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling[picture.interpolation.upper()])
    if (top, left, high, wide) != (0, 0, height, width):
        image = image.crop((left, top, left + wide, top + high))  # black outside the picture
    return image


def _pixels(image: PilImage) -> Any:
    """ToTensor: (C, H, W) in 0..1."""
    import numpy as np

    pixels = np.asarray(image)
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(planes, dtype=np.float32) / np.float32(255)


def _normalise(array: Any, picture: PictureSpec) -> Any:
    """Normalize, in place and in float32, as torchvision computes it."""
    import numpy as np

    if picture.mean is not None:
        array -= np.asarray(picture.mean, np.float32).reshape(-1, 1, 1)
    if picture.std is not None:
        array /= np.asarray(picture.std, np.float32).reshape(-1, 1, 1)
    return array
