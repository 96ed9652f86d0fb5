"""What a client is told when it gets no result."""

from __future__ import annotations


class Refused(Exception):
    """A request that is answered with an error: an HTTP status and a sentence.

    retry_after: seconds after which the same request may succeed.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


class Disconnected(Exception):
    """The client is gone; there is nobody to answer."""
