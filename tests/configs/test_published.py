"""torchvision's classifiers in configs/: sizes as published, names and outputs as torch's.

Their weights are made up (filling.py): torchvision's files are not part of the project.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.interop.safetensors import write_safetensors
from tests.configs.cases import CONFIGS, ROOT
from tests.configs.filling import weights_of
from tests.configs.published import KEYS, LOGITS, PARAMETERS, picture

NAMES = list(PARAMETERS)

MACS = {
    "alexnet": 714_188_480,
    "vgg16": 15_470_264_320,
    "resnet18": 1_814_073_344,
    "resnet50": 4_089_184_256,
    "mobilenet_v2": 300_774_272,
    "squeezenet1_1": 349_151_936,
    "densenet121": 2_834_161_664,
    "googlenet": 1_498_376_192,
}
"""For one picture of 224x224; torchvision's model pages have them as GFLOPS, with two or three digits."""

SIZES: dict[str, dict[str, list[int]]] = {
    "alexnet": {
        "features.0": [64, 55, 55],
        "features.2": [64, 27, 27],
        "features.5": [192, 13, 13],
        "features.12": [256, 6, 6],
        "flatten": [9216],
    },
    "vgg16": {
        "features.4": [64, 112, 112],
        "features.9": [128, 56, 56],
        "features.16": [256, 28, 28],
        "features.23": [512, 14, 14],
        "features.30": [512, 7, 7],
        "flatten": [25088],
    },
    "resnet18": {
        "conv1": [64, 112, 112],
        "layer1.1.out": [64, 56, 56],
        "layer2.1.out": [128, 28, 28],
        "layer3.1.out": [256, 14, 14],
        "layer4.1.out": [512, 7, 7],
    },
    "resnet50": {
        "conv1": [64, 112, 112],
        "layer1.2.out": [256, 56, 56],
        "layer2.3.out": [512, 28, 28],
        "layer3.5.out": [1024, 14, 14],
        "layer4.2.out": [2048, 7, 7],
    },
    "mobilenet_v2": {
        "features.0.2": [32, 112, 112],
        "features.1.conv.2": [16, 112, 112],
        "features.3.1": [24, 56, 56],
        "features.6.1": [32, 28, 28],
        "features.13.1": [96, 14, 14],
        "features.17.conv.3": [320, 7, 7],
        "features.18.2": [1280, 7, 7],
    },
    "squeezenet1_1": {
        "features.0": [64, 111, 111],
        "features.2.0": [64, 55, 55],
        "features.5.0": [128, 27, 27],
        "features.8.0": [256, 13, 13],
        "features.12.out": [512, 13, 13],
        "classifier.2": [1000, 13, 13],
    },
    "densenet121": {
        "features.pool0": [64, 56, 56],
        "features.denseblock1.denselayer6.out": [256, 56, 56],
        "features.denseblock2.denselayer12.out": [512, 28, 28],
        "features.denseblock3.denselayer24.out": [1024, 14, 14],
        "features.denseblock4.denselayer16.out": [1024, 7, 7],
    },
    "googlenet": {
        "conv1.relu": [64, 112, 112],
        "maxpool2": [192, 28, 28],
        "inception3b.out": [480, 28, 28],
        "inception4e.out": [832, 14, 14],
        "inception5b.out": [1024, 7, 7],
    },
}
"""Sizes of one picture's features at 224x224, as the papers' tables have them."""

SMALLEST = {
    "alexnet": 63,
    "vgg16": 32,
    "resnet18": 1,
    "resnet50": 1,
    "mobilenet_v2": 1,
    "squeezenet1_1": 17,
    "densenet121": 29,
    "googlenet": 15,
}
"""The least height and width that torch takes, the min_size of torchvision's weights where it has one."""

MODELINE = "# yaml-language-server: $schema=netspec.schema.json"


