"""Python values of nodes, where a name stays as it was written: `3.10` is no number there."""

from __future__ import annotations

from typing import Any

from netspec.document import Broken, Node, Scalar, Sequence, to_python


class Damaged(Exception):
    """A part of a value could not be read, or is not known."""


def value_of(node: Node, text: bool) -> Any:
    """The Python value of a node, scalars as written if `text`. Raises `Damaged`."""
    if isinstance(node, Scalar):
        return text_of(node) if text else node.value
    if isinstance(node, Sequence):
        return [value_of(item, text) for item in node.items]
    if isinstance(node, Broken):
        raise Damaged
    return {entry.key.text: value_of(entry.value, False) for entry in node.entries}


def text_of(node: Node) -> Any:
    """The value of a name: scalars as they are written, lists of them likewise."""
    if isinstance(node, Scalar):
        written = node.span is not None and node.text not in ("", "~")
        number = isinstance(node.value, str | int | float) and not isinstance(node.value, bool)
        return node.text if written or number else node.value
    if isinstance(node, Sequence):
        return [text_of(item) for item in node.items]
    return to_python(node)
