"""What is shown over a place: types with their numbers, parameters, tensors, sizes, blocks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final

from netspec.diagnostics import Span
from netspec.document import Mapping, Scalar
from netspec.editor.outline import Entry, Name, Occurrence
from netspec.editor.places import Place, entry_path, kind_of, place_at
from netspec.editor.rules import formulas
from netspec.editor.view import View
from netspec.editor.words import inner_keys, layer_class, parameter_words, type_words
from netspec.graph import Node
from netspec.layers import Layer
from netspec.layers.initialize import METHODS
from netspec.network.schema_parts import markdown

_MOST_CALLS: Final = 4


def hover(view: View, offset: int) -> tuple[str, Span] | None:
    """Markdown about what stands at an offset, and the characters that it is about."""
    occurrence = view.outline.at(offset)
    if occurrence is not None:
        text = _name(view, occurrence)
        return (text, occurrence.span) if text else None
    place = place_at(view.document.root, offset)
    if place.scalar is None or place.scalar.span is None:
        return None
    text = _key(view, place) if place.on_key else _value(view, place)
    return (text, place.scalar.span) if text else None


# --- keys and values --------------------------------------------------------------------------------


def _key(view: View, place: Place) -> str | None:
    key, outer = str(place.path[-1]), place.path[:-1]
    kind = kind_of(outer)
    if kind == "entry":
        cls = layer_class(_text(place.around[-1], "type"))
        if cls is not None and key not in ("type", "name", "inputs", "repeat"):
            return parameter_words(cls, key)
        text = inner_keys("entry").get(key)
    elif kind == "init":
        text = f"Initial values of `{key}`: a number, a nested list, or a method of torch.nn.init."
    elif kind == "file" and "runner" in place.around[-1] and "layers" not in place.around[-1]:
        text = inner_keys("profile").get(key)
    else:
        text = inner_keys(kind or "").get(key)
    return f"`{key}`: {markdown(text)}" if text else None


def _value(view: View, place: Place) -> str | None:
    where = entry_path(place.path)
    if where is None or place.scalar is None:
        return None
    rest = place.path[len(where) :]
    if rest == ("type",):
        return _type(view, place.around[-1], place.scalar.text)
    if len(rest) >= 1 and isinstance(rest[0], str) and rest[0] not in ("with", "init", "repeat", "name"):
        cls = layer_class(_text(place.around[-1], "type"))
        return parameter_words(cls, rest[0]) if cls is not None else None
    if rest[:1] == ("init",) and rest[-1] == "method":
        method = METHODS.get(place.scalar.text)
        if method is not None:
            given = ", ".join(f"{key}={value!r}" for key, value in method.defaults.items())
            return f"`{place.scalar.text}({given})`: torch.nn.init.{place.scalar.text}_"
    return None


def _text(node: Mapping, key: str) -> str | None:
    value = node.get(key)
    return value.text if isinstance(value, Scalar) else None


# --- types ------------------------------------------------------------------------------------------


def _type(view: View, node: Mapping, label: str) -> str | None:
    cls = layer_class(label)
    if cls is None:
        return None
    entry = view.outline.entries.get(id(node))
    parts = []
    if entry is not None:
        calls = view.calls(entry)
        parts += [text for call in calls[:_MOST_CALLS] if (text := _call(view, call))]
        if len(calls) > _MOST_CALLS:
            parts.append(f"and {len(calls) - _MOST_CALLS:,} more calls")
    return "\n\n---\n\n".join([*(["\n\n".join(parts)] if parts else []), type_words(cls)])


def _call(view: View, call: Node) -> str | None:
    """One call: shapes, the rule with the numbers put in, parameters and multiply-adds."""
    shaped = view.shaped
    if shaped is None or (layer := shaped.layers[call.index]) is None:
        return None
    arriving = [view.type_of(ref) for ref in call.inputs]
    inputs = [t for t in arriving if t is not None]
    given = ", ".join(f"`{view.tidy(t)}`" if t is not None else "?" for t in arriving)
    types = shaped.types[call.index]
    if types is None or len(inputs) != len(arriving):
        return f"**{call.path}**: {given} → ?" if given else None
    outputs = list(types.values())
    shown = ", ".join(f"`{view.tidy(t)}` {t.dtype}" for t in outputs)
    lines = [f"**{call.path}**: {given} → {shown}" if given else f"**{call.path}**: {shown}"]
    if inputs and outputs:
        lines += [f"- {text}" for text in formulas(view, layer, inputs[0], outputs[0])]
    lines += [f"- {text}" for text in _numbers(view, layer, call)]
    macs = view.simplify(layer.macs(inputs, outputs))
    if macs != 0:
        lines.append(f"- multiply-adds: {f'{macs:,}' if isinstance(macs, int) else f'`{macs}`'}")
    return "\n".join(lines)


def _numbers(view: View, layer: Layer, call: Node) -> Iterator[str]:
    """Inferred parameters, and the arrays."""
    written = call.layer
    for parameter in layer.inferred:
        if written is not None and getattr(written, parameter) is None:
            yield f"{parameter}: {getattr(layer, parameter)}, inferred"
    states = [state for state in layer.states() if not state.buffer]
    if call.path != call.state_path:
        yield f"parameters: those of `{call.state_path}`"
    elif states:
        total = sum(math.prod(state.shape) for state in states)
        listed = ", ".join(f"{state.name or call.path} {list(state.shape)}" for state in states)
        yield f"parameters: {total:,} ({listed})"


# --- names ------------------------------------------------------------------------------------------


def _name(view: View, occurrence: Occurrence) -> str | None:
    name = occurrence.name
    if name.kind == "symbol":
        return _symbol(view, name)
    if name.kind == "layer":
        return _layer(view, name, occurrence)
    if name.kind == "input":
        return _input(view, name)
    if name.kind == "block":
        return _block(view, name)
    return _argument(name)


def _symbol(view: View, name: Name) -> str:
    found = [text for text in view.conditions if _mentions(text, name.text)]
    inputs = [label for label, declared in view.outline.inputs.items() if name.text in _sizes(declared)]
    lines = [f"**{name.text}**: a size of {', '.join(f'`{label}`' for label in inputs)}"]
    if found:
        lines += ["", "The layers need:", "", *(f"- `{text}`" for text in found)]
    else:
        lines += ["", "Any size will do."]
    return "\n".join(lines)


def _mentions(condition: str, symbol: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(symbol)}(?!\w)", condition) is not None


def _sizes(declared: Name) -> list[str]:
    node = declared.node
    shape = node.get("shape") if isinstance(node, Mapping) else node
    return [item.text for item in getattr(shape, "items", ()) if isinstance(item, Scalar)]


def _layer(view: View, name: Name, occurrence: Occurrence) -> str | None:
    entry = view.outline.entries.get(id(name.node))
    if entry is None:
        return None
    kind = entry.text(entry.kind) if entry.kind in ("type", "block", "use") else None
    words = {"block": "block ", "use": "again ", "layers": "a nested list"}.get(entry.kind or "", "")
    lines = [f"**{name.text}**: {words}{f'`{kind}`' if kind else ''}".rstrip()]
    port = occurrence.span.text if occurrence.role == "port" else None
    results = _results(view, entry, port)
    lines += results[:_MOST_CALLS]
    if len(results) > _MOST_CALLS:
        lines.append(f"- and {len(results) - _MOST_CALLS:,} more")
    return "\n".join(lines)


def _results(view: View, entry: Entry, port: str | None) -> list[str]:
    shaped = view.shaped
    lines = []
    for path, types in view.results(entry):
        known = [f"`{view.tidy(t)}` {t.dtype}" for t in types if t is not None]
        if not known:
            lines.append(f"- {path}: shape not known")
        elif port is None or shaped is None:
            lines.append(f"- {path}: {', '.join(known)}")
    if port is not None and shaped is not None:
        for call in view.calls(entry):
            tensor = (shaped.types[call.index] or {}).get(port)
            if tensor is not None:
                lines.append(f"- {call.path}.{port}: `{view.tidy(tensor)}` {tensor.dtype}")
    return lines


def _input(view: View, name: Name) -> str:
    tensor = view.shaped.inputs.get(name.text) if view.shaped is not None else None
    if view.outline.inputs.get(name.text) is not name:
        return f"**{name.text}**: an input of the block"
    lines = [f"**{name.text}**: a network input"]
    if tensor is not None:
        lines[0] += f", `{view.tidy(tensor)}` {tensor.dtype}"
    if isinstance(name.node, Mapping) and (text := _text(name.node, "description")):
        lines += ["", markdown(text)]
    return "\n".join(lines)


def _block(view: View, name: Name) -> str:
    block = view.outline.blocks[name.text]
    lines = [f"**{name.text}**: a block of {len(block.scope.entries) if block.scope else 0} entries"]
    for label, argument in block.arguments.items():
        default = argument.node
        needed = label in block.required
        value = (
            default.text
            if isinstance(default, Scalar)
            else default.span.text
            if default and default.span
            else ""
        )
        lines.append(f"- `{label}`: {'required' if needed else f'default `{value}`'}")
    lines.append(f"\ninputs: {', '.join(block.inputs) or 'none'}")
    return "\n".join(lines)


def _argument(name: Name) -> str:
    node = name.node
    if isinstance(node, Scalar) and node.value is None:
        return f"**{name.text}**: a required argument of the block"
    shown = (
        node.text if isinstance(node, Scalar) else node.span.text if node is not None and node.span else ""
    )
    return f"**{name.text}**: an argument of the block, default `{shown}`"
