"""Whole networks on the device: those of configs/, and some with the layers that these lack, in every kind.

Part of `gpu_report.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

import netspec
from docs.gpu.checks import Check, Finding, Place, again, relative, same_bits, verdict, widened
from netspec.analysis import analyse_mapping
from netspec.graph.infer import states_of
from netspec.runtime.network import Network
from tests.configs.cases import CONFIGS, DENSE, SHAPES, inputs_of
from tests.configs.filling import shapes_of, weights_of
from tests.configs.published import PARAMETERS as PUBLISHED
from tests.configs.published import picture

_CONVOLUTION = {"type": "Conv2d", "out_channels": 16, "kernel_size": 3, "padding": 1}
_POINTWISE = {"type": "Conv3d", "out_channels": 16, "kernel_size": 1}

MADE: dict[str, tuple[tuple[int, ...], list[dict[str, Any]]]] = {
    "made: resized": (
        (2, 3, 6, 5),
        [
            _CONVOLUTION, {"type": "Upsample", "scale_factor": 2},
            _CONVOLUTION, {"type": "Upsample", "scale_factor": 1.5, "mode": "bilinear"},
            _CONVOLUTION, {"type": "interpolate", "size": [11, 9], "mode": "bicubic", "align_corners": True},
            _CONVOLUTION, {"type": "interpolate", "size": [6, 5], "mode": "bilinear", "antialias": True},
            _CONVOLUTION, {"type": "interpolate", "scale_factor": 0.7, "mode": "area"}, {"type": "PixelShuffle",
                                                                                         "upscale_factor": 2},
        ],
    ),
    "made: pooled": (
        (2, 3, 17, 15),
        [
            _CONVOLUTION, {"type": "MaxPool2d", "kernel_size": 3, "stride": 2, "padding": 1},
            _CONVOLUTION, {"type": "AvgPool2d", "kernel_size": 2, "stride": 1},
            _CONVOLUTION, {"type": "LPPool2d", "norm_type": 2, "kernel_size": 2, "stride": 1},
            _CONVOLUTION, {"name": "pool", "type": "MaxPool2d", "kernel_size": 2, "return_indices": True},
            {"type": "MaxUnpool2d", "kernel_size": 2, "inputs": ["pool", "pool.indices"]},
            _CONVOLUTION, {"type": "AdaptiveMaxPool2d", "output_size": [4, 3]},
            _CONVOLUTION, {"type": "AdaptiveAvgPool2d", "output_size": [3, 2]},
            _CONVOLUTION, {"type": "AvgPool2d", "kernel_size": [3, 2]},
        ],
    ),
    "made: normalised": (
        (2, 3, 9, 7),
        [
            _CONVOLUTION, {"type": "GroupNorm", "num_groups": 4, "num_channels": 16}, {"type": "GELU"},
            _CONVOLUTION, {"type": "InstanceNorm2d", "affine": True}, {"type": "PReLU", "num_parameters": 16},
            _CONVOLUTION, {"type": "LocalResponseNorm", "size": 3},
            _CONVOLUTION, {"type": "LayerNorm", "normalized_shape": [9, 7]}, {"type": "ReflectionPad2d", "padding": 2},
            _CONVOLUTION, {"type": "Softmax2d"}, {"type": "sum", "dim": [2, 3]}, {"type": "LogSoftmax", "dim": 1},
        ],
    ),
    "made: volumes": (
        (1, 3, 6, 5, 4),
        [
            _POINTWISE, {"type": "Upsample", "scale_factor": 2, "mode": "trilinear"},
            _POINTWISE, {"type": "Upsample", "scale_factor": [1, 2, 1], "mode": "nearest"},
            _POINTWISE, {"type": "MaxPool3d", "kernel_size": 2}, {"type": "InstanceNorm3d"},
            {"type": "ConvTranspose3d", "out_channels": 16, "kernel_size": 3, "stride": 2},
            {"type": "AdaptiveAvgPool3d", "output_size": 2}, {"type": "Flatten"}, {"type": "Linear", "out_features": 9},
        ],
    ),
}  # fmt: skip
"""Name -> shape of the input, and layers: those that configs/ has nowhere with many channels side by side, so that
their kernels for that layout run in every kind."""

NETWORKS = (*MADE, *SHAPES, *DENSE, *PUBLISHED)
"""Also all of configs/, at the sizes of its tests."""

SMALL = (*MADE, "lenet5", "autoencoder", "siamese", "segmentation", "m5_audio", "mtcnn_rnet")
"""Those of a quick run."""

KINDS: dict[str, tuple[dict[str, Any], float]] = {
    "float32 strict": ({"precision": "highest"}, 2e-5),
    "TF32": ({"precision": "high"}, 1e-2),
    "float16": ({"dtype": "float16"}, 1e-2),
    "bfloat16": ({"dtype": "bfloat16"}, 6e-2),
}
"""Kind -> how a network is loaded, and its largest difference from the CPU's float64, as a part of the largest
number of an output. TF32 rounds what is multiplied to as many bits as float16 has."""

SENSITIVE = {"mobilenet_v2": 4.0, "segnet": 4.0}
"""Network -> how much more it is allowed. On made-up weights the narrow layers of MobileNetV2 make ten times as much
of a rounding as other networks do, in float32 and on the CPU too; SegNet chooses (see CHOOSING) in five layers."""

CHOOSING = {"autoencoder": 0.97, "segnet": 0.8}
"""Networks that put numbers where a maximum was: which of two nearly equal ones is larger changes with rounding, so
in kinds that round to fewer bits than float32 the root of the mean square is compared, and of the whole numbers this
part must be equal."""

SAME_CHOICES = 0.97
"""The same part in other networks: classes of a picture's points."""

