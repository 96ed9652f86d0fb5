"""`netspec shapes`: every layer's output, parameters, multiply-adds and memory."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from netspec.analysis import Analysis
from netspec.diagnostics import InputError, did_you_mean, has_errors
from netspec.graph import ShapedGraph, infer
from netspec.layers.tensor import ITEM_SIZE, TensorType
from netspec.report.tables import Table, format_bytes
from netspec.runtime.inputs import check_sizes
from netspec.symbolic import Dim, evaluate, product


@dataclass(frozen=True, slots=True)
class Row:
    """One layer call."""

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: dict[str, TensorType]
    parameters: int
    macs: Dim


@dataclass(frozen=True, slots=True)
class Report:
    """All that the table and the JSON show."""

    name: str
    inputs: dict[str, TensorType]
    rows: tuple[Row, ...]
    outputs: dict[str, TensorType]
    constraints: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """Number of parameters, shared ones once, buffers not."""
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> Dim:
        """Multiply-adds of the whole network."""
        total: Dim = 0
        for row in self.rows:
            total = total + row.macs
        return total

    @property
    def activation_bytes(self) -> Dim:
        """Bytes of all outputs of all layers."""
        total: Dim = 0
        for row in self.rows:
            total = total + row_bytes(row)
        return total


def row_bytes(row: Row) -> Dim:
    """Bytes of one layer's outputs."""
    total: Dim = 0
    for tensor in row.outputs.values():
        total = total + product(tensor.shape) * ITEM_SIZE[tensor.dtype]
    return total


def report_of(shaped: ShapedGraph) -> Report:
    """The report of a graph without errors."""
    graph = shaped.graph
    simplify = shaped.constraints.simplify

    def tidy(tensor: TensorType | None) -> TensorType:
        assert tensor is not None
        return TensorType(tuple(simplify(d) for d in tensor.shape), tensor.dtype)

    owned: dict[str, int] = {}
    for node, layer in zip(graph.nodes, shaped.layers, strict=True):
        if layer is not None and node.path == node.state_path:
            owned[node.path] = sum(math.prod(s.shape) for s in layer.states() if not s.buffer)
    rows = []
    for node, layer, types in zip(graph.nodes, shaped.layers, shaped.types, strict=True):
        assert layer is not None and types is not None
        arriving = [shaped.type_of(ref) for ref in node.inputs]
        macs = layer.macs([t for t in arriving if t is not None], list(types.values()))
        rows.append(
            Row(
                node.path,
                layer.type_name,
                tuple(graph.label(ref) for ref in node.inputs),
                {port: tidy(tensor) for port, tensor in types.items()},
                owned.get(node.path, 0),
                simplify(macs),
            )
        )
    return Report(
        graph.spec.name or "network",
        {name: tidy(t) for name, t in shaped.inputs.items()},
        tuple(rows),
        {name: tidy(t) for name, t in shaped.outputs.items()},
        tuple(str(c) for c in shaped.constraints.solve()),
    )


def shaped_for(analysis: Analysis, inputs: Mapping[str, Any]) -> ShapedGraph:
    """The valid analysis' graph, with the given input shapes put in.

    Raises `InputError` for unknown names and sizes that the network does not take.
    """
    assert analysis.graph is not None and analysis.shaped is not None
    if not inputs:
        return analysis.shaped
    sizes: dict[str, tuple[int, ...]] = {}
    for name, shape in inputs.items():
        if name not in analysis.graph.inputs:
            known = list(analysis.graph.inputs)
            raise InputError(
                f"the network has no input `{name}`; "
                + (did_you_mean(name, known) or f"the inputs are {', '.join(known)}")
            )
        try:
            sizes[name] = tuple(int(size) for size in shape)
        except (TypeError, ValueError):
            raise InputError(
                f"input {name}: expected a shape such as (1, 3, 224, 224), got {shape!r}"
            ) from None
        if any(size < 0 for size in sizes[name]):
            raise InputError(f"input {name}: sizes must be 0 or more, got {list(sizes[name])}")
    check_sizes(analysis.graph, sizes)
    shaped = infer(analysis.graph, sizes=sizes)
    if has_errors(shaped.diagnostics):
        found = [d for d in shaped.diagnostics if d.severity == "error"]
        text = ", ".join(f"{n} {list(s)}" for n, s in sizes.items())
        raise InputError(f"the network does not take {text}", found)
    return shaped


