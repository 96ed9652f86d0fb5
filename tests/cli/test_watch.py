"""`netspec validate --watch` as a process of its own, while its files are edited."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NETWORK = """\
netspec: 1
inputs: {x: [N, 1, 8, 8]}
layers:
  - {name: conv, type: Conv2d, out_channels: 4, kernel_size: 3}
"""
BROKEN = NETWORK.replace("kernel_size", "kernal_size")
USES_BLOCK = (
    "netspec: 1\ninclude: [blocks/b.yaml]\ninputs: {x: [N, 1, 8, 8]}\nlayers: [{name: b, block: B}]\n"
)
BLOCK = "netspec: 1\nblocks: {B: {layers: [{name: conv, type: Conv2d, out_channels: 4, kernel_size: 3}]}}\n"
VALID = r"\d\d:\d\d:\d\d net\.yaml: valid \(1 layer, 40 parameters\) \(watching %d files?\)\n"

# A test run in the background ignores ctrl-C, and its children would inherit that.
START = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import netspec.cli as c; c.main()"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")


class Watching:
    """The running command; its lines are read as they come."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.errors = folder / "stderr.txt"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, "validate", "--watch", *arguments],
                cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8",
            )  # fmt: skip
        self.lines: queue.Queue[str] = queue.Queue()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self.lines.put(line)

    def line(self) -> str:
        """The next line of standard output."""
        return self.lines.get(timeout=60)

    def verdict(self, pattern: str) -> str:
        """The first line from here on that is like this; a file seen half-way gives others before it."""
        while True:
            line = self.line()
            if re.fullmatch(pattern, line):
                return line

    def interrupt(self) -> int:
        """Press ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=60)
        assert "Traceback" not in self.said()
        return code

    def said(self) -> str:
        """What is on standard error so far."""
        return self.errors.read_text(encoding="utf-8")

    def end(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait()
        self.thread.join()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Starts the command on `net.yaml`, which is valid, in a folder of its own."""
    (tmp_path / "net.yaml").write_text(NETWORK)
    running: list[Watching] = []

    def begin(*arguments: str) -> Watching:
        running.append(Watching(tmp_path, *arguments))
        return running[-1]

    yield begin
    for each in running:
        each.end()


def test_an_edit_gives_a_new_verdict(start: Any, tmp_path: Path) -> None:
    watching = start("net.yaml")
    watching.verdict(VALID % 1)
    assert watching.said() == ""
    (tmp_path / "net.yaml").write_text(BROKEN)
    assert "1 error in 1 file (watching 1 file)" in watching.verdict(r".* 1 error.*\n")
    assert "net.yaml:4:49: error[unknown-key]" in watching.said()
    assert "\x1b" not in watching.said()
    assert watching.interrupt() == 1


def test_ctrl_c_on_a_valid_file_is_fine(start: Any, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(BROKEN)
    watching = start("net.yaml")
    watching.verdict(r".* 1 error.*\n")
    (tmp_path / "net.yaml").write_text(NETWORK)
    watching.verdict(VALID % 1)
    assert watching.interrupt() == 0


def test_a_file_may_vanish_and_be_replaced(start: Any, tmp_path: Path) -> None:
    net, beside = tmp_path / "net.yaml", tmp_path / ".net.yaml.swp"
    watching = start("net.yaml")
    watching.verdict(VALID % 1)
    net.unlink()
    watching.verdict(r".* 1 error.*\n")
    assert "error[file-not-found]" in watching.said()
    net.write_text(NETWORK)
    watching.verdict(VALID % 1)
    # As editors save: the same name, size and time of change, but another file.
    beside.write_text(NETWORK.replace("4, kernel", "5, kernel"))
    os.utime(beside, ns=(net.stat().st_atime_ns, net.stat().st_mtime_ns))
    beside.replace(net)
    watching.verdict(r".*1 layer, 50 parameters.*\n")
    assert watching.interrupt() == 0


def test_a_file_may_be_half_written(start: Any, tmp_path: Path) -> None:
    watching = start("net.yaml")
    watching.verdict(VALID % 1)
    with (tmp_path / "net.yaml").open("w") as file:
        for piece in re.findall(r".{1,7}", BROKEN + NETWORK[NETWORK.index("  - ") :], re.DOTALL):
            file.write(piece)
            file.flush()
            if piece.endswith("\n"):
                watching.verdict(r".* error.*\n")  # it is read even if it stays like this
    (tmp_path / "net.yaml").write_bytes(NETWORK.encode()[:-20] + b"\xff")
    watching.verdict(r".* error.*\n")
    (tmp_path / "net.yaml").write_text(NETWORK)
    watching.verdict(VALID % 1)
    assert watching.interrupt() == 0


def test_included_files_are_watched_also_before_they_exist(start: Any, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(USES_BLOCK)
    watching = start("net.yaml")
    watching.verdict(r".* 1 error .*watching 2 files\)\n")
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks" / "b.yaml").write_text(BLOCK)
    watching.verdict(VALID % 2)
    (tmp_path / "blocks" / "b.yaml").write_text("include: [c.yaml]\n" + BLOCK)
    watching.verdict(r".* 1 error .*watching 3 files\)\n")
    (tmp_path / "blocks" / "c.yaml").write_text("netspec: 1\nblocks: {C: {layers: [{type: ReLU}]}}\n")
    watching.verdict(VALID % 3)
    assert watching.interrupt() == 0


def test_weights_are_watched(start: Any, tmp_path: Path) -> None:
    watching = start("net.yaml", "--weights", "w.npz")
    watching.verdict(r".* 1 error .*watching 2 files\)\n")
    assert "error[weights-unreadable]" in watching.said()
    arrays = {"conv.weight": np.zeros((4, 1, 3, 3), "f4"), "conv.bias": np.zeros(4, "f4")}
    np.savez(tmp_path / "w.npz", **arrays)  # type: ignore[arg-type]
    watching.verdict(VALID % 2)
    assert watching.interrupt() == 0


def test_json_is_one_object_a_line(start: Any, tmp_path: Path) -> None:
    watching = start("net.yaml", "--format", "json")
    first = json.loads(watching.line())
    assert (first["valid"], first["files"][0]["path"]) == (True, "net.yaml")
    (tmp_path / "net.yaml").write_text(BROKEN)
    second = json.loads(watching.line())
    while second["files"][0]["diagnostics"][0]["code"] != "unknown-key":
        second = json.loads(watching.line())
    assert second["valid"] is False
    assert second["time"] >= first["time"]
    assert watching.interrupt() == 1
    assert watching.said() == ""


def test_github_annotations_come_before_the_verdict(start: Any, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(BROKEN)
    watching = start("net.yaml", "--format", "github")
    assert watching.line().startswith("::error file=net.yaml,line=4,col=49,")
    assert "1 error in 1 file" in watching.line()
    assert watching.interrupt() == 1


def test_a_terminal_is_cleared(tmp_path: Path) -> None:
    import pty

    (tmp_path / "net.yaml").write_text(BROKEN)
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", START, "validate", "--watch", "net.yaml"],
        cwd=tmp_path, stdin=inside, stdout=inside, stderr=inside,
    )  # fmt: skip
    os.close(inside)
    try:
        seen = b""
        while b"(watching" not in seen:
            seen += os.read(terminal, 4096)
        assert seen.startswith(b"\x1b[2J\x1b[H")
        assert seen.index(b"error[unknown-key]") < seen.index(b"1 error in 1 file")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 1
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
