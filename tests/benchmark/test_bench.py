"""`netspec bench` from file to figures, with ONNX Runtime beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netspec.benchmark import alone, onnxruntime_peer, peers
from netspec.benchmark.agreement import Disagreement
from netspec.benchmark.contender import Contender
from netspec.benchmark.measure import bench
from netspec.benchmark.problem import Problem, pose
from netspec.benchmark.rounds import Effort
from netspec.diagnostics import DeviceError

NETWORK = """\
netspec: 1
inputs: {x: [N, 3, H, W], y: {shape: [N, 2], dtype: int64}}
layers:
  - {name: conv, type: Conv2d, inputs: x, in_channels: 3, out_channels: 4, kernel_size: 3}
  - {name: bn, type: BatchNorm2d}
  - {name: relu, type: ReLU}
  - {name: mean, type: AdaptiveAvgPool2d, output_size: 1}
  - {name: flat, type: Flatten}
  - {name: fc, type: Linear, out_features: 3}
  - {name: unused, type: mul, inputs: y, other: 2}
outputs: {scores: fc, features: relu}
"""
SHAPES = {"x": (2, 3, 9, 8)}
QUICK = Effort(runs=3, warmup=1)


def netspec(*args: Any, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "netspec", "bench", *map(str, args)],
        cwd=cwd, capture_output=True, text=True, timeout=90, encoding="utf-8",
    )  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.yaml"
    path.write_text(NETWORK)
    return path


def test_the_command(file: Path) -> None:
    done = netspec(
        "net.yaml", "--input", "x=2,3,9,8", "--against", "onnxruntime", "--threads", 1, "--runs", 3,
        "--no-alone", "--format", "json", "--picture", "times.svg", cwd=file.parent,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert [r["name"] for r in found["runtimes"]] == ["netspec", "onnxruntime"]
    assert found["macs"] == 2 * (4 * 7 * 6 * 27 + 12)
    for runtime in found["runtimes"]:
        assert runtime["runs"] == 3
        assert 0 < runtime["min"] <= runtime["p50"] <= runtime["p90"] <= runtime["p99"]
        assert runtime["memory_bytes"] is None
        assert runtime["difference"] < 1e-5
    conv = next(layer for layer in found["layers"] if layer["name"] == "conv")
    assert set(conv["seconds"]) == {"netspec", "onnxruntime"}
    assert sum(layer["share"] for layer in found["layers"]) == pytest.approx(1)
    assert (file.parent / "times.svg").read_text().startswith("<svg")


def test_the_table(file: Path) -> None:
    done = netspec("net.yaml", "--input", "x=1,3,9,8", "--runs", 2, "--no-alone", cwd=file.parent)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("net: x [1, 3, 9, 8], float32, ")
    assert lines[4].startswith("netspec ")
    assert "ratio: " not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["net.yaml"], 1, "error: input x: give H and W a size, such as --input 1,3,64,64\n"),
        (["net.yaml", "--input", "x=1,4,9,8"], 1, "error: input x: axis 1 is 3 in [N, 3, H, W], got 4: [1, 4, 9, 8]\n"),
        (["net.yaml", "--input", "z=1"], 1, "error: --input z=1: the network has no input `z`\n"),
        (
            ["net.yaml", "--input", "x=1,3,9,8", "--against", "torsch"], 1,
            "error: --against torsch: no such runtime; did you mean `torch`?\n",
        ),
        (
            ["net.yaml", "--input", "x=1,3,9,8", "--picture", "a.png"], 1,
            "error: --picture: expected an .svg file, got a.png\n",
        ),
        (["gone.yaml"], 1, None),
    ],
)  # fmt: skip
def test_refusals(file: Path, arguments: list[str], code: int, message: str | None) -> None:
    done = netspec(*arguments, cwd=file.parent)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    assert message is None or done.stderr == message


def test_a_wrong_peer_is_not_timed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = onnxruntime_peer.makers

    def wrong(task: Any) -> dict[str, Any]:
        def make(maker: Any) -> Contender:
            real = maker()

            def call() -> Any:
                calls.append(1)
                return real.call()

            def read(result: Any) -> dict[str, Any]:
                return {name: array + np.float32(0.1) for name, array in real.read(result).items()}

            return Contender(real.name, real.version, real.setting, call, read)

        return {setting: lambda maker=maker: make(maker) for setting, maker in honest(task).items()}

    calls: list[int] = []
    monkeypatch.setattr(onnxruntime_peer, "makers", wrong)
    with pytest.raises(
        Disagreement, match=r"output scores: netspec and onnxruntime .* differ by .*not timed"
    ):
        bench(Problem(str(file), 1, SHAPES), ["onnxruntime"], QUICK, in_own_process=False)
    assert len(calls) == 1  # to compare, and no more


def test_everybody_gets_the_same_weights_and_inputs(file: Path) -> None:
    net, task = pose(Problem(str(file), 1, SHAPES))
    assert list(task.inputs) == ["x"]  # y is not needed
    assert net.random_weights == ()
    assert all(np.array_equal(task.arrays[k], a) for k, a in net.state_dict().items())
    again = pose(Problem(str(file), 1, SHAPES))[1]
    assert np.array_equal(task.inputs["x"], again.inputs["x"])


def test_every_setting_of_onnxruntime_gives_our_outputs(file: Path) -> None:
    net, task = pose(Problem(str(file), 2, SHAPES))
    expected = net.run(task.inputs)
    makers = onnxruntime_peer.makers(task)
    assert set(makers) == {"", "bound buffers", "threads sleep", "bound buffers, threads sleep"}
    for setting, maker in makers.items():
        contender = maker()
        assert contender.setting == setting
        for name, array in contender.outputs().items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "torch"])
def test_a_peer_that_is_not_installed(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(DeviceError, match=r"--against \w+: .*pip install"):
        peers.need(["torch" if missing == "torch" else "onnxruntime"])


def test_a_process_of_its_own(file: Path) -> None:
    job = {
        "problem": {"file": str(file), "threads": 1, "shapes": SHAPES},
        "contender": "onnxruntime",
        "setting": "bound buffers",
        "seconds": 0.0,
        "runs": 2,
    }
    answer = alone.ask(job)
    assert answer["minimum"] > 0
    if alone.STATUS.exists():
        assert answer["memory_bytes"] > 0
    assert alone.ask({**job, "contender": "nobody"}) == {"error": "KeyError: 'nobody'"}


def test_memory_is_that_of_weights_and_activations(tmp_path: Path) -> None:
    if not alone.STATUS.exists():
        pytest.skip("peak memory is read from Linux's /proc")
    file = tmp_path / "wide.yaml"
    file.write_text(
        "netspec: 1\ninputs: {x: [N, 4000]}\nlayers:\n  - {name: fc, type: Linear, out_features: 5000}\n"
    )
    job = {
        "problem": {"file": str(file), "threads": 1, "shapes": {"x": (1000, 4000)}},
        "contender": "netspec",
        "setting": "",
        "seconds": 0.0,
        "runs": 1,
    }
    answer = alone.ask(job)
    # 80 MB of weights, 16 of input, 20 of output, and copies of these two for the call; building needed more
    assert 116e6 <= answer["memory_bytes"] <= 200e6
