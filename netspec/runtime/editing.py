"""Edits of a network, as edits of the mapping that describes it; the mapping is then read like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netspec.diagnostics import InputError
from netspec.layers.base import Layer

if TYPE_CHECKING:
    from netspec.runtime.bound import BoundLayer


def entry_of(layer: Layer | BoundLayer, name: str) -> dict[str, Any]:
    """A layer as an entry of this name; what it was connected to is forgotten."""
    entry = layer.to_mapping()
    entry.pop("inputs", None)
    return {"name": name, **{key: value for key, value in entry.items() if key != "name"}}


def append(mapping: dict[str, Any], name: str, layer: Layer | BoundLayer) -> dict[str, Any]:
    """The mapping with a layer at its end."""
    entry = entry_of(layer, name)
    if isinstance(layer, Layer) and layer.inputs is not None:
        entry["inputs"] = list(layer.inputs)
    return _with_blocks({**mapping, "layers": [*mapping["layers"], entry]}, layer)


def replace_entry(mapping: dict[str, Any], path: str, layer: Layer | BoundLayer) -> dict[str, Any]:
    """The mapping with another layer in the place of `path`; the place keeps its inputs.

    Inside an instance of a block, that instance gets a block of its own: the others stay as they are.
    """
    blocks = dict(mapping.get("blocks", {}))
    layers = _replaced(mapping["layers"], path, path, layer, blocks)
    changed = {**mapping, "layers": layers}
    return _with_blocks({**changed, "blocks": blocks} if blocks else changed, layer)


def _replaced(
    entries: list[dict[str, Any]], path: str, whole: str, layer: Layer | BoundLayer, blocks: dict[str, Any]
) -> list[dict[str, Any]]:
    """The entries with another layer at `path`; new definitions are added to `blocks`."""
    head, _, rest = path.partition(".")
    index = next((i for i, entry in enumerate(entries) if str(entry.get("name", i)) == head), None)
    if index is None:
        raise InputError(f"there is no layer `{whole}` to replace")
    old = entries[index]
    if rest and "layers" in old:
        new = {**old, "layers": _replaced(old["layers"], rest, whole, layer, blocks)}
    elif rest and "block" in old:
        name, number = str(old["block"]), 2
        while f"{name}_{number}" in blocks:
            number += 1
        definition = blocks[name]
        blocks[f"{name}_{number}"] = {
            **definition,
            "layers": _replaced(definition["layers"], rest, whole, layer, blocks),
        }
        new = {**old, "block": f"{name}_{number}"}
    elif rest:
        raise InputError(f"there is no layer `{whole}` to replace: `{head}` has no children")
    else:
        given = layer.inputs if isinstance(layer, Layer) else None
        inputs = list(given) if given is not None else old.get("inputs")
        new = entry_of(layer, head)
        new = new if inputs is None else {**new, "inputs": inputs}
    return [*entries[:index], new, *entries[index + 1 :]]


def _with_blocks(mapping: dict[str, Any], layer: Layer | BoundLayer) -> dict[str, Any]:
    """The mapping with the blocks that a bound layer may be an instance of."""
    if isinstance(layer, Layer) or not layer.blocks():
        return mapping
    return {**mapping, "blocks": {**layer.blocks(), **mapping.get("blocks", {})}}
