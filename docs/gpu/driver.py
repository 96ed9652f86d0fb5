"""What only a device does: streams, threads, its own arrays, limits of memory, values that kernels refuse.

Part of `gpu_report.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import netspec
from docs.gpu.checks import Check, Finding, Place, Wrong, excess, relative
from docs.gpu.child import summary
from docs.gpu.networks import KINDS, SAME_CHOICES, exact_outputs, inputs_for, load_network
from netspec.runtime.network import Network

DRIVER = "the device: threads, calls ahead, its arrays, limits"
"""The line of the table."""


def _lenet(place: Place, **options: Any) -> tuple[Network, Any, Any]:
    """LeNet, two pictures, what it gives for them on the CPU."""
    net = load_network("lenet5", place, precision="highest", **options)
    x = inputs_for(net, "lenet5")["image"]
    return net, x, exact_outputs("lenet5")["probabilities"]


def _need(good: bool, said: str) -> None:
    if not good:
        raise Wrong(said)


def _near(found: Any, expected: Any) -> bool:
    return excess(found, expected, 1e-5, False) <= 1


def threads(place: Place) -> None:
    """Calls from four threads."""
    net, x, _ = _lenet(place)
    inputs = [np.roll(x, shift, -1) for shift in range(4)]
    expected = [net(each) for each in inputs]
    wrong: list[str] = []

    def work(number: int) -> None:
        try:
            for _ in range(10):
                if not np.array_equal(net(inputs[number]), expected[number]):
                    wrong.append("other values")
        except Exception as error:
            wrong.append(summary(error))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    _need(not wrong, wrong[0] if wrong else "")


def ahead(place: Place) -> None:
    """Calls that are begun before the last one's result is taken, from one array that changes."""
    net, x, _ = _lenet(place)
    inputs = [np.roll(x, shift, -1) for shift in range(6)]
    expected = [net(each) for each in inputs]
    given = x.copy()
    pending = []
    for each in inputs:
        given[...] = each
        pending.append(net.begin({"image": given}, net.wanted()))
    given[...] = np.nan
    for call, wanted in zip(pending, expected, strict=True):
        _need(np.array_equal(call.result()["probabilities"], wanted), "other values")


def on_device(place: Place) -> None:
    """CuPy arrays in and out, on a stream of the caller's own; results are safe to keep."""
    from netspec.backends.cupy.backend import CupyBackend

    net, x, expected = _lenet(place)
    backend: CupyBackend = net._backend  # type: ignore[assignment]
    with backend.device.current(), backend.device.stream():
        given = backend.asarray(x)
        first = net(given)
        kept = [net(given) for _ in range(4)]
        other = net(backend.asarray(np.zeros_like(x)))
    _need(type(first) is backend.device.cupy.ndarray, f"a {type(first).__name__} came back")
    _need(_near(backend.to_numpy(first), expected), "other values than the CPU")
    for each in kept:
        _need(
            np.array_equal(backend.to_numpy(each), backend.to_numpy(first)), "a later call changed a result"
        )
    _need(not np.array_equal(backend.to_numpy(other), backend.to_numpy(first)), "the inputs were not read")


def shapes(place: Place) -> None:
    """A graph for each shape."""
    net, x, expected = _lenet(place)
    for count in (3, 1, 3, 2, 1, 3, 2, 1):
        _need(_near(net(x[:count]), expected[:count]), f"other values for {count} pictures")


def no_graphs(place: Place) -> None:
    """Without graphs."""
    net, x, expected = _lenet(place, cuda={"graphs": False})
    for _ in range(3):
        _need(_near(net(x), expected), "other values")


def autotune(place: Place) -> None:
    """Convolutions whose form was measured."""
    for name in ("lenet5", "mtcnn_rnet"):
        for kind, (options, allowed) in KINDS.items():
            net = load_network(name, place, autotune=True, **options)
            inputs = inputs_for(net, name)
            for _ in range(2):
                apart = relative(net.run(inputs), exact_outputs(name), SAME_CHOICES)
                _need(apart <= allowed, f"{name} {kind} differs by {apart:.2g}")


def limit(place: Place) -> None:
    """A limit of memory is kept to, and what does not fit is refused in words."""
    net, x, expected = _lenet(place, cuda={"memory_limit_mb": 4})
    _need(_near(net(x), expected), "other values")
    held = net._backend.held_bytes() or 0
    _need(0 < held <= 4 << 20, f"{held} bytes are held, of at most 4 MiB")
    try:
        net(np.zeros((4000, 1, 28, 28), np.float32))
    except netspec.DeviceError:
        _need(_near(net(x), expected), "other values after a refusal")
        return
    raise Wrong("4000 pictures in 4 MiB were not refused")


def refusal(place: Place) -> None:
    """A value that a kernel refuses is said with its layer, and the next call is fine."""
    mapping = {
        "netspec": 1,
        "inputs": {"x": ["N", 3], "t": ["N", 3]},
        "layers": [{"name": "loss", "type": "BCELoss", "inputs": ["x", "t"]}],
    }
    net = netspec.load(mapping, device=place.name)
    good = np.full((2, 3), 0.25, np.float32)
    expected = netspec.load(mapping)(good, good)
    for _ in range(3):
        try:
            net(good + 1, good)
        except netspec.InputError as error:
            _need("loss" in str(error), f"without the layer's name: {error}")
        else:
            raise Wrong("was not refused")
        _need(_near(net(good, good), expected), "other values after a refusal")


def weights(place: Place) -> None:
    """Weights are read, assigned and moved between devices."""
    net, x, expected = _lenet(place)
    net(x)
    net["conv1"].weight = net["conv1"].weight * 2
    _need(not _near(net(x), expected), "an assigned weight was not read")
    net["conv1"].weight = net["conv1"].weight / 2
    _need(_near(net(x), expected), "other values")
    _need(_near(net.to("cpu")(x), expected), "other values on the CPU")
    _need(_near(net.to(place.name)(x), expected), "other values back on the device")


DEVICE: dict[str, Callable[[Place], None]] = {
    "calls from threads": threads,
    "calls ahead of results": ahead,
    "arrays of the device": on_device,
    "several shapes": shapes,
    "without graphs": no_graphs,
    "autotuned": autotune,
    "limit of memory": limit,
    "refused values": refusal,
    "weights": weights,
}


def device(check: Check, place: Place) -> Iterator[Finding]:
    DEVICE[check.name](place)
    yield Finding(DRIVER)
