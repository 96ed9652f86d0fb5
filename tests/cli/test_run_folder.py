"""`netspec run` from files to a folder of shards, and what is larger than memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NETWORK = """\
netspec: 1
inputs: {x: [N, 1, H, W]}
layers:
  - {name: conv, type: Conv2d, in_channels: 1, out_channels: 4, kernel_size: 3}
  - {name: pool, type: AdaptiveAvgPool2d, output_size: 1}
  - {type: Flatten}
  - {name: fc, type: Linear, out_features: 3}
outputs: {scores: {from: fc, labels: [cat, dog, bird]}}
"""


def netspec(*args: Any, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "netspec", *map(str, args)],
        cwd=cwd, capture_output=True, text=True, timeout=120, encoding="utf-8",
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A network and 30 rows in three files."""
    (tmp_path / "net.yaml").write_text(NETWORK)
    (tmp_path / "in").mkdir()
    rng = np.random.RandomState(0)
    for i in range(3):
        np.save(tmp_path / "in" / f"x{i}.npy", rng.standard_normal((10, 1, 8, 8)).astype("f4"))
    return tmp_path


def together(folder: Path) -> np.ndarray:
    return np.concatenate([np.load(path) for path in sorted(folder.glob("part-*.npy"))])


def test_a_folder_gets_what_a_file_gets(folder: Path) -> None:
    one = netspec("run", "net.yaml", "--input", "in", "--output", "o.npy", "--batch-size", 4, cwd=folder)
    many = netspec(
        "run", "net.yaml", "--input", "in/*.npy", "--output", "out/", "--batch-size", 4, cwd=folder
    )
    assert (one.returncode, many.returncode) == (0, 0), one.stderr + many.stderr
    np.testing.assert_array_equal(np.load(folder / "o.npy"), together(folder / "out"))
    *table, wrote = one.stdout.splitlines()
    assert wrote == "wrote o.npy"
    assert many.stdout.splitlines() == [*table, "wrote out (8 .npy shards)"]
    assert {p.name for p in folder.iterdir()} == {"net.yaml", "in", "o.npy", "out"}


def test_a_second_run_does_what_is_missing(folder: Path) -> None:
    command = ("run", "net.yaml", "--input", "in", "--output", "out/", "--batch-size", 4)
    first = netspec(*command, cwd=folder)
    (folder / "out" / "part-00002.npy").unlink()
    again = netspec(*command, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout.replace(" shards)", " shards, 7 of them by an earlier run)")
    other = netspec(*command[:-1], 5, cwd=folder)
    assert other.returncode == 1
    assert "out holds 8 finished shards of another run: batch_size was 4, now it is 5" in other.stderr


def test_the_formats_of_a_folder(folder: Path) -> None:
    taps = ("--tap", "conv")
    several = netspec("run", "net.yaml", "--input", "in", "--output", "out/", *taps, cwd=folder)
    assert several.returncode == 0, several.stderr
    assert set(np.load(folder / "out" / "part-00000.npz")) == {"scores", "conv"}
    forced = netspec("run", "net.yaml", "--input", "in", "--output", "out2/*.npz", cwd=folder)
    assert forced.returncode == 0, forced.stderr
    assert set(np.load(folder / "out2" / "part-00000.npz")) == {"scores"}
    one = netspec("run", "net.yaml", "--input", "in", "--output", "out3/*.npy", *taps, cwd=folder)
    assert (one.returncode, "holds one array, there are 2" in one.stderr) == (1, True)
    odd = netspec("run", "net.yaml", "--input", "in", "--output", "out4/*.csv", cwd=folder)
    assert (odd.returncode, "*.npy, *.npz, *.parquet" in odd.stderr) == (2, True)
    deep = netspec("run", "net.yaml", "--input", "in", "--output", "no/such/", cwd=folder)
    assert (deep.returncode, "the folder no does not exist" in deep.stderr) == (1, True)


def test_a_bad_picture_does_not_stop_the_others(folder: Path) -> None:
    from PIL import Image

    (folder / "pictures").mkdir()
    rng = np.random.RandomState(1)
    for i in range(5):
        Image.fromarray(rng.randint(0, 255, (8, 8), np.uint8)).save(folder / "pictures" / f"p{i}.png")
    whole = (folder / "pictures" / "p3.png").read_bytes()
    (folder / "pictures" / "p3.png").write_bytes(whole[:40])
    command = ("run", "net.yaml", "--input", "pictures", "--output", "out/", "--batch-size", 1)
    done = netspec(*command, cwd=folder)
    assert done.returncode == 1
    assert "1 of 5 shards could not be computed, the others are finished" in done.stderr
    assert "part-00003.npy (row 3): " in done.stderr
    assert "p3.png: not a picture that can be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(list((folder / "out").glob("part-*"))) == 4
    (folder / "pictures" / "p3.png").write_bytes(whole)
    again = netspec(*command, cwd=folder)
    assert (again.returncode, "4 of them by an earlier run" in again.stdout) == (0, True), again.stderr


def test_several_inputs_from_archives(folder: Path) -> None:
    (folder / "two.yaml").write_text(
        "netspec: 1\ninputs: {x: [N, 3], y: [N, 3], unused: [N]}\nlayers:\n  - {name: s, type: add, inputs: [x, y]}\n"
    )
    (folder / "pairs").mkdir()
    for i in range(3):
        np.savez(folder / "pairs" / f"{i}.npz", x=np.full((2, 3), i, "f4"), y=np.full((2, 3), 10, "f4"))
    for target in ("o.npy", "out/"):
        done = netspec("run", "two.yaml", "--input", "pairs/*.npz", "--output", target, "--batch-size", 4,
                       cwd=folder)  # fmt: skip
        assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(folder / "o.npy"), together(folder / "out"))
    assert together(folder / "out")[:, 0].tolist() == [10, 10, 11, 11, 12, 12]
    apart = netspec("run", "two.yaml", "--input", "x=pairs", "--output", "z/", cwd=folder)
    assert (apart.returncode, "input y is missing" in apart.stderr) == (1, True)


