"""Programs: which value lies in which buffer, what is computed, and what batches would change."""

from __future__ import annotations

from typing import Any

import pytest

import netspec
from netspec.graph import Graph, infer
from netspec.graph.infer import ShapedGraph
from netspec.operations import Elementwise
from netspec.program.batching import mixing_layer
from netspec.program.compile import Program, compile
from netspec.program.memory import plan


def shaped(
    layers: list[dict[str, Any]], outputs: Any = None, shape: tuple[int, ...] = (2, 4, 8, 8)
) -> ShapedGraph:
    """A graph over one input x of this shape; the first axis is N."""
    mapping: dict[str, Any] = {"netspec": 1, "inputs": {"x": ["N", *shape[1:]]}, "layers": layers}
    if outputs is not None:
        mapping["outputs"] = outputs
    net = netspec.load(mapping)
    graph: Graph = net._graph
    return infer(graph, sizes={"x": shape})


def program(
    layers: list[dict[str, Any]], outputs: Any = None, shape: tuple[int, ...] = (2, 4, 8, 8)
) -> Program:
    """The compiled outputs of a graph."""
    graph = shaped(layers, outputs, shape)
    return compile(graph, graph.graph.outputs)


CHAIN = [{"type": "Conv2d", "out_channels": 4, "kernel_size": 3, "padding": 1} for _ in range(20)]


def test_a_chain_needs_three_buffers_whatever_its_length() -> None:
    planned = plan(program(CHAIN))
    assert len(planned.buffers) <= 4  # input, two that take turns, the output kept


def test_values_that_live_at_the_same_time_never_share_a_buffer() -> None:
    layers = [
        {"name": "a", "type": "Conv2d", "out_channels": 4, "kernel_size": 3, "padding": 1},
        {"name": "b", "type": "ReLU"},
        {"name": "c", "type": "Conv2d", "out_channels": 4, "kernel_size": 3, "padding": 1},
        {"name": "d", "type": "add", "inputs": ["a", "c"]},
        {"name": "e", "type": "permute", "dims": [0, 2, 3, 1]},
        {"name": "f", "type": "reshape", "shape": [-1, 256]},
        {"name": "g", "type": "flatten", "start_dim": 1, "inputs": "b"},
        {"name": "h", "type": "cat", "inputs": ["f", "g"], "dim": 1},
    ]
    compiled = program(layers, ["h", "d"])
    planned = plan(compiled)

    def root(value: int) -> int:
        while value in planned.views:
            value = planned.views[value]
        return value

    kept = {root(v) for v in compiled.outputs.values()}
    last: dict[int, int] = {}
    first: dict[int, int] = dict.fromkeys(map(root, compiled.inputs.values()), -1)
    for number, step in enumerate(compiled.steps):
        for value in step.outputs:
            first.setdefault(root(value), number)
        for value in (*step.inputs, *step.outputs):
            last[root(value)] = number
    for value in kept:
        last[value] = len(compiled.steps)
    placed = list(planned.placed)
    assert len(placed) > 4
    for i, a in enumerate(placed):
        for b in placed[:i]:
            if planned.placed[a] == planned.placed[b]:
                # an elementwise step may write over an input that it reads last
                overwritten = first[a] == last[b] and isinstance(
                    compiled.steps[first[a]].operation, Elementwise
                )
                assert first[a] > last[b] or first[b] > last[a] or overwritten, (a, b)


def test_layers_that_no_output_needs_are_not_computed() -> None:
    layers = [
        {"name": "a", "type": "ReLU"},
        {"name": "b", "type": "Sigmoid"},
        {"name": "c", "type": "Tanh", "inputs": "a"},
    ]
    labels = {step.label for step in program(layers, ["c"]).steps}
    assert labels == {"a", "c"}


def test_layout_layers_copy_nothing() -> None:
    layers = [
        {"type": "Flatten"},
        {"type": "unsqueeze", "dim": 1},
        {"type": "squeeze", "dim": 1},
        {"type": "Identity"},
    ]
    compiled = program(layers)
    assert len(plan(compiled).buffers) == 1


@pytest.mark.parametrize(
    ("layers", "mixing"),
    [
        ([{"type": "Conv2d", "out_channels": 2, "kernel_size": 3}, {"type": "BatchNorm2d"}, {"type": "Flatten"},
          {"type": "Linear", "out_features": 3}, {"type": "Softmax", "dim": 1}], None),
        ([{"type": "Softmax", "dim": 0}], "0"),
        ([{"type": "Identity"}, {"type": "BatchNorm2d", "track_running_stats": False}], "1"),
        ([{"name": "m", "type": "mean", "dim": 0, "keepdim": True}, {"type": "sub", "inputs": ["x", "m"]}], "m"),
        ([{"name": "t", "type": "transpose", "dim0": 0, "dim1": 1}], "t"),
        ([{"name": "p", "type": "permute", "dims": [0, 2, 3, 1]}], None),
        ([{"name": "c", "type": "cat", "inputs": ["x", "x"], "dim": 0}], "c"),
        ([{"name": "c", "type": "cat", "inputs": ["x", "x"], "dim": 1}], None),
        ([{"name": "e", "type": "einsum", "inputs": ["x", "x"], "equation": "nchw,ndhw->ncd"}], None),
        ([{"name": "e", "type": "einsum", "inputs": ["x", "x"], "equation": "nchw,mchw->nm"}], "e"),
        ([{"type": "GroupNorm", "num_groups": 2, "num_channels": 4},
          {"type": "InstanceNorm2d", "num_features": 4}], None),
        ([{"type": "MaxPool2d", "kernel_size": 2, "return_indices": True, "name": "p"},
          {"type": "MaxUnpool2d", "kernel_size": 2, "inputs": ["p", "p.indices"]}], None),
    ],
)  # fmt: skip
def test_whether_batches_change_the_answer(layers: list[dict[str, Any]], mixing: str | None) -> None:
    assert mixing_layer(program(layers)) == mixing
