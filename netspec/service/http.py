"""A request as the handlers see it, and their answers: thin forms of ASGI's."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from netspec.service.errors import Disconnected, Refused
from netspec.service.state import State

log = logging.getLogger("netspec.service")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")
OCTETS: Header = (b"content-type", b"application/octet-stream")


@dataclass(slots=True)
class Reply:
    """An answer."""

    body: bytes
    status: int = 200
    headers: list[Header] = field(default_factory=lambda: [JSON])

    async def send(self, send: Send, state: State) -> None:
        """Send it; while the service drains, the connection is not kept."""
        headers = [*self.headers, (b"content-length", str(len(self.body)).encode())]
        if state.draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def json_reply(value: Any, status: int = 200) -> Reply:
    """JSON."""
    return Reply(json.dumps(value).encode(), status)


def error_reply(status: int, message: str, *more: Header) -> Reply:
    """`{"error": ...}`, which is the protocol's form."""
    return Reply(json.dumps({"error": message}).encode(), status, [JSON, *more])


class Call:
    """One request."""

    def __init__(self, state: State, scope: Scope, receive: Receive) -> None:
        """headers: by lower-case name; of several of a name the last."""
        self.state, self.scope, self.receive = state, scope, receive
        self.headers: dict[bytes, bytes] = dict(scope["headers"])

    @property
    def parameters(self) -> dict[str, str]:
        """What the route's braces matched."""
        return self.scope.get("path_params") or {}


Handler = Callable[[Call], Awaitable[Reply]]


class Endpoint:
    """A path's handlers by method, as an ASGI application."""

    def __init__(self, state: State, handlers: dict[str, Handler]) -> None:
        self._state, self._handlers = state, handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        handler = self._handlers.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = ", ".join(self._handlers)
            reply = error_reply(
                405, f"{method[:20]} is not taken here, {allowed} is", (b"allow", allowed.encode())
            )
        else:
            try:
                reply = await handler(Call(self._state, scope, receive))
            except Refused as error:
                reply = error_reply(error.status, error.message, *_advice(error))
            except Disconnected:
                return
            except Exception:
                log.exception("failed: %s %r", method[:20], scope["path"][:200])
                reply = error_reply(500, "internal error; the server's log says why")
        await reply.send(send, self._state)


def _advice(error: Refused) -> list[Header]:
    """What the client's next step is."""
    found: list[Header] = []
    if error.retry_after is not None:
        found.append((b"retry-after", b"%d" % error.retry_after))
    if error.status == 408:  # the rest of the body may still come, or never
        found.append((b"connection", b"close"))
    return found
