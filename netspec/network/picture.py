"""How a picture becomes the array of a network input: resized, cropped, scaled to 0..1, normalised.

The sizes are plain integer arithmetic and agree with torchvision's Resize, CenterCrop, ToTensor and
Normalize on PIL images (https://docs.pytorch.org/vision/stable/transforms.html); the pixels are in
`netspec.interop.pictures`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from netspec.layers.parameters import choice, is_integer, is_number, out_of_range, wrong_type

LONGEST_SIDE = 65_535
"""The longest side of a prepared picture, which is also JPEG's."""
INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "lanczos", "box", "hamming")
_SMALLEST, _LARGEST = 1.1754944e-38, 3.4028235e38  # what float32 holds

Json = dict[str, Any]
Place: TypeAlias = "tuple[str | int, ...]"


# --- values -----------------------------------------------------------------------------------------


def _sides(expected: str) -> Callable[[Any], Any]:
    whole = f"{expected}, or [height, width]"

    def validate(value: Any) -> int | tuple[int, int] | None:
        if value is None:
            return None
        items = value if isinstance(value, list | tuple) else [value]
        if not all(map(is_integer, items)) or (isinstance(value, list | tuple) and len(items) != 2):
            raise wrong_type(whole, value)
        if not all(1 <= item <= LONGEST_SIDE for item in items):
            raise out_of_range(f"{whole} (1 to {LONGEST_SIDE})", value)
        return (items[0], items[1]) if isinstance(value, list | tuple) else items[0]

    return validate


def _per_channel(expected: str, smallest: float) -> Callable[[Any], Any]:
    whole = f"{expected}, or a list with one a channel"

    def validate(value: Any) -> float | tuple[float, ...] | None:
        if value is None:
            return None
        items = value if isinstance(value, list | tuple) else [value]
        if not items or not all(map(is_number, items)):
            raise wrong_type(whole, value)
        if not all(smallest <= item <= _LARGEST for item in items):  # NaN is not inside either
            raise out_of_range(whole, value)
        return tuple(map(float, items)) if isinstance(value, list | tuple) else float(items[0])

    return validate


def _schema(one: Json, **limits: int) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": one, **limits}, {"type": "null"}]})


_SIDE: Json = {"type": "integer", "minimum": 1, "maximum": LONGEST_SIDE}
Resize = Annotated[
    int | tuple[int, int] | None,
    PlainValidator(_sides("the length of the shorter side")),
    _schema(_SIDE, minItems=2, maxItems=2),
]
Crop = Annotated[
    int | tuple[int, int] | None,
    PlainValidator(_sides("the side of a square")),
    _schema(_SIDE, minItems=2, maxItems=2),
]
Mean = Annotated[
    float | tuple[float, ...] | None,
    PlainValidator(_per_channel("a number", -_LARGEST)),
    _schema({"type": "number"}, minItems=1, maxItems=3),
]
Std = Annotated[
    float | tuple[float, ...] | None,
    PlainValidator(_per_channel("a number > 0", _SMALLEST)),
    _schema({"type": "number", "exclusiveMinimum": 0}, minItems=1, maxItems=3),
]


# --- the mapping ------------------------------------------------------------------------------------


class PictureSpec(BaseModel):
    """How a picture is prepared: resize, crop, scale to 0..1, subtract `mean`, divide by `std`.

    Example:
        {resize: 256, crop: 224, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    resize: Resize = None
    """Length of the shorter side, its aspect kept; or [height, width]. Default: the picture's own size."""
    crop: Crop = None
    """Side of the square cut from the middle, or [height, width]; what lies outside the picture is black."""
    mean: Mean = None
    """What is subtracted after scaling to 0..1: a number, or one a channel."""
    std: Std = None
    """What the difference is divided by: a number > 0, or one a channel."""
    interpolation: choice(*INTERPOLATIONS) = "bilinear"  # type: ignore[valid-type]
    """Pillow's filter for `resize`; all but nearest average over the area when shrinking."""

    def to_mapping(self) -> dict[str, Any]:
        """As it could have been written: what differs from the defaults."""
        given = {name: getattr(self, name) for name in PictureSpec.model_fields}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in given.items()
            if value != PictureSpec.model_fields[name].default
        }


def _picture(value: Any) -> PictureSpec | None:
    if value is None or isinstance(value, PictureSpec):
        return value
    if not isinstance(value, dict):
        raise wrong_type("a mapping with resize, crop, mean, std or interpolation", value)
    return PictureSpec.model_validate(value)


Picture = Annotated[PictureSpec | None, BeforeValidator(_picture)]


# --- sizes ------------------------------------------------------------------------------------------


