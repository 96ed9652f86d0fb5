"""Python values to nodes and back."""

from __future__ import annotations

import math
from collections.abc import Mapping as AbstractMapping
from typing import Any

from netspec.diagnostics import Diagnostic, Source, format_path
from netspec.document.nodes import Broken, Document, Entry, Limits, Mapping, Node, Scalar, Sequence
from netspec.document.scalars import TooLarge, check_int, too_large_advice

_LARGEST_ARRAY = 10_000  # elements; weights belong into a weights file


def from_python(value: Any, name: str = "<mapping>", limits: Limits | None = None) -> Document:
    """A document from dicts, lists, tuples, scalars, NumPy scalars and small NumPy arrays.

    Its nodes have no spans. Keys that are ints become their text. What has no YAML form is a diagnostic.
    """
    converter = _Converter(limits or Limits())
    try:
        root: Node | None = converter.node(value)
    except _Stop:
        root = None
    return Document(root, converter.diagnostics, Source(name, ""))


def to_python(node: Node | None) -> Any:
    """Plain dicts, lists and scalars. Broken values are None; keys are their texts.

    Nesting is bounded by the reader's depth limit, which counts through aliases.
    """
    if isinstance(node, Mapping):
        return {entry.key.text: to_python(entry.value) for entry in node.entries}
    if isinstance(node, Sequence):
        return [to_python(item) for item in node.items]
    return node.value if isinstance(node, Scalar) else None


class _Stop(Exception):
    """A limit was passed."""


class _Converter:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.diagnostics: list[Diagnostic] = []
        self.path: list[str | int] = []
        self.open: set[int] = set()  # ids of the containers being converted, to notice one inside itself
        self.count = 0

    def node(self, value: Any) -> Node:
        self.count += 1
        if self.count > self.limits.nodes:
            self._report("too-many-nodes", f"more than {self.limits.nodes:,} values")
            raise _Stop
        if hasattr(value, "tolist") and hasattr(value, "dtype"):  # a NumPy (or CuPy) scalar or array
            if getattr(value, "size", 1) > _LARGEST_ARRAY:
                return self._refuse(
                    f"array of {value.size:,} elements; at most {_LARGEST_ARRAY:,} are allowed here"
                )
            value = value.tolist()
        if hasattr(value, "to_mapping"):  # a layer that was built in Python
            value = value.to_mapping()
        if isinstance(value, AbstractMapping | list | tuple):
            return self._container(value)
        return self._scalar(value)

    def _container(self, value: Any) -> Node:
        if id(value) in self.open:
            self._report("recursive-value", f"this {type(value).__name__} contains itself")
            return Broken(None)
        if len(self.open) >= self.limits.depth:
            self._report("too-deep", f"nested more than {self.limits.depth} deep")
            raise _Stop
        self.open.add(id(value))
        try:
            if isinstance(value, AbstractMapping):
                return self._mapping(value)
            return Sequence([self._child(index, item) for index, item in enumerate(value)], None)
        finally:
            self.open.discard(id(value))

    def _mapping(self, value: AbstractMapping[Any, Any]) -> Mapping:
        entries: dict[str, Entry] = {}
        for key, item in value.items():
            if isinstance(key, bool) or not isinstance(key, str | int):
                self._report("unsupported-value", f"a key must be text, not {type(key).__name__}")
                continue
            text = str(key) if isinstance(key, str) else str(int(key))
            if text in entries:
                self._report("duplicate-key", f"key `{text}` appears twice, as text and as a number")
                continue
            entries[text] = Entry(Scalar(text, text, None, False), self._child(text, item))
        return Mapping(list(entries.values()), None)

    def _child(self, part: str | int, value: Any) -> Node:
        self.path.append(part)
        node = self.node(value)
        self.path.pop()
        return node

    def _scalar(self, value: Any) -> Node:
        if isinstance(value, str):
            return Scalar(str(value), str(value), None, False)
        if value is None:
            return Scalar(None, "null", None, True)
        if isinstance(value, bool):
            return Scalar(value, "true" if value else "false", None, True)
        if isinstance(value, int):
            try:
                number = check_int(int(value))
            except TooLarge as error:
                message, advice = too_large_advice(error.args[0])
                self._report(error.args[0], message, advice)
                return Broken(None)
            return Scalar(number, str(number), None, True)
        if isinstance(value, float):
            return Scalar(float(value), _float_text(value), None, True)
        kind = type(value)
        name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return self._refuse(f"a value of type {name} has no YAML form")

    def _refuse(self, message: str) -> Broken:
        self._report("unsupported-value", message, "use dicts, lists, text, numbers, booleans or None")
        return Broken(None)

    def _report(self, code: str, message: str, advice: str | None = None) -> None:
        self.diagnostics.append(Diagnostic(code, "error", message, None, format_path(self.path), help=advice))


def _float_text(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    return repr(float(value))
