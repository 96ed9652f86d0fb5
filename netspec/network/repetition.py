"""`repeat`: an entry several times in a row, each taking the output of the one before as its first input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from netspec.document import Broken as BrokenNode
from netspec.document import Mapping, Node, Scalar, to_python
from netspec.layers.parameters import describe, is_integer
from netspec.network.blocks import unknown_entry_key
from netspec.network.expressions import INDEX, UNKNOWN, Scope, integer
from netspec.network.names import read_name, renamed
from netspec.network.reading import Path, Reading
from netspec.network.spec import Broken, Entry, Group, Origin

HIDDEN: Final = "_repeated_"
"""Begins the names under which the repetitions of a named entry know its inputs."""

ReadOne = Callable[[Mapping, str, Origin, Scope, str], Entry]
"""Reads one entry of a known kind under a name."""


class Repetitions:
    """Reads entries with `repeat`."""

    def __init__(self, reading: Reading, read_one: ReadOne) -> None:
        self.reading = reading
        self.read_one = read_one

    def read(self, node: Mapping, kind: str, origin: Origin, scope: Scope, position: int) -> list[Entry]:
        """The entries of the list: the repetitions themselves, or one group of them under a plain name."""
        times, start = self.times(node, origin, scope)
        label = read_name(node, origin, scope, self.reading, braces=True)
        if times is None or label is None:
            entry = self.aside(node, kind, origin, scope.numbered(UNKNOWN), label or str(position))
            return [Broken(label or str(position), entry.inputs, origin, many=True)]
        spliced = not label or "{}" in label
        if times == 0:
            entry = self.aside(node, kind, origin, scope.blurred(), label.replace("{}", "0") or str(position))
            return [] if spliced else [self.group(label, [], entry.inputs, None, origin)]
        if self.reading.too_many(times, origin):
            return []
        if spliced:
            names = [
                label.replace("{}", str(start + i)) if label else str(position + i) for i in range(times)
            ]
            entries = self.copies(node, kind, origin, scope, start, names)
            return [] if self.reading.stopped else _linked(entries, entries[0].inputs)
        with self.reading.below(label):
            names = [str(start + i) for i in range(times)]
            entries = self.copies(node, kind, origin, scope, start, names)
        if self.reading.stopped:
            return []
        wanted = entries[0].inputs
        if not wanted:
            return [self.group(label, entries, wanted, None, origin)]
        hidden = tuple(f"{HIDDEN}{i}" for i in range(len(wanted)))
        linked = _linked([renamed(entries[0], str(entries[0].name), hidden), *entries[1:]], hidden)
        return [self.group(label, linked, wanted, hidden, origin)]

    def group(
        self,
        label: str,
        entries: list[Entry],
        inputs: tuple[str, ...] | None,
        parameters: tuple[str, ...] | None,
        origin: Origin,
    ) -> Group:
        """The repetitions of a named entry."""
        self.reading.count(1, origin)
        return Group(label, tuple(entries), inputs, parameters, origin=origin, repeated=True)

    def copies(
        self, node: Mapping, kind: str, origin: Origin, scope: Scope, start: int, names: list[str]
    ) -> list[Entry]:
        """The entries of a repetition; read once for all where `$index` makes no difference."""
        reading = self.reading
        if INDEX in reading.substitution.used(node):
            entries = []
            for number, name in enumerate(names, start):
                entries.append(self.read_one(node, kind, origin, scope.numbered(integer(number)), name))
                reading.count(1, origin)
                if reading.stopped:
                    break
            return entries
        with reading.copied() as part:
            entry = self.read_one(node, kind, origin, scope.numbered(integer(start)), names[0])
        reading.current.uses[part] += len(names)
        if reading.too_many((part.size + 1) * len(names), origin):
            return [entry]
        reading.current.size += part.size * len(names)
        reading.count(len(names), origin)
        return [entry, *(renamed(entry, name, entry.inputs) for name in names[1:])]

    def aside(self, node: Mapping, kind: str, origin: Origin, scope: Scope, label: str) -> Entry:
        """Read an entry for what is wrong with it, not for the network."""
        with self.reading.aside():
            return self.read_one(node, kind, origin, scope, label)

    # --- how often ----------------------------------------------------------------------------------

    def times(self, node: Mapping, origin: Origin, scope: Scope) -> tuple[int | None, int]:
        """`repeat: 3` or `{times: 3, from: 1}`: how often, and the first number; None if not known."""
        path = (*origin.path, "repeat")
        value = self.reading.substitution.apply(node.get("repeat"), scope, path)  # type: ignore[arg-type]
        if not isinstance(value, Mapping):
            return self.whole_number(value, "repeat", path), 0
        for entry in value:
            if (key := entry.key.text) not in ("times", "from"):
                self.reading.add(
                    unknown_entry_key("repeat", key, ("times", "from"), value, path, self.reading.instance)
                )
        times = value.get("times")
        first = value.get("from")
        start = self.whole_number(first, "from", (*path, "from")) if first is not None else 0
        if times is None:
            if value.complete:
                place = node.key_node("repeat")
                span = place.span if place else None
                self.reading.report("missing-key", "repeat needs `times`", span, path)
            return None, 0
        number = self.whole_number(times, "times", (*path, "times"))
        return (number, start) if start is not None else (None, 0)

    def whole_number(self, node: Node, what: str, path: Path) -> int | None:
        """An integer that is not negative."""
        if isinstance(node, BrokenNode):
            return None
        value: Any = node.value if isinstance(node, Scalar) else to_python(node)
        if is_integer(value) and value >= 0:
            return int(value)
        code = "out-of-range" if is_integer(value) else "wrong-type"
        message = f"`{what}`: expected an integer >= 0, got {describe(value)}"
        self.reading.report(code, message, node.span, path)
        return None


def _linked(entries: list[Entry], inputs: tuple[str, ...] | None) -> list[Entry]:
    """Repetitions in a row: each takes the one before as its first input, and the other inputs unchanged."""
    if not inputs:
        return entries
    result = [entries[0]]
    for entry in entries[1:]:
        result.append(renamed(entry, str(entry.name), (str(result[-1].name), *inputs[1:])))
    return result
