"""Changes of the text that make a diagnostic go away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from netspec.diagnostics import Diagnostic, Span, meant
from netspec.document import Mapping, Scalar, Sequence
from netspec.editor.outline import Entry, Scope
from netspec.editor.view import View


@dataclass(frozen=True, slots=True)
class Change:
    """Text for a part of the document."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """A fix of one diagnostic. preferred: it is what was most likely meant."""

    title: str
    diagnostic: Diagnostic
    changes: tuple[Change, ...]
    preferred: bool = False


def actions(view: View, start: int, end: int) -> list[Action]:
    """The fixes of the diagnostics that touch a range."""
    found: list[Action] = []
    for diagnostic in view.diagnostics:
        span = diagnostic.span
        if span is None or span.source is not view.document.source or span.end < start or span.start > end:
            continue
        for make in (_spelling, _set, _flatten, _remove, _retype, _rewrite, _inplace):
            found += make(view, diagnostic, span)
    return found


# --- one kind of fix each ---------------------------------------------------------------------------


def _spelling(view: View, found: Diagnostic, span: Span) -> Iterator[Action]:
    """The name that was probably meant."""
    name = meant(found.help)
    if name is None:
        return
    wrong = next((w for w in re.findall(r"`([^`]+)`", found.message)[::-1] if _within(w, span)), None)
    at = _within(wrong, span) if wrong is not None else None
    if at is None:  # the diagnostic names the layer, not the word
        at = span if re.fullmatch(r"[\w.$]+", span.text) else None
    if at is not None:
        yield Action(f"Change to `{name}`", found, (Change(at.start, at.end, name),), True)


def _within(word: str | None, span: Span) -> Span | None:
    """The place of a word in a span."""
    at = re.search(rf"(?<![\w]){re.escape(word)}(?![\w])", span.text) if word else None
    return Span(span.source, span.start + at.start(), span.start + at.end()) if at is not None else None


def _set(view: View, found: Diagnostic, span: Span) -> Iterator[Action]:
    """The parameter's value that fits what arrives."""
    if found.fix is None or not isinstance(found.fix[1], int):
        return
    parameter, value = found.fix
    entry = view.outline.entry_at(span.start)
    written = entry.node.get(parameter) if entry is not None and entry.node is not None else None
    if not isinstance(written, Scalar) or written.span is None:
        return
    if "$" in written.text:
        return  # a block's argument: other instances have other values
    change = Change(written.span.start, written.span.end, str(value))
    yield Action(f"Set {parameter} to {value}", found, (change,), "Flatten" not in (found.help or ""))


def _flatten(view: View, found: Diagnostic, span: Span) -> Iterator[Action]:
    """A Flatten layer in front."""
    if "insert a Flatten layer before it" not in (found.help or ""):
        return
    entry = view.outline.entry_at(span.start)
    if entry is None or entry.node is None or entry.span is None:
        return
    name = _free("flatten", entry.scope)
    inputs = entry.node.get("inputs")
    if isinstance(inputs, Sequence):
        inputs = inputs.items[0] if len(inputs.items) == 1 else None
        if inputs is None:
            return
    changes = []
    source = ""
    if isinstance(inputs, Scalar) and inputs.span is not None:
        source = f", inputs: {inputs.text}"
        changes.append(Change(inputs.span.start, inputs.span.end, name))
    layer = f"{{name: {name}, type: Flatten{source}}}"
    place = _item_start(view.text, entry.span.start)
    if place is not None:
        start, indent = place
        changes.insert(0, Change(start, start, f"- {layer}\n{indent}"))
    else:  # the list is in brackets
        changes.insert(0, Change(entry.span.start, entry.span.start, f"{layer}, "))
    yield Action("Insert a Flatten layer before it", found, tuple(changes), True)


def _item_start(text: str, start: int) -> tuple[int, str] | None:
    """Where the dash of a list item stands, and the white space before it."""
    line = max(text.rfind("\n", 0, start), text.rfind("\r", 0, start)) + 1
    before = re.fullmatch(r"([ ]*)-[ ]+", text[line:start])
    return (line + len(before[1]), before[1]) if before is not None else None


def _free(name: str, scope: Scope) -> str:
    taken = {*scope.names, *scope.visible}
    number = 1
    while (label := name if number == 1 else f"{name}{number}") in taken:
        number += 1
    return label


