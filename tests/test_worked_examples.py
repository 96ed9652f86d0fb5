"""Every worked number of the user's documents 000 to 004, each as one named test through the public API."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec

PRINTED = 1.5e-4
"""The documents print four digits, of inputs and outputs both."""

IMAGE = [[[[1.0, 1.0], [2.0, 2.0]]]]
ROWS = [[[[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]]]]
ONES = [[[[1.0, 1.0, 1.0]]]]


def array(values: Any) -> np.ndarray:
    """Literal numbers in the network's dtype."""
    return np.array(values, dtype=np.float32)


def one_layer(shape: Sequence[int | str], **layer: Any) -> dict[str, Any]:
    """A network of one layer `layer` that reads the input `x`."""
    return {"netspec": 1, "inputs": {"x": list(shape)}, "layers": [{"name": "layer", **layer}]}


def apply(x: Any, *, mode: str = "eval", dtype: str = "float32", **layer: Any) -> np.ndarray:
    """One layer's output."""
    x = np.asarray(x) if dtype.startswith("complex") else array(x)
    mapping = one_layer([f"S{axis}" for axis in range(x.ndim)], **layer)
    result: np.ndarray = netspec.load(mapping, mode=mode, dtype=dtype)(x)
    return result


# --- document 000: Conv2d, ConvTranspose2d, BatchNorm2d, pooling, activations, BCELoss ----------------


def upsampling(**options: Any) -> dict[str, Any]:
    """Down by a convolution of stride 2, and up again."""
    channels = {"in_channels": 16, "out_channels": 16, "kernel_size": 3, "stride": 2, "padding": 1}
    return {
        "netspec": 1,
        "inputs": {"image": [1, 16, 12, 12]},
        "layers": [
            {"name": "downsample", "type": "Conv2d", **channels},
            {"name": "upsample", "type": "ConvTranspose2d", **channels, **options},
        ],
    }


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, 11),
        ({"output_size": "image"}, 12),
        ({"output_size": [12, 12]}, 12),
        ({"output_size": [1, 16, 12, 12]}, 12),
        ({"output_padding": 1}, 12),
    ],
    ids=str,
)
def test_000_conv_transpose2d_output_size(options: dict[str, Any], size: int) -> None:
    net = netspec.load(upsampling(**options))
    found = net.run({"image": np.zeros((1, 16, 12, 12), np.float32)}, taps=["downsample"])
    assert found["downsample"].shape == (1, 16, 6, 6)
    assert found["upsample"].shape == (1, 16, size, size)


BATCH_NORM_INPUT = [
    [
        [
            [0.8316, -1.6250, 0.9072, 0.2746],
            [0.4579, -0.2228, 0.4685, 1.2020],
            [0.8648, -1.2116, 1.0224, 0.7295],
        ],
        [
            [0.4387, -0.8889, -0.8999, -0.2775],
            [2.4837, -0.4111, -0.6032, -2.3912],
            [0.5622, -0.0770, -0.0107, -0.6245],
        ],
    ]
]
BATCH_NORM_OUTPUT = [
    [
        [
            [0.3205, -1.1840, 0.3668, -0.0206],
            [0.0916, -0.3252, 0.0982, 0.5474],
            [0.3409, -0.9308, 0.4373, 0.2580],
        ],
        [
            [0.2664, -0.2666, -0.2710, -0.0211],
            [1.0874, -0.0747, -0.1518, -0.8697],
            [0.3160, 0.0594, 0.0860, -0.1604],
        ],
    ]
]
PLAIN_NORM_INPUT = [
    [
        [
            [-1.5365, 0.2642, 1.0482, 2.0938],
            [-0.0906, 1.8446, 0.7762, 1.2987],
            [-2.4138, -0.5368, -1.2173, 0.2574],
        ],
        [
            [0.2518, -1.9633, -0.0487, -0.0317],
            [-0.9511, 0.2488, 0.3887, 1.4182],
            [-0.1422, 0.4096, 1.4740, 0.5241],
        ],
    ]
]
PLAIN_NORM_OUTPUT = [
    [
        [
            [-1.2739, 0.0870, 0.6795, 1.4698],
            [-0.1811, 1.2814, 0.4740, 0.8689],
            [-1.9368, -0.5183, -1.0326, 0.0819],
        ],
        [
            [0.1353, -2.3571, -0.2028, -0.1837],
            [-1.2182, 0.1320, 0.2894, 1.4478],
            [-0.3080, 0.3129, 1.5106, 0.4417],
        ],
    ]
]


