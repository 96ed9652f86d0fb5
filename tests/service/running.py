"""A real service in a thread, and the clients that talk to it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import netspec
from netspec.runtime.profile import Profile, Service
from netspec.service.server import Server, listen
from netspec.service.state import State

ROOT = Path(__file__).resolve().parents[2]
LENET = ROOT / "configs" / "lenet5.yaml"
SIAMESE = ROOT / "configs" / "siamese.yaml"
PATIENCE = 60.0
"""Seconds after which a test that waits is hanging."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Running:
    """A service that listens."""

    server: Server
    state: State
    host: str
    port: int

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self.host}:{self.port}"

    def connect(self) -> http.client.HTTPConnection:
        """A connection of its own."""
        return http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request on a new connection."""
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        """GET."""
        return self.ask("GET", path)

    def post(self, path: str, value: Any) -> Answer:
        """POST of JSON."""
        return self.ask("POST", path, json.dumps(value).encode())


@contextmanager
def serving(
    *paths: Path, ready: bool = True, profile: Mapping[str, Any] | None = None, **keys: Any
) -> Iterator[Running]:
    """A service of these files; keys are those of the profile's `service`."""
    service = Service.model_validate({"port": 0, "reload_seconds": 0.0, **keys})
    state = State(paths, Profile.model_validate({"runner": 1, **(profile or {}), "service": service}))
    listener = listen(service.host, service.port)
    server = Server(state, listener)
    host, port = listener.getsockname()[:2]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        eventually(lambda: server.started and (state.started or not ready), "the service does not start")
        yield Running(server, state, host, port)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


def eventually(holds: Callable[[], Any], what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def request_of(inputs: Mapping[str, Any], **more: Any) -> tuple[bytes, int]:
    """A binary inference request, written by hand: the body, and the bytes of its JSON part."""
    names = {
        "?": "BOOL",
        "u1": "UINT8",
        "i8": "INT64",
        "i4": "INT32",
        "f2": "FP16",
        "f4": "FP32",
        "f8": "FP64",
    }
    entries, data = [], []
    for name, array in inputs.items():
        kind = array.dtype.kind if array.dtype.kind == "b" else array.dtype.str[1:]
        entries.append({
            "name": name, "shape": list(array.shape), "datatype": names["?" if kind == "b" else kind],
            "parameters": {"binary_data_size": array.nbytes},
        })  # fmt: skip
        data.append(array.tobytes())
    head = json.dumps({"inputs": entries, "parameters": {"binary_data_output": True}, **more}).encode()
    return b"".join((head, *data)), len(head)


def infer(service: Running, model: str, inputs: Mapping[str, Any], **more: Any) -> Answer:
    """A binary inference request and its answer."""
    body, size = request_of(inputs, **more)
    return service.ask(
        "POST", f"/v2/models/{model}/infer", body, {"Inference-Header-Content-Length": str(size)}
    )


def arrays_of(answer: Answer) -> dict[str, Any]:
    """The FP32 outputs of a binary answer."""
    assert answer.status == 200, answer.body
    size = int(answer.headers["inference-header-content-length"])
    offset, found = size, {}
    for output in json.loads(answer.body[:size])["outputs"]:
        length = output["parameters"]["binary_data_size"]
        found[output["name"]] = np.frombuffer(answer.body[offset : offset + length], "<f4").reshape(
            output["shape"]
        )
        offset += length
    assert offset == len(answer.body)
    return found


def write_network(path: Path, mapping: Mapping[str, Any], weights: Mapping[str, Any] | None = None) -> Path:
    """A network as a file, its weights beside it."""
    net = netspec.load({"netspec": 1, "name": path.stem, **mapping}, weights=weights)
    net.save(path)
    return path
