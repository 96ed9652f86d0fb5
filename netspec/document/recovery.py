"""Going on after a syntax error.

The smallest entry around the mistake is taken out, a stand-in put in its place, and the text read again: a
`Broken` node keeps the positions of the entries after it. Taking out means overwriting with blanks, so every
offset stays right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain

from netspec.diagnostics import Diagnostic, Note, Source, Span
from netspec.document.nodes import Broken, Document, Limits, Mapping, Node, Scalar, Sequence
from netspec.document.reader import Reading, read_events
from netspec.document.scalars import TooLarge, resolve
from netspec.document.syntax import Problem, control_character, explain

_MOST_ERRORS = 20
_MOST_TRIALS = 60
_MOST_CHARACTERS = 4_000_000  # read again in all: about five seconds

# libyaml follows YAML 1.1, where these end a line; in 1.2, and in every editor, they do not.
_OLD_LINE_ENDS = "\x85\u2028\u2029"
_LINE = re.compile(
    r"""(?P<indent>[ ]*)
        (?P<dashes>(?:-[ ]+)*)
        (?:(?P<key>"[^"\n]*"|'[^'\n]*'|[^\s\#'"\[\]{},&*!|>%@`-][^\#\n{\[]*?)[ ]*:(?=\s|\Z)[ \t]*)?
        (?P<value>[^\r\n]*)""",
    re.VERBOSE,
)
_KEY_WITHIN = 1000  # characters of a line in which its key is looked for; the expression is quadratic
_CLOSERS = re.compile(r"[\]}]+,?\s*(?:#.*)?\Z")
_INDENT_TABS = re.compile(r"(?:\A|(?<=[\r\n]))[ ]*\t[ \t]*")
_NOT_LINE_END = re.compile(r"[^\r\n]")


@dataclass(slots=True)
class _Patch:
    """A part to take out. `stand_in` is what goes to its start: `x` for a value, `x:` for an entry, or
    nothing. The node for it, `node` if one is known, belongs `mark` characters into it."""

    start: int
    end: int
    stand_in: str
    indent: int = 0
    mark: int = 0
    node: Node | None = None


@dataclass(slots=True)
class _State:
    """The text as patched so far."""

    text: str
    broken: dict[int, Node] = field(default_factory=dict)
    dropped: list[tuple[int, int]] = field(default_factory=list)

    def patched(self, source: Source, patch: _Patch, partial: Node | None) -> _State:
        blank = _NOT_LINE_END.sub(" ", self.text[patch.start : patch.end])
        text = (
            self.text[: patch.start] + patch.stand_in + blank[len(patch.stand_in) :] + self.text[patch.end :]
        )
        broken = {start: node for start, node in self.broken.items() if not patch.start <= start < patch.end}
        dropped = list(self.dropped)
        if patch.stand_in:
            lost = source.text[patch.start : patch.end]
            start, end = patch.start + len(lost) - len(lost.lstrip()), patch.start + len(lost.rstrip())
            node = patch.node or Broken(Span(source, min(start, end), end), partial)
            broken[patch.start + patch.mark] = node
        else:
            dropped.append((patch.start, patch.indent))
        return _State(text, broken, dropped)


def read_source(source: Source, limits: Limits) -> Document:
    """Reads a source, reporting every syntax error that can be told apart from the consequences of others."""
    if "\0" in source.text:
        at = source.text.index("\0")
        found = Diagnostic(
            "binary-file", "error", "NUL character: this is not a text file", Span(source, at, at + 1)
        )
        return Document(None, [found], source)
    text, restore = _hide_old_line_ends(source.text)
    return _Recovery(source, limits, text, restore).run()


class _Recovery:
    def __init__(self, source: Source, limits: Limits, text: str, restore: dict[int, int] | None) -> None:
        self.source, self.limits, self.restore = source, limits, restore
        self.state = _State(text)
        self.found: list[Diagnostic] = []
        self.characters, self.trials = _MOST_CHARACTERS, _MOST_TRIALS

    def run(self) -> Document:
        self._take_out_control_characters()
        reading, problem = self._read(self.state)
        while problem is not None:
            found = self._diagnostic(problem, reading.path)
            if any((found.code, found.span) == (each.code, each.span) for each in self.found):
                break  # no way past it
            self.found.append(found)
            after = self._recover(problem, reading) if len(self.found) < _MOST_ERRORS else None
            if after is None:
                break
            reading, problem = after
        self.found += reading.diagnostics
        self.found.sort(key=lambda each: each.span.start if each.span else 0)
        root = reading.root
        if not self.found and (not reading.has_document or _is_nothing(root)):
            advice = "a network starts with `netspec: 1`"
            where = Span(self.source, 0, 0)
            self.found.append(Diagnostic("empty-file", "error", "the file is empty", where, help=advice))
            root = None
        return Document(root, self.found, self.source)

    def _read(self, state: _State) -> tuple[Reading, Problem | None]:
        reading = read_events(self.source, state.text, self.limits, state.broken, state.dropped, self.restore)
        if reading.complaint is None:
            self.characters -= len(state.text)
            return reading, None
        self.characters -= reading.complaint.at
        return reading, explain(self.source, state.text, reading.complaint, reading.open_flows)

    def _recover(self, problem: Problem, reading: Reading) -> tuple[Reading, Problem | None] | None:
        """The first patch that lets reading get past the mistake, or None."""
        if problem.code == "tab-indentation":
            text = _INDENT_TABS.sub(lambda found: " " * len(found[0]), self.state.text)
            state = _State(text, self.state.broken, self.state.dropped)
            after = self._read(state)
            if after[1] is None or (after[1].anchor > problem.anchor and not self._had_tab(after[1].at)):
                self.state = state
                return after
        patches = _patches(self.source, self.state.text, problem.anchor)
        if problem.code == "missing-space":
            patches = chain(_split(self.source, self.state.text, problem.anchor), patches)
        for patch in patches:
            if self.trials <= 0 or self.characters <= 0:
                return None
            self.trials -= 1
            state = self.state.patched(self.source, patch, _partial(reading.root, patch.start))
            after = self._read(state)
            following = after[1]
            if following is None or (
                following.anchor > problem.anchor and min(following.at, following.anchor) >= patch.end
            ):
                self.state = state
                return after
        return None

    def _had_tab(self, at: int) -> bool:
        start = self.source.line_start(self.source.position(at)[0])
        return _INDENT_TABS.match(self.source.text, start) is not None

    def _take_out_control_characters(self) -> None:
        while len(self.found) < _MOST_ERRORS and (problem := control_character(self.source, self.state.text)):
            self.found.append(self._diagnostic(problem, ""))
            for patch in _patches(self.source, self.state.text, problem.anchor):
                if patch.start <= problem.anchor < patch.end and patch.stand_in:
                    self.state = self.state.patched(self.source, patch, None)
                    break
            else:
                self._blank(problem.anchor)
        while problem := control_character(self.source, self.state.text):  # beyond what is worth reporting
            self.state.text = problem.pattern.sub(" ", self.state.text)

    def _blank(self, at: int) -> None:
        text = self.state.text
        self.state.text = text[:at] + " " + text[at + 1 :]

    def _diagnostic(self, problem: Problem, path: str) -> Diagnostic:
        notes = tuple(Note(message, Span(self.source, start, end)) for message, start, end in problem.notes)
        span = Span(self.source, problem.start, problem.end)
        return Diagnostic(problem.code, "error", problem.message, span, path, notes, problem.help)


def _patches(source: Source, text: str, at: int) -> Iterator[_Patch]:
    """What could be taken out around an offset, smallest first: the value, the item, the line, then the same
    for each entry around it."""
    line = source.position(at)[0]
    while line > 1 and not _content(source, text, line):
        line -= 1
    first = True
    while True:
        content = _content(source, text, line)
        indent = _indent(content)
        yield from _line_patches(source, text, line, content, first)
        parent = _parent(source, text, line, indent, content)
        if parent is None:
            return
        line, first = parent, False


def _split(source: Source, text: str, colon: int) -> Iterator[_Patch]:
    """`type:Conv2d` as `type: x` with the value it would have had."""
    start = colon + 1
    end = source.line_start(source.position(colon)[0]) + len(
        _content(source, text, source.position(colon)[0])
    )
    if end - start < 2:
        return
    value, span = text[start:end], Span(source, start, end)
    node: Node = Broken(span)
    if re.fullmatch(r"[\w.+-]+", value):
        with suppress(TooLarge):
            node = Scalar(resolve(value), value, span, True)
    yield _Patch(start, end, " x", mark=1, node=node)


def _line_patches(source: Source, text: str, line: int, content: str, innermost: bool) -> Iterator[_Patch]:
    start = source.line_start(line)
    found = _LINE.match(content[:_KEY_WITHIN])
    if found is None or not content.strip():
        return
    column = found.end("indent")
    whole = _Patch(start + column, start + len(content), "", column)
    if (
        content.lstrip(" ")[0] in "\t%"
    ):  # nothing can be told from a tab's indentation; directives are no entries
        whole.start, whole.indent = start, 0
        yield whole
        return
    dashes = [start + found.start("dashes") + each.start() for each in re.finditer("-", found["dashes"])]
    if found["key"] is not None:
        column = found.start("key")
        end = _extent(source, text, line, column)
        at = start + found.start("value")
        if found["value"].startswith("#") or not found["value"]:
            # The value begins on a later line; it must stand deeper than its key to be one.
            inner = re.compile(r"\S").search(text, min(at, end), end)
            at = inner.start() if inner else end
            if at < end and source.position(at)[1] - 1 <= column:
                at = end
        if at < end:
            yield _Patch(at, end, "x")
    for dash in reversed(dashes):
        inner = re.compile(r"[^\s-]|-(?! )").search(text, dash + 1)
        end = _extent(source, text, line, dash - start)
        at = min(dash + 2, end)
        if inner and inner.start() < end:
            at = inner.start() if dash == dashes[-1] else at
        if at < end:
            yield _Patch(at, end, "x")
    if not dashes:
        end = _extent(source, text, line, column)
        if end - start - column >= 2:
            yield _Patch(start + column, end, "x:")
    elif innermost:
        whole.end = end = _extent(source, text, line, column)
        for wanted in _dash_columns(source, text, line):
            stand_in = f"{' ' * wanted}- x"
            if wanted != column and len(stand_in) <= len(content):
                yield _Patch(start, end, stand_in, mark=wanted + 2)
    if innermost:
        yield whole


def _dash_columns(source: Source, text: str, line: int) -> list[int]:
    """Where the list items above a line stand, the nearest first: one of them is meant."""
    found: dict[int, None] = {}
    for above in range(line - 1, max(0, line - 200), -1):
        content = _content(source, text, above)
        if content.lstrip(" ").startswith("- "):
            found[_indent(content)] = None
    return list(found)[:3]


def _extent(source: Source, text: str, line: int, column: int) -> int:
    """Where the entry that begins at a line and column ends: before the next line no deeper than it."""
    last = line
    for following in range(line + 1, source.line_count + 1):
        content = _content(source, text, following)
        stripped = content.lstrip(" \t")
        if not stripped or stripped.startswith("#"):
            continue
        if _indent(content) <= column and not (_CLOSERS.match(stripped) and _indent(content) == column):
            break
        last = following
    return source.line_start(last) + len(_content(source, text, last))


def _parent(source: Source, text: str, line: int, indent: int, content: str) -> int | None:
    """The line of the entry around a line's first entry."""
    is_item = content.lstrip(" ").startswith("-")
    for above in range(line - 1, 0, -1):
        other = _content(source, text, above)
        stripped = other.lstrip(" \t")
        if not stripped or stripped.startswith("#"):
            continue
        # A list may stand at its key's own indentation.
        if _indent(other) < indent or (is_item and _indent(other) == indent and not stripped.startswith("-")):
            return above
    return None


def _content(source: Source, text: str, line: int) -> str:
    start = source.line_start(line)
    return text[start : start + len(source.line_text(line))].rstrip()


def _indent(content: str) -> int:
    return len(content) - len(content.lstrip(" "))


def _partial(node: Node | None, start: int) -> Node | None:
    """What had been read from `start` on when the parser gave up: it is last in everything around it."""
    while node is not None and node.span is not None and node.span.start < start:
        if isinstance(node, Mapping) and node.entries:
            node = node.entries[-1].value
        elif isinstance(node, Sequence) and node.items:
            node = node.items[-1]
        else:
            return None
    return node if isinstance(node, Mapping | Sequence) else None


def _is_nothing(root: Node | None) -> bool:
    return root is None or (isinstance(root, Scalar) and root.plain and root.text == "")


def _hide_old_line_ends(text: str) -> tuple[str, dict[int, int] | None]:
    """The text with private characters in place of the old line ends, and the table to put them back."""
    if not any(character in text for character in _OLD_LINE_ENDS):
        return text, None
    unused = (code for code in range(0xE000, 0xF8FF) if chr(code) not in text)
    hide = {ord(character): next(unused, 0x20) for character in _OLD_LINE_ENDS}
    return text.translate(hide), {code: character for character, code in hide.items() if code != 0x20}
