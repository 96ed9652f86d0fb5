"""Diagnostics as GitHub Actions annotations.

The form: https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from collections.abc import Iterable

from netspec.diagnostics.model import Diagnostic, sort_diagnostics

_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}


def render_github(diagnostics: Iterable[Diagnostic]) -> str:
    """One workflow command per line. Notes and help become further lines of the message."""
    return "\n".join(_command(diagnostic) for diagnostic in sort_diagnostics(diagnostics))


def _command(diagnostic: Diagnostic) -> str:
    properties = [f"{name}={_property(value)}" for name, value in _location(diagnostic)]
    properties.append(f"title={_property(f'{diagnostic.severity}[{diagnostic.code}]')}")
    lines = [diagnostic.message]
    if diagnostic.span is None and diagnostic.path:
        lines = [f"{diagnostic.path}: {diagnostic.message}"]
    for note in diagnostic.notes:
        lines.append(f"note: {note.message}" + (f" ({note.span})" if note.span else ""))
    if diagnostic.help:
        lines.append(f"help: {diagnostic.help}")
    message = _escape("\n".join(lines))
    return f"::{_COMMANDS[diagnostic.severity]} {','.join(properties)}::{message}"


def _location(diagnostic: Diagnostic) -> list[tuple[str, str]]:
    span = diagnostic.span
    if span is None:
        return []
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    location = [
        ("file", span.source.name),
        ("line", str(line)),
        ("col", str(column)),
        ("endLine", str(end_line)),
    ]
    if line == end_line:  # the checks API refuses an end column on another line
        location.append(("endColumn", str(end_column)))
    return location


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
