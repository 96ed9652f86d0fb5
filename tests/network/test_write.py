"""A network that is saved reads back as the same one: layers, edges, state keys and shapes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from netspec.analysis import Analysis, analyse_mapping, analyse_text
from netspec.graph.infer import states_of
from netspec.network.write import to_mapping, to_yaml

LINEAR = {"type": "Linear", "in_features": 4, "out_features": 4}


def described(analysis: Analysis) -> dict[str, Any]:
    """All that a saved network must keep."""
    graph, shaped = analysis.graph, analysis.shaped
    assert graph is not None
    assert shaped is not None
    nodes = [
        {
            "path": node.path,
            "state_path": node.state_path,
            "layer": {k: v for k, v in dict(layer).items() if k not in ("name", "inputs", "output_size")},
            "inputs": [graph.label(ref) for ref in node.inputs],
            "size_of": graph.label(node.size_of) if node.size_of is not None else None,
            "types": {port: (str(type_), type_.dtype) for port, type_ in (types or {}).items()},
        }
        for node, layer, types in zip(graph.nodes, shaped.layers, shaped.types, strict=True)
        if layer is not None
    ]
    return {
        "inputs": graph.inputs,
        "nodes": nodes,
        "states": {key: state.shape for key, state in states_of(shaped).items()},
        "groups": {name: [graph.label(ref) for ref in refs] for name, refs in graph.groups.items()},
        "outputs": {name: graph.label(ref) for name, ref in graph.outputs.items()},
    }


def check(mapping: dict[str, Any]) -> str:
    """Save a valid network and read it back; its text."""
    first = analyse_mapping(mapping)
    assert [d.message for d in first.diagnostics] == []
    assert first.spec is not None
    written = to_mapping(first.spec)
    text = to_yaml(written)
    for again in (analyse_mapping(written), analyse_text(text)):
        assert [d.message for d in again.diagnostics] == [], text
        assert described(again) == described(first), text
        assert again.spec is not None
        assert to_mapping(again.spec) == written
    return text


def network(*layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "netspec": 1,
        "name": "net",
        "inputs": {"x": ["N", 4], "y": ["N", 4]},
        "layers": list(layers),
        **more,
    }


# --- cases ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([{**LINEAR, "name": "none", "inputs": "x", "repeat": 0}, {"name": "r", "type": "ReLU"}],
         '- {name: none, inputs: [x], type: Identity, repeat: 0}\n- {name: r, type: ReLU}\n'),
        ([{"name": "g", "inputs": "x", "layers": [{**LINEAR, "repeat": 0}]}, {"name": "r", "type": "ReLU"}],
         '- {name: g, inputs: [x], type: Identity, repeat: 0}\n- {name: r, type: ReLU}\n'),
        ([{"name": "s", "type": "add", "inputs": ["x", "y"], "repeat": 0}, {"use": "s", "inputs": ["y", "x"]},
          {"name": "r", "type": "ReLU"}],
         '- {name: s, inputs: [x, y], type: Identity, repeat: 0}\n- {use: s, name: "1", inputs: [y, x]}\n'
         "- {name: r, type: ReLU}\n"),
        ([{"name": "g", "inputs": "x", "repeat": 2, "layers": [{"type": "add", "inputs": ["x", "y"]}]}],
         '- name: g\n  inputs: [x]\n  layers:\n    - name: "0"\n      layers:\n'
         '        - {name: "0", type: add, inputs: [x, y]}\n    - name: "1"\n      inputs: ["0"]\n      layers:\n'
         '        - {name: "0", type: add, inputs: [x, y]}\n'),
        ([{"name": "p", "type": "Parameter", "shape": [4], "inputs": [], "repeat": 2}, {"use": "p", "inputs": []}],
         '- name: p\n  layers:\n    - {name: "0", type: Parameter, inputs: [], shape: [4]}\n'
         '    - {name: "1", type: Parameter, inputs: [], shape: [4]}\n- {use: p, name: "1"}\n'),
    ],
    ids=["named repeat 0", "a list of nothing", "nothing of two inputs", "a network input inside", "no inputs"],
)  # fmt: skip
def test_written_as(layers: list[dict[str, Any]], expected: str) -> None:
    text = check(network(*layers))
    assert textwrap.dedent(text.split("\nlayers:\n")[1]) == expected


def test_a_block_of_nothing() -> None:
    blocks = {
        "B": {"args": {"n": 0}, "layers": [{**LINEAR, "repeat": "$n"}]},
        "C": {
            "inputs": ["a", "b"],
            "layers": [{"name": "g", "type": "ReLU", "inputs": "a", "repeat": 0}],
            "outputs": ["g", "b"],
        },
    }
    text = check(
        network(
            {"name": "b", "block": "B", "inputs": "x", "repeat": 2},
            {"name": "full", "block": "B", "with": {"n": 1}},
            {"name": "c", "block": "C", "inputs": ["full", "y"]},
            {"type": "add", "inputs": ["c", "c.b"]},
            blocks=blocks,
        )
    )
    assert "layers:\n      - {type: Identity, repeat: 0}\n" in text


def test_repetitions_of_several_inputs_are_a_block() -> None:
    text = check(
        network(
            {**LINEAR, "name": "a", "inputs": "x"},
            {"name": "s", "type": "add", "inputs": ["a", "y"], "repeat": 2},
            {"use": "s", "inputs": ["y", "s.0"]},
        )
    )
    assert "{name: s, inputs: [a, y], block: Block}" in text


@pytest.mark.parametrize("nested", [False, True])
def test_a_tensor_named_beside_the_inputs_is_one_more_of_them(nested: bool) -> None:
    """`output_size` in a repetition of two inputs sees the network's, which a block would not."""
    unpool = {"name": "u", "type": "MaxUnpool1d", "kernel_size": 2, "output_size": "image", "repeat": 1}
    layers: list[dict[str, Any]] = [
        {"name": "p", "type": "MaxPool1d", "kernel_size": 2, "return_indices": True, "inputs": "image"},
        {**unpool, "inputs": ["p", "p.indices"]},
        {"name": "again", "use": "u", "inputs": ["p", "p.indices"]},
        {"use": "again", "inputs": ["p", "p.indices"]},
    ]
    if nested:
        layers = [
            {"name": "p", "type": "MaxPool1d", "kernel_size": 2, "return_indices": True, "inputs": "image"},
            {"name": "g", "layers": layers},
            {"name": "h", "use": "g", "inputs": "image"},
            {"use": "g.u", "inputs": ["p", "p.indices"]},
            {"use": "h.again", "inputs": ["p", "p.indices"]},
        ]
    text = check({"netspec": 1, "inputs": {"image": ["N", 3, 9]}, "layers": layers})
    assert "inputs: [p, p.indices, image], block: Block" in text


