"""The runtimes that can be measured: this one, and those that are installed beside it."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from netspec import __version__
from netspec.benchmark.contender import Contender, Task
from netspec.diagnostics import InputError, did_you_mean
from netspec.runtime.network import Network

PEERS = {"torch": "torch_peer", "onnxruntime": "onnxruntime_peer"}
"""Name -> module with `makers`, `make`, `layer_times` and `prime`."""


def peer(name: str) -> Any:
    """The module of a peer."""
    return importlib.import_module(f"netspec.benchmark.{PEERS[name]}")


def names(text: str | None) -> list[str]:
    """`torch,onnxruntime` as a list. Raises `InputError` for another name."""
    found = list(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))
    for name in found:
        if name not in PEERS:
            advice = did_you_mean(name, PEERS) or f"known are {', '.join(PEERS)}"
            raise InputError(f"--against {name}: no such runtime; {advice}")
    return found


def ours(net: Network, task: Task) -> Contender:
    """netspec, called as a user calls it: inputs checked, outputs as fresh arrays."""
    inputs = dict(task.inputs)
    arrays = tuple(inputs.values())
    if list(task.inputs) == list(net.spec.inputs)[: len(arrays)]:

        def call() -> Any:
            return net(*arrays)

    else:

        def call() -> Any:
            return net(inputs)

    names = list(task.wanted)

    def read(result: Any) -> dict[str, Any]:
        return dict(result) if isinstance(result, dict) else {names[0]: result}

    return Contender("netspec", __version__, net.device if net.device != "cpu" else "", call, read)


def need(found: Iterable[str]) -> None:
    """Raises `DeviceError` for a peer that is not installed."""
    for name in found:
        peer(name).library()
