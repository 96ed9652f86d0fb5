"""YAML events to nodes, with an explicit stack and under limits.

PyYAML's own `compose` and `load` recurse in C, where 100,000 brackets end the process, and know neither
limits nor duplicate keys. Reading events costs the same and stops at the first one too many.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from netspec.diagnostics import Diagnostic, Note, Source, Span, format_path
from netspec.document.nodes import Broken, Entry, Limits, Mapping, Node, Scalar, ScalarValue, Sequence
from netspec.document.pasted import fold_entries, fold_items
from netspec.document.scalars import TooLarge, convert, resolve, too_large_advice

_PROPERTIES = re.compile(r"(?:[&!]\S*(?:\s+|\s+#[^\n]*\s+))+")
_GLUED = re.compile(r"([A-Za-z_]\w*):(?!//)(\S.*)", re.DOTALL)
_CORE = "tag:yaml.org,2002:"
_SCALAR_TAGS = ("str", "int", "float", "bool", "null")
_NEVER = 1 << 60


@dataclass(slots=True)
class Complaint:
    """The YAML parser's error: what it was doing since `context_at`, and what it met at `at`."""

    context: str
    context_at: int | None
    problem: str
    at: int


@dataclass(slots=True)
class Reading:
    """One pass over a text. With a complaint, `root` is what had been read, and `open_flows` where the
    brackets still open then begin."""

    root: Node | None
    diagnostics: list[Diagnostic]
    complaint: Complaint | None
    path: str
    open_flows: list[int]
    has_document: bool


class _Stop(Exception):
    """Reading must end here; the reason is reported."""


class _Frame:
    """A list or mapping being read."""

    __slots__ = ("anchor", "complete", "entries", "flow", "height", "is_mapping", "items", "key", "merges",
                 "parens", "size", "start")  # fmt: skip

    def __init__(self, is_mapping: bool, start: int, flow: bool, anchor: str | None, size: int) -> None:
        self.is_mapping = is_mapping
        self.start = start
        self.flow = flow
        self.anchor = anchor
        self.size = size  # nodes read before this one
        self.height = 0  # levels below
        self.items: list[Node] = []
        self.entries: list[Entry] = []
        self.key: Scalar | None = None
        self.complete = True
        self.merges = False
        self.parens = False


# Stands for a key that was reported or taken out; its value is not kept.
_DROPPED = Scalar("", "", None, False)


def parser_class() -> Any:
    """libyaml's parser where PyYAML was built with it, otherwise the one in Python."""
    import yaml  # late: start-up time

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_events(
    source: Source,
    text: str,
    limits: Limits,
    broken: dict[int, Node] | None = None,
    dropped: list[tuple[int, int]] | None = None,
    restore: dict[int, int] | None = None,
) -> Reading:
    """Reads `text`, which is `source.text` with the same length but perhaps parts taken out.

    `broken`: offsets of the stand-ins and the nodes they stand for. `dropped`: offset and indentation of
    lines taken out altogether. `restore`: characters to put back into values (see recovery).
    """
    reader = _Reader(source, text, limits, broken or {}, dropped or [], restore)
    complaint = reader.read(text)
    if complaint is not None and "nesting" in complaint.problem:
        # From 0.2.6 on libyaml has a limit of its own, 1000, and meets it while it looks ahead for the colon of
        # a key, before it hands out the first bracket. The text up to there is enough for ours.
        at = complaint.at
        reader = _Reader(source, text, limits, broken or {}, dropped or [], restore)
        complaint = reader.read(text[:at])
        if not reader.stopped and (complaint is None or complaint.at >= at):  # ours is the larger one
            reader.too_deep(at)
            complaint = None
    path, flows = reader.path(), [frame.start for frame in reader.stack if frame.flow]
    reader.close_all()
    return Reading(reader.root, reader.diagnostics, complaint, path, flows, reader.documents > 0)


