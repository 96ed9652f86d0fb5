"""What waits for what: everything on a device that is as late as it may be (late.py)."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.backends.cupy import session as sessions
from netspec.backends.cupy.backend import CupyBackend
from tests.backends.cupy.late import LateDevice, cuda_is_late

pytestmark = pytest.mark.compiler
CONFIGS = Path(__file__).resolve().parents[3] / "configs"
LENET = CONFIGS / "lenet5.yaml"


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[LateDevice]:
    with cuda_is_late(monkeypatch) as device:
        yield device
    device.check_fences()


def images(seed: int, count: int = 2) -> np.ndarray:
    return np.random.RandomState(seed).random_sample((count, 1, 28, 28)).astype("f4")


@pytest.fixture(scope="module")
def expected() -> list[np.ndarray]:
    net = netspec.load(LENET)
    return [net(images(seed)) for seed in range(6)]


def near(found: Any, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_late_work_is_seen_to_be_late(device: LateDevice) -> None:
    """The stand-in itself: what nobody waited for has not been done."""
    backend = CupyBackend(device)
    x = backend.asarray(np.ones(8, "f4"))
    with device.stream() as stream:
        y = device.empty((8,), np.float32)
        device.copy(y.data.ptr, x.data.ptr, x.nbytes, 3)
    assert np.isnan(backend.to_numpy(y)).all()
    stream.synchronize()
    assert (backend.to_numpy(y) == 1).all()


def test_calls_one_after_the_other(device: LateDevice, expected: list[np.ndarray]) -> None:
    net = netspec.load(LENET, device="cuda")
    for seed in range(6):
        near(net(images(seed)), expected[seed])


def test_calls_ahead_of_results(device: LateDevice, expected: list[np.ndarray]) -> None:
    net = netspec.load(LENET, device="cuda")
    for _ in range(2):
        given = images(0)
        calls = []
        for seed in range(6):
            given[...] = images(seed)
            calls.append(net.begin({"image": given}, net.wanted()))
        given[...] = np.nan
        for seed in (3, 0, 5, 1, 2, 4):
            near(calls[seed].result()["probabilities"], expected[seed])


def test_calls_from_threads(device: LateDevice, expected: list[np.ndarray]) -> None:
    net = netspec.load(LENET, device="cuda")
    wrong: list[str] = []

    def work(seed: int) -> None:
        try:
            for _ in range(4):
                near(net(images(seed)), expected[seed])
        except AssertionError as error:
            wrong.append(str(error))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]


def test_arrays_of_the_device_are_read_before_the_caller_changes_them(
    device: LateDevice, expected: list[np.ndarray]
) -> None:
    """The inputs of `begin` may be changed or dropped when it returns, on the stream of the caller."""
    net, backend = netspec.load(LENET, device="cuda"), CupyBackend(device)
    for seed in range(3):
        with device.stream():
            given = backend.asarray(images(seed))
            call = net.begin({"image": given}, net.wanted())
            del given
            other = backend.asarray(np.full_like(images(0), np.nan))  # in the same memory
            near(backend.to_numpy(call.result()["probabilities"]), expected[seed])
        del other


def test_arrays_of_the_device_are_read_when_they_are_whole(device: LateDevice) -> None:
    """And results do not lie where the caller's own work still writes."""
    net, backend = netspec.load(RELU, device="cuda"), CupyBackend(device)
    source = backend.asarray(np.arange(-4, 4, dtype="f4"))
    for _ in range(3):
        with device.stream():
            given = device.empty((8,), np.float32)
            device.empty((8,), np.float32)  # whose memory the result will have
            device.copy(given.data.ptr, source.data.ptr, source.nbytes, 3)
            found = net(given)
            np.testing.assert_array_equal(backend.to_numpy(found), np.maximum(np.arange(-4, 4), 0))
        del found


def test_memory_of_calls_that_nobody_waited_for(device: LateDevice) -> None:
    """Page-locked memory and streams go to other calls at once."""
    net = netspec.load(RELU, device="cuda")
    for seed in range(4):
        first, second = np.random.RandomState(seed).standard_normal((2, 8)).astype("f4")
        net.begin({"x": np.full(8, 7, "f4")}, net.wanted())
        gc.collect()
        longer = net.begin({"x": np.ones(16, "f4")}, net.wanted())  # on the stream of the lost call
        calls = [net.begin({"x": x}, net.wanted()) for x in (first, second)]  # in its page-locked memory
        assert (longer.result()["relu"] == 1).all()
        for call, x in zip(calls, (first, second), strict=True):
            np.testing.assert_array_equal(call.result()["relu"], np.maximum(x, 0))
        del longer, calls, call
    assert device.made < 8  # streams


def test_weights_outlive_the_calls_that_read_them(device: LateDevice, expected: list[np.ndarray]) -> None:
    net = netspec.load(LENET, device="cuda")
    weights = net.state_dict()
    for seed in range(2):
        call = net.begin({"image": images(seed)}, net.wanted())
        net.load_state_dict({name: np.full_like(array, np.nan) for name, array in weights.items()})
        near(call.result()["probabilities"], expected[seed])
        net.load_state_dict(weights)


