"""A run on Ray that is killed half-way and resumed, compared with the run in one process.

python docs/ray_resume.py > docs/ray_resume.txt        (needs the extra `ray`)
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import netspec

NETWORK = """\
netspec: 1
name: features
inputs: {image: [N, 3, 64, 64]}
layers:
  - {type: Conv2d, out_channels: 32, kernel_size: 3, padding: 1}
  - {type: ReLU}
  - {type: Conv2d, out_channels: 64, kernel_size: 3, padding: 1}
  - {type: ReLU}
  - {type: Conv2d, out_channels: 64, kernel_size: 3, padding: 1}
  - {type: AdaptiveAvgPool2d, output_size: 4}
"""
PROFILE = """\
runner: 1
threads: 1
batch_size: 16
engine: {kind: ray, address: local, workers: 2}
"""
FILES, ROWS = 40, 25


def main() -> None:
    """Make the input, run, kill, resume, compare."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_input()
        command = ["netspec", "run", "net.yaml", "--input", "images/*.npy"]
        on_ray = [*command, "--output", "out/", "--runner", "ray.yaml"]
        show(on_ray, "&")
        process = subprocess.Popen(
            [sys.executable, "-m", *on_ray], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_for(Path("out"), 25, process)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        print("$ kill -9 %1")
        time.sleep(3)  # Ray's processes notice that theirs is gone
        say("ls out | grep -c part-")
        run(on_ray)
        run([*command, "--output", "here/", "--threads", "1", "--batch-size", "16"])
        say("diff -r -x manifest.json out here && echo the same, byte for byte")
        if [p.read_bytes() for p in shards("out")] != [p.read_bytes() for p in shards("here")]:
            sys.exit("the shards differ")
        (Path("images") / "x7.npy").touch()
        run(on_ray, code=1)
        os.chdir("/")


def make_input() -> None:
    """A network with weights, a profile, and 1,000 pictures in 40 files."""
    logging.getLogger("netspec").setLevel(logging.ERROR)
    Path("net.yaml").write_text(NETWORK)
    netspec.load("net.yaml").save("net.yaml")  # with the weights that were drawn
    Path("ray.yaml").write_text(PROFILE)
    Path("images").mkdir()
    rng = np.random.default_rng(0)
    for i in range(FILES):
        np.save(f"images/x{i}.npy", rng.random((ROWS, 3, 64, 64), np.float32))
    say("cat ray.yaml")


def shards(folder: str) -> list[Path]:
    """The finished shards."""
    return sorted(Path(folder).glob("part-*"))


def wait_for(folder: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    """Until so many shards are finished."""
    for _ in range(1200):
        if len(shards(str(folder))) >= count:
            return
        if process.poll() is not None:
            sys.exit("the run ended before it could be killed")
        time.sleep(0.1)
    sys.exit("the run does not get on")


def show(command: list[str], end: str = "") -> None:
    """The command as one types it."""
    quoted = [f"'{word}'" if "*" in word else word for word in command]
    print("$", " ".join([*quoted, end]).rstrip(), flush=True)


def run(command: list[str], code: int = 0) -> None:
    """Run it, print what it prints."""
    show(command)
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    print(done.stdout + done.stderr, end="", flush=True)
    if done.returncode != code:
        sys.exit(f"expected exit code {code}, got {done.returncode}")


def say(command: str) -> None:
    """A line of shell, and what it prints."""
    print("$", command, flush=True)
    subprocess.run(command, shell=True, check=True)


if __name__ == "__main__":
    if shutil.which("diff") is None:
        sys.exit("needs a Unix shell")
    main()
