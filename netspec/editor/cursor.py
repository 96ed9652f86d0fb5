"""What is being typed at a place: the keys and items around it, from the raw text alone.

A text is broken while it is being typed, so nothing here parses: lines are followed by their indentation,
brackets by counting them, and whatever makes no sense is passed over. Nothing raises for any text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal

Role = Literal["key", "value", "item"]

_LINE: Final = re.compile(
    r"(?P<indent>[ \t]*)(?P<dashes>(?:-[ \t]+)*)(?P<lone>-(?=\r?\Z))?(?P<rest>[^\r\n]*)"
)
_KEY: Final = re.compile(
    r"""("[^"\n]*"|'[^'\n]*'|[^\s#'"\[\]{},&*!|>%@`-][^#\n{\[,]*?)[ \t]*:(?=\s|\Z)[ \t]*"""
)
_PROPERTY: Final = re.compile(r"(?:[&!][^\s,\[\]{}]*[ \t]+)+")
_TOKEN: Final = re.compile(
    r'"(?:[^"\\\n]|\\.)*"?|\'(?:[^\'\n]|\'\')*\'?|(?:(?<=\s)|(?<=\A))#[^\n]*|[\[\]{},]|:(?=[\s,\[\]{}]|\Z)|\n'
    r"|[^\"'#\[\]{},:\n]+|."
)
_ENTRY: Final = re.compile(r"[ \t]*(?:-(?:[ \t]|\r?$)|[^\s#'\"\[\]{},][^#\n{\[,]*?:(?:\s|$))")
_BEFORE: Final = re.compile(r"[\w.$]*\Z")
_AFTER: Final = re.compile(r"[\w.]*")
_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_KEY_WITHIN: Final = 1000
_DEEPEST: Final = 100
"""Lists and mappings inside each other; no document may have more."""
_LOOK_ON: Final = 20_000
"""Characters after the cursor in which the rest of a mapping is looked for."""


@dataclass(slots=True)
class Frame:
    """A mapping or list around the cursor. key: where the cursor is in it; keys: with the text of their values.

    column: of its keys or dashes in block style; start: of the first one, or of the bracket.
    """

    is_mapping: bool
    column: int
    start: int
    flow: bool = False
    key: str | int | None = None
    keys: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the cursor is.

    role: it is at a key of the innermost mapping, at the value of that mapping's `key`, or at an item of the
    innermost list. start, end: the word that it touches; fresh: nothing stands before that word in its
    key, value or item. glued: a space is missing after the colon or dash before it. bare: an item may begin
    here, but its dash is not written.
    """

    role: Role
    frames: tuple[Frame, ...]
    keys: tuple[str | int | None, ...]
    start: int
    end: int
    word: str
    fresh: bool = True
    glued: bool = False
    quoted: bool = False
    bare: bool = False

    @property
    def path(self) -> tuple[str | int, ...]:
        """From the root to the mapping or list that the cursor is in; with a value's key, or an item's number."""
        parts = self.keys[:-1] if self.role == "key" else self.keys
        return tuple(part for part in parts if part is not None)

    @property
    def frame(self) -> Frame | None:
        """The innermost mapping or list."""
        return self.frames[-1] if self.frames else None

    def mapping(self, depth: int) -> dict[str, str]:
        """Keys and texts of the mapping that the first `depth` parts of the path lead to."""
        frame = self.frames[depth] if depth < len(self.frames) else None
        return frame.keys if frame is not None and frame.is_mapping else {}


def find(text: str, offset: int) -> Cursor | None:
    """What is typed at an offset; None inside comments and block texts."""
    offset = max(0, min(offset, len(text)))
    return _Scanner(text, offset).run()


class _Scanner:
    """Goes down the lines to the cursor, then as far on as the innermost mapping reaches."""

    def __init__(self, text: str, offset: int) -> None:
        self.text, self.offset = text, offset
        self.frames: list[Frame] = []

    def run(self) -> Cursor | None:
        for start, end in self._block_lines(0):
            if start <= self.offset <= end:
                return self._at_line(start, end)
            self._line(start, end)
            if self._opens_flow is not None:
                flow = self._opens_flow
                inner = self._flow(flow)
                if inner is not None:
                    return inner[0]
                self._resume = self._flow_end
        return None

    # --- lines --------------------------------------------------------------------------------------

    _resume = 0
    _opens_flow: int | None = None
    _flow_end = 0

    def _block_lines(self, at: int) -> Iterator[tuple[int, int]]:
        """Start and end of each line that begins in block style; text blocks are passed over."""
        text = self.text
        hidden: int | None = None
        while True:
            found = _LINE_END.search(text, at)
            end, following = (found.start(), found.end()) if found else (len(text), None)
            line = text[at:end]
            stripped = line.lstrip(" \t")
            indent = len(line) - len(stripped)
            covers = at <= self.offset <= end
            if hidden is not None and stripped and indent <= hidden:
                hidden = None
            if hidden is not None and not covers:
                pass
            elif hidden is not None and stripped:
                return  # inside a block text
            elif covers or (stripped and not stripped.startswith("#")):
                self._resume = 0
                yield at, end
                if re.search(r"(?:[:-][ \t]+|[&!]\S+[ \t]+)[|>][-+0-9]*[ \t]*(?:#.*)?\Z", line):
                    hidden = indent
                if self._resume > end:  # a bracket closed on a later line
                    found = _LINE_END.search(text, self._resume)
                    if self._resume_is_line:
                        at = self._resume
                        continue
                    following = found.end() if found else None
            if following is None:
                return
            at = following

    _resume_is_line = False

    def _line(self, start: int, end: int) -> None:
        """Take in a line before the cursor."""
        self._opens_flow = None
        content = self.text[start:end]
        found = _LINE.match(content)
        if found is None:
            return
        column = found.start("dashes")
        for dash in islice(re.finditer("-", found["dashes"] + (found["lone"] or "")), _DEEPEST):
            self._dash(column + dash.start(), start + column + dash.start())
        rest_at = found.start("rest")
        rest = found["rest"]
        key = _KEY.match(rest[:_KEY_WITHIN])
        value_at = rest_at
        if key is not None:
            self._key(rest_at, start + rest_at, _unquoted(key[1]))
            value_at = rest_at + key.end()
        value = content[value_at:]
        skipped = _PROPERTY.match(value)
        if skipped is not None:
            value_at += skipped.end()
            value = value[skipped.end() :]
        if key is not None and self.frames and self.frames[-1].is_mapping:
            self.frames[-1].keys[str(self.frames[-1].key)] = _plain(value)
        if value[:1] in ("{", "[") and not _balanced(value):
            self._opens_flow = start + value_at

    def _dash(self, column: int, at: int) -> None:
        """A list item begins."""
        while self.frames and self.frames[-1].column > column:
            self.frames.pop()
        top = self.frames[-1] if self.frames else None
        if top is not None and not top.is_mapping and top.column == column:
            top.key = (top.key if isinstance(top.key, int) else -1) + 1
        else:
            self.frames.append(Frame(False, column, at, key=0))

    def _key(self, column: int, at: int, name: str) -> None:
        """A key begins."""
        self._close(column)
        top = self.frames[-1] if self.frames else None
        if top is None or not top.is_mapping or top.column != column:
            top = Frame(True, column, at)
            self.frames.append(top)
        top.key = name
        top.keys.setdefault(name, "")

    def _close(self, column: int) -> None:
        """What cannot go on at a column has ended."""
        while self.frames and (
            self.frames[-1].column > column
            or (not self.frames[-1].is_mapping and self.frames[-1].column >= column)
        ):
            self.frames.pop()

    # --- the cursor's line ---------------------------------------------------------------------------

    def _at_line(self, start: int, end: int) -> Cursor | None:
        text, offset = self.text, self.offset
        content = text[start:end]
        found = _LINE.match(content)
        if found is None:
            return None
        here = offset - start
        column = found.start("dashes")
        signs = re.finditer("-", found["dashes"] + (found["lone"] or ""))
        dashes = [column + sign.start() for sign in islice(signs, _DEEPEST)]
        passed = [dash for dash in dashes if dash < here]
        for dash in passed:
            self._dash(dash, start + dash)
        rest_at = found.start("rest")
        if here < rest_at and dashes and len(passed) < len(dashes):
            return None  # between dashes
        if not content.strip() or (here <= column and not passed):
            return self._empty(here)
        if passed and here <= rest_at:
            return self._item(here == passed[-1] + 1, rest_at == len(content))
        rest = found["rest"]
        key = _KEY.match(rest[:_KEY_WITHIN])
        if key is None or here <= rest_at + key.end(1):
            return self._word(start, end, rest_at, key, bool(passed))
        name = _unquoted(key[1])
        self._key(rest_at, start + rest_at, name)
        value_at = start + rest_at + key.end()
        skipped = _PROPERTY.match(text, value_at, end)
        if skipped is not None:
            value_at = skipped.end()
        colon = text.rfind(":", start, max(value_at, start + rest_at + key.end(1) + 1))
        if offset <= colon:
            return self._finish(self._cursor("key", start + rest_at))
        self.frames[-1].keys[name] = _plain(text[value_at:end])
        if text[value_at : value_at + 1] in ("{", "[") and offset > value_at:
            inner = self._flow(value_at)
            if inner is not None:
                return inner[0]
        return self._finish(self._cursor("value", min(value_at, offset), glued=offset == colon + 1))

    def _empty(self, column: int) -> Cursor | None:
        """On white space: the indentation says what may begin here."""
        while self.frames and self.frames[-1].column > column:
            self.frames.pop()
        top = self.frames[-1] if self.frames else None
        if top is not None and not top.is_mapping and top.column == column:
            top.key = (top.key if isinstance(top.key, int) else -1) + 1
            return self._made("item", bare=True)
        if top is None or top.column != column:
            if top is not None and not top.is_mapping:
                return self._made("item")
            self.frames.append(Frame(True, column, self.offset))
        return self._finish(self._made("key"))

    def _made(self, role: Role, *, glued: bool = False, bare: bool = False) -> Cursor:
        """A cursor that touches no word."""
        keys = tuple(frame.key for frame in self.frames)
        return Cursor(role, tuple(self.frames), keys, self.offset, self.offset, "", glued=glued, bare=bare)

    def _item(self, glued: bool, nothing_after: bool) -> Cursor | None:
        """Behind a dash, before anything else."""
        return self._made("item", glued=glued) if nothing_after else self._cursor("item", self.offset)

    def _word(
        self, start: int, end: int, rest_at: int, key: re.Match[str] | None, item: bool
    ) -> Cursor | None:
        """On the first text of a line: a key, or a value that stands alone."""
        text = self.text
        at = start + rest_at
        first = text[at : at + 1]
        if first == "#":
            return None
        if first in ("{", "[") and self.offset > at:
            inner = self._flow(at)
            if inner is not None:
                return inner[0]
        if key is None and item:
            return self._cursor("item", at)
        self._close(rest_at)
        top = self.frames[-1] if self.frames else None
        if top is None or not top.is_mapping or top.column != rest_at:
            self.frames.append(Frame(True, rest_at, at))
        self.frames[-1].key = _unquoted(key[1]) if key is not None else None
        return self._finish(self._cursor("key", at))

    def _cursor(self, role: Role, start: int, *, glued: bool = False) -> Cursor | None:
        """The cursor in a value, item or key that begins at an offset."""
        text, offset = self.text, self.offset
        line_end = _LINE_END.search(text, offset)
        limit = line_end.start() if line_end else len(text)
        before = text[min(start, offset) : offset]
        quoted = before[:1] in ("'", '"')
        if not quoted and re.search(r"(?:^|\s)#", before):
            return None
        word = _BEFORE.search(before)
        first = offset - (len(word[0]) if word else 0)
        after = _AFTER.match(text, offset, limit)
        last = after.end() if after else offset
        fresh = not before[: first - min(start, offset)].strip("'\" \t")
        keys = tuple(frame.key for frame in self.frames)
        return Cursor(role, tuple(self.frames), keys, first, last, text[first:offset], fresh, glued, quoted)

    def _finish(self, cursor: Cursor | None) -> Cursor | None:
        """Add the keys that stand below the cursor in the same mapping."""
        frame = cursor.frame if cursor is not None else None
        if frame is None or frame.flow or not frame.is_mapping:
            return cursor
        stop = min(len(self.text), self.offset + _LOOK_ON)
        line = _LINE_END.search(self.text, self.offset, stop)
        at = line.end() if line else stop
        while at < stop:
            line = _LINE_END.search(self.text, at, stop)
            end = line.start() if line else stop
            content = self.text[at:end]
            stripped = content.lstrip(" \t")
            indent = len(content) - len(stripped)
            if stripped and not stripped.startswith("#"):
                if indent < frame.column or (indent == frame.column and stripped.startswith("- ")):
                    break
                key = _KEY.match(stripped[:_KEY_WITHIN])
                if indent == frame.column and key is not None:
                    frame.keys.setdefault(_unquoted(key[1]), _plain(stripped[key.end() :]))
            if line is None:
                break
            at = line.end()
        return cursor

    # --- brackets -----------------------------------------------------------------------------------

    def _flow(self, opening: int) -> tuple[Cursor | None] | None:
        """Follow brackets; the cursor if it is inside them, otherwise None and where they end."""
        outer = list(self.frames)
        stack: list[_Open] = []
        hit: tuple[Cursor | None] | None = None
        line_start = max(self.text.rfind("\n", 0, opening), self.text.rfind("\r", 0, opening)) + 1
        content = self.text[line_start:opening]
        indent = len(content) - len(content.lstrip(" \t"))
        stop = min(len(self.text), max(self.offset, opening) + _LOOK_ON)
        self._resume_is_line = False
        for token in _TOKEN.finditer(self.text, opening, stop):
            sign, start, end = token[0], token.start(), token.end()
            if hit is None and stack and self._within(sign, start, end):
                if sign.startswith("#"):
                    return (None,)
                self.frames = [*outer, *(each.frame for each in stack)]
                hit = (stack[-1].cursor(self),)
            if sign == "\n":
                following = self.text[end : end + 400].split("\n", 1)[0]
                deep = len(following) - len(following.lstrip(" \t"))
                if following.strip() and deep <= indent and _ENTRY.match(following):
                    self._flow_end, self._resume_is_line = end, True
                    break
            elif sign in ("[", "{"):
                if len(stack) >= _DEEPEST:
                    return (None,)
                stack.append(
                    _Open(
                        Frame(sign == "{", start - line_start, start, True, None if sign == "{" else 0), end
                    )
                )
            elif sign in ("]", "}"):
                if stack:
                    stack.pop().finish(self.text, start)
                if stack:
                    stack[-1].solid = True
                if not stack:
                    break
            elif stack:
                stack[-1].take(self.text, sign, start, end)
            self._flow_end = end
        else:
            if hit is None and stack and self.offset >= stop:
                self.frames = [*outer, *(each.frame for each in stack)]
                hit = (stack[-1].cursor(self),)
        if hit is not None:
            for each in stack:
                each.finish(self.text, stop)
            return hit
        self.frames = outer
        self._flow_end = max(self._flow_end, opening + 1)
        return None

    def _within(self, sign: str, start: int, end: int) -> bool:
        """Whether the cursor is in or before a token, and behind the one before it."""
        if sign in ("[", "{", "]", "}", ",", ":", "\n"):
            return self.offset <= start
        if sign[0] in "\"'" and len(sign) > 1 and sign[-1] == sign[0]:
            return self.offset < end
        return self.offset < end or (sign.startswith("#") and self.offset <= end)


@dataclass(slots=True, eq=False)
class _Open:
    """A bracket that is open, and what has been read of its newest entry. solid: a bracket is its value."""

    frame: Frame
    begins: int
    colon: int | None = None
    solid: bool = False

    def take(self, text: str, sign: str, start: int, end: int) -> None:
        """One token directly inside."""
        if sign == ",":
            self.finish(text, start)
            self.begins, self.colon, self.solid = end, None, False
            if self.frame.is_mapping:
                self.frame.key = None
            elif isinstance(self.frame.key, int):
                self.frame.key += 1
        elif sign == ":" and self.frame.is_mapping and self.colon is None:
            self.frame.key = _unquoted(text[self.begins : start].strip())
            self.frame.keys.setdefault(self.frame.key, "")
            self.colon = end

    def finish(self, text: str, end: int) -> None:
        """The newest entry ends."""
        if self.frame.is_mapping and self.colon is not None and isinstance(self.frame.key, str):
            value = "" if self.solid else _plain(text[self.colon : end].split("\n")[0].strip())
            if not self.frame.keys.get(self.frame.key):
                self.frame.keys[self.frame.key] = value

    def cursor(self, scanner: _Scanner) -> Cursor | None:
        """The cursor in the newest entry."""
        text, offset = scanner.text, scanner.offset
        begins = self.begins if self.colon is None else self.colon
        space = re.compile(r"\s*").match(text, min(begins, offset), offset)
        start = space.end() if space else begins
        if not self.frame.is_mapping:
            return scanner._cursor("item", start)
        if self.colon is None:
            return scanner._cursor("key", start)
        return scanner._cursor("value", start, glued=offset == self.colon)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _plain(value: str) -> str:
    """The text of a value in one line, without comment and quotes."""
    value = re.sub(r"(?:^|\s)#.*", "", value, count=1).strip()
    return _unquoted(value)


def _balanced(value: str) -> bool:
    """Whether brackets close on their own line; a rough answer that errs on the side of looking closer."""
    if '"' in value or "'" in value or "#" in value:
        return False
    return value.count("{") == value.count("}") and value.count("[") == value.count("]")