def test_000_batch_norm2d_with_affine() -> None:
    mapping = one_layer([1, 2, 3, 4], type="BatchNorm2d", num_features=2)
    weights = {
        "layer.weight": array([0.5247, 0.4397]),
        "layer.bias": array([0.0, 0.0]),
        "layer.running_mean": array([0.0, 0.0]),
        "layer.running_var": array([1.0, 1.0]),
    }
    net = netspec.load(mapping, weights=weights, mode="train")
    x = array(BATCH_NORM_INPUT)
    np.testing.assert_allclose(net(x), BATCH_NORM_OUTPUT, atol=PRINTED)
    # the running statistics take a tenth of the batch's, the variance unbiased
    state = net.state_dict()
    np.testing.assert_allclose(state["layer.running_mean"], 0.1 * x.mean((0, 2, 3)), rtol=1e-5)
    unbiased = x.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(state["layer.running_var"], 0.9 + 0.1 * unbiased, rtol=1e-5)
    assert int(state["layer.num_batches_tracked"]) == 1


def test_000_batch_norm2d_without_affine() -> None:
    y = apply(PLAIN_NORM_INPUT, mode="train", type="BatchNorm2d", num_features=2, affine=False)
    np.testing.assert_allclose(y, PLAIN_NORM_OUTPUT, atol=PRINTED)


def test_000_batch_norm2d_untracked_uses_the_batch_in_eval_too() -> None:
    options = {"num_features": 2, "affine": False, "track_running_stats": False}
    y = apply(PLAIN_NORM_INPUT, type="BatchNorm2d", **options)
    np.testing.assert_allclose(y, PLAIN_NORM_OUTPUT, atol=PRINTED)


def test_000_batch_norm2d_in_eval_uses_the_running_statistics() -> None:
    y = apply(PLAIN_NORM_INPUT, type="BatchNorm2d", num_features=2, affine=False)
    np.testing.assert_allclose(y, PLAIN_NORM_INPUT, rtol=1e-5)  # running mean 0, variance 1


@pytest.mark.parametrize(
    ("size", "shape"), [([5, 7], (1, 64, 5, 7)), (7, (1, 64, 7, 7)), ([None, 7], (1, 64, 8, 7))], ids=str
)
def test_000_adaptive_avg_pool2d_shape(size: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(1, 64, 8, 9)).astype(np.float32)
    y = apply(x, type="AdaptiveAvgPool2d", output_size=size)
    assert y.shape == shape
    # the first window goes from 0 to ceil(size / output)
    rows, columns = -(-8 // shape[2]), -(-9 // shape[3])
    np.testing.assert_allclose(y[0, 0, 0, 0], x[0, 0, :rows, :columns].mean(), rtol=1e-5)


def test_000_relu() -> None:
    np.testing.assert_allclose(apply([-0.0468, 0.2225], type="ReLU"), [0.0, 0.2225], atol=PRINTED)


def test_000_leaky_relu() -> None:
    y = apply([-1.3222, 0.8163], type="LeakyReLU", negative_slope=0.1)
    np.testing.assert_allclose(y, [-0.1322, 0.8163], atol=PRINTED)


def test_000_sigmoid() -> None:
    np.testing.assert_allclose(apply([-0.8425, 0.7383], type="Sigmoid"), [0.3010, 0.6766], atol=PRINTED)


def test_000_tanh() -> None:
    np.testing.assert_allclose(apply([-0.6246, 0.1523], type="Tanh"), [-0.5543, 0.1512], atol=PRINTED)


LOGITS = [-0.8728, 0.3632, -0.0547]
TARGETS = [1.0, 0.0, 0.0]
"""The document's targets are illegible; these give its loss, and its gradients (sigmoid - target)/3."""


def cross_entropy(**options: Any) -> np.ndarray:
    """Sigmoid, then BCELoss."""
    mapping = {
        "netspec": 1,
        "inputs": {"x": ["N"], "target": ["N"]},
        "layers": [
            {"name": "m", "type": "Sigmoid", "inputs": "x"},
            {"name": "loss", "type": "BCELoss", "inputs": ["m", "target"], **options},
        ],
    }
    result: np.ndarray = netspec.load(mapping)(array(LOGITS), array(TARGETS))
    return result


def test_000_bce_loss() -> None:
    loss = cross_entropy()
    assert loss.shape == ()
    np.testing.assert_allclose(loss, 0.9264, atol=PRINTED)


@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ({"reduction": "sum"}, 3),
        ({"size_average": False}, 3),
        ({"reduce": True, "reduction": "sum"}, 1),
        ({"weight": [2.0, 2.0, 2.0]}, 2),
    ],
    ids=str,
)
def test_000_bce_loss_reductions(options: dict[str, Any], factor: int) -> None:
    np.testing.assert_allclose(cross_entropy(**options), factor * 0.9264, atol=factor * PRINTED)


