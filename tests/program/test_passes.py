"""The passes: what they change in a program, and that they change nothing in its results."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.backends.base import Context
from netspec.backends.numpy import NumpyBackend
from netspec.graph import infer
from netspec.operations import Affine, Concat, Convolution, Elementwise, Fused, Linear
from netspec.program.compile import Program, compile
from netspec.program.executor import Executor
from netspec.program.layout import channels_last
from netspec.program.memory import plan
from netspec.program.optimize import optimize

BACKEND = NumpyBackend()


def lowered(layers: list[dict[str, Any]], shape: tuple[int, ...], outputs: Any = None) -> tuple[Any, Program]:
    """A network over one input x, with statistics that are not the trivial ones, and its plain program."""
    mapping: dict[str, Any] = {"netspec": 1, "inputs": {"x": list(shape)}, "layers": layers}
    if outputs is not None:
        mapping["outputs"] = outputs
    net = netspec.load(mapping)
    rng = np.random.default_rng(0)
    changed = {
        name: (rng.random(array.shape) + 0.5).astype(array.dtype)
        for name, array in net.state_dict().items()
        if array.dtype == np.float32 and ("running" in name or array.ndim == 1)
    }
    net.load_state_dict(changed, strict=False)
    shaped = infer(net._graph, sizes={"x": shape})
    return net, compile(shaped, shaped.graph.outputs)


def results(net: Any, program: Program, x: Any, last: frozenset[int] = frozenset(), lanes: int = 1) -> Any:
    """What a program gives; run twice, so that a buffer that is not written anew shows."""
    context = Context(lanes=lanes, precision="highest")
    executor = Executor(program, BACKEND, net._arrays, context, plan(program, last))
    executor.run({"x": x * 3 + 1})
    return {name: np.array(array) for name, array in executor.run({"x": x}).items()}


CONV = {"type": "Conv2d", "out_channels": 6, "kernel_size": 3, "padding": 1}


def test_batch_norm_becomes_part_of_the_convolution() -> None:
    net, plain = lowered([CONV, {"type": "BatchNorm2d"}, {"type": "ReLU"}], (2, 3, 8, 8))
    program = optimize(plain)
    (step,) = program.steps
    assert isinstance(step.operation, Fused)
    assert isinstance(step.operation.main, Convolution)
    assert [stage.operation for stage in step.operation.stages] == [Elementwise("relu")]
    assert (step.label, step.absorbed) == ("0", ("1", "2"))
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype("f")
    np.testing.assert_allclose(
        results(net, program, x)["2"], results(net, plain, x)["2"], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["Linear", "ConvTranspose1d", "Conv1d"])
def test_other_products_take_the_affine_map_too(kind: str) -> None:
    layer = {"Linear": {"out_features": 5}}.get(kind, {"out_channels": 5, "kernel_size": 3})
    shape = (4, 7) if kind == "Linear" else (4, 7, 9)
    net, plain = lowered([{"type": kind, **layer}, {"type": "BatchNorm1d"}], shape)
    program = optimize(plain)
    assert not [s for s in program.steps if isinstance(s.operation, Affine)]
    x = np.random.default_rng(1).normal(size=shape).astype("f")
    np.testing.assert_allclose(
        results(net, program, x)["1"], results(net, plain, x)["1"], rtol=2e-5, atol=2e-5
    )


def test_nothing_is_folded_where_somebody_else_reads_the_convolution() -> None:
    layers = [{"name": "c", **CONV}, {"name": "n", "type": "BatchNorm2d"}]
    _, plain = lowered(layers, (1, 3, 8, 8), ["c", "n"])
    assert [type(s.operation) for s in optimize(plain).steps] == [Convolution, Affine]


def test_a_sum_joins_the_later_of_its_two_products() -> None:
    layers = [
        {"name": "a", **CONV},
        {"name": "b", **CONV, "inputs": "x"},
        {"name": "s", "type": "add", "inputs": ["a", "b"]},
    ]
    _, plain = lowered(layers, (1, 3, 8, 8))
    program = optimize(plain)
    assert [type(s.operation) for s in program.steps] == [Convolution, Fused]
    assert program.steps[1].label == "b"


def test_work_on_weights_alone_is_done_once() -> None:
    layers = [{"type": "BatchNorm2d"}, {"type": "Linear", "out_features": 3}]
    _, plain = lowered(layers, (1, 3, 4, 5))
    program = optimize(plain)
    assert [type(s.operation) for s in program.steps] == [Affine, Linear]
    assert program.setup  # scale and shift from the running statistics


def test_a_dense_block_writes_into_one_buffer() -> None:
    layers: list[dict[str, Any]] = [{"name": "c0", **CONV, "out_channels": 24}]
    for i in range(3):
        layers.append({"name": f"c{i + 1}", **CONV, "out_channels": 24})
        before = "c0" if i == 0 else f"j{i - 1}"
        layers.append({"name": f"j{i}", "type": "cat", "inputs": [before, f"c{i + 1}"], "dim": 1})
    net, plain = lowered(layers, (2, 3, 8, 8))
    program = optimize(plain)
    last = channels_last(program, 20)
    planned = plan(program, last)
    joins = [s.outputs[0] for s in program.steps if isinstance(s.operation, Concat)]
    assert {planned.parts[j].whole for j in joins[:-1]} <= set(joins)
    assert len(planned.parts) == 4 + len(joins) - 1  # the four convolutions and the shorter joins
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype("f")
    np.testing.assert_allclose(
        results(net, program, x, last)["j2"], results(net, plain, x)["j2"], rtol=1e-4, atol=1e-4
    )


def random_network(seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Layers in which every tensor is (2, c, 12, 12), wired at random, with several outputs."""
    rng = random.Random(seed)
    channels = {"x": 4}
    layers: list[dict[str, Any]] = []
    for i in range(14):
        name, source = f"l{i}", rng.choice(list(channels))
        other = rng.choice([k for k in channels if channels[k] == channels[source]])
        c = rng.choice([4, 24, 32])
        kinds: list[tuple[dict[str, Any], int]] = [
            ({"type": "Conv2d", "out_channels": c, "kernel_size": 3, "padding": 1, "inputs": source}, c),
            ({"type": "Conv2d", "out_channels": c, "kernel_size": 1, "inputs": source}, c),
            ({"type": "ConvTranspose2d", "out_channels": c, "kernel_size": 3, "padding": 1, "inputs": source}, c),
            (
                {"type": "Conv2d", "out_channels": channels[source], "kernel_size": 3, "padding": 1,
                 "groups": channels[source], "inputs": source},
                channels[source],
            ),
            ({"type": "BatchNorm2d", "inputs": source}, channels[source]),
            ({"type": rng.choice(["ReLU", "Sigmoid", "Tanh", "SiLU"]), "inputs": source}, channels[source]),
            ({"type": rng.choice(["add", "mul", "sub"]), "inputs": [source, other]}, channels[source]),
            ({"type": "cat", "inputs": [source, other, source], "dim": 1}, 2 * channels[source] + channels[other]),
            ({"type": "MaxPool2d", "kernel_size": 3, "stride": 1, "padding": 1, "inputs": source}, channels[source]),
        ]  # fmt: skip
        layer, made = rng.choice(kinds)
        if made > 128:
            continue
        layers.append({"name": name, **layer})
        channels[name] = made
    names = [layer["name"] for layer in layers]
    return layers, sorted({names[-1], *rng.sample(names, min(2, len(names)))})


