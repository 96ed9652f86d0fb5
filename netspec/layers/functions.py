"""The base of the torch functions."""

from __future__ import annotations

from typing import Any

from netspec.layers.base import _Function


class _TorchFunction(_Function):
    """A torch function; its lower-case name is given as `type=`."""

    def __init_subclass__(cls, type: str | None = None, **kwargs: Any) -> None:
        # Python hands the class line's keywords here too; Pydantic's own hook is what reads them.
        super().__init_subclass__(**kwargs)
