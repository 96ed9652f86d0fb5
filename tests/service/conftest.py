"""One service for the tests that only ask."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from netspec.runtime.network import Network
from tests.service.running import LENET, PATIENCE, SIAMESE, Running, serving, write_network

KINDS: dict[str, Any] = {
    "inputs": {
        "flag": {"shape": ["N", 3], "dtype": "bool"},
        "index": {"shape": ["N", 1, 3], "dtype": "int64"},
        "byte": {"shape": ["N", 3], "dtype": "uint8"},
        "number": ["N", 1, 3],
    },
    "layers": [
        {"name": "placed", "type": "MaxUnpool1d", "kernel_size": 2, "inputs": ["number", "index"]},
        {"name": "sum", "type": "add", "inputs": ["flag", "byte"]},
        {"name": "twice", "type": "mul", "inputs": "number", "other": 2},
    ],
    "outputs": ["placed", "sum", "twice"],
}
"""A network with an input of every kind of number."""
MEAN: dict[str, Any] = {
    "inputs": {"x": ["N", 2]},
    "layers": [{"name": "mean", "type": "mean", "dim": 0, "keepdim": True}],
}
"""A network whose rows are not independent."""


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of small networks."""
    folder = tmp_path_factory.mktemp("networks")
    return {
        "kinds": write_network(folder / "kinds.yaml", KINDS),
        "mean": write_network(folder / "mean.yaml", MEAN),
        "lenet5": LENET,
        "siamese": SIAMESE,
    }


@pytest.fixture(scope="session")
def service(networks: dict[str, Path]) -> Iterator[Running]:
    """A service of all of them."""
    with serving(*networks.values()) as running:
        yield running


class Gate:
    """Computations stand still while it is closed."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.sizes: list[int] = []
        self.entered = threading.Semaphore(0)

    def wait_for_one(self) -> None:
        """Until a computation has begun."""
        assert self.entered.acquire(timeout=PATIENCE)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Stops every computation until it is opened; notes the rows of each."""
    gate = Gate()
    compute = Network.compute

    def gated(self: Network, inputs: Mapping[str, Any], wanted: Any) -> dict[str, Any]:
        gate.sizes.append(len(next(iter(inputs.values()))))
        gate.entered.release()
        assert gate.open.wait(PATIENCE)
        return compute(self, inputs, wanted)

    monkeypatch.setattr(Network, "compute", gated)
    try:
        yield gate
    finally:
        gate.open.set()
