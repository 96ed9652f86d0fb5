"""What a first user ran into: each once, so that it stays mended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netspec

BLOCKS: dict[str, Any] = {
    "netspec": 1,
    "inputs": {"x": ["N", 2]},
    "blocks": {
        "Twice": {
            "args": {"n": None},
            "layers": [{"name": "a", "type": "Linear", "out_features": "$n"}, {"name": "b", "type": "ReLU"}],
        }
    },
    "layers": [{"name": "group", "layers": [{"block": "Twice", "with": {"n": 3}}]}, {"name": "fc", "type": "Linear",
                "out_features": 1}],
}  # fmt: skip


def test_a_child_with_blocks_inside_is_called() -> None:
    net = netspec.load(BLOCKS)
    x = np.ones((2, 2), "f4")
    expected = net.run({"x": x}, taps=["group"])["group"]
    np.testing.assert_allclose(net["group"](x), expected, rtol=1e-6)
    np.testing.assert_allclose(net.group[0](x), expected, rtol=1e-6)
    children = list(net.children())
    weights = {k: v for c in children for k, v in c.arrays(c.name).items()}
    again = netspec.load({"netspec": 1, "inputs": {"x": ["N", 2]}, "layers": children}, weights=weights)
    np.testing.assert_array_equal(again(x), net(x))


def test_a_weight_that_was_read_is_not_written_into_in_vain() -> None:
    net = netspec.load(BLOCKS)
    with pytest.raises(ValueError, match="read-only"):
        net.fc.weight[:] = 1


def test_a_layer_inside_a_block_is_replaced_in_that_instance_alone() -> None:
    twice = [{"block": "Twice", "with": {"n": 3}, "repeat": 2}]
    net = netspec.load({**BLOCKS, "layers": [{"name": "group", "layers": twice}, *BLOCKS["layers"][1:]]})
    before = net.state_dict()
    net["group.1.b"] = netspec.layers.Tanh()
    assert [net["group.0.b"].type, net["group.1.b"].type] == ["ReLU", "Tanh"]
    assert all(np.array_equal(before[k], v) for k, v in net.state_dict().items())
    x = np.full((1, 2), -3, "f4")
    hidden = net.run({"x": x}, taps=["group.1.a", "group"])
    np.testing.assert_allclose(hidden["group"], np.tanh(hidden["group.1.a"]), rtol=1e-5)


def test_an_output_size_that_is_a_reference_is_source_text() -> None:
    from netspec.analysis import analyse_text

    text = (
        "netspec: 1\ninputs: {x: [N, 2, 7]}\nlayers:\n"
        "  - {name: 3, layers: [{name: 10, type: Identity}]}\n"
        "  - {type: Conv1d, out_channels: 2, kernel_size: 2, stride: 2}\n"
        "  - {type: ConvTranspose1d, out_channels: 2, kernel_size: 2, stride: 2, output_size: 3.10}\n"
    )
    analysis = analyse_text(text)
    assert analysis.valid, analysis.diagnostics
    assert analysis.shaped is not None
    assert analysis.shaped.types[-1]["out"].shape[1:] == (2, 7)  # type: ignore[index]


def test_a_suggestion_is_spelt_as_users_write_it() -> None:
    with pytest.raises(netspec.SpecError, match="did you mean `lower`"):
        netspec.parse({**BLOCKS, "layers": [{"type": "RReLU", "lowr": 0.1}]})


def test_labels_are_counted() -> None:
    with pytest.raises(netspec.SpecError, match="3 labels for an output of shape"):
        netspec.parse({**BLOCKS, "outputs": {"y": {"from": "fc", "labels": [1, 2, 3]}}})


def test_names_are_source_text() -> None:
    from netspec.analysis import analyse_text

    layers = "  - {name: true, type: ReLU}\n  - {name: null, type: ReLU, inputs: true}\n"
    text = f"netspec: 1\ninputs: {{x: [N]}}\nlayers:\n{layers}"
    assert [node.path for node in analyse_text(text).graph.nodes] == ["true", "null"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "call",
    [
        lambda: netspec.load(3),  # type: ignore[arg-type]
        lambda: netspec.load(BLOCKS).run(np.ones((2, 2), "f4")),  # type: ignore[arg-type]
        lambda: netspec.load(BLOCKS, seed=-1),
        lambda: netspec.load(BLOCKS, dtype=np.int32),
    ],
)
def test_wrong_arguments_are_input_errors(call: Any) -> None:
    with pytest.raises(netspec.InputError):
        call()


def test_numpy_dtypes_and_single_taps_are_taken() -> None:
    net = netspec.load(BLOCKS, dtype=np.float64)
    assert set(net.run({"x": np.ones((1, 2))}, taps="fc")) == {"fc"}
    assert str(net(np.ones((1, 2))).dtype) == "float64"


def test_a_function_is_appended() -> None:
    net = netspec.load(BLOCKS)
    net.add_module("twice", netspec.layers.cat(dim=1, inputs=["fc", "fc"]))
    assert net(np.ones((1, 2), "f4")).shape == (1, 2)


def test_only_wrong_shapes_count_when_not_strict() -> None:
    net = netspec.load(BLOCKS)
    with pytest.raises(netspec.WeightsError) as caught:
        net.load_state_dict({"fc.bias": np.zeros(7)}, strict=False)
    assert "missing" not in str(caught.value)
