"""Whole networks on the CUDA backend: what surrounds the kernels, and the networks of configs/ against the CPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.backends.cupy import session as sessions
from netspec.backends.cupy.backend import CupyBackend
from tests.backends.cupy.host import HostDevice, HostLibrary, cuda_is_host
from tests.program.test_passes import random_network

pytestmark = pytest.mark.compiler
ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / "configs"
LENET = CONFIGS / "lenet5.yaml"


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostDevice]:
    with cuda_is_host(monkeypatch) as device:
        yield device
    device.check_fences()


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).random_sample((count, 1, 28, 28)).astype("f4")


# --- running ----------------------------------------------------------------------------------------


def test_lenet_reads_digits_as_the_cpu_does(device: HostDevice) -> None:
    net, cpu = netspec.load(LENET, device="cuda"), netspec.load(LENET)
    for seed in range(3):
        x = images(4, seed)
        np.testing.assert_allclose(net(x), cpu(x), rtol=1e-4, atol=1e-6)


def test_one_graph_for_each_shape_from_the_second_call_on(device: HostDevice) -> None:
    net = netspec.load(LENET, device="cuda")
    found = [net(images(n)) for n in (2, 2, 3, 2, 3, 3)]
    assert (device.graphs, device.replays) == (2, 4)
    np.testing.assert_array_equal(found[0], found[3])
    np.testing.assert_array_equal(found[2], found[5])


def test_graphs_can_be_turned_off(device: HostDevice) -> None:
    net = netspec.load(LENET, device="cuda", cuda={"graphs": False})
    for _ in range(3):
        net(images(2))
    assert device.graphs == 0


def test_arrays_stay_on_the_device_between_layers(device: HostDevice) -> None:
    """One copy in, one out, however many layers."""
    net = netspec.load(LENET, device="cuda")
    net(images(2))
    before = device.copied
    net(images(2))
    assert device.copied - before == 2


def test_taps_and_several_outputs(device: HostDevice) -> None:
    net, cpu = netspec.load(LENET, device="cuda"), netspec.load(LENET)
    taps = [child.name for child in net.children()][:4]
    found, expected = net.run({"image": images(2)}, taps=taps), cpu.run({"image": images(2)}, taps=taps)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert type(found[name]) is np.ndarray
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)


def test_cupy_in_cupy_out(device: HostDevice) -> None:
    import cupy

    net, cpu = netspec.load(LENET, device="cuda"), netspec.load(LENET)
    x = CupyBackend(device).asarray(images(2))
    for _ in range(2):
        y = net(x)
        assert isinstance(y, cupy.ndarray)
        np.testing.assert_allclose(CupyBackend(device).to_numpy(y), cpu(images(2)), rtol=1e-4, atol=1e-6)
    assert y.data.ptr != net(x).data.ptr  # safe to keep


def test_results_are_safe_to_keep(device: HostDevice) -> None:
    net = netspec.load(LENET, device="cuda")
    first = net(images(2, 0))
    kept = first.copy()
    net(images(2, 1))
    np.testing.assert_array_equal(first, kept)


def test_inputs_may_be_changed_once_a_call_has_begun(device: HostDevice) -> None:
    net = netspec.load(LENET, device="cuda")
    x = images(2)
    expected = net(x)
    call = net.begin({"image": x}, net.wanted())
    x[...] = 0
    np.testing.assert_array_equal(call.result()["probabilities"], expected)
    assert call.result() is call.result()


def test_calls_from_threads(device: HostDevice) -> None:
    net = netspec.load(LENET, device="cuda")
    expected = [net(images(2, seed)) for seed in range(4)]
    wrong: list[int] = []

    def work(seed: int) -> None:
        for _ in range(5):
            if not np.array_equal(net(images(2, seed)), expected[seed]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_next_batch_is_sent_before_the_last_one_is_taken(
    device: HostDevice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from netspec.runtime.batches import batch_ranges, run_batches

    events: list[str] = []
    start, results = sessions.CupySession.start, sessions.CupySession.results
    monkeypatch.setattr(
        sessions.CupySession, "start", lambda *a, **k: (events.append("start"), start(*a, **k))[1]
    )
    monkeypatch.setattr(
        sessions.CupySession, "results", lambda *a: (events.append("results"), results(*a))[1]
    )
    net, x = netspec.load(LENET, device="cuda"), images(10)
    wanted = net.wanted()
    ranges = batch_ranges(net, {"image": x}, wanted, 2)
    found, _ = run_batches(net, {"image": x}, wanted, ranges, None, lambda: None)
    assert events == ["start", "start", *["results", "start"] * 3, "results", "results"]
    np.testing.assert_allclose(found["probabilities"], netspec.load(LENET)(x), rtol=1e-4, atol=1e-6)


def test_what_a_layer_refuses_is_said_with_its_name_and_the_next_call_is_fine(device: HostDevice) -> None:
    mapping = {
        "netspec": 1,
        "inputs": {"x": ["N", 3], "t": ["N", 3]},
        "layers": [{"name": "loss", "type": "BCELoss", "inputs": ["x", "t"]}],
    }
    net, cpu = netspec.load(mapping, device="cuda"), netspec.load(mapping)
    good = np.full((2, 3), 0.25, "f4")
    for _ in range(3):
        with pytest.raises(netspec.InputError) as caught:
            net(good + 1, good)
        with pytest.raises(netspec.InputError) as expected:
            cpu(good + 1, good)
        assert str(caught.value) == str(expected.value)
        np.testing.assert_allclose(net(good, good), cpu(good, good), rtol=1e-5)


# --- weights and edits ------------------------------------------------------------------------------


def test_to_moves_a_network_and_back(device: HostDevice) -> None:
    net = netspec.load(LENET)
    x = images(2)
    expected = net(x)
    assert net.to("cuda").device == "cuda"
    np.testing.assert_allclose(net(x), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(net.to("cpu")(x), expected)


def test_weights_are_read_assigned_and_replaced(device: HostDevice) -> None:
    net = netspec.load(LENET, device="cuda")
    names = [child.name for child in net.children() if child.parameters()]
    layer = net[names[-1]]
    weight = layer.weight
    assert type(weight) is np.ndarray
    before = net(images(2))
    layer.weight = weight * 2
    assert not np.array_equal(net(images(2)), before)
    layer.weight = weight
    np.testing.assert_array_equal(net(images(2)), before)
    cpu = netspec.load(LENET, weights=net.state_dict())
    np.testing.assert_allclose(cpu(images(2)), before, rtol=1e-4, atol=1e-6)
    first = net[names[0]](images(2))
    np.testing.assert_allclose(first, cpu[names[0]](images(2)), rtol=1e-4, atol=1e-5)


def test_running_statistics_are_kept_on_the_device(device: HostDevice) -> None:
    mapping = {"netspec": 1, "inputs": {"x": ["N", 3, 4]}, "layers": [{"name": "bn", "type": "BatchNorm1d"}]}
    nets = [netspec.load(mapping, device=name, mode="train") for name in ("cuda", "cpu")]
    for seed in range(3):
        x = np.random.RandomState(seed).standard_normal((5, 3, 4)).astype("f4")
        found = [net(x) for net in nets]
        np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)
    for key in ("bn.running_mean", "bn.running_var", "bn.num_batches_tracked"):
        np.testing.assert_allclose(*(net.state_dict()[key] for net in nets), rtol=1e-5)


def test_dropout_draws_anew_in_each_call(device: HostDevice) -> None:
    mapping = {"netspec": 1, "inputs": {"x": ["N"]}, "layers": [{"type": "Dropout", "p": 0.5}]}
    net = netspec.load(mapping, device="cuda", mode="train", seed=3)
    found = [net(np.ones(1000, "f4")) for _ in range(4)]
    assert all(0.4 < (y != 0).mean() < 0.6 for y in found)
    assert len({y.tobytes() for y in found}) == 4
    again = netspec.load(mapping, device="cuda", mode="train", seed=3)
    np.testing.assert_array_equal(again(np.ones(1000, "f4")), found[0])


# --- the profile's key `cuda` -------------------------------------------------------------------------


def test_the_key_graphs_is_consumed(device: HostDevice) -> None:
    for graphs in (True, False):
        device.graphs = 0
        net = netspec.load(LENET, runner={"runner": 1, "device": "cuda", "cuda": {"graphs": graphs}})
        for _ in range(2):
            net(images(1))
        assert device.graphs == int(graphs)


def test_the_key_deterministic_is_consumed(device: HostDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN is told; nothing else here has kernels that differ."""
    asked: list[bool] = []

    class Library:
        def plan(self, problem: Any, measure: Any) -> None:
            asked.append(problem.deterministic)

    monkeypatch.setattr(HostDevice, "cudnn", Library())
    mapping = {
        "netspec": 1,
        "inputs": {"x": ["N", 32, 5, 5]},
        "layers": [{"type": "Conv2d", "out_channels": 32, "kernel_size": 3}],
    }
    for value in (True, False):
        asked.clear()
        net = netspec.load(mapping, runner={"runner": 1, "device": "cuda", "cuda": {"deterministic": value}})
        net(np.ones((1, 32, 5, 5), "f4"))
        assert set(asked) == {value}


