"""Export to ONNX: checked by onnx itself, and run by ONNX Runtime against netspec."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import netspec
from netspec.graph import select
from netspec.interop.onnx import NotInOnnx, to_onnx
from netspec.program.compile import compile
from tests.configs.cases import CONFIGS, DENSE, inputs_of
from tests.configs.cases import SHAPES as TRAINED
from tests.configs.filling import shapes_of, weights_of
from tests.layers.oracle import Case, families, make_inputs
from tests.layers.test_values import load_case

PUBLISHED = {
    "densenet121": (1, 3, 64, 64),
    "googlenet": (1, 3, 64, 64),
    "mobilenet_v2": (1, 3, 64, 64),
    "resnet18": (2, 3, 64, 96),
    "resnet50": (1, 3, 64, 64),
    "squeezenet1_1": (1, 3, 64, 64),
}
"""Not AlexNet, VGG16 and C3D, which are large and have nothing that these and the forms below have not."""


def export(net: netspec.Network, arrays: dict[str, Any], wanted: Any = None) -> tuple[Any, dict[str, Any]]:
    """The model, and the inputs that it takes."""
    wanted = wanted or net.wanted()
    _, needed = select(net._graph, wanted)
    given = {name: arrays[name] for name in needed}
    shaped = net.shaped({name: array.shape for name, array in given.items()})
    return to_onnx(compile(shaped, wanted), net.state_dict(), "net"), given


def run(model: Any, given: dict[str, Any]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    found: list[Any] = session.run(None, given)
    return found


def compare(net: netspec.Network, arrays: dict[str, Any], tolerance: float = 1e-4) -> Any:
    model, given = export(net, arrays)
    onnx.checker.check_model(model, full_check=True)
    expected = net.run(given)
    for (name, array), found in zip(expected.items(), run(model, given), strict=True):
        assert (found.shape, found.dtype) == (array.shape, array.dtype)
        scale = np.nanmax(np.abs(array), initial=0.0)
        np.testing.assert_allclose(found, array, rtol=tolerance, atol=tolerance * scale, err_msg=name)
    return model


# --- networks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINED)
def test_trained_networks(name: str) -> None:
    compare(netspec.load(CONFIGS / f"{name}.yaml"), inputs_of(name))


@pytest.mark.parametrize("name", sorted({*DENSE, *PUBLISHED} - {"c3d"}))
def test_published_networks(name: str) -> None:
    path = CONFIGS / f"{name}.yaml"
    net = netspec.load(path, weights=weights_of(shapes_of(path)))
    if name in DENSE:
        arrays = inputs_of(name)
    else:
        arrays = {"image": np.random.RandomState(0).random_sample(PUBLISHED[name]).astype("f4")}
    compare(net, arrays, 1e-3)


def test_the_form_is_torch_onnxs() -> None:
    """Batch normalisation stays a node, so that runtimes fuse it as they know; edges have shapes."""
    path = CONFIGS / "resnet18.yaml"
    net = netspec.load(path, weights=weights_of(shapes_of(path)))
    model = export(net, {"image": np.zeros((1, 3, 64, 64), "f4")})[0]
    kinds = [node.op_type for node in model.graph.node]
    counts = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    assert counts == {
        "Add": 8, "BatchNormalization": 20, "Conv": 20, "Gemm": 1, "GlobalAveragePool": 1, "MaxPool": 1,
        "Relu": 17, "Reshape": 1,
    }  # fmt: skip
    shaped = {v.name for v in (*model.graph.value_info, *model.graph.output)}
    assert {name for node in model.graph.node for name in node.output} == shaped
    assert "layer1.0.conv1.weight" in {tensor.name for tensor in model.graph.initializer}
    assert model.graph.node[0].name.startswith("conv1/Conv")


# --- every type of layer ----------------------------------------------------------------------------


def cases() -> Iterator[Any]:
    """The first evaluating float32 case of every type, with ordinary numbers."""
    seen = set()
    for module in families().values():
        for case in module.CASES:
            plain = all(a.kind != "special" and a.dtype != "bool" and 0 not in a.shape for a in case.inputs)
            if case.type in seen or case.mode != "eval" or case.dtype != "float32" or not plain:
                continue
            if any(a.dtype.startswith("complex") for a in case.inputs):
                continue
            seen.add(case.type)
            yield pytest.param(case, id=case.type)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", list(cases()))
def test_every_type(case: Case) -> None:
    net = load_case(case)
    arrays = {f"x{i}": array for i, array in enumerate(make_inputs(case))}
    compare(net, arrays)


def one(layer: dict[str, Any], *shapes: tuple[int, ...], **arrays: Any) -> None:
    """A network of one layer on drawn inputs."""
    inputs = {f"x{i}": list(shape) for i, shape in enumerate(shapes)}
    net = netspec.load({"netspec": 1, "inputs": inputs, "layers": [{**layer, "inputs": list(inputs)}]})
    rng = np.random.RandomState(1)
    compare(net, {name: rng.standard_normal(shape).astype("f4") for name, shape in inputs.items()})


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ({"type": "MaxPool2d", "kernel_size": 3, "stride": 2, "ceil_mode": True}, (1, 2, 8, 9)),
        ({"type": "MaxPool2d", "kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True}, (1, 2, 8, 10)),
        ({"type": "AvgPool2d", "kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}, (1, 2, 8, 9)),
        ({"type": "AvgPool2d", "kernel_size": 3, "padding": 1, "count_include_pad": False}, (1, 2, 8, 9)),
        ({"type": "AvgPool2d", "kernel_size": 2, "divisor_override": 3}, (1, 2, 8, 8)),
        ({"type": "AdaptiveAvgPool2d", "output_size": [3, 4]}, (2, 3, 7, 8)),
        ({"type": "AdaptiveAvgPool3d", "output_size": [3, 2, 5]}, (2, 3, 7, 8, 6)),
        ({"type": "AdaptiveAvgPool2d", "output_size": 4}, (2, 3, 8, 4)),
        ({"type": "AdaptiveMaxPool2d", "output_size": 2}, (2, 3, 8, 4)),
        (
            {"type": "ConvTranspose2d", "out_channels": 3, "kernel_size": 3, "stride": 2, "output_padding": 1},
            (1, 2, 4, 5),
        ),
        (
            {"type": "ConvTranspose1d", "out_channels": 2, "kernel_size": 3, "stride": 2, "dilation": 3,
             "padding": 1, "output_padding": 2},
            (1, 2, 5),
        ),
        ({"type": "Upsample", "scale_factor": [1, 1.15], "mode": "bilinear"}, (1, 1, 2, 100)),
        ({"type": "Upsample", "size": [7, 11], "mode": "bilinear"}, (1, 2, 3, 5)),
        ({"type": "Upsample", "scale_factor": 2, "mode": "bicubic", "align_corners": True}, (1, 2, 3, 5)),
        ({"type": "interpolate", "size": [5, 4], "mode": "nearest-exact"}, (1, 2, 3, 7)),
        ({"type": "interpolate", "size": [5, 4], "mode": "area"}, (1, 2, 3, 7)),
        ({"type": "pad", "pad": [-1, 2, 1, -1], "mode": "replicate"}, (1, 2, 4, 5)),
        ({"type": "CELU", "alpha": 0.5}, (2, 3)),
        ({"type": "Softplus", "beta": 2.0, "threshold": 1.0}, (2, 30)),
        ({"type": "LayerNorm", "normalized_shape": [4, 5]}, (2, 4, 5)),
        ({"type": "LayerNorm", "normalized_shape": 5, "elementwise_affine": False, "eps": 0.1}, (2, 4, 5)),
        ({"type": "Conv1d", "out_channels": 2, "kernel_size": 4, "padding": "same"}, (1, 3, 9)),
        ({"type": "GroupNorm", "num_groups": 2, "num_channels": 4}, (2, 4, 5)),
        ({"type": "BatchNorm1d", "track_running_stats": False}, (5, 4)),
        ({"type": "Linear", "out_features": 3}, (2, 5, 4)),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else None,
)  # fmt: skip
def test_forms(layer: dict[str, Any], shape: tuple[int, ...]) -> None:
    one(layer, shape)


def test_indices_are_of_each_plane() -> None:
    layers = [
        {"name": "pool", "type": "MaxPool2d", "kernel_size": 2, "return_indices": True},
        {
            "name": "up",
            "type": "MaxUnpool2d",
            "kernel_size": 2,
            "inputs": ["pool", "pool.indices"],
            "output_size": "x",
        },
    ]
    outputs = {"up": "up", "places": "pool.indices"}
    net = netspec.load({"netspec": 1, "inputs": {"x": [2, 3, 7, 6]}, "layers": layers, "outputs": outputs})
    compare(net, {"x": np.random.RandomState(0).standard_normal((2, 3, 7, 6)).astype("f4")})


def test_outputs_that_are_inputs_constants_and_twice_the_same() -> None:
    layers = [
        {"name": "scale", "type": "Parameter", "shape": [3], "init": 2.0},
        {"name": "y", "type": "mul", "inputs": ["x", "scale"]},
    ]
    outputs = {"x": "y", "again": "y", "given": "x", "constant": "scale"}
    net = netspec.load({"netspec": 1, "inputs": {"x": [2, 3]}, "layers": layers, "outputs": outputs})
    model = compare(net, {"x": np.ones((2, 3), "f4")})
    assert [o.name for o in model.graph.output] == ["x_out", "again", "given", "constant"]


# --- refusals ---------------------------------------------------------------------------------------


def test_what_onnx_cannot_say_is_refused_with_the_layers_name() -> None:
    mapping = {
        "netspec": 1,
        "inputs": {"x": {"shape": [2, 4], "dtype": "bool"}},
        "layers": [{"name": "both", "type": "add", "inputs": ["x", "x"]}],
    }
    net = netspec.load(mapping)
    with pytest.raises(NotInOnnx, match=r"^layer both: ONNX has no arithmetic of truth values$"):
        export(net, {"x": np.ones((2, 4), bool)})


def test_windows_of_several_sizes_are_refused_for_maxima() -> None:
    layer = {"type": "AdaptiveMaxPool1d", "output_size": 2}
    net = netspec.load({"netspec": 1, "inputs": {"x": [1, 2, 5]}, "layers": [layer]})
    with pytest.raises(
        NotInOnnx, match=r"layer 0: ONNX has no adaptive maximum of \[5\] in \[2\] windows of several"
    ):
        export(net, {"x": np.ones((1, 2, 5), "f4")})


def test_training_is_refused() -> None:
    net = netspec.load({"netspec": 1, "inputs": {"x": [4, 3]}, "layers": [{"type": "BatchNorm1d"}]})
    wanted = net.wanted()
    program = compile(net.shaped({"x": (4, 3)}), wanted, training=True)
    with pytest.raises(NotInOnnx, match="train mode"):
        to_onnx(program, net.state_dict(), "net")


def test_weights_beyond_the_format_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from netspec.interop.onnx import export as module

    monkeypatch.setattr(module, "LIMIT", 40)
    net = netspec.load(
        {"netspec": 1, "inputs": {"x": [1, 4]}, "layers": [{"type": "Linear", "out_features": 3}]}
    )
    with pytest.raises(NotInOnnx, match="the weights take 60 bytes, an ONNX file holds at most 40"):
        export(net, {"x": np.zeros((1, 4), "f4")})


def test_written_files_open(tmp_path: Path) -> None:
    net = netspec.load(CONFIGS / "lenet5.yaml")
    model = export(net, {"image": np.zeros((1, 1, 28, 28), "f4")})[0]
    onnx.save(model, tmp_path / "lenet5.onnx")
    assert [i.name for i in onnx.load(tmp_path / "lenet5.onnx").graph.input] == ["image"]
