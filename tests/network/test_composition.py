"""Whole networks made of blocks: names, shapes and state-dict keys are those of nested torch modules."""

# ruff: noqa: E501, SIM905 (networks and lists of keys)

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from netspec.analysis import Analysis, analyse_mapping, analyse_text
from netspec.graph.infer import states_of
from netspec.report.shapes import shape_report


def analyse(text: str) -> Analysis:
    """The analysis of a network that must be valid."""
    analysis = analyse_text(textwrap.dedent(text), "net.yaml")
    assert analysis.diagnostics == ()
    return analysis


def keys(analysis: Analysis) -> list[str]:
    assert analysis.shaped is not None
    return list(states_of(analysis.shaped))


def paths(analysis: Analysis) -> list[str]:
    assert analysis.graph is not None
    return [node.path for node in analysis.graph.nodes]


def inputs(analysis: Analysis) -> dict[str, list[str]]:
    """Every layer's inputs by its full name."""
    assert analysis.graph is not None
    graph = analysis.graph
    return {node.path: [graph.label(ref) for ref in node.inputs] for node in graph.nodes}


RESNET = """\
netspec: 1
inputs: {image: [N, 3, 64, 64]}
blocks:
  BasicBlock:
    args: {in_channels: null, planes: null, stride: 1}
    layers:
      - {name: conv1, type: Conv2d, in_channels: $in_channels, out_channels: $planes, kernel_size: 3, stride: $stride, padding: 1, bias: false}
      - {name: bn1, type: BatchNorm2d, num_features: $planes}
      - {name: relu, type: ReLU}
      - {name: conv2, type: Conv2d, in_channels: $planes, out_channels: $planes, kernel_size: 3, padding: 1, bias: false}
      - {name: bn2, type: BatchNorm2d, num_features: $planes}
      - {name: sum, type: add, inputs: [bn2, x]}
      - {name: out, use: relu}
  Down:
    args: {in_channels: null, planes: null}
    layers:
      - {name: conv1, type: Conv2d, in_channels: $in_channels, out_channels: $planes, kernel_size: 3, stride: 2, padding: 1, bias: false}
      - {name: bn1, type: BatchNorm2d, num_features: $planes}
      - {name: relu, type: ReLU}
      - {name: conv2, type: Conv2d, in_channels: $planes, out_channels: $planes, kernel_size: 3, padding: 1, bias: false}
      - {name: bn2, type: BatchNorm2d, num_features: $planes}
      - name: downsample
        inputs: x
        layers:
          - {type: Conv2d, in_channels: $in_channels, out_channels: $planes, kernel_size: 1, stride: 2, bias: false}
          - {type: BatchNorm2d, num_features: $planes}
      - {name: sum, type: add, inputs: [bn2, downsample]}
      - {name: out, use: relu}
  Stage:
    args: {in_channels: null, planes: null, more: 1}
    layers:
      - {block: Down, with: {in_channels: $in_channels, planes: $planes}}
      - {block: BasicBlock, with: {in_channels: $planes, planes: $planes}, repeat: $more}
layers:
  - {name: conv1, type: Conv2d, in_channels: 3, out_channels: 8, kernel_size: 7, stride: 2, padding: 3, bias: false}
  - {name: bn1, type: BatchNorm2d, num_features: 8}
  - {name: relu, type: ReLU}
  - {name: maxpool, type: MaxPool2d, kernel_size: 3, stride: 2, padding: 1}
  - {name: layer1, block: BasicBlock, with: {in_channels: 8, planes: 8}, repeat: 2}
  - {name: layer2, block: Stage, with: {in_channels: 8, planes: 8}}
  - {name: "layer{}", block: Stage, with: {in_channels: 8, planes: 8, more: 2}, repeat: {times: 1, from: 3}}
  - {name: avgpool, type: AdaptiveAvgPool2d, output_size: 1}
  - {type: Flatten}
  - {name: fc, type: Linear, in_features: 8, out_features: 10}
"""

BASIC = """
conv1.weight
bn1.weight bn1.bias bn1.running_mean bn1.running_var bn1.num_batches_tracked
conv2.weight
bn2.weight bn2.bias bn2.running_mean bn2.running_var bn2.num_batches_tracked
""".split()
DOWN = """
downsample.0.weight
downsample.1.weight downsample.1.bias downsample.1.running_mean downsample.1.running_var
downsample.1.num_batches_tracked
""".split()


