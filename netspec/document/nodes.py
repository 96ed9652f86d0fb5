"""What a YAML file says: values in a tree, each with the place it was read from.

Nodes compare by identity and are not to be changed once read: those reached through aliases are shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from netspec.diagnostics import Diagnostic, Source, Span, has_errors

ScalarValue: TypeAlias = "bool | int | float | str | None"


@dataclass(slots=True, eq=False)
class Scalar:
    """One value: `value` by YAML 1.2's core schema, `text` as written (`3.10`), without quotes.

    `plain` is False for quoted and block text, which is always a str.
    """

    value: ScalarValue
    text: str
    span: Span | None
    plain: bool


@dataclass(slots=True, eq=False)
class Broken:
    """A value that could not be read; the reader has reported why, so nothing else should.

    `partial` is what was read of it before the mistake, for those who look for names.
    """

    span: Span | None
    partial: Node | None = None


@dataclass(slots=True, eq=False)
class Sequence:
    """A list. `complete` is False where items are missing because of a syntax error."""

    items: list[Node]
    span: Span | None
    complete: bool = True

    def __iter__(self) -> Iterator[Node]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(slots=True, eq=False)
class Entry:
    """A key and its value."""

    key: Scalar
    value: Node


@dataclass(slots=True, eq=False)
class Mapping:
    """Entries in the order of the file, merged ones in the place of their `<<`. Keys are told apart by text.

    `complete` is False where entries are missing because of a syntax error.
    """

    entries: list[Entry]
    span: Span | None
    complete: bool = True
    _index: dict[str, Entry] | None = field(default=None, repr=False)

    def entry(self, name: str) -> Entry | None:
        """The entry with that key."""
        if self._index is None:
            self._index = {entry.key.text: entry for entry in self.entries}
        return self._index.get(name)

    def get(self, name: str) -> Node | None:
        """The value under a key, or None."""
        entry = self.entry(name)
        return entry.value if entry else None

    def key_node(self, name: str) -> Scalar | None:
        """The key itself, for pointing at it."""
        entry = self.entry(name)
        return entry.key if entry else None

    def keys(self) -> list[str]:
        """The keys' texts."""
        return [entry.key.text for entry in self.entries]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.entry(name) is not None


Node: TypeAlias = Scalar | Sequence | Mapping | Broken


@dataclass(slots=True, eq=False)
class Document:
    """A file as read: its value, what is wrong with it as YAML, and its text.

    `root` is None when nothing could be read. With errors in `diagnostics` it is what could still be read.
    """

    root: Node | None
    diagnostics: list[Diagnostic]
    source: Source

    @property
    def ok(self) -> bool:
        """Whether it was read without errors."""
        return not has_errors(self.diagnostics)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before it can exhaust the machine.

    `nodes` counts every use of an alias as a copy of its value, so that no later stage meets a bomb.
    """

    bytes: int = 16 * 1024 * 1024
    depth: int = 100
    nodes: int = 1_000_000


def walk_path(node: Node | None, path: Iterable[str | int]) -> Node | None:
    """The node that a path such as `("layers", 3, "in_channels")` leads to, or None."""
    for part in path:
        if isinstance(node, Mapping):
            node = node.get(str(part))
        elif isinstance(node, Sequence) and isinstance(part, int) and 0 <= part < len(node.items):
            node = node.items[part]
        else:
            return None
    return node
