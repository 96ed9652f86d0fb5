"""The page at `/`: a few files, read when the service starts, so that no path of a request reaches the disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from netspec.service.http import Call, Handler, Header, Reply

_FOLDER = Path(__file__).parent / "page"
_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_HEADERS: tuple[Header, ...] = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
)
"""Nothing from elsewhere, nothing inline, in nobody's frame."""


def page_routes() -> Mapping[str, Mapping[str, Handler]]:
    """`/` and its files; they hold nothing of the models, so they need no token."""
    routes: dict[str, Mapping[str, Handler]] = {}
    for file in sorted(_FOLDER.iterdir()):
        if file.suffix in _TYPES:
            path = "/" if file.name == "index.html" else f"/page/{file.name}"
            routes[path] = {"GET": _handler(file.read_bytes(), _TYPES[file.suffix])}
    return routes


def _handler(content: bytes, kind: bytes) -> Handler:
    headers: list[Header] = [(b"content-type", kind), *_HEADERS]

    async def handler(_: Call) -> Reply:
        return Reply(content, 200, headers)

    return handler
