"""Names as they are written, in every network: what is renamed stays the same network."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec.editor import navigation
from netspec.editor.actions import actions
from netspec.editor.buffers import Buffer
from netspec.editor.completion import complete
from netspec.editor.hints import hints, recalled
from netspec.editor.hover import hover
from netspec.editor.symbols import symbols
from netspec.editor.view import View, look
from netspec.graph import Memory

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in CONFIGS}


def viewed(text: str, memory: Memory | None = None) -> View:
    return look(Buffer("file:///nowhere/net.yaml", text), {}, lambda: None, memory)


def structure(view: View) -> list[object]:
    """What a network computes, whatever its names are."""
    assert view.shaped is not None
    inputs = list(view.shaped.inputs)
    edges = [
        [(ref.node, inputs.index(ref.port) if ref.node < 0 else ref.port) for ref in node.inputs]
        for node in view.shaped.graph.nodes
    ]
    shapes = [
        [
            [size if isinstance(size, int) else "" for size in tensor.shape]
            for tensor in (types or {}).values()
        ]
        for types in view.shaped.types
    ]
    return [edges, shapes]


@pytest.mark.parametrize("stem", TEXTS)
def test_names_of_every_network_can_be_changed(stem: str) -> None:
    text = TEXTS[stem]
    memory = Memory()
    view = viewed(text, memory)
    assert view.valid
    before = structure(view)
    names = {id(o.name): o.name for o in view.outline.occurrences if "{}" not in o.name.text}
    declared = [name for name in names.values() if name.span is not None]
    assert declared
    for name in declared[:: len(declared) // 20 + 1]:
        assert name.span is not None
        spans = navigation.rename(view, name.span.start, "renamed")
        changed = text
        for span in sorted(spans, key=lambda span: span.start, reverse=True):
            assert span.text == name.text
            changed = changed[: span.start] + "renamed" + changed[span.end :]
        after = viewed(changed, memory)
        assert after.valid, (name, after.diagnostics)
        assert structure(after) == before, name


@pytest.mark.parametrize("stem", TEXTS)
def test_every_reference_leads_to_its_layer(stem: str) -> None:
    view = viewed(TEXTS[stem])
    assert view.analysis is not None
    assert view.analysis.graph is not None
    for entry in view.outline.entries.values():
        if entry.node is None or "inputs" not in entry.node:
            continue
        node = entry.node.get("inputs")
        for item in getattr(node, "items", None) or [node]:
            found = view.outline.at(item.span.end)
            assert found is not None, item.text
            [place] = navigation.definition(view, item.span.start)
            assert place.start != item.span.start or item.text == found.name.text


@given(st.sampled_from(sorted(TEXTS)), st.data())
def test_nothing_fails_in_a_text_that_breaks_off(stem: str, data: st.DataObject) -> None:
    text = TEXTS[stem]
    cut = data.draw(st.integers(0, len(text)))
    offset = data.draw(st.integers(0, cut))
    good = viewed(text)
    view = viewed(text[:cut] + data.draw(st.sampled_from(["", "\n", "}", " [", ": "])))
    recalled(view, good, 0, len(view.text))
    hints(view, 0, offset)
    symbols(view)
    actions(view, 0, len(view.text))
    hover(view, offset)
    complete(view, offset)
    navigation.definition(view, offset)
    navigation.references(view, offset)
    with contextlib.suppress(navigation.Refused):
        navigation.rename(view, offset, "renamed")
