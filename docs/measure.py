"""Figures that the project states about itself: reading large files, and start-up.

python docs/measure.py        (torch is timed too where it is installed)
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from netspec.document import read_text
from netspec.graph import build, infer
from netspec.network import read

ROOT = Path(__file__).parent.parent


def network(layers: int) -> str:
    """A file of so many layers, a line each, with symbolic sizes throughout."""
    lines = ["netspec: 1", "inputs: {x: [N, 8, H, W]}", "layers:"]
    kinds = (
        "type: Conv2d, in_channels: 8, out_channels: 8, kernel_size: 3, padding: 1",
        "type: BatchNorm2d, num_features: 8",
        "type: Conv2d, in_channels: 8, out_channels: 8, kernel_size: 3",
        "type: ConvTranspose2d, in_channels: 8, out_channels: 8, kernel_size: 3",
    )
    lines += [f"  - {{name: layer{i}, {kinds[i % 4]}}}" for i in range(layers)]
    return "\n".join(lines) + "\n"


def best(action: Callable[[], object], times: int) -> float:
    """Least wall time of several runs, in seconds."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return min(found)


def scale() -> None:
    """Seconds of each stage by the number of layers."""
    print("layers   read  validate  edges  shapes   total (s, best of 3)")
    for layers in (100, 1_000, 10_000):
        text = network(layers)
        document = read_text(text, "net.yaml")
        spec, _ = read(document)
        assert spec is not None
        graph, _ = build(spec)
        stages = (
            best(lambda text=text: read_text(text, "net.yaml"), 3),  # type: ignore[misc]
            best(lambda document=document: read(document), 3),  # type: ignore[misc]
            best(lambda spec=spec: build(spec), 3),  # type: ignore[misc]
            best(lambda graph=graph: infer(graph).constraints.solve(), 3),  # type: ignore[misc]
        )
        print(
            f"{layers:6d} {stages[0]:6.2f} {stages[1]:9.2f} {stages[2]:6.2f} {stages[3]:7.2f} {sum(stages):7.2f}"
        )


def start() -> None:
    """Milliseconds of whole processes."""
    python = [sys.executable, "-c"]
    with tempfile.TemporaryDirectory() as folder:
        commands = [
            ("python -c 'import numpy'", [*python, "import numpy"]),
            (
                "netspec validate configs/lenet5.yaml",
                [sys.executable, "-m", "netspec", "validate", "configs/lenet5.yaml"],
            ),
            (
                "netspec run configs/lenet5.yaml --input configs/samples/seven.png",
                [sys.executable, "-m", "netspec", "run", "configs/lenet5.yaml", "--input", "configs/samples/seven.png",
                 "--output", f"{folder}/o.npy"],
            ),
        ]  # fmt: skip
        if importlib.util.find_spec("torch"):
            commands.append(("python -c 'import torch'", [*python, "import torch"]))
        print("\nwhole process (ms, best of 7)")
        for label, command in commands:
            taken = best(
                lambda command=command: subprocess.run(command, cwd=ROOT, capture_output=True, check=True), 7
            )  # type: ignore[misc]
            print(f"{taken * 1000:6.0f}  {label}")


if __name__ == "__main__":
    scale()
    start()
