"""Where an offset lies in a document."""

from __future__ import annotations

from dataclasses import dataclass

from netspec.document import Broken, Mapping, Node, Scalar, Sequence


@dataclass(frozen=True, slots=True)
class Place:
    """A key or value of the document. path: from the root, the key included; around: the mappings on it."""

    path: tuple[str | int, ...]
    scalar: Scalar | None
    on_key: bool
    around: tuple[Mapping, ...] = ()


def place_at(root: Node | None, offset: int) -> Place:
    """The innermost key or value that an offset touches."""
    path: list[str | int] = []
    around: list[Mapping] = []
    node = root
    while True:
        while isinstance(node, Broken):
            node = node.partial
        if isinstance(node, Mapping):
            around.append(node)
            for entry in node.entries:
                if _touches(entry.key, offset):
                    return Place((*path, entry.key.text), entry.key, True, tuple(around))
            inner = next((e for e in node.entries if _touches(e.value, offset)), None)
            if inner is None:
                return Place(tuple(path), None, False, tuple(around))
            path.append(inner.key.text)
            node = inner.value
        elif isinstance(node, Sequence):
            index = next((i for i, item in enumerate(node.items) if _touches(item, offset)), None)
            if index is None:
                return Place(tuple(path), None, False, tuple(around))
            path.append(index)
            node = node.items[index]
        else:
            return Place(tuple(path), node if isinstance(node, Scalar) else None, False, tuple(around))


def _touches(node: Node, offset: int) -> bool:
    return node.span is not None and node.span.start <= offset <= node.span.end


def kind_of(path: tuple[str | int, ...]) -> str | None:
    """What a mapping at a path is: `file`, `input`, `entry`, `block`, ...; None where anything may stand."""
    if not path:
        return "file"
    head = path[0]
    if head == "inputs":
        return {1: "inputs", 2: "input"}.get(len(path), "picture" if path[2:] == ("picture",) else None)
    if head == "outputs":
        return {1: "outputs", 2: "output"}.get(len(path))
    if head == "blocks":
        if len(path) <= 2:
            return {1: "blocks", 2: "block"}[len(path)]
        if path[2] == "args":
            return "args" if len(path) == 3 else None
        return _in_entries(path[2:])
    return _in_entries(path)


def _in_entries(path: tuple[str | int, ...]) -> str | None:
    """Below a key `layers`."""
    at = 0
    while at < len(path) and path[at] == "layers":
        if at + 1 == len(path):
            return "layers"
        if at + 2 == len(path):
            return "entry"
        at += 2
    rest = path[at:]
    if len(rest) == 1 and rest[0] in ("with", "repeat", "init"):
        return str(rest[0])
    if len(rest) == 2 and rest[0] == "init":
        return "initial"
    return None


def entry_path(path: tuple[str | int, ...]) -> tuple[str | int, ...] | None:
    """The path of the innermost entry on the way of a path."""
    for length in range(len(path), 0, -1):
        if kind_of(path[:length]) == "entry":
            return path[:length]
    return None