def keys_of(name: str) -> dict[str, tuple[int, ...]]:
    """torch's state dict: names in order, and shapes."""
    lines = (KEYS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return {key: tuple(ast.literal_eval(shape)) for key, shape in (line.split(" ", 1) for line in lines)}


def cli(*args: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "netspec", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", NAMES)
class TestEachNetwork:
    def test_says_what_it_is(self, name: str) -> None:
        lines = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        head = "\n".join(lines[: lines.index("netspec: 1")])
        assert lines[0] == MODELINE
        assert "Weights: none here" in head
        assert f"netspec run configs/{name}.yaml --weights" in head
        assert max(map(len, lines)) <= 110

    def test_is_valid_without_warnings(self, name: str) -> None:
        path = CONFIGS / f"{name}.yaml"
        assert netspec.validate(path) == []
        assert netspec.parse(path).name == name

    def test_has_as_many_parameters_as_published(self, name: str) -> None:
        assert netspec.shapes(CONFIGS / f"{name}.yaml")["parameters"] == PARAMETERS[name]

    def test_sizes_at_224(self, name: str) -> None:
        report = netspec.shapes(CONFIGS / f"{name}.yaml", image=(1, 3, 224, 224))
        found = {layer["name"]: layer["outputs"]["out"]["shape"] for layer in report["layers"]}
        for layer, size in SIZES[name].items():
            assert found[layer] == [1, *size], layer
        assert report["outputs"]["logits"]["shape"] == [1, 1000]
        assert report["macs"] == MACS[name]

    def test_sizes_that_are_allowed(self, name: str) -> None:
        report = netspec.shapes(CONFIGS / f"{name}.yaml")
        least = SMALLEST[name]
        assert report["constraints"] == [f"H >= {least}", f"W >= {least}"]
        assert report["inputs"]["image"]["shape"] == ["N", 3, "H", "W"]
        assert report["outputs"]["logits"]["shape"] == ["N", 1000]

    def test_gives_what_torch_gives_under_torchs_names(self, name: str) -> None:
        keys = keys_of(name)
        net = netspec.load(CONFIGS / f"{name}.yaml", weights=weights_of(keys))
        assert net.random_weights == ()
        assert [(key, array.shape) for key, array in net.state_dict().items()] == list(keys.items())
        found = net.run({"image": picture()})
        with np.load(LOGITS / f"{name}.npz") as golden:
            expected = golden["logits"]
        assert list(found) == ["logits"]
        assert (found["logits"].shape, found["logits"].dtype) == (expected.shape, expected.dtype)
        largest = np.abs(expected).max()
        np.testing.assert_allclose(found["logits"], expected, rtol=0, atol=2e-5 * largest)  # measured: 5e-6


def test_they_are_all_here() -> None:
    for folder, ending in ((KEYS, "txt"), (LOGITS, "npz")):
        assert {path.stem for path in folder.iterdir()} == set(NAMES)
        assert {path.suffix for path in folder.iterdir()} == {f".{ending}"}
        assert max(path.stat().st_size for path in folder.iterdir()) < 50_000
    assert len((CONFIGS / "resnet18.yaml").read_text().splitlines()) < 60  # the README shows it


def test_validate_takes_them_together() -> None:
    result = cli("validate", *[CONFIGS / f"{name}.yaml" for name in NAMES])
    assert (result.returncode, result.stderr) == (0, "")
    for name, line in zip(NAMES, result.stdout.splitlines(), strict=True):
        assert f"{name}.yaml: valid" in line
        assert f"{PARAMETERS[name]:,} parameters" in line


def test_the_command_of_the_head_note(tmp_path: Any) -> None:
    """A checkpoint and a picture of another size and of one channel."""
    pytest.importorskip("PIL")
    checkpoint, output = tmp_path / "squeezenet1_1.safetensors", tmp_path / "o.npy"
    write_safetensors(checkpoint, weights_of(keys_of("squeezenet1_1")))
    sample = CONFIGS / "samples" / "scene.png"
    path = CONFIGS / "squeezenet1_1.yaml"
    result = cli("run", path, "--weights", checkpoint, "--input", sample, "--output", output)
    assert (result.returncode, result.stderr) == (0, "")
    assert np.load(output).shape == (1, 1000)
