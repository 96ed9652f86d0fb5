"""What is wrong with shapes in blocks: said of the first instance, with the number of the others."""

from __future__ import annotations

from typing import Any

import pytest

from netspec.analysis import analyse_mapping, analyse_text
from netspec.diagnostics import Diagnostic

WRONG = {"name": "fc", "type": "Linear", "in_features": 5, "out_features": 4}
PARAMETER = {"type": "Parameter", "shape": [4]}
RELU = {"type": "ReLU", "inputs": "x"}
HEAD = {"netspec": 1, "inputs": {"x": ["N", 4], "wide": ["N", 6]}}


def found(layers: list[dict[str, Any]], **blocks: Any) -> list[tuple[str, str | None]]:
    """The node that each diagnostic names, and how many others it is said of."""
    diagnostics = analyse_mapping({**HEAD, "blocks": blocks, "layers": layers}).diagnostics
    return [(d.message.split("`")[1], more(d)) for d in diagnostics]


def more(diagnostic: Diagnostic) -> str | None:
    return next((n.message for n in diagnostic.notes if n.message.startswith("and ")), None)


def instance(block: str, source: str = "x", **keys: Any) -> dict[str, Any]:
    return {"block": block, "inputs": source, **keys}


def test_instances_are_counted() -> None:
    block = {"layers": [WRONG]}
    assert found([instance("B")], B=block) == [("0.fc", None)]
    assert found([instance("B")] * 2, B=block) == [("0.fc", "and 1 more instance")]
    assert found([instance("B", name=f"b{i}") for i in range(1200)], B=block) == [
        ("b0.fc", "and 1,199 more instances")
    ]


def test_other_messages_stand_on_their_own() -> None:
    layers = [instance("B"), instance("B", "wide"), instance("B"), instance("B", "wide")]
    assert found(layers, B={"layers": [WRONG]}) == [
        ("0.fc", "and 1 more instance"),
        ("1.fc", "and 1 more instance"),
    ]


def test_instances_in_instances() -> None:
    blocks = {
        "In": {"layers": [WRONG]},
        "Out": {"layers": [instance("In"), instance("In")]},
    }
    assert found([instance("Out", repeat=1), instance("Out")], **blocks) == [
        ("0.0.fc", "and 3 more instances")
    ]


def test_one_instance_says_it_once() -> None:
    """A list that is used again inside an instance is no other instance; a block that is used again is."""
    block = {"layers": [{"name": "g", "layers": [WRONG]}, {"use": "g", "inputs": "x"}]}
    assert found([instance("B")], B=block) == [("0.g.fc", None)]
    assert found([instance("B"), {"use": "0", "inputs": "x"}], B=block) == [("0.g.fc", "and 1 more instance")]


def test_what_stands_outside_blocks_is_said_of_each() -> None:
    assert found([{**WRONG, "name": "a", "inputs": "x"}, {**WRONG, "name": "b", "inputs": "x"}]) == [
        ("a", None),
        ("b", None),
    ]


def test_two_places_in_a_block_are_two_findings() -> None:
    text = """\
netspec: 1
inputs: {x: [N, 4]}
blocks:
  B:
    layers:
      - {name: a, type: Linear, in_features: 5, out_features: 4}
      - {name: b, type: Linear, in_features: 5, out_features: 4, inputs: x}
layers: [{name: first, block: B}, {name: second, block: B, inputs: x}, {name: third, block: B, inputs: x}]
"""
    diagnostics = analyse_text(text).diagnostics
    assert [(d.message.split("`")[1], more(d)) for d in diagnostics] == [
        ("first.a", "and 2 more instances"),
        ("first.b", "and 2 more instances"),
    ]


def test_numbered_outputs_that_do_not_exist() -> None:
    block = {
        "layers": [{"name": "s", "type": "chunk", "chunks": 2, "dim": 1}, {"type": "ReLU", "inputs": "s.5"}]
    }
    assert found([instance("B"), instance("B")], B=block) == [("0.s", "and 1 more instance")]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [{**PARAMETER, "name": "p", "inputs": [], "repeat": 0}, RELU],
            "repeated 0 times, it has no input to pass on",
        ),
        (
            [{"block": "B", "inputs": []}, RELU],
            "block B has no input to pass on, and everything in it is repeated 0 times",
        ),
        (
            [{"name": "a", "type": "ReLU", "inputs": "x", "repeat": 2}, {"use": "a", "inputs": ["x", "a"]}],
            "it takes 1 input, got 2",
        ),
        (
            [{"name": "a", "inputs": "x", "layers": [{"type": "ReLU"}]}, {"use": "a", "inputs": ["x", "a"]}],
            "a nested list takes one input, got 2",
        ),
        (
            [RELU, {"name": "a", "type": "ReLU", "repeat": 2}, {"use": "a", "inputs": ["x", "a"]}],
            "it takes one input, got 2",
        ),
    ],
)  # fmt: skip
def test_groups_without_a_tensor_to_pass_on(layers: list[dict[str, Any]], message: str) -> None:
    """Such a network was valid once, and could not be run."""
    block = {"inputs": [], "layers": [{**PARAMETER, "repeat": 0}]}
    analysis = analyse_mapping({**HEAD, "blocks": {"B": block}, "layers": layers})
    assert [d.message for d in analysis.diagnostics] == [message]
