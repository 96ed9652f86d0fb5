"""Names and references as they are written: what each means, also in texts with mistakes.

The graph knows what references mean in every instance of a block; this knows it in the text, where a block
stands once and an entry may be half-typed. It serves definitions, references, renaming and completion.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from netspec.diagnostics import Span
from netspec.document import Broken, Mapping, Node, Scalar, Sequence
from netspec.layers.parameters import REFERENCE
from netspec.network.blocks import Block
from netspec.network.entries import KINDS
from netspec.network.spec import SYMBOL

Kind = Literal["input", "layer", "block", "argument", "symbol"]

_ARGUMENT: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_WORD: Final = re.compile(r"(?<![\w$])[A-Za-z_][A-Za-z0-9_]*")
_EXTENTS: Final = ("shape", "sizes", "unflattened_size", "output_size")
"""Parameters in whose lists expressions over sizes may stand."""
_MOST_COPIES: Final = 1000


@dataclass(slots=True, eq=False)
class Name:
    """Something with a name. span: the name where it is declared, None where an entry has none.

    place: where to go to. node: the entry, block or input that it names.
    """

    kind: Kind
    text: str
    span: Span | None
    place: Span | None
    node: Node | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Occurrence:
    """A name at a place: declared, meant, or (port) one of its outputs."""

    span: Span
    name: Name
    role: Literal["declaration", "reference", "port"] = "reference"


@dataclass(slots=True, eq=False)
class Entry:
    """One item of a list of layers; labels are the names by which others may refer to it."""

    name: Name
    labels: tuple[str, ...]
    node: Mapping | None
    span: Span | None
    kind: str | None
    scope: Scope
    inner: Scope | None = None
    repeated: bool = False

    def text(self, key: str) -> str | None:
        """The text of a value, if it is a single one."""
        value = self.node.get(key) if self.node is not None else None
        return value.text if isinstance(value, Scalar) else None


@dataclass(slots=True, eq=False)
class Scope:
    """A list of entries. visible: the inputs of the network or block around it; block: that block."""

    path: tuple[str | int, ...]
    visible: dict[str, Name]
    block: OutlineBlock | None
    entries: list[Entry] = field(default_factory=list)
    names: dict[str, Entry] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class OutlineBlock:
    """A block as written, here or in an included file."""

    name: Name
    arguments: dict[str, Name] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    inputs: dict[str, Name] = field(default_factory=dict)
    scope: Scope | None = None


class Outline:
    """All names of a file. blocks: also those of included files."""

    def __init__(self, root: Node | None, blocks: Iterable[Block] = ()) -> None:
        self.inputs: dict[str, Name] = {}
        self.symbols: dict[str, Name] = {}
        self.blocks: dict[str, OutlineBlock] = {}
        self.scopes: dict[tuple[str | int, ...], Scope] = {}
        self.entries: dict[int, Entry] = {}
        self.occurrences: list[Occurrence] = []
        self._source = root.span.source if root is not None and root.span is not None else None
        mapping = _mapping(root)
        if mapping is not None:
            self._read(mapping, blocks)
        self._own = sorted(
            (o for o in self.occurrences if self._source is not None and o.span.source is self._source),
            key=lambda o: o.span.start,
        )
        self._starts = [o.span.start for o in self._own]

    # --- questions ----------------------------------------------------------------------------------

    def at(self, offset: int) -> Occurrence | None:
        """The name at an offset of the file's own text; behind its last character too."""
        index = bisect_right(self._starts, offset)
        for occurrence in reversed(self._own[max(0, index - 4) : index]):
            if occurrence.span.start <= offset <= occurrence.span.end:
                return occurrence
        return None

    def of(self, name: Name) -> list[Occurrence]:
        """Every place of a name, its declaration first where it is in this text."""
        return [o for o in self.occurrences if o.name is name and o.role != "port"]

    def scope_of(self, path: tuple[str | int, ...]) -> Scope | None:
        """The list that a path leads to, or the innermost known one on its way."""
        for length in range(len(path), 0, -1):
            if (found := self.scopes.get(path[:length])) is not None:
                return found
        return None

    def entry_at(self, offset: int) -> Entry | None:
        """The innermost entry around an offset."""
        best: Entry | None = None
        for entry in self.entries.values():
            span = entry.span
            if span is None or span.source is not self._source or not span.start <= offset <= span.end:
                continue
            if best is None or best.span is None or span.end - span.start <= best.span.end - best.span.start:
                best = entry
        return best

    # --- reading ------------------------------------------------------------------------------------

    def _read(self, root: Mapping, included: Iterable[Block]) -> None:
        for entry in _entries(root.get("inputs")):
            self.inputs[entry[0].text] = self._declare("input", entry[0], entry[1])
            shape = entry[1].get("shape") if isinstance(entry[1], Mapping) else entry[1]
            for item in shape.items if isinstance(shape, Sequence) else ():
                self._symbol(item)
        written: list[tuple[OutlineBlock, Mapping]] = []
        here = {id(value) for _, value in _entries(root.get("blocks"))}
        for block in included:
            if block.origin.node is not None and id(block.origin.node) not in here and block.span is not None:
                key = Scalar(block.name, block.name, block.span, True)
                written += self._block(key, block.origin.node)
        for key, value in _entries(root.get("blocks")):
            written += self._block(key, value)
        for outlined, node in written:
            path = ("blocks", outlined.name.text, "layers")
            outlined.scope = self._scope(node.get("layers"), path, outlined.inputs, outlined)
            self._references(node.get("outputs"), outlined.scope)
            for part in (node.get("layers"), node.get("outputs")):
                self._arguments(part, outlined)
        scope = self._scope(root.get("layers"), ("layers",), self.inputs, None)
        outputs = root.get("outputs")
        if isinstance(outputs, Mapping):
            for _, value in _entries(outputs):
                self._references(value.get("from") if isinstance(value, Mapping) else value, scope)
        else:
            self._references(outputs, scope)

    def _block(self, key: Scalar, value: Node) -> list[tuple[OutlineBlock, Mapping]]:
        node = _mapping(value)
        outlined = self.blocks[key.text] = OutlineBlock(self._declare("block", key, value))
        if node is None:
            return []
        required = []
        for argument, default in _entries(node.get("args")):
            outlined.arguments[argument.text] = self._declare("argument", argument, default)
            if isinstance(default, Scalar) and default.value is None:
                required.append(argument.text)
        outlined.required = tuple(required)
        listed = node.get("inputs")
        for item in listed.items if isinstance(listed, Sequence) else ():
            if isinstance(item, Scalar):
                outlined.inputs[item.text] = self._declare("input", item, item)
        if listed is None:
            outlined.inputs["x"] = Name("input", "x", None, key.span)
        return [(outlined, node)]

    def _declare(self, kind: Kind, key: Scalar, node: Node | None) -> Name:
        span = _inside(key)
        name = Name(kind, key.text, span, key.span, node)
        if span is not None:
            self.occurrences.append(Occurrence(span, name, "declaration"))
        return name

    def _symbol(self, item: Node) -> None:
        span = _inside(item) if isinstance(item, Scalar) and isinstance(item.value, str) else None
        if span is None or not SYMBOL.fullmatch(span.text):
            return
        known = self.symbols.get(span.text)
        if known is None:
            known = self.symbols[span.text] = Name("symbol", span.text, span, span, item)
            self.occurrences.append(Occurrence(span, known, "declaration"))
        else:
            self.occurrences.append(Occurrence(span, known))

    # --- lists of entries ---------------------------------------------------------------------------

    def _scope(
        self,
        node: Node | None,
        path: tuple[str | int, ...],
        visible: dict[str, Name],
        block: OutlineBlock | None,
    ) -> Scope:
        scope = self.scopes.setdefault(path, Scope(path, visible, block))
        while isinstance(node, Broken):
            node = node.partial
        position: int | None = 0
        for index, item in enumerate(node.items if isinstance(node, Sequence) else ()):
            entry, position = self._entry(item, scope, (*path, index), position)
            scope.entries.append(entry)
            for label in entry.labels:
                scope.names.setdefault(label, entry)
        for entry in scope.entries:
            self._inside_entry(entry, scope)
        return scope

    def _entry(
        self, item: Node, scope: Scope, path: tuple[str | int, ...], position: int | None
    ) -> tuple[Entry, int | None]:
        node, index = _mapping(item), path[-1] if position is None else position
        span = item.span
        if node is None:
            name = Name("layer", str(index), None, span, item)
            label = (str(position),) if position is not None else ()
            return Entry(name, label, None, span, None, scope), _next(position, 1)
        kind = next((key for key in KINDS if key in node), None)
        written = node.get("name")
        times = _times(node)
        place = next((v.span for key in (*KINDS, "name") if (v := _scalar(node.get(key))) is not None), span)
        labels: tuple[str, ...] = ()
        if isinstance(written, Scalar) and written.text not in ("", "~"):
            name = self._declare("layer", written, node)
            name.place = written.span
            labels = (written.text,)
            if "{}" in written.text:
                start, count = times if times is not None else (0, 0)
                labels = tuple(
                    written.text.replace("{}", str(start + i)) for i in range(min(count, _MOST_COPIES))
                )
            spliced = "{}" in written.text
        else:
            spliced = "repeat" in node
            name = Name("layer", str(index), None, place, node)
            if position is not None:
                count = min(times[1], _MOST_COPIES) if spliced and times is not None else 1
                labels = tuple(str(position + i) for i in range(count))
        entry = Entry(name, labels, node, span, kind, scope, repeated="repeat" in node and not spliced)
        self.entries[id(node)] = entry
        if kind == "layers":
            entry.inner = self._scope(node.get("layers"), (*path, "layers"), scope.visible, scope.block)
        return entry, _next(position, (times[1] if times is not None else None) if spliced else 1)

    def _inside_entry(self, entry: Entry, scope: Scope) -> None:
        node = entry.node
        if node is None:
            return
        self._references(node.get("inputs"), scope)
        self._references(node.get("use"), scope)
        if isinstance(size := node.get("output_size"), Scalar) and isinstance(size.value, str):
            self._references(size, scope)
        for parameter in _EXTENTS:
            value = node.get(parameter)
            for item in value.items if isinstance(value, Sequence) else ():
                self._expression(item)
        called = _scalar(node.get("block"))
        block = self.blocks.get(called.text) if called is not None else None
        if called is None or block is None:
            return
        span = _inside(called)
        if span is not None:
            self.occurrences.append(Occurrence(span, block.name))
        for key, _ in _entries(node.get("with")):
            argument, where = block.arguments.get(key.text), _inside(key)
            if argument is not None and where is not None:
                self.occurrences.append(Occurrence(where, argument))

    # --- references ---------------------------------------------------------------------------------

    def _references(self, node: Node | None, scope: Scope) -> None:
        items: Iterable[Node | None] = node.items if isinstance(node, Sequence) else (node,)
        for item in items:
            if isinstance(item, Scalar) and (span := _inside(item)) is not None:
                self._reference(span, scope)

    def _reference(self, span: Span, scope: Scope) -> None:
        text = span.text
        if not REFERENCE.fullmatch(text):
            return
        parts = list(re.finditer(r"[^.]+", text))
        head, rest = parts[0], parts[1:]
        place = Span(span.source, span.start, span.start + head.end())
        entry = scope.names.get(head[0])
        if entry is None:
            if head[0] in scope.visible:
                self.occurrences.append(Occurrence(place, scope.visible[head[0]]))
            return
        self.occurrences.append(Occurrence(place, entry.name))
        numbered = entry.repeated
        for part in rest:
            place = Span(span.source, span.start + part.start(), span.start + part.end())
            if numbered and part[0].isdigit():
                self.occurrences.append(Occurrence(place, entry.name, "port"))
                numbered = False
                continue
            child = self.child(entry, part[0])
            if child is None:
                self.occurrences.append(Occurrence(place, entry.name, "port"))
                return
            self.occurrences.append(Occurrence(place, child.name))
            entry, numbered = child, child.repeated

    def child(self, entry: Entry, label: str) -> Entry | None:
        """An entry inside another one."""
        inner = self.inner(entry)
        return inner.names.get(label) if inner is not None else None

    def inner(self, entry: Entry, depth: int = 0) -> Scope | None:
        """The list inside an entry: a nested one, a block's, or that of the entry it uses."""
        if entry.inner is not None or depth > 20:
            return entry.inner
        if entry.kind == "block":
            block = self.blocks.get(entry.text("block") or "")
            return block.scope if block is not None else None
        if entry.kind == "use":
            used = entry.scope.names.get((entry.text("use") or "").split(".")[0])
            return self.inner(used, depth + 1) if used is not None and used is not entry else None
        return None

    # --- inside values ------------------------------------------------------------------------------

    def _expression(self, item: Node) -> None:
        """Symbols in `(H*W)//4`."""
        if not isinstance(item, Scalar) or not isinstance(item.value, str):
            return
        span = _inside(item)
        for word in _WORD.finditer(span.text) if span is not None else ():
            known = self.symbols.get(word[0])
            if known is not None and span is not None:
                place = Span(span.source, span.start + word.start(), span.start + word.end())
                self.occurrences.append(Occurrence(place, known))

    def _arguments(self, node: Node | None, block: OutlineBlock) -> None:
        """`$names` in plain values."""
        for scalar in _scalars(node):
            if not scalar.plain or "$" not in scalar.text or scalar.span is None:
                continue
            text = scalar.span.text
            for found in _ARGUMENT.finditer(text):
                argument = block.arguments.get(found[1])
                if argument is not None:
                    start = scalar.span.start + found.start(1)
                    span = Span(scalar.span.source, start, start + len(found[1]))
                    self.occurrences.append(Occurrence(span, argument))