def test_resnet_has_torchs_keys() -> None:
    expected = [*BASIC[:6]]
    for block, downsample in (
        ("layer1.0", False), ("layer1.1", False), ("layer2.0", True), ("layer2.1", False),
        ("layer3.0", True), ("layer3.1", False), ("layer3.2", False),
    ):  # fmt: skip
        expected += [f"{block}.{key}" for key in (*BASIC, *(DOWN if downsample else ()))]
    expected += ["fc.weight", "fc.bias"]
    analysis = analyse(RESNET)
    assert keys(analysis) == expected
    assert inputs(analysis)["layer2.0.sum"] == ["layer2.0.bn2", "layer2.0.downsample.1"]
    assert inputs(analysis)["layer2.0.downsample.0"] == ["layer1.1.out"]
    assert inputs(analysis)["layer3.0.conv1"] == ["layer2.1.out"]
    assert inputs(analysis)["layer3.2.sum"] == ["layer3.2.bn2", "layer3.1.out"]


def test_shapes_have_full_names() -> None:
    report = shape_report(analyse(RESNET), {})
    rows = {row["name"]: row for row in report["layers"]}
    assert rows["layer2.0.downsample.0"]["outputs"] == {"out": {"shape": ["N", 8, 8, 8], "dtype": "float32"}}
    assert rows["layer1.0.out"]["type"] == "ReLU"
    assert rows["layer2.1.conv2"]["parameters"] == 8 * 8 * 9
    assert report["outputs"] == {"fc": {"shape": ["N", 10], "dtype": "float32"}}


DENSENET = """\
netspec: 1
inputs: {image: [N, 3, 32, 32]}
blocks:
  DenseLayer:
    args: {in_channels: null, growth: 4, size: 2}
    layers:
      - {name: norm1, type: BatchNorm2d, num_features: $in_channels}
      - {name: relu1, type: ReLU}
      - {name: conv1, type: Conv2d, in_channels: $in_channels, out_channels: $size * $growth, kernel_size: 1, bias: false}
      - {name: norm2, type: BatchNorm2d, num_features: $size * $growth}
      - {name: relu2, type: ReLU}
      - {name: conv2, type: Conv2d, in_channels: $growth * $size, out_channels: $growth, kernel_size: 3, padding: 1, bias: false}
      - {name: cat, type: cat, inputs: [x, conv2], dim: 1}
  DenseBlock:
    args: {channels: null, times: null}
    layers:
      - name: denselayer{}
        block: DenseLayer
        with: {in_channels: $channels + ($index - 1)*4}
        repeat: {times: $times, from: 1}
layers:
  - name: features
    layers:
      - {name: conv0, type: Conv2d, out_channels: 8, kernel_size: 3, padding: 1, bias: false}
      - {name: denseblock1, block: DenseBlock, with: {channels: 8, times: 3}}
      - {name: norm5, type: BatchNorm2d, num_features: 20}
  - {name: relu, type: ReLU}
  - {name: pool, type: AdaptiveAvgPool2d, output_size: 1}
  - {name: flat, type: Flatten}
  - {name: classifier, type: Linear, out_features: 5}
"""