def shape_report(analysis: Analysis, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON form: see `netspec shapes --format json`."""
    return to_json(report_of(shaped_for(analysis, inputs)))


def to_json(report: Report) -> dict[str, Any]:
    """The contract's mapping: dimensions are ints or Python expressions."""
    return {
        "name": report.name,
        "inputs": {name: _tensor(t) for name, t in report.inputs.items()},
        "layers": [
            {
                "name": row.name,
                "type": row.type,
                "inputs": list(row.inputs),
                "outputs": {port: _tensor(t) for port, t in row.outputs.items()},
                "parameters": row.parameters,
                "macs": _dim(row.macs),
            }
            for row in report.rows
        ],
        "outputs": {name: _tensor(t) for name, t in report.outputs.items()},
        "parameters": report.parameters,
        "macs": _dim(report.macs),
        "constraints": list(report.constraints),
    }


def _tensor(tensor: TensorType) -> dict[str, Any]:
    return {"shape": [_dim(d) for d in tensor.shape], "dtype": tensor.dtype}


def _dim(dim: Dim) -> int | str:
    return dim if isinstance(dim, int) else str(dim)


def table(report: Report, markdown: bool = False) -> str:
    """The table people read: a row a layer, then totals and the sizes that are allowed."""
    rows = Table(("layer", "type", "output shape", "parameters", "multiply-adds", "memory"), "lllrrr")
    for name, tensor in report.inputs.items():
        rows.add(name, "input", f"{tensor}{_dtype(tensor)}", "", "", "")
    for row in report.rows:
        for number, (port, tensor) in enumerate(row.outputs.items()):
            shape = f"{tensor}{_dtype(tensor)}"
            if number:
                rows.add(f"{row.name}.{port}", "", shape, "", "", "")
            else:
                rows.add(
                    row.name, row.type, shape, _count(row.parameters), _factored(row.macs, row), _memory(row)
                )
    rows.rule()
    rows.add("total", "", "", f"{report.parameters:,}", _total(report.macs, "{:,}".format),
             _total(report.activation_bytes, format_bytes, " B"))  # fmt: skip
    lines = [rows.markdown() if markdown else rows.text()]
    outputs = ", ".join(f"{name} {tensor}{_dtype(tensor)}" for name, tensor in report.outputs.items())
    lines.append(f"outputs: {outputs}")
    if report.constraints:
        lines.append(f"allowed sizes: {', '.join(report.constraints)}")
    return "\n".join(lines)


def _dtype(tensor: TensorType) -> str:
    return "" if tensor.dtype == "float32" else f" {tensor.dtype}"


def _count(count: Dim) -> str:
    if isinstance(count, int):
        return f"{count:,}" if count else ""
    return str(count)


LONGEST = 28
"""Characters; a symbolic amount that is longer is left to the JSON, so that the table stays readable."""


def _total(amount: Dim, show: Callable[[int], str], unit: str = "") -> str:
    if isinstance(amount, int):
        return show(amount)
    text = str(amount)
    return text + unit if len(text) <= LONGEST else "(give --input)"


def _memory(row: Row) -> str:
    amount = row_bytes(row)
    if isinstance(amount, int):
        return format_bytes(amount)
    text = _factored(amount, row)
    return text if text == "…" else f"{text} B"


def _factored(amount: Dim, row: Row) -> str:
    """An amount as people write it, a number times the sizes of the output, where it is that."""
    if isinstance(amount, int):
        return _count(amount)
    shape = next(iter(row.outputs.values())).shape
    whole = product(shape)
    probe = {symbol: 1000 + 7 * i for i, symbol in enumerate(sorted(amount.symbols))}
    divisor = (
        whole
        if isinstance(whole, int)
        else evaluate(whole, {**probe, **dict.fromkeys(whole.symbols - probe.keys(), 1)})
    )
    factor = evaluate(amount, probe) // divisor if divisor else 0
    text = str(amount)
    if whole * factor == amount:
        number = factor * math.prod(d for d in shape if isinstance(d, int))
        parts = [
            str(d) if re.fullmatch(r"\w+", str(d)) else f"({d})" for d in shape if not isinstance(d, int)
        ]
        text = "*".join([*([f"{number:,}"] if number != 1 else []), *parts])
    return text if len(text) <= LONGEST else "…"
