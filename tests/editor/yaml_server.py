"""A small client of yaml-language-server: JSON-RPC over the standard streams of a Node process."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

SETTINGS = {
    "yaml": {
        "validate": True,
        "hover": True,
        "completion": True,
        "schemaStore": {"enable": False},
        "maxItemsComputed": 5000,
    },
    "http": {"proxy": "", "proxyStrictSSL": True},
}
PATIENCE = 60.0
"""Seconds to wait for an answer before the test is a failure."""


def command() -> list[str]:
    """How to start the server; an error says how to install it."""
    folder = os.environ.get("NETSPEC_NODE_MODULES")
    if folder:
        root = Path(folder)
        places = [root, root / "node_modules"]
        found = [p / ".bin" / "yaml-language-server" for p in places]
        path = next((str(p) for p in found if p.exists()), None)
    else:
        path = shutil.which("yaml-language-server")
    if path is None:
        raise RuntimeError(
            "yaml-language-server is missing: run `npm install --prefix DIR yaml-language-server@1.25.0` "
            f"and set NETSPEC_NODE_MODULES=DIR/node_modules (now {folder!r}), or put the server on PATH"
        )
    return [path, "--stdio"]


class YamlServer:
    """A running server; a text is opened once for each question."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        self.count = 0
        capabilities: dict[str, Any] = {
            "workspace": {"configuration": True, "workspaceFolders": False},
            "textDocument": {
                "hover": {"contentFormat": ["markdown"]},
                "completion": {
                    "completionItem": {"snippetSupport": True, "documentationFormat": ["markdown"]},
                },
            },
        }
        self.request("initialize", {"processId": os.getpid(), "rootUri": None, "capabilities": capabilities})
        self.notify("initialized", {})
        self.notify("workspace/didChangeConfiguration", {"settings": SETTINGS})

    def __enter__(self) -> YamlServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.request("shutdown", None)
            self.notify("exit", None)
            self.process.wait(timeout=10)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.close()
            self.thread.join()
            self.process.stdout.close()

    # --- questions ----------------------------------------------------------------------------------

    def open(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        """Open a text; its URI and its diagnostics."""
        self.count += 1
        uri = f"file:///network{self.count}.yaml"
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})

        def published(message: dict[str, Any]) -> bool:
            return (
                message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri
            )

        return uri, list(self._until(published)["params"]["diagnostics"])

    def diagnostics(self, text: str) -> list[dict[str, Any]]:
        """What the server marks in a text."""
        return self.open(text)[1]

    def complete(self, marked: str) -> list[dict[str, Any]]:
        """Completions at the `|` of a text."""
        uri, position = self._at_mark(marked)
        found = self.request("textDocument/completion", {"textDocument": {"uri": uri}, "position": position})
        return list(found["items"] if isinstance(found, dict) else found)

    def hover(self, marked: str) -> str:
        """What is shown over the `|` of a text, or nothing."""
        uri, position = self._at_mark(marked)
        found = self.request("textDocument/hover", {"textDocument": {"uri": uri}, "position": position})
        return str(found["contents"]["value"]) if found else ""

    def _at_mark(self, marked: str) -> tuple[str, dict[str, int]]:
        before = marked[: marked.index("|")]
        uri, _ = self.open(marked.replace("|", "", 1))
        return uri, {"line": before.count("\n"), "character": len(before) - before.rfind("\n") - 1}

    # --- JSON-RPC -----------------------------------------------------------------------------------

    def request(self, method: str, params: Any) -> Any:
        """Send a request and wait for its result."""
        self.count += 1
        number = self.count
        self._send({"id": number, "method": method, "params": params})
        answer = self._until(lambda message: message.get("id") == number and "method" not in message)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def notify(self, method: str, params: Any) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def _until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next message of this kind; the server's own requests are answered meanwhile."""
        while True:
            message = self.messages.get(timeout=PATIENCE)
            if message is None:
                raise RuntimeError("the server has ended")
            if wanted(message):
                return message
            if "id" in message and "method" in message:
                self._send({"id": message["id"], "result": self._answer(message)})

    def _answer(self, message: dict[str, Any]) -> Any:
        if message["method"] != "workspace/configuration":
            return None
        return [SETTINGS.get(item.get("section"), {}) for item in message["params"]["items"]]

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        file = os.fdopen(os.dup(stream.fileno()), "rb")
        with file:
            while header := file.readline():
                length = 0
                while header.strip():
                    key, _, value = header.partition(b":")
                    length = int(value) if key.lower() == b"content-length" else length
                    header = file.readline()
                self.messages.put(json.loads(file.read(length)))
        self.messages.put(None)
