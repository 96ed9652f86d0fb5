"""What an entry is called and what it takes: `name` and `inputs`, which all kinds of entries have."""

from __future__ import annotations

from dataclasses import replace

from pydantic_core import PydanticCustomError

from netspec.document import Broken as BrokenNode
from netspec.document import Mapping, Node, Scalar
from netspec.layers.base import Layer
from netspec.layers.parameters import NAME, name, reference
from netspec.network.expressions import INDEX, Scope
from netspec.network.reading import Reading
from netspec.network.spec import Entry, Origin
from netspec.network.values import Damaged, text_of, value_of


def read_name(
    node: Mapping, origin: Origin, scope: Scope, reading: Reading, *, braces: bool = False
) -> str | None:
    """The name that is written: "" for none, None for one that is wrong or not known.

    braces: `{}` may stand in it for the number of a repetition.
    """
    value = node.get("name")
    if value is None:
        return ""
    path = (*origin.path, "name")
    if braces and INDEX in reading.substitution.used(value):
        reading.report(
            "invalid-name",
            "`name`: $index cannot stand here",
            value.span,
            path,
            help="write {} for the number",
        )
        return None
    value = reading.substitution.apply(value, scope, path)
    if isinstance(value, BrokenNode):
        return None
    if isinstance(value, Scalar) and text_of(value) is None:
        return ""
    try:
        text = value_of(value, True)
        if braces and isinstance(text, str) and NAME.fullmatch(text.replace("{}", "0")):
            return text
        return name(text)
    except Damaged:
        return None
    except PydanticCustomError as error:
        advice = (error.context or {}).get("help")
        if isinstance(value, Scalar) and "{}" in value.text and not braces:
            advice = "{} is replaced by the number under `repeat`"
        reading.report(error.type, f"`name`: {error.message()}", value.span, path, help=advice)
        return None


def partial_name(node: Node, position: int) -> str:
    """The name of an entry that is refused, so that references to it are understood."""
    while isinstance(node, BrokenNode):
        if node.partial is None:
            return str(position)
        node = node.partial
    found = node.get("name") if isinstance(node, Mapping) else None
    return found.text if isinstance(found, Scalar) else str(position)


def read_inputs(
    node: Mapping, origin: Origin, scope: Scope, reading: Reading, *, quiet: bool = False
) -> tuple[str, ...] | None:
    """The references of an entry, as far as they can be read; quiet: say nothing about the others."""
    value = node.get("inputs")
    if value is None:
        return None
    path = (*origin.path, "inputs")
    try:
        value = reading.substitution.apply(value, scope, path)
        given = value_of(value, True)
        return tuple(map(reference, given if isinstance(given, list) else [given]))
    except Damaged:
        return None
    except PydanticCustomError as error:
        if not quiet:
            advice = (error.context or {}).get("help")
            reading.report(error.type, f"`inputs`: {error.message()}", value.span, path, help=advice)
        return None


def renamed(entry: Entry, label: str, inputs: tuple[str, ...] | None) -> Entry:
    """The same entry under another name, with other inputs."""
    if not isinstance(entry, Layer):
        return replace(entry, name=label, inputs=inputs)
    if entry.name == label and entry.inputs == inputs:
        return entry
    return entry.model_copy(update={"name": label, "inputs": inputs})
