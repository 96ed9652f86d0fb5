"""netspec beside PyTorch and ONNX Runtime on twelve cases: a Markdown table and geometric means.

    python docs/bench_all.py                       (all, at 1 and 2 threads: some minutes)
    python docs/bench_all.py --quick --only resnet18 --threads 1

Every case is one `netspec bench` in a process of its own; a figure is the least time of many calls that took
turns with the peers' calls. Needs torch and the extra `bench`.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

CASES: dict[str, tuple[str, str]] = {
    "LeNet-5 b1": ("lenet5", "1,1,28,28"),
    "LeNet-5 b64": ("lenet5", "64,1,28,28"),
    "AlexNet b1": ("alexnet", "1,3,224,224"),
    "VGG16 b1": ("vgg16", "1,3,224,224"),
    "ResNet-18 b1": ("resnet18", "1,3,224,224"),
    "ResNet-18 b8": ("resnet18", "8,3,224,224"),
    "ResNet-50 b1": ("resnet50", "1,3,224,224"),
    "U-Net 256x256 b1": ("unet", "1,3,256,256"),
    "DCGAN generator b16": ("dcgan_generator", "16,100,1,1"),
    "M5 audio b8": ("m5_audio", "8,1,16000"),
    "C3D b1": ("c3d", "1,3,16,112,112"),
    "MobileNetV2 b1": ("mobilenet_v2", "1,3,224,224"),
}
"""Title -> file in configs/, and the input's shape."""
APART = ("MobileNetV2 b1",)
"""Cases outside the geometric mean: depthwise convolutions have a target of their own."""
QUICK = 0.4
SECONDS = 2.0
"""Seconds that each runtime is timed in a case."""
TIMEOUT = 900


def run(case: str, threads: int, seconds: float, alone: bool, more: Sequence[str]) -> dict[str, Any] | None:
    """The JSON of one `netspec bench`; what it refuses goes to standard error."""
    file, shape = CASES[case]
    command = [
        sys.executable, "-m", "netspec", "bench", f"configs/{file}.yaml", "--input", shape, "--against",
        "torch,onnxruntime", "--threads", str(threads), "--seconds", str(seconds), "--format", "json",
        "--alone" if alone else "--no-alone", *more,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT)
    if done.returncode:
        print(f"{case}, {threads} threads: {done.stderr.strip()[-2000:]}", file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def row(case: str, found: dict[str, Any]) -> str:
    """One line of the table."""
    ours, torch, ort = found["runtimes"]
    cells = [case, str(found["threads"]), *(milliseconds(r["min"]) for r in (ours, torch, ort))]
    cells += [f"{torch['ratio']:.2f}", f"{ort['ratio']:.2f}"]
    cells += [megabytes(r["memory_bytes"]) for r in (ours, torch, ort)]
    return "| " + " | ".join(cells) + " |"


def milliseconds(seconds: float) -> str:
    """Three digits."""
    return f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def megabytes(size: int | None) -> str:
    """Whole MB."""
    return "" if size is None else f"{size / 1e6:.0f}"


HEAD = (
    "| case | threads | netspec ms | torch ms | onnxruntime ms | torch / netspec | onnxruntime / netspec "
    "| netspec MB | torch MB | onnxruntime MB |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def geometric_mean(values: Iterable[float]) -> float:
    """0 of nothing."""
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else 0.0


def main() -> int:
    """1 if a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="cases with this in the name"
    )
    parser.add_argument("--threads", default="1,2", help="numbers of threads, such as 1,2")
    parser.add_argument("--seconds", type=float, help=f"for each runtime and case (default {SECONDS})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} s each, no memory: for a first look")
    parser.add_argument("--json", type=Path, help="also write every figure there")
    options, more = parser.parse_known_args()
    seconds = options.seconds or (QUICK if options.quick else SECONDS)
    words = [word.lower() for word in options.only]
    cases = [c for c in CASES if not words or any(w in f"{c} {CASES[c][0]}".lower() for w in words)]
    everything: list[dict[str, Any]] = []
    print(HEAD, flush=True)
    means, failed = [], False
    for threads in map(int, options.threads.split(",")):
        found = {}
        for case in cases:
            measured = run(case, threads, seconds, not options.quick, more)
            failed |= measured is None
            if measured is not None:
                found[case] = measured
                everything.append({"case": case, **measured})
                print(row(case, measured), flush=True)
        for number, peer in enumerate(("torch", "onnxruntime"), 1):
            ratios = [m["runtimes"][number]["ratio"] for c, m in found.items() if c not in APART]
            if ratios:
                means.append(
                    f"{threads} thread{'s' * (threads > 1)}, {peer} / netspec: geometric mean "
                    f"{geometric_mean(ratios):.2f} of {len(ratios)} cases, least {min(ratios):.2f}"
                )
    print("", *means, "", sep="\n")
    if everything:
        machine = everything[0]["machine"]
        versions = ", ".join(f"{r['name']} {r['version']}" for r in everything[0]["runtimes"])
        print(f"{machine['processor']}, {machine['processors']} processors, {machine['system']}, "
              f"Python {machine['python']}, NumPy {machine['numpy']}, {versions}")  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
