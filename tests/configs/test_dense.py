"""The published networks with dense or several outputs, on the weights of filling.py: names, sizes, outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import netspec
from tests.configs.cases import CONFIGS, DENSE, DENSE_LOGITS, PARAMETERS, inputs_of
from tests.configs.filling import DENSE_GOLDEN, compared, distance, shapes_of, thinned, weights_of

LARGE = 30_000_000
"""Parameters from which a network runs once only."""
BELOW = 2e-5
"""Largest difference from torch, as a part of the largest number."""
CONSTRAINTS = {
    "unet": {"H >= 16", "H % 16 == 0", "W >= 16", "W % 16 == 0"},
    "segnet": {"H >= 32", "W >= 32"},
    "m5_audio": {"L >= 6848"},
    "mtcnn_pnet": {"H >= 11", "W >= 11"},
}


@pytest.mark.parametrize("name", DENSE)
class TestEveryDenseNetwork:
    def test_says_what_it_is(self, name: str) -> None:
        path = CONFIGS / f"{name}.yaml"
        head = path.read_text(encoding="utf-8").partition("netspec: 1\n")[0]
        assert head.startswith("# yaml-language-server: $schema=netspec.schema.json\n")
        assert "Weights: none here" in head
        assert f"netspec run configs/{path.name} --weights " in head
        assert netspec.parse(path).name == name
        assert netspec.validate(path) == []

    def test_sizes(self, name: str) -> None:
        report = netspec.shapes(CONFIGS / f"{name}.yaml")
        assert report["parameters"] == PARAMETERS[name]
        assert set(report["constraints"]) == CONSTRAINTS.get(name, set())
        assert all(tensor["shape"][0] == "N" for tensor in report["outputs"].values())

    def test_gives_what_torch_gives(self, name: str) -> None:
        """The weights are by name: a state-dict key that is not torch's gives other numbers."""
        arrays = inputs_of(name)
        net = netspec.load(CONFIGS / f"{name}.yaml", weights=weights_of(shapes_of(CONFIGS / f"{name}.yaml")))
        found = net.run(arrays, taps=[DENSE_LOGITS[name]] if name in DENSE_LOGITS else [])
        check(name, found)
        if PARAMETERS[name] < LARGE and name != "segnet":
            ports = [layer["name"] for layer in netspec.shapes(net.spec)["layers"]]
            again = net.run(arrays, taps=ports)
            check(name, again)
            predicted = netspec.shapes(net.spec, **{key: array.shape for key, array in arrays.items()})
            for layer in predicted["layers"]:
                tensor = next(iter(layer["outputs"].values()))
                assert list(again[layer["name"]].shape) == tensor["shape"], layer["name"]


def check(name: str, found: Mapping[str, Any]) -> None:
    """Outputs against the golden file's."""
    with np.load(DENSE_GOLDEN / f"{name}.npz") as golden:
        assert set(compared(golden.files)) <= set(found)
        for output in compared(golden.files):
            array, expected = found[output], golden[output]
            assert array.shape == tuple(golden[f"{output}.shape"])
            assert array.dtype == expected.dtype
            if expected.dtype.kind == "i":
                assert (thinned(array) != expected).mean() < 0.005  # near ties may fall on either side
            else:
                assert distance(thinned(array), expected) < BELOW, output


@pytest.mark.parametrize("name", ["mtcnn_pnet", "mtcnn_onet", "m5_audio", "dcgan_generator"])
def test_float64(name: str) -> None:
    path = CONFIGS / f"{name}.yaml"
    net = netspec.load(path, weights=weights_of(shapes_of(path)), dtype="float64")
    found = net.run({key: array.astype("f8") for key, array in inputs_of(name).items()})
    check(name, {key: array.astype("f4") if array.dtype == "f8" else array for key, array in found.items()})


def test_all_golden_files_have_a_network() -> None:
    assert {path.stem for path in DENSE_GOLDEN.glob("*.npz")} == set(DENSE) == set(PARAMETERS)
    assert all(path.stat().st_size < 20_000 for path in DENSE_GOLDEN.glob("*.npz"))


def test_segnet_pools_no_near_ties() -> None:
    """Each window's largest number, ReLU's zeros among them, leads by far more than float32's rounding, which
    Winograd's convolutions bring to 1e-5: the places of the maxima are the same on every machine."""
    path = CONFIGS / "segnet.yaml"
    net = netspec.load(path, weights=weights_of(shapes_of(path)), dtype="float64")
    before_relu = ["bn12", "bn22", "bn33", "bn43", "bn53"]
    image = inputs_of("segnet")["image"].astype("f8")
    found = net.run({"image": image}, taps=before_relu)
    for name in before_relu:
        n, c, height, width = found[name].shape
        whole = found[name][:, :, : height // 2 * 2, : width // 2 * 2]
        windows = whole.reshape(n, c, height // 2, 2, width // 2, 2).swapaxes(3, 4)
        second, first = np.moveaxis(np.sort(windows.reshape(-1, 4))[:, 2:], -1, 0)
        lead = np.where(first > 0, first - np.maximum(second, 0), -first)
        assert lead.min() > 6e-5, name


@pytest.mark.parametrize("sizes", [(32, 32), (33, 47), (64, 40)])
def test_segnet_gives_back_the_size_of_its_picture(sizes: tuple[int, int]) -> None:
    report = netspec.shapes(CONFIGS / "segnet.yaml", image=(1, 3, *sizes))
    assert report["outputs"]["mask"]["shape"] == [1, *sizes]


def test_unet_refuses_what_it_would_have_to_pad() -> None:
    with pytest.raises(netspec.InputError, match="16"):
        netspec.shapes(CONFIGS / "unet.yaml", image=(1, 3, 40, 48))


def test_state_dict_keys_are_the_originals() -> None:
    """A few of each, as the public checkpoints spell them."""
    expected = {
        "unet": ["inc.double_conv.0.weight", "down4.maxpool_conv.1.double_conv.4.running_var",
                 "up1.up.bias", "up4.conv.double_conv.3.weight", "outc.conv.bias"],
        "segnet": ["conv11.weight", "bn53.running_mean", "conv53d.weight", "conv11d.bias"],
        "dcgan_generator": ["main.0.weight", "main.1.num_batches_tracked", "main.12.weight"],
        "m5_audio": ["conv1.weight", "bn4.bias", "fc1.weight"],
        "crepe_tiny": ["conv1.weight", "conv6_BN.running_mean", "classifier.bias"],
        "c3d": ["conv1.weight", "conv3a.weight", "conv5b.bias", "fc8.bias"],
        "mtcnn_pnet": ["conv1.weight", "prelu1.weight", "conv4_1.weight", "conv4_2.bias"],
        "mtcnn_rnet": ["prelu4.weight", "dense5_1.weight", "dense5_2.bias"],
        "mtcnn_onet": ["prelu5.weight", "dense6_1.weight", "dense6_3.bias"],
    }  # fmt: skip
    assert expected.keys() == DENSE.keys()
    for name, keys in expected.items():
        assert set(keys) <= shapes_of(CONFIGS / f"{name}.yaml").keys(), name