@pytest.mark.parametrize("options", [{"reduction": "none"}, {"reduce": False}], ids=str)
def test_000_bce_loss_unreduced(options: dict[str, Any]) -> None:
    losses = cross_entropy(**options)
    assert losses.shape == (3,)
    np.testing.assert_allclose(losses.mean(), 0.9264, atol=PRINTED)


# --- document 001: Conv2d and ConvTranspose2d with constant weights -----------------------------------


def conv(x: Any, type: str = "Conv2d", **options: Any) -> np.ndarray:
    """One channel to one, weights 2, no bias."""
    init = {"weight": {"method": "constant", "val": 2}}
    return apply(x, type=type, in_channels=1, out_channels=1, bias=False, init=init, **options)


def exactly(actual: np.ndarray, rows: Any) -> None:
    """The one plane of the output is this."""
    np.testing.assert_array_equal(actual, array([[rows]]))


def test_001_conv2d_case_one() -> None:
    y = conv(IMAGE, kernel_size=[1, 1], stride=[1, 1], padding=[1, 2])
    exactly(y, [[0] * 6, [0, 0, 2, 2, 0, 0], [0, 0, 4, 4, 0, 0], [0] * 6])


def test_001_conv2d_case_two() -> None:
    y = conv(IMAGE, kernel_size=[1, 1], stride=[1, 1], padding=[2, 1])
    exactly(y, [[0] * 4, [0] * 4, [0, 2, 2, 0], [0, 4, 4, 0], [0] * 4, [0] * 4])


def test_001_conv2d_case_three() -> None:
    y = conv(IMAGE, kernel_size=[1, 1], stride=[1, 2], padding=[2, 1])
    exactly(y, [[0, 0], [0, 0], [0, 2], [0, 4], [0, 0], [0, 0]])


def up(x: Any, **options: Any) -> np.ndarray:
    """ConvTranspose2d with weights 2."""
    return conv(x, "ConvTranspose2d", **options)


def test_001_conv_transpose2d_case_one() -> None:
    y = up(ROWS, kernel_size=[1, 1], stride=1, padding=0, output_padding=[0, 0])
    exactly(y, [[2, 2, 2], [4, 4, 4], [6, 6, 6]])


def test_001_conv_transpose2d_case_two() -> None:
    exactly(up(ROWS, kernel_size=[1, 1], stride=1, padding=1, output_padding=[0, 0]), [[4]])


def test_001_conv_transpose2d_case_three() -> None:
    y = up(ROWS, kernel_size=[1, 1], stride=2, padding=0, output_padding=[0, 0])
    exactly(y, [[2, 0, 2, 0, 2], [0] * 5, [4, 0, 4, 0, 4], [0] * 5, [6, 0, 6, 0, 6]])


def test_001_conv_transpose2d_case_four() -> None:
    y = up(ROWS, kernel_size=[1, 1], stride=2, padding=1, output_padding=[0, 0])
    exactly(y, [[0, 0, 0], [0, 4, 0], [0, 0, 0]])


def test_001_conv_transpose2d_case_five_column() -> None:
    y = up(ROWS, kernel_size=[1, 1], stride=2, padding=1, output_padding=[0, 1])
    exactly(y, [[0, 0, 0, 0], [0, 4, 0, 4], [0, 0, 0, 0]])


def test_001_conv_transpose2d_case_five_row() -> None:
    y = up(ROWS, kernel_size=[1, 1], stride=2, padding=1, output_padding=[1, 0])
    exactly(y, [[0, 0, 0], [0, 4, 0], [0, 0, 0], [0, 6, 0]])


def test_001_conv_transpose2d_case_six() -> None:
    y = up(ONES, kernel_size=[2, 3], stride=2, padding=0, output_padding=[0, 0])
    exactly(y, [[2, 2, 4, 2, 4, 2, 2]] * 2)


