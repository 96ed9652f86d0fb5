"""From a document to a `NetworkSpec`: every part is validated on its own, so that one mistake hides no other.

Instances of blocks are expanded here: arguments are put into the document's nodes first, and the result is
validated like any other entry. Instances with equal arguments share one expansion, and entries that use no
argument are validated once for all.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from netspec.diagnostics import Diagnostic, Note, Span, did_you_mean, format_path, nearest
from netspec.document import Broken as BrokenNode
from netspec.document import Document, Mapping, Node, Scalar, Sequence, to_python
from netspec.layers import REGISTRY
from netspec.layers.base import COMMON, Layer
from netspec.layers.parameters import NAME, describe, is_integer, name, reference
from netspec.network.blocks import (
    Block,
    Expansion,
    Findings,
    instance_counts,
    read_blocks,
    unknown_entry_key,
)
from netspec.network.errors import diagnostics_of, unknown_key
from netspec.network.expressions import (
    INDEX,
    OUTSIDE,
    UNKNOWN,
    Argument,
    Scope,
    Substitution,
    argument,
    integer,
)
from netspec.network.spec import (
    Broken,
    Entry,
    Group,
    Header,
    InputSpec,
    NetworkSpec,
    Origin,
    Use,
    instance_notes,
)

TEXT_KEYS = frozenset({"name", "inputs", "use", "block", "type"})
"""Keys of an entry whose scalars are names: read as source text, so that 3.10 stays 3.10."""

KINDS = ("type", "block", "layers", "use")
"""Each entry has exactly one of these keys."""

MAX_ENTRIES: Final = 200_000
"""Entries of a network with all blocks and repetitions written out."""
HIDDEN: Final = "_repeated_"
"""Begins the names under which the repetitions of a named entry know its inputs."""
MAX_DEPTH: Final = 64
"""Nesting of lists and blocks."""
MAX_EXPANSIONS: Final = 20_000
"""Instances of blocks with different arguments: equal ones are read once."""

_KEYS = {
    "use": ("name", "inputs", "use", "repeat"),
    "layers": ("name", "inputs", "layers", "repeat"),
    "block": ("name", "block", "with", "inputs", "repeat"),
}
_WHAT = {"use": "a use", "layers": "a nested list", "block": "a block's instance"}


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
        self.findings = Findings()
        self.substitution = Substitution(self.report)
        self.blocks: dict[str, Block] = {}
        self.all_blocks = True
        self.expansions: dict[Hashable, Expansion] = {}
        self.seen: set[str] = set()
        self.finished: list[Expansion] = []
        self.validated: dict[Hashable, tuple[Layer | Broken, list[Any]]] = {}
        self.cycles: set[frozenset[str]] = set()
        # Where reading is: the expansion being made, the blocks it is in, the names and instances around it.
        self.current = Expansion()
        self.current.owner = self.current
        self.open: list[str] = []
        self.prefix = ""
        self.instance: tuple[tuple[str, Span | None], ...] = ()
        self.depth = 0
        self.work = 0
        self.stopped = False

    # --- the file as a whole ------------------------------------------------------------------------

    def read(self) -> tuple[NetworkSpec | None, list[Diagnostic]]:
        root = self.document.root
        if root is None or isinstance(root, BrokenNode):
            return None, []
        if not isinstance(root, Mapping):
            self.report(
                "wrong-type",
                "a network file is a mapping with netspec, inputs and layers, "
                f"got {describe(to_python(root))}",
                root.span,
            )
            return None, self.findings.diagnostics()
        only_blocks = "blocks" in root and "layers" not in root and "inputs" not in root and root.complete
        if only_blocks:
            self.report(
                "missing-key",
                "the network needs `inputs` and `layers`",
                _top(root),
                help="a file of blocks is checked through the network that includes it",
            )
        header = self.header(root, only_blocks)
        self.blocks, self.all_blocks = read_blocks(self.document, self.directory, self.findings)
        spec = NetworkSpec.model_construct(**header, layers=list(self.layers(root, only_blocks)))
        spec._document = self.document
        spec._directory = self.directory
        network = self.current
        self.finished.append(network)
        spec._unused = self.unused()
        counts = instance_counts([network], self.finished)
        return spec, self.findings.diagnostics(counts)

    def layers(self, root: Mapping, only_blocks: bool) -> tuple[Entry, ...]:
        """The entries of the network."""
        layers = root.get("layers")
        if layers is None:
            if root.complete and not only_blocks:
                self.report("missing-key", "the network needs `layers`, a list of layers", _top(root))
        elif isinstance(layers, Sequence):
            entries = self.entries(layers, ("layers",), OUTSIDE)
            if self.stopped:
                return (Broken("0", many=True),)
            if not layers.items and layers.complete:
                self.report("missing-key", "the list of layers is empty", layers.span, ("layers",))
            elif not entries and layers.complete:
                place = root.key_node("layers")
                self.report(
                    "missing-key",
                    "no layer is left: everything is repeated 0 times",
                    place.span if place is not None else None,
                    ("layers",),
                )
            return entries
        elif not isinstance(layers, BrokenNode):
            self.report(
                "wrong-type",
                f"layers: expected a list of layers, got {describe(to_python(layers))}",
                layers.span,
                ("layers",),
            )
        return ()

    def unused(self) -> tuple[Group, ...]:
        """Blocks without an instance, read with their defaults, or without values where one is required."""
        groups = []
        for block in self.blocks.values():
            if self.stopped or block.name in self.seen:
                continue
            given = {n: UNKNOWN if a is None else a for n, a in block.arguments.items()}
            if None in block.arguments.values():
                given = dict.fromkeys(given, UNKNOWN)
            self.current = Expansion()
            self.current.owner = self.current
            self.prefix = ""
            expansion = self.expand(block, given, block.name, None, instance=())
            self.finished.append(self.current)
            if expansion is not None and not self.stopped:
                groups.append(_instance(block.name, None, block, expansion, block.origin))
        return tuple(groups)

    def header(self, root: Mapping, only_blocks: bool) -> dict[str, Any]:
        """The keys beside `layers`; what is refused is left out of the result."""
        values: dict[str, Any] = {}
        for entry in root:
            key = entry.key.text
            if key in ("layers", "blocks", "include") or isinstance(entry.value, BrokenNode):
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
            if "inputs" not in root and root.complete and not only_blocks:
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
            self.findings.add(item, self.current.owner)

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

    def entries(self, nodes: Sequence, path: tuple[str | int, ...], scope: Scope) -> tuple[Entry, ...]:
        """A list of entries: names are unique in it, and default to the position."""
        result: list[Entry] = []
        first: dict[str, Origin] = {}
        if self.depth >= MAX_DEPTH:
            self.report(
                "too-deep", f"lists and blocks are nested more than {MAX_DEPTH} deep", nodes.span, path
            )
            return (Broken("0", many=True),)
        self.depth += 1
        for index, node in enumerate(nodes.items):
            origin = Origin(node if isinstance(node, Mapping) else None, (*path, index))
            for entry in self.entry(node, origin, scope, len(result)):
                label = str(entry.name)
                earlier = first.setdefault(label, origin)
                if earlier is not origin and (not isinstance(entry, Broken) or _is_named(origin)):
                    self.report(
                        "duplicate-name",
                        f"the name `{label}` is taken",
                        _name_span(origin),
                        (*origin.path, "name"),
                        notes=(Note("first used here", _name_span(earlier)),),
                        help="names are unique in their list",
                    )
                result.append(entry)
            if self.stopped:
                break
        self.depth -= 1
        return tuple(result)

    def entry(self, node: Node, origin: Origin, scope: Scope, position: int) -> list[Entry]:
        """The entries that one item of the list stands for: one, or several under `repeat`."""
        if isinstance(node, BrokenNode):
            return [Broken(self.partial_name(node, position), None, origin)]
        if not isinstance(node, Mapping):
            advice = None
            if isinstance(node, Scalar) and node.text in REGISTRY:
                advice = f"write {{type: {node.text}}}"
            elif isinstance(node, Scalar) and node.text in self.blocks:
                advice = f"write {{block: {node.text}}}"
            self.report(
                "wrong-type",
                f"a layer is a mapping such as {{type: ReLU}}, got {describe(to_python(node))}",
                node.span,
                origin.path,
                help=advice,
            )
            return [Broken(str(position), None, origin)]
        kinds = [key for key in KINDS if key in node]
        if len(kinds) != 1:
            self.kind_errors(node, kinds, origin)
            return [Broken(self.partial_name(node, position), self.inputs(node, origin, scope, True), origin)]
        if "repeat" in node:
            return self.repeated(node, kinds[0], origin, scope, position)
        label = self.label(node, origin, scope)
        entry = self.single(
            node, kinds[0], origin, scope, str(position) if label is None or not label else label
        )
        if label is None:
            entry = Broken(str(position), entry.inputs, origin, many=True)
        self.count(1, origin)
        return [entry]

    def single(self, node: Mapping, kind: str, origin: Origin, scope: Scope, label: str) -> Entry:
        """One entry of a known kind under a name."""
        if kind == "type":
            return self.layer(node, origin, scope, label)
        for key in [e.key.text for e in node]:
            if key not in _KEYS[kind]:
                self.findings.add(
                    unknown_entry_key(_WHAT[kind], key, _KEYS[kind], node, origin.path, self.instance),
                    self.current.owner,
                )
        inputs = self.inputs(node, origin, scope)
        if kind == "use":
            return self.use(node, origin, scope, label, inputs)
        if kind == "layers":
            return self.group(node, origin, scope, label, inputs)
        return self.instance_of_block(node, origin, scope, label, inputs)

    def kind_errors(self, node: Mapping, kinds: list[str], origin: Origin) -> None:
        if kinds:
            self.report(
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
            self.findings.add(
                unknown_key(
                    "an entry",
                    typo,
                    KINDS,
                    node,
                    (*origin.path, typo),
                    (typo,),
                    instance_notes(self.instance),
                ),
                self.current.owner,
            )
            return
        self.report(
            "missing-key",
            "a layer needs `type`",
            (node.entries[0].key if len(node) else node).span,
            origin.path,
            help="for example {type: ReLU}; an entry may have block, layers or use instead",
        )

    def partial_name(self, node: Node, position: int) -> str:
        """The name of an entry that is refused, so that references to it are understood."""
        while isinstance(node, BrokenNode):
            if node.partial is None:
                return str(position)
            node = node.partial
        found = node.get("name") if isinstance(node, Mapping) else None
        return found.text if isinstance(found, Scalar) else str(position)

    def label(self, node: Mapping, origin: Origin, scope: Scope, *, braces: bool = False) -> str | None:
        """The name that is written: "" for none, None for one that is wrong or not known.

        braces: `{}` may stand in it for the number of a repetition.
        """
        value = node.get("name")
        if value is None:
            return ""
        path = (*origin.path, "name")
        if braces and INDEX in self.substitution.used(value):
            self.report(
                "invalid-name",
                "`name`: $index cannot stand here",
                value.span,
                path,
                help="write {} for the number",
            )
            return None
        value = self.substitution.apply(value, scope, path)
        if isinstance(value, BrokenNode) or (isinstance(value, Scalar) and value.value is None):
            return None if isinstance(value, BrokenNode) else ""
        try:
            text = _value(value, True)
            if braces and isinstance(text, str) and NAME.fullmatch(text.replace("{}", "0")):
                return text
            return name(text)
        except _Damaged:
            return None
        except PydanticCustomError as error:
            advice = (error.context or {}).get("help")
            if isinstance(value, Scalar) and "{}" in value.text and not braces:
                advice = "{} is replaced by the number under `repeat`"
            self.report(error.type, f"`name`: {error.message()}", value.span, path, help=advice)
            return None

    def inputs(
        self, node: Mapping, origin: Origin, scope: Scope, quiet: bool = False
    ) -> tuple[str, ...] | None:
        """The references of an entry, as far as they can be read; quiet: say nothing about the others."""
        value = node.get("inputs")
        if value is None:
            return None
        path = (*origin.path, "inputs")
        try:
            value = self.substitution.apply(value, scope, path)
            given = _value(value, True)
            return tuple(map(reference, given if isinstance(given, list) else [given]))
        except _Damaged:
            return None
        except PydanticCustomError as error:
            if not quiet:
                advice = (error.context or {}).get("help")
                self.report(error.type, f"`inputs`: {error.message()}", value.span, path, help=advice)
            return None

    # --- layers -------------------------------------------------------------------------------------

    def layer(self, node: Mapping, origin: Origin, scope: Scope, label: str) -> Layer | Broken:
        """One layer; in blocks and repetitions each is validated once for the values it depends on."""
        names = self.substitution.used(node)
        if not self.open and scope is OUTSIDE:
            return self.validate(node, origin, scope, label, bool(names))
        key = (id(node), origin.path, scope.keys(names), scope.block)
        found = self.validated.get(key)
        if found is not None:
            entry, log = found
            for finding in log:
                self.findings.again(finding, self.current.owner)
            return _with(entry, label, entry.inputs)  # type: ignore[return-value]
        start = len(self.findings.log)
        entry = self.validate(node, origin, scope, label, bool(names))
        self.validated[key] = entry, self.findings.log[start:]
        return entry

    def validate(
        self, node: Mapping, origin: Origin, scope: Scope, label: str, substitute: bool
    ) -> Layer | Broken:
        """One layer, checked by its class."""
        whole = node
        if substitute:
            without_name = Mapping(
                [e for e in node.entries if e.key.text not in ("name", "repeat")], node.span
            )
            whole = self.substitution.apply(without_name, scope, origin.path)  # type: ignore[assignment]
            whole.complete = node.complete
        kind = whole.get("type")
        if not isinstance(kind, Scalar) or not isinstance(kind.value, str):
            if not isinstance(kind, BrokenNode):
                self.report(
                    "wrong-type",
                    f"type: expected the name of a layer type, got {describe(to_python(kind))}",
                    origin.find("type")[0],
                    (*origin.path, "type"),
                )
            return Broken(label, self.inputs(whole, origin, scope, True), origin)
        cls = REGISTRY.get(kind.value)
        if cls is None:
            self.unknown_type(kind, origin)
            return Broken(label, self.inputs(whole, origin, scope, True), origin)
        values: dict[str, Any] = {}
        damaged = False
        for entry in whole.entries:
            key = entry.key.text
            if key in ("type", "name", "repeat"):
                continue
            try:
                values[key] = _value(entry.value, key in TEXT_KEYS)
            except _Damaged:
                damaged = True
        values["name"] = label
        try:
            layer = cls.__pydantic_validator__.validate_python(values)
        except ValidationError as error:
            for found in diagnostics_of(
                error,
                cls,
                cls.type_name,
                whole,
                origin.path,
                options=[*cls.model_fields, "repeat"],
                complete=node.complete and not damaged,
                notes=instance_notes(self.instance),
            ):
                self.findings.add(found, self.current.owner)
            return Broken(label, self.inputs(whole, origin, scope, True), origin)
        if damaged or not node.complete:
            return Broken(label, self.inputs(whole, origin, scope, True), origin)
        layer._origin = origin
        return layer  # type: ignore[no-any-return]

    def unknown_type(self, kind: Scalar, origin: Origin) -> None:
        advice = did_you_mean(kind.text, REGISTRY) or "`netspec layers` lists the types"
        if kind.text in self.blocks:
            advice = f"`{kind.text}` is a block: write block: {kind.text}"
        self.report(
            "unknown-type",
            f"there is no layer type `{kind.text}`",
            kind.span,
            (*origin.path, "type"),
            help=advice,
        )

    # --- groups and uses ----------------------------------------------------------------------------

    def group(
        self, node: Mapping, origin: Origin, scope: Scope, label: str, inputs: tuple[str, ...] | None
    ) -> Entry:
        """A nested list of entries, as nn.Sequential inside a model."""
        nodes = node.get("layers")
        path = (*origin.path, "layers")
        if isinstance(nodes, Scalar):
            nodes = self.substitution.apply(nodes, scope, path)
        if not isinstance(nodes, Sequence) or (not nodes.items and nodes.complete):
            if not isinstance(nodes, BrokenNode):
                self.report(
                    "wrong-type",
                    "layers: expected a list with at least one layer",
                    nodes.span if nodes is not None else None,
                    path,
                )
            return Broken(label, inputs, origin)
        outer, self.prefix = self.prefix, f"{self.prefix}{label}."
        entries = self.entries(nodes, path, scope)
        self.prefix = outer
        return Group(label, entries, inputs, origin=origin)

    def use(
        self, node: Mapping, origin: Origin, scope: Scope, label: str, inputs: tuple[str, ...] | None
    ) -> Entry:
        """A second call of an earlier entry."""
        path = (*origin.path, "use")
        try:
            target = _value(self.substitution.apply(node.get("use"), scope, path), True)  # type: ignore[arg-type]
            return Use(label, reference(target), inputs, origin)
        except PydanticCustomError as error:
            self.report(error.type, f"`use`: {error.message()}", origin.find("use")[0], path)
        except _Damaged:
            pass
        return Broken(label, inputs, origin)

    # --- instances of blocks ------------------------------------------------------------------------

    def instance_of_block(
        self, node: Mapping, origin: Origin, scope: Scope, label: str, inputs: tuple[str, ...] | None
    ) -> Entry:
        """A block with arguments put in."""
        broken = Broken(label, inputs, origin)
        path = (*origin.path, "block")
        kind = self.substitution.apply(node.get("block"), scope, path)  # type: ignore[arg-type]
        if isinstance(kind, BrokenNode):
            return broken
        if not isinstance(kind, Scalar) or not isinstance(text := text_of(kind), str):
            self.report(
                "wrong-type",
                f"block: expected the name of a block, got {describe(to_python(kind))}",
                kind.span,
                path,
            )
            return broken
        block = self.blocks.get(text)
        if block is None and not self.all_blocks:
            return broken
        if block is None:
            known = f"the blocks are {', '.join(list(self.blocks)[:12])}" if self.blocks else None
            advice = did_you_mean(text, self.blocks) or known or "blocks are declared under `blocks`"
            if text in REGISTRY:
                advice = f"`{text}` is a layer type: write type: {text}"
            self.report("unknown-block", f"there is no block `{text}`", kind.span, path, help=advice)
            return broken
        given = self.arguments(node, block, origin, scope, kind.span)
        if block.name in self.open:
            self.recursion(block, kind.span, path)
            return broken
        made = self.expand(block, given, label, kind.span)
        return _instance(label, inputs, block, made, origin) if made is not None else broken

    def arguments(
        self, node: Mapping, block: Block, origin: Origin, scope: Scope, place: Span | None
    ) -> dict[str, Argument]:
        """The values of a block's arguments; one that is missing or wrong is reported and not known."""
        path = (*origin.path, "with")
        known = list(block.arguments)
        given: dict[str, Argument] = {}
        unknown: list[str] = []
        complete = node.complete
        values = node.get("with")
        if values is not None:
            values = self.substitution.apply(values, scope, path)
        if isinstance(values, Mapping):
            complete &= values.complete
            for entry in values:
                label = entry.key.text
                if label in block.arguments:
                    given[label] = argument(entry.value)
                    continue
                if not block.sure:
                    continue
                unknown.append(label)
                advice = f"its arguments are {', '.join(known)}" if known else "it has no arguments"
                self.report(
                    "unknown-argument",
                    f"block {block.name} has no argument `{label}`",
                    entry.key.span,
                    (*path, label),
                    notes=(Note(f"block {block.name} is defined here", block.span),),
                    help=did_you_mean(label, known) or advice,
                )
        elif isinstance(values, BrokenNode):
            complete = False
        elif values is not None:
            complete = False
            self.report(
                "wrong-type",
                f"with: expected a mapping from arguments to values, got {describe(to_python(values))}",
                values.span,
                path,
                help=f"for example with: {{{known[0]}: 1}}" if known else None,
            )
        result: dict[str, Argument] = {}
        meant = {word for label in unknown for word in nearest(label, known)}
        for label, default in block.arguments.items():
            value = given.get(label, default)
            if value is None and complete and label not in meant:
                self.report(
                    "missing-argument",
                    f"block {block.name} needs `{label}`",
                    place,
                    path if values is not None else origin.path,
                    notes=(Note("declared here, without a default", block.argument_span(label)),),
                    help=f"write with: {{{label}: ...}}" if values is None else None,
                )
            result[label] = UNKNOWN if value is None else value
        return result

    def recursion(self, block: Block, place: Span | None, path: tuple[str | int, ...]) -> None:
        """A block that contains itself; each ring of blocks is reported once."""
        ring = self.open[self.open.index(block.name) :]
        if frozenset(ring) in self.cycles:
            return
        self.cycles.add(frozenset(ring))
        chain = [*ring, block.name]
        shown = chain if len(chain) <= 10 else [*chain[:5], "...", *chain[-4:]]
        what = f"block {block.name} contains itself" if len(ring) == 1 else "the blocks contain each other"
        self.report(
            "recursive-block",
            f"{what}: {' -> '.join(shown)}",
            place,
            path,
            notes=tuple(
                Note(f"block {label} is defined here", self.blocks[label].span) for label in ring[:5]
            ),
            help="a block cannot contain an instance of itself; use `repeat` for several in a row",
        )

    def expand(
        self,
        block: Block,
        given: dict[str, Argument],
        label: str,
        place: Span | None,
        instance: tuple[tuple[str, Span | None], ...] | None = None,
    ) -> Expansion | None:
        """The entries of a block with these arguments; None if the block itself was refused."""
        self.seen.add(block.name)
        if block.layers is None:
            return None
        key = (block.name, tuple(value.key for value in given.values()))
        made = self.expansions.get(key)
        if made is None and len(self.expansions) >= MAX_EXPANSIONS:
            self.stop(
                block.origin,
                f"more than {MAX_EXPANSIONS:,} instances of blocks with different arguments",
                place,
            )
        if self.stopped:
            return None
        if made is None:
            outer = self.current, self.prefix, self.instance
            made = self.current = Expansion()
            made.owner = made
            self.instance = (*self.instance, (self.prefix + label, place)) if instance is None else instance
            self.prefix += label + "."
            self.open.append(block.name)
            scope = Scope(block.name, given, sure=block.sure)
            made.entries = self.entries(block.layers, (*block.origin.path, "layers"), scope)
            self.outputs(block, scope, made)
            self.clashes(block, made)
            self.open.pop()
            self.current, self.prefix, self.instance = outer
            self.expansions[key] = made
            self.finished.append(made)
        self.current.uses[made] += 1
        self.current.size += made.size
        return made

    def outputs(self, block: Block, scope: Scope, made: Expansion) -> None:
        """A block's outputs as references."""
        if block.outputs is None:
            return
        path = (*block.origin.path, "outputs")
        node = made.outputs_node = self.substitution.apply(block.outputs, scope, path)
        texts: list[str] = []
        for index, item in enumerate(node.items if isinstance(node, Sequence) else [node]):
            try:
                texts.append(reference(_value(item, True)))
            except _Damaged:
                texts.append("")
            except PydanticCustomError as error:
                self.report(error.type, f"`outputs`: {error.message()}", item.span, (*path, index))
                texts.append("")
        made.outputs = tuple(texts)

    def clashes(self, block: Block, made: Expansion) -> None:
        """Entries that are called as one of the block's inputs."""
        declared = block.origin.node.get("inputs") if block.origin.node is not None else None
        for entry in made.entries:
            if str(entry.name) in block.inputs:
                origin = (entry._origin if isinstance(entry, Layer) else entry.origin) or block.origin
                note = Note("the input", declared.span if declared is not None else block.span)
                self.report(
                    "duplicate-name",
                    f"the name `{entry.name}` is taken by an input of block {block.name}",
                    _name_span(origin),
                    (*origin.path, "name"),
                    notes=(note,),
                )

    # --- repetition ---------------------------------------------------------------------------------

    def repeated(self, node: Mapping, kind: str, origin: Origin, scope: Scope, position: int) -> list[Entry]:
        """An entry several times: each takes the output of the one before as its first input."""
        times, start = self.times(node, origin, scope)
        label = self.label(node, origin, scope, braces=True)
        if times is None or label is None:
            entry = self.aside(node, kind, origin, scope.numbered(UNKNOWN), label or str(position))
            return [Broken(label or str(position), entry.inputs, origin, many=True)]
        spliced = not label or "{}" in label
        if times == 0:
            entry = self.aside(node, kind, origin, scope.blurred(), label.replace("{}", "0") or str(position))
            if spliced:
                return []
            self.count(1, origin)
            return [Group(label, (), entry.inputs, origin=origin, repeated=True)]
        if self.too_many(times, origin):
            return []
        outer = self.prefix
        if not spliced:
            self.prefix += label + "."

        def called(number: int) -> str:
            if not label:
                return str(position + number)
            return label.replace("{}", str(start + number)) if spliced else str(start + number)

        entries = self.copies(node, kind, origin, scope, times, start, called)
        self.prefix = outer
        if self.stopped:
            return []
        wanted = entries[0].inputs
        if spliced or not wanted:
            linked = _linked(entries, wanted)
            if spliced:
                return linked
            self.count(1, origin)
            return [Group(label, tuple(linked), wanted, origin=origin, repeated=True)]
        hidden = tuple(f"{HIDDEN}{i}" for i in range(len(wanted)))
        self.count(1, origin)
        linked = _linked([_with(entries[0], str(entries[0].name), hidden), *entries[1:]], hidden)
        return [Group(label, tuple(linked), wanted, hidden, origin=origin, repeated=True)]

    def copies(
        self, node: Mapping, kind: str, origin: Origin, scope: Scope, times: int, start: int, called: Any
    ) -> list[Entry]:
        """The entries of a repetition; read once for all where `$index` makes no difference."""
        if INDEX in self.substitution.used(node):
            entries = []
            for number in range(times):
                inner = scope.numbered(integer(start + number))
                entries.append(self.single(node, kind, origin, inner, called(number)))
                self.count(1, origin)
                if self.stopped:
                    break
            return entries
        parent = self.current
        frame = self.current = Expansion()
        frame.owner = parent.owner
        entry = self.single(node, kind, origin, scope.numbered(integer(start)), called(0))
        self.current = parent
        self.finished.append(frame)
        parent.uses[frame] += times
        if self.too_many((frame.size + 1) * times, origin):
            return [entry]
        parent.size += frame.size * times
        self.count(times, origin)
        return [entry, *(_with(entry, called(number), entry.inputs) for number in range(1, times))]

    def aside(self, node: Mapping, kind: str, origin: Origin, scope: Scope, label: str) -> Entry:
        """Read an entry for what is wrong with it, not for the network."""
        parent = self.current
        self.current = Expansion()
        self.current.owner = self.current
        entry = self.single(node, kind, origin, scope, label)
        self.finished.append(self.current)
        self.current = parent
        return entry

    def times(self, node: Mapping, origin: Origin, scope: Scope) -> tuple[int | None, int]:
        """`repeat: 3` or `{times: 3, from: 1}`: how often, and the first number; None if not known."""
        path = (*origin.path, "repeat")
        value = self.substitution.apply(node.get("repeat"), scope, path)  # type: ignore[arg-type]
        if not isinstance(value, Mapping):
            return self.whole_number(value, "repeat", path), 0
        for entry in value:
            if (key := entry.key.text) not in ("times", "from"):
                self.findings.add(
                    unknown_entry_key("repeat", key, ("times", "from"), value, path, self.instance),
                    self.current.owner,
                )
        times = value.get("times")
        first = value.get("from")
        start = self.whole_number(first, "from", (*path, "from")) if first is not None else 0
        if times is None:
            if value.complete:
                place = node.key_node("repeat")
                self.report("missing-key", "repeat needs `times`", place.span if place else None, path)
            return None, 0
        number = self.whole_number(times, "times", (*path, "times"))
        return (number, start) if start is not None else (None, 0)

    def whole_number(self, node: Node, what: str, path: tuple[str | int, ...]) -> int | None:
        """An integer that is not negative."""
        if isinstance(node, BrokenNode):
            return None
        value: Any = node.value if isinstance(node, Scalar) else to_python(node)
        if is_integer(value) and value >= 0:
            return int(value)
        code = "out-of-range" if is_integer(value) else "wrong-type"
        self.report(code, f"`{what}`: expected an integer >= 0, got {describe(value)}", node.span, path)
        return None

    def too_many(self, number: int, origin: Origin) -> bool:
        """Whether so many more entries are over the limit."""
        if self.current.size + number > MAX_ENTRIES:
            self.stop(origin)
        return self.stopped

    def count(self, number: int, origin: Origin) -> None:
        """So many entries were made."""
        self.current.size += number
        self.work += 1
        if self.current.size > MAX_ENTRIES or self.work > MAX_ENTRIES:
            self.stop(origin)

    def stop(self, origin: Origin, why: str | None = None, place: Span | None = None) -> None:
        """Give up: the network is too large."""
        if not self.stopped:
            self.stopped = True
            why = why or f"more than {MAX_ENTRIES:,} layers, with blocks and repetitions written out"
            self.report("too-many-layers", why, place or origin.span, origin.path)

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
    ) -> None:
        notes = (*notes, *instance_notes(self.instance))
        self.findings.add(
            Diagnostic(code, "error", message, span, format_path(path), notes, help), self.current.owner
        )


