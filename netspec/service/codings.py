"""gzip and deflate, with a limit on what comes out."""

from __future__ import annotations

import gzip
import zlib

from netspec.service.errors import Refused

CODINGS = ("gzip", "deflate")
_LEVEL = 1
"""Arrays of floats hardly get smaller at higher levels, which take several times as long."""


def decompress(data: bytes, coding: str, limit: int) -> bytes:
    """The content of a compressed body, never more than `limit` bytes. Raises `Refused`."""
    if coding in ("", "identity"):
        return data
    if coding not in CODINGS:
        raise Refused(415, f"Content-Encoding: expected gzip, deflate or identity, got {coding[:40]!r}")
    windows = (31,) if coding == "gzip" else (15, -15)  # deflate is zlib's form; some send it bare
    for index, window in enumerate(windows):
        try:
            return _inflate(data, window, limit, coding)
        except zlib.error as error:
            if index == len(windows) - 1:
                raise Refused(400, f"the body is not valid {coding}: {error}") from None
    raise AssertionError


def _inflate(data: bytes, window: int, limit: int, coding: str) -> bytes:
    parts: list[bytes] = []
    total = 0
    while True:
        stream = zlib.decompressobj(window)
        part = stream.decompress(data, limit - total + 1)
        total += len(part)
        if total > limit:
            raise Refused(413, f"the body is larger than {limit} bytes once it is decompressed")
        parts.append(part)
        if not stream.eof:
            raise Refused(400, f"the {coding} body breaks off")
        data = stream.unused_data
        if not data:
            return parts[0] if len(parts) == 1 else b"".join(parts)
        if coding != "gzip":  # only gzip files may follow one another
            raise Refused(400, "the body goes on after its deflate stream")


def compress(data: bytes, coding: str) -> bytes:
    """The compressed form of a body."""
    return gzip.compress(data, _LEVEL, mtime=0) if coding == "gzip" else zlib.compress(data, _LEVEL)


def choose(accepted: str) -> str | None:
    """The coding to answer in, from an Accept-Encoding header; None: as it is."""
    for part in accepted.lower().split(","):
        coding, _, parameters = part.partition(";")
        name, _, quality = parameters.strip().partition("=")
        refused = name.strip() == "q" and not quality.strip().strip("0.")
        if coding.strip() in CODINGS and not refused:
            return coding.strip()
    return None