DENSE_KEYS = """
features.conv0.weight
features.denseblock1.denselayer1.norm1.weight features.denseblock1.denselayer1.norm1.bias
features.denseblock1.denselayer1.norm1.running_mean features.denseblock1.denselayer1.norm1.running_var
features.denseblock1.denselayer1.norm1.num_batches_tracked
features.denseblock1.denselayer1.conv1.weight
features.denseblock1.denselayer1.norm2.weight features.denseblock1.denselayer1.norm2.bias
features.denseblock1.denselayer1.norm2.running_mean features.denseblock1.denselayer1.norm2.running_var
features.denseblock1.denselayer1.norm2.num_batches_tracked
features.denseblock1.denselayer1.conv2.weight
features.denseblock1.denselayer2.norm1.weight features.denseblock1.denselayer2.norm1.bias
features.denseblock1.denselayer2.norm1.running_mean features.denseblock1.denselayer2.norm1.running_var
features.denseblock1.denselayer2.norm1.num_batches_tracked
features.denseblock1.denselayer2.conv1.weight
features.denseblock1.denselayer2.norm2.weight features.denseblock1.denselayer2.norm2.bias
features.denseblock1.denselayer2.norm2.running_mean features.denseblock1.denselayer2.norm2.running_var
features.denseblock1.denselayer2.norm2.num_batches_tracked
features.denseblock1.denselayer2.conv2.weight
features.denseblock1.denselayer3.norm1.weight features.denseblock1.denselayer3.norm1.bias
features.denseblock1.denselayer3.norm1.running_mean features.denseblock1.denselayer3.norm1.running_var
features.denseblock1.denselayer3.norm1.num_batches_tracked
features.denseblock1.denselayer3.conv1.weight
features.denseblock1.denselayer3.norm2.weight features.denseblock1.denselayer3.norm2.bias
features.denseblock1.denselayer3.norm2.running_mean features.denseblock1.denselayer3.norm2.running_var
features.denseblock1.denselayer3.norm2.num_batches_tracked
features.denseblock1.denselayer3.conv2.weight
features.norm5.weight features.norm5.bias features.norm5.running_mean features.norm5.running_var
features.norm5.num_batches_tracked
classifier.weight classifier.bias
""".split()


def test_densenet_has_torchs_keys() -> None:
    analysis = analyse(DENSENET)
    assert keys(analysis) == DENSE_KEYS
    assert analysis.shaped is not None
    states = states_of(analysis.shaped)
    assert states["features.denseblock1.denselayer3.norm1.weight"].shape == (16,)
    assert states["features.denseblock1.denselayer3.conv1.weight"].shape == (8, 16, 1, 1)


def test_every_layer_takes_all_earlier_ones() -> None:
    """The other form of a dense block: lists of references through `inputs`."""
    analysis = analyse(
        """\
        netspec: 1
        inputs: {x: [N, 4, 8, 8]}
        blocks:
          Layer:
            args: {from: null}
            layers:
              - {name: cat, type: cat, inputs: [x], dim: 1}
              - {name: conv, type: Conv2d, out_channels: 2, kernel_size: 1}
        layers:
          - {name: a, block: Layer, with: {from: 1}}
          - {name: c, type: cat, inputs: [x, a], dim: 1}
          - {name: b, block: Layer, with: {from: 2}}
          - {type: cat, inputs: [x, a.conv, b], dim: 1}
        """
    )
    assert inputs(analysis)["3"] == ["x", "a.conv", "b.conv"]
    assert keys(analysis) == ["a.conv.weight", "a.conv.bias", "b.conv.weight", "b.conv.bias"]


# --- repetition -------------------------------------------------------------------------------------

LINEAR = {"type": "Linear", "in_features": 4, "out_features": 4}


def network(*layers: dict[str, Any], **more: Any) -> Analysis:
    """A valid network from Python values."""
    analysis = analyse_mapping({"netspec": 1, "inputs": {"x": ["N", 4]}, "layers": list(layers), **more})
    assert [d.message for d in analysis.diagnostics] == []
    return analysis


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([{**LINEAR, "repeat": 3}], ["0", "1", "2"]),
        ([LINEAR, {**LINEAR, "repeat": 2}, LINEAR], ["0", "1", "2", "3"]),
        ([{**LINEAR, "repeat": 0}, LINEAR], ["0"]),
        ([{**LINEAR, "repeat": {"times": 2, "from": 5}}], ["0", "1"]),
        ([{**LINEAR, "name": "a", "repeat": 2}, LINEAR], ["a.0", "a.1", "1"]),
        ([{**LINEAR, "name": "a", "repeat": {"times": 2, "from": 1}}], ["a.1", "a.2"]),
        ([{**LINEAR, "name": "a{}", "repeat": {"times": 2, "from": 1}}, LINEAR], ["a1", "a2", "2"]),
        ([{**LINEAR, "name": "a{}b", "repeat": 1}], ["a0b"]),
        ([{"layers": [LINEAR, {"type": "ReLU"}], "repeat": 2}], ["0.0", "0.1", "1.0", "1.1"]),
        ([{"name": "g", "layers": [LINEAR], "repeat": 2}], ["g.0.0", "g.1.0"]),
        ([{"layers": [{**LINEAR, "repeat": 2}], "repeat": 2}], ["0.0", "0.1", "1.0", "1.1"]),
        ([{**LINEAR, "name": "a"}, {"use": "a", "repeat": 2}], ["a", "1", "2"]),
    ],
    ids=str,
)
def test_names_of_repetitions(entries: list[dict[str, Any]], expected: list[str]) -> None:
    analysis = network(*entries)
    assert paths(analysis) == expected
    found = inputs(analysis)
    assert [found[path] for path in expected] == [["x"], *([path] for path in expected[:-1])]


