"""A network back as a mapping, and a mapping as YAML that reads back to the same values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from netspec.document.scalars import resolve
from netspec.layers.base import Layer
from netspec.network.spec import Broken, Entry, Group, NetworkSpec, Use

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.+/-]*( [A-Za-z0-9_.+/()-]+)*")


def to_mapping(spec: NetworkSpec) -> dict[str, Any]:
    """The network as it could have been written: blocks are written out, one definition an instance."""
    blocks: dict[str, Any] = {}
    mapping: dict[str, Any] = {"netspec": spec.netspec}
    if spec.name is not None:
        mapping["name"] = spec.name
    if spec.description is not None:
        mapping["description"] = spec.description
    mapping["inputs"] = {}
    for name, given in spec.inputs.items():
        parts: dict[str, Any] = {"shape": list(given.shape)}
        for key in type(given).model_fields:
            value = getattr(given, key)
            if key != "shape" and value is not None and value != type(given).model_fields[key].default:
                parts[key] = value.to_mapping() if hasattr(value, "to_mapping") else value
        mapping["inputs"][name] = parts["shape"] if len(parts) == 1 else parts
    layers = [_entry(entry, blocks) for entry in spec.layers]
    if blocks:
        mapping["blocks"] = blocks
    mapping["layers"] = layers
    if spec.outputs is not None:
        mapping["outputs"] = {
            name: out.from_ if out.labels is None else {"from": out.from_, "labels": list(out.labels)}
            for name, out in spec.outputs.items()
        }
    if spec.weights is not None:
        mapping["weights"] = spec.weights
    return mapping


def _entry(entry: Entry, blocks: dict[str, Any]) -> dict[str, Any]:
    if isinstance(entry, Layer):
        return entry.to_mapping()
    assert not isinstance(entry, Broken)
    mapping: dict[str, Any] = {"name": entry.name}
    if entry.inputs is not None:
        mapping["inputs"] = list(entry.inputs)
    if isinstance(entry, Use):
        return {"use": entry.target, **mapping}
    layers = [_entry(child, blocks) for child in entry.entries]
    if entry.parameters is None:
        return {**mapping, "layers": layers}
    return {**mapping, "block": _define(entry, layers, blocks)}


def _define(group: Group, layers: list[dict[str, Any]], blocks: dict[str, Any]) -> str:
    """A block of the instance's own: two instances of one block share it if they came out alike."""
    definition: dict[str, Any] = {"inputs": list(group.parameters or ()), "layers": layers}
    if group.outputs is not None:
        definition["outputs"] = list(group.outputs)
    base = group.block or "Block"
    name, number = base, 1
    while name in blocks and blocks[name] != definition:
        number += 1
        name = f"{base}_{number}"
    blocks[name] = definition
    return name


def to_yaml(mapping: dict[str, Any]) -> str:
    """YAML text: one line a layer, as people write it."""
    return "\n".join(_block(mapping, 0)) + "\n"


def _block(mapping: dict[str, Any], depth: int) -> Iterable[str]:
    pad = "  " * depth
    for key, value in mapping.items():
        if key == "layers" and isinstance(value, list):
            yield f"{pad}{scalar(key)}:"
            for item in value:
                yield from _item(item, depth + 1)
        elif (key == "blocks" or depth == 1) and isinstance(value, dict) and _holds_layers(value):
            yield f"{pad}{scalar(key)}:"
            yield from _block(value, depth + 1)
        elif key in ("inputs", "outputs") and isinstance(value, dict) and depth == 0:
            yield f"{pad}{scalar(key)}:"
            for name, given in value.items():
                yield f"{pad}  {scalar(name)}: {flow(given)}"
        else:
            yield f"{pad}{scalar(key)}: {flow(value)}"


def _holds_layers(value: dict[str, Any]) -> bool:
    return "layers" in value or any(isinstance(v, dict) and "layers" in v for v in value.values())


def _item(item: dict[str, Any], depth: int) -> Iterable[str]:
    pad = "  " * depth
    if "layers" not in item:
        yield f"{pad}- {flow(item)}"
        return
    lines = list(_block(item, depth + 1))
    yield f"{pad}- {lines[0].lstrip()}"
    yield from lines[1:]


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(str(k))}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    """A scalar that YAML 1.2 reads back as the same value; text is quoted where it must be."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if math.isnan(value):
            return ".nan"
        return repr(value) if math.isfinite(value) else (".inf" if value > 0 else "-.inf")
    text = str(value)
    if _PLAIN.fullmatch(text) and resolve(text) == text:
        return text
    escaped = "".join(
        c if c.isprintable() and c not in '"\\' else f"\\{c}" if c in '"\\' else f"\\U{ord(c):08x}"
        for c in text
    )
    return f'"{escaped}"'
