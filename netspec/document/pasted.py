"""Parentheses pasted into `{}` or `[]`, where YAML splits at their commas.

`{kernel_size: (3, 5), stride: 1}` reads as the entries `kernel_size: "(3"`, `"5)": null`, `stride: 1`. Here
the pieces are put together again, so that one mistake gives one diagnostic.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

from netspec.diagnostics import Span
from netspec.document.nodes import Entry, Node, Scalar, Sequence
from netspec.document.scalars import TooLarge, resolve

# Nesting of tuples that is taken apart; no parameter has more, and the reader counts on shallow results.
_DEEPEST = 4

Report = Callable[[str, str, Span, str], None]


def fold_entries(entries: list[Entry], report: Report) -> list[Entry]:
    """A flow mapping's entries with pasted parentheses as one value each."""
    folded: list[Entry] = []
    index = 0
    while index < len(entries):
        entry = entries[index]
        index += 1
        pieces = [entry.value]
        depth = _opened(entry.value)
        while depth > 0 and index < len(entries) and _lone(entries[index]):
            pieces.append(entries[index].key)
            depth += _net(entries[index].key.text)
            index += 1
        folded.append(Entry(entry.key, _join(pieces, report)) if len(pieces) > 1 else entry)
    return folded


def fold_items(items: list[Node], report: Report) -> list[Node]:
    """The same for a flow sequence's items."""
    folded: list[Node] = []
    index = 0
    while index < len(items):
        pieces = [items[index]]
        index += 1
        depth = _opened(pieces[0])
        while depth > 0 and index < len(items) and isinstance(item := items[index], Scalar) and item.plain:
            pieces.append(item)
            depth += _net(item.text)
            index += 1
        folded.append(_join(pieces, report) if len(pieces) > 1 else pieces[0])
    return folded


def _opened(node: Node) -> int:
    """How many parentheses a plain scalar leaves open."""
    return _net(node.text) if isinstance(node, Scalar) and node.plain else 0


def _lone(entry: Entry) -> bool:
    """A key without a value, as the piece after a comma is read."""
    value = entry.value
    return entry.key.plain and isinstance(value, Scalar) and value.plain and value.text == ""


def _net(text: str) -> int:
    return text.count("(") - text.count(")")


def _balanced(scalars: list[Scalar]) -> bool:
    """Whether the pieces are a tuple as a whole: closed at the end, never before, and not absurdly deep."""
    depths = list(accumulate(_net(scalar.text) for scalar in scalars))
    return depths[-1] == 0 and min(depths[:-1]) > 0 and max(depths) <= _DEEPEST


def _join(pieces: list[Node], report: Report) -> Node:
    scalars = [piece for piece in pieces if isinstance(piece, Scalar)]
    first, last = scalars[0].span, scalars[-1].span
    assert first is not None  # these nodes come from a text
    assert last is not None
    span = Span(first.source, first.start, last.end)
    if scalars[0].text.startswith("(") and _balanced(scalars):
        node = _tuple(scalars, span)
        report(
            "python-tuple",
            f"write {_show(node)} instead of {span.text}",
            span,
            "YAML lists have square brackets",
        )
        return node
    report("unquoted-comma", "the comma in this value ends it", span, "put the whole value in quotes")
    return Scalar(span.text, span.text, span, True)


def _tuple(pieces: list[Scalar], span: Span) -> Node:
    """Nested lists from pieces such as `((1`, `2)`, `(3`, `4))`. What is balanced in one piece stays text."""
    outer: list[Node] = []
    stack = [outer]
    for piece in pieces:
        text, net = piece.text, _net(piece.text)
        for _ in range(net):
            text = text.removeprefix("(").lstrip()
            inner: list[Node] = []
            stack[-1].append(Sequence(inner, span))
            stack.append(inner)
        for _ in range(-net):
            text = text.removesuffix(")").rstrip()
        if text:
            stack[-1].append(_item(text, piece.span))
        for _ in range(-net):
            stack.pop()
    return outer[0]


def _item(text: str, span: Span | None) -> Scalar:
    try:
        return Scalar(resolve(text), text, span, True)
    except TooLarge:
        return Scalar(text, text, span, True)


def _show(node: Node) -> str:
    if isinstance(node, Sequence):
        return f"[{', '.join(_show(item) for item in node.items)}]"
    return node.text if isinstance(node, Scalar) else ""
