"""Diagnostics for a terminal: the finding, the line, and a caret under what is meant."""

from __future__ import annotations

from collections.abc import Iterable

from netspec.diagnostics.excerpt import excerpt, visible
from netspec.diagnostics.model import Diagnostic, Note, Span, sort_diagnostics

_COLORS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "note": "\x1b[1;36m"}
_BOLD, _BLUE, _RESET = "\x1b[1m", "\x1b[1;34m", "\x1b[0m"


def render_text(diagnostics: Iterable[Diagnostic], color: bool = False) -> str:
    """All findings sorted by position, a blank line between them, without a final line end.

    Text from the file is escaped, so that it cannot steer the terminal.
    """
    return "\n\n".join(_Writer(diagnostic, color).write() for diagnostic in sort_diagnostics(diagnostics))


def escape(text: str) -> str:
    """`text` on one line, with control, bidirectional and unpaired characters written as escapes."""
    return "".join(visible(character) for character in text)


class _Writer:
    """One diagnostic on its way to text: line numbers of all its excerpts share one gutter."""

    def __init__(self, diagnostic: Diagnostic, color: bool) -> None:
        self.diagnostic = diagnostic
        self.color = color
        spans = [diagnostic.span, *(note.span for note in diagnostic.notes)]
        lines = [span.position[0] for span in spans if span is not None and _shown(span)]
        self.gutter = len(str(max(lines, default=1)))

    def write(self) -> str:
        diagnostic, tint = self.diagnostic, _COLORS[self.diagnostic.severity]
        label = self._paint(f"{diagnostic.severity}[{diagnostic.code}]", tint)
        lines = [f"{self._paint(_place(diagnostic), _BOLD)}: {label}: {escape(diagnostic.message)}"]
        if diagnostic.span and _shown(diagnostic.span):
            lines.append(self._margin())
            lines += self._excerpt(diagnostic.span, "^", tint)
        for note in diagnostic.notes:
            lines += self._note(note)
        if diagnostic.help:
            lines.append(self._remark("help", diagnostic.help))
        return "\n".join(lines)

    def _note(self, note: Note) -> list[str]:
        where = f" ({escape(str(note.span))})" if note.span else ""
        lines = [self._remark("note", note.message, where)]
        if note.span and _shown(note.span):
            lines += self._excerpt(note.span, "^", _BLUE)
        return lines

    def _excerpt(self, span: Span, mark: str, tint: str) -> list[str]:
        line = span.position[0]
        shown, before, width = excerpt(span)
        number = self._paint(f" {line:>{self.gutter}} |", _BLUE)
        under = f"{self._margin()} {' ' * before}{self._paint(mark * width, tint)}"
        return [f"{number} {shown}".rstrip(), under]

    def _remark(self, kind: str, message: str, where: str = "") -> str:
        sign = self._paint(f" {' ' * self.gutter} =", _BLUE)
        return f"{sign} {self._paint(kind, _BOLD)}: {escape(message)}{where}"

    def _margin(self) -> str:
        return self._paint(f" {' ' * self.gutter} |", _BLUE)

    def _paint(self, text: str, tint: str) -> str:
        return f"{tint}{text}{_RESET}" if self.color else text


def _place(diagnostic: Diagnostic) -> str:
    """`net.yaml:7:42`; the file alone when it has no text to point into; the path for a Python value."""
    span = diagnostic.span
    if span is None:
        return escape(f"<mapping>:{diagnostic.path}" if diagnostic.path else "<mapping>")
    return escape(str(span) if _shown(span) else span.source.name)


def _shown(span: Span) -> bool:
    """Whether there is a line to show: a file that could not be read has none."""
    return span.source.text != ""
