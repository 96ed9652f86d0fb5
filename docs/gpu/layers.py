"""Single layers on the device: every case of the tests, in its own type and in narrower ones, and every refusal.

Part of `gpu_report.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

import netspec
from docs.gpu.checks import Check, Finding, Place, again, excess, relative, verdict, widened
from netspec.runtime.network import Network
from tests.configs.filling import weights_of
from tests.layers.oracle import Case, make_inputs
from tests.layers.test_values import CASES, REJECTIONS, golden, mapping_of, weights_for

WIDE_TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
"""Of a layer case from the CPU's float64, relative and absolute, unless the case itself allows more."""

NARROW_TOLERANCE = {"float16": 2e-2, "bfloat16": 1e-1}
"""The same of a float32 case that is computed in a narrower type, channels last."""

EDGES = (
    "CELU(alpha=-2.0) on literal edges",
    "exp() on literal",
    "RMSNorm(normalized_shape=3) on literal tiny",
    "Upsample(scale_factor=[1, 1.15]) on 1x1x2x100",
)
"""Cases whose result is another one in float64: beyond the largest float32, with the dtype's own epsilon, at places
that are rounded in float32. They are compared with torch alone."""

STEEP = "literal large"
"""The end of cases whose inputs are too large for the places behind the point of a narrow type."""

STRICT_ALLOWED = 5e-6
"""Largest difference of a strict float32 layer from float64, as a part of the largest number: float32 sums of so
many products have about 5e-7, TF32 would have about 3e-4."""

STRICT: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "Conv2d 3x3": ({"type": "Conv2d", "out_channels": 64, "kernel_size": 3, "padding": 1}, (2, 128, 14, 14)),
    "Conv2d 1x1": ({"type": "Conv2d", "out_channels": 64, "kernel_size": 1}, (2, 512, 7, 7)),
    "Conv2d 5x5 stride 2": ({"type": "Conv2d", "out_channels": 32, "kernel_size": 5, "stride": 2}, (2, 48, 19, 19)),
    "Conv2d 4 groups": ({"type": "Conv2d", "out_channels": 64, "kernel_size": 3, "groups": 4}, (2, 128, 9, 9)),
    "Conv2d depthwise": ({"type": "Conv2d", "out_channels": 64, "kernel_size": 3, "groups": 64}, (2, 64, 14, 14)),
    "Conv1d": ({"type": "Conv1d", "out_channels": 64, "kernel_size": 9}, (2, 128, 100)),
    "Conv3d": ({"type": "Conv3d", "out_channels": 32, "kernel_size": 3, "padding": 1}, (1, 32, 6, 7, 8)),
    "ConvTranspose2d": ({"type": "ConvTranspose2d", "out_channels": 64, "kernel_size": 4, "stride": 2, "padding": 1},
                        (2, 256, 7, 7)),
    "Linear": ({"type": "Linear", "out_features": 256}, (16, 2048)),
}  # fmt: skip

TORCH = "layer cases: torch's values"
WIDE = "layer cases: float64 of the CPU"
NARROW = "layer cases in float16 and bfloat16: float64 of the CPU"
REFUSED = "refusals: what torch refuses is refused"
STRICTLY = f"strict float32 is float32 (allowed {STRICT_ALLOWED:g})"


@functools.cache
def cases() -> dict[tuple[str, str], Case]:
    """By family and id."""
    return {(family, case.id): case for family, case in CASES}


