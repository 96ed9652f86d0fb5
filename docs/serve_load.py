"""`netspec serve` under load and faults, and beside Starlette with ONNX Runtime. Prints Markdown. Linux.

    pip install -e ".[serve,bench]" && python docs/serve_load.py           (about four minutes)
    python docs/serve_load.py --only faults --seconds 60

Beside: LeNet-5, one image a request, both with one thread; the peer answers bare bytes with bare bytes, once
in Starlette's thread pool and once on the event loop, which then does nothing else. Its ONNX file is
netspec's export of the same network. Clients send the next request when they have the answer.

Faults: clients of all kinds (images one and eight at a time, in binary, JSON and gzip, wrong requests, clients
that leave) for a while on one service, then while it is ended by SIGTERM and started again several times,
and killed once. Every answer is compared with what the network gives. A request is lost that was sent on an
open connection and got no answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import netspec
from netspec.interop.onnx import to_onnx
from netspec.program.compile import compile

ROOT = Path(__file__).parent.parent
LENET = ROOT / "configs" / "lenet5.yaml"
INFER = "/v2/models/lenet5/infer"
LEVELS = (1, 2, 4, 8, 16, 32, 64)
SHOWN = (1, 8, 32)
MOST_MS = 10
"""p99 at which requests a second are compared."""
CLIENTS = 32
RESTARTS = 8
REFUSALS = ("not loaded yet", "wait already", "shutting down")
"""What a 503 says: before a model is loaded, for a full queue, at the end."""


# --- requests -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """A request as bytes; what to expect: a status, and the probabilities for 200."""

    data: bytes
    expected: Any = None
    status: int = 200
    leaves: bool = False


def http(path: str, body: bytes, *headers: str) -> bytes:
    """A POST."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def binary(images: Any) -> tuple[bytes, str]:
    """The body of an inference request, and the header that it needs."""
    entry = {"name": "image", "shape": list(images.shape), "datatype": "FP32",
             "parameters": {"binary_data_size": images.nbytes}}  # fmt: skip
    head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    return head + images.tobytes(), f"Inference-Header-Content-Length: {len(head)}"


def questions() -> list[tuple[float, Question]]:
    """Kinds of requests and how often they are sent."""
    net = netspec.load(LENET)
    one, eight = (np.random.RandomState(n).rand(n, 1, 28, 28).astype("<f4") for n in (1, 8))
    body, length = binary(one)
    many, many_length = binary(eight)
    text = json.dumps({"inputs": [{"name": "image", "shape": [1, 1, 28, 28], "datatype": "FP32",
                                   "data": one.reshape(-1).tolist()}]}).encode()  # fmt: skip
    wrong = json.dumps({"inputs": [{"name": "imag", "shape": [1], "datatype": "FP32", "data": [1]}]}).encode()
    return [
        (0.60, Question(http(INFER, body, length), net(one))),
        (0.15, Question(http(INFER, many, many_length), net(eight))),
        (0.10, Question(http(INFER, text), net(one))),
        (0.05, Question(http(INFER, gzip.compress(body), length, "Content-Encoding: gzip"), net(one))),
        (0.05, Question(http(INFER, wrong), status=400)),
        (0.05, Question(http(INFER, many, many_length), leaves=True)),
    ]


# --- servers ------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ready(port: int) -> None:
    """Wait until it answers."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            if connection.recv(64).startswith(b"HTTP/1.1 200"):
                return
        time.sleep(0.02)
    raise RuntimeError("the server does not get ready")


def start(port: int, folder: Path, **service: Any) -> subprocess.Popen[bytes]:
    """`netspec serve` with LeNet-5, ready."""
    profile = folder / "runner.yaml"
    profile.write_text(json.dumps({"runner": 1, "threads": 1, "service": {"port": port, **service}}))
    command = [sys.executable, "-m", "netspec", "serve", str(LENET), "--runner", str(profile)]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stderr=log)
    ready(port)
    return process


def peer(file: str, port: int) -> None:
    """Starlette and ONNX Runtime, as one writes it in an hour."""
    import onnxruntime
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def compute(body: bytes) -> bytes:
        found = session.run(None, {name: np.frombuffer(body, "<f4").reshape(1, 1, 28, 28)})[0]
        return bytes(found.tobytes())

    async def pool(request: Request) -> Response:
        return Response(await run_in_threadpool(compute, await request.body()))

    async def loop(request: Request) -> Response:
        return Response(compute(await request.body()))

    async def health(_: Request) -> Response:
        return Response(b"")

    routes = [Route("/pool", pool, methods=["POST"]), Route("/loop", loop, methods=["POST"]),
              Route("/v2/health/ready", health)]  # fmt: skip
    uvicorn.run(Starlette(routes=routes), port=port, log_level="error", access_log=False)


def export(file: Path) -> None:
    """The network as ONNX, for one image."""
    net = netspec.load(LENET)
    program = compile(net.shaped({"image": (1, 1, 28, 28)}), net.wanted())
    file.write_bytes(to_onnx(program, net.state_dict(), "lenet5").SerializeToString())


# --- beside a plain server ----------------------------------------------------------------------------


class Caller(asyncio.Protocol):
    """Sends a request, and the next one when the answer is there."""

    def __init__(self, data: bytes, latencies: list[float], goes_on: Callable[[], bool]) -> None:
        self.data, self.latencies, self.goes_on = data, latencies, goes_on

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.received, self.started = b"", time.perf_counter()
        self.transport.write(self.data)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        self.latencies.append(time.perf_counter() - self.started)
        if self.goes_on():
            self.send()
        else:
            self.transport.close()


async def call(port: int, data: bytes, clients: int, seconds: float) -> tuple[float, float, float]:
    """Requests a second, and the median and the 99th percentile of their latency in ms."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    for part in (0.3, seconds):  # the first warms up
        latencies.clear()
        end = time.perf_counter() + part
        for _ in range(clients):
            await loop.create_connection(
                lambda end=end: Caller(data, latencies, lambda: time.perf_counter() < end), "127.0.0.1", port
            )
        await asyncio.sleep(part + 0.2)
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    return len(latencies) / seconds, float(p50), float(p99)