SAME = "deterministic: the same bits"
"""The line of the table; the number of runs follows."""

DETERMINISTIC = ("lenet5", "resnet18", "unet", "dcgan_generator", "mobilenet_v2", "autoencoder")
RUNS, HOST_RUNS = 20, 3

RUNS, HOST_RUNS = 20, 3


def source_of(name: str) -> Any:
    """What is loaded: a file of configs/, or a mapping."""
    if name not in MADE:
        return CONFIGS / f"{name}.yaml"
    shape, layers = MADE[name]
    return {"netspec": 1, "inputs": {"x": list(shape)}, "layers": layers}


@functools.lru_cache(maxsize=1)
def weights_and_inputs(name: str) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """What a network is run on; None: the weights that it has."""
    if name in MADE:
        shaped = analyse_mapping(source_of(name)).shaped
        assert shaped is not None
        x = np.random.RandomState(0).random_sample(MADE[name][0]).astype(np.float32)
        return weights_of({key: state.shape for key, state in states_of(shaped).items()}), {"x": x}
    weights = None if name in SHAPES else weights_of(shapes_of(CONFIGS / f"{name}.yaml"))
    return weights, {"image": picture()} if name in PUBLISHED else inputs_of(name)


@functools.lru_cache(maxsize=1)
def exact_outputs(name: str) -> dict[str, Any]:
    """float64 on the CPU."""
    weights, inputs = weights_and_inputs(name)
    net = netspec.load(source_of(name), weights=weights, dtype="float64", precision="highest")
    return net.run({key: widened(array) for key, array in inputs.items()})


def load_network(name: str, place: Place, **options: Any) -> Network:
    """A network on the device, on its own weights or made-up ones."""
    weights, _ = weights_and_inputs(name)
    return netspec.load(source_of(name), weights=weights, device=place.name, **options)


def inputs_for(net: Network, name: str) -> dict[str, Any]:
    """The network's inputs in the dtype that it takes."""
    _, inputs = weights_and_inputs(name)
    return {key: array.astype(net.dtype) for key, array in inputs.items()}


def network(check: Check, place: Place) -> Iterator[Finding]:
    options, allowed = KINDS[check.kind]
    part = f"networks: {check.kind} (allowed {allowed:g})"
    net = load_network(check.name, place, **options)
    inputs = inputs_for(net, check.name)
    found = net.run(inputs)
    exact = exact_outputs(check.name)
    if check.kind == "float32 strict":
        apart = relative(found, exact, 1.0)
    else:
        apart = relative(found, exact, CHOOSING.get(check.name, SAME_CHOICES), check.name in CHOOSING)
    yield verdict(part, apart / (allowed * SENSITIVE.get(check.name, 1.0)))

    def load(**cuda: Any) -> Network:
        return load_network(check.name, place, **options, cuda=cuda)

    yield again(lambda net: net.run(inputs), net, found, load)


def repeated(check: Check, place: Place) -> Iterator[Finding]:
    options, _ = KINDS[check.kind]
    runs = HOST_RUNS if place.host else RUNS
    part = f"{SAME} in {runs} runs"
    net = load_network(check.name, place, **options, cuda={"deterministic": True})
    inputs = inputs_for(net, check.name)
    first = net.run(inputs)
    finding = Finding(part)
    for number in range(1, runs):
        finding = same_bits(part, first, net.run(inputs), f"run {number + 1} gives other bits than the first")
        if finding.error is not None:
            break
    yield finding
    other = load_network(check.name, place, **options, cuda={"deterministic": True})
    yield same_bits(part, first, other.run(inputs), "the same network, loaded again, gives other bits")
