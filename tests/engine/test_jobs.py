"""Jobs: rows from files, cut into shards, resumed and refused."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.engine import job as planning
from netspec.engine.job import Job, plan_job
from netspec.engine.run import run_job
from netspec.engine.shards import ATTEMPTS, compute_shard
from netspec.engine.sources import Source, list_files, open_source
from netspec.runtime.network import Network
from netspec.runtime.profile import Engine

NETWORK: dict[str, Any] = {
    "netspec": 1,
    "name": "small",
    "inputs": {"x": ["N", 3, "L"]},
    "layers": [
        {"name": "conv", "type": "Conv1d", "in_channels": 3, "out_channels": 4, "kernel_size": 3},
        {"name": "act", "type": "Tanh"},
        {"name": "mean", "type": "AdaptiveAvgPool1d", "output_size": 1},
    ],
    "outputs": {"features": "mean"},
}
HERE = Engine(kind="local")


@pytest.fixture
def net() -> Network:
    return netspec.load(NETWORK, seed=1)


@pytest.fixture
def rows(tmp_path: Path) -> np.ndarray:
    """21 rows in the files x1.npy (1 row), x2.npy (2 rows), ... x6.npy."""
    found = np.random.RandomState(0).standard_normal((21, 3, 8)).astype("f4")
    (tmp_path / "in").mkdir()
    for i in range(1, 7):
        np.save(tmp_path / "in" / f"x{i}.npy", found[i * (i - 1) // 2 : i * (i + 1) // 2])
    return found


def source_of(net: Network, text: Path | str, name: str = "x") -> Source:
    spec = net.spec.inputs[name]
    return open_source(list_files(str(text)), name, spec, alone=len(net.spec.inputs) == 1)


def plan(net: Network, folder: Path, format: str | None = None, batch_size: int = 4, taps: Any = ()) -> Job:
    (folder / "out").mkdir(exist_ok=True)
    sources = {"x": source_of(net, folder / "in")}
    return plan_job(net, net.wanted(taps), sources, folder / "out", format, batch_size)


@contextlib.contextmanager
def no_progress(total: int, done: int) -> Iterator[Callable[[], None]]:
    yield lambda: None


def run(net: Network, job: Job) -> int:
    """How many shards were there before."""
    return run_job(net, job, HERE, "cpu", no_progress).before


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.glob("part-*")}


# --- rows -------------------------------------------------------------------------------------------


def test_a_source_is_the_files_one_after_the_other(net: Network, rows: np.ndarray, tmp_path: Path) -> None:
    source = source_of(net, tmp_path / "in")
    assert (source.shape, source.dtype) == (rows.shape, rows.dtype)
    for start in range(22):
        for stop in range(start, 23):
            np.testing.assert_array_equal(source[start:stop], rows[start:stop])
    assert sum(b - a for _, a, b in source.pieces(4, 17)) == 13


def test_a_source_travels_without_what_it_has_open(net: Network, rows: np.ndarray, tmp_path: Path) -> None:
    source = source_of(net, tmp_path / "in")
    np.testing.assert_array_equal(source[0:9], rows[0:9])
    travelling = pickle.dumps(source)
    assert rows[6].tobytes() not in travelling  # of x4.npy, which was opened last
    np.testing.assert_array_equal(pickle.loads(travelling)[5:9], rows[5:9])


def test_archives_pictures_and_rows_without_a_batch_axis(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    picture = (pixels.transpose(2, 0, 1) / 255).astype("f4")
    np.savez(tmp_path / "b.npz", x=np.stack([picture] * 2), other=np.ones(3))
    np.savez_compressed(tmp_path / "c.npz", picture)
    np.save(tmp_path / "a1.npy", picture.astype("f8"))
    net = netspec.load({"netspec": 1, "inputs": {"x": ["N", 3, "H", "W"]}, "layers": [{"type": "Identity"}]})
    source = source_of(net, tmp_path)
    assert [file.rows for file in source.files] == [1, 1, 2, 1]
    assert (source.shape, source.dtype) == ((5, 3, 4, 4), np.float64)  # the widest of the files
    np.testing.assert_allclose(source[0:5], np.stack([picture] * 5), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x7.npy", np.zeros((2, 3, 9), "f4"), r"x7.npy has rows of \[3, 9\], .*x1.npy of \[3, 8\]"),
        ("x7.npy", b"junk", "x7.npy: not a .npy file"),
        ("x7.npz", b"junk", "x7.npz"),
        ("x7.parquet", b"junk", "x7.parquet: Parquet files and other files cannot be"),
    ],
)
def test_files_that_cannot_be_rows_are_named(
    net: Network, rows: np.ndarray, tmp_path: Path, name: str, content: Any, message: str
) -> None:
    path = tmp_path / "in" / name
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    with pytest.raises(netspec.InputError, match=message):
        source_of(net, tmp_path / "in")


# --- shards -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "batch", "shard_bytes", "least"), [(1, 4, 1, 9), (100, 8, 4000, 1), (1000, 7, 10**9, 16)]
)
def test_shards_are_whole_batches_and_all_rows(
    net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, batch: int, shard_bytes: int,
    least: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(planning, "SHARD_BYTES", shard_bytes)
    monkeypatch.setattr(planning, "LEAST_SHARDS", least)
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "x.npy", np.zeros((count, 3, 8), "f4"))
    job = plan(net, tmp_path, batch_size=batch)
    assert [s.start for s in job.shards] == [0, *(s.stop for s in job.shards[:-1])]
    assert job.shards[-1].stop == count
    assert all(s.start % batch == 0 for s in job.shards)
    bytes_each = (3 * 8 + 4) * 4
    assert all((s.stop - s.start) * bytes_each <= max(shard_bytes, batch * bytes_each) for s in job.shards)
    if shard_bytes == 10**9:  # small enough to be one, cut all the same
        assert len(job.shards) == pytest.approx(least, abs=2)


@pytest.mark.parametrize("format", ["npy", "npz"])
def test_the_shards_together_are_the_output(
    net: Network, rows: np.ndarray, tmp_path: Path, format: str
) -> None:
    job = plan(net, tmp_path, format, taps=["conv"] if format == "npz" else ())
    result = run_job(net, job, HERE, "cpu", no_progress)
    batches = [net.compute({"x": rows[i : i + 4]}, job.wanted) for i in range(0, 21, 4)]
    for name in job.outputs:
        expected = np.concatenate([batch[name] for batch in batches])
        loaded = [np.load(tmp_path / "out" / s.file) for s in job.shards]
        found = np.concatenate([a if format == "npy" else a[name] for a in loaded])
        np.testing.assert_array_equal(found, expected)
        assert (result.ranges[name].low, result.ranges[name].high) == (expected.min(), expected.max())
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"manifest.json", *(s.file for s in job.shards)}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["complete"] is True
    assert manifest["outputs"]["features"]["shape"] == [21, 4, 1]
    assert manifest["outputs"]["features"]["min"] == result.ranges["features"].low


def test_infinite_and_missing_numbers_are_counted(tmp_path: Path) -> None:
    net = netspec.load({"netspec": 1, "inputs": {"x": ["N", 2]}, "layers": [{"type": "Identity"}]})
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "x.npy", np.array([[1, math.nan], [-math.inf, 3]], "f4"))
    run(net, plan(net, tmp_path, batch_size=1))
    (found,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["outputs"].values()
    assert (found["min"], found["max"], found["nan"]) == ("-inf", 3.0, 1)


def test_only_missing_shards_are_computed(
    net: Network, rows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(net, plan(net, tmp_path)) == 0
    before = files(tmp_path / "out")
    for name in ("part-00001.npy", "part-00004.npy"):
        (tmp_path / "out" / name).unlink()
    kept = (tmp_path / "out" / "part-00000.npy").stat().st_mtime_ns
    asked: list[int] = []
    compute = Network.compute

    def counted(self: Network, inputs: Any, wanted: Any) -> Any:
        asked.append(len(inputs["x"]))
        return compute(self, inputs, wanted)

    monkeypatch.setattr(Network, "compute", counted)
    again = netspec.load(NETWORK, seed=1)
    result = run_job(again, plan(again, tmp_path), HERE, "cpu", no_progress)
    assert (result.before, asked) == (4, [4, 4])
    assert files(tmp_path / "out") == before
    assert (tmp_path / "out" / "part-00000.npy").stat().st_mtime_ns == kept
    shown = np.concatenate([np.load(tmp_path / "out" / name) for name in sorted(before)])
    assert (result.ranges["features"].low, result.ranges["features"].high) == (shown.min(), shown.max())


def test_a_damaged_shard_is_computed_again(net: Network, rows: np.ndarray, tmp_path: Path) -> None:
    run(net, plan(net, tmp_path))
    before = files(tmp_path / "out")
    (tmp_path / "out" / "part-00002.npy").write_bytes(before["part-00002.npy"][:-8])
    np.save(tmp_path / "out" / "part-00003.npy", np.zeros((3, 4, 1), "f4"))  # a row too few
    assert run(net, plan(net, tmp_path)) == 4
    assert files(tmp_path / "out") == before


def touched(folder: Path) -> None:
    os.utime(folder / "in" / "x3.npy", ns=(1, 1))


def longer(folder: Path) -> None:
    np.save(folder / "in" / "x9.npy", np.zeros((1, 3, 8), "f4"))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (touched, {}, r"input x: .*in.x3.npy was changed"),
        (longer, {}, r"input x: .*in.x9.npy was added"),
        (None, {"batch_size": 3}, "batch_size was 4, now it is 3"),
        (None, {"weights": 2}, "the weights differ"),
        (None, {"network": "ReLU"}, "the network differs"),
        (None, {"dtype": "float64"}, "dtype was float32, now it is float64"),
        (None, {"taps": ["conv"]}, "the outputs differ"),
    ],
)
def test_shards_of_another_run_are_refused_and_left(
    rows: np.ndarray, tmp_path: Path, change: Any, options: dict[str, Any], message: str
) -> None:
    net = netspec.load(NETWORK, seed=1)
    run(net, plan(net, tmp_path))
    (tmp_path / "out" / "part-00001.npy").unlink()
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    if change:
        change(tmp_path)
    layers = [dict(entry) for entry in NETWORK["layers"]]
    layers[1]["type"] = options.get("network", "Tanh")
    other = netspec.load(
        {**NETWORK, "layers": layers}, seed=options.get("weights", 1), dtype=options.get("dtype")
    )
    job = plan(other, tmp_path, None, options.get("batch_size", 4), options.get("taps", ()))
    with pytest.raises(netspec.InputError, match=message):
        run(other, job)
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_files_that_are_no_shards_of_ours_are_refused(net: Network, rows: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part-0.parquet").write_bytes(b"of somebody else")
    with pytest.raises(netspec.InputError, match=r"holds part-0.parquet and no manifest.json"):
        run(net, plan(net, tmp_path))


def test_one_run_at_a_time(net: Network, rows: np.ndarray, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    job = plan(net, tmp_path)
    with (tmp_path / "out" / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(netspec.InputError, match="another run is writing"):
            run(net, job)
    assert run(net, job) == 0


def test_a_shard_that_kills_its_workers_is_given_up(net: Network, rows: np.ndarray, tmp_path: Path) -> None:
    """What a killed worker leaves is its unfinished file; the last one allowed still computes it."""
    job = plan(net, tmp_path)
    shard = job.shards[2]
    for i in range(ATTEMPTS - 1):
        (tmp_path / "out" / f".{shard.file}.{i}.part").write_bytes(b"half")
    assert compute_shard(net, job, shard).error is None
    assert list((tmp_path / "out").glob(".*")) == []
    (tmp_path / "out" / shard.file).unlink()
    for i in range(ATTEMPTS):
        (tmp_path / "out" / f".{shard.file}.{i}.part").write_bytes(b"half")
    assert "3 workers died while they computed it" in (compute_shard(net, job, shard).error or "")
    assert run(net, job) == 0  # a new run begins anew
    assert len(files(tmp_path / "out")) == len(job.shards)


def test_rows_the_network_does_not_take(net: Network, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "x.npy", np.zeros((5, 3, 2), "f4"))
    with pytest.raises(netspec.InputError, match="the network does not take"):
        plan(net, tmp_path)
    np.save(tmp_path / "in" / "x.npy", np.zeros((0, 3, 8), "f4"))
    with pytest.raises(netspec.InputError, match="have no rows"):
        plan(net, tmp_path)
