"""The network as a graph: every layer call in order, its inputs resolved, its shapes inferred.

build(spec)            -> Graph         references become edges
infer(graph, ...)      -> ShapedGraph   symbolic or concrete types, conditions on the sizes
"""

from netspec.graph.build import build
from netspec.graph.infer import Memory, infer
from netspec.graph.model import UNKNOWN, Graph, Node, ShapedGraph, TensorRef
from netspec.graph.select import select

__all__ = ["UNKNOWN", "Graph", "Memory", "Node", "ShapedGraph", "TensorRef", "build", "infer", "select"]