def test_the_key_memory_limit_mb_is_consumed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int | None] = []

    def open_host(index: int, limit: int | None) -> HostDevice:
        opened.append(limit)
        return HostDevice(limit)

    monkeypatch.setattr("netspec.backends.cupy.device.opened", open_host)
    netspec.load(LENET, runner={"runner": 1, "device": "cuda", "cuda": {"memory_limit_mb": 100}})(images(1))
    with pytest.raises(
        netspec.DeviceError, match=r"the network's parameters need .* the cuda device has .* available"
    ):
        netspec.load(LENET, runner={"runner": 1, "device": "cuda", "cuda": {"memory_limit_mb": 0.1}})
    net = netspec.load(LENET, runner={"runner": 1, "device": "cuda", "cuda": {"memory_limit_mb": 1}})
    with pytest.raises(netspec.DeviceError, match="the network's activations need"):
        net(images(1000))
    assert opened == [100 << 20, 104857, 1 << 20]


def test_the_profile_of_runners_runs(
    device: HostDevice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from netspec.cli.app import app

    for index in range(5):
        np.save(tmp_path / f"{index}.npy", images(30, index))
    flags = ["--input", str(tmp_path / "*.npy"), "--output", str(tmp_path / "o.npz"), "--tap", "conv1"]
    app(["run", str(LENET), *flags, "--runner", str(ROOT / "runners" / "cuda.yaml")], standalone_mode=False)
    assert "probabilities" in capsys.readouterr().out
    with np.load(tmp_path / "o.npz") as found:
        x = np.concatenate([images(30, index) for index in range(5)])
        expected = netspec.load(LENET).run({"image": x}, taps=["conv1"])
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-4)


