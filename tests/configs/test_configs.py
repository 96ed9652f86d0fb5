"""Every network of configs/ that has weights: read, shaped, run, and compared with torch's outputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from tests.configs.cases import CONFIGS, DENSE, GOLDEN, LOGITS, ROOT, SHAPES, inputs_of
from tests.configs.published import PARAMETERS as PUBLISHED

FILES = [CONFIGS / f"{name}.yaml" for name in SHAPES]
SAMPLES = CONFIGS / "samples"
MODELINE = "# yaml-language-server: $schema=netspec.schema.json"
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SMALL = 600_000
"""Bytes of all weights together."""


def load(name: str, **options: Any) -> netspec.Network:
    return netspec.load(CONFIGS / f"{name}.yaml", **options)


def taps_of(name: str) -> list[str]:
    return [LOGITS[name]] if name in LOGITS else []


def run_cli(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "netspec", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_every_config_is_a_case() -> None:
    names = {path.stem for path in CONFIGS.glob("*.yaml")} - set(PUBLISHED)
    cases = {*SHAPES, *DENSE}
    assert names == cases, "give the network its inputs in tests/configs/cases.py, then run generate.py"
    assert set(SHAPES) == {path.stem for path in GOLDEN.glob("*.npz")}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
class TestEveryConfig:
    def test_says_what_it_is(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines()
        head = "\n".join(lines[: lines.index("netspec: 1")])
        assert lines[0] == MODELINE
        assert "Weights:" in head
        assert f"netspec run configs/{path.name}" in head
        assert netspec.parse(path).name == path.stem

    def test_is_valid_without_warnings(self, path: Path) -> None:
        assert netspec.validate(path) == []
        result = run_cli("validate", path, "--weights", path.with_suffix(".safetensors"))
        assert (result.returncode, result.stderr) == (0, "")

    def test_weights_fit_without_drawn_ones(self, path: Path) -> None:
        assert netspec.load(path).random_weights == ()

    def test_predicted_shapes_are_those_of_the_run(self, path: Path) -> None:
        arrays = inputs_of(path.stem)
        report = netspec.shapes(path, **{name: array.shape for name, array in arrays.items()})
        net = netspec.load(path)
        ports = {
            f"{layer['name']}.{port}": tensor
            for layer in report["layers"]
            for port, tensor in layer["outputs"].items()
        }
        found = net.run(arrays, taps=list(ports))
        for name, tensor in (report["outputs"] | ports).items():
            array = found[name]
            assert (list(array.shape), str(array.dtype)) == (tensor["shape"], tensor["dtype"]), name

    def test_symbolic_shapes(self, path: Path) -> None:
        report = netspec.shapes(path)
        assert report["parameters"] == sum(layer["parameters"] for layer in report["layers"])
        assert all(tensor["shape"][:1] in (["N"], []) for tensor in report["outputs"].values())

    def test_gives_what_torch_gives(self, path: Path) -> None:
        found = netspec.load(path).run(inputs_of(path.stem), taps=taps_of(path.stem))
        with np.load(GOLDEN / f"{path.stem}.npz") as golden:
            assert list(found) == golden.files
            for name in golden.files:
                expected = golden[name]
                assert (found[name].shape, found[name].dtype) == (expected.shape, expected.dtype)
                np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=5e-6, err_msg=name)

    def test_runs_in_float64(self, path: Path) -> None:
        arrays = {name: array.astype("f8") for name, array in inputs_of(path.stem).items()}
        found = netspec.load(path, dtype="float64").run(arrays, taps=taps_of(path.stem))
        with np.load(GOLDEN / f"{path.stem}.npz") as golden:
            for name in golden.files:
                np.testing.assert_allclose(found[name], golden[name], rtol=1e-5, atol=5e-6, err_msg=name)


def test_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in CONFIGS.glob("*.safetensors")) < SMALL
    assert (CONFIGS / "autoencoder.safetensors").stat().st_size < 60_000


@pytest.mark.parametrize("word", DIGITS)
def test_lenet5_reads_the_sample(word: str, tmp_path: Path) -> None:
    output = tmp_path / "output.npy"
    result = run_cli("run", "configs/lenet5.yaml", "--input", SAMPLES / f"{word}.png", "--output", output)
    assert (result.returncode, result.stderr) == (0, "")
    best = next(line for line in result.stdout.splitlines() if line.startswith("probabilities[0]: "))
    assert best.split()[1] == str(DIGITS.index(word))
    assert np.load(output).argmax() == DIGITS.index(word)


def test_lenet5_reads_many_pictures_in_the_order_of_their_names(tmp_path: Path) -> None:
    output = tmp_path / "all.npy"
    result = run_cli("run", "configs/lenet5.yaml", "--input", SAMPLES / "[fnotz]*.png", "--output", output)
    assert result.returncode == 0, result.stderr
    words = ["five", "four", "nine", "one", "three", "two", "zero"]
    assert np.load(output).argmax(1).tolist() == [DIGITS.index(word) for word in words]


@pytest.mark.parametrize(("name", "label"), [("audio1d", "chirp"), ("volume3d", "torus")])
def test_formula_samples_are_told_right(name: str, label: str, tmp_path: Path) -> None:
    sample, output = SAMPLES / f"{label}.npy", tmp_path / "o.npy"
    result = run_cli("run", f"configs/{name}.yaml", "--input", sample, "--output", output)
    assert result.returncode == 0, result.stderr
    assert f"probabilities[0]: {label} " in result.stdout


def test_autoencoder_rebuilds_digits() -> None:
    from netspec.interop.pictures import read_picture

    pictures = np.concatenate([read_picture(SAMPLES / f"{word}.png", (1, 1, 28, 28)) for word in DIGITS])
    found = load("autoencoder").run({"image": pictures})
    difference = ((found["reconstruction"] - pictures) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(found["error"], difference, rtol=1e-5)
    assert found["error"].max() < (pictures**2).mean() / 10  # of what a black picture would miss


def test_autoencoder_error_is_by_picture_so_batches_do_not_change_it(tmp_path: Path) -> None:
    images = np.random.RandomState(0).random_sample((5, 1, 28, 28)).astype("f4")
    np.save(tmp_path / "images.npy", images)
    args = ("run", "configs/autoencoder.yaml", "--input", tmp_path / "images.npy", "--output")
    whole, parts = tmp_path / "whole.npz", tmp_path / "parts.npz"
    assert run_cli(*args, whole).returncode == 0
    assert run_cli(*args, parts, "--batch-size", "2").returncode == 0
    with np.load(whole) as one, np.load(parts) as other:
        for name in one.files:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-6)


class TestSiamese:
    def test_tells_pairs(self) -> None:
        from netspec.interop.pictures import read_picture

        pictures = [read_picture(SAMPLES / f"{word}.png", (1, 1, 28, 28)) for word in ("zero", "one", "six")]
        net = load("siamese")
        for i, left in enumerate(pictures):
            for j, right in enumerate(pictures):
                found = net.run({"left": left, "right": right}, outputs=["probability"])
                assert (found["probability"].item() > 0.5) == (i == j)

    def test_only_the_loss_needs_the_target(self) -> None:
        arrays = inputs_of("siamese")
        del arrays["target"]
        net = load("siamese")
        assert list(net.run(arrays, outputs=["probability"])) == ["probability"]
        with pytest.raises(netspec.InputError, match="target"):
            net.run(arrays)

    def test_both_sides_share_their_parameters(self) -> None:
        assert {name.split(".")[0] for name in load("siamese").state_dict()} == {"embed", "score"}
        report = netspec.shapes(CONFIGS / "siamese.yaml")
        layers = {layer["name"]: layer["parameters"] for layer in report["layers"]}
        assert layers["embed.0"] == 208
        assert layers["embed_right.0"] == 0

    def test_the_command_of_its_head_note(self, tmp_path: Path) -> None:
        given = {"left": "six.png", "right": "six.png", "target": "same.npy"}
        flags = [part for n, file in given.items() for part in ("--input", f"{n}={SAMPLES / file}")]
        output = tmp_path / "o.npz"
        result = run_cli("run", "configs/siamese.yaml", *flags, "--output", output)
        assert result.returncode == 0, result.stderr
        with np.load(output) as found:
            expected = -np.log(found["probability"][0, 0])
            np.testing.assert_allclose(found["loss"], expected, rtol=1e-3, atol=1e-6)

    def test_the_mean_loss_refuses_batches(self, tmp_path: Path) -> None:
        for name, array in inputs_of("siamese").items():
            np.save(tmp_path / f"{name}.npy", array)
        flags = [p for n in ("left", "right", "target") for p in ("--input", f"{n}={tmp_path / n}.npy")]
        flags += ["--batch-size", "2", "--output", str(tmp_path / "o.npz")]
        result = run_cli("run", "configs/siamese.yaml", *flags)
        assert result.returncode == 1
        assert "--batch-size" in result.stderr


class TestSegmentation:
    def test_shapes_says_which_sizes_are_allowed(self) -> None:
        result = run_cli("shapes", "configs/segmentation.yaml", "--format", "json")
        report = json.loads(result.stdout)
        assert {"H % 16 == 0", "W % 16 == 0"} <= set(report["constraints"])
        assert report["outputs"]["probabilities"]["shape"] == ["N", 2, "H", "W"]
        assert report["outputs"]["mask"] == {"shape": ["N", "H", "W"], "dtype": "int64"}

    @pytest.mark.parametrize("size", [8, 24, 40])
    def test_other_sizes_are_refused(self, size: int) -> None:
        with pytest.raises(netspec.InputError):
            load("segmentation").run({"image": np.zeros((1, 1, size, 32), "f4")})
        result = run_cli("shapes", "configs/segmentation.yaml", "--input", f"1,1,{size},32")
        assert result.returncode == 1

    def test_finds_the_digit_of_the_scene(self, tmp_path: Path) -> None:
        output, sample = tmp_path / "o.npz", SAMPLES / "scene.png"
        result = run_cli("run", "configs/segmentation.yaml", "--input", sample, "--output", output)
        assert result.returncode == 0, result.stderr
        with np.load(output) as found:
            mask = found["mask"]
        assert mask.shape == (1, 64, 80)
        rows, columns = np.nonzero(mask[0])
        assert 40 < len(rows) < 400
        assert np.ptp(rows) < 28
        assert np.ptp(columns) < 28
