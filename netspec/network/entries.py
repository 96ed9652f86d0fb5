"""Entries of a list: layers, nested lists and second uses; blocks and repetitions have readers of their own."""

from __future__ import annotations

from pydantic_core import PydanticCustomError

from netspec.diagnostics import Note, nearest
from netspec.document import Broken as BrokenNode
from netspec.document import Mapping, Node, Scalar, Sequence, to_python
from netspec.layers import REGISTRY
from netspec.layers.parameters import describe, reference
from netspec.network.blocks import unknown_entry_key
from netspec.network.errors import unknown_key
from netspec.network.expressions import Scope
from netspec.network.instances import Instances
from netspec.network.layer import LayerReader
from netspec.network.names import partial_name, read_inputs, read_name
from netspec.network.reading import MAX_DEPTH, Path, Reading
from netspec.network.repetition import Repetitions
from netspec.network.spec import Broken, Entry, Group, Origin, Use, instance_notes
from netspec.network.values import Damaged, value_of

KINDS = ("type", "block", "layers", "use")
"""Each entry has exactly one of these keys."""

_KEYS = {
    "use": ("name", "inputs", "use", "repeat"),
    "layers": ("name", "inputs", "layers", "repeat"),
    "block": ("name", "block", "with", "inputs", "repeat"),
}
_WHAT = {"use": "a use", "layers": "a nested list", "block": "a block's instance"}


