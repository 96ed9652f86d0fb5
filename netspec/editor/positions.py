"""Places in a text: code point offsets here, lines and characters in the client's units there.

A line ends with LF, CRLF or CR and nothing else; a character is a byte of UTF-8, a unit of UTF-16 or a code
point, as client and server agreed. Source: the protocol's section on Position.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from netspec.diagnostics import Source

ENCODINGS: Final = ("utf-8", "utf-16", "utf-32")


class Lines:
    """A text's lines, for going from offsets to the client's positions and back.

    What lies outside the text or its lines is moved to the nearest place inside, as the protocol says.
    """

    def __init__(self, text: str, encoding: str = "utf-16") -> None:
        self.text = text
        self.encoding = encoding
        self._ascii = text.isascii()
        self._starts = Source("", text).line_starts()

    @property
    def count(self) -> int:
        """The number of lines; a final line end opens one more, empty, line."""
        return len(self._starts)

    def start(self, line: int) -> int:
        """Offset of a line's first character; lines count from 0."""
        return self._starts[line]

    def end(self, line: int) -> int:
        """Offset behind a line's last character, its line end not counted."""
        end = self._starts[line + 1] if line + 1 < len(self._starts) else len(self.text)
        while end > self._starts[line] and self.text[end - 1] in "\r\n":
            end -= 1
        return end

    def line_at(self, offset: int) -> int:
        """The line that an offset lies in."""
        return bisect_right(self._starts, max(0, offset)) - 1

    def position(self, offset: int) -> tuple[int, int]:
        """Line and character of an offset."""
        offset = max(0, min(offset, len(self.text)))
        line = bisect_right(self._starts, offset) - 1
        before = offset - self._starts[line]
        if not self._ascii:
            before = _units(self.text[self._starts[line] : offset], self.encoding)
        return line, before

    def offset(self, line: int, character: int) -> int:
        """The offset of a line and character; inside a character it is that character's start."""
        if line < 0:
            return 0
        if line >= len(self._starts):
            return len(self.text)
        start, end = self._starts[line], self.end(line)
        if self._ascii or self.encoding == "utf-32":
            return max(start, min(start + character, end))
        units, at = 0, start
        while at < end:
            units += _width(self.text[at], self.encoding)
            if units > character:
                break
            at += 1
        return at


def _width(character: str, encoding: str) -> int:
    code = ord(character)
    if encoding == "utf-16":
        return 1 + (code > 0xFFFF)
    if encoding == "utf-8":
        return 1 + (code > 0x7F) + (code > 0x7FF) + (code > 0xFFFF)
    return 1


def _units(text: str, encoding: str) -> int:
    if encoding == "utf-32" or text.isascii():
        return len(text)
    return sum(_width(character, encoding) for character in text)