def test_001_conv_transpose2d_case_six_overlapping() -> None:
    # the explanation's own numbers: 2, 1 through a 2 x 2 kernel of twos
    y = up([[[[2.0, 1.0]]]], kernel_size=2)
    exactly(y, [[4, 6, 2]] * 2)


def test_001_conv_transpose2d_case_seven() -> None:
    y = up(ONES, kernel_size=[2, 3], stride=1, padding=0, output_padding=[0, 0])
    exactly(y, [[2, 4, 6, 4, 2]] * 2)


def test_001_conv_transpose2d_case_eight() -> None:
    y = up(ROWS, kernel_size=[2, 3], stride=1, padding=1, output_padding=[0, 0])
    exactly(y, [[12, 18, 12], [20, 30, 20]])


def test_001_conv_transpose2d_case_eight_before_the_padding_is_cut() -> None:
    # the document works its last row out by hand, and says that it may be wrong: it is 6, 12, 18, 12, 6
    y = up(ROWS, kernel_size=[2, 3], stride=1, padding=0)
    exactly(y, [[2, 4, 6, 4, 2], [6, 12, 18, 12, 6], [10, 20, 30, 20, 10], [6, 12, 18, 12, 6]])


@pytest.mark.parametrize(
    ("mode", "corner"), [("zeros", 0), ("reflect", 5), ("replicate", 1), ("circular", 9)], ids=str
)
def test_001_conv2d_padding_modes(mode: str, corner: int) -> None:
    x = [[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]]
    y = conv(x, kernel_size=1, padding=1, padding_mode=mode)
    assert y.shape == (1, 1, 5, 5)
    np.testing.assert_array_equal(y[0, 0, 1:-1, 1:-1], 2 * array(x)[0, 0])
    assert y[0, 0, 0, 0] == 2 * corner


