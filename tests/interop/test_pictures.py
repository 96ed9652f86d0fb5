"""Pictures become the arrays that torchvision's Resize, CenterCrop, ToTensor and Normalize make of them.

The expected values are computed by hand, or by Pillow, as torchvision's documentation describes the steps.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pydantic import ValidationError

import netspec
from netspec.diagnostics import InputError
from netspec.interop import pictures
from netspec.interop.arrays import read_input
from netspec.interop.pictures import read_picture
from netspec.network import errors
from netspec.network.picture import PictureSpec, cropped, resized
from netspec.network.spec import InputSpec
from netspec.network.write import to_mapping, to_yaml

RGB = ("N", 3, "H", "W")
GREY = ("N", 1, "H", "W")
IMAGENET = {"resize": 256, "crop": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def spec(**values: Any) -> PictureSpec:
    return PictureSpec.model_validate(values)


def noise(height: int, width: int, channels: int = 3) -> Any:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)


def save(folder: Path, pixels: Any, name: str = "p.png", **options: Any) -> Path:
    Image.fromarray(pixels).save(folder / name, **options)
    return folder / name


# --- sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resize", "size", "expected"),
    [
        (256, (600, 1000), (256, 426)),  # 426.67 is rounded down
        (256, (1000, 600), (426, 256)),
        (256, (375, 500), (256, 341)),
        (256, (427, 640), (256, 383)),  # 383.70
        (224, (224, 300), (224, 300)),
        (4, (7, 7), (4, 4)),
        (10, (3, 4), (10, 13)),  # 13.33
        ([240, 320], (1000, 7), (240, 320)),
        (None, (31, 17), (31, 17)),
    ],
)
def test_resize_keeps_the_aspect_and_rounds_down(resize: Any, size: Any, expected: Any) -> None:
    assert resized(spec(resize=resize), *size) == expected


@pytest.mark.parametrize(
    ("crop", "size", "expected"),
    [
        (224, (256, 341), (16, 58, 224, 224)),  # 58.5 goes to the even number
        (224, (256, 383), (16, 80, 224, 224)),  # and so does 79.5
        (2, (5, 7), (2, 2, 2, 2)),  # 1.5 and 2.5
        ([3, 5], (3, 4), (0, 0, 3, 5)),  # one column of black, on the right
        ([6, 7], (3, 4), (-1, -1, 6, 7)),  # 1 above and 2 below, 1 left and 2 right
        ([2, 8], (4, 4), (1, -2, 2, 8)),  # cut in height, black in width
        (None, (4, 9), (0, 0, 4, 9)),
    ],
)
def test_crop_rounds_as_torchvision(crop: Any, size: Any, expected: Any) -> None:
    assert cropped(spec(crop=crop), *size) == expected


# --- values -----------------------------------------------------------------------------------------


def test_without_picture_it_is_scaled_only(tmp_path: Path) -> None:
    pixels = noise(4, 5)
    array = read_picture(save(tmp_path, pixels), RGB)
    assert (array.dtype, array.shape) == (np.float32, (1, 3, 4, 5))
    np.testing.assert_array_equal(array[0], pixels.transpose(2, 0, 1).astype("f4") / np.float32(255))
    assert array.flags.c_contiguous
    assert read_picture(tmp_path / "p.png", (3, 4, 5)).shape == (3, 4, 5)


@pytest.mark.parametrize(
    ("interpolation", "expected"),
    [
        # shrinking by two: the triangle has the weights 3, 3, 1 at the left edge and 1, 3, 3 at the right
        ("bilinear", [57, 183]),  # (0*3 + 80*3 + 160) / 7 = 57.1, (80 + 160*3 + 240*3) / 7 = 182.9
        ("box", [40, 200]),
        ("nearest", [80, 240]),  # the pixels in which the centres lie
    ],
)
def test_interpolation(tmp_path: Path, interpolation: str, expected: list[int]) -> None:
    path = save(tmp_path, np.array([[0, 80, 160, 240]] * 4, np.uint8))
    array = read_picture(path, GREY, spec(resize=2, interpolation=interpolation))
    np.testing.assert_array_equal(array[0, 0], np.array([expected] * 2, "f4") / np.float32(255))


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest", "bicubic", "lanczos", "box", "hamming"])
def test_interpolation_is_pillows(tmp_path: Path, interpolation: str) -> None:
    pixels = noise(20, 30)
    filter = Image.Resampling[interpolation.upper()]
    expected = np.asarray(Image.fromarray(pixels).resize((12, 8), filter)).transpose(2, 0, 1) / np.float32(
        255
    )
    array = read_picture(save(tmp_path, pixels), RGB, spec(resize=8, interpolation=interpolation))
    np.testing.assert_array_equal(array[0], expected)


def test_normalised_values(tmp_path: Path) -> None:
    """(1 - 0.485) / 0.229 and so on for white, -0.485 / 0.229 and so on for black."""
    for value, expected in ((255, [2.2489083, 2.4285715, 2.64]), (0, [-2.117904, -2.0357144, -1.8044444])):
        path = save(tmp_path, np.full((256, 256, 3), value, np.uint8))
        array = read_picture(path, RGB, spec(**IMAGENET))
        assert array.shape == (1, 3, 224, 224)
        np.testing.assert_allclose(array[0, :, 100, 100], expected, rtol=1e-6)


def test_one_number_stands_for_all_channels(tmp_path: Path) -> None:
    path = save(tmp_path, np.full((2, 2, 3), 255, np.uint8))
    for half in (0.5, [0.5], [0.5, 0.5, 0.5]):
        np.testing.assert_array_equal(
            read_picture(path, RGB, spec(mean=half, std=half)), np.ones((1, 3, 2, 2))
        )
    np.testing.assert_array_equal(read_picture(path, GREY, spec(std=2)), np.full((1, 1, 2, 2), 0.5))


def test_the_whole_preparation(tmp_path: Path) -> None:
    pixels = noise(300, 400)
    image = Image.fromarray(pixels).resize((341, 256), Image.Resampling.BILINEAR)
    image = image.crop((58, 16, 58 + 224, 16 + 224))
    scaled = np.asarray(image).transpose(2, 0, 1).astype("f4") / np.float32(255)
    mean, std = (np.array(IMAGENET[k], "f4")[:, None, None] for k in ("mean", "std"))
    array = read_picture(save(tmp_path, pixels), RGB, spec(**IMAGENET))
    np.testing.assert_array_equal(array[0], (scaled - mean) / std)


def test_what_lies_outside_the_picture_is_black_before_it_is_normalised(tmp_path: Path) -> None:
    path = save(tmp_path, np.full((1, 2), 255, np.uint8))
    array = read_picture(path, GREY, spec(crop=[2, 5], mean=0.5, std=0.5))
    np.testing.assert_array_equal(array[0, 0], [[-1, 1, 1, -1, -1], [-1, -1, -1, -1, -1]])


def test_many_pictures_are_prepared_one_by_one(tmp_path: Path) -> None:
    for i, size in enumerate([(8, 9), (20, 12)]):
        save(tmp_path, noise(*size), f"p{i}.png")
    array = read_input(str(tmp_path / "*.png"), RGB, "x", spec(resize=6, crop=4))
    assert array.shape == (2, 3, 4, 4)


# --- kinds of pictures ------------------------------------------------------------------------------


def test_colour_becomes_grey_by_luma(tmp_path: Path) -> None:
    path = save(tmp_path, np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8))
    array = read_picture(path, GREY)
    np.testing.assert_array_equal(np.rint(array[0, 0, 0] * 255), [76, 150, 29])  # 0.299, 0.587, 0.114


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    pixels = noise(3, 4, 1)
    array = read_picture(save(tmp_path, pixels), ("N", "C", "H", "W"))
    np.testing.assert_array_equal(np.rint(array[0] * 255), [pixels] * 3)


def test_the_colour_below_transparency_shows(tmp_path: Path) -> None:
    pixels = noise(3, 4, 4)
    array = read_picture(save(tmp_path, pixels), RGB)
    np.testing.assert_array_equal(np.rint(array[0] * 255), pixels[..., :3].transpose(2, 0, 1))


def test_palettes_cmyk_and_bits(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "palette.png", transparency=b"\x00\x80")  # Pillow warns about these
    array = read_picture(tmp_path / "palette.png", RGB)
    np.testing.assert_array_equal(np.rint(array[0, :, 0].T * 255), [[10, 20, 30], [40, 50, 60]])
    Image.new("1", (2, 2), 1).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "bits.png", GREY), np.ones((1, 1, 2, 2)))
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "ink.jpg", quality=95)
    np.testing.assert_allclose(read_picture(tmp_path / "ink.jpg", RGB)[0, :, 4, 4], [1, 0, 0], atol=0.02)
    np.testing.assert_allclose(read_picture(tmp_path / "ink.jpg", GREY)[0, :, 4, 4], [0.3], atol=0.02)


def png(bits: int, kind: int, width: int, height: int, rows: bytes) -> bytes:
    """A PNG file by hand: Pillow does not write sixteen bits of colour."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_sixteen_bits_keep_their_upper_eight(tmp_path: Path) -> None:
    values = [0, 255, 256, 32768, 65535]
    for name, kind, times in (("grey.png", 0, 1), ("rgb.png", 2, 3)):
        row = b"\0" + b"".join(struct.pack(">H", v) * times for v in values)
        (tmp_path / name).write_bytes(png(16, kind, len(values), 1, row))
        for shape in (GREY, RGB):
            array = read_picture(tmp_path / name, shape)
            for plane in array[0]:
                np.testing.assert_array_equal(np.rint(plane[0] * 255), [0, 0, 1, 128, 255])


