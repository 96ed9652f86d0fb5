"""Run profiles: those of runners/ work, every key has a consumer, wrong ones are shown with their place."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.backends.base import Context
from netspec.backends.numpy.backend import NumpyBackend
from netspec.runtime.profile import Engine, Profile, Service, read_profile

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "runners").glob("*.yaml"))
LENET = ROOT / "configs" / "lenet5.yaml"
SEVEN = ROOT / "configs" / "samples" / "seven.png"
NETWORK: dict[str, Any] = {
    "netspec": 1,
    "inputs": {"x": ["N", 2]},
    "layers": [{"name": "fc", "type": "Linear", "in_features": 2, "out_features": 3}],
}
WEIGHTS = {"fc.weight": np.arange(6, dtype="f4").reshape(3, 2), "fc.bias": np.ones(3, "f4")}


def load(runner: Any, **options: Any) -> netspec.Network:
    return netspec.load(NETWORK, weights=WEIGHTS, runner=runner, **options)


def run_cli(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "netspec", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


# --- the profiles of runners/ -----------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
class TestEveryProfile:
    def test_is_valid(self, path: Path) -> None:
        result = run_cli("validate", path)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{path}: valid run profile\n", "")

    def test_a_network_runs_under_it(self, path: Path, tmp_path: Path) -> None:
        if read_profile(path).engine.kind == "ray":
            pytest.skip("needs Ray: tests/engine/test_ray_engine.py runs it")
        if read_profile(path).device != "cpu":
            pytest.skip("needs a device: tests/backends/cupy/test_cupy_network.py runs it")
        output = tmp_path / "o.npy"
        result = run_cli("run", LENET, "--input", SEVEN, "--runner", path, "--output", output)
        assert result.returncode == 0, result.stderr
        probabilities = np.load(output)
        assert probabilities.dtype == read_profile(path).dtype
        assert probabilities.argmax() == 7

    def test_its_head_note_names_a_command(self, path: Path) -> None:
        assert f"--runner runners/{path.name}" in path.read_text(encoding="utf-8")


def test_cpu_profile_shows_every_key() -> None:
    """The first profile that people copy; keys of other machines and of the service have their own."""
    profile = read_profile(ROOT / "runners" / "cpu.yaml")
    assert profile.model_fields_set >= {"runner", *CONSUMED}


def test_exact_profile_is_exact() -> None:
    profile = read_profile(ROOT / "runners" / "exact.yaml")
    assert (profile.dtype, profile.precision) == ("float64", "highest")


def test_profiles_agree() -> None:
    from netspec.interop.pictures import read_picture

    picture = read_picture(SEVEN, (1, 1, 28, 28))
    here = [path for path in FILES if read_profile(path).device == "cpu"]
    answers = [netspec.load(LENET, runner=path)(picture) for path in here]
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], rtol=1e-4, atol=1e-6)


# --- every key has a consumer -----------------------------------------------------------------------


def uses_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A device that the machine does not have is refused, in Python and with exit code 3."""
    with pytest.raises(netspec.DeviceError):
        load({"runner": 1, "device": "cuda:99"})
    path = tmp_path / "gpu.yaml"
    path.write_text("runner: 1\ndevice: cuda:99\n", encoding="utf-8")
    result = run_cli("run", LENET, "--input", SEVEN, "--runner", path, "--output", tmp_path / "o.npy")
    assert result.returncode == 3
    assert "Traceback" not in result.stderr