def _linked(entries: list[Entry], inputs: tuple[str, ...] | None) -> list[Entry]:
    """Repetitions in a row: each takes the one before as its first input, and the other inputs unchanged."""
    if not inputs:
        return entries
    result = [entries[0]]
    for entry in entries[1:]:
        result.append(_with(entry, str(entry.name), (str(result[-1].name), *inputs[1:])))
    return result


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


def _name_span(origin: Origin) -> Span | None:
    return origin.find("name")[0]


def _instance_notes(origin: Origin | None) -> tuple[Note, ...]:
    return instance_notes(origin.instance) if origin is not None else ()


class _Damaged(Exception):
    """A part of a value could not be read, or is not known."""


def _value(node: Node, text: bool) -> Any:
    """The Python value of a node, scalars as written if `text`. Raises `_Damaged`."""
    if isinstance(node, Scalar):
        return text_of(node) if text else node.value
    if isinstance(node, Sequence):
        return [_value(item, text) for item in node.items]
    if isinstance(node, BrokenNode):
        raise _Damaged
    return {entry.key.text: _value(entry.value, False) for entry in node.entries}


def _instance(
    label: str, inputs: tuple[str, ...] | None, block: Block, made: Expansion, origin: Origin
) -> Group:
    return Group(
        label,
        made.entries,
        inputs,
        block.inputs,
        made.outputs,
        block.name,
        origin,
        made.outputs_node,
        (*block.origin.path, "outputs"),
    )


def _with(entry: Entry, label: str, inputs: tuple[str, ...] | None) -> Entry:
    """The same entry under another name, with other inputs."""
    if isinstance(entry, Layer):
        if entry.name == label and entry.inputs == inputs:
            return entry
        return entry.model_copy(update={"name": label, "inputs": inputs})
    return replace(entry, name=label, inputs=inputs)


__all__ = ["COMMON", "read", "text_of"]
