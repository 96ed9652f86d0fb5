"""`netspec weights`: what it prints, writes and answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.interop.checkpoints import read_checkpoint
from netspec.interop.safetensors import write_safetensors
from tests.cli.test_commands import netspec as command

GOLDEN = Path(__file__).parent.parent / "interop" / "golden"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "net.yaml",
        "plain.pt",
        "wrapped.pt",
        "parallel.pt",
        "bfloat16.pt",
        "weight_norm.pt",
        "module.pt",
    ):
        shutil.copy(GOLDEN / name, tmp_path)
    return tmp_path


def renamed(folder: Path, name: str = "renamed.safetensors", **names: str) -> None:
    """The golden weights under other names of layers."""
    arrays = {}
    for key, array in read_checkpoint(GOLDEN / "plain.pt").items():
        layer, _, own = key.partition(".")
        if layer != "again":
            arrays[f"{names.get(layer, layer)}.{own}"] = array
    write_safetensors(folder / name, arrays)


# --- inspect ----------------------------------------------------------------------------------------


def test_inspect(folder: Path) -> None:
    done = command("weights", "inspect", "wrapped.pt", cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["name", "shape", "dtype"]
    assert lines[2].split(maxsplit=1) == ["conv1.weight", "[4, 1, 3, 3]  float32"]
    assert "13 tensors, 788 elements, 3.16 kB" in done.stdout
    assert "note: the weights are those under `model_state_dict` (beside it: epoch, best" in done.stdout


def test_inspect_json_with_statistics(folder: Path) -> None:
    write_safetensors(
        folder / "w.safetensors",
        {"a": np.array([1, np.nan, np.inf, -3], "f4"), "e": np.zeros((0,), "f4"), "i": np.array([1, 2]),
         "c": np.ones(1, "c8"), "t": np.array([True])},
    )  # fmt: skip
    done = command("weights", "inspect", "w.safetensors", "--format", "json", "--stats", cwd=folder)
    report = json.loads(done.stdout)
    assert report["path"] == "w.safetensors"
    assert report["total"] == {"tensors": 5, "elements": 8, "bytes": 41}
    rows = {row.pop("name"): row for row in report["tensors"]}
    assert rows["a"] == {"shape": [4], "dtype": "float32", "bytes": 16, "min": -3.0, "max": 1.0, "mean": -1.0,
                         "not_finite": 2}  # fmt: skip
    assert rows["i"]["mean"] == 1.5
    assert rows["e"]["min"] is None
    assert rows["c"]["min"] is None
    assert rows["t"]["max"] is True


def test_inspect_shows_the_dtype_of_the_file(folder: Path) -> None:
    done = command("weights", "inspect", "bfloat16.pt", cwd=folder)
    assert "fc.weight               [3, 144]      bfloat16" in done.stdout
    assert "1.58 kB" in done.stdout


def test_inspect_writes_control_characters_as_escapes(folder: Path) -> None:
    write_safetensors(folder / "w.safetensors", {"\x1b[31mred": np.zeros(1, "f4")})
    done = command("weights", "inspect", "w.safetensors", cwd=folder)
    assert "\x1b" not in done.stdout
    assert "[31mred" in done.stdout


@pytest.mark.parametrize("sub", ["inspect", "convert"])
def test_what_cannot_be_read(sub: str, folder: Path) -> None:
    rest = ("out.npz",) if sub == "convert" else ()
    for file, message in (
        ("gone.pt", "no such weights file"),
        ("module.pt", "whole module"),
        ("net.yaml", "expected"),
    ):
        done = command("weights", sub, file, *rest, cwd=folder)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert not (folder / "out.npz").exists()


# --- check ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["plain.pt", "wrapped.pt", "parallel.pt", "bfloat16.pt", "weight_norm.pt"])
def test_check_of_what_fits(file: str, folder: Path) -> None:
    done = command("weights", "check", "net.yaml", file, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{file} fits net.yaml (11 arrays)"
    assert done.stderr == ""


def test_check_says_what_differs(folder: Path) -> None:
    renamed(folder, fc="classifier", conv1="features")
    done = command("weights", "check", "net.yaml", "renamed.safetensors", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == """\
renamed.safetensors does not fit net.yaml

            name               network       checkpoint
──────────  ─────────────────  ────────────  ────────────
missing     conv1.weight       [4, 1, 3, 3]
missing     conv1.bias         [4]
missing     fc.weight          [3, 144]
missing     fc.bias            [3]
unexpected  features.weight                  [4, 1, 3, 3]
unexpected  features.bias                    [4]
unexpected  classifier.weight                [3, 144]
unexpected  classifier.bias                  [3]

probably               the network's  shape         by
─────────────────  ──  ─────────────  ────────────  ─────
features.weight    ->  conv1.weight   [4, 1, 3, 3]  shape
features.bias      ->  conv1.bias     [4]           shape
classifier.weight  ->  fc.weight      [3, 144]      shape
classifier.bias    ->  fc.bias        [3]           shape