def uses_dtype(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for dtype in ("float16", "float32", "float64"):
        net = load({"runner": 1, "dtype": dtype})
        assert {str(a.dtype) for a in net.state_dict().values()} == {dtype}
        assert net(np.ones((1, 2), "f4")).dtype == dtype


def uses_precision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kernels are told."""
    told: list[str] = []
    bind = NumpyBackend.bind

    def recorded(self: Any, operation: Any, inputs: Any, outputs: Any, context: Context) -> Any:
        told.append(context.precision)
        return bind(self, operation, inputs, outputs, context)

    monkeypatch.setattr(NumpyBackend, "bind", recorded)
    for precision in ("high", "highest"):
        told.clear()
        load({"runner": 1, "precision": precision})(np.ones((1, 2), "f4"))
        assert set(told) == {precision}


def uses_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kernels are told how many may share their work."""
    told: list[int] = []
    bind = NumpyBackend.bind

    def recorded(self: Any, operation: Any, inputs: Any, outputs: Any, context: Context) -> Any:
        told.append(context.lanes)
        return bind(self, operation, inputs, outputs, context)

    monkeypatch.setattr(NumpyBackend, "bind", recorded)
    for threads in (1, 3):
        told.clear()
        load({"runner": 1, "threads": threads})(np.ones((1, 2), "f4"))
        assert set(told) == {threads}


def uses_batch_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`netspec run` cuts the input: five rows are three calls."""
    from netspec.cli.app import app
    from netspec.runtime.network import Network

    rows = np.random.RandomState(0).random_sample((5, 1, 28, 28)).astype("f4")
    np.save(tmp_path / "images.npy", rows)
    profile = tmp_path / "two.yaml"
    calls: list[int] = []
    begin = Network.begin

    def recorded(self: Network, inputs: Mapping[str, Any], *args: Any, **options: Any) -> Any:
        calls.append(len(inputs["image"]))
        return begin(self, inputs, *args, **options)

    monkeypatch.setattr(Network, "begin", recorded)
    found = {}
    for text, expected in (("runner: 1\n", [5]), ("runner: 1\nbatch_size: 2\n", [2, 2, 1])):
        profile.write_text(text, encoding="utf-8")
        calls.clear()
        flags = ["--input", str(tmp_path / "images.npy"), "--output", str(tmp_path / "o.npy")]
        app(["run", str(LENET), *flags, "--runner", str(profile)], standalone_mode=False)
        assert calls == expected
        found[text] = np.load(tmp_path / "o.npy")
    one, other = found.values()
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def uses_switch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels are told."""
    told: list[bool] = []
    bind = NumpyBackend.bind

    def recorded(self: Any, operation: Any, inputs: Any, outputs: Any, context: Context) -> Any:
        told.append(getattr(context, name))
        return bind(self, operation, inputs, outputs, context)

    monkeypatch.setattr(NumpyBackend, "bind", recorded)
    for value in (True, False):
        told.clear()
        load({"runner": 1, name: value})(np.ones((1, 2), "f4"))
        assert set(told) == {value}


def uses_autotune(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uses_switch("autotune", monkeypatch)


def uses_jit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("numba")
    uses_switch("jit", monkeypatch)


CONSUMED: dict[str, Callable[[pytest.MonkeyPatch, Path], None]] = {
    "device": uses_device,
    "dtype": uses_dtype,
    "precision": uses_precision,
    "threads": uses_threads,
    "autotune": uses_autotune,
    "jit": uses_jit,
    "batch_size": uses_batch_size,
}
"""For each key of a profile: what shows that something reads it."""

ELSEWHERE = {
    "cuda": "tests/backends/cupy/test_cupy_network.py",
    "engine": "tests/engine",
    "service": "tests/service/test_profile_keys.py",
}
"""Keys that are mappings themselves: where the consumers of their keys are shown."""


def test_every_key_has_a_consumer_here() -> None:
    assert set(Profile.model_fields) - {"runner"} - ELSEWHERE.keys() == set(CONSUMED)


@pytest.mark.parametrize("key", CONSUMED)
def test_the_key_is_consumed(key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    CONSUMED[key](monkeypatch, tmp_path)


# --- flag beats profile beats default ---------------------------------------------------------------


def test_defaults_without_a_profile() -> None:
    net = load(None)
    assert (net.device, net.dtype, net.precision, net.threads, net.batch_size) == (
        "cpu", "float32", "high", None, None,
    )  # fmt: skip


def test_arguments_win_over_the_profile() -> None:
    runner = {"runner": 1, "device": "cuda:99", "dtype": "float64", "precision": "highest", "threads": 2}
    net = load(runner, device="cpu", dtype="float16", precision="high", threads=1)
    assert (net.device, net.dtype, net.precision, net.threads) == ("cpu", "float16", "high", 1)


def test_flags_win_over_the_profile(tmp_path: Path) -> None:
    output = tmp_path / "o.npy"
    flags = ["--dtype", "float32", "--output", str(output)]
    result = run_cli("run", LENET, "--input", SEVEN, "--runner", ROOT / "runners" / "exact.yaml", *flags)
    assert result.returncode == 0, result.stderr
    assert np.load(output).dtype == np.float32


# --- wrong profiles ---------------------------------------------------------------------------------

WRONG = {
    "unknown key": ("runner: 1\nthread: 2\n", "unknown-key", 2, 1),
    "wrong type": ("runner: 1\nthreads: two\n", "wrong-type", 2, 10),
    "a float for an integer": ("runner: 1\nbatch_size: 2.0\n", "wrong-type", 2, 13),
    "a boolean for an integer": ("runner: 1\nbatch_size: true\n", "wrong-type", 2, 13),
    "too small": ("runner: 1\nthreads: 0\n", "out-of-range", 2, 10),
    "unknown device": ("runner: 1\ndevice: gpu\n", "wrong-type", 2, 9),
    "bad device number": ("runner: 1\ndevice: cuda:-1\n", "wrong-type", 2, 9),
    "unknown dtype": ("runner: 1\ndtype: float23\n", None, 2, 8),
    "unknown precision": ("runner: 1\nprecision: hihg\n", None, 2, 12),
    "other version": ("runner: 2\n", "unknown-version", 1, 9),
    "version of another type": ("runner: true\n", "unknown-version", 1, 9),
    "duplicate key": ("runner: 1\nthreads: 1\nthreads: 2\n", "duplicate-key", 3, 1),
    "structure of a network": ("runner: 1\nweights: a.npz\n", "unknown-key", 2, 1),
    "engine as a word": ("runner: 1\nengine: ray\n", "wrong-type", 2, 9),
    "engine without a kind": ("runner: 1\nengine: {workers: 2}\n", "missing-key", 2, 10),
    "unknown engine": ("runner: 1\nengine: {kind: rai}\n", "unknown-value", 2, 16),
    "unknown key of the engine": ("runner: 1\nengine: {kind: ray, worker: 2}\n", "unknown-key", 2, 21),
    "workers here": ("runner: 1\nengine: {kind: local, workers: 2}\n", "conflicting-parameters", 2, 32),
    "service as a number": ("runner: 1\nservice: 8000\n", "wrong-type", 2, 10),
    "unknown key of the service": ("runner: 1\nservice:\n  prot: 1\n", "unknown-key", 3, 3),
    "port too large": ("runner: 1\nservice:\n  port: 70000\n", "out-of-range", 3, 9),
    "no batch": ("runner: 1\nservice:\n  max_batch: 0\n", "out-of-range", 3, 14),
    "delay as a text": ("runner: 1\nservice:\n  max_delay_ms: two\n", "wrong-type", 3, 17),
    "infinite delay": ("runner: 1\nservice:\n  max_delay_ms: .inf\n", "out-of-range", 3, 17),
    "no time": ("runner: 1\nservice:\n  timeout_seconds: 0\n", "out-of-range", 3, 20),
    "token in the profile": ("runner: 1\nservice:\n  token: abc\n", "unknown-key", 3, 3),
    "control as a number": ("runner: 1\nservice:\n  model_control: 1\n", "wrong-type", 3, 18),
}


@pytest.mark.parametrize(("text", "code", "line", "column"), WRONG.values(), ids=WRONG)
def test_a_wrong_profile_is_shown_with_its_place(
    text: str, code: str | None, line: int, column: int, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(netspec.SpecError) as error:
        read_profile(path)
    (found,) = error.value.diagnostics
    assert found.severity == "error"
    assert found.span is not None
    assert found.span.position == (line, column)
    if code is not None:
        assert found.code == code


@pytest.mark.parametrize(("part", "model"), [("engine", Engine), ("service", Service)])
def test_advice_inside_a_part(part: str, model: Any) -> None:
    """The nearest key, or all of them."""
    known = list(model.model_fields)
    kind = {"kind": "ray"} if part == "engine" else {}
    for key, expected in ((known[-1] + "s", f"did you mean `{known[-1]}`?"), ("zzz", ", ".join(known))):
        with pytest.raises(netspec.SpecError) as error:
            read_profile({"runner": 1, part: {**kind, key: 1}})
        (found,) = error.value.diagnostics
        assert found.message == f"`{part}` has no key `{key}`"
        assert expected in (found.help or "")


def test_the_contracts_profile_is_valid() -> None:
    """The sample that every user starts from, and the other engine."""
    service = {"host": "127.0.0.1", "port": 8000, "max_batch": 32, "max_delay_ms": 2, "max_queue": 256,
               "max_request_mb": 64, "drain_seconds": 10}  # fmt: skip
    profile = read_profile({"runner": 1, "engine": {"kind": "local"}, "service": service})
    assert (profile.engine, profile.service) == (Engine(kind="local"), Service())
    ray = read_profile({"runner": 1, "engine": {"kind": "ray", "address": "auto", "workers": 4}}).engine
    assert (ray.kind, ray.address, ray.workers) == ("ray", "auto", 4)


def test_the_token_file_lies_beside_the_profile(tmp_path: Path) -> None:
    path = tmp_path / "service.yaml"
    path.write_text("runner: 1\nservice: {token_file: secret.txt}\n", encoding="utf-8")
    assert read_profile(path).service.token_file == str(tmp_path / "secret.txt")
    path.write_text("runner: 1\nservice: {token_file: /run/secret}\n", encoding="utf-8")
    assert read_profile(path).service.token_file == "/run/secret"


def test_the_schema_documents_every_key_of_the_parts() -> None:
    from netspec.runtime.schema import profile_schema

    properties = profile_schema()["properties"]
    for part, model in (("engine", Engine), ("service", Service)):
        inner = properties[part]["properties"]
        assert set(inner) == set(model.model_fields)
        assert all(key["markdownDescription"] for key in inner.values())
        assert properties[part]["additionalProperties"] is False


def test_all_errors_at_once_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("runner: 1\ndevise: cpu\nprecision: hihg\nthreads: 0\n", encoding="utf-8")
    result = run_cli("validate", path, "--format", "json")
    assert result.returncode == 1
    (file,) = json.loads(result.stdout)["files"]
    places = {d["path"]: d["range"]["start"] for d in file["diagnostics"]}
    assert places == {
        "devise": {"line": 2, "column": 1},
        "precision": {"line": 3, "column": 12},
        "threads": {"line": 4, "column": 10},
    }
    text = run_cli("validate", path).stderr
    assert f"{path}:2:1" in text
    assert "device" in text
    assert "high" in text


def test_the_version_is_required(tmp_path: Path) -> None:
    with pytest.raises(netspec.SpecError) as error:
        read_profile({"device": "cpu"})
    assert [d.code for d in error.value.diagnostics] == ["missing-key"]


def test_run_with_a_wrong_profile_exits_with_1(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("runner: 1\nthreads: 0\n", encoding="utf-8")
    result = run_cli("run", LENET, "--input", SEVEN, "--runner", path, "--output", tmp_path / "o.npy")
    assert result.returncode == 1
    assert f"{path}:2:10" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_profile_exits_with_1(tmp_path: Path) -> None:
    result = run_cli("run", LENET, "--input", SEVEN, "--runner", tmp_path / "none.yaml")
    assert result.returncode == 1
    assert "none.yaml" in result.stderr
    assert "Traceback" not in result.stderr
