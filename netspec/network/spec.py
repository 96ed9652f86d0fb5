"""The validated network: its inputs, its entries (layers, groups, second uses) and its outputs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from netspec.diagnostics import Note, Span
from netspec.document import Mapping, Node, walk_path
from netspec.layers.base import REGISTRY, Layer
from netspec.layers.parameters import (
    LARGEST,
    NAME,
    choice,
    describe,
    is_integer,
    name,
    out_of_range,
    reference,
    wrong_type,
)
from netspec.layers.tensor import DTYPES
from netspec.network.picture import Picture, contradictions

FORMAT_VERSION = 1
SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


# --- where an entry was written ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Where an entry stands: its node (None from Python), its path from the root of its file, and, inside
    blocks, the instances it belongs to, outermost first, each with the place that asked for it.

    Entries of a block are shared by its instances, so only the graph's nodes know theirs.
    """

    node: Mapping | None
    path: tuple[str | int, ...]
    instance: tuple[tuple[str, Span | None], ...] = ()

    def find(self, parameter: str | None) -> tuple[Span | None, tuple[str | int, ...]]:
        """Span and path of a parameter's value; of the `type` where the parameter is not written."""
        if parameter:
            parts = [int(p) if p.isdigit() else p for p in parameter.split(".")]
            node: Node | None = walk_path(self.node, parts)
            while node is None and len(parts) > 1:
                parts.pop()
                node = walk_path(self.node, parts)
            if node is not None:
                return node.span, (*self.path, *parts)
        for key in ("type", "block", "use", "layers"):
            if self.node is not None and (value := self.node.get(key)) is not None:
                if key == "layers" and (key_node := self.node.key_node(key)) is not None:
                    return key_node.span, (*self.path, key)
                return value.span, self.path
        return (self.node.span if self.node is not None else None), self.path

    @property
    def span(self) -> Span | None:
        """The place to point at when the entry as a whole is meant: its name, else its type."""
        if self.node is not None and (value := self.node.get("name")) is not None:
            return value.span
        return self.find(None)[0]


NOWHERE = Origin(None, ())


def instance_notes(instance: tuple[tuple[str, Span | None], ...]) -> tuple[Note, ...]:
    """For what stands in a block: the instances it is in, innermost first."""
    return tuple(Note(f"in the block instance `{label}`", span) for label, span in reversed(instance))


# --- entries ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A nested list of entries, one instance of a block, or the repetitions of a named entry.

    parameters: names by which its entries know its inputs; None for a nested list, whose first entry
    takes the group's input. A nested list and repetitions also see the inputs of the network or block around
    them, an instance only its own. outputs: references to its own entries, as `outputs_node` says, which
    stands at `outputs_path`; None: the last. Without entries it gives its first input. Instances of one block
    with the same arguments share their entries.
    """

    name: str
    entries: tuple[Entry, ...]
    inputs: tuple[str, ...] | None = None
    parameters: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
    block: str | None = None
    origin: Origin = NOWHERE
    outputs_node: Node | None = None
    outputs_path: tuple[str | int, ...] = ()
    repeated: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """An earlier layer or group called again, its parameters shared."""

    name: str
    target: str
    inputs: tuple[str, ...] | None = None
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Broken:
    """An entry that was refused; its outputs are unknown, and nothing more is said about them.

    many: it may stand for several entries, or for one of another name.
    """

    name: str
    inputs: tuple[str, ...] | None = None
    origin: Origin = NOWHERE
    many: bool = False


Entry: TypeAlias = "Layer | Group | Use | Broken"


# --- inputs and outputs -----------------------------------------------------------------------------


def _dimension(value: Any) -> int | str:
    if isinstance(value, str):
        if not SYMBOL.fullmatch(value) or not value.isascii():
            raise wrong_type("a size: an integer >= 1 or a symbol such as N", value)
        return value
    if not is_integer(value):
        raise wrong_type("a size: an integer >= 1 or a symbol such as N", value)
    if not 1 <= value <= LARGEST:
        raise out_of_range("a size: an integer >= 1 or a symbol such as N", value)
    return int(value)


Dimension = Annotated[
    int | str,
    PlainValidator(_dimension),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
            ]
        }
    ),
]


def _shape(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise wrong_type("a list of sizes such as [N, 3, H, W]", value)
    return tuple(value)


Shape = Annotated[tuple[Dimension, ...], BeforeValidator(_shape)]
_CONFIG = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True, populate_by_name=True)


class InputSpec(BaseModel):
    """One network input: its shape, its dtype, how a picture is prepared for it, and a description."""

    model_config = _CONFIG

    shape: Shape
    """Sizes: positive integers or symbols; [] is a single number."""
    dtype: choice(*DTYPES) = "float32"  # type: ignore[valid-type]
    """Element type; a floating input runs in the network's dtype."""
    description: str | None = None
    """What it is, for people."""
    picture: Picture = None
    """How a picture file is prepared for it; arrays come as they are. Default: only scaled to 0..1."""

    @model_validator(mode="after")
    def _picture_fits(self) -> InputSpec:
        if self.picture is None:
            return self
        found = [
            InitErrorDetails(type=error, loc=place, input=None)
            for place, error in contradictions(self.picture, self.shape, str(self.dtype))
        ]
        if found:
            raise ValidationError.from_exception_data("InputSpec", found)
        return self


