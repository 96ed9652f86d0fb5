"""The outline that editors show: inputs, blocks and layers, nested as they are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from netspec.diagnostics import Span
from netspec.editor.hints import merged
from netspec.editor.outline import Entry, Name, OutlineBlock, Scope
from netspec.editor.view import View


@dataclass(frozen=True, slots=True)
class Symbol:
    """A line of the outline. span: all of it; chosen: what to select."""

    name: str
    detail: str
    kind: Literal["input", "layer", "group", "block", "list"]
    span: Span
    chosen: Span
    children: tuple[Symbol, ...] = ()


def symbols(view: View) -> list[Symbol]:
    """What a file declares."""
    outline = view.outline
    found = [s for name in outline.inputs.values() if (s := _input(view, name)) is not None]
    found += [s for block in outline.blocks.values() if (s := _block(view, block)) is not None]
    scope = outline.scopes.get(("layers",))
    return [*found, *(_entries(view, scope) if scope is not None else ())]


def _input(view: View, name: Name) -> Symbol | None:
    if name.span is None:
        return None
    tensor = view.shaped.inputs.get(name.text) if view.shaped is not None else None
    whole = _around(name.span, name.node.span if name.node is not None else None)
    return Symbol(name.text, str(tensor) if tensor is not None else "", "input", whole, name.span)


def _block(view: View, block: OutlineBlock) -> Symbol | None:
    span = block.name.span
    if span is None or span.source is not view.document.source:
        return None
    whole = _around(span, block.name.node.span if block.name.node is not None else None)
    children = tuple(_entries(view, block.scope)) if block.scope is not None else ()
    return Symbol(block.name.text, ", ".join(block.arguments), "block", whole, span, children)


def _entries(view: View, scope: Scope) -> list[Symbol]:
    found = []
    for entry in scope.entries:
        span, place = entry.span, entry.name.place
        if span is None or place is None or span.source is not view.document.source:
            continue
        children = tuple(_entries(view, entry.inner)) if entry.inner is not None else ()
        kind: Literal["layer", "group"] = "layer" if entry.kind == "type" else "group"
        chosen = place if span.start <= place.start and place.end <= span.end else span
        found.append(Symbol(entry.name.text, _detail(view, entry), kind, span, chosen, children))
    return found


def _detail(view: View, entry: Entry) -> str:
    kind = entry.text(entry.kind) if entry.kind in ("type", "block", "use") else ""
    types = [types[0] for _, types in view.results(entry) if types and types[0] is not None]
    shape = merged([view.tidy(t) for t in types if t is not None]) if types else ""
    return " ".join(part for part in (kind or "", shape) if part)


def _around(first: Span, second: Span | None) -> Span:
    if second is None or second.source is not first.source:
        return first
    return Span(first.source, min(first.start, second.start), max(first.end, second.end))
