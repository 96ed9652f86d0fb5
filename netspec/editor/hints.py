"""Inlay hints: the output shape at the end of each layer, and parameters that were inferred."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from netspec.diagnostics import Span
from netspec.document import Mapping, Scalar
from netspec.editor.outline import Entry
from netspec.editor.settings import Settings
from netspec.editor.view import View
from netspec.layers.tensor import TensorType, format_shape

_MOST_VALUES: Final = 4
"""Different sizes of an axis, over the instances of a block, that are written out."""
_MOST_ROOM: Final = 24
_MOST_LINES: Final = 12


@dataclass(frozen=True, slots=True)
class Hint:
    """A text to show at an offset, the lines that explain it, and what accepting it inserts there."""

    offset: int
    label: str
    is_parameter: bool
    tooltip: str = ""
    insert: str | None = None


def hints(view: View, start: int, end: int, settings: Settings | None = None) -> list[Hint]:
    """The hints of the entries between two offsets, in order."""
    settings = settings or Settings()
    source = view.document.source
    found: list[Hint] = []
    for entry in view.outline.entries.values():
        span = entry.span
        if span is None or span.source is not source or span.end < start or span.start > end:
            continue
        if settings.parameters:
            found += _parameters(view, entry)
        if settings.shapes and (hint := _shape(view, entry)) is not None:
            found.append(hint)
    return sorted((hint for hint in found if start <= hint.offset <= end), key=lambda hint: hint.offset)


def recalled(
    view: View, good: View | None, start: int, end: int, settings: Settings | None = None
) -> list[Hint]:
    """The hints of a view; where a mistake took them away, those that the same lines had in `good`."""
    now = hints(view, start, end, settings)
    if view.valid or good is None or good is view:
        return now
    old, new = good.text.split("\n"), view.text.split("\n")
    same_before = _shared(old, new)
    same_after = _shared(old[same_before:][::-1], new[same_before:][::-1])
    starts = _starts(new)
    taken = {(view.text.count("\n", 0, hint.offset), hint.is_parameter) for hint in now}
    old_starts = _starts(old)
    for hint in hints(good, 0, len(good.text), settings):
        line = _line(old_starts, hint.offset)
        column = hint.offset - old_starts[line]
        if line >= len(old) - same_after:
            line += len(new) - len(old)
        elif line >= same_before:
            if len(old) != len(new) or hint.is_parameter:
                continue  # it belongs to the text that is being changed
            column = len(new[line].rstrip())
        offset = starts[line] + min(column, len(new[line]))
        if start <= offset <= end and (line, hint.is_parameter) not in taken:
            now.append(replace(hint, offset=offset, insert=None))
    return sorted(now, key=lambda hint: hint.offset)


# --- shapes -----------------------------------------------------------------------------------------


def _shape(view: View, entry: Entry) -> Hint | None:
    place = _end(entry)
    results = [(path, types) for path, types in view.results(entry) if types and types[0] is not None]
    if place is None or not results:
        return None
    tidied = [(path, [view.tidy(t) for t in types if t is not None]) for path, types in results]
    label = merged([types[0] for _, types in tidied])
    lines = [f"{path}: {', '.join(f'{t} {t.dtype}' for t in types)}" for path, types in tidied[:_MOST_LINES]]
    if len(tidied) > _MOST_LINES:
        lines.append(f"and {len(tidied) - _MOST_LINES:,} more")
    return Hint(place, f"→ {label}", False, "\n".join(lines))


def merged(types: Sequence[TensorType]) -> str:
    """One shape for the instances of a block: sizes that differ stand side by side, or as `…`."""
    shapes = list(dict.fromkeys(t.shape for t in types))
    dtypes = list(dict.fromkeys(t.dtype for t in types))
    dtype = "" if dtypes == ["float32"] else " " + "|".join(dtypes)
    if len(shapes) == 1:
        return format_shape(shapes[0]) + dtype
    if len({len(shape) for shape in shapes}) > 1:
        return f"{len(shapes)} shapes" + dtype
    axes = []
    for sizes in zip(*shapes, strict=True):
        values = list(dict.fromkeys(map(str, sizes)))
        text = "|".join(values)
        axes.append(text if len(values) <= _MOST_VALUES and len(text) <= _MOST_ROOM else "…")
    return f"[{', '.join(axes)}]{dtype}"


def _end(entry: Entry) -> int | None:
    """Where an entry's line ends: its bracket, or in block style the value that says what it is."""
    node = entry.node
    if node is None or node.span is None or entry.kind is None or not node.complete:
        return None
    if node.span.text[:1] == "{":
        return node.span.end if node.span.text[-1:] == "}" else None
    key, value = node.key_node(entry.kind), node.get(entry.kind)
    if isinstance(value, Scalar) and value.span is not None and value.text:
        return value.span.end
    if entry.kind == "layers" and key is not None and key.span is not None:
        return key.span.end + 1
    return None


# --- parameters -------------------------------------------------------------------------------------


def _parameters(view: View, entry: Entry) -> Iterator[Hint]:
    node, shaped = entry.node, view.shaped
    kind = node.get("type") if node is not None else None
    if node is None or shaped is None or not isinstance(kind, Scalar) or kind.span is None:
        return
    layers = [layer for call in view.calls(entry) if (layer := shaped.layers[call.index]) is not None]
    for parameter in layers[0].inferred if layers else ():
        if parameter in node:
            continue
        values = list(dict.fromkeys(getattr(layer, parameter) for layer in layers))
        if None in values:
            continue
        text = "|".join(map(str, values)) if len(values) <= _MOST_VALUES else "…"
        insert = _addition(node, kind.span, f"{parameter}: {text}") if len(values) == 1 else None
        yield Hint(kind.span.end, f"{parameter}: {text}", True, "inferred from the input", insert)


def _addition(node: Mapping, span: Span, text: str) -> str:
    """An entry's line behind its type, in the entry's own style."""
    if node.span is not None and node.span.text[:1] == "{":
        return f", {text}"
    first = node.entries[0].key.span
    column = first.position[1] - 1 if first is not None else 0
    return f"\n{' ' * column}{text}"


# --- lines ------------------------------------------------------------------------------------------


def _shared(old: Sequence[str], new: Sequence[str]) -> int:
    """How many lines two texts have in common from the start."""
    count = 0
    for a, b in zip(old, new, strict=False):
        if a != b:
            break
        count += 1
    return count


def _starts(lines: Sequence[str]) -> list[int]:
    starts, at = [], 0
    for line in lines:
        starts.append(at)
        at += len(line) + 1
    return starts


def _line(starts: Sequence[int], offset: int) -> int:
    return bisect_right(starts, offset) - 1
