"""How many kernels a call of each network starts on a CUDA device: counted without one.

    python docs/cuda_launches.py

Needs g++ and the extra cuda13: programs are planned and bound on the tests' host device, in which cuDNN takes over
what it was seen to take over (see netspec/backends/cupy/cudnn.py); nothing is computed.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

CASES = {
    "lenet5": (1, 1, 28, 28),
    "resnet18": (1, 3, 224, 224),
    "resnet50": (1, 3, 224, 224),
    "vgg16": (1, 3, 224, 224),
    "mobilenet_v2": (1, 3, 224, 224),
    "unet": (1, 3, 256, 256),
    "dcgan_generator": (1, 100, 1, 1),
}
"""File in configs/ -> the input's shape."""


def count(name: str, shape: tuple[int, ...], precision: str, device: Any) -> tuple[int, int, float]:
    """Layers, kernels started by a call, MB of activations."""
    import netspec

    net = netspec.load(ROOT / "configs" / f"{name}.yaml", device="cuda", precision=precision)
    shapes = ((next(iter(net.spec.inputs)), shape),)
    prepared = net._prepare(net._model, shapes, net.wanted(), training=False)
    executor = net._executor(net._model, prepared)
    device.recording = []
    for kernel, _ in executor.kernels:
        kernel()
    started, device.recording = len(device.recording), None
    return len(net._graph.nodes), started, prepared.plan.total_bytes / 1e6


def main() -> None:
    """Print the table."""
    from netspec.backends.cupy import device as opening
    from tests.backends.cupy.host import HostDevice, HostLibrary

    logging.disable(logging.WARNING)
    HostDevice.cudnn = property(HostLibrary)  # type: ignore[assignment]
    device = HostDevice()
    opening.opened = lambda index, limit: device  # type: ignore[assignment]
    print("| network, batch 1 | layers | kernels, high | kernels, highest | activations, MB |")
    print("| --- | --- | --- | --- | --- |")
    for name, shape in CASES.items():
        layers, high, size = count(name, shape, "high", device)
        _, highest, _ = count(name, shape, "highest", device)
        print(f"| {name} | {layers} | {high} | {highest} | {size:.1f} |", flush=True)


if __name__ == "__main__":
    main()