def _scalars(node: Node | None) -> Iterator[Scalar]:
    """Every value in a node, keys not counted."""
    stack = [node]
    while stack:
        here = stack.pop()
        if isinstance(here, Scalar):
            yield here
        elif isinstance(here, Sequence):
            stack += here.items
        elif isinstance(here, Mapping):
            stack += [entry.value for entry in here.entries]
        elif isinstance(here, Broken):
            stack.append(here.partial)


def _mapping(node: Node | None) -> Mapping | None:
    while isinstance(node, Broken):
        node = node.partial
    return node if isinstance(node, Mapping) else None


def _scalar(node: Node | None) -> Scalar | None:
    return node if isinstance(node, Scalar) else None


def _entries(node: Node | None) -> list[tuple[Scalar, Node]]:
    mapping = _mapping(node)
    return [(entry.key, entry.value) for entry in mapping.entries] if mapping is not None else []


def _inside(scalar: Scalar | Node) -> Span | None:
    """The characters of a scalar without its quotes; None where they are not its text (escapes, aliases)."""
    if not isinstance(scalar, Scalar) or scalar.span is None:
        return None
    span = scalar.span
    if span.text == scalar.text:
        return span
    if span.text[1:-1] == scalar.text and span.text[:1] in ("'", '"'):
        return Span(span.source, span.start + 1, span.end - 1)
    return None


def _times(node: Mapping) -> tuple[int, int] | None:
    """First number and count of `repeat`; None where it is not written as a number."""
    value = node.get("repeat")
    times = value.get("times") if isinstance(value, Mapping) else value
    start = value.get("from") if isinstance(value, Mapping) else None
    first = start.value if isinstance(start, Scalar) else 0
    count = times.value if isinstance(times, Scalar) else None
    if type(count) is not int or type(first) is not int:
        return None
    return first, count


def _next(position: int | None, count: int | None) -> int | None:
    return None if position is None or count is None else position + count