def test_the_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    path = save(tmp_path, noise(4, 8), "p.jpg", exif=exif)
    assert read_picture(path, RGB).shape == (1, 3, 4, 8)


def test_of_an_animation_the_first_picture_is_taken(tmp_path: Path) -> None:
    first, second = Image.fromarray(noise(3, 3)), Image.new("RGB", (3, 3))
    first.save(tmp_path / "a.png", save_all=True, append_images=[second])
    array = read_picture(tmp_path / "a.png", RGB)
    np.testing.assert_array_equal(np.rint(array[0] * 255), noise(3, 3).transpose(2, 0, 1))


# --- what is refused --------------------------------------------------------------------------------


def refused(path: Path, shape: Any = RGB, picture: PictureSpec | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read_picture(path, shape, picture)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_damaged_files(tmp_path: Path) -> None:
    whole = save(tmp_path, noise(64, 64)).read_bytes()
    path = tmp_path / "cut.png"
    for length in [*range(0, 200, 7), 3000, len(whole) // 2, len(whole) - 40]:
        path.write_bytes(whole[:length])
        refused(path)
    assert "cannot be read" in refused(path)
    for place in range(8, 200, 3):  # flipped bits: read, or refused, and nothing else
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(InputError):
            read_picture(path, RGB)
    photo = save(tmp_path, noise(64, 64), "p.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(photo[: len(photo) // 2])
    assert "truncated" in refused(tmp_path / "cut.jpg")


def test_other_formats_are_not_opened(tmp_path: Path) -> None:
    Image.fromarray(noise(4, 4)).save(tmp_path / "p.png", format="TIFF")
    assert "PNG and JPEG are" in refused(tmp_path / "p.png")


def test_huge_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bomb.png").write_bytes(png(8, 0, 60_000, 60_000, b""))
    assert "more than 178,956,970 pixels" in refused(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert "60000 x 60000 pixels" in refused(tmp_path / "bomb.png")
    thin = save(tmp_path, np.zeros((1, 5000), np.uint8), "thin.png")
    assert "256 x 1280000 pixels" in refused(thin, GREY, spec(resize=256))
    assert "65535 x 65535 pixels" in refused(thin, GREY, spec(crop=65_535))


def test_long_texts_in_a_file_are_not_unpacked(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("bomb", "x" * 2**21, zip=True)
    path = save(tmp_path, noise(2, 2), pnginfo=info)
    assert "cannot be read" in refused(path)


def test_inputs_that_take_no_picture(tmp_path: Path) -> None:
    path = save(tmp_path, noise(2, 2))
    assert "3 or 4 axes" in refused(path, ("N", 3))
    assert "1 or 3 channels" in refused(path, ("N", 4, "H", "W"))


# --- the mapping ------------------------------------------------------------------------------------


def network(picture: Any, shape: Any = ("N", 3, 224, 224)) -> dict[str, Any]:
    return {
        "netspec": 1,
        "inputs": {"image": {"shape": list(shape), "picture": picture}},
        "layers": [{"type": "ReLU"}],
    }


@pytest.mark.parametrize(
    "picture",
    [
        IMAGENET,
        {},
        {"crop": [224, 224], "mean": 0.5},
        {"resize": [224, 224], "std": [0.5], "interpolation": "bicubic"},
        {"resize": 224},
    ],
)
def test_a_spec_is_written_and_read_back(picture: dict[str, Any], tmp_path: Path) -> None:
    first = netspec.parse(network(picture))
    written = to_mapping(first)
    assert written["inputs"]["image"]["picture"] == picture
    (tmp_path / "net.yaml").write_text(to_yaml(written))
    again = netspec.parse(tmp_path / "net.yaml")
    assert again.inputs == first.inputs
    assert again.inputs["image"].picture is not None


def test_defaults_are_not_written() -> None:
    written = to_mapping(netspec.parse(network({"crop": 224, "resize": None, "interpolation": "bilinear"})))
    assert written["inputs"]["image"]["picture"] == {"crop": 224}
    plain = to_mapping(netspec.parse(network(None)))
    assert plain["inputs"]["image"] == ["N", 3, 224, 224]


def test_a_spec_is_frozen_and_its_keys_are_known_to_the_diagnostics() -> None:
    with pytest.raises(ValidationError):
        spec(crop=3).crop = 4
    assert errors._INNER["picture"] == tuple(PictureSpec.model_fields)
    assert errors._INNER["inputs"] == tuple(InputSpec.model_fields)


def test_a_symbolic_size_may_be_cropped() -> None:
    for shape in (("N", 3, "H", "W"), ("N", 3, "S", "S"), (3, 224, "W"), ("N", "C", 224, 224)):
        assert netspec.validate(network(IMAGENET, shape)) == []
    assert netspec.validate(network({"resize": 256}, ("N", 3, 256, "W"))) == []
    assert netspec.validate(network({"resize": 256}, ("N", 3, 300, 256))) == []
    assert netspec.validate(network({"resize": 256}, ("N", 3, 300, 300))) != []


def test_arrays_are_not_prepared() -> None:
    net = netspec.load(network({"mean": 0.5, "std": 0.5}, ("N", 3, 2, 2)))
    np.testing.assert_array_equal(net(np.ones((1, 3, 2, 2), "f4")), np.ones((1, 3, 2, 2)))


def test_the_limit_is_pillows() -> None:
    assert Image.MAX_IMAGE_PIXELS is not None
    assert pictures.MOST_PIXELS == 2 * Image.MAX_IMAGE_PIXELS
