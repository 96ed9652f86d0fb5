"""Places in a text and the findings about them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "note"]

# str.splitlines would also split on U+2028, form feeds and others, which no editor counts as lines.
_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Source:
    """A text and its name for the user. Offsets count code points from 0; lines and columns from 1."""

    name: str
    text: str = field(repr=False)
    _starts: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    def line_starts(self) -> list[int]:
        """Offset of each line's first character; found once, and only if somebody asks."""
        if not self._starts:
            self._starts.extend([0, *(match.end() for match in _LINE_END.finditer(self.text))])
        return self._starts

    @property
    def line_count(self) -> int:
        """The number of lines; a final line end opens one more, empty, line."""
        return len(self.line_starts())

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset. An offset outside the text is moved to its nearest end."""
        offset = max(0, min(offset, len(self.text)))
        starts = self.line_starts()
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    def line_start(self, line: int) -> int:
        """Offset of the first character of a line."""
        return self.line_starts()[line - 1]

    def line_text(self, line: int) -> str:
        """A line without its line end."""
        starts = self.line_starts()
        end = starts[line] if line < len(starts) else len(self.text)
        return self.text[starts[line - 1] : end].rstrip("\r\n")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a source: code point offsets, the end exclusive."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        """The characters it covers."""
        return self.source.text[self.start : self.end]

    @property
    def position(self) -> tuple[int, int]:
        """Line and column of its first character."""
        return self.source.position(self.start)

    def __str__(self) -> str:
        """`net.yaml:4:3`, as terminals and editors make clickable."""
        line, column = self.position
        return f"{self.source.name}:{line}:{column}"


@dataclass(frozen=True, slots=True)
class Note:
    """A further fact about a diagnostic, with the place it is read from where there is one."""

    message: str
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding.

    `code` is a stable kebab-case word explained in `CODES`; `path` leads to the value from the root of its
    file (`layers[3].in_channels`); `span` is None for values that came from Python; `help` says what to do;
    `fix` is a parameter of the entry and the value that it should have, where that is known.
    """

    code: str
    severity: Severity
    message: str
    span: Span | None = None
    path: str = ""
    notes: tuple[Note, ...] = ()
    help: str | None = None
    fix: tuple[str, object] | None = None


def format_path(path: Iterable[str | int]) -> str:
    """The text form of a path: `("layers", 3, "in_channels")` is `layers[3].in_channels`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    """Whether any of them is an error; warnings and notes leave a file valid."""
    return any(diagnostic.severity == "error" for diagnostic in diagnostics)


def sort_diagnostics(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """By position within each file, files in the order of their first finding; equals keep their order."""
    listed: Sequence[Diagnostic] = list(diagnostics)
    names = [diagnostic.span.source.name if diagnostic.span else "" for diagnostic in listed]
    order = {name: rank for rank, name in enumerate(dict.fromkeys(names))}

    def key(pair: tuple[str, Diagnostic]) -> tuple[int, int]:
        name, diagnostic = pair
        return order[name], diagnostic.span.start if diagnostic.span else 0

    return [diagnostic for _, diagnostic in sorted(zip(names, listed, strict=True), key=key)]