@pytest.mark.parametrize("seed", range(40))
def test_passes_layouts_and_lanes_change_no_result(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netspec.backends.numpy.arrays.SPREAD_ELEMENTS", 1)
    layers, outputs = random_network(seed)
    net, plain = lowered(layers, (2, 4, 12, 12), outputs)
    x = np.random.default_rng(seed).normal(size=(2, 4, 12, 12)).astype("f")
    expected = results(net, plain, x)
    program = optimize(plain)
    for last, lanes in (
        (frozenset[int](), 1),
        (channels_last(program, 20), 1),
        (channels_last(program, 2), 3),
    ):
        found = results(net, program, x, last, lanes)
        for name, values in expected.items():
            scale = float(np.abs(values).max()) or 1.0
            np.testing.assert_allclose(found[name] / scale, values / scale, rtol=0, atol=2e-5, err_msg=name)


def test_what_a_later_stage_reads_is_not_written_over() -> None:
    layers = [
        {"name": "p", "type": "MaxPool2d", "kernel_size": 2, "inputs": "x"},
        {"name": "q", "type": "AvgPool2d", "kernel_size": 2, "inputs": "x"},
        {"name": "t", "type": "Tanh", "inputs": "p"},
        {"name": "s", "type": "add", "inputs": ["t", "q"]},
    ]
    net, plain = lowered(layers, (1, 3, 8, 8), ["s", "p"])
    program = optimize(plain)
    assert isinstance(program.steps[-1].operation, Fused)
    x = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype("f")
    np.testing.assert_allclose(results(net, program, x)["s"], results(net, plain, x)["s"], atol=1e-6)
