"""One layer: the class that `type` names checks its parameters."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from pydantic import ValidationError

from netspec.diagnostics import did_you_mean
from netspec.document import Broken as BrokenNode
from netspec.document import Mapping, Scalar, to_python
from netspec.layers import REGISTRY
from netspec.layers.base import Layer
from netspec.layers.parameters import describe
from netspec.network.blocks import FindingKey
from netspec.network.errors import diagnostics_of
from netspec.network.expressions import OUTSIDE, Scope
from netspec.network.names import read_inputs, renamed
from netspec.network.reading import Reading
from netspec.network.spec import Broken, Origin, instance_notes
from netspec.network.values import Damaged, value_of

TEXT_KEYS = frozenset({"name", "inputs", "use", "block", "type"})
"""Keys of an entry whose scalars are names: read as source text, so that 3.10 stays 3.10."""
_NO_PARAMETERS = ("type", "name", "repeat")


class LayerReader:
    """Reads layers; in blocks and repetitions each is validated once for the values it depends on."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.validated: dict[Hashable, tuple[Layer | Broken, list[FindingKey]]] = {}

    def read(self, node: Mapping, origin: Origin, scope: Scope, label: str) -> Layer | Broken:
        """The layer under a name."""
        reading = self.reading
        names = reading.substitution.used(node)
        if not reading.open and scope is OUTSIDE:
            return self.validate(self.substituted(node, origin, scope), origin, scope, label)
        key = (id(node), origin.path, scope.keys(names), scope.block)
        found = self.validated.get(key)
        if found is not None:
            entry, log = found
            for finding in log:
                reading.findings.again(finding, reading.current.owner)
            return renamed(entry, label, entry.inputs)  # type: ignore[return-value]
        start = len(reading.findings.log)
        entry = self.validate(self.substituted(node, origin, scope), origin, scope, label)
        self.validated[key] = entry, reading.findings.log[start:]
        return entry

    def substituted(self, node: Mapping, origin: Origin, scope: Scope) -> Mapping:
        """The node with arguments put in, without the keys that others read."""
        if not self.reading.substitution.used(node):
            return node
        rest = Mapping([e for e in node.entries if e.key.text not in ("name", "repeat")], node.span)
        whole: Mapping = self.reading.substitution.apply(rest, scope, origin.path)  # type: ignore[assignment]
        whole.complete = node.complete
        return whole

    def validate(self, whole: Mapping, origin: Origin, scope: Scope, label: str) -> Layer | Broken:
        """The layer that an entry with arguments put in describes."""
        cls = self.layer_class(whole, origin)
        layer = None
        if cls is not None:
            values, damaged = _parameters(whole, cls)
            complete = whole.complete and not damaged
            layer = self.construct(cls, {**values, "name": label}, whole, origin, complete)
            if complete and layer is not None:
                layer._origin = origin
                return layer
        inputs = read_inputs(whole, origin, scope, self.reading, quiet=True)
        return Broken(label, inputs, origin)

    def construct(
        self, cls: type[Layer], values: dict[str, Any], whole: Mapping, origin: Origin, complete: bool
    ) -> Layer | None:
        """A layer with these parameters; what its class refuses is reported."""
        try:
            return cls.__pydantic_validator__.validate_python(values)  # type: ignore[no-any-return]
        except ValidationError as error:
            for found in diagnostics_of(
                error,
                cls,
                cls.type_name,
                whole,
                origin.path,
                options=[*cls.known_keys(), "repeat"],
                complete=complete,
                notes=instance_notes(self.reading.instance),
            ):
                self.reading.add(found)
            return None

    def layer_class(self, whole: Mapping, origin: Origin) -> type[Layer] | None:
        """The class that `type` names."""
        kind = whole.get("type")
        if isinstance(kind, BrokenNode):
            return None
        if not isinstance(kind, Scalar) or not isinstance(kind.value, str):
            self.reading.report(
                "wrong-type",
                f"type: expected the name of a layer type, got {describe(to_python(kind))}",
                origin.find("type")[0],
                (*origin.path, "type"),
            )
            return None
        cls = REGISTRY.get(kind.value)
        if cls is None:
            advice = did_you_mean(kind.text, REGISTRY) or "`netspec layers` lists the types"
            if kind.text in self.reading.blocks:
                advice = f"`{kind.text}` is a block: write block: {kind.text}"
            self.reading.report(
                "unknown-type",
                f"there is no layer type `{kind.text}`",
                kind.span,
                (*origin.path, "type"),
                help=advice,
            )
        return cls


def _parameters(whole: Mapping, cls: type[Layer]) -> tuple[dict[str, Any], bool]:
    """The values under an entry's keys, and whether one could not be read."""
    values: dict[str, Any] = {}
    damaged = False
    for entry in whole.entries:
        key = entry.key.text
        if key in _NO_PARAMETERS:
            continue
        try:
            is_reference = key in cls.reference_parameters and isinstance(entry.value, Scalar)
            values[key] = value_of(entry.value, key in TEXT_KEYS or is_reference)
        except Damaged:
            damaged = True
    return values, damaged