def test_001_conv2d_dilation_two() -> None:
    y = conv(np.arange(25.0).reshape(1, 1, 5, 5), kernel_size=3, dilation=2)
    exactly(y, [[2 * sum(10 * r + 2 * c for r in range(3) for c in range(3))]])


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_001_groups_divide_the_number_of_parameters(groups: int) -> None:
    # N kernels of C/G x K x K: the count falls to 1/G
    mapping = one_layer(
        [1, 8, 6, 6], type="Conv2d", in_channels=8, out_channels=4, kernel_size=3, groups=groups, bias=False
    )
    assert netspec.shapes(mapping)["parameters"] == 4 * 8 * 3 * 3 // groups
    assert netspec.load(mapping)["layer"].weight.shape == (4, 8 // groups, 3, 3)


def test_001_a_group_reads_only_its_own_channels() -> None:
    x = np.zeros((1, 8, 3, 3), np.float32)
    x[0, :4] = 1
    y = apply(
        x,
        type="Conv2d",
        in_channels=8,
        out_channels=4,
        kernel_size=3,
        groups=2,
        bias=False,
        init={"weight": 2},
    )
    np.testing.assert_array_equal(y.reshape(-1), [72, 72, 0, 0])


# --- document 002: reshaping, looking into networks, editing them -------------------------------------


def test_002_flatten() -> None:
    x = np.random.default_rng(0).normal(size=(32, 1, 5, 5)).astype(np.float32)
    np.testing.assert_array_equal(apply(x, type="Flatten"), x.reshape(32, 25))
    assert apply(x, type="Flatten", start_dim=0, end_dim=2).shape == (160, 5)


def lenet() -> dict[str, Any]:
    """A small convolutional network whose layers have names."""
    return {
        "netspec": 1,
        "inputs": {"image": ["N", 1, 28, 28]},
        "layers": [
            {
                "name": "conv1",
                "type": "Conv2d",
                "in_channels": 1,
                "out_channels": 6,
                "kernel_size": 5,
                "padding": 2,
            },
            {"name": "act1", "type": "Sigmoid"},
            {"name": "pool1", "type": "AvgPool2d", "kernel_size": 2, "stride": 2},
            {"name": "conv2", "type": "Conv2d", "in_channels": 6, "out_channels": 16, "kernel_size": 5},
            {"name": "pool2", "type": "AvgPool2d", "kernel_size": 2, "stride": 2},
            {"name": "flatten", "type": "Flatten"},
            {"name": "fc", "type": "Linear", "in_features": 400, "out_features": 10},
        ],
    }


def test_002_every_layers_name_and_output_shape_in_order() -> None:
    found = netspec.shapes(lenet(), image=(1, 1, 28, 28))
    assert [
        (layer["name"], layer["type"], layer["outputs"]["out"]["shape"]) for layer in found["layers"]
    ] == [
        ("conv1", "Conv2d", [1, 6, 28, 28]),
        ("act1", "Sigmoid", [1, 6, 28, 28]),
        ("pool1", "AvgPool2d", [1, 6, 14, 14]),
        ("conv2", "Conv2d", [1, 16, 10, 10]),
        ("pool2", "AvgPool2d", [1, 16, 5, 5]),
        ("flatten", "Flatten", [1, 400]),
        ("fc", "Linear", [1, 10]),
    ]


def test_002_summary_names_every_layer_and_counts_parameters() -> None:
    text = netspec.load(lenet()).summary()
    for name in ("conv1", "pool1", "conv2", "flatten", "fc"):
        assert name in text
    total = 6 * 25 + 6 + 16 * 6 * 25 + 16 + 4010
    assert f"{total:,}" in text or str(total) in text


def test_002_net_fc_and_its_weight_are_read_and_assigned() -> None:
    net = netspec.load(lenet())
    assert net.fc.weight.shape == (10, 400)
    net.fc.weight = np.zeros((10, 400), np.float32)
    net.fc.bias = np.arange(10, dtype=np.float32)
    y = net(np.ones((3, 1, 28, 28), np.float32))
    np.testing.assert_array_equal(y, np.tile(np.arange(10, dtype=np.float32), (3, 1)))
    with pytest.raises(netspec.NetspecError):
        net.fc.weight = np.zeros((10, 401), np.float32)


def test_002_a_layer_is_replaced() -> None:
    net = netspec.load(lenet())
    kept = np.array(net.conv1.weight)
    net.fc = netspec.layers.Linear(400, 2)
    assert net(np.ones((1, 1, 28, 28), np.float32)).shape == (1, 2)
    np.testing.assert_array_equal(net.conv1.weight, kept)


def test_002_children_and_slices_of_them() -> None:
    children = list(netspec.load(lenet()).children())
    assert [child.name for child in children[-3:]] == ["pool2", "flatten", "fc"]
    assert [child.type for child in children[:2]] == ["Conv2d", "Sigmoid"]


def test_002_add_module_transposed_convolution() -> None:
    classes = 21
    mapping = one_layer(["N", 8, 10, 15], type="Conv2d", in_channels=8, out_channels=classes, kernel_size=1)
    net = netspec.load(mapping)
    upsample = netspec.layers.ConvTranspose2d(classes, classes, kernel_size=64, padding=16, stride=32)
    net.add_module("transpose_conv", upsample)
    assert [child.name for child in net.children()] == ["layer", "transpose_conv"]
    assert net(np.ones((1, 8, 10, 15), np.float32)).shape == (1, classes, 320, 480)


def test_002_batches_give_what_all_at_once_gives() -> None:
    net = netspec.load(lenet())
    x = np.random.default_rng(0).normal(size=(18, 1, 28, 28)).astype(np.float32)
    parts = [net(x[start : start + 7]) for start in range(0, 18, 7)]
    np.testing.assert_allclose(np.concatenate(parts), net(x), rtol=1e-5, atol=1e-5)


def test_002_detach_is_the_identity() -> None:
    np.testing.assert_array_equal(apply([1.0, -2.0], type="detach"), [1.0, -2.0])


@pytest.mark.parametrize(("dim", "shape"), [(0, (6, 3)), (1, (2, 9))])
def test_002_cat(dim: int, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    mapping = one_layer([2, 3], type="cat", inputs=["x", "x", "x"], dim=dim)
    y = netspec.load(mapping)(x)
    assert y.shape == shape
    np.testing.assert_array_equal(y, np.concatenate([x, x, x], dim))


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((1, 1, 3), {"dim": 1}, (1, 3)),
        ((1, 1, 3), {"dim": 2}, (1, 1, 3)),
        ((1, 1, 3), {}, (3,)),
        ((2, 1, 3, 1), {}, (2, 3)),
    ],
    ids=str,
)
def test_002_squeeze(shape: tuple[int, ...], options: dict[str, Any], expected: tuple[int, ...]) -> None:
    mapping = one_layer(shape, type="squeeze", **options)
    assert netspec.load(mapping)(np.ones(shape, np.float32)).shape == expected


