"""A network back as a mapping, and a mapping as YAML that reads back to the same values.

Repetitions are written out. Those of one input become a nested list, whose first entry takes it without being
told; those of several become a block, as only a block has names for them.
"""

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
    layers, _ = _entries(spec.layers, blocks)
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


_NO_ENTRY: dict[str, Any] = {"type": "Identity", "repeat": 0}
"""Stands where a list would be empty, which none may be."""

_More = dict[str, tuple[str, ...]]
"""Groups by full name that take these inputs after their own: see `_around`."""


def _entries(entries: Iterable[Entry], blocks: dict[str, Any]) -> tuple[list[dict[str, Any]], _More]:
    """A list of entries, and the groups in it that take more inputs than before."""
    result: list[dict[str, Any]] = []
    more: _More = {}
    for entry in entries:
        assert not isinstance(entry, Broken)
        if isinstance(entry, Layer):
            result.append(entry.to_mapping())
        elif isinstance(entry, Use):
            result.append(_use(entry, more))
            inside = f"{entry.target}."
            more |= {
                f"{entry.name}.{k.removeprefix(inside)}": v for k, v in more.items() if k.startswith(inside)
            }
            if entry.target in more:
                more[entry.name] = more[entry.target]
        else:
            mapping, inner = _group(entry, blocks)
            result.append(mapping)
            more |= {f"{entry.name}.{name}".rstrip("."): inputs for name, inputs in inner.items()}
    return result, more


def _use(use: Use, more: _More) -> dict[str, Any]:
    """A second call. Without inputs it says nothing of them, as a nested list cannot take none."""
    mapping: dict[str, Any] = {"use": use.target, "name": use.name}
    if use.inputs:
        mapping["inputs"] = [*use.inputs, *more.get(use.target, ())]
    return mapping


def _group(group: Group, blocks: dict[str, Any]) -> tuple[dict[str, Any], _More]:
    """A nested list, repetitions or an instance; with what it, called "", and groups in it take in addition."""
    mapping: dict[str, Any] = {"name": group.name}
    if group.inputs is not None:
        mapping["inputs"] = list(group.inputs)
    if group.block is not None:
        layers, _ = _entries(group.entries, blocks)
        return {**mapping, "block": _define(group, layers, blocks)}, {}
    if not group.entries:
        return {**mapping, **_NO_ENTRY}, {}
    if group.parameters is not None and len(group.parameters) > 1:
        around = _around(group)
        layers, _ = _entries(group.entries, blocks)
        mapping["inputs"] += around
        return {**mapping, "block": _define(group, layers, blocks, around)}, {"": around} if around else {}
    layers, more = _entries(group.entries, blocks)
    if group.parameters:
        del layers[0]["inputs"]  # it has the list's
    elif not group.inputs:
        mapping.pop("inputs", None)  # a nested list cannot take none
    return {**mapping, "layers": layers}, more


def _around(group: Group) -> tuple[str, ...]:
    """Inputs of the network or block around repetitions that are named in them, beside their own.

    Of an entry with several inputs only a layer does so (`output_size`): a nested list takes one, an instance
    sees its own.
    """
    found: dict[str, None] = {}
    own = set(group.parameters or ())
    for entry in group.entries:
        if isinstance(entry, Layer):
            found |= dict.fromkeys(name for name in entry.references() if name.split(".")[0] not in own)
        own.add(str(entry.name))
    return tuple(found)


def _define(
    group: Group, layers: list[dict[str, Any]], blocks: dict[str, Any], around: tuple[str, ...] = ()
) -> str:
    """A block of the instance's own: two instances of one block share it if they came out alike."""
    inputs = [*(group.parameters or ()), *around]
    definition: dict[str, Any] = {"inputs": inputs, "layers": layers or [dict(_NO_ENTRY)]}
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