def test_an_empty_repetition_passes_its_input_on() -> None:
    analysis = network(
        {**LINEAR, "name": "a"},
        {**LINEAR, "name": "none", "repeat": 0},
        {**LINEAR, "name": "b"},
        {"type": "add", "inputs": ["none", "b"]},
    )
    assert inputs(analysis) == {"a": ["x"], "b": ["a"], "3": ["a", "b"]}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, [("2", ["a", "x"]), ("3", ["2", "x"]), ("4", ["3", "x"])]),
        ("s", [("s.0", ["a", "x"]), ("s.1", ["s.0", "x"]), ("s.2", ["s.1", "x"])]),
        ("s{}", [("s0", ["a", "x"]), ("s1", ["s0", "x"]), ("s2", ["s1", "x"])]),
    ],
)
def test_repetitions_feed_the_first_input_and_pass_the_others(
    name: str | None, expected: list[tuple[str, list[str]]]
) -> None:
    entry = {"type": "add", "inputs": ["a", "x"], "repeat": 3, **({"name": name} if name else {})}
    analysis = network({**LINEAR, "name": "a"}, LINEAR, entry, {"type": "ReLU"})
    found = inputs(analysis)
    assert [(path, found[path]) for path, _ in expected] == expected
    assert list(found.values())[-1] == [expected[-1][0]]  # the whole stands for the last


def test_a_saved_network_has_the_same_names(tmp_path: Path) -> None:
    """Repetitions and instances are written out, and read back."""
    import netspec

    net = netspec.load(
        {
            "netspec": 1,
            "inputs": {"x": ["N", 4]},
            "blocks": {
                "B": {"args": {"n": 4}, "layers": [{"type": "Linear", "out_features": "$n"}, {"use": "0"}]}
            },
            "layers": [
                {**LINEAR, "name": "a"},
                {"name": "s", "type": "add", "inputs": ["a", "x"], "repeat": 2},
                {"block": "B", "repeat": 2},
            ],
        }
    )
    net.save(tmp_path / "net.yaml")
    again = netspec.load(tmp_path / "net.yaml")
    assert list(again.state_dict()) == list(net.state_dict())
    names = ["a", "s.0", "s.1", "2.0", "2.1", "3.0", "3.1"]
    assert [row["name"] for row in netspec.shapes(again.spec)["layers"]] == names


def test_repeated_blocks_with_two_inputs() -> None:
    block = {
        "inputs": ["x", "skip"],
        "layers": [{**LINEAR, "inputs": "x"}, {"type": "add", "inputs": ["0", "skip"]}],
    }
    analysis = network(
        {**LINEAR, "name": "a"},
        {"name": "g", "block": "B", "inputs": ["a", "x"], "repeat": 2},
        blocks={"B": block},
    )
    assert inputs(analysis) == {
        "a": ["x"],
        "g.0.0": ["a"],
        "g.0.1": ["g.0.0", "x"],
        "g.1.0": ["g.0.1"],
        "g.1.1": ["g.1.0", "x"],
    }


def test_the_index_counts_innermost_repetitions() -> None:
    analysis = network(
        {
            "repeat": {"times": 2, "from": 1},
            "layers": [
                {"type": "Linear", "out_features": "$index * 10"},
                {"type": "Linear", "out_features": "$index + 1", "repeat": 2},
            ],
        }
    )
    assert analysis.shaped is not None
    shapes = {
        key: state.shape[0] for key, state in states_of(analysis.shaped).items() if key.endswith("bias")
    }
    assert shapes == {
        "0.0.bias": 10,
        "0.1.bias": 1,
        "0.2.bias": 2,
        "1.0.bias": 20,
        "1.1.bias": 1,
        "1.2.bias": 2,
    }


def test_a_file_and_a_mapping_give_the_same() -> None:
    import yaml

    for text in (RESNET, DENSENET):
        assert keys(analyse_mapping(yaml.safe_load(text))) == keys(analyse(text))