def _remove(view: View, found: Diagnostic, span: Span) -> Iterator[Action]:
    """Without the key that does not belong there."""
    if found.code in ("stray-comma", "stray-bracket", "doubled-colon") and span.end - span.start == 1:
        yield Action(f"Remove `{span.text}`", found, (Change(span.start, span.end, ""),), True)
        return
    if found.code not in ("unknown-key", "unknown-argument", "duplicate-key", "unused-value"):
        return
    part = _entry_around(view.document.root, span)
    if part is None:
        return
    change = _without(view.text, *part)
    if change is not None:
        yield Action(f"Remove `{part[1].text}`", found, (change,))


def _entry_around(root: object, span: Span) -> tuple[Mapping, Scalar, int] | None:
    """The mapping, key and end of value that a key's place belongs to; a repeated key is in no mapping."""
    stack = [root]
    best: Mapping | None = None
    while stack:
        node = stack.pop()
        if isinstance(node, Sequence):
            stack += node.items
        elif isinstance(node, Mapping) and node.span is not None:
            if node.span.source is span.source and node.span.start <= span.start <= node.span.end:
                best = node
            for entry in node.entries:
                if entry.key.span == span or (
                    entry.value.span == span and not isinstance(entry.value, Mapping)
                ):
                    end = entry.value.span.end if entry.value.span is not None else span.end
                    return node, entry.key, max(end, entry.key.span.end if entry.key.span else end)
                stack.append(entry.value)
    if best is None:
        return None
    # the second of two equal keys: its value is a scalar or brackets on the same line
    rest = re.compile(r"[ \t]*:[ \t]*(?:\{[^{}\n]*\}|\[[^\[\]\n]*\]|[^,{}\[\]\n#]*)").match(
        span.source.text, span.end
    )
    return (best, Scalar(span.text, span.text, span, True), rest.end()) if rest is not None else None


def _without(text: str, node: Mapping, key: Scalar, end: int) -> Change | None:
    """An entry of a mapping taken out, with its comma or its line."""
    if key.span is None or node.span is None:
        return None
    start = key.span.start
    end = start + len(text[start:end].rstrip())
    if node.span.text[:1] == "{":
        after = re.compile(r"\s*,[ \t]*").match(text, end)
        if after is not None:
            return Change(start, after.end(), "")
        before = re.search(r"\s*,\s*\Z", text[node.span.start : start])
        return Change(node.span.start + before.start() if before else start, end, "")
    line = max(text.rfind("\n", 0, start), text.rfind("\r", 0, start)) + 1
    rest = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?:\r\n|\n|\r|\Z)").match(text, end)
    if rest is None:
        return None
    if not text[line:start].strip():
        return Change(line, rest.end(), "")
    following = re.compile(r"[ \t]*").match(text, rest.end())
    if following is None or following.end() - rest.end() != start - line:
        return None  # it shares its line with a dash, and nothing else is in the item
    return Change(start, following.end(), "")


def _retype(view: View, found: Diagnostic, span: Span) -> Iterator[Action]:
    """`type: B` where B is a block, and the other way round."""
    wanted = re.search(r"write (block|type): (\w+)", found.help or "")
    if wanted is None or found.code not in ("unknown-type", "unknown-block"):
        return
    entry = view.outline.entry_at(span.start)
    key = _key(entry, "type" if wanted[1] == "block" else "block")
    if key is not None:
        yield Action(f"Write {wanted[1]}: {wanted[2]}", found, (Change(key.start, key.end, wanted[1]),), True)


def _key(entry: Entry | None, name: str) -> Span | None:
    key = entry.node.key_node(name) if entry is not None and entry.node is not None else None
    return key.span if key is not None else None


def _rewrite(view: View, found: Diagnostic, span: Span) -> Iterator[Action]:
    """What the advice spells out."""
    if found.code == "missing-space" and span.text == ":":
        yield Action("Insert the space", found, (Change(span.end, span.end, " "),), True)
        return
    advice = found.message if found.code == "python-tuple" else found.help or ""
    wanted = re.match(r"write (\[[^\]]*\])", advice)
    if wanted is not None and found.code in ("python-tuple", "wrong-type"):
        yield Action(f"Write {wanted[1]}", found, (Change(span.start, span.end, wanted[1]),), True)


def _inplace(view: View, found: Diagnostic, span: Span) -> Iterator[Action]:
    """`inplace: false` on the layer that overwrites."""
    if found.code != "inplace-overwrite":
        return
    place = next((note.span for note in found.notes if note.message == "overwritten here"), None)
    if place is not None and place.source is span.source and place.text == "true":
        yield Action("Set inplace: false there", found, (Change(place.start, place.end, "false"),), True)
