"""The keys beside `layers` and `blocks`: one that is refused is left out, so that the others are checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from netspec.diagnostics import Span
from netspec.document import Broken, Mapping, Node, Scalar, to_python
from netspec.layers.parameters import name
from netspec.network.errors import diagnostics_of
from netspec.network.reading import Reading
from netspec.network.spec import Header, InputSpec
from netspec.network.values import text_of

_ELSEWHERE = ("layers", "blocks", "include")
"""Keys that are read by others."""
_REFUSED = InputSpec.model_construct(shape=(), dtype="unknown")
"""Stands for an input whose description was refused: its name is known, its shape is not."""
_NO_INPUTS: dict[str, Any] = {"_": {"shape": []}}
"""Stands for inputs that are missing or were refused as a whole."""
_NOTHING: dict[str, Any] = {
    "netspec": 1,
    "name": "network",
    "inputs": {},
    "outputs": None,
    "description": None,
    "weights": None,
}


def read_header(root: Mapping, file: str, only_blocks: bool, reading: Reading) -> dict[str, Any]:
    """The header's fields, None for an input that was refused.

    file: gives the network its name where it has none. only_blocks: nothing is missing, as it is no network.
    """
    values = {
        entry.key.text: _value(entry.key.text, entry.value)
        for entry in root
        if entry.key.text not in _ELSEWHERE and not isinstance(entry.value, Broken)
    }
    if "netspec" not in root and root.complete:
        reading.report(
            "missing-key",
            "the network needs `netspec`, the version of the format",
            top(root),
            help="write `netspec: 1` on the first line",
        )
    values.setdefault("netspec", 1)
    if "inputs" not in root and root.complete and not only_blocks:
        reading.report(
            "missing-key",
            "the network needs `inputs`, a mapping from names to shapes",
            top(root),
            help="for example inputs: {image: [N, 3, H, W]}",
        )
    values.setdefault("inputs", dict(_NO_INPUTS))
    header = _validated(values, root, reading)
    if header is None:
        return dict(_NOTHING)
    result = {field: getattr(header, field) for field in Header.model_fields}
    result["inputs"] = {key: None if value is _REFUSED else value for key, value in header.inputs.items()}
    if result["inputs"].keys() == _NO_INPUTS.keys():
        result["inputs"] = {}
    _check_input_names(root, result["inputs"], reading)
    if result["name"] is None:
        result["name"] = Path(file).stem if not file.startswith("<") else "network"
    return result


def top(root: Mapping) -> Span | None:
    """The place for what a file lacks as a whole."""
    return root.entries[0].key.span if len(root) else root.span


def _value(key: str, node: Node) -> Any:
    """The value under a key; the parts of `inputs` that could not be read are refused already."""
    if key == "inputs" and isinstance(node, Mapping):
        return {e.key.text: _REFUSED if isinstance(e.value, Broken) else to_python(e.value) for e in node}
    if key == "outputs" and isinstance(node, Mapping):
        return {entry.key.text: _output(entry.value) for entry in node}
    if key == "outputs" or (key in ("name", "weights") and isinstance(node, Scalar)):
        return text_of(node)
    return to_python(node)


def _output(node: Node) -> Any:
    if not isinstance(node, Mapping):
        return text_of(node)
    return {e.key.text: text_of(e.value) if e.key.text == "from" else to_python(e.value) for e in node}


def _validated(values: dict[str, Any], root: Mapping, reading: Reading) -> Header | None:
    """The header without what is refused, which is reported; None if nothing else is left."""
    for _ in range(100_000):  # each round removes at least one refused part
        try:
            return Header.model_validate(values)
        except ValidationError as error:
            options = [*Header.model_fields, *_ELSEWHERE]
            for found in diagnostics_of(
                error, Header, "the network", root, (), options=options, complete=root.complete
            ):
                reading.add(found)
            if not _prune(values, error):
                break
    return None


def _prune(values: dict[str, Any], error: ValidationError) -> bool:
    """Take the refused parts out, so that the rest can be validated; False if nothing was left to take."""
    changed = False
    for finding in error.errors(include_url=False, include_input=False):
        loc = finding["loc"]
        key = str(loc[0]) if loc else ""
        if key not in values:
            continue
        if key == "inputs" and len(loc) > 1 and isinstance(values[key], dict) and loc[1] in values[key]:
            changed |= values[key][loc[1]] is not _REFUSED
            values[key][loc[1]] = _REFUSED
        elif key == "outputs" and len(loc) > 1 and isinstance(values[key], dict):
            if loc[1] in values[key]:  # the second finding about one output finds it gone
                values[key] = {k: v for k, v in values[key].items() if k != loc[1]}
                changed = True
        elif key == "inputs":
            changed |= values[key] != _NO_INPUTS
            values[key] = dict(_NO_INPUTS)
        elif key == "netspec":
            changed |= values[key] != 1
            values[key] = 1
        else:
            del values[key]
            changed = True
    return changed


def _check_input_names(root: Mapping, inputs: dict[str, Any], reading: Reading) -> None:
    """Input names are identifiers: they become keyword arguments."""
    node = root.get("inputs")
    for key in inputs:
        try:
            name(key)
        except PydanticCustomError as error:
            place = node.key_node(key) if isinstance(node, Mapping) else None
            reading.report(
                "invalid-name",
                f"input `{key}`: {error.message()}",
                place.span if place else None,
                ("inputs", key),
            )
