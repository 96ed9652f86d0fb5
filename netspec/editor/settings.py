"""What a user can set: in the client's `initializationOptions` or its configuration under `netspec`."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default.

    structural: report what a JSON Schema sees too; off where yaml-language-server checks the file with
    `netspec schema`. shapes, parameters: inlay hints with output shapes, with inferred parameters.
    """

    structural: bool = True
    shapes: bool = True
    parameters: bool = True

    @classmethod
    def read(cls, given: Any, before: Settings | None = None) -> Settings:
        """The settings of an options object; what it does not say, or says wrongly, stays as before."""
        settings = before or cls()
        if isinstance(given, dict) and isinstance(given.get("netspec"), dict):
            given = given["netspec"]
        if not isinstance(given, dict):
            return settings
        hints = given.get("inlayHints")
        values = {**given, **(hints if isinstance(hints, dict) else {})}
        known = {f.name: values[f.name] for f in fields(cls) if isinstance(values.get(f.name), bool)}
        return replace(settings, **known)
