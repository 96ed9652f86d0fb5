"""The bytes of a request: read with a limit, counted against what the service may hold, decompressed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from netspec.service.codings import decompress
from netspec.service.errors import Disconnected, Refused

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

OFF_THE_LOOP = 64 * 1024
"""Bytes from which (de)compression, which lets other threads run, is worth a thread."""
_MOST_INFLATED = 1032
"""Bytes that one byte of a deflate stream can stand for (https://zlib.net/zlib_tech.html)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most bytes of a request's body, also after decompression, and of its JSON part."""

    request: int
    json: int


class Budget:
    """Bytes of bodies that are held at the moment."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def lease(self) -> Lease:
        """A share, given back when its block ends."""
        return Lease(self)


class Lease:
    """One request's share of the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0

    def hold(self, size: int) -> None:
        """Hold that many bytes in all. Raises `Refused` (503) where there is no room for them."""
        more = size - self._held
        if more <= 0:
            return
        if self._budget.held + more > self._budget.limit:
            raise Refused(503, "the service holds as many request bodies as it may", retry_after=1)
        self._budget.held += more
        self._held = size

    def keep(self, size: int) -> None:
        """Give back all but that many bytes."""
        self._budget.held -= max(0, self._held - size)
        self._held = min(self._held, size)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.held -= self._held
        self._held = 0


async def read_body(receive: Receive, headers: dict[bytes, bytes], limit: int, lease: Lease) -> bytes:
    """The whole body, at most `limit` bytes also after decompression.

    Raises `Refused` (413, 415, 503) and `Disconnected`.
    """
    declared = headers.get(b"content-length", b"")
    length = int(declared) if declared.isdigit() and len(declared) < 20 else 0
    _check_length(length, limit)
    lease.hold(length)
    data = await _read(receive, limit, lease)
    coding = headers.get(b"content-encoding")
    if coding is None:
        return data
    return await _decompressed(data, coding.decode("latin-1").strip().lower(), limit, lease)


async def _decompressed(data: bytes, coding: str, limit: int, lease: Lease) -> bytes:
    lease.hold(len(data) + min(limit, len(data) * _MOST_INFLATED))
    if len(data) < OFF_THE_LOOP:
        content = decompress(data, coding, limit)
    else:
        content = await asyncio.to_thread(decompress, data, coding, limit)
    lease.keep(len(content))
    return content


async def _read(receive: Receive, limit: int, lease: Lease) -> bytes:
    parts: list[bytes] = []
    total = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        part = message.get("body", b"")
        total += len(part)
        _check_length(total, limit)
        lease.hold(total)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _check_length(length: int, limit: int) -> None:
    if length > limit:
        raise Refused(413, f"the body has {length} bytes, at most {limit} are taken")
