"""The HTTP parser: httptools where it is installed, with limits on clients that send or read too slowly."""

from __future__ import annotations

import asyncio
from typing import Any

MAX_HEAD = 64 * 1024
"""Bytes of a request line and its headers, as h11 has it too; the parser itself has no limit."""
HEAD_SECONDS = 30.0
"""Longest that a head may take from its first byte, or a new connection without one."""
TAKES_SECONDS = 30.0
"""Longest that a client may take nothing of an answer that waits for it."""
_ERROR = b'{"error": "the request line and headers are too long"}'
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(_ERROR), _ERROR)
)


def protocol_class() -> Any:
    """The class for uvicorn's `http`."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return "h11"

    class LimitedProtocol(HttpToolsProtocol):
        """uvicorn's, which would keep a head of any size, and wait for ever for it and for readers."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.head_size = 0
            self.reads_head = True
            self.head_timer: asyncio.TimerHandle | None = None
            self.taking_timer: asyncio.TimerHandle | None = None
            self.expect_head()

        def pause_writing(self) -> None:
            super().pause_writing()
            self.untaken = self.transport.get_write_buffer_size()
            self.taking_timer = self.loop.call_later(TAKES_SECONDS, self.look_at_taking)

        def resume_writing(self) -> None:
            self.stop_taking_timer()
            super().resume_writing()

        def timeout_keep_alive_handler(self) -> None:
            if self.taking_timer is None and self.transport.get_write_buffer_size():
                self.transport.abort()  # a small rest that is not taken, either
            else:
                super().timeout_keep_alive_handler()

        def look_at_taking(self) -> None:
            before, self.untaken = self.untaken, self.transport.get_write_buffer_size()
            if self.untaken >= before:
                self.transport.abort()  # close() would wait for the client to take the rest
            else:
                self.taking_timer = self.loop.call_later(TAKES_SECONDS, self.look_at_taking)

        def stop_taking_timer(self) -> None:
            if self.taking_timer is not None:
                self.taking_timer.cancel()
                self.taking_timer = None

        def expect_head(self) -> None:
            self.head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

        def connection_lost(self, exc: Exception | None) -> None:
            self.head_arrived()
            self.stop_taking_timer()
            super().connection_lost(exc)

        def head_arrived(self) -> None:
            if self.head_timer is not None:
                self.head_timer.cancel()
                self.head_timer = None

        def on_message_begin(self) -> None:
            self.reads_head = True
            self.head_size = 0
            if self.head_timer is None:
                self.expect_head()
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self.reads_head = False
            self.head_arrived()
            super().on_headers_complete()

        def data_received(self, data: bytes) -> None:
            goes_on = self.reads_head
            super().data_received(data)
            if goes_on and self.reads_head:
                self.head_size += len(data)
                if self.head_size > MAX_HEAD and not self.transport.is_closing():
                    self.transport.write(_TOO_LARGE)
                    self.transport.close()

    return LimitedProtocol