class Entries:
    """Reads lists of entries, with all that is in them."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.layers = LayerReader(reading)
        self.instances = Instances(reading, self.read)
        self.repetitions = Repetitions(reading, self.one)

    def read(self, nodes: Sequence, path: Path, scope: Scope) -> tuple[Entry, ...]:
        """A list of entries: names are unique in it, and default to the position."""
        reading = self.reading
        result: list[Entry] = []
        first: dict[str, Origin] = {}
        if reading.depth >= MAX_DEPTH:
            message = f"lists and blocks are nested more than {MAX_DEPTH} deep"
            reading.report("too-deep", message, nodes.span, path)
            return (Broken("0", many=True),)
        reading.depth += 1
        for index, node in enumerate(nodes.items):
            origin = Origin(node if isinstance(node, Mapping) else None, (*path, index))
            for entry in self.item(node, origin, scope, len(result)):
                self.unique(entry, origin, first)
                result.append(entry)
            if reading.stopped:
                break
        reading.depth -= 1
        return tuple(result)

    def unique(self, entry: Entry, origin: Origin, first: dict[str, Origin]) -> None:
        """Report a name that an earlier entry of the list has. first: the names, and where each was written."""
        label = str(entry.name)
        earlier = first.setdefault(label, origin)
        if earlier is origin:
            return
        if isinstance(entry, Broken) and (origin.node is None or "name" not in origin.node):
            return
        self.reading.report(
            "duplicate-name",
            f"the name `{label}` is taken",
            origin.find("name")[0],
            (*origin.path, "name"),
            notes=(Note("first used here", earlier.find("name")[0]),),
            help="names are unique in their list",
        )

    def item(self, node: Node, origin: Origin, scope: Scope, position: int) -> list[Entry]:
        """The entries that one item of the list stands for: one, or several under `repeat`."""
        if isinstance(node, BrokenNode):
            return [Broken(partial_name(node, position), None, origin)]
        if not isinstance(node, Mapping):
            self.no_entry(node, origin)
            return [Broken(str(position), None, origin)]
        kinds = [key for key in KINDS if key in node]
        if len(kinds) != 1:
            self.kind_errors(node, kinds, origin)
            inputs = read_inputs(node, origin, scope, self.reading, quiet=True)
            return [Broken(partial_name(node, position), inputs, origin)]
        if "repeat" in node:
            return self.repetitions.read(node, kinds[0], origin, scope, position)
        label = read_name(node, origin, scope, self.reading)
        entry = self.one(node, kinds[0], origin, scope, label or str(position))
        if label is None:
            entry = Broken(str(position), entry.inputs, origin, many=True)
        self.reading.count(1, origin)
        return [entry]

    def one(self, node: Mapping, kind: str, origin: Origin, scope: Scope, label: str) -> Entry:
        """One entry of a known kind under a name."""
        if kind == "type":
            return self.layers.read(node, origin, scope, label)
        for key in node.keys():  # noqa: SIM118 (iterating gives entries)
            if key not in _KEYS[kind]:
                self.reading.add(
                    unknown_entry_key(_WHAT[kind], key, _KEYS[kind], node, origin.path, self.reading.instance)
                )
        inputs = read_inputs(node, origin, scope, self.reading)
        if kind == "use":
            return self.use(node, origin, scope, label, inputs)
        if kind == "layers":
            return self.group(node, origin, scope, label, inputs)
        return self.instances.read(node, origin, scope, label, inputs)

    def group(
        self, node: Mapping, origin: Origin, scope: Scope, label: str, inputs: tuple[str, ...] | None
    ) -> Entry:
        """A nested list of entries, as nn.Sequential inside a model."""
        nodes = node.get("layers")
        path = (*origin.path, "layers")
        if isinstance(nodes, Scalar):
            nodes = self.reading.substitution.apply(nodes, scope, path)
        if not isinstance(nodes, Sequence) or (not nodes.items and nodes.complete):
            if not isinstance(nodes, BrokenNode):
                self.reading.report(
                    "wrong-type",
                    "layers: expected a list with at least one layer",
                    nodes.span if nodes is not None else None,
                    path,
                )
            return Broken(label, inputs, origin)
        with self.reading.below(label):
            entries = self.read(nodes, path, scope)
        return Group(label, entries, inputs, origin=origin)

    def use(
        self, node: Mapping, origin: Origin, scope: Scope, label: str, inputs: tuple[str, ...] | None
    ) -> Entry:
        """A second call of an earlier entry."""
        path = (*origin.path, "use")
        try:
            target = self.reading.substitution.apply(node.get("use"), scope, path)  # type: ignore[arg-type]
            return Use(label, reference(value_of(target, True)), inputs, origin)
        except PydanticCustomError as error:
            self.reading.report(error.type, f"`use`: {error.message()}", origin.find("use")[0], path)
        except Damaged:
            pass
        return Broken(label, inputs, origin)

    # --- what is no entry ---------------------------------------------------------------------------

    def no_entry(self, node: Node, origin: Origin) -> None:
        """An item that is not even a mapping."""
        advice = None
        if isinstance(node, Scalar) and node.text in REGISTRY:
            advice = f"write {{type: {node.text}}}"
        elif isinstance(node, Scalar) and node.text in self.reading.blocks:
            advice = f"write {{block: {node.text}}}"
        self.reading.report(
            "wrong-type",
            f"a layer is a mapping such as {{type: ReLU}}, got {describe(to_python(node))}",
            node.span,
            origin.path,
            help=advice,
        )

    def kind_errors(self, node: Mapping, kinds: list[str], origin: Origin) -> None:
        """A mapping that is several kinds of entries, or none."""
        if kinds:
            self.reading.report(
                "wrong-entry",
                f"an entry has one of type, block, layers and use, got {' and '.join(kinds)}",
                (node.key_node(kinds[1]) or node).span,
                origin.path,
            )
            return
        if not node.complete:
            return
        typo = next((e.key.text for e in node if nearest(e.key.text, KINDS)), None)
        if typo is not None:
            notes = instance_notes(self.reading.instance)
            self.reading.add(unknown_key("an entry", typo, KINDS, node, (*origin.path, typo), (typo,), notes))
            return
        self.reading.report(
            "missing-key",
            "a layer needs `type`",
            (node.entries[0].key if len(node) else node).span,
            origin.path,
            help="for example {type: ReLU}; an entry may have block, layers or use instead",
        )
