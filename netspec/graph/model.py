"""What a graph is: nodes in the order of the file, which is an order of execution."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from netspec.diagnostics import Diagnostic, Span
from netspec.layers.base import Layer
from netspec.layers.tensor import TensorType
from netspec.network import InputSpec, NetworkSpec, Origin
from netspec.symbolic import ConstraintSet, Dim

INPUT = -1
"""Node number of a network input; its port is the input's name."""


class TensorRef(NamedTuple):
    """One tensor: the node that produces it (`INPUT` for the network) and the port."""

    node: int
    port: str


UNKNOWN = TensorRef(-2, "")
"""Stands for what a wrong reference would have meant; nothing more is said about it."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One call of a layer.

    path: full name (`layer1.0.conv1`); state_path: where its parameters live, another node's path for a
    second use. size_of: the tensor that `output_size` names. layer None: it was refused.
    """

    index: int
    path: str
    state_path: str
    layer: Layer | None
    inputs: tuple[TensorRef, ...]
    size_of: TensorRef | None
    origin: Origin


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Nodes, and the tensors that are the network's inputs and outputs.

    groups: the outputs of each group by its full name; places: where each was written.
    """

    spec: NetworkSpec
    inputs: dict[str, InputSpec | None]
    nodes: tuple[Node, ...]
    outputs: dict[str, TensorRef]
    groups: dict[str, tuple[TensorRef, ...]] = field(default_factory=dict)
    places: dict[str, Origin] = field(default_factory=dict)

    def label(self, ref: TensorRef) -> str:
        """A tensor as the user refers to it: `image`, `layer1.0.conv1`, `pool1.indices`."""
        if ref.node == INPUT:
            return ref.port
        if ref.node < 0:
            return "?"
        node = self.nodes[ref.node]
        ports = node.layer.ports() if node.layer is not None else ("out",)
        if ports is not None and ports and ports[0] == ref.port:
            return node.path
        return f"{node.path}.{ref.port}"

    def place(self, ref: TensorRef) -> Span | None:
        """Where a tensor is declared."""
        if ref.node == INPUT:
            return self.spec.find_key("inputs", ref.port)
        return self.nodes[ref.node].origin.span if ref.node >= 0 else None


@dataclass(frozen=True, slots=True, eq=False)
class ShapedGraph:
    """A graph whose every tensor has a type (None where something upstream was refused).

    layers have their inferred parameters filled in; types are by node, then port.
    """

    graph: Graph
    dtype: str
    layers: tuple[Layer | None, ...]
    inputs: dict[str, TensorType | None]
    types: tuple[dict[str, TensorType] | None, ...]
    constraints: ConstraintSet
    symbols: dict[str, Dim]
    diagnostics: tuple[Diagnostic, ...]

    def type_of(self, ref: TensorRef) -> TensorType | None:
        """The type of a tensor, or None where it is unknown."""
        if ref.node == INPUT:
            return self.inputs.get(ref.port)
        if ref.node < 0:
            return None
        types = self.types[ref.node]
        return types.get(ref.port) if types is not None else None

    @property
    def outputs(self) -> dict[str, TensorType | None]:
        """Types of the network's outputs by public name."""
        return {name: self.type_of(ref) for name, ref in self.graph.outputs.items()}