7 of 11 fit; 4 missing, 4 unexpected, 0 wrong
help: netspec weights convert renamed.safetensors OUT.safetensors --for net.yaml makes these renames
"""
    )


def test_check_as_json(folder: Path) -> None:
    renamed(folder, fc="classifier")
    path = folder / "net.yaml"
    path.write_text(
        path.read_text().replace("out_channels: 4, kernel_size: 3}", "out_channels: 4, kernel_size: 5}")
    )
    path.write_text(path.read_text().replace("[N, 1, 8, 8]", "[N, 1, 10, 10]"))
    done = command("weights", "check", "net.yaml", "renamed.safetensors", "--format", "json", cwd=folder)
    assert (done.returncode, done.stderr) == (1, "")
    report = json.loads(done.stdout)
    assert report["fits"] is False
    assert report["missing"] == [{"name": "fc.weight", "shape": [3, 144]}, {"name": "fc.bias", "shape": [3]}]
    assert [u["name"] for u in report["unexpected"]] == ["classifier.weight", "classifier.bias"]
    assert report["wrong"] == [
        {"name": "conv1.weight", "expected": [4, 1, 5, 5], "found": [4, 1, 3, 3],
         "message": "expected [4, 1, 5, 5], got [4, 1, 3, 3]"}
    ]  # fmt: skip
    assert report["renames"][0] == {
        "from": "classifier.weight", "to": "fc.weight", "shape": [3, 144], "by": "shape"
    }  # fmt: skip
    fits = command("weights", "check", "net.yaml", "plain.pt", "--format", "json", cwd=folder)
    assert json.loads(fits.stdout)["fits"] is False
    shutil.copy(GOLDEN / "net.yaml", folder)
    fits = command("weights", "check", "net.yaml", "parallel.pt", "--format", "json", cwd=folder)
    assert fits.returncode == 0
    assert json.loads(fits.stdout)["notes"] == ["`module._orig_mod.` was taken off 13 of 13 names"]


def test_check_of_a_wrong_network(folder: Path) -> None:
    (folder / "bad.yaml").write_text("netspec: 1\nlayers: []\n")
    done = command("weights", "check", "bad.yaml", "plain.pt", cwd=folder)
    assert done.returncode == 1
    assert "bad.yaml:" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_and_validate_agree_with_check(folder: Path) -> None:
    np.save(folder / "x.npy", np.zeros((1, 1, 8, 8), "f4"))
    for args in (("validate", "net.yaml"), ("run", "net.yaml", "--input", "x.npy")):
        done = command(*args, "--weights", "parallel.pt", cwd=folder)
        assert done.returncode == 0, done.stderr


# --- convert ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["out.safetensors", "out.npz"])
def test_convert(out: str, folder: Path) -> None:
    done = command("weights", "convert", "wrapped.pt", out, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"wrote {out} (13 arrays, ")
    found, wanted = read_checkpoint(folder / out), read_checkpoint(folder / "plain.pt")
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert {p.name for p in folder.iterdir() if p.name.startswith(".")} == set()


@pytest.mark.parametrize("file", ["parallel.pt", "weight_norm.pt", "bfloat16.pt"])
def test_convert_for_a_network(file: str, folder: Path) -> None:
    done = command("weights", "convert", file, "out.safetensors", "--for", "net.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    net = netspec.load(folder / "net.yaml", weights=folder / file)
    assert list(read_checkpoint(folder / "out.safetensors")) == list(net.state_dict())
    again = netspec.load(folder / "net.yaml", weights=folder / "out.safetensors")
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)
    assert ("bfloat16 arrays written as float32" in done.stdout) == (file == "bfloat16.pt")


def test_convert_makes_the_proposed_renames(folder: Path) -> None:
    renamed(folder, fc="classifier", conv1="features")
    done = command("weights", "convert", "renamed.safetensors", "out.npz", "--for", "net.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "classifier.weight  ->  fc.weight     [3, 144]      shape" in done.stdout
    found, wanted = read_checkpoint(folder / "out.npz"), read_checkpoint(folder / "plain.pt")
    for name, array in found.items():
        np.testing.assert_array_equal(array, wanted[name])


def test_convert_writes_nothing_that_does_not_fit(folder: Path) -> None:
    arrays = dict(read_checkpoint(folder / "plain.pt"))
    del arrays["fc.weight"]
    write_safetensors(folder / "short.safetensors", arrays)
    done = command("weights", "convert", "short.safetensors", "out.npz", "--for", "net.yaml", cwd=folder)
    assert done.returncode == 1
    assert "missing  fc.weight  [3, 144]" in done.stderr
    assert not (folder / "out.npz").exists()


def test_convert_onto_itself(folder: Path) -> None:
    renamed(folder, "w.safetensors")
    before = {name: array.copy() for name, array in read_checkpoint(folder / "w.safetensors").items()}
    assert command("weights", "convert", "w.safetensors", "w.safetensors", cwd=folder).returncode == 0
    for name, array in read_checkpoint(folder / "w.safetensors").items():
        np.testing.assert_array_equal(array, before[name])


def test_convert_refuses_what_a_format_cannot_hold(folder: Path) -> None:
    np.savez(folder / "c.npz", z=np.ones(2, "c16"))
    done = command("weights", "convert", "c.npz", "out.safetensors", cwd=folder)
    assert done.returncode == 1
    assert "complex128, which safetensors cannot hold" in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("out.txt",), 2, "expected a .safetensors or .npz file"),
        (("gone/out.npz",), 1, "the folder gone does not exist"),
        (("out.npz", "--for", "gone.yaml"), 1, "gone.yaml"),
        ((), 2, "Missing argument"),
    ],
)
def test_convert_usage(args: tuple[str, ...], code: int, message: str, folder: Path) -> None:
    done = command("weights", "convert", "plain.pt", *args, cwd=folder)
    assert done.returncode == code
    assert message in done.stderr
