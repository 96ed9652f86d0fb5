"""The exceptions of the public functions.

NetspecError
├── SpecError       the network or profile is wrong; `diagnostics` says where
├── InputError      an array does not fit what the network takes
├── WeightsError    a weights file is unreadable or does not fit the network
└── DeviceError     this machine has no such device, or not enough memory
"""

from __future__ import annotations

from collections.abc import Iterable

from netspec.diagnostics.model import Diagnostic
from netspec.diagnostics.text import render_text


class NetspecError(Exception):
    """Anything netspec refuses. `str()` is the message, then the rendered `diagnostics` if there are any."""

    def __init__(self, message: str = "", diagnostics: Iterable[Diagnostic] = ()) -> None:
        self.message = message
        self.diagnostics: list[Diagnostic] = list(diagnostics)
        super().__init__(message)

    def __str__(self) -> str:
        parts = [self.message] if self.message else []
        if self.diagnostics:
            parts.append(render_text(self.diagnostics))
        return "\n".join(parts)

    def __reduce__(self) -> tuple[type[NetspecError], tuple[object, ...]]:
        # The default would drop the diagnostics on the way through a process pool.
        return type(self), (self.message, self.diagnostics)


class SpecError(NetspecError):
    """The network or run profile is wrong. `str()` is what `netspec validate` prints."""

    def __init__(self, diagnostics: Iterable[Diagnostic] = (), message: str = "") -> None:
        super().__init__(message, diagnostics)

    def __reduce__(self) -> tuple[type[NetspecError], tuple[object, ...]]:
        return type(self), (self.diagnostics, self.message)


class InputError(NetspecError):
    """An input has the wrong shape, dtype, name or format."""


class WeightsError(NetspecError):
    """Weights are missing, unreadable, or do not fit the network."""


class DeviceError(NetspecError):
    """The machine cannot do it: no such device, or not enough memory."""
