"""For every type: the predicted shape is the executed one, and the conditions on sizes are exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netspec
from netspec.analysis import analyse_mapping
from netspec.graph import infer
from netspec.layers import REGISTRY
from netspec.symbolic import evaluate
from tests.layers.generated import generate
from tests.layers.oracle import Case, make_inputs
from tests.layers.test_values import mapping_of

EXAMPLES = 40
"""Generated calls for each type."""

UNDECIDED = ("cannot-infer", "inexact-scale", "symbolic-size", "unknown-size")
"""Codes of a refusal that says: with numbers this may be fine."""


def symbolic_mapping(case: Case) -> tuple[dict[str, Any], dict[str, int]]:
    """The case with one symbol for every distinct size, and the symbols' values."""
    mapping = mapping_of(case)
    values: dict[str, int] = {}
    for arg, spec in zip(case.inputs, mapping["inputs"].values(), strict=True):
        shape = np.shape(arg.values) if arg.values is not None else arg.shape
        spec["shape"] = [f"S{size}" for size in shape]
        values |= {f"S{size}": size for size in shape}
    return mapping, values


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("type_name", [t for t in REGISTRY if t != "Parameter"])
def test_shapes_are_exact(type_name: str) -> None:
    accepted = 0
    for seed in range(EXAMPLES):
        case = generate(type_name, seed)
        mapping, values = symbolic_mapping(case)
        if 0 in values.values():
            continue
        analysis = analyse_mapping(mapping, dtype=case.dtype)
        if analysis.graph is None or analysis.shaped is None:
            continue
        if not analysis.graph.nodes or analysis.graph.nodes[-1].path != "layer":
            continue  # its parameters were refused
        sizes = {
            f"x{i}": tuple(np.shape(a.values) if a.values is not None else a.shape)
            for i, a in enumerate(case.inputs)
        }
        concrete = infer(analysis.graph, dtype=case.dtype, sizes=sizes)
        types = concrete.types[-1]
        errors = [d for d in analysis.diagnostics if d.severity == "error"]
        if errors:
            assert types is None or any(d.code in UNDECIDED for d in errors), (
                f"{case.id}: {errors[0].message}"
            )
            continue
        conditions = analysis.shaped.constraints.solve()
        allowed = all(condition.evaluate(values) for condition in conditions)
        assert allowed == (types is not None), (
            f"{case.id}: {[str(c) for c in conditions]} {concrete.diagnostics}"
        )
        if types is None:
            continue
        accepted += 1
        for port, tensor in (analysis.shaped.types[-1] or {}).items():
            predicted = tuple(evaluate(analysis.shaped.constraints.simplify(d), values) for d in tensor.shape)
            assert predicted == types[port].shape, case.id
            assert tensor.dtype == types[port].dtype, case.id
        check_executed(case, types)
    assert accepted, "no generated call was accepted"


def check_executed(case: Case, types: dict[str, Any]) -> None:
    """Run the call: every output has the inferred shape and dtype."""
    net = netspec.load(mapping_of(case), dtype=case.dtype)
    taps = {port: "layer" if port == "out" else f"layer.{port}" for port in types}
    try:
        outputs = net.run({f"x{i}": a for i, a in enumerate(make_inputs(case))}, taps=taps.values())
    except netspec.InputError as error:
        if str(error).startswith("layer layer:"):
            return  # a value, not a shape, was refused
        raise
    for port, reference in taps.items():
        assert outputs[reference].shape == types[port].shape, case.id
        assert outputs[reference].dtype == types[port].dtype, case.id
