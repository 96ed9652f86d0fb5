"""Clients that do what they should not, over real sockets: the service refuses them and goes on."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netspec.service import protocol
from netspec.service.static import page_routes
from tests.service.running import (
    LENET,
    PATIENCE,
    Running,
    eventually,
    infer,
    request_of,
    serving,
    write_network,
)

PAGE = Path(sys.modules["netspec.service"].__path__[0]) / "page"


@contextmanager
def raw(service: Running) -> Iterator[socket.socket]:
    """A connection."""
    with socket.create_connection((service.host, service.port), PATIENCE) as connection:
        yield connection


def answered(connection: socket.socket) -> bytes:
    """All that comes until the service closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def post(body: bytes, *headers: str, version: str = "1.1", length: str | None = None) -> bytes:
    """A request to LeNet as bytes."""
    size = str(len(body)) if length is None else length
    lines = [f"POST /v2/models/lenet5/infer HTTP/{version}", "Host: x", "Connection: close", *headers]
    if size:
        lines.append(f"Content-Length: {size}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.fixture
def image() -> tuple[bytes, str]:
    """A right request: its body, and the header that it needs."""
    body, size = request_of({"image": np.zeros((1, 1, 28, 28), "f4")})
    return body, f"Inference-Header-Content-Length: {size}"


def test_http_1_0(service: Running, image: tuple[bytes, str]) -> None:
    with raw(service) as connection:
        connection.sendall(post(*image, version="1.0"))
        assert answered(connection).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_that_asks_before_it_sends(service: Running, image: tuple[bytes, str]) -> None:
    """`Expect: 100-continue`, as curl does for large bodies."""
    request = post(*image, "Expect: 100-continue")
    with raw(service) as connection:
        connection.sendall(request[: -len(image[0])])
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(image[0])
        assert answered(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("length", "more", "status"),
    [
        ("-1", (), 400),
        ("12x", (), 400),
        ("99999999999999999999999999", (), 400),
        ("9999999999999", (), 413),
        ("10", ("Transfer-Encoding: chunked",), 400),
        ("10", ("Content-Length: 11",), 400),
        ("10", (), 400),
        ("", (), 400),
    ],
)
def test_a_wrong_length(
    length: str, more: tuple[str, ...], status: int, service: Running, image: Any
) -> None:
    """What follows a body that is declared too short is no second request's answer."""
    with raw(service) as connection:
        connection.sendall(post(image[0], image[1], *more, length=length))
        answer = answered(connection)
    assert re.match(rb"HTTP/1.1 (\d+)", answer)[1] == str(status).encode(), answer  # type: ignore[index]
    assert answer.count(b"HTTP/1.1") == 1
    assert service.get("/v2/health/ready").status == 200


def test_a_body_that_is_shorter_than_declared(service: Running, image: tuple[bytes, str]) -> None:
    with raw(service) as connection:
        connection.sendall(post(*image, length=str(len(image[0]) + 100)))
        connection.shutdown(socket.SHUT_WR)
        assert answered(connection) == b""
    eventually(lambda: service.state.active == 0, "the request is still there")
    assert service.state.budget.held == 0


@pytest.mark.parametrize(
    "first",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 100,
     b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /v2 HTTP/9.9\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_http(first: bytes, service: Running) -> None:
    with raw(service) as connection:
        connection.sendall(first)
        connection.shutdown(socket.SHUT_WR)
        assert answered(connection)[:12] in (b"", b"HTTP/1.1 400")
    assert service.get("/v2").status == 200


@pytest.mark.parametrize(
    "path",
    ["/page/../app.py", "/page/..%2fapp.py", "/page/", "/page/page.css/..", "//etc/passwd", "/page/%2e%2e/app.py",
     "/page/index.html", "/%70age/..", "/page/page.css%00.js", "/page\\..\\app.py"],
)  # fmt: skip
def test_paths_do_not_reach_the_disk(path: str, service: Running) -> None:
    with raw(service) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert answered(connection).startswith(b"HTTP/1.1 404")


def test_an_upgrade_is_passed_over(service: Running) -> None:
    request = "GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with raw(service) as connection:
        connection.sendall(request.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_deep_and_wide_json(service: Running) -> None:
    for text in ('{"inputs":' + "[" * 200_000, "[" * 5000 + "]" * 5000, '{"a":' * 100_000):
        answer = service.ask("POST", "/v2/models/lenet5/infer", text.encode())
        assert (answer.status, set(answer.json)) == (400, {"error"})
        assert len(answer.body) < 500
    deep: Any = 0.0
    for _ in range(300):
        deep = [deep]
    entry = {"name": "image", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": deep}
    assert service.post("/v2/models/lenet5/infer", {"inputs": [entry]}).status == 400
    many = {"inputs": [{"name": f"i{n}", "shape": [1], "datatype": "FP32", "data": [1]} for n in range(5000)]}
    answer = service.post("/v2/models/lenet5/infer", many)
    assert (answer.status, len(answer.body) < 500) == (400, True)


def test_pipelined_requests_are_answered_in_order(service: Running) -> None:
    paths = ["/v2/health/live", "/nothing", "/v2", "/v2/health/ready"] * 20
    text = "".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths)
    text += "GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with raw(service) as connection:
        connection.sendall(text.encode())
        answer = answered(connection)
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", answer)
    assert statuses == [b"404" if path == "/nothing" else b"200" for path in paths] + [b"200"]


def test_many_clients_that_say_nothing(service: Running) -> None:
    """They wait for the time a head may take; others are served meanwhile."""
    idle = [socket.create_connection((service.host, service.port), PATIENCE) for _ in range(200)]
    try:
        assert infer(service, "lenet5", {"image": np.zeros((1, 1, 28, 28), "f4")}).status == 200
    finally:
        for connection in idle:
            connection.close()


def test_a_silent_client_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    with serving(LENET) as service:
        for first in (b"", b"GET /v2 HT", b"GET /v2 HTTP/1.1\r\nHo"):
            with raw(service) as connection:
                connection.sendall(first)
                assert answered(connection) == b""


LARGE = {"inputs": {"x": ["N"]}, "layers": [{"name": "y", "type": "mul", "other": 2}]}


def large(folder: Path) -> tuple[Path, bytes]:
    """A network, and a request to it whose answer is larger than any socket's buffer."""
    path = write_network(folder / "large.yaml", LARGE)
    body, size = request_of({"x": np.zeros(4_000_000, "f4")})
    head = f"POST /v2/models/large/infer HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: {size}\r\n"
    return path, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_a_client_that_takes_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer would be kept for ever."""
    monkeypatch.setattr(protocol, "TAKES_SECONDS", 0.1)
    path, request = large(tmp_path)
    with serving(path) as service, raw(service) as connection:
        connection.sendall(request)
        eventually(lambda: service.server.server_state.connections, "nothing came")
        eventually(lambda: not service.server.server_state.connections, "it is still there")


def test_a_client_that_takes_slowly_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "TAKES_SECONDS", 0.3)
    path, request = large(tmp_path)
    with serving(path) as service, raw(service) as connection:
        connection.sendall(request)
        received = len(connection.recv(1000))
        end = time.monotonic() + 2
        while time.monotonic() < end:
            received += len(connection.recv(300_000))
            time.sleep(0.05)
        while received < 16_000_000:
            received += len(part := connection.recv(1 << 20))
            assert part


def test_clients_that_leave_at_any_moment(service: Running, image: tuple[bytes, str]) -> None:
    request = post(*image)

    def leave(count: int) -> None:
        with raw(service) as connection:
            connection.sendall(request[:count])

    threads = [threading.Thread(target=leave, args=(n,)) for n in range(1, len(request), len(request) // 60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    eventually(
        lambda: service.state.active == 0 and service.state.budget.held == 0, "something is still held"
    )
    entry = next(entry for entry in service.state.repository if entry.name == "lenet5")
    assert entry.model is not None
    eventually(lambda: not entry.model.batcher.busy, "the queue is not empty")  # type: ignore[union-attr]
    assert service.get("/v2/health/ready").status == 200


def test_other_sites_do_not_control_models() -> None:
    """A page that somebody has open can have the browser send this, though not read the answer."""
    with serving(LENET, model_control=True) as service:
        path = "/v2/repository/models/lenet5/unload"
        for origin in ("https://elsewhere.example", "null", f"http://{service.host}:1"):
            answer = service.ask("POST", path, b"{}", {"Origin": origin})
            assert (answer.status, "other sites" in answer.json["error"]) == (403, True)
        assert service.get("/v2/models/lenet5/ready").status == 200
        answer = service.ask("POST", path, b"{}", {"Origin": f"http://{service.address}"})
        assert answer.status == 200


def test_an_open_address_without_a_token_is_warned_of(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("secret", encoding="utf-8")
    for keys in ({}, {"host": "0.0.0.0", "token_file": str(token)}):
        with serving(LENET, **keys):
            assert "no token" not in caplog.text
    with serving(LENET, host="0.0.0.0"):
        assert "no token: whoever reaches this address may ask" in caplog.text


# --- the page's files -------------------------------------------------------------------------------


def test_the_page_is_served_whole(service: Running) -> None:
    """Every file, with its type, and a policy that lets nothing in from elsewhere."""
    types = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
             ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}  # fmt: skip
    files = {"/" if file.name == "index.html" else f"/page/{file.name}": file for file in PAGE.iterdir()}
    assert set(files) == set(page_routes())
    for path, file in files.items():
        answer = service.get(path)
        assert (answer.status, answer.body) == (200, file.read_bytes())
        assert answer.headers["content-type"] == types[file.suffix]
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert service.ask("HEAD", path).body == b""
        assert service.ask("POST", path, b"").status == 405


def test_the_page_needs_nothing_else() -> None:
    """No address of another host, no text taken for HTML, nothing inline."""
    for file in PAGE.iterdir():
        text = file.read_text(encoding="utf-8")
        hosts = re.findall(r"https?://[^\s\"')]+", text)
        assert set(hosts) <= {"http://www.w3.org/2000/svg"}, file
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Storage|cookie", text
        )
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", html)
    for name in re.findall(r'(?:src|href)="(page/[^"]+)"', html):
        assert (PAGE / Path(name).name).is_file()


def test_what_the_page_is_told(service: Running) -> None:
    """The report of `netspec shapes`, and what an output needs."""
    import netspec

    found = service.get("/v2/models/siamese/shapes").json
    expected = json.loads(json.dumps(netspec.shapes(netspec.parse(LENET.parent / "siamese.yaml"))))
    assert found["layers"] == expected["layers"]
    assert found["parameters"] == expected["parameters"]
    assert found["outputs"]["probability"]["needs"] == ["left", "right"]
    assert found["outputs"]["loss"]["needs"] == ["left", "right", "target"]
    assert found["inputs"]["left"]["datatype"] == "FP32"
    assert (
        service.get("/v2/models/lenet5/versions/1/shapes").json["outputs"]["probabilities"]["labels"][9]
        == "9"
    )
