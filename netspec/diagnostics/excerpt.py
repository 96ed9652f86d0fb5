"""One source line as a terminal shows it, and where the caret goes under it.

Columns on a screen are not code points: a tab is several, an East Asian character two, an accent none.
"""

from __future__ import annotations

import unicodedata

from netspec.diagnostics.model import Span

_LONGEST = 100  # screen columns of source shown
_LEAD = 30  # of which at least so many before the span, where the line is cut
_TAB = 4
_JOINER = "\u200d"
_CUT = "…"


def visible(character: str) -> str:
    """The character itself, or an escape where it could move the cursor or reorder or end the line."""
    if " " <= character <= "~":
        return character
    category = unicodedata.category(character)
    if category in ("Cc", "Cs", "Zl", "Zp") or (category == "Cf" and character != _JOINER):
        code = ord(character)
        named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
        return named or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
    return character


def excerpt(span: Span) -> tuple[str, int, int]:
    """The span's first line as shown, the screen columns before the caret, and the caret's width.

    A span of several lines is underlined to the end of its first; a long line is cut around the span.
    """
    line, column = span.position
    whole = span.source.line_text(line)
    start = min(column - 1, len(whole))
    end = min(start + max(span.end - span.start, 0), len(whole))
    while end > start + 1 and whole[end - 1].isspace():
        end -= 1

    # A stretch that surely holds everything shown: lines of megabytes stay cheap.
    first, last = max(0, start - 8 * _LONGEST), min(len(whole), start + 8 * _LONGEST)
    cells = _cells(whole[first:last])
    widths = [width for _, width in cells]
    start, end = start - first, min(end, last) - first
    keep_from, keep_to = _window(widths, start, end)

    shown = "".join(cell for cell, _ in cells[keep_from:keep_to])
    before, under = sum(widths[keep_from:start]), sum(widths[start : min(end, keep_to)])
    if first or keep_from:
        shown, before = _CUT + shown, before + 1
    if first + keep_to < len(whole):
        shown += _CUT
    return shown, before, max(1, under)


def _window(widths: list[int], start: int, end: int) -> tuple[int, int]:
    """Which characters to show so that they fit, the span's beginning among them."""
    if sum(widths) <= _LONGEST:
        return 0, len(widths)
    room = _LONGEST - 2  # one column for each cut mark
    before = max(_LEAD, room - sum(widths[start:end]) - _LEAD)
    first, used = start, 0
    while first > 0 and used + widths[first - 1] <= before:
        first -= 1
        used += widths[first]
    last = first
    used = 0
    while last < len(widths) and used + widths[last] <= room:
        used += widths[last]
        last += 1
    return first, last


def _cells(text: str) -> list[tuple[str, int]]:
    """What each character becomes on the screen, and how many columns that takes."""
    cells: list[tuple[str, int]] = []
    column, joined = 0, False
    for character in text:
        if character == "\t":
            width = _TAB - column % _TAB
            cell = " " * width
        else:
            cell = visible(character)
            # After a joiner the sign melts into the one before it (👩‍🚀 is one picture).
            width = len(cell) if len(cell) > 1 else 0 if joined else _width(character)
        joined = character == _JOINER
        cells.append((cell, width))
        column += width
    return cells


def _width(character: str) -> int:
    if character < "\u0300":
        return 1
    if (
        character == _JOINER
        or unicodedata.category(character) in ("Mn", "Me")
        or "\u1160" <= character <= "\u11ff"
    ):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
