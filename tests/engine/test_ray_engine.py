"""`engine: {kind: ray}` on a real local cluster. Needs Ray (extra `ray`) and Linux's /proc."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytestmark = [
    pytest.mark.external,
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for workers in /proc"),
]

ROOT = Path(__file__).resolve().parents[2]
GUARD = 180
"""Seconds after which a run hangs; a cluster starts in 5 to 15."""
NETWORK = """\
netspec: 1
name: features
inputs: {image: [N, 3, 64, 64]}
layers:
  - {type: Conv2d, out_channels: 32, kernel_size: 3, padding: 1}
  - {type: ReLU}
  - {type: Conv2d, out_channels: 64, kernel_size: 3, padding: 1}
  - {type: AdaptiveAvgPool2d, output_size: 4}
outputs: {features: "3"}
"""
PROFILE = "runner: 1\nthreads: 1\nbatch_size: 8\nengine: {kind: ray, address: local, workers: 2}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.yaml").write_text(NETWORK)
    (tmp_path / "ray.yaml").write_text(PROFILE)
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for i in range(10):
        np.save(tmp_path / "in" / f"x{i}.npy", rng.random((31, 3, 64, 64), np.float32))
    return tmp_path


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "netspec", "run", "net.yaml", *args]


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*args), cwd=folder, capture_output=True, text=True, timeout=GUARD)


def workers(process: int) -> Iterator[int]:
    """Processes of Ray's workers that descend from a process."""
    parents: dict[int, int] = {}
    names: dict[int, bytes] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                names[int(entry.name)] = (entry / "cmdline").read_bytes()
    for pid, name in names.items():
        ancestor = pid
        while ancestor in parents and ancestor != process:
            ancestor = parents[ancestor]
        if ancestor == process and name.startswith(b"ray::MapWorker"):
            yield pid


def until(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Until so many shards are finished."""
    end = time.monotonic() + GUARD
    while len(list(folder.glob("part-*"))) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_killed_worker_costs_no_shard_and_no_bit(folder: Path) -> None:
    process = subprocess.Popen(
        command("--input", "in/*.npy", "--output", "out/", "--runner", "ray.yaml"),
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        until(folder / "out", 3, process)
        victim = next(workers(process.pid))
        os.kill(victim, signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=GUARD)
    assert process.returncode == 0, stderr
    assert stdout.splitlines()[-1] == "wrote out (39 .npy shards)"
    assert "note: a worker died and was started again" in stderr
    assert "ray" not in stderr.lower().replace("array", "")  # Ray itself is silent
    here = run(folder, "--input", "in/*.npy", "--output", "here/", "--threads", "1", "--batch-size", "8")
    assert here.returncode == 0, here.stderr
    files = [{p.name: p.read_bytes() for p in (folder / f).glob("part-*")} for f in ("out", "here")]
    assert len(files[0]) == 39
    assert files[0] == files[1]
    assert stdout.splitlines()[:-1] == here.stdout.splitlines()[:-1]
    assert {p.name for p in (folder / "out").iterdir()} == {"manifest.json", *files[0]}


def test_a_shard_that_kills_every_worker_is_given_up_and_the_others_are_not(folder: Path) -> None:
    (folder / "ray.yaml").write_text(PROFILE.replace("workers: 2", "workers: 1"))
    process = subprocess.Popen(
        command("--input", "in/*.npy", "--output", "out/", "--runner", "ray.yaml"),
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        killed: set[Path] = set()
        while process.poll() is None:
            for begun in set((folder / "out").glob(".part-00007.*")) - killed:
                killed.add(begun)
                for pid in workers(process.pid):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)
        _, stderr = process.communicate(timeout=GUARD)
    assert process.returncode == 1, stderr
    assert "1 of 39 shards could not be computed, the others are finished" in stderr
    assert "part-00007.npy (rows 56 to 63" in stderr
    assert "3 workers died while they computed it" in stderr
    assert len(killed) == 3
    assert len(list((folder / "out").glob("part-*"))) == 38


def test_killed_half_way_and_resumed() -> None:
    """The script of the documentation; it compares the files itself."""
    script = ROOT / "docs" / "ray_resume.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=2 * GUARD)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of them by an earlier run)" in done.stdout
    assert "the same, byte for byte" in done.stdout
    assert "images/x7.npy was changed" in done.stdout


RAY_WRITES = """
import numpy as np, ray
ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
pictures = np.random.default_rng(0).random((40, 3, 64, 64), np.float32)
rows = [{"image": picture, "id": f"picture {i}"} for i, picture in enumerate(pictures)]
ray.data.from_items(rows).write_parquet("in")
np.save("pictures.npy", pictures)
"""
RAY_READS = """
import numpy as np, ray
ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
rows = sorted(ray.data.read_parquet("out").take_all(), key=lambda row: int(row["id"].split()[1]))
np.save("back.npy", np.stack([row["features"] for row in rows]))
"""


def test_parquet_from_ray_and_back(folder: Path) -> None:
    for path in (folder / "in").iterdir():
        path.unlink()
    for script in (RAY_WRITES, None, RAY_READS):
        if script is None:
            done = run(folder, "--input", "in/*.parquet", "--output", "out/", "--runner", "ray.yaml")
        else:
            done = subprocess.run(
                [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=GUARD
            )
        assert done.returncode == 0, done.stderr
    here = run(folder, "--input", "pictures.npy", "--output", "o.npy", "--batch-size", "8", "--threads", "1")
    assert here.returncode == 0, here.stderr
    np.testing.assert_array_equal(np.load(folder / "back.npy"), np.load(folder / "o.npy"))


@pytest.mark.parametrize("address", ["localhost:1", "ray://localhost:1", "nonsense"])
def test_a_cluster_that_is_not_there(folder: Path, address: str) -> None:
    (folder / "ray.yaml").write_text(PROFILE.replace("address: local", f"address: '{address}'"))
    done = run(folder, "--input", "in/*.npy", "--output", "out/", "--runner", "ray.yaml")
    assert done.returncode == 3
    assert address in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_one_file_from_the_cluster(folder: Path) -> None:
    """A wrong input on the way is told as it is told here."""
    for name, code in (("r.npy", 0), ("r.npz", 1)):
        if code:
            (folder / "in" / "x9.npy").write_bytes((folder / "in" / "x8.npy").read_bytes()[:-100])
        done = run(folder, "--input", "in/*.npy", "--output", name, "--runner", "ray.yaml")
        assert done.returncode == code, done.stderr
    assert "x9.npy: the file is truncated or damaged" in done.stderr
    assert not (folder / "r.npz").exists()
    assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []
    assert np.load(folder / "r.npy").shape == (310, 64, 4, 4)


def test_the_profile_of_runners(tmp_path: Path) -> None:
    runner, seven = ROOT / "runners" / "ray.yaml", ROOT / "configs" / "samples" / "seven.png"
    args = ["--input", str(seven), "--runner", str(runner), "--output", "o.npy"]
    done = subprocess.run(
        [sys.executable, "-m", "netspec", "run", str(ROOT / "configs" / "lenet5.yaml"), *args],
        cwd=tmp_path, capture_output=True, text=True, timeout=GUARD,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "o.npy").argmax() == 7
