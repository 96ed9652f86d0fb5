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
    """The mapping with another layer in the place of `path`; the place keeps its inputs."""
    head, _, rest = path.partition(".")
    layers = list(mapping["layers"])
    index = next((i for i, entry in enumerate(layers) if str(entry.get("name", i)) == head), None)
    if index is None:
        raise InputError(f"there is no layer `{path}` to replace")
    old = layers[index]
    if rest:
        if "layers" not in old:
            raise InputError(f"`{head}` is an instance of a block; replace it as a whole, or edit its block")
        layers[index] = replace_entry(old, rest, layer)
    else:
        new = entry_of(layer, head)
        given = layer.inputs if isinstance(layer, Layer) else None
        inputs = list(given) if given is not None else old.get("inputs")
        layers[index] = new if inputs is None else {**new, "inputs": inputs}
    return _with_blocks({**mapping, "layers": layers}, layer)


def _with_blocks(mapping: dict[str, Any], layer: Layer | BoundLayer) -> dict[str, Any]:
    """The mapping with the blocks that a bound layer may be an instance of."""
    if isinstance(layer, Layer) or not layer.blocks():
        return mapping
    return {**mapping, "blocks": {**layer.blocks(), **mapping.get("blocks", {})}}