def one_case(check: Check, place: Place) -> Iterator[Finding]:
    case = cases()[check.kind, check.name]
    mapping = mapping_of(case)
    weights = None if case.type.endswith("Loss") else weights_for(mapping, case.dtype)
    given = {f"x{i}": a for i, a in enumerate(make_inputs(case))}
    expected = {
        key.rsplit("|", 1)[1]: value
        for key, value in golden(check.kind).items()
        if key.rsplit("|", 1)[0] == case.id
    }
    ports = [port for port in expected if not port.startswith("state:")]
    taps = {port: "layer" if port == "out" else f"layer.{port}" for port in ports}

    def load(**cuda: Any) -> Network:
        return netspec.load(mapping, weights=weights, dtype=case.dtype, mode=case.mode, device=place.name,
                            precision="highest", cuda=cuda)  # fmt: skip

    net = load()
    found = net.run(given, taps=taps.values())
    apart = max((excess(found[taps[port]], expected[port], case.tolerance) for port in ports), default=0.0)
    for key, value in expected.items():
        if key.startswith("state:"):
            state = net.state_dict()[f"layer.{key.removeprefix('state:')}"]
            apart = max(apart, excess(state, value, case.tolerance))
    yield verdict(TORCH, apart)
    if case.mode == "eval":
        yield again(lambda net: net.run(given, taps=taps.values()), net, found, load)
    if case.dtype in WIDE_TOLERANCE and case.id not in EDGES:
        wide = None if weights is None else {name: widened(array) for name, array in weights.items()}
        reference = netspec.load(mapping, weights=wide, dtype="float64", mode=case.mode)
        exact = reference.run({name: widened(x) for name, x in given.items()}, taps=taps.values())
        tolerance = max(WIDE_TOLERANCE[case.dtype], case.tolerance)
        apart = max((excess(found[tap], exact[tap], tolerance, False) for tap in taps.values()), default=0.0)
        yield verdict(WIDE, apart)


def narrows(case: Case) -> bool:
    """Whether a case is also run in narrower types."""
    takes_floats = any(np.dtype(arg.dtype).kind in "fc" for arg in case.inputs) or not case.inputs
    plain = case.dtype == "float32" and case.mode == "eval"
    return plain and takes_floats and case.id not in EDGES and STEEP not in case.id


def narrow_case(check: Check, place: Place) -> Iterator[Finding]:
    family, dtype = check.kind.split(", ")
    case = cases()[family, check.name]
    mapping = mapping_of(case)
    weights = None if case.type.endswith("Loss") else weights_for(mapping, case.dtype)

    def load(**cuda: Any) -> Network:
        return netspec.load(mapping, weights=weights, dtype=dtype, device=place.name, cuda=cuda)

    net = load()
    given = {
        f"x{i}": a.astype(net.dtype) if a.dtype == np.float32 else a for i, a in enumerate(make_inputs(case))
    }
    found = net.run(given)
    wide = None if weights is None else {name: widened(array) for name, array in weights.items()}
    exact = netspec.load(mapping, weights=wide, dtype="float64").run(
        {k: widened(x) for k, x in given.items()}
    )
    tolerance = NARROW_TOLERANCE[dtype]
    apart = max((excess(found[name], exact[name], tolerance, False) for name in exact), default=0.0)
    yield verdict(NARROW, apart)
    yield again(lambda net: net.run(given), net, found, load)


def refusal(check: Check, place: Place) -> Iterator[Finding]:
    case = next(case for family, case in REJECTIONS if (family, case.id) == (check.kind, check.name))
    try:
        net = netspec.load(mapping_of(case), mode=case.mode, device=place.name)
        net.run({f"x{i}": a for i, a in enumerate(make_inputs(case))})
    except netspec.NetspecError:
        yield Finding(REFUSED)
    else:
        yield Finding(REFUSED, error="was not refused")


def strict(check: Check, place: Place) -> Iterator[Finding]:
    layer, shape = STRICT[check.name]
    mapping = {"netspec": 1, "inputs": {"x": list(shape)}, "layers": [{"name": "layer", **layer}]}
    analysed = netspec.load(mapping)
    weights = weights_of({name: array.shape for name, array in analysed.state_dict().items()})
    x = np.random.RandomState(0).standard_normal(shape).astype(np.float32)
    net = netspec.load(mapping, weights=weights, device=place.name, precision="highest",
                       autotune=check.kind == "autotuned")  # fmt: skip
    wide = {name: widened(array) for name, array in weights.items()}
    exact = netspec.load(mapping, weights=wide, dtype="float64")(widened(x))
    for _ in range(2):
        apart = relative({"y": net(x)}, {"y": exact}, 1.0)
        yield verdict(STRICTLY, apart / STRICT_ALLOWED, "not float32: ")
