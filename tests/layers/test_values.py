"""Every case against torch's committed outputs, and every rejection refused; torch itself is not needed."""

from __future__ import annotations

import functools
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.graph.infer import states_of
from netspec.layers import REGISTRY
from tests.layers.oracle import Arg, Case, Rejection, families, make_inputs, make_state

GOLDEN = Path(__file__).parent / "golden"
CASES = [(family, case) for family, module in families().items() for case in module.CASES]
REJECTIONS = [(family, case) for family, module in families().items() for case in module.REJECTIONS]


@functools.lru_cache
def golden(family: str) -> dict[str, np.ndarray]:
    """torch's outputs of a family: `case|port` to array."""
    with zipfile.ZipFile(GOLDEN / f"{family}.zip") as file:
        index, data = file.read("index.txt").decode(), file.read("data.bin")
    arrays, offset = {}, 0
    for line in index.split("\n"):
        key, dtype, sizes = line.split("\t")
        shape = tuple(int(size) for size in sizes.split(",") if size)
        count = math.prod(shape)
        arrays[key] = np.frombuffer(data, dtype, count, offset).reshape(shape)
        offset += arrays[key].nbytes
    return arrays


def expected_of(family: str, case: Case) -> dict[str, np.ndarray]:
    """torch's outputs of a case by port, and its state after the call as `state:KEY`."""
    found = {
        key.rsplit("|", 1)[1]: value
        for key, value in golden(family).items()
        if key.rsplit("|", 1)[0] == case.id
    }
    assert found, "no golden vectors: run python -m tests.layers.generate"
    return found


def mapping_of(case: Case | Rejection) -> dict[str, Any]:
    """The network of one layer that a case describes, every input's sizes literal."""
    inputs: dict[str, Any] = {}
    names = []
    for index, arg in enumerate(case.inputs):
        array = np.asarray(arg.values) if arg.values is not None else np.empty(arg.shape)
        # A size of 0 can only be given at run time, through a symbol.
        shape = [size or f"S{index}_{axis}" for axis, size in enumerate(array.shape)]
        inputs[f"x{index}"] = {"shape": shape, "dtype": arg.dtype}
        names.append(f"x{index}")
    layers: list[dict[str, Any]] = []
    arity = REGISTRY[case.type].arity
    layer: dict[str, Any] = {"name": "layer", "type": case.type, **case.parameters}
    if getattr(case, "indices_from", None):
        pool, options = case.indices_from  # type: ignore[misc,union-attr]
        layers.append({"name": "pool", "type": pool, "return_indices": True, **options})
        names = ["pool", "pool.indices"]
    if arity != (0, 0):
        layer["inputs"] = names
    layers.append(layer)
    mapping: dict[str, Any] = {"netspec": 1, "inputs": inputs, "layers": layers}
    return mapping


def weights_for(mapping: dict[str, Any], dtype: str) -> dict[str, np.ndarray]:
    """The state that the generator gave torch's module, for the layer of a mapping."""
    net = netspec.load(mapping, dtype=dtype)
    shapes = {k.removeprefix("layer."): s.shape for k, s in states_of(net._shaped).items()}
    return {f"layer.{k}": v for k, v in make_state(shapes, dtype).items()}


def load_case(case: Case) -> netspec.Network:
    """The network of a case with the generator's weights."""
    mapping = mapping_of(case)
    if case.type.endswith("Loss"):
        return netspec.load(mapping, dtype=case.dtype, mode=case.mode)
    weights = weights_for(mapping, case.dtype)
    return netspec.load(mapping, weights=weights, dtype=case.dtype, mode=case.mode)


def close(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Equal shape, dtype, and values within the tolerance; integers and NaN places exactly."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    if expected.dtype.kind in "biu":
        np.testing.assert_array_equal(actual, expected)
    else:
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("family", "case"), CASES, ids=[c.id for _, c in CASES])
def test_values_are_torchs(family: str, case: Case) -> None:
    net = load_case(case)
    arrays = make_inputs(case)
    given = {f"x{i}": a for i, a in enumerate(arrays)}
    expected = expected_of(family, case)
    ports = [port for port in expected if not port.startswith("state:")]
    node = net._graph.nodes[-1]
    assert set(net._shaped.types[node.index] or {}) == set(ports)
    taps = {port: "layer" if port == "out" else f"layer.{port}" for port in ports}
    found = net.run(given, taps=taps.values())
    for port, reference in taps.items():
        close(found[reference], expected[port], case.tolerance)
    for key, value in expected.items():
        if key.startswith("state:"):
            close(net.state_dict()[f"layer.{key.removeprefix('state:')}"], value, case.tolerance)


def load_and_run(case: Rejection) -> None:
    """The call that must be refused, on initial weights."""
    net = netspec.load(mapping_of(case), mode=case.mode)
    net.run({f"x{i}": a for i, a in enumerate(make_inputs(case))})


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("family", "case"), REJECTIONS, ids=[c.id for _, c in REJECTIONS])
def test_what_torch_refuses_is_refused(family: str, case: Rejection) -> None:
    with pytest.raises(netspec.NetspecError) as caught:
        load_and_run(case)
    errors = [d for d in caught.value.diagnostics if d.severity == "error"]
    if case.code is not None:
        assert case.code in [d.code for d in errors], str(caught.value)
    if case.parameter is not None:
        assert any(d.path.endswith(f".{case.parameter}") or f"`{case.parameter}`" in d.message or
                   case.parameter in d.path for d in errors), str(caught.value)  # fmt: skip


def test_every_type_has_cases() -> None:
    covered = {case.type for _, case in CASES}
    missing = set(REGISTRY) - covered - {"Parameter"}
    assert not missing


def test_golden_files_hold_what_the_tables_list() -> None:
    for family, module in families().items():
        listed = {case.id for case in module.CASES}
        assert {key.rsplit("|", 1)[0] for key in golden(family)} == listed


__all__ = ["Arg"]
