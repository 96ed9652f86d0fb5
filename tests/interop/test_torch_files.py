"""Checkpoints that PyTorch 2.13 wrote, read without it; `generate.py` made them."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.diagnostics import WeightsError
from netspec.interop.checkpoints import open_checkpoint, read_checkpoint

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """What the files hold, by PyTorch."""
    with np.load(GOLDEN / "expected.npz") as file:
        return dict(file)


def part(expected: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The entries under a prefix."""
    return {k.removeprefix(prefix): v for k, v in expected.items() if k.startswith(prefix)}


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Names in order, dtypes, shapes and every bit."""
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("file", ["plain.pt", "legacy.pt", "protocol5.pt", "wrapped.pt"])
def test_state_dicts(file: str, expected: dict[str, Any]) -> None:
    same(read_checkpoint(GOLDEN / file), part(expected, "net."))


@pytest.mark.parametrize("file", ["kinds.pt", "kinds_legacy.pt"])
def test_dtypes_and_layouts(file: str, expected: dict[str, Any]) -> None:
    checkpoint = open_checkpoint(GOLDEN / file)
    same(checkpoint.arrays, part(expected, "kinds."))
    assert checkpoint.dtype("bfloat16") == "bfloat16"
    assert checkpoint.dtype("float16") == "float16"
    assert checkpoint.notes == ()


def test_dtypes_without_a_storage_class(expected: dict[str, Any]) -> None:
    same(read_checkpoint(GOLDEN / "uint16.pt"), {"uint16": expected["uint16"]})


@pytest.mark.parametrize("file", ["kinds.pt", "kinds_legacy.pt"])
def test_arrays_are_views_of_the_file(file: str) -> None:
    arrays = read_checkpoint(GOLDEN / file)
    assert np.shares_memory(arrays["whole"], arrays["part"])
    assert np.shares_memory(arrays["whole"], arrays["transposed"])
    assert not arrays["whole"].flags.writeable


def test_a_wrapper_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "netspec"):
        read_checkpoint(GOLDEN / "wrapped.pt")
    assert "the weights are those under `model_state_dict`" in caplog.text
    assert "beside it: epoch, best, optimizer_state_dict, device, size" in caplog.text


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("module.pt", "a whole module of class torch.nn.modules.container.Sequential: save model.state_dict"),
        ("module_legacy.pt", "a whole module of class torch.nn.modules.container.Sequential"),
        ("module_inside.pt", "a whole module of class __main__.Net"),
        ("script.pt", "TorchScript"),
        ("quantized.pt", "tensor q is quantized"),
        ("sparse.pt", "tensor s is sparse"),
        ("meta.pt", "tensor m has no values"),
        ("float8.pt", "tensor f has dtype float8_e4m3fn"),
        ("complex32.pt", "tensor c has dtype complex32"),
        ("tensor.pt", "one tensor, not a state dict"),
        ("list.pt", "no state dict"),
        ("nothing.pt", "no state dict"),
    ],
)
def test_what_is_not_a_state_dict(file: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        read_checkpoint(GOLDEN / file)
    assert str(GOLDEN / file) in str(caught.value)


@pytest.mark.parametrize(
    "file",
    ["plain.pt", "legacy.pt", "protocol5.pt", "wrapped.pt", "compiled.pt", "parallel.pt", "framework.ckpt"],
)
def test_networks_load_unchanged_and_give_torchs_outputs(file: str, expected: dict[str, Any]) -> None:
    net = netspec.load(GOLDEN / "net.yaml", weights=GOLDEN / file)
    np.testing.assert_allclose(net(expected["x"]), expected["y"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("file", "tolerance"), [("half.pt", 2e-3), ("bfloat16.pt", 2e-2)])
def test_narrow_checkpoints_are_widened(file: str, tolerance: float, expected: dict[str, Any]) -> None:
    net = netspec.load(GOLDEN / "net.yaml", weights=GOLDEN / file)
    assert net["fc"].weight.dtype == np.float32
    np.testing.assert_allclose(net(expected["x"]), expected["y"], atol=tolerance)


@pytest.mark.parametrize("file", ["weight_norm.pt", "weight_norm_old.pt"])
def test_weight_norm_is_folded(file: str, expected: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "netspec"):
        net = netspec.load(GOLDEN / "net.yaml", weights=GOLDEN / file)
    assert "weight_norm was folded into" in caplog.text
    for layer in ("conv2", "fc"):  # fc has dim=1
        np.testing.assert_allclose(net[layer].weight, expected[f"{file}.{layer}"], rtol=3e-7)


def test_second_names_must_have_the_same_values() -> None:
    with pytest.raises(WeightsError, match=r"again\.weight and conv2\.weight have different values"):
        netspec.load(GOLDEN / "net.yaml", weights=GOLDEN / "untied.pt")


def test_prefixes_are_noted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "netspec"):
        netspec.load(GOLDEN / "net.yaml", weights=GOLDEN / "parallel.pt")
    assert "`module._orig_mod.` was taken off 13 of 13 names" in caplog.text


def test_torch_is_not_needed() -> None:
    code = f"""
import sys
sys.modules["torch"] = None
from pathlib import Path
from netspec.interop.checkpoints import read_checkpoint
for name in ("plain.pt", "legacy.pt", "kinds.pt"):
    assert read_checkpoint(Path({str(GOLDEN)!r}) / name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_other_endings(tmp_path: Path) -> None:
    data = (GOLDEN / "plain.pt").read_bytes()
    for name in ("pytorch_model.bin", "checkpoint.pth.tar", "last.ckpt", "W.PTH"):
        (tmp_path / name).write_bytes(data)
        assert "fc.weight" in read_checkpoint(tmp_path / name)
    (tmp_path / "x.h5").write_bytes(data)
    with pytest.raises(
        WeightsError, match=r"expected a \.safetensors, \.npz, \.pt or \.pth file, got `\.h5`"
    ):
        read_checkpoint(tmp_path / "x.h5")


def test_golden_files_are_small() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.iterdir()) < 200_000
