"""Plain tables: aligned columns for terminals, pipes for Markdown."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field


def width(text: str) -> int:
    """Terminal cells that a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


@dataclass
class Table:
    """Rows of texts; `align` has l or r for each column."""

    header: tuple[str, ...]
    align: str
    rows: list[tuple[str, ...] | None] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """One row."""
        self.rows.append(cells)

    def rule(self) -> None:
        """A line across."""
        self.rows.append(None)

    def text(self) -> str:
        """Columns aligned with spaces, a rule under the header."""
        lines = [self.header, *(row for row in self.rows if row is not None)]
        widths = [max(width(line[i]) for line in lines) for i in range(len(self.header))]
        rule = "  ".join("─" * w for w in widths)
        shown = [self._line(self.header, widths), rule]
        shown += [rule if row is None else self._line(row, widths) for row in self.rows]
        return "\n".join(shown)

    def _line(self, cells: tuple[str, ...], widths: list[int]) -> str:
        padded = []
        for cell, size, side in zip(cells, widths, self.align, strict=True):
            space = " " * (size - width(cell))
            padded.append(space + cell if side == "r" else cell + space)
        return "  ".join(padded).rstrip()

    def markdown(self) -> str:
        """A Markdown table."""
        marks = ["---:" if side == "r" else "---" for side in self.align]
        lines = [self.header, tuple(marks), *(row for row in self.rows if row is not None)]
        return "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
        )


def format_bytes(count: int) -> str:
    """`1.5 GB`: powers of 1000, three digits."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000 or unit == "PB":
            return f"{size:.3g} {unit}" if unit != "B" else f"{count} B"
        size /= 1000
    return f"{count} B"
