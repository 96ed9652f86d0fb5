"""Figures of the language server, from outside: a process, its standard streams, and a clock.

python docs/measure_lsp.py
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from measure import network  # type: ignore[import-not-found]  # beside this file

ROOT = Path(__file__).parent.parent


class Session:
    """A server and its messages."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "netspec", "lsp"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        self.number = 0

    def send(self, method: str, params: Any, id: int | None = None) -> None:
        """A request, or without `id` a notification."""
        message = {"jsonrpc": "2.0", "method": method, "params": params} | ({} if id is None else {"id": id})
        body = json.dumps(message).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def receive(self) -> Any:
        """The next message."""
        assert self.process.stdout is not None
        size = 0
        while line := self.process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        return json.loads(self.process.stdout.read(size))

    def ask(self, method: str, params: Any) -> Any:
        """A request and its answer; notifications in between are passed over."""
        self.number += 1
        self.send(method, params, self.number)
        while (message := self.receive()).get("id") != self.number:
            pass
        return message["result"]

    def close(self) -> None:
        """Shutdown and exit."""
        self.ask("shutdown", None)
        self.send("exit", None)
        self.process.wait(10)


def start() -> float:
    """Seconds from starting the process to the answer to `initialize`."""
    began = time.perf_counter()
    session = Session()
    session.ask("initialize", {"capabilities": {}, "processId": None, "rootUri": None})
    taken = time.perf_counter() - began
    session.close()
    return taken


def edits(text: str, times: int = 15) -> dict[str, list[float]]:
    """Milliseconds of opening, of edits in the first layer (to the diagnostics), and of requests.

    Another padding there gives every layer a shape that was never seen before; another name changes nothing.
    """
    session = Session()
    session.ask("initialize", {"capabilities": {}, "processId": None, "rootUri": None})
    session.send("initialized", {})
    uri = "file:///nowhere/net.yaml"
    document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
    found: dict[str, list[float]] = {}

    def timed(label: str, began: float) -> None:
        found.setdefault(label, []).append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    session.send("textDocument/didOpen", {"textDocument": document})
    assert session.receive()["params"]["diagnostics"] == []
    timed("open", began)
    line = text.splitlines()[3]
    version = 1
    for number in range(times):
        for label, pattern, new in (
            ("a name", r"(?<=name: )\w+", f"first{number}"),
            ("every shape", r"(?<=padding: )\d+", str(number + 2)),
        ):
            version += 1
            start, end = re.search(pattern, line).span()  # type: ignore[union-attr]
            line = line[:start] + new + line[end:]
            place = {"start": {"line": 3, "character": start}, "end": {"line": 3, "character": end}}
            change = {"range": place, "text": new}
            began = time.perf_counter()
            session.send(
                "textDocument/didChange",
                {"textDocument": {"uri": uri, "version": version}, "contentChanges": [change]},
            )
            answer = session.receive()["params"]
            timed(f"edit of {label}", began)
            assert (answer["version"], answer["diagnostics"]) == (version, [])
        began = time.perf_counter()
        last = min(60, text.count("\n"))
        shown = {"start": {"line": 0, "character": 0}, "end": {"line": last, "character": 0}}
        session.ask("textDocument/inlayHint", {"textDocument": {"uri": uri}, "range": shown})
        timed("hints of 60 lines", began)
        where = {"line": 3, "character": line.index("Conv2d") + 2}
        for method in ("hover", "completion", "definition"):
            began = time.perf_counter()
            session.ask(f"textDocument/{method}", {"textDocument": {"uri": uri}, "position": where})
            timed(method, began)
    session.close()
    return found


def main() -> None:
    """Print all figures."""
    starts = [start() for _ in range(5)]
    print(
        f"start to the answer to initialize: {min(starts) * 1000:.0f} ms, median {statistics.median(starts) * 1000:.0f}"
    )
    print("\nmilliseconds, median (95th percentile)")
    for layers in (100, 1_000, 2_000):
        print(
            f"{layers} layers (Conv2d, BatchNorm2d, Conv2d, ConvTranspose2d, ...), symbolic sizes, one input"
        )
        for label, taken in edits(network(layers)).items():
            high = sorted(taken)[int(len(taken) * 0.95) - 1] if len(taken) > 1 else taken[0]
            print(f"  {label:20} {statistics.median(taken):7.1f} ({high:.1f})")


if __name__ == "__main__":
    main()
