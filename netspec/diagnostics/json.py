"""Diagnostics as the JSON that `netspec validate --format json` prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from netspec.diagnostics.model import Diagnostic, Note, Span, has_errors, sort_diagnostics


def render_json(files: Iterable[tuple[str, Sequence[Diagnostic]]]) -> dict[str, Any]:
    """The contract's object for `(path, diagnostics)` pairs, one per file that was checked.

    Valid means without errors; warnings are allowed.
    """
    entries = [
        {
            "path": path,
            "valid": not has_errors(diagnostics),
            "diagnostics": [_diagnostic(diagnostic) for diagnostic in sort_diagnostics(diagnostics)],
        }
        for path, diagnostics in files
    ]
    return {"valid": all(entry["valid"] for entry in entries), "files": entries}


def _diagnostic(diagnostic: Diagnostic) -> dict[str, Any]:
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "path": diagnostic.path,
        "range": _range(diagnostic.span),
        "notes": [_note(note) for note in diagnostic.notes],
        "help": diagnostic.help,
    }


def _note(note: Note) -> dict[str, Any]:
    # Here `path` is a file: the second place may be in an included one.
    return {
        "message": note.message,
        "path": note.span.source.name if note.span else None,
        "range": _range(note.span),
    }


def _range(span: Span | None) -> dict[str, dict[str, int]] | None:
    if span is None:
        return None
    (line, column), (end_line, end_column) = span.source.position(span.start), span.source.position(span.end)
    return {"start": {"line": line, "column": column}, "end": {"line": end_line, "column": end_column}}
