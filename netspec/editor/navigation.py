"""Where names are declared and used, and giving them other names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from netspec.diagnostics import Source, Span
from netspec.editor.outline import Name, Occurrence, Scope
from netspec.editor.places import place_at
from netspec.editor.view import View
from netspec.layers.parameters import NAME
from netspec.network.expressions import INDEX
from netspec.network.spec import SYMBOL

WORDS = {
    "layer": "the layer",
    "input": "the input",
    "block": "the block",
    "argument": "the argument",
    "symbol": "the size",
}


class Refused(Exception):
    """A name cannot be changed; the message says why."""


def definition(view: View, offset: int) -> list[Span]:
    """Where the name at an offset is declared: in this text or in an included file."""
    found = view.outline.at(offset)
    if found is not None:
        place = found.name.place
        return [place] if place is not None else []
    return _included(view, offset)


def references(view: View, offset: int, declaration: bool = True) -> list[Span]:
    """Every place of the name at an offset."""
    found = view.outline.at(offset)
    if found is None or found.role == "port":
        return []
    places = [o for o in view.outline.of(found.name) if declaration or o.role != "declaration"]
    return list(dict.fromkeys(o.span for o in places))


def renameable(view: View, offset: int) -> Span:
    """The name at an offset, if it can be changed. Raises `Refused`."""
    return _named(view, offset).span


def rename(view: View, offset: int, text: str, others: Iterable[View] = ()) -> list[Span]:
    """The places to write a new name in. others: views of files that may include this one.

    Raises `Refused` where the name is no name, or is taken.
    """
    found = _named(view, offset)
    name = found.name
    if text != name.text:
        _check(view, name, text)
    spans = [o.span for o in view.outline.of(name)]
    if name.kind in ("block", "argument"):
        for other in others:
            spans += _elsewhere(other, name, text)
    return list(dict.fromkeys(spans))


# --- definitions ------------------------------------------------------------------------------------


def _included(view: View, offset: int) -> list[Span]:
    """The beginning of the file that an `include` names."""
    place = place_at(view.document.root, offset)
    if place.path[:1] != ("include",) or place.scalar is None or place.on_key or view.buffer.path is None:
        return []
    path = Path(view.buffer.path.parent, place.scalar.text)
    return [Span(Source(str(path), ""), 0, 0)] if path.is_file() else []


# --- renaming ---------------------------------------------------------------------------------------


def _named(view: View, offset: int) -> Occurrence:
    found = view.outline.at(offset)
    if found is None:
        raise Refused("there is no name here that can be changed")
    name = found.name
    if found.role == "port":
        raise Refused(f"`{found.span.text}` is an output's name, which its layer's type gives it")
    if name.span is None and name.kind == "layer":
        raise Refused(
            "this layer has no name of its own, its position stands for one; write `name: ...` on it"
        )
    if name.span is None:
        raise Refused("`x` is the input of every block that names none; write `inputs: [...]` in the block")
    if name.span.source is not view.document.source:
        raise Refused(
            f"{WORDS[name.kind]} `{name.text}` is defined in {name.span.source.name}; rename it there"
        )
    if "{}" in name.text:
        raise Refused(f"`{name.text}` stands for several layers; edit it by hand")
    return found


def _check(view: View, name: Name, text: str) -> None:
    """Refuse a name that is not valid or not free."""
    pattern = SYMBOL if name.kind in ("symbol", "argument") else NAME
    if not pattern.fullmatch(text) or not text.isascii():
        starts = " and starts with no digit" if pattern is SYMBOL else ""
        raise Refused(f"`{text}` is no name: a name has letters, digits and _ only{starts}")
    taken = _taken(view, name)
    if text in taken:
        raise Refused(f"the name `{text}` is taken: {taken[text]}")


def _taken(view: View, name: Name) -> dict[str, str]:
    """Names that this one must differ from, and what each is."""
    outline = view.outline
    if name.kind == "symbol":
        return dict.fromkeys(outline.symbols, "it is another size of this file")
    if name.kind == "block":
        return dict.fromkeys(outline.blocks, "it is another block")
    if name.kind == "argument":
        block = next(b for b in outline.blocks.values() if name in b.arguments.values())
        found = dict.fromkeys(block.arguments, f"it is another argument of block {block.name.text}")
        return {**found, INDEX: "$index is the number under `repeat`"}
    if name.kind == "layer":
        scope = outline.entries[id(name.node)].scope
        return _labels([scope], scope)
    scopes = [s for s in outline.scopes.values() if name in s.visible.values()]
    found = dict.fromkeys((label for s in scopes for label in s.visible), "it is another input")
    return {**found, **_labels(scopes, None)}


def _labels(scopes: Iterable[Scope], inside: Scope | None) -> dict[str, str]:
    found = {label: "it is another layer" for scope in scopes for label in scope.names}
    if inside is not None:
        found |= dict.fromkeys(inside.visible, "it is an input")
    return found


def _elsewhere(other: View, name: Name, text: str) -> Iterator[Span]:
    """The uses of a block, or of its argument, in a text that includes the file where it is declared."""
    assert name.place is not None
    mine = [
        found
        for block in other.outline.blocks.values()
        for found in (block.name, *block.arguments.values())
        if found.place is not None and _same_file(found.place, name.place) and found.text == name.text
        and found.kind == name.kind and found.place.start == name.place.start
    ]  # fmt: skip
    for found in mine:
        if found.kind == "block" and text in other.outline.blocks:
            raise Refused(f"the name `{text}` is taken: {other.buffer.name} has a block of that name")
        for occurrence in other.outline.of(found):
            if occurrence.span.source is other.document.source:
                yield occurrence.span


def _same_file(a: Span, b: Span) -> bool:
    return Path(a.source.name).resolve() == Path(b.source.name).resolve()