def resized(picture: PictureSpec, height: int, width: int) -> tuple[int, int]:
    """(height, width) after `resize`: the longer side is rounded down, as torchvision rounds it."""
    side = picture.resize
    if side is None:
        return height, width
    if not isinstance(side, int):
        return side
    if width <= height:
        return side * height // width, side
    return side, side * width // height


def cropped(picture: PictureSpec, height: int, width: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of `crop` in a picture of this size; negative where black is added.

    An odd rest: torchvision rounds half to even when it cuts, and adds the odd line below and on the right.
    """
    if picture.crop is None:
        return 0, 0, height, width
    high, wide = _pair(picture.crop)
    return _offset(height, high), _offset(width, wide), high, wide


def _offset(size: int, crop: int) -> int:
    return round((size - crop) / 2) if crop <= size else -((crop - size) // 2)


def _pair(sides: int | tuple[int, int]) -> tuple[int, int]:
    return (sides, sides) if isinstance(sides, int) else sides


# --- against the input ------------------------------------------------------------------------------


def contradictions(
    picture: PictureSpec, shape: Sequence[int | str], dtype: str
) -> Iterator[tuple[Place, PydanticCustomError]]:
    """What in `picture` cannot be, given the input's shape and dtype: the place below the input, and why."""
    if not dtype.startswith(("float", "complex")):
        yield (
            ("dtype",),
            _error("wrong-dtype", f"a picture is an array of floats, this input takes {dtype}",
                   "leave `picture` out, or write dtype: float32"),
        )  # fmt: skip
    if len(shape) not in (3, 4):
        message = f"a picture needs 3 or 4 axes such as [N, 3, H, W], got {_list(shape)}"
        yield ("shape",), _error("wrong-rank", message)
        return
    channels = shape[-3]
    if isinstance(channels, int) and channels not in (1, 3):
        message = f"a picture has 1 channel (grey) or 3 (RGB), got {channels}"
        yield ("shape", len(shape) - 3), _error("channel-mismatch", message)
    else:
        count = channels if isinstance(channels, int) else 3  # a symbol takes a picture as RGB
        for key in ("mean", "std"):
            given = getattr(picture, key)
            if isinstance(given, tuple) and len(given) not in (1, count):
                message = f"expected a number or one for each of the {count} channels, got {len(given)}"
                yield ("picture", key), _error("wrong-length", message)
    yield from _size_contradictions(picture, shape)


def _size_contradictions(
    picture: PictureSpec, shape: Sequence[int | str]
) -> Iterator[tuple[Place, PydanticCustomError]]:
    declared = dict(zip(("height", "width"), shape[-2:], strict=True))
    key = "crop" if picture.crop is not None else "resize"
    sides = picture.crop if picture.crop is not None else picture.resize
    if sides is None:
        return
    written = _list(shape)
    if key == "crop" or not isinstance(sides, int):
        given = dict(zip(declared, _pair(sides), strict=True))
        wrong = [word for word, size in declared.items() if isinstance(size, int) and size != given[word]]
        if wrong:
            comes, needs = _words(given, wrong), _words(declared, wrong)
            message = f"the picture comes out with {comes}, the shape {written} needs {needs}"
            yield ("picture", key), _error("shape-mismatch", message, _advice(key, declared))
        elif declared["height"] == declared["width"] and given["height"] != given["width"]:
            message = (
                f"`{declared['height']}` is one size in {written}, but the picture comes out with "
                + _words(given, list(given))
            )
            yield ("picture", key), _error("shape-mismatch", message)
        return
    known = [size for size in declared.values() if isinstance(size, int)]
    if any(size < sides for size in known) or (len(known) == 2 and min(known) != sides):
        message = f"the picture's shorter side comes out as {sides}, which the shape {written} rules out"
        yield ("picture", key), _error("shape-mismatch", message, _advice(key, declared))


def _list(sizes: Sequence[int | str]) -> str:
    return f"[{', '.join(map(str, sizes))}]"


def _words(sizes: dict[str, Any], which: Sequence[str]) -> str:
    return " and ".join(f"{word} {sizes[word]}" for word in which)


def _advice(key: str, declared: dict[str, int | str]) -> str | None:
    sizes = list(declared.values())
    if not all(isinstance(size, int) for size in sizes):
        return None
    same = sizes[0] == sizes[1] and key == "crop"
    return f"write {key}: {sizes[0] if same else _list(sizes)}"


def _error(code: str, message: str, help: str | None = None) -> PydanticCustomError:
    context = {"text": message} if help is None else {"text": message, "help": help}
    return PydanticCustomError(code, "{text}", context)