# --- the networks of configs/ -----------------------------------------------------------------------

SMALL = ("lenet5", "autoencoder", "segmentation", "audio1d", "siamese", "mtcnn_pnet", "mtcnn_rnet", "m5_audio",
         "crepe_tiny")  # fmt: skip
"""Networks that this machine computes by naive loops in a few seconds."""


@pytest.mark.parametrize("library", [False, True])
@pytest.mark.parametrize("precision", ["high", "highest"])
@pytest.mark.parametrize("name", SMALL)
def test_the_networks_of_configs(
    name: str, precision: str, library: bool, device: HostDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Channels-last (high) and channels-first (highest), with what takes cuDNN's part and without it."""
    if library:
        monkeypatch.setattr(HostDevice, "cudnn", property(HostLibrary))
    path = CONFIGS / f"{name}.yaml"
    cpu = netspec.load(path, precision="highest", dtype="float64", seed=1)
    net = netspec.load(path, device="cuda", precision=precision, seed=1)
    inputs = {}
    rng = np.random.RandomState(0)
    for key, spec in net.spec.inputs.items():
        sizes = [
            {"N": 2, "H": 32, "W": 32, "L": 16000}.get(d, 2) if isinstance(d, str) else d for d in spec.shape
        ]
        values = rng.random_sample(sizes) if spec.dtype == "float32" else rng.randint(0, 2, sizes)
        inputs[key] = values.astype(spec.dtype)
    expected = cpu.run({k: v.astype("f8") if v.dtype == np.float32 else v for k, v in inputs.items()})
    for _ in range(2):
        for key, array in net.run(inputs).items():
            scale = max(1e-3, float(np.abs(expected[key]).max()))
            np.testing.assert_allclose(array / scale, expected[key] / scale, rtol=0, atol=2e-4)


@pytest.mark.parametrize("seed", range(24))
def test_random_networks(seed: int, device: HostDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wired at random: sums, concatenations in place, normalisations folded, several outputs."""
    if seed % 2:
        monkeypatch.setattr(HostDevice, "cudnn", property(HostLibrary))
    layers, outputs = random_network(seed)
    mapping = {"netspec": 1, "inputs": {"x": [2, 4, 12, 12]}, "layers": layers, "outputs": outputs}
    cpu = netspec.load(mapping, precision="highest", seed=seed)
    net = netspec.load(mapping, device="cuda", precision=("high", "highest")[seed // 2 % 2], seed=seed)
    x = np.random.RandomState(seed).standard_normal((2, 4, 12, 12)).astype("f4")
    expected = cpu.run({"x": x})
    for _ in range(3):
        for name, array in net.run({"x": x}).items():
            scale = max(1.0, float(np.abs(expected[name]).max()))
            np.testing.assert_allclose(array / scale, expected[name] / scale, rtol=0, atol=1e-4)


# --- float16 and bfloat16 ---------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 4e-3), ("bfloat16", 3e-2)])
@pytest.mark.parametrize("name", ["lenet5", "segmentation", "mtcnn_rnet"])
def test_half_types(name: str, dtype: str, tolerance: float, device: HostDevice) -> None:
    path = CONFIGS / f"{name}.yaml"
    net, cpu = netspec.load(path, device="cuda", dtype=dtype, seed=1), netspec.load(path, seed=1)
    spec = next(iter(net.spec.inputs.values()))
    sizes = [{"N": 2, "H": 32, "W": 32}.get(d, 2) if isinstance(d, str) else d for d in spec.shape]
    x = np.random.RandomState(0).random_sample(sizes).astype("f4")
    expected = cpu.run({next(iter(net.spec.inputs)): x})
    for _ in range(2):
        for key, array in net.run({next(iter(net.spec.inputs)): x}).items():
            if array.dtype == np.int64:  # classes
                assert (array == expected[key]).mean() > 0.99
                continue
            assert array.dtype == ("float16" if dtype == "float16" else "float32")
            scale = max(1e-3, float(np.abs(expected[key]).max()))
            np.testing.assert_allclose(array / scale, expected[key] / scale, rtol=0, atol=tolerance)


def test_bfloat16_keeps_everything_in_between_narrow(device: HostDevice) -> None:
    net = netspec.load(LENET, device="cuda", dtype="bfloat16")
    net(images(1))
    (prepared,) = net._model.programs.values()
    program = prepared.program
    inside = {v for step in program.steps for v in step.outputs} - set(program.outputs.values())
    assert {program.values[v].dtype for v in inside} == {"bfloat16"}
    assert {str(a.dtype) for a in net.state_dict().values()} == {"float32"}
    assert "bfloat16" in repr(net)


def test_bfloat16_is_for_cuda() -> None:
    with pytest.raises(netspec.DeviceError, match="dtype bfloat16 runs on CUDA devices alone"):
        netspec.load(LENET, dtype="bfloat16")
