"""The part of a graph that some outputs need."""

from __future__ import annotations

from collections.abc import Mapping

from netspec.graph.model import INPUT, Graph, TensorRef


def select(graph: Graph, wanted: Mapping[str, TensorRef]) -> tuple[frozenset[int], tuple[str, ...]]:
    """Numbers of the nodes and names of the inputs that the wanted tensors depend on."""
    nodes: set[int] = set()
    inputs: set[str] = set()
    stack = list(wanted.values())
    while stack:
        ref = stack.pop()
        if ref.node == INPUT:
            inputs.add(ref.port)
        elif ref.node >= 0 and ref.node not in nodes:
            nodes.add(ref.node)
            node = graph.nodes[ref.node]
            stack.extend(node.inputs)
            if node.size_of is not None:
                stack.append(node.size_of)
    return frozenset(nodes), tuple(name for name in graph.inputs if name in inputs)