def test_a_network_that_mixes_rows_is_refused(folder: Path) -> None:
    (folder / "mix.yaml").write_text(
        "netspec: 1\ninputs: {x: [N, 1, H, W]}\nlayers:\n"
        "  - {name: mean, type: mean, dim: 0, keepdim: true}\n  - {name: diff, type: sub, inputs: [x, mean]}\n"
    )
    done = netspec("run", "mix.yaml", "--input", "in", "--output", "out/", cwd=folder)
    assert (done.returncode, "layer mean mixes the rows" in done.stderr) == (1, True)
    assert not (folder / "out").exists()


def without(module: str, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command where a library is not installed."""
    code = f"import sys; sys.modules[{module!r}] = None; from netspec.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *args], cwd=cwd, capture_output=True, text=True, timeout=120
    )


def test_without_ray_the_way_to_install_it_is_told(folder: Path) -> None:
    (folder / "ray.yaml").write_text("runner: 1\nengine: {kind: ray}\n")
    for output in ("out/", "o.npy"):
        done = without(
            "ray", "run", "net.yaml", "--input", "in", "--runner", "ray.yaml", "--output", output, cwd=folder
        )
        assert done.returncode == 3, done.stderr
        assert "error: engine: {kind: ray} needs Ray: pip install 'netspec-runner[ray]'" in done.stderr
        assert "Traceback" not in done.stderr


def test_without_pyarrow_the_way_to_install_it_is_told(folder: Path) -> None:
    done = without("pyarrow", "run", "net.yaml", "--input", "in", "--output", "out/*.parquet", cwd=folder)
    assert done.returncode == 3
    assert "pip install 'netspec-runner[parquet]'" in done.stderr
    assert "Traceback" not in done.stderr


PEAK = """
import resource, subprocess, sys
code = subprocess.run([sys.executable, "-m", "netspec", *sys.argv[1:]], stdout=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Runs a command and prints its exit code and its largest size; from a small process, since a process counts what
its parent had when it was forked."""


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs the peak memory of a child")
def test_a_mapped_input_needs_constant_memory(tmp_path: Path) -> None:
    """One GiB of zeros, which takes no room on the disk, halved in each direction."""
    (tmp_path / "net.yaml").write_text(
        "netspec: 1\ninputs: {x: [N, 1, H, W]}\nlayers: [{type: MaxPool2d, kernel_size: 8}]\n"
    )
    rows = 1 << 16
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "f4", (rows, 1, 64, 64)).flush()
    for output in ("o.npy", "out/"):
        command = ["run", "net.yaml", "--input", "x.npy", "--batch-size", "512", "--output", output]
        watched = [sys.executable, "-c", PEAK, *command]
        done = subprocess.run(watched, cwd=tmp_path, capture_output=True, text=True, check=True)
        code, peak = map(int, done.stdout.split())
        assert code == 0, done.stderr
        assert peak * (1 if sys.platform == "darwin" else 1024) < 300e6, output
    assert np.load(tmp_path / "o.npy", mmap_mode="r").shape == (rows, 1, 8, 8)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["complete"] is True