@pytest.mark.parametrize(
    ("dim", "expected"),
    [(0, (1, 2, 3)), (1, (2, 1, 3)), (2, (2, 3, 1)), (-1, (2, 3, 1)), (-2, (2, 1, 3)), (-3, (1, 2, 3))],
)
def test_002_unsqueeze(dim: int, expected: tuple[int, ...]) -> None:
    assert apply(np.ones((2, 3)), type="unsqueeze", dim=dim).shape == expected


def test_002_to_device() -> None:
    net = netspec.load(lenet())
    x = np.ones((1, 1, 28, 28), np.float32)
    before = net(x)
    net.to("cpu")
    np.testing.assert_array_equal(net(x), before)


def test_002_complex_tensors() -> None:
    z = np.array([3 + 4j, -1j], np.complex64)
    mapping = {
        "netspec": 1,
        "inputs": {"z": {"shape": [2], "dtype": "complex64"}},
        "layers": [{"name": "twice", "type": "mul", "other": 2}, {"name": "size", "type": "abs"}],
    }
    found = netspec.load(mapping).run({"z": z}, taps=["twice"])
    np.testing.assert_allclose(found["twice"], 2 * z)
    assert found["size"].dtype == np.float32
    np.testing.assert_allclose(found["size"], [10, 2])


@pytest.mark.parametrize(
    ("size", "stride", "kernel", "padding"), [(6, 2, 3, 1), (5, 2, 3, 1), (7, 2, 3, 0), (8, 2, 3, 0)]
)
def test_002_convolutions_of_different_sizes_give_the_same(
    size: int, stride: int, kernel: int, padding: int
) -> None:
    options = {"kernel_size": kernel, "stride": stride, "padding": padding}
    assert conv(np.ones((1, 1, size, size)), **options).shape == (1, 1, 3, 3)


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_002_output_padding_of_stride_minus_one_multiplies_the_size(stride: int, kernel: int) -> None:
    options = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": (kernel - 1) // 2,
        "output_padding": stride - 1,
    }
    mapping = one_layer(["N", 1, "H", "W"], type="ConvTranspose2d", in_channels=1, out_channels=1, **options)
    shape = netspec.shapes(mapping)["outputs"]["layer"]["shape"]
    assert shape == ["N", 1, f"{stride}*H", f"{stride}*W"]
    assert up(np.ones((1, 1, 6, 5)), **options).shape == (1, 1, 6 * stride, 5 * stride)


def test_002_einsum() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 3), (3, 4)))
    for equation, expected in (("ij,jk->ik", a @ b), ("ij,jk", a @ b), ("ij,jk->", (a @ b).sum())):
        mapping = {
            "netspec": 1,
            "inputs": {"a": [2, 3], "b": [3, 4]},
            "layers": [{"type": "einsum", "inputs": ["a", "b"], "equation": equation}],
        }
        np.testing.assert_allclose(netspec.load(mapping)(a, b), expected, rtol=1e-5, atol=1e-6)


def test_002_permute() -> None:
    np.testing.assert_array_equal(apply([[1, 2], [3, 4]], type="permute", dims=[1, 0]), [[1, 3], [2, 4]])
    np.testing.assert_array_equal(apply([[1, 2], [3, 4]], type="transpose", dim0=0, dim1=1), [[1, 3], [2, 4]])
    assert apply(np.ones((2, 3, 4, 5)), type="permute", dims=[0, 2, 3, 1]).shape == (2, 4, 5, 3)


# --- document 003: convolution of a picture, pooling, linear, activations -----------------------------


@pytest.mark.parametrize(("rank", "shape"), [(1, (1, 4, 6)), (2, (1, 4, 6, 6)), (3, (1, 4, 6, 6, 6))])
def test_003_convolutions_of_one_two_and_three_dimensions(rank: int, shape: tuple[int, ...]) -> None:
    x = np.ones((1, 3, *(8,) * rank), np.float32)
    y = apply(
        x, type=f"Conv{rank}d", in_channels=3, out_channels=4, kernel_size=3, bias=False, init={"weight": 1}
    )
    assert y.shape == shape
    np.testing.assert_array_equal(y, np.full(shape, 3 * 3**rank))


@pytest.mark.parametrize("method", ["xavier_normal", "xavier_uniform"])
def test_003_convolution_of_a_picture_1000_to_998(method: str) -> None:
    mapping = one_layer(
        [1, 3, 1000, 1000],
        type="Conv2d",
        in_channels=3,
        out_channels=1,
        kernel_size=3,
        init={"weight": {"method": method}},
    )
    net = netspec.load(mapping)
    weight = np.array(net["layer"].weight)
    std = np.sqrt(2 / (3 * 9 + 1 * 9))
    assert 0.5 * std < weight.std() < 2 * std
    assert net(np.ones((1, 3, 1000, 1000), np.float32)).shape == (1, 1, 998, 998)