def beside(folder: Path, seconds: float) -> None:
    """The table of both."""
    onnx_file = folder / "lenet5.onnx"
    export(onnx_file)
    image = np.random.RandomState(0).rand(1, 1, 28, 28).astype("<f4")
    ports = free_port(), free_port()
    ours = start(ports[0], folder)
    theirs = subprocess.Popen([sys.executable, __file__, "--peer", str(onnx_file), str(ports[1])])
    body, length = binary(image)
    servers = {
        "`netspec serve`": (ports[0], http(INFER, body, length)),
        "Starlette + ONNX Runtime, thread pool": (ports[1], http("/pool", image.tobytes())),
        "Starlette + ONNX Runtime, on the event loop": (ports[1], http("/loop", image.tobytes())),
    }
    try:
        ready(ports[1])
        found = {
            (title, clients): asyncio.run(call(port, data, clients, seconds))
            for clients in LEVELS
            for title, (port, data) in servers.items()
        }
    finally:
        for process in (ours, theirs):
            process.terminate()
            process.wait()
    print("| requests/s (p50, p99 in ms) |", " | ".join(servers), "|")
    print("| --- |" + " --- |" * len(servers))
    for clients in SHOWN:
        cells = ("{:,.0f} ({:.2f}, {:.2f})".format(*found[title, clients]) for title in servers)
        print(f"| {clients} client{'s' * (clients > 1)} |", " | ".join(cells), "|")
    best = (max((found[title, c][0] for c in LEVELS if found[title, c][2] <= MOST_MS), default=0.0)
            for title in servers)  # fmt: skip
    print(f"| most with p99 of at most {MOST_MS} ms |", " | ".join(f"{rate:,.0f}" for rate in best), "|")
    print(f"\n{seconds:g} s each; the last line is the best of {', '.join(map(str, LEVELS))} clients.\n")


# --- load and faults ----------------------------------------------------------------------------------


@dataclass
class Tally:
    """What became of the requests."""

    answers: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    phase: str = "running"
    ends: bool = False


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers, body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in head[1:] if line)}
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


def probabilities(headers: dict[str, str], body: bytes) -> Any:
    """The output of an answer."""
    if "inference-header-content-length" in headers:
        return np.frombuffer(body[int(headers["inference-header-content-length"]) :], "<f4")
    return np.array(json.loads(body)["outputs"][0]["data"], "<f4")


def judge(question: Question, status: int, headers: dict[str, str], body: bytes, tally: Tally) -> None:
    """Count an answer."""
    why = next((word for word in REFUSALS if word.encode() in body), "") if status == 503 else ""
    tally.answers[f"{status} {why}".strip()] += 1
    if status == 503 and headers.get("retry-after", "0").isdigit():
        return
    if status != question.status:
        tally.wrong.append(f"{status} {body[:200]!r}")
    elif status == 200:
        got = probabilities(headers, body)
        if not np.allclose(got, question.expected.reshape(-1), atol=1e-5):
            tally.wrong.append("other values")


async def client(port: int, kinds: list[tuple[float, Question]], tally: Tally, rng: random.Random) -> None:
    """Asks until the end, on one connection while it lasts."""
    weights, asked = zip(*kinds, strict=True)
    while not tally.ends:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:  # nobody listens: nothing was accepted
            tally.answers["not connected"] += 1
            await asyncio.sleep(0.05)
            continue
        open_ = True
        while open_ and not tally.ends:
            question = rng.choices(asked, weights)[0]
            started = time.perf_counter()
            phase = tally.phase
            try:
                writer.write(question.data)
                await writer.drain()
                if question.leaves:
                    tally.answers["left"] += 1
                    break
                status, headers, body = await answer(reader)
            except (OSError, asyncio.IncompleteReadError):
                tally.lost[tally.phase if phase == "running" else phase] += 1
                break
            tally.latencies.append(time.perf_counter() - started)
            judge(question, status, headers, body, tally)
            open_ = headers.get("connection") != "close"
        writer.close()


