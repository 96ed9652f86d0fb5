"""The process around the service: its socket, its signals, its end."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from netspec.diagnostics import DeviceError
from netspec.runtime.profile import Profile
from netspec.service.app import App
from netspec.service.protocol import protocol_class
from netspec.service.state import State

log = logging.getLogger("netspec.service")

_KEEP_ALIVE = 75
"""Seconds after which an idle connection is closed."""
_LAST_REQUESTS = 1.0
"""Seconds after SIGTERM in which requests still come in over open connections: a client that has just sent
one cannot know."""
_SENDING = 2
"""Seconds for sending the last answers."""


def serve(paths: Sequence[Path], profile: Profile) -> bool:
    """Serve until a signal; False if no model could be loaded. Raises `NetspecError`."""
    state = State(paths, profile)
    listener = listen(profile.service.host, profile.service.port)
    with _logging():
        server = Server(state, listener)
        server.run(sockets=[listener])
    return server.had_a_model


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises `DeviceError` where the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise DeviceError(f"cannot listen on {host}: {error.strerror or error}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise DeviceError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; --port 0 takes a free one"
        ) from None
    listener.setblocking(False)
    return listener


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def address_of(listener: socket.socket) -> str:
    """`http://127.0.0.1:8000`."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """uvicorn's, with models that load while it listens, and an end that answers what was accepted."""

    def __init__(self, state: State, listener: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                App(state),
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                lifespan="off",
                ws="none",
                http=protocol_class(),
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=_SENDING,
            )
        )
        self.state = state
        self.had_a_model = True
        self._address = address_of(listener)
        self._loopback = is_loopback(listener.getsockname()[0])
        self._tasks: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, say so, load."""
        await super().startup(sockets)
        if self.state.token is None and not self._loopback:
            log.warning("no token: whoever reaches this address may ask (service.token_file, NETSPEC_TOKEN)")
        names = sorted({entry.name for entry in self.state.repository})
        print(f"netspec: serving {', '.join(names)} on {self._address}", file=sys.stderr, flush=True)
        self._background(self._load())

    async def _load(self) -> None:
        self.had_a_model = await self.state.start()
        if not self.had_a_model:
            log.error("no model could be loaded")
            self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what was accepted, for at most `drain_seconds`, and end."""
        state = self.state
        state.draining = True
        log.info("draining requests=%d", state.active)
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + state.service.drain_seconds
        last = min(end, loop.time() + (_LAST_REQUESTS if self.server_state.connections else 0.0))
        while loop.time() < end and (state.active or (loop.time() < last and self.server_state.connections)):
            if self.force_exit:
                break
            await asyncio.sleep(0.01)
        if state.active:
            log.warning("shutting down with requests=%d unanswered", state.active)
        state.abort()
        await super().shutdown(sockets)
        await state.close()
        for task in self._tasks:
            task.cancel()
        log.info("stopped")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT drain, a second one ends at once, SIGHUP looks at the models' files.

        uvicorn's would raise the signal again at the end, and the exit code would not be 0.
        """
        loop = asyncio.get_running_loop()
        handled: list[int] = []
        try:
            for number in (int(signal.SIGTERM), int(signal.SIGINT)):
                loop.add_signal_handler(number, self.handle_exit, number, None)
                handled.append(number)
            if hasattr(signal, "SIGHUP"):
                loop.add_signal_handler(signal.SIGHUP, lambda: self._background(self.state.reload()))
                handled.append(signal.SIGHUP)
        except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not in the main thread
            pass
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: object) -> None:
        """The first signal drains, the second does not wait."""
        self.force_exit = self.should_exit
        self.should_exit = True

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    """One line an event on standard error: time, level, what, key=value."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    levels = {"netspec": logging.WARNING, "netspec.service": logging.INFO, "uvicorn": logging.ERROR}
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    roots = [logging.getLogger(name) for name in ("netspec", "uvicorn")]
    for logger in roots:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in roots:
            logger.removeHandler(handler)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
