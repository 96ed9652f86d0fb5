"""Neural networks written down in YAML with torch.nn's names: checked, shaped and run without a framework.

How a file becomes an answer; each step is a package, and data goes one way:

    document     YAML text -> values, each with its place in the text
    network      values -> a validated network, with layers/ as the vocabulary
    graph        the network -> layer calls in order, shapes inferred, conditions on the sizes (symbolic/)
    program      graph + weights + concrete shapes -> operations/ on buffers made once
    backends     operations -> kernels on NumPy or CuPy arrays
    runtime      programs run: inputs, batches, run profiles

    diagnostics  what every step reports in
    edges        cli (commands), editor (language server), service (HTTP), engine (jobs in shards, Ray),
                 benchmark (other runtimes beside), report (tables), interop (files)

    import netspec
    net = netspec.load("configs/lenet5.yaml")
    probabilities = net(images)
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from netspec import layers
    from netspec.api import load, parse, shapes, validate
    from netspec.diagnostics import (
        DeviceError,
        Diagnostic,
        InputError,
        NetspecError,
        SpecError,
        WeightsError,
    )
    from netspec.network import NetworkSpec
    from netspec.runtime.network import Network

_HOMES = {
    **dict.fromkeys(("load", "parse", "shapes", "validate"), "netspec.api"),
    **dict.fromkeys(
        ("Diagnostic", "DeviceError", "InputError", "NetspecError", "SpecError", "WeightsError"),
        "netspec.diagnostics",
    ),
    "NetworkSpec": "netspec.network",
    "Network": "netspec.runtime.network",
}

__all__ = [
    "DeviceError",
    "Diagnostic",
    "InputError",
    "NetspecError",
    "Network",
    "NetworkSpec",
    "SpecError",
    "WeightsError",
    "layers",
    "load",
    "parse",
    "shapes",
    "validate",
]


def __getattr__(name: str) -> Any:
    # Late, so that each command and each program pays only for the parts it uses.
    import importlib

    if name == "layers":
        return importlib.import_module("netspec.layers")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'netspec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
