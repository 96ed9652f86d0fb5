"""From a document to a `NetworkSpec`: every part is validated on its own, so that one mistake hides no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from netspec.diagnostics import Diagnostic, Note, Span, did_you_mean, format_path
from netspec.document import Broken as BrokenNode
from netspec.document import Document, Mapping, Node, Scalar, Sequence, to_python
from netspec.layers import REGISTRY
from netspec.layers.base import COMMON, Layer
from netspec.layers.parameters import References, describe, name, reference  # noqa: F401
from netspec.network.errors import diagnostics_of, unknown_key
from netspec.network.spec import Broken, Entry, Group, Header, InputSpec, NetworkSpec, Origin, Use

TEXT_KEYS = frozenset({"name", "inputs", "use", "block", "type"})
"""Keys of an entry whose scalars are names: read as source text, so that 3.10 stays 3.10."""

KINDS = ("type", "block", "layers", "use")
"""Each entry has exactly one of these keys."""


def read(document: Document, directory: str | None = None) -> tuple[NetworkSpec | None, list[Diagnostic]]:
    """The network that a document describes, with what is wrong with it.

    With errors the network is what could still be read (None: nothing). directory: where `weights`
    and `include` start from.
    """
    return _Reader(document, directory).read()


def text_of(node: Node) -> Any:
    """The value of a name: scalars as they are written, lists of them likewise."""
    if isinstance(node, Scalar):
        return (
            node.text
            if isinstance(node.value, str | int | float) and not isinstance(node.value, bool)
            else node.value
        )
    if isinstance(node, Sequence):
        return [text_of(item) for item in node.items]
    return to_python(node)


class _Reader:
    def __init__(self, document: Document, directory: str | None) -> None:
        self.document = document
        self.directory = directory
        self.diagnostics: list[Diagnostic] = []

    # --- the file as a whole ------------------------------------------------------------------------

    def read(self) -> tuple[NetworkSpec | None, list[Diagnostic]]:
        root = self.document.root
        if root is None or isinstance(root, BrokenNode):
            return None, []
        if not isinstance(root, Mapping):
            self.report(
                "wrong-type",
                f"a network file is a mapping with netspec, inputs and layers, got {describe(to_python(root))}",
                root.span,
            )
            return None, self.diagnostics
        header = self.header(root)
        layers = root.get("layers")
        entries: tuple[Entry, ...] = ()
        if layers is None:
            if root.complete:
                self.report("missing-key", "the network needs `layers`, a list of layers", _top(root))
        elif isinstance(layers, Sequence):
            if not layers.items and layers.complete:
                self.report("missing-key", "the list of layers is empty", layers.span, ("layers",))
            entries = self.entries(layers, ("layers",), ())
        elif not isinstance(layers, BrokenNode):
            self.report(
                "wrong-type",
                f"layers: expected a list of layers, got {describe(to_python(layers))}",
                layers.span,
                ("layers",),
            )
        spec = NetworkSpec.model_construct(**header, layers=list(entries))
        spec._document = self.document
        spec._directory = self.directory
        return spec, self.diagnostics

    def header(self, root: Mapping) -> dict[str, Any]:
        """The keys beside `layers`; what is refused is left out of the result."""
        values: dict[str, Any] = {}
        for entry in root:
            key = entry.key.text
            if key == "layers" or isinstance(entry.value, BrokenNode):
                continue
            values[key] = _header_value(key, entry.value)
        if "netspec" not in root and root.complete:
            self.report(
                "missing-key",
                "the network needs `netspec`, the version of the format",
                _top(root),
                help="write `netspec: 1` on the first line",
            )
        values.setdefault("netspec", 1)
        if "inputs" not in values:
            if "inputs" not in root and root.complete:
                self.report(
                    "missing-key",
                    "the network needs `inputs`, a mapping from names to shapes",
                    _top(root),
                    help="for example inputs: {image: [N, 3, H, W]}",
                )
            values["inputs"] = {"_": {"shape": []}}
        for _ in range(100_000):  # each round removes at least one refused part
            try:
                header = Header.model_validate(values)
            except ValidationError as error:
                self.header_errors(error, root)
                if not _prune(values, error):
                    break
            else:
                result = {field: getattr(header, field) for field in Header.model_fields}
                result["inputs"] = {
                    key: (None if value is _REFUSED else value) for key, value in result["inputs"].items()
                }
                if result["inputs"].keys() == {"_"}:
                    result["inputs"] = {}
                self.input_names(root, result["inputs"])
                if result["name"] is None:
                    result["name"] = _stem(self.document.source.name)
                return result
        return {
            "netspec": 1,
            "name": "network",
            "inputs": {},
            "outputs": None,
            "description": None,
            "weights": None,
        }

    def header_errors(self, error: ValidationError, root: Mapping) -> None:
        options = [*Header.model_fields, "layers", "blocks", "include"]
        for item in diagnostics_of(
            error, Header, "the network", root, (), options=options, complete=root.complete
        ):
            self.diagnostics.append(item)

    def input_names(self, root: Mapping, inputs: dict[str, Any]) -> None:
        """Input names are identifiers: they become keyword arguments."""
        node = root.get("inputs")
        for key in inputs:
            try:
                name(key)
            except PydanticCustomError as error:
                place = node.key_node(key) if isinstance(node, Mapping) else None
                self.report(
                    "invalid-name",
                    f"input `{key}`: {error.message()}",
                    place.span if place else None,
                    ("inputs", key),
                )

    # --- entries ------------------------------------------------------------------------------------

    def entries(
        self, nodes: Sequence, path: tuple[str | int, ...], instance: tuple[tuple[str, Span | None], ...]
    ) -> tuple[Entry, ...]:
        """A list of entries: names are unique in it, and default to the position."""
        result: list[Entry] = []
        first: dict[str, Origin] = {}
        for index, node in enumerate(nodes.items):
            origin = Origin(node if isinstance(node, Mapping) else None, (*path, index), instance)
            for entry in self.entry(node, origin, len(result)):
                if entry.name in first and (not isinstance(entry, Broken) or _is_named(origin)):
                    earlier = first[entry.name]
                    self.report(
                        "duplicate-name",
                        f"the name `{entry.name}` is taken",
                        _name_span(origin),
                        (*origin.path, "name"),
                        notes=(Note("first used here", _name_span(earlier)),),
                        help="names are unique in their list",
                        origin=origin,
                    )
                first.setdefault(str(entry.name), origin)
                result.append(entry)
        return tuple(result)

    def entry(self, node: Node, origin: Origin, position: int) -> list[Entry]:
        """The entries that one item of the list stands for: one, or several under `repeat`."""
        if isinstance(node, BrokenNode):
            return [Broken(self.partial_name(node, position), None, origin)]
        if not isinstance(node, Mapping):
            advice = None
            if isinstance(node, Scalar) and node.text in REGISTRY:
                advice = f"write {{type: {node.text}}}"
            self.report(
                "wrong-type",
                f"a layer is a mapping such as {{type: ReLU}}, got {describe(to_python(node))}",
                node.span,
                origin.path,
                help=advice,
                origin=origin,
            )
            return [Broken(str(position), None, origin)]
        kinds = [key for key in KINDS if key in node]
        if len(kinds) != 1:
            self.kind_errors(node, kinds, origin)
            return [Broken(self.partial_name(node, position), _readable_inputs(node), origin)]
        if kinds == ["type"]:
            return [self.layer(node, origin, position)]
        if kinds == ["use"]:
            return [self.use(node, origin, position)]
        if kinds == ["layers"]:
            return [self.group(node, origin, position)]
        self.report(
            "unsupported", "blocks are not supported by this version", origin.find("block")[0], origin.path
        )
        return [Broken(self.partial_name(node, position), None, origin)]

    def kind_errors(self, node: Mapping, kinds: list[str], origin: Origin) -> None:
        if kinds:
            self.report(
                "wrong-entry",
                f"an entry has one of type, block, layers and use, got {' and '.join(kinds)}",
                (node.key_node(kinds[1]) or node).span,
                origin.path,
                origin=origin,
            )
            return
        if not node.complete:
            return
        typo = next((k for k in node.keys() if did_you_mean(k, ["type"])), None)
        if typo is not None:
            self.diagnostics.append(
                unknown_key(
                    "an entry", typo, ["type"], node, (*origin.path, typo), (typo,), _instance_notes(origin)
                )
            )
            return
        self.report(
            "missing-key",
            "a layer needs `type`",
            (node.entries[0].key if len(node) else node).span,
            origin.path,
            help="for example {type: ReLU}; an entry may have block, layers or use instead",
            origin=origin,
        )

    def partial_name(self, node: Node, position: int) -> str:
        """The name of an entry that is refused, so that references to it are understood."""
        while isinstance(node, BrokenNode):
            if node.partial is None:
                return str(position)
            node = node.partial
        found = node.get("name") if isinstance(node, Mapping) else None
        return found.text if isinstance(found, Scalar) else str(position)

    def layer(self, node: Mapping, origin: Origin, position: int) -> Layer | Broken:
        """One layer, validated by its class."""
        kind = node.get("type")
        broken = Broken(self.partial_name(node, position), _readable_inputs(node), origin)
        if not isinstance(kind, Scalar) or not isinstance(kind.value, str):
            if not isinstance(kind, BrokenNode):
                self.report(
                    "wrong-type",
                    f"type: expected the name of a layer type, got {describe(to_python(kind))}",
                    origin.find("type")[0],
                    (*origin.path, "type"),
                    origin=origin,
                )
            return broken
        cls = REGISTRY.get(kind.value)
        if cls is None:
            self.unknown_type(kind, origin)
            return broken
        values: dict[str, Any] = {}
        damaged = False
        for entry in node.entries:
            key, value = entry.key.text, entry.value
            if key == "type":
                continue
            if isinstance(value, BrokenNode):
                damaged = True
                continue
            is_name = key in TEXT_KEYS or (key in cls.reference_parameters and isinstance(value, Scalar))
            values[key] = text_of(value) if is_name else to_python(value)
        if values.get("name", "") is None:
            values["name"] = str(position)
        values.setdefault("name", str(position))
        try:
            layer = cls.__pydantic_validator__.validate_python(values)
        except ValidationError as error:
            self.diagnostics.extend(
                diagnostics_of(
                    error,
                    cls,
                    cls.type_name,
                    node,
                    origin.path,
                    options=list(cls.model_fields),
                    complete=node.complete and not damaged,
                    notes=_instance_notes(origin),
                )
            )
            return broken
        if damaged or not node.complete:
            return broken
        layer._origin = origin
        return layer  # type: ignore[no-any-return]

    def unknown_type(self, kind: Scalar, origin: Origin) -> None:
        self.report(
            "unknown-type",
            f"there is no layer type `{kind.text}`",
            kind.span,
            (*origin.path, "type"),
            help=did_you_mean(kind.text, REGISTRY) or "`netspec layers` lists the types",
            origin=origin,
        )

    def group(self, node: Mapping, origin: Origin, position: int) -> Entry:
        """A nested list of entries, as nn.Sequential inside a model."""
        label, inputs = self.common(node, origin, position, ("name", "inputs", "layers"), "a nested list")
        nodes = node.get("layers")
        if not isinstance(nodes, Sequence) or (not nodes.items and nodes.complete):
            if not isinstance(nodes, BrokenNode):
                self.report(
                    "wrong-type",
                    "layers: expected a list with at least one layer",
                    nodes.span if nodes is not None else None,
                    (*origin.path, "layers"),
                    origin=origin,
                )
            return Broken(label, inputs, origin)
        entries = self.entries(nodes, (*origin.path, "layers"), origin.instance)
        return Group(label, entries, inputs, origin=origin)

    def use(self, node: Mapping, origin: Origin, position: int) -> Entry:
        """A second call of an earlier entry."""
        label, inputs = self.common(node, origin, position, ("name", "inputs", "use"), "a use")
        target = text_of(node.get("use"))  # type: ignore[arg-type]
        try:
            return Use(label, reference(target), inputs, origin)
        except PydanticCustomError as error:
            self.report(
                error.type,
                f"`use`: {error.message()}",
                origin.find("use")[0],
                (*origin.path, "use"),
                origin=origin,
            )
            return Broken(label, inputs, origin)

    def common(
        self, node: Mapping, origin: Origin, position: int, known: tuple[str, ...], what: str
    ) -> tuple[str, tuple[str, ...] | None]:
        """Name and inputs of an entry that is not a layer; other keys are refused."""
        for key in node.keys():
            if key not in known:
                self.diagnostics.append(
                    unknown_key(what, key, known, node, (*origin.path, key), (key,), _instance_notes(origin))
                )
        label, inputs = str(position), None
        for key, check in (("name", name), ("inputs", None)):
            value = node.get(key)
            if value is None or isinstance(value, BrokenNode):
                continue
            try:
                if check is not None:
                    label = check(text_of(value))
                else:
                    given = text_of(value)
                    inputs = tuple(map(reference, given if isinstance(given, list) else [given]))
            except PydanticCustomError as error:
                self.report(
                    error.type, f"`{key}`: {error.message()}", value.span, (*origin.path, key), origin=origin
                )
        return label, inputs

    # --- reporting ----------------------------------------------------------------------------------

    def report(
        self,
        code: str,
        message: str,
        span: Span | None,
        path: tuple[str | int, ...] = (),
        *,
        notes: tuple[Note, ...] = (),
        help: str | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.diagnostics.append(
            Diagnostic(
                code, "error", message, span, format_path(path), (*notes, *_instance_notes(origin)), help
            )
        )


_REFUSED = InputSpec.model_construct(shape=(), dtype="unknown")
"""Stands for an input whose description was refused: its name is known, its shape is not."""


def _header_value(key: str, node: Node) -> Any:
    if key == "inputs" and isinstance(node, Mapping):
        return {e.key.text: _REFUSED if isinstance(e.value, BrokenNode) else to_python(e.value) for e in node}
    if key == "outputs":
        if isinstance(node, Mapping):
            return {
                e.key.text: (
                    {
                        k.key.text: text_of(k.value) if k.key.text == "from" else to_python(k.value)
                        for k in e.value
                    }
                    if isinstance(e.value, Mapping)
                    else text_of(e.value)
                )
                for e in node
            }
        return text_of(node)
    if key in ("name", "weights") and isinstance(node, Scalar):
        return text_of(node)
    return to_python(node)


def _prune(values: dict[str, Any], error: ValidationError) -> bool:
    """Take the refused parts out, so that the rest can be validated; False if nothing was left to take."""
    changed = False
    for finding in error.errors(include_url=False, include_input=False):
        loc = finding["loc"]
        top = str(loc[0]) if loc else ""
        if top not in values:
            continue
        if top == "inputs" and len(loc) > 1 and isinstance(values[top], dict) and loc[1] in values[top]:
            changed |= values[top][loc[1]] is not _REFUSED
            values[top][loc[1]] = _REFUSED
        elif top == "outputs" and len(loc) > 1 and isinstance(values[top], dict):
            if loc[1] in values[top]:  # the second finding about one output finds it gone
                values[top] = {k: v for k, v in values[top].items() if k != loc[1]}
                changed = True
        elif top == "inputs":
            changed |= values[top] != {"_": {"shape": []}}
            values[top] = {"_": {"shape": []}}
        elif top == "netspec":
            changed |= values[top] != 1
            values[top] = 1
        else:
            del values[top]
            changed = True
    return changed


def _stem(file: str) -> str:
    return Path(file).stem if not file.startswith("<") else "network"


def _top(root: Mapping) -> Span | None:
    return root.entries[0].key.span if len(root) else root.span


def _is_named(origin: Origin) -> bool:
    return origin.node is not None and "name" in origin.node


def _readable_inputs(node: Mapping) -> tuple[str, ...] | None:
    """The references of an entry that is refused for another reason, so that they are checked all the same."""
    value = node.get("inputs")
    if value is None or isinstance(value, BrokenNode):
        return None
    given = text_of(value)
    try:
        return tuple(map(reference, given if isinstance(given, list) else [given]))
    except PydanticCustomError:
        return None


def _name_span(origin: Origin) -> Span | None:
    return origin.find("name")[0]


def _instance_notes(origin: Origin | None) -> tuple[Note, ...]:
    """For what stands in a block: the instances it is in, innermost first."""
    if origin is None:
        return ()
    return tuple(Note(f"in the block instance `{label}`", span) for label, span in reversed(origin.instance))


__all__ = ["COMMON", "read", "text_of"]
