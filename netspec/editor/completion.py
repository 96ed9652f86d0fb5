"""What can be written at the cursor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from netspec.editor.cursor import Cursor, find
from netspec.editor.outline import Scope
from netspec.editor.places import entry_path, kind_of
from netspec.editor.view import View
from netspec.editor.words import (
    choices,
    inner_keys,
    layer_class,
    parameter_words,
    required,
    type_words,
)
from netspec.layers import REGISTRY, Layer
from netspec.layers.initialize import METHODS
from netspec.layers.tensor import DTYPES
from netspec.network.schema import signature

Kind = Literal["type", "parameter", "key", "reference", "value", "block", "argument", "symbol"]


@dataclass(frozen=True, slots=True)
class Offer:
    """One completion: a text, or a snippet (`$1` is where to go on), in place of a part of the document.

    words: the documentation's Markdown; of types and parameters `documentation` gives it, the latter by `of`.
    rank: lower ones come first.
    """

    label: str
    kind: Kind
    start: int
    end: int
    snippet: str
    plain: str
    detail: str = ""
    words: str = ""
    rank: int = 5
    of: str = ""


def complete(view: View, offset: int) -> list[Offer]:
    """What can stand at an offset; in words that are half-typed too."""
    cursor = find(view.text, offset)
    if cursor is None:
        return []
    return list({offer.label: offer for offer in _Completion(view, cursor).offers()}.values())


def documentation(label: str, kind: str, type_name: str | None) -> str:
    """The words of an offer, for those who ask later: they would be long for all of them."""
    cls = layer_class(label if kind == "type" else type_name)
    if cls is None:
        return ""
    return type_words(cls) if kind == "type" else parameter_words(cls, label) or ""


@dataclass(frozen=True, slots=True)
class _Style:
    """How a mapping is written: in brackets, or with its keys at a column."""

    flow: bool
    column: int


class _Completion:
    def __init__(self, view: View, cursor: Cursor) -> None:
        self.view, self.cursor = view, cursor
        self.outline = view.outline
        self.path = cursor.path
        line = max(view.text.rfind("\n", 0, cursor.start), view.text.rfind("\r", 0, cursor.start)) + 1
        lead = re.compile(r"[ \t]*").match(view.text, line)
        self.lead = lead.end() - line if lead is not None else 0
        following = re.compile(r"[ \t]*([^\r\n]?)").match(view.text, cursor.end)
        self.follows = following[1] if following is not None else ""

    def offers(self) -> Iterator[Offer]:
        """Everything that may stand here."""
        cursor, path = self.cursor, self.path
        if cursor.role == "key":
            yield from self.keys(path, cursor.frame.keys if cursor.frame is not None else {})
            return
        if cursor.role == "item" and kind_of(path[:-1]) == "layers":
            yield from self.entries(path[:-1])
            return
        yield from self.values(path)

    def offer(
        self, label: str, kind: Kind, snippet: str | None = None, *, plain: str | None = None, **more: object
    ) -> Offer:
        """An offer in place of the word at the cursor; a space is added where one is missing."""
        space = " " if self.cursor.glued else ""
        written = label if plain is None else plain
        snippet = _escaped(written) if snippet is None else snippet
        start = self.cursor.start
        return Offer(label, kind, start, self.cursor.end, space + snippet, space + written, **more)  # type: ignore[arg-type]

    # --- keys ---------------------------------------------------------------------------------------

    def keys(self, path: tuple[str | int, ...], given: dict[str, str]) -> Iterator[Offer]:
        """Keys of the mapping at a path that are not given yet."""
        kind = kind_of(path)
        if kind == "layers":  # an item is missing its dash
            yield from self.entries(path, dash=True)
        elif kind == "entry":
            yield from self.entry_keys(path, given)
        elif kind == "with":
            yield from self.argument_keys(path, given)
        elif kind == "init":
            cls = self.entry_class(path)
            for name in cls.parameter_names if cls is not None else ():
                yield from self.key(name, given, "parameter")
        elif kind == "initial":
            method = METHODS.get(given.get("method", ""))
            for name in ("method", *(method.defaults if method is not None else ())):
                yield from self.key(name, given, "key")
        elif kind == "file" and "runner" in given and "layers" not in given:
            for name, words in inner_keys("profile").items():
                yield from self.key(name, given, "key", words)
        elif kind is not None:
            for name, words in inner_keys(kind).items():
                yield from self.key(name, given, "key", words)

    def key(
        self, name: str, given: Iterable[str], kind: Kind, words: str = "", value: str = "$1", rank: int = 5
    ) -> Iterator[Offer]:
        """A key with a place for its value."""
        if name in given and name != self.cursor.word:
            return
        if self.follows == ":":
            yield self.offer(name, kind, words=words, rank=rank)
            return
        comma = ", " if self.in_brackets and re.match(r"[\w'\"]", self.follows) else ""
        if (
            name in ("layers", "blocks", "args", "inputs", "outputs", "with", "init", "picture")
            and not self.in_brackets
        ):
            value = value if value != "$1" else self.opened(name)
        plain = f"{name}: {comma}"
        yield self.offer(name, kind, f"{name}: {value}{comma}", plain=plain, words=words, rank=rank)

    def opened(self, name: str) -> str:
        """What a key with a mapping or list goes on with in block style."""
        if name in ("with", "init", "picture", "args"):
            return "{$1}"
        if name == "layers":
            return "\n" + " " * (self.column - self.lead + 2) + "- $1"
        return "$1"

    @property
    def in_brackets(self) -> bool:
        """Whether the innermost mapping or list is written in brackets."""
        return self.cursor.frame is not None and self.cursor.frame.flow

    @property
    def column(self) -> int:
        """Where the keys of the mapping at the cursor stand."""
        return self.cursor.frame.column if self.cursor.frame is not None else 0

    def entry_keys(self, path: tuple[str | int, ...], given: dict[str, str]) -> Iterator[Offer]:
        """Keys of an entry: its type's own parameters, or what makes it an entry."""
        docs = inner_keys("entry")
        cls = layer_class(given.get("type"))
        if "type" in given:
            yield from self.parameters(cls, given, path)
            for name in ("inputs", "name", "repeat"):
                yield from self.key(name, given, "key", docs[name], rank=6)
        elif "block" in given:
            yield from self.key(
                "with", given, "key", docs["with"], self.with_arguments(given["block"]), rank=2
            )
            for name in ("inputs", "name", "repeat"):
                yield from self.key(name, given, "key", docs[name])
        elif "use" in given or "layers" in given:
            for name in ("inputs", "name", "repeat"):
                yield from self.key(name, given, "key", docs[name])
        else:
            for name in ("type", "block", "layers", "use", "name", "inputs", "repeat"):
                yield from self.key(name, given, "key", docs[name], rank=2)
            if self.follows != ":":
                yield from self.types("type: ", given, self.style)
                yield from self.blocks("block: ", given, path, self.style)

    def parameters(
        self, cls: type[Layer] | None, given: dict[str, str], path: tuple[str | int, ...]
    ) -> Iterator[Offer]:
        if cls is None:
            return
        needed = required(cls)
        names = [*cls.own_parameters()]
        if cls.parameter_names and "init" not in names:
            names.append("init")
        deprecated = {"size_average", "reduce"}
        for name in names:
            if name in deprecated:
                continue
            rank = 1 if name in needed else 3
            words = choices(cls, name, only=True)
            value = f"${{1|{','.join(words)}|}}" if words else "$1"
            detail = "required" if name in needed else ""
            for made in self.key(name, given, "parameter", "", value, rank):
                yield replace(made, detail=detail, of=cls.type_name)

    def argument_keys(self, path: tuple[str | int, ...], given: dict[str, str]) -> Iterator[Offer]:
        """The arguments of the block that an entry is an instance of."""
        where = entry_path(path)
        block = self.outline.blocks.get(self.entry_mapping(where).get("block", "")) if where else None
        for name in block.arguments if block is not None else ():
            needed = block is not None and name in block.required
            for made in self.key(name, given, "argument", rank=1 if needed else 3):
                yield replace(made, detail="required" if needed else "")

    def with_arguments(self, name: str) -> str:
        """`{planes: $1}` of a block."""
        block = self.outline.blocks.get(name)
        needed = block.required if block is not None else ()
        return "{" + ", ".join(f"{n}: ${i}" for i, n in enumerate(needed, 1)) + "}" if needed else "{$1}"

    # --- entries ------------------------------------------------------------------------------------

    def entries(self, path: tuple[str | int, ...], dash: bool = False) -> Iterator[Offer]:
        """A whole entry, where an item of a list begins; dash: it is not written yet."""
        before = "- " if dash or self.cursor.bare else ""
        style = _Style(self.brackets(path), self.column + 2)
        opened, closed = ("{", "}") if style.flow else ("", "")
        for made in (*self.types("type: ", {}, style), *self.blocks("block: ", {}, path, style)):
            snippet = before + opened + made.snippet.lstrip() + closed
            plain = before + opened + made.plain.lstrip() + closed
            yield self.offer(made.label, made.kind, snippet, plain=plain, detail=made.detail, rank=made.rank)
        docs = inner_keys("entry")
        for name in ("type", "block", "layers", "use", "name"):
            yield self.offer(
                name, "key", f"{before}{name}: $1", plain=f"{before}{name}: ", words=docs[name], rank=6
            )

    def brackets(self, path: tuple[str | int, ...]) -> bool:
        """Whether the list's entries are written in brackets; they are where there are none yet."""
        scope = self.outline.scopes.get(path)
        spans = (
            [entry.span for entry in scope.entries if entry.node is not None and entry.span] if scope else []
        )
        return self.in_brackets or not spans or any(span.text[:1] == "{" for span in spans)

    @property
    def style(self) -> _Style:
        """How the mapping at the cursor is written."""
        return _Style(self.in_brackets, self.column)

    def types(self, before: str, given: dict[str, str], style: _Style) -> Iterator[Offer]:
        """Every type, with its required parameters."""
        for name, cls in REGISTRY.items():
            needed = [p for p in required(cls) if p not in given]
            more = "".join(self.joined(f"{p}: ${i}", style) for i, p in enumerate(needed, 1))
            detail = signature(cls)
            yield self.offer(name, "type", f"{before}{name}{more}", plain=f"{before}{name}", detail=detail)

    def blocks(
        self, before: str, given: dict[str, str], path: tuple[str | int, ...], style: _Style
    ) -> Iterator[Offer]:
        """The blocks, with their required arguments; not the one that is being written."""
        inside = str(path[1]) if path[:1] == ("blocks",) and len(path) > 1 else None
        for name, block in self.outline.blocks.items():
            if name == inside:
                continue
            needed = ", ".join(f"{label}: ${i}" for i, label in enumerate(block.required, 1))
            more = self.joined(f"with: {{{needed}}}", style) if needed and "with" not in given else ""
            detail = f"block({', '.join(block.arguments)})"
            yield self.offer(
                name, "block", f"{before}{name}{more}", plain=f"{before}{name}", detail=detail, rank=4
            )

    def joined(self, text: str, style: _Style) -> str:
        """A further key of a mapping, in its style; an editor indents new lines as the one they are made on."""
        return f", {text}" if style.flow else "\n" + " " * max(0, style.column - self.lead) + text

    # --- values -------------------------------------------------------------------------------------

    def values(self, path: tuple[str | int, ...]) -> Iterator[Offer]:
        """What may stand as the value, or an item of the value, of a key."""
        cursor = self.cursor
        where = entry_path(path)
        if where is not None:
            yield from self.entry_values(where, path[len(where) :])
            return
        head = path[:1]
        if head == ("outputs",) or (head == ("blocks",) and path[2:3] == ("outputs",)):
            if path[-1] != "labels" and "labels" not in path:
                yield from self.references(self.scope(path), None)
        elif head == ("inputs",) and path[2:] == ("dtype",):
            yield from (self.offer(name, "value") for name in DTYPES)
        elif head == ("inputs",) and cursor.role == "item":
            yield from (self.offer(name, "symbol") for name in self.outline.symbols)
        elif head == ("runner",) or (cursor.frame is not None and "runner" in cursor.frame.keys):
            words = {"device": ("cpu", "cuda"), "precision": ("high", "highest"),
                     "dtype": [d for d in DTYPES if d.startswith(("float", "complex"))]}  # fmt: skip
            yield from (self.offer(word, "value") for word in words.get(str(path[-1]), ()))

    def entry_values(self, where: tuple[str | int, ...], rest: tuple[str | int, ...]) -> Iterator[Offer]:
        given = self.entry_mapping(where)
        key = str(rest[0]) if rest else ""
        scope = self.scope(where)
        inside = [name for name in self.arguments(where) if name]
        if self.cursor.word.startswith("$") or (
            inside and key not in ("type", "name", "use", "inputs", "block")
        ):
            yield from (self.offer(f"${name}", "argument") for name in (*inside, *self.index(given)))
        if self.cursor.word.startswith("$"):
            return
        if key == "type" and len(rest) == 1:
            yield from self.types("", given, self.style)
        elif key == "block" and len(rest) == 1:
            yield from self.blocks("", given, where, self.style)
        elif key == "use":
            yield from self.references(scope, where, inputs=False)
        elif key == "inputs" or (key == "output_size" and len(rest) == 1):
            yield from self.references(scope, where)
        elif key == "init" and rest[-1] == "method":
            yield from (self.offer(name, "value") for name in METHODS)
        elif (cls := layer_class(given.get("type"))) is not None:
            yield from (self.offer(word, "value", rank=1) for word in choices(cls, key))
            if self.cursor.role == "item" and key in ("shape", "sizes", "unflattened_size", "output_size"):
                yield from (self.offer(name, "symbol") for name in self.outline.symbols)

    def entry_mapping(self, where: tuple[str | int, ...] | None) -> dict[str, str]:
        """The keys that an entry has, with their texts."""
        return self.cursor.mapping(len(where)) if where is not None else {}

    def entry_class(self, path: tuple[str | int, ...]) -> type[Layer] | None:
        where = entry_path(path)
        return layer_class(self.entry_mapping(where).get("type")) if where is not None else None

    def scope(self, path: tuple[str | int, ...]) -> Scope | None:
        """The list whose entries references at a path may mean."""
        if path[:1] == ("outputs",):
            return self.outline.scopes.get(("layers",))
        if path[:1] == ("blocks",) and path[2:3] == ("outputs",):
            return self.outline.scopes.get((*path[:2], "layers"))
        return self.outline.scope_of(path[:-1])

    def arguments(self, path: tuple[str | int, ...]) -> Iterable[str]:
        """The arguments of the block that a path is inside of."""
        block = self.outline.blocks.get(str(path[1])) if path[:1] == ("blocks",) and len(path) > 1 else None
        return block.arguments if block is not None else ()

    def index(self, given: dict[str, str]) -> Iterable[str]:
        return ("index",) if "repeat" in given else ()

    # --- references ---------------------------------------------------------------------------------

    def references(
        self, scope: Scope | None, where: tuple[str | int, ...] | None, *, inputs: bool = True
    ) -> Iterator[Offer]:
        """The inputs and earlier entries that can be meant; behind a dot, children and ports."""
        if scope is None:
            return
        walked, dot, _ = self.cursor.word.rpartition(".")
        if dot:
            yield from self.below(scope, walked, where)
            return
        if inputs:
            for label in scope.visible:
                yield self.offer(label, "reference", detail="input", rank=2)
        for label, detail in self.earlier(scope, where):
            yield self.offer(label, "reference", detail=detail, rank=1)

    def earlier(self, scope: Scope, where: tuple[str | int, ...] | None) -> Iterator[tuple[str, str]]:
        """Labels of the entries before the one at the cursor, the nearest first."""
        last = where[-1] if where is not None else None
        known = scope.entries[:last] if isinstance(last, int) else scope.entries
        for entry in reversed(known):
            if (
                entry.span is not None
                and where is not None
                and entry.span.end > self.cursor.start > entry.span.start
            ):
                continue
            shapes = [
                str(self.view.tidy(types[0]))
                for _, types in self.view.results(entry)[:1]
                if types and types[0]
            ]
            kind = entry.text(entry.kind) if entry.kind in ("type", "block") else entry.kind
            for label in entry.labels[-3:]:
                yield label, " ".join([kind or "", *shapes]).strip()

    def below(self, scope: Scope, walked: str, where: tuple[str | int, ...] | None) -> Iterator[Offer]:
        """What may follow `name.`: children of a group, ports of a layer."""
        head, *rest = walked.split(".")
        entry = scope.names.get(head)
        for part in rest:
            entry = self.outline.child(entry, part) if entry is not None else None
        if entry is None:
            return
        inner = self.outline.inner(entry)
        labels = list(inner.names) if inner is not None else []
        shaped = self.view.shaped
        for call in self.view.calls(entry)[:1] if shaped is not None else ():
            types = shaped.types[call.index] if shaped is not None else None
            labels += types or (call.layer.ports() if call.layer is not None else None) or ()
        for label in dict.fromkeys(labels):
            yield self.offer(f"{walked}.{label}", "reference")


def _escaped(text: str) -> str:
    """A text that stands for itself in a snippet."""
    return re.sub(r"([\\$}])", r"\\\1", text)