def test_003_transposed_convolution_of_a_picture_1000_to_2001() -> None:
    init = {"weight": {"method": "xavier_normal"}}
    y = apply(
        np.ones((1, 3, 1000, 1000)),
        type="ConvTranspose2d",
        in_channels=3,
        out_channels=1,
        kernel_size=3,
        stride=2,
        init=init,
    )
    assert y.shape == (1, 1, 2001, 2001)


@pytest.mark.parametrize(("type_name", "corner"), [("MaxPool2d", 5.0), ("AvgPool2d", 2.5)])
def test_003_pooling_halves_a_picture(type_name: str, corner: float) -> None:
    y = apply(np.arange(16.0).reshape(1, 1, 4, 4), type=type_name, kernel_size=[2, 2], stride=[2, 2])
    np.testing.assert_array_equal(y[0, 0], [[corner, corner + 2], [corner + 8, corner + 10]])
    assert netspec.shapes(one_layer([1, 3, 1000, 1000], type=type_name, kernel_size=[2, 2], stride=[2, 2]))[
        "outputs"
    ]["layer"]["shape"] == [1, 3, 500, 500]


def test_003_avg_pool2d_divisors() -> None:
    x = np.ones((1, 1, 2, 2), np.float32)
    options = {"type": "AvgPool2d", "kernel_size": 2, "stride": 2, "padding": 1}
    np.testing.assert_array_equal(apply(x, **options)[0, 0], [[0.25, 0.25], [0.25, 0.25]])
    np.testing.assert_array_equal(apply(x, **options, count_include_pad=False)[0, 0], [[1, 1], [1, 1]])
    np.testing.assert_array_equal(apply(x, **options, divisor_override=2)[0, 0], [[0.5, 0.5], [0.5, 0.5]])


def test_003_max_unpool2d_puts_values_at_the_pools_indices() -> None:
    image = array([[[[0, 4, 4, 3], [3, 3, 1, 1], [4, 2, 3, 4], [1, 3, 3, 0]]]])
    reconstruct = array([[[[-1, -0.5], [0.25, 2]]]])
    mapping = {
        "netspec": 1,
        "inputs": {"image": [1, 1, 4, 4], "reconstruct": [1, 1, 2, 2]},
        "layers": [
            {
                "name": "pool",
                "type": "MaxPool2d",
                "inputs": "image",
                "kernel_size": [2, 2],
                "stride": [2, 2],
                "return_indices": True,
            },
            {
                "name": "unpool",
                "type": "MaxUnpool2d",
                "inputs": ["reconstruct", "pool.indices"],
                "kernel_size": [2, 2],
                "stride": [2, 2],
            },
        ],
    }
    found = netspec.load(mapping).run(
        {"image": image, "reconstruct": reconstruct}, taps=["pool", "pool.indices"]
    )
    np.testing.assert_array_equal(found["pool"], [[[[4, 4], [4, 4]]]])
    np.testing.assert_array_equal(found["pool.indices"], [[[[1, 2], [8, 11]]]])
    np.testing.assert_array_equal(
        found["unpool"], [[[[0, -1, -0.5, 0], [0, 0, 0, 0], [0.25, 0, 0, 2], [0, 0, 0, 0]]]]
    )


@pytest.mark.parametrize(
    ("bias", "expected"), [(0, [6, 12, 18, 24]), (0.5, [6.5, 12.5, 18.5, 24.5])], ids=["bias 0", "bias 0.5"]
)
@pytest.mark.parametrize("how", ["init", "weights"])
def test_003_linear(bias: float, expected: list[float], how: str) -> None:
    rows = [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0], [4.0, 4.0, 4.0]]
    layer: dict[str, Any] = {"type": "Linear", "in_features": 3, "out_features": 4}
    if how == "init":
        net = netspec.load(one_layer(["N", 3], **layer, init={"weight": rows, "bias": bias}))
    else:
        weights = {"layer.weight": array(rows), "layer.bias": np.full(4, bias, np.float32)}
        net = netspec.load(one_layer(["N", 3], **layer), weights=weights)
    np.testing.assert_array_equal(net(array([[1, 2, 3]])), [expected])