RELU = {"netspec": 1, "inputs": {"x": ["N"]}, "layers": [{"name": "relu", "type": "ReLU"}]}

FOLDED = {
    "netspec": 1,
    "inputs": {"x": ["N", 3, 6, 6]},
    "layers": [
        layer
        for number in range(3)
        for layer in (
            {"name": f"conv{number}", "type": "Conv2d", "out_channels": 18, "kernel_size": 3, "padding": 1},
            {"name": f"bn{number}", "type": "BatchNorm2d"},
            {"type": "Upsample", "scale_factor": 1.5, "mode": "bilinear"},
        )
    ],
}
"""Weights that are folded while binding, and tables that are sent meanwhile."""


@pytest.mark.parametrize("precision", ["high", "highest"])
def test_what_is_set_up_and_what_is_sent_while_binding(precision: str, device: LateDevice) -> None:
    net = netspec.load(FOLDED, device="cuda", precision=precision)
    x = np.random.RandomState(0).standard_normal((2, 3, 6, 6)).astype("f4")
    for _ in range(3):
        np.testing.assert_allclose(net(x), netspec.load(FOLDED)(x), rtol=1e-4, atol=1e-5)


def test_what_was_prepared_in_vain_is_whole(device: LateDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights brought into a form by an executor that failed are read by the next one."""
    mapping = {
        "netspec": 1,
        "inputs": {"x": ["N", 8, 6, 6]},
        "layers": [{"type": "Conv2d", "out_channels": 32, "kernel_size": 3}],
    }
    net = netspec.load(mapping, device="cuda")
    x = np.random.RandomState(0).standard_normal((2, 8, 6, 6)).astype("f4")

    def nothing_left(*_: Any) -> None:
        raise MemoryError("none left")

    outgoing = sessions.CupySession.outgoing
    monkeypatch.setattr(sessions.CupySession, "outgoing", nothing_left)
    with pytest.raises(netspec.DeviceError) as caught:
        net(x)
    monkeypatch.setattr(sessions.CupySession, "outgoing", outgoing)
    assert net._model.prepared
    assert "none left" in str(caught.value)  # which holds on to all that failed
    np.testing.assert_allclose(net(x), netspec.load(mapping)(x), rtol=1e-4, atol=1e-5)


def test_running_statistics_follow_one_another(device: LateDevice) -> None:
    mapping = {"netspec": 1, "inputs": {"x": ["N", 3, 4]}, "layers": [{"name": "bn", "type": "BatchNorm1d"}]}
    nets = [netspec.load(mapping, device=name, mode="train") for name in ("cuda", "cpu")]
    for seed in range(4):
        x = np.random.RandomState(seed).standard_normal((5, 3, 4)).astype("f4")
        near(*(net(x) for net in nets))
    for key in ("bn.running_mean", "bn.running_var"):
        np.testing.assert_allclose(*(net.state_dict()[key] for net in nets), rtol=1e-5)


def test_refused_values_are_forgotten_after_they_were_told(device: LateDevice) -> None:
    mapping = {
        "netspec": 1,
        "inputs": {"x": ["N", 3], "t": ["N", 3]},
        "layers": [{"name": "loss", "type": "BCELoss", "inputs": ["x", "t"]}],
    }
    net = netspec.load(mapping, device="cuda")
    good = np.full((2, 3), 0.25, "f4")
    for _ in range(3):
        with pytest.raises(netspec.InputError, match="loss"):
            net(good + 1, good)
        near(net(good, good), netspec.load(mapping)(good, good))


def test_batches_while_others_are_computed(device: LateDevice, expected: list[np.ndarray]) -> None:
    from netspec.runtime.batches import batch_ranges, run_batches

    net = netspec.load(LENET, device="cuda")
    x = np.concatenate([images(seed) for seed in range(6)])
    ranges = batch_ranges(net, {"image": x}, net.wanted(), 2)
    found, _ = run_batches(net, {"image": x}, net.wanted(), ranges, None, lambda: None)
    near(found["probabilities"], np.concatenate(expected))


@pytest.mark.parametrize("name", ["autoencoder", "segmentation", "siamese", "mtcnn_rnet"])
def test_networks(name: str, device: LateDevice) -> None:
    path = CONFIGS / f"{name}.yaml"
    net, cpu = netspec.load(path, device="cuda", seed=1), netspec.load(path, seed=1)
    inputs = {}
    for key, spec in net.spec.inputs.items():
        sizes = [{"N": 2, "H": 32, "W": 32}.get(d, 2) if isinstance(d, str) else d for d in spec.shape]
        inputs[key] = np.random.RandomState(0).random_sample(sizes).astype(spec.dtype)
    wanted = cpu.run(inputs)
    for _ in range(3):
        for key, array in net.run(inputs).items():
            scale = max(1e-3, float(np.abs(wanted[key]).max()))
            np.testing.assert_allclose(array / scale, wanted[key] / scale, rtol=0, atol=2e-4)