def resident(process: subprocess.Popen[bytes]) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def end(process: subprocess.Popen[bytes], number: int, tally: Tally, phase: str) -> tuple[int, float]:
    """Send a signal and wait; the exit code, and the seconds it took."""
    tally.phase = phase
    started = time.perf_counter()
    process.send_signal(number)
    code = await asyncio.to_thread(process.wait)
    return code, time.perf_counter() - started


async def faults(folder: Path, seconds: float) -> None:
    """The load, the restarts, the kill."""
    port, tally = free_port(), Tally()
    kinds = questions()
    process = start(port, folder)
    callers = [asyncio.create_task(client(port, kinds, tally, random.Random(n))) for n in range(CLIENTS)]
    memory: list[str] = []
    began = time.monotonic()
    for _ in range(10):
        await asyncio.sleep(seconds / 20)
        memory.append(f"{resident(process):.0f}")
    steady = len(tally.latencies)
    steady_rate = steady / (time.monotonic() - began)
    p50, p99 = np.percentile(tally.latencies, [50, 99]) * 1e3
    codes: Counter[int] = Counter()
    longest = 0.0
    for number in range(RESTARTS + 1):
        killed = number == RESTARTS
        code, took = await end(process, signal.SIGKILL if killed else signal.SIGTERM, tally,
                               "SIGKILL" if killed else "SIGTERM")  # fmt: skip
        codes[code] += 1
        longest = max(longest, 0 if killed else took)
        process = await asyncio.to_thread(start, port, folder)
        tally.phase = "running"
        await asyncio.sleep(max(0.5, seconds / 2 / (RESTARTS + 1) - took - 1))
    tally.ends = True
    await asyncio.wait(callers, timeout=30)
    await end(process, signal.SIGTERM, tally, "end")
    print(f"| {CLIENTS} clients of all kinds, {time.monotonic() - began:.0f} s | |\n| --- | --- |")
    counts = ", ".join(f"{key}: {count:,}" for key, count in sorted(tally.answers.items()))
    print(f"| before the faults | {steady_rate:,.0f} requests/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms |")
    print(f"| answers by status, clients that left, tries without a server | {counts} |")
    print(f"| answers that are wrong | {len(tally.wrong)} {' '.join(sorted(set(tally.wrong))[:3])} |")
    print(f"| accepted requests without an answer: in {RESTARTS} SIGTERMs | {tally.lost['SIGTERM']} |")
    print(f"| ... in one SIGKILL | {tally.lost['SIGKILL']} |")
    print(f"| ... otherwise | {tally.lost['running']} |")
    print(f"| exit codes | {', '.join(f'{code}: {count}' for code, count in codes.items())} |")
    print(f"| longest from SIGTERM to the end of the process | {longest:.2f} s |")
    print(f"| resident MiB, every {seconds / 20:.0f} s before the faults | {', '.join(memory)} |")


async def full_queue(folder: Path, clients: int = 64, queue: int = 8, seconds: float = 3.0) -> None:
    """Many more clients than the queue has places."""
    port, tally = free_port(), Tally()
    process = start(port, folder, max_queue=queue)
    kinds = questions()[:1]
    callers = [asyncio.create_task(client(port, kinds, tally, random.Random(n))) for n in range(clients)]
    await asyncio.sleep(seconds)
    tally.ends = True
    await asyncio.wait(callers, timeout=30)
    await end(process, signal.SIGTERM, tally, "end")
    counts = ", ".join(f"{key}: {count:,}" for key, count in sorted(tally.answers.items()))
    print(f"| {clients} clients, `max_queue: {queue}`, {seconds:g} s | {counts} (each 503 has Retry-After); "
          f"wrong {len(tally.wrong)}, lost {tally.lost.total()} |")  # fmt: skip


@contextlib.contextmanager
def work() -> Iterator[Path]:
    """A folder for profiles and logs."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> None:
    """Both parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=180, help="of load and faults")
    parser.add_argument(
        "--each", type=float, default=2, help="seconds of each figure beside the plain server"
    )
    parser.add_argument("--only", choices=("beside", "faults"))
    parser.add_argument("--peer", nargs=2, metavar=("FILE", "PORT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peer:
        peer(given.peer[0], int(given.peer[1]))
        return
    with work() as folder:
        if given.only != "faults":
            beside(folder, given.each)
        if given.only != "beside":
            asyncio.run(faults(folder, given.seconds))
            asyncio.run(full_queue(folder))


if __name__ == "__main__":
    main()