def test_003_prelu_has_a_slope_for_each_channel() -> None:
    mapping = one_layer([1, 3], type="PReLU", num_parameters=3)
    net = netspec.load(mapping)
    np.testing.assert_array_equal(net["layer"].weight, array([0.25] * 3))
    np.testing.assert_array_equal(net(array([[-4, 4, -8]])), [[-1, 4, -2]])
    np.testing.assert_array_equal(apply([-4.0, 4.0], type="PReLU", init=0.5), [-2, 4])


def test_003_rrelu_in_eval_takes_the_middle_slope_and_in_train_one_between() -> None:
    np.testing.assert_allclose(apply([-1.0, 2.0], type="RReLU", lower=0.1, upper=0.3), [-0.2, 2.0], rtol=1e-6)
    y = apply(-np.ones(1000), mode="train", type="RReLU", lower=0.1, upper=0.3)
    assert -0.3 <= y.min() < y.max() <= -0.1


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ({"type": "Sigmoid"}, [1 / (1 + np.e), 1 / (1 + np.exp(-2))]),
        ({"type": "Tanh"}, [np.tanh(-1), np.tanh(2)]),
        ({"type": "ReLU"}, [0, 2]),
        ({"type": "LeakyReLU", "negative_slope": 0.1}, [-0.1, 2]),
    ],
    ids=str,
)
def test_003_activations(layer: dict[str, Any], expected: list[float]) -> None:
    np.testing.assert_allclose(apply([-1.0, 2.0], **layer), expected, rtol=1e-6)


PICTURE = """\
netspec: 1
inputs: {image: [N, 3, H, W]}
layers:
  - {type: Conv2d, in_channels: 3, out_channels: 1, kernel_size: 3, bias: false, init: {weight: 0.03}}
"""


def test_003_a_picture_is_read_as_rgb_run_and_the_result_shown_as_one(tmp_path: Path) -> None:
    pictures = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    pictures.fromarray(pixels).save(tmp_path / "pig.png")
    (tmp_path / "net.yaml").write_text(PICTURE)
    command = [sys.executable, "-m", "netspec", "run", "net.yaml", "--input", "pig.png"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    y = np.load(tmp_path / "output.npy")
    assert y.shape == (1, 1, 8, 10)
    np.testing.assert_allclose(y[0, 0, 0, 0], 0.03 * pixels[:3, :3].sum() / 255, rtol=1e-4)
    low, high = y.min(), y.max()
    grey = np.round((y[0, 0] - low) / (high - low) * 255).astype(np.uint8)
    pictures.fromarray(grey).save(tmp_path / "out.png")
    with pictures.open(tmp_path / "out.png") as shown:
        assert shown.size == (10, 8)


# --- document 004: Conv1d and Conv2d ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"kernel_size": 3, "stride": 2}, (20, 33, 24, 49)),
        ({"kernel_size": [3, 5], "stride": [2, 1], "padding": [4, 2]}, (20, 33, 28, 100)),
        ({"kernel_size": [3, 5], "stride": [2, 1], "padding": [4, 2], "dilation": [3, 1]}, (20, 33, 26, 100)),
    ],
    ids=str,
)
def test_004_conv2d_shapes(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    mapping = one_layer([20, 16, 50, 100], type="Conv2d", in_channels=16, out_channels=33, **options)
    assert netspec.shapes(mapping)["outputs"]["layer"]["shape"] == list(shape)
    assert netspec.load(mapping)(np.ones((20, 16, 50, 100), np.float32)).shape == shape


@pytest.mark.parametrize(
    ("mode", "ends"), [("zeros", (0, 0)), ("circular", (4, 1)), ("reflect", (2, 3)), ("replicate", (1, 4))]
)
def test_004_conv1d_padding_modes(mode: str, ends: tuple[int, int]) -> None:
    y = conv([[[1.0, 2.0, 3.0, 4.0]]], "Conv1d", kernel_size=1, padding=1, padding_mode=mode)
    np.testing.assert_array_equal(y[0, 0], [2 * ends[0], 2, 4, 6, 8, 2 * ends[1]])


@pytest.mark.parametrize("groups", [1, 2, 16])
def test_004_groups_from_all_inputs_to_one_each(groups: int) -> None:
    mapping = one_layer(
        [20, 16, 50], type="Conv1d", in_channels=16, out_channels=32, kernel_size=3, groups=groups
    )
    found = netspec.shapes(mapping)
    assert found["outputs"]["layer"]["shape"] == [20, 32, 48]
    assert found["parameters"] == 32 * (16 // groups) * 3 + 32