class _Reader:
    def __init__(
        self,
        source: Source,
        text: str,
        limits: Limits,
        broken: dict[int, Node],
        dropped: list[tuple[int, int]],
        restore: dict[int, int] | None,
    ) -> None:
        self.source, self.text, self.limits = source, text, limits
        self.broken, self.restore = broken, restore
        self.dropped = sorted(dropped)
        self.next_drop = self.dropped[0][0] if dropped else _NEVER
        self.diagnostics: list[Diagnostic] = []
        self.root: Node | None = None
        self.stack: list[_Frame] = []
        # An anchor's value, size and height; its frame while it is being read.
        self.anchors: dict[str, tuple[Node, int, int] | _Frame] = {}
        self.values: dict[str, ScalarValue] = {}  # a file repeats few words many times
        self.total = 0
        self.end = 0  # of the last token read
        self.documents = 0
        self.parens = "(" in text
        self.stopped = False  # by a limit, or at a second document

    # -- events

    def read(self, text: str) -> Complaint | None:
        """Reads events to the end of `text`, to a limit or to the parser's complaint."""
        import yaml

        try:
            self.run(parser_class()(text))
        except _Stop:
            self.stopped = True
        except yaml.MarkedYAMLError as error:
            at = error.problem_mark or error.context_mark
            context_at = error.context_mark.index if error.context_mark else None
            return Complaint(
                error.context or "", context_at, error.problem or "", at.index if at else len(text)
            )
        return None

    def run(self, parser: Any) -> None:
        """Reads events to the end of the stream. Raises _Stop and the parser's errors."""
        from yaml import (
            AliasEvent,
            DocumentStartEvent,
            MappingEndEvent,
            MappingStartEvent,
            ScalarEvent,
            SequenceEndEvent,
            SequenceStartEvent,
            StreamEndEvent,
        )

        get_event, most = parser.get_event, self.limits.nodes
        while True:
            event = get_event()
            kind = type(event)
            start = event.start_mark.index
            if start >= self.next_drop:
                self._mark_dropped(start)
            if kind is ScalarEvent:
                self.total += 1
                if self.total > most:
                    self._too_many(start)
                self._scalar(event, start)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                self.total += 1
                if self.total > most:
                    self._too_many(start)
                self._open(event, start, kind is MappingStartEvent)
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                if self.stack[-1].flow:
                    self.end = event.end_mark.index
                self._close()
            elif kind is AliasEvent:
                self._alias(event, start)
            elif kind is DocumentStartEvent:
                self._document(event, start)
            elif kind is StreamEndEvent:
                return

    def _document(self, event: Any, start: int) -> None:
        self.documents += 1
        if self.documents > 1:
            marker = self.text.find("---", start)  # directives may stand before it
            at = marker if marker >= 0 else start
            self._report(
                "multiple-documents",
                "a second document starts here; a file holds one",
                self._span(at, min(at + 3, len(self.text))),
                "put it into its own file, or remove the `---`",
            )
            raise _Stop

    def _scalar(self, event: Any, start: int) -> None:
        end = event.end_mark.index
        self.end = end
        text = event.value
        plain = event.style is None or event.style == ""
        if self.restore:
            text = text.translate(self.restore)
        if event.style in ("|", ">"):
            end = start + len(self.text[start:end].rstrip())
            self.end = end
        if self.broken and start in self.broken:
            self._add_broken(self.broken[start])
            return
        anchor, tag = event.anchor, event.tag
        if anchor is not None or tag is not None:
            start = self._after_properties(start, end)
        node: Node
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.is_mapping and frame.key is None:
            node = self._key(frame, Scalar(text, text, Span(self.source, start, end), plain))
        elif tag is not None and tag != "!":
            node = self._tagged(event, text, start, end)
        elif plain and tag is None:
            node = self._plain(text, start, end)
            if self.parens and frame is not None and frame.flow and "(" in text:
                frame.parens = True
        else:
            node = Scalar(text, text, Span(self.source, start, end), False)
        if anchor is not None:
            self.anchors[anchor] = (node, 1, 0)
        self._add(node, frame)

    def _plain(self, text: str, start: int, end: int) -> Node:
        values = self.values
        if text in values:
            return Scalar(values[text], text, Span(self.source, start, end), True)
        try:
            value = resolve(text)
        except TooLarge as error:
            return self._too_large(error, start, end)
        values[text] = value
        return Scalar(value, text, Span(self.source, start, end), True)

    def _tagged(self, event: Any, text: str, start: int, end: int) -> Node:
        name = event.tag.removeprefix(_CORE) if event.tag.startswith(_CORE) else None
        span = Span(self.source, start, end)
        if name in ("map", "seq"):
            return self._bad_tag(event, f"`!!{name}` stands before a single value", "invalid-tag-value")
        if name not in _SCALAR_TAGS:
            return self._bad_tag(event)
        try:
            return Scalar(convert(text, name), text, span, name != "str")
        except TooLarge as error:
            return self._too_large(error, start, end)
        except ValueError:
            self._report("invalid-tag-value", f"`{text[:80]}` is not a value of `!!{name}`", span)
            return Broken(span)

    def _too_large(self, error: TooLarge, start: int, end: int) -> Broken:
        message, advice = too_large_advice(error.args[0])
        span = Span(self.source, start, end)
        self._report(error.args[0], message, span, advice)
        return Broken(span)

    def _bad_tag(self, event: Any, message: str | None = None, code: str = "unsupported-tag") -> Broken:
        start, end = event.start_mark.index, event.end_mark.index
        # A collection's event may end before its properties do, and they may span lines.
        end = max(end, min(len(self.text), start + 1000))
        found = re.compile(r"(?:&\S*\s+)*(![^\s,\[\]{}]*)").match(self.text, start, end)
        span = Span(self.source, *found.span(1)) if found else Span(self.source, start, start)
        shown = found[1] if found else event.tag
        self._report(code, message or f"the tag `{shown}` is not supported", span, "remove the tag")
        return Broken(span)

    def _open(self, event: Any, start: int, is_mapping: bool) -> None:
        stack = self.stack
        if len(stack) >= self.limits.depth:
            span = self._span(start, min(start + 1, len(self.text)))
            self._report("too-deep", f"nested more than {self.limits.depth} deep", span)
            raise _Stop
        if event.anchor is not None or event.tag is not None:
            if event.tag not in (None, "!", _CORE + ("map" if is_mapping else "seq")):
                known = event.tag.startswith(_CORE) and event.tag.removeprefix(_CORE) in (
                    *_SCALAR_TAGS,
                    "map",
                    "seq",
                )
                what = "mapping" if is_mapping else "list"
                message = f"`!!{event.tag.removeprefix(_CORE)}` stands before a {what}" if known else None
                self._bad_tag(event, message, "invalid-tag-value" if known else "unsupported-tag")
            start = self._after_properties(start, len(self.text))
        frame = _Frame(is_mapping, start, event.flow_style, event.anchor, self.total - 1)
        if event.anchor is not None:
            self.anchors[event.anchor] = frame
        stack.append(frame)

    def _close(self) -> None:
        frame = self.stack.pop()
        span = Span(self.source, frame.start, max(self.end, frame.start))
        node: Node
        if frame.is_mapping:
            node = self._mapping(frame, span)
        else:
            items = fold_items(frame.items, self._pasted) if frame.parens else frame.items
            node = Sequence(items, span, frame.complete)
        if frame.anchor is not None and self.anchors.get(frame.anchor) is frame:
            self.anchors[frame.anchor] = (node, self.total - frame.size, frame.height + 1)
        parent = self.stack[-1] if self.stack else None
        if parent is not None and frame.height + 1 > parent.height:
            parent.height = frame.height + 1
        if parent is not None and parent.is_mapping and parent.key is None:
            # A key inside this one may have been reported at the same place already.
            places = [(each.code, each.span.start) for each in self.diagnostics[-8:] if each.span]
            if ("complex-key", span.start) not in places:
                self._report("complex-key", "a key must be text, not a list or mapping", span)
            parent.key = _DROPPED
            return
        self._add(node, parent)

    def close_all(self) -> None:
        """Closes what a syntax error or limit has left open."""
        while self.stack:
            frame = self.stack[-1]
            frame.complete = False
            if frame.key is not None:
                at = frame.key.span.end if frame.key.span else self.end
                self._add(Broken(self._span(at, at)), frame)
            elif len(self.stack) > 1 and self.stack[-2].is_mapping and self.stack[-2].key is None:
                self.stack[-2].key = _DROPPED
            self._close()

    def _alias(self, event: Any, start: int) -> None:
        end = event.end_mark.index
        self.end = end
        span = Span(self.source, start, end)
        known = self.anchors.get(event.anchor)
        frame = self.stack[-1] if self.stack else None
        node: Node
        if known is None:
            self._report("undefined-alias", f"no anchor `&{event.anchor}` is defined before this alias", span)
            node = Broken(span)
        elif isinstance(known, _Frame):
            note = Note("this value would contain itself", self._span(known.start, known.start + 1))
            self._report(
                "recursive-alias", f"`*{event.anchor}` stands inside the value it repeats", span, None, note
            )
            node = Broken(span)
        else:
            node, size, height = known
            self.total += size
            if self.total > self.limits.nodes:
                self._too_many(start, end)
            if len(self.stack) + height > self.limits.depth:
                self._report(
                    "too-deep", f"nested more than {self.limits.depth} deep through this alias", span
                )
                raise _Stop
            if frame is not None:
                frame.height = max(frame.height, height)
        if frame is not None and frame.is_mapping and frame.key is None:
            if isinstance(node, Scalar):
                node = self._key(frame, Scalar(node.text, node.text, span, False))
            else:
                if not isinstance(node, Broken):
                    self._report("complex-key", "a key must be text, not a list or mapping", span)
                node = _DROPPED
                frame.complete = False
        self._add(node, frame)

    # -- nodes

    def _add(self, node: Node, frame: _Frame | None) -> None:
        if frame is None:
            self.root = node
        elif not frame.is_mapping:
            frame.items.append(node)
        elif frame.key is None:
            assert isinstance(node, Scalar)  # _key and _close see to that
            frame.key = node
        else:
            key, frame.key = frame.key, None
            if key is not _DROPPED:
                if (
                    frame.flow
                    and isinstance(node, Scalar)
                    and node.text == ""
                    and ":" in key.text
                    and key.plain
                ):
                    key, node = self._split_glued(key, node)
                frame.entries.append(Entry(key, node))

    def _add_broken(self, node: Node) -> None:
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.is_mapping and frame.key is None:
            frame.complete = False
            frame.key = _DROPPED
        else:
            self._add(node, frame)

    def _key(self, frame: _Frame, key: Scalar) -> Scalar:
        assert key.span is not None
        if not key.plain:
            return key
        if key.text == "<<":
            frame.merges = True
        elif key.text == "":
            self._report(
                "empty-key", "there is no key before this `:`", self._span(key.span.start, key.span.start + 1)
            )
            return _DROPPED
        elif key.text[-1] == ":":
            text = key.text.rstrip(":").rstrip()
            span = Span(self.source, key.span.end - 1, min(key.span.end + 1, len(self.text)))
            self._report("doubled-colon", f"two colons after `{text}`", span, "write one")
            return Scalar(text, text, Span(self.source, key.span.start, key.span.start + len(text)), True)
        return key

    def _split_glued(self, key: Scalar, value: Scalar) -> tuple[Scalar, Node]:
        """`{name:conv1}` reads as the key `name:conv1` without a value."""
        found = _GLUED.fullmatch(key.text)
        if found is None or key.span is None:
            return key, value
        name, rest = found.groups()
        start = key.span.start
        colon = start + len(name)
        message, advice = f"no space after the colon of `{name}`", f"write `{name}: {rest}`"
        self._report("missing-space", message, self._span(colon, colon + 1), advice)
        node = self._plain(rest, colon + 1, key.span.end)
        return Scalar(name, name, Span(self.source, start, colon), True), node

    def _mapping(self, frame: _Frame, span: Span) -> Mapping:
        entries = frame.entries
        if frame.parens:
            entries = fold_entries(entries, self._pasted)
        if frame.merges:
            entries = self._merge(frame, entries)
        index = {entry.key.text: entry for entry in entries}
        if len(index) != len(entries):
            index = self._without_duplicates(entries)
            entries = list(index.values())
        return Mapping(entries, span, frame.complete, index)

    def _without_duplicates(self, entries: list[Entry]) -> dict[str, Entry]:
        index: dict[str, Entry] = {}
        for entry in entries:
            name = entry.key.text
            first = index.setdefault(name, entry)
            if first is not entry:
                note = Note("first given here", first.key.span)
                self._report(
                    "duplicate-key", f"the key `{name}` is given twice", entry.key.span, None, note, name
                )
        return index

    def _merge(self, frame: _Frame, entries: list[Entry]) -> list[Entry]:
        """Entries with each `<<` replaced by what it brings; explicit keys win, then earlier mappings."""
        taken = {entry.key.text for entry in entries if not _is_merge(entry)}
        merged: list[Entry] = []
        for entry in entries:
            if not _is_merge(entry):
                merged.append(entry)
                continue
            sources = entry.value.items if isinstance(entry.value, Sequence) else [entry.value]
            for node in sources:
                if not isinstance(node, Mapping):
                    frame.complete = False
                    if not isinstance(node, Broken):
                        self._bad_merge(entry, node)
                    continue
                frame.complete &= node.complete
                fresh = [each for each in node.entries if each.key.text not in taken]
                taken.update(each.key.text for each in fresh)
                merged += fresh
        return merged

    def _bad_merge(self, entry: Entry, node: Node) -> None:
        message = "`<<` takes a mapping or a list of mappings"
        self._report("invalid-merge", message, node.span or entry.key.span, None, name="<<")

    # -- reports

    def path(self) -> str:
        """Where reading is."""
        return format_path(self._parts())

    def _parts(self) -> list[str | int]:
        parts: list[str | int] = []
        for frame in self.stack:
            if not frame.is_mapping:
                parts.append(len(frame.items))
            elif frame.key is not None and frame.key is not _DROPPED:
                parts.append(frame.key.text)
        return parts

    def _report(
        self,
        code: str,
        message: str,
        span: Span | None,
        advice: str | None = None,
        note: Note | None = None,
        name: str | None = None,
    ) -> None:
        parts = self._parts()
        path = format_path([*parts, name] if name is not None else parts)
        notes = (note,) if note else ()
        self.diagnostics.append(Diagnostic(code, "error", message, span, path, notes, advice))

    def _pasted(self, code: str, message: str, span: Span, advice: str) -> None:
        self._report(code, message, span, advice)

    def too_deep(self, at: int) -> None:
        """What libyaml refuses though it is within our limit."""
        self._report("too-deep", "nested deeper than libyaml reads", self._span(at, at + 1))

    def _too_many(self, start: int, end: int | None = None) -> None:
        span = self._span(start, end if end is not None else min(start + 1, len(self.text)))
        advice = "aliases count as copies of what they repeat" if self.anchors else None
        self._report("too-many-nodes", f"more than {self.limits.nodes:,} values", span, advice)
        raise _Stop

    def _span(self, start: int, end: int) -> Span:
        return Span(self.source, start, min(end, len(self.text)))

    def _after_properties(self, start: int, end: int) -> int:
        found = _PROPERTIES.match(self.text, start, end)
        return found.end() if found else start

    def _mark_dropped(self, start: int) -> None:
        """A line was taken out before `start`: whatever could have owned it is incomplete."""
        while self.dropped and self.dropped[0][0] <= start:
            _, indent = self.dropped.pop(0)
            if not self.stack and isinstance(self.root, Mapping | Sequence):
                self.root.complete = False
            for frame in reversed(self.stack):
                frame.complete = False
                if self.source.position(frame.start)[1] - 1 <= indent:
                    break
        self.next_drop = self.dropped[0][0] if self.dropped else _NEVER


def _is_merge(entry: Entry) -> bool:
    return entry.key.text == "<<" and entry.key.plain
