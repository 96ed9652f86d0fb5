"""`netspec run` from a picture to a picture: prepared inputs, images and feature maps as PNG files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from netspec.diagnostics import InputError
from netspec.report import maps
from netspec.report.maps import GAP, draw, write_map
from tests.cli.test_commands import netspec, only

PHOTO = """\
netspec: 1
inputs: {photo: [N, 3, H, W]}
layers:
  - {name: smaller, type: Conv2d, in_channels: 3, out_channels: 1, kernel_size: 3, inputs: photo}
  - {name: larger, type: ConvTranspose2d, out_channels: 1, kernel_size: 3, stride: 2, inputs: photo}
  - {name: features, type: Conv2d, in_channels: 3, out_channels: 6, kernel_size: 3, inputs: photo}
outputs: [smaller, larger]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.yaml").write_text(PHOTO)
    (tmp_path / "same.yaml").write_text(
        "netspec: 1\ninputs: {x: [N, 3, H, W]}\nlayers: [{name: same, type: Identity}]\n"
    )
    pixels = np.random.RandomState(0).randint(0, 256, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    return tmp_path


def show(folder: Path, *arguments: Any) -> Any:
    """Pixels of the picture that `netspec run` writes."""
    done = netspec("run", *arguments, "--output", "shown.png", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "wrote shown.png" in done.stdout
    with Image.open(folder / "shown.png") as image:
        assert image.format == "PNG"
        return np.asarray(image)


# --- the user's document ----------------------------------------------------------------------------


@pytest.mark.parametrize(("layer", "size"), [("smaller", 998), ("larger", 2001)])
def test_a_photo_of_1000_by_1000_through_a_convolution(folder: Path, layer: str, size: int) -> None:
    """Document 003: 1000 -> 998 by a 3x3 convolution, 1000 -> 2001 by the transposed one with stride 2."""
    x, y = np.meshgrid(np.arange(1000), np.arange(1000))
    photo = np.stack([x * 255 // 999, y * 255 // 999, (x // 50 + y // 50) % 2 * 255], -1).astype(np.uint8)
    Image.fromarray(photo).save(folder / "photo.png")
    shown = show(folder, "net.yaml", "--input", "photo.png", "--tap", layer)
    assert shown.shape == (size, size)
    assert (shown.min(), shown.max()) == (0, 255)
    done = netspec("run", "net.yaml", "--input", "photo.png", "--output", "o.npz", cwd=folder)
    assert f"[1, 1, {size}, {size}]" in done.stdout
    value = np.load(folder / "o.npz")[layer][0, 0].astype("f8")
    np.testing.assert_array_equal(shown, np.rint((value - value.min()) / np.ptp(value) * 255))


def test_a_photo_comes_back_as_it_was(folder: Path) -> None:
    with Image.open(folder / "p.png") as image:
        np.testing.assert_array_equal(show(folder, "same.yaml", "--input", "p.png"), np.asarray(image))


# --- prepared inputs --------------------------------------------------------------------------------


def test_picture_of_an_input_is_applied(folder: Path) -> None:
    text = "{shape: [N, 3, 8, 8], picture: {resize: 10, crop: 8, mean: [0.5, 0.25, 0], std: [0.5, 1, 2]}}"
    (folder / "same.yaml").write_text(
        f"netspec: 1\ninputs: {{x: {text}}}\nlayers: [{{name: same, type: Identity}}]\n"
    )
    done = netspec("run", "same.yaml", "--input", "p.png", "--output", "o.npy", cwd=folder)
    assert done.returncode == 0, done.stderr
    with Image.open(folder / "p.png") as image:  # 30 x 20 becomes 15 x 10, from which 3.5 -> 4 and 1 are cut
        small = image.resize((15, 10), Image.Resampling.BILINEAR).crop((4, 1, 12, 9))
    expected = np.asarray(small).transpose(2, 0, 1).astype("f4") / np.float32(255)
    expected = (expected - np.float32([[[0.5]], [[0.25]], [[0]]])) / np.float32([[[0.5]], [[1]], [[2]]])
    np.testing.assert_array_equal(np.load(folder / "o.npy"), expected[None])


def test_a_picture_of_another_size_than_the_shape_is_refused(folder: Path) -> None:
    (folder / "fixed.yaml").write_text(
        "netspec: 1\ninputs: {x: {shape: [N, 3, 10, 10], picture: {resize: 10}}}\nlayers: [{type: ReLU}]\n"
    )
    done = netspec("run", "fixed.yaml", "--input", "p.png", cwd=folder)
    assert done.returncode == 1
    assert "axis 3 is 10 in [N, 3, 10, 10], got 15" in done.stderr


# --- feature maps -----------------------------------------------------------------------------------


def test_maps_of_a_tapped_layer(folder: Path) -> None:
    shown = show(folder, "net.yaml", "--input", "p.png", "--tap", "features")
    netspec("run", "net.yaml", "--input", "p.png", "--tap", "features", "--output", "o.npz", cwd=folder)
    values = np.load(folder / "o.npz")["features"][0].astype("f8")  # (6, 18, 28)
    assert shown.shape == (3 * 18 + 2, 2 * 28 + 1)
    for index, value in enumerate(values):
        top, left = index // 2 * 19, index % 2 * 29
        scaled = np.rint((value - value.min()) / np.ptp(value) * 255)
        np.testing.assert_array_equal(shown[top : top + 18, left : left + 28], scaled)
    assert (shown[18] == GAP).all()
    assert (shown[:, 28] == GAP).all()


def test_batches_show_their_first_row(folder: Path) -> None:
    for i in range(3):
        Image.new("RGB", (4, 4), (i * 100, 0, 255)).save(folder / f"many{i}.png")
    shown = show(folder, "same.yaml", "--input", "many*.png", "--batch-size", 2)
    assert (shown == (0, 0, 255)).all()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "choose one with --tap"),
        (("--tap", "smaller", "--tap", "features"), 2, "tap one of them"),
        (("--tap", "smaller", "--output", "no/folder/o.png"), 1, "does not exist"),
        (("--tap", "smaller", "--output", "o.jpg"), 2, ".npz or .png file"),
    ],
)
def test_wrong_uses(folder: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    before = only(folder)
    done = netspec("run", "net.yaml", "--input", "p.png", "--output", "o.png", *arguments, cwd=folder)
    assert done.returncode == code, done.stderr
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert only(folder) == before


def test_what_has_no_picture_leaves_no_file(folder: Path) -> None:
    (folder / "sum.yaml").write_text(
        "netspec: 1\ninputs: {x: [N, 3, H, W]}\nlayers: [{name: total, type: sum, dim: [1, 2, 3]}]\n"
    )
    before = only(folder)
    done = netspec("run", "sum.yaml", "--input", "p.png", "--output", "o.png", cwd=folder)
    assert done.returncode == 1
    assert "total has shape [1]: a picture needs 2 axes" in done.stderr
    assert only(folder) == before


@pytest.mark.parametrize("arguments", [["--input", "x.npy", "--output", "o.png"], ["--input", "p.png"]])
def test_without_pillow(folder: Path, arguments: list[str]) -> None:
    np.save(folder / "x.npy", np.zeros((1, 3, 2, 2), "f4"))
    code = (
        "import sys; sys.modules['PIL'] = None; sys.argv = ['netspec', 'run', 'same.yaml', *sys.argv[1:]]\n"
        "from netspec.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stderr
    assert "pictures need Pillow: pip install 'netspec-runner[image]'" in done.stderr
    assert "o.png" not in only(folder)


# --- drawing ----------------------------------------------------------------------------------------


def test_an_output_with_one_or_three_channels_is_an_image() -> None:
    values = np.array([[0, 0.25], [0.5, 1]], "f4")
    np.testing.assert_array_equal(draw("y", values[None, None], False), [[0, 64], [128, 255]])
    np.testing.assert_array_equal(draw("y", values, False), [[0, 64], [128, 255]])
    colour = np.stack([values, values / 2, values / 4])
    assert draw("y", colour[None], False).shape == draw("y", colour, False).shape == (2, 2, 3)
    assert draw("y", colour[None], False)[1, 1].tolist() == [255, 128, 64]
    # outside 0..1 all channels are scaled together, so that colours stay
    assert draw("y", colour[None] * 8 - 4, False)[1, 1].tolist() == [255, 128, 64]
    assert draw("y", colour[None], True).shape == (2 * 2 + 1, 2 * 2 + 1)  # a tapped layer is always a grid


def test_a_constant_is_black_and_nan_too() -> None:
    maps_ = np.stack([np.full((2, 2), 7.0), [[np.nan, 1], [np.inf, 3]], np.full((2, 2), np.nan), np.eye(2)])
    shown = draw("y", maps_[None], True)
    np.testing.assert_array_equal(shown[:2, :2], 0)
    np.testing.assert_array_equal(shown[:2, 3:], [[0, 0], [255, 255]])
    np.testing.assert_array_equal(shown[3:, :2], 0)
    np.testing.assert_array_equal(shown[3:, 3:], [[255, 0], [0, 255]])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64"])
def test_every_real_dtype(dtype: str) -> None:
    np.testing.assert_array_equal(draw("y", np.eye(2, dtype=dtype)[None, None], True), [[255, 0], [0, 255]])


def test_values_as_large_as_a_float_can_hold() -> None:
    values = np.array([[-1.7e308, 0.0, 1.7e308]])
    assert draw("y", values, False).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 6, 10, 10), (21, 32)),  # two rows of three
        ((1, 7, 10, 10), (32, 32)),
        ((1, 64, 5, 5), (47, 47)),
        ((1, 4, 100, 1), (100, 7)),  # high and narrow maps stand in one row
        ((1, 4, 1, 100), (7, 100)),
        ((2, 2, 3, 4, 4), (9, 14)),  # every plane of a volume: six
        ((5, 4, 4), (9, 14)),
        ((3, 9), (3, 9)),
    ],
)
def test_the_grid_is_about_as_high_as_wide(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    assert draw("y", np.zeros(shape, "f4"), True).shape == size


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "a picture needs 2 axes"),
        (np.zeros((0, 3, 4, 4)), "there is nothing to show"),
        (np.zeros((2, 2), complex), "complex numbers have no picture"),
    ],
)
def test_arrays_without_a_picture(array: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw("y", array, False)


def test_a_picture_too_large_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(maps, "MOST_PIXELS", 100)
    for tapped in (False, True):
        with pytest.raises(InputError, match="too many"):
            write_map(tmp_path / "o.png", "y", np.zeros((1, 1, 20, 20)), tapped)
    assert only(tmp_path) == set()