# --- any network ------------------------------------------------------------------------------------


@dataclass
class Known:
    """An entry that can be referred to: how many inputs a second use gives it, and what is in it."""

    name: str
    inputs: int
    children: list[Known] = field(default_factory=list)


@dataclass
class Lists:
    """Draws lists of entries, all of whose tensors have a last axis of 4, so that they fit everywhere."""

    draw: Any
    blocks: dict[str, tuple[int, list[Known]]] = field(default_factory=dict)

    def pick(self, options: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(options))

    def entries(
        self, visible: list[str], default: bool, depth: int, names: str
    ) -> tuple[list[dict[str, Any]], list[Known]]:
        """A list that sees these inputs. default: the first entry has one to take. names: those it may give."""
        result: list[dict[str, Any]] = []
        known: list[Known] = []
        free = list(names)
        kinds = ["layer", "layer", "add", "parameter", *(["block"] if self.blocks else [])]
        for _ in range(self.draw(st.integers(1, 4))):
            kind = self.pick([*kinds, *(["list"] if depth < 3 else []), *(["use"] if known else [])])
            repeat = self.pick([None, None, 0, 1, 2, 3]) if kind != "use" else self.pick([None, 2])
            start = self.pick([0, 0, 3]) if repeat is not None else 0
            named = self.pick([True, False]) and bool(free) and (kind != "use" or repeat is None)
            entry: dict[str, Any] = (
                {"name": free.pop(self.draw(st.integers(0, len(free) - 1)))} if named else {}
            )
            label = entry.get("name", "")
            if named and repeat is not None and self.pick([True, False, False]):
                label = entry["name"] = entry["name"] + "{}"
            body, inputs, children = self.kind(kind, visible, known, depth, repeat is not None)
            entry |= body
            there = default or bool(known)
            if inputs > 1 or (inputs == 1 and (not there or self.pick([True, False]))):
                entry["inputs"] = [self.reference(visible, known) for _ in range(inputs)]
            elif inputs == 0 and self.pick([True, False]):
                entry["inputs"] = []
            if repeat is not None:
                entry["repeat"] = {"times": repeat, "from": start} if start else repeat
            result.append(entry)
            times = 1 if repeat is None else repeat
            if named and repeat is not None and "{}" not in label:
                copies = [Known(str(start + i), inputs, children) for i in range(times)]
                known.append(Known(label, inputs, copies))
            else:
                for i in range(times):
                    shown = label.replace("{}", str(start + i)) or str(len(known))
                    known.append(Known(shown, inputs, children))
        return result, known

    def kind(
        self, kind: str, visible: list[str], known: list[Known], depth: int, repeated: bool
    ) -> tuple[dict[str, Any], int, list[Known]]:
        """What says what an entry is, its number of inputs, and what is in it."""
        if kind == "layer":
            size = "4 + 0*$index" if repeated and self.pick([True, False]) else 4
            return self.pick([{"type": "ReLU"}, {**LINEAR, "in_features": size}]), 1, []
        if kind == "add":
            return {"type": "add"}, 2, []
        if kind == "parameter":
            return {"type": "Parameter", "shape": [4]}, 0, []
        if kind == "list":
            inner, children = self.entries(visible, True, depth + 1, "abcx")
            return {"layers": inner}, 1, children
        if kind == "block":
            name = self.pick(list(self.blocks))
            number, children = self.blocks[name]
            return {"block": name}, number, children
        target, path = self.pick(known), ""
        while target.children and self.pick([True, False]):
            path += f"{target.name}."
            target = self.pick(target.children)
        return {"use": path + target.name}, target.inputs, target.children

    def reference(self, visible: list[str], known: list[Known]) -> str:
        if not known or self.pick([True, False, False]):
            return str(self.pick(visible))
        target = self.pick(known)
        path = target.name
        while target.children and self.pick([True, False]):
            target = self.pick(target.children)
            path += f".{target.name}"
        return str(path)


@st.composite
def networks(draw: Any) -> dict[str, Any]:
    """Networks with nested lists, blocks in blocks, repetitions and second uses."""
    lists = Lists(draw)
    blocks: dict[str, Any] = {}
    for name in draw(st.sampled_from(["", "A", "AB", "ABC"])):
        inputs = draw(st.sampled_from([["x"], ["p"], ["p", "q"], ["x", "y", "z"]]))
        entries, children = lists.entries(inputs, len(inputs) == 1, 1, "abc")
        blocks[name] = {"inputs": inputs, "layers": entries}
        if draw(st.booleans()):
            chosen = draw(
                st.lists(st.sampled_from([*inputs, *(c.name for c in children)]), min_size=1, unique=True)
            )
            blocks[name]["outputs"] = chosen
        lists.blocks[name] = len(inputs), children
    layers, _ = lists.entries(["x", "y"], False, 0, "abcdef")
    return network(*layers, {"name": "last", "type": "add", "inputs": ["x", "y"]}, blocks=blocks)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks())
def test_any_network_reads_back_as_the_same(mapping: dict[str, Any]) -> None:
    assume(analyse_mapping(mapping).diagnostics == ())
    check(mapping)
