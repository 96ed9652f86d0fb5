"""Lowering: the layers that the wanted tensors need, as operations on numbered values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netspec.graph import ShapedGraph, TensorRef, select
from netspec.graph.model import INPUT
from netspec.layers.tensor import TensorType
from netspec.operations import ArraySpec
from netspec.program.builder import Builder, Step, Value


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Steps on numbered values; which of them are inputs, outputs, constants, states and their updates.

    `setup` are steps that read nothing but constants and states: they run once, when buffers are made.
    """

    values: tuple[ArraySpec, ...]
    steps: tuple[Step, ...]
    inputs: dict[str, int]
    outputs: dict[str, int]
    constants: dict[int, Any]
    states: dict[str, int]
    updates: dict[str, int]
    setup: tuple[Step, ...] = ()


def array_spec(tensor: TensorType) -> ArraySpec:
    """A tensor type whose sizes are all numbers."""
    shape = tuple(d for d in tensor.shape if isinstance(d, int))
    assert len(shape) == len(tensor.shape), f"symbolic size in {tensor}"
    return ArraySpec(shape, tensor.dtype)


def compile(shaped: ShapedGraph, wanted: Mapping[str, TensorRef], training: bool = False) -> Program:
    """The program that computes the wanted tensors, and nothing else. All sizes must be numbers."""
    graph = shaped.graph
    needed, input_names = select(graph, wanted)
    b = Builder(shaped.dtype, training)
    tensors: dict[TensorRef, Value] = {}
    inputs: dict[str, int] = {}
    for name in input_names:
        tensor = shaped.inputs[name]
        assert tensor is not None
        value = b.value(array_spec(tensor).shape, tensor.dtype)
        tensors[TensorRef(INPUT, name)] = value
        inputs[name] = value.id
    for node in graph.nodes:
        if node.index not in needed:
            continue
        layer, types = shaped.layers[node.index], shaped.types[node.index]
        assert layer is not None and types is not None
        states = {state.name: ArraySpec(state.shape, state.dtype or shaped.dtype) for state in layer.states()}
        b.layer(node.path, node.state_path, tuple(map(array_spec, types.values())), states)
        result = layer.lower(b, *(tensors[ref] for ref in node.inputs))
        outputs = (result,) if isinstance(result, Value) else tuple(result)
        for (port, tensor), value in zip(types.items(), outputs, strict=True):
            if array_spec(tensor) != value.spec:
                raise AssertionError(
                    f"{layer.type_name} {node.path}: inferred {array_spec(tensor)} for {port}, lowered to {value.spec}"
                )
            tensors[TensorRef(node.index, port)] = value
    return Program(
        tuple(v.spec for v in b.values),
        tuple(b.steps),
        inputs,
        {name: tensors[ref].id for name, ref in wanted.items()},
        b.constants,
        {key: value.id for key, value in b.states.items()},
        {key: value.id for key, value in b.updates.items()},
    )