class OutputSpec(BaseModel):
    """One network output: the tensor, and names of its classes."""

    model_config = _CONFIG

    from_: Annotated[str, PlainValidator(reference), WithJsonSchema({"type": ["string", "number"]})] = Field(
        alias="from"
    )
    """The tensor: a layer's name, with a port after a dot."""
    labels: list[str | int | float] | None = None
    """Class names, in order, along the last axis."""


def _input(value: Any) -> InputSpec:
    if isinstance(value, InputSpec):
        return value
    if isinstance(value, list | tuple):
        return InputSpec.model_validate({"shape": value})
    if isinstance(value, dict):
        return InputSpec.model_validate(value)
    raise wrong_type("a shape such as [N, 3, H, W], or a mapping with shape and dtype", value)


def _inputs(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong_type("a mapping from input names to shapes", value)
    if not value:
        raise PydanticCustomError("missing-key", "a network needs at least one input", {})
    return value


def _output(value: Any) -> OutputSpec:
    if isinstance(value, OutputSpec):
        return value
    if isinstance(value, dict):
        return OutputSpec.model_validate(value)
    return OutputSpec.model_validate({"from": reference(value)})


def _outputs(value: Any) -> Any:
    if isinstance(value, list | tuple):
        if not value:
            raise PydanticCustomError("missing-key", "outputs must name at least one tensor", {})
        names = [reference(v) for v in value]
        if doubled := [n for i, n in enumerate(names) if n in names[:i]]:
            raise PydanticCustomError("duplicate-name", "`{name}` is listed twice", {"name": doubled[0]})
        return dict(zip(names, names, strict=True))
    if isinstance(value, dict):
        if not value:
            raise PydanticCustomError("missing-key", "outputs must name at least one tensor", {})
        return value
    if value is None or isinstance(value, bool):
        raise wrong_type("a list of references or a mapping from public names to them", value)
    context = {
        "expected": "a list of references or a mapping from public names to them",
        "got": describe(value),
    }
    if isinstance(value, str):
        context["help"] = f"write [{value}]"
    raise PydanticCustomError("wrong-type", "expected {expected}, got {got}", context)


def _entry(value: Any) -> Any:
    if isinstance(value, Layer | Group | Use | Broken):
        return value
    if isinstance(value, dict) and isinstance(value.get("type"), str) and value["type"] in REGISTRY:
        return REGISTRY[value["type"]].model_validate({k: v for k, v in value.items() if k != "type"})
    raise wrong_type("a layer: a mapping with a known type", value)


Output = Annotated[OutputSpec, PlainValidator(_output)]
Input = Annotated[InputSpec, PlainValidator(_input)]
Name = Annotated[str, PlainValidator(name)]


def _version(value: Any) -> int:
    if value != FORMAT_VERSION or not is_integer(value):
        raise PydanticCustomError(
            "unknown-version",
            "expected format version 1, got {got}",
            {"got": describe(value), "help": "this netspec reads `netspec: 1`"},
        )
    return FORMAT_VERSION


class Header(BaseModel):
    """What a network file says beside its layers."""

    model_config = _CONFIG

    netspec: Annotated[int, PlainValidator(_version), WithJsonSchema({"const": FORMAT_VERSION})]
    """Format version: 1."""
    name: str | None = None
    """Name of the network; default: the file's name without its ending."""
    description: str | None = None
    """What the network is, for people."""
    inputs: Annotated[dict[str, Input], BeforeValidator(_inputs)]
    """Network inputs in order: name to shape."""
    outputs: Annotated[dict[str, Output] | None, BeforeValidator(_outputs)] = None
    """Network outputs: a list of references, or a mapping from public names; default: the last layer."""
    weights: str | None = None
    """File with the weights, relative to this file."""


class NetworkSpec(Header):
    """A whole network, valid and expanded."""

    layers: list[Annotated[Any, PlainValidator(_entry)]]
    """The entries in order."""

    _document: Any = PrivateAttr(default=None)
    _directory: str | None = PrivateAttr(default=None)
    _unused: tuple[Group, ...] = PrivateAttr(default=())
    """Blocks without an instance, for checking their references."""
    _blocks: dict[str, Any] = PrivateAttr(default_factory=dict)
    """The blocks that the file may use, by name."""
    _included: tuple[Path, ...] = PrivateAttr(default=())
    """The files that were read for `include`."""

    @property
    def origin(self) -> Node | None:
        """Root node of the file it was read from."""
        return self._document.root if self._document is not None else None

    def find(self, *path: str | int) -> Span | None:
        """Place of a part of the file."""
        node = walk_path(self.origin, path)
        return node.span if node is not None else None

    def find_key(self, *path: str | int) -> Span | None:
        """Place of a key of the file."""
        node = walk_path(self.origin, path[:-1])
        key = node.key_node(str(path[-1])) if isinstance(node, Mapping) else None
        return key.span if key is not None else None


__all__ = ["FORMAT_VERSION", "NAME", "NOWHERE", "Broken", "Entry", "Group", "Header", "InputSpec", "NetworkSpec",
           "Origin", "OutputSpec", "Use", "instance_notes"]  # fmt: skip
