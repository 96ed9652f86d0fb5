"""Depthwise convolution against the sum over its taps, in every layout and form."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy_kernels import BACKEND, channels_last, run, tolerance, values

from netspec.backends.base import Context
from netspec.backends.numpy import depthwise
from netspec.operations import RUNNING, Convolution, Elementwise, Fused, Stage

quick = settings(max_examples=60, deadline=None)
ANY = st.sampled_from([np.float32, np.float64, np.float16, np.complex64, np.int64])
LAYOUT = st.sampled_from([{}, {"messy": True}, {"last": True}])


def output_size(op: Convolution, size: Any, kernel: Any) -> tuple[int, ...]:
    return tuple(
        (s + sum(pad) - dilation * (k - 1) - 1) // stride + 1
        for s, pad, dilation, k, stride in zip(size, op.padding, op.dilation, kernel, op.stride, strict=True)
    )


def expected(op: Convolution, x: Any, weight: Any, bias: Any) -> Any:
    """x (n, g, *s), weight (g*m, 1, *k), bias (g*m,): in the widest type of the kind."""
    kernel = weight.shape[2:]
    size = output_size(op, x.shape[2:], kernel)
    wide = {"f": np.float64, "c": np.complex128, "i": np.int64}[x.dtype.kind]
    padded = np.pad(x.astype(wide), [(0, 0), (0, 0), *op.padding])
    each = len(weight) // x.shape[1]
    total = np.zeros((len(x), len(weight), *size), wide) + bias.astype(wide).reshape(-1, *(1 for _ in size))
    for tap in itertools.product(*map(range, kernel)):
        index = tuple(
            slice(t * d, t * d + (count - 1) * s + 1, s)
            for t, d, s, count in zip(tap, op.dilation, op.stride, size, strict=True)
        )
        part = padded[(..., *index)].repeat(each, axis=1)
        total += part * weight[(slice(None), 0, *tap)].astype(wide).reshape(-1, *(1 for _ in size))
    return total


@st.composite
def geometry(draw: Any) -> dict[str, Any]:
    rank = draw(st.integers(1, 3))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    return {
        "size": each(1, 9 if rank < 3 else 5),
        "kernel": each(1, 4 if rank < 3 else 3),
        "stride": each(1, 3),
        "dilation": each(1, 2),
        "padding": tuple(zip(each(0, 4), each(0, 4), strict=True)),
        "groups": draw(st.integers(2, 5)),
        "multiplier": draw(st.sampled_from([1, 1, 2, 3])),
        "n": draw(st.integers(1, 3)),
    }


@quick
@given(geometry(), ANY, LAYOUT, st.integers(1, 2), st.sampled_from([0, 1 << 12, 1 << 30]), st.booleans())
def test_depthwise_is_the_sum_over_its_taps(
    g: dict[str, Any], dtype: Any, layout: Any, lanes: int, region: int, small: bool
) -> None:
    op = Convolution(g["stride"], g["padding"], g["dilation"], g["groups"])
    assume(min(output_size(op, g["size"], g["kernel"])) > 0)
    x = values(1, (g["n"], g["groups"], *g["size"]), dtype)
    weight = values(2, (g["groups"] * g["multiplier"], 1, *g["kernel"]), dtype)
    bias = values(3, (len(weight),), dtype)
    wanted = expected(op, x, weight, bias)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(depthwise, "REGION_ELEMENTS", region)  # without a border, by cost, with a border
        patch.setattr("netspec.backends.numpy.arrays.SPREAD_ELEMENTS", 0)
        if small:
            patch.setattr(depthwise, "BLOCK_ELEMENTS", 40)
            patch.setattr(depthwise, "RUN_ELEMENTS", 12)
        result = run(op, [x, weight, bias], (wanted.shape, dtype), lanes=lanes, **layout)
    np.testing.assert_allclose(result, wanted, rtol=tolerance(dtype), atol=4 * tolerance(dtype))


@pytest.mark.parametrize("layout", [{}, {"last": True}])
@pytest.mark.parametrize(
    ("channels", "size", "stride"), [(32, 40, 1), (96, 33, 2), (144, 20, 1), (200, 14, 2), (1100, 7, 1)]
)
def test_sizes_of_mobile_networks(channels: int, size: int, stride: int, layout: Any) -> None:
    op = Convolution((stride, stride), ((1, 1), (1, 1)), (1, 1), channels)
    x, weight = values(1, (2, channels, size, size), np.float32), values(2, (channels, 1, 3, 3), np.float32)
    bias = values(3, (channels,), np.float32)
    wanted = expected(op, x, weight, bias)
    results = [
        run(op, [x, weight, bias], (wanted.shape, np.float32), lanes=lanes, **layout) for lanes in (1, 2, 3)
    ]
    np.testing.assert_allclose(results[0], wanted, rtol=2e-5, atol=2e-5)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_nothing_leaks_over_an_edge() -> None:
    """The columns of a row follow those of the row before: NaN and infinity must stay where they are."""
    x = np.ones((1, 4, 6, 6), np.float32)
    x[0, 1, 2, 5] = np.nan
    x[0, 2, 3, 0] = np.inf
    weight = np.ones((4, 1, 3, 3), np.float32)
    op = Convolution((1, 1), ((1, 1), (1, 1)), (1, 1), 4)
    result = run(op, [x, weight], (x.shape, np.float32), last=True)
    assert {tuple(place) for place in np.argwhere(np.isnan(result))} == {
        (0, 1, y, c) for y in (1, 2, 3) for c in (4, 5)
    }
    assert {tuple(place) for place in np.argwhere(np.isinf(result))} == {
        (0, 2, y, c) for y in (2, 3, 4) for c in (0, 1)
    }


@pytest.mark.parametrize("lanes", [1, 2])
def test_stages_finish_every_output_once(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthwise, "BLOCK_ELEMENTS", 1000)
    monkeypatch.setattr("netspec.backends.numpy.arrays.SPREAD_ELEMENTS", 0)
    x, weight = values(1, (2, 20, 12, 11)), values(2, (20, 1, 3, 3))
    more = values(3, (2, 20, 12, 11))
    op = Convolution((1, 1), ((1, 1), (1, 1)), (1, 1), 20)
    stages = (
        Stage(Elementwise("add", (1,)), (RUNNING, 2)),
        Stage(Elementwise("clamp", (0.0, 1.0)), (RUNNING,)),
    )
    result = run(Fused(op, 2, stages), [x, weight, more], (more.shape, np.float64), last=True, lanes=lanes)
    wanted = np.clip(expected(op, x, weight, np.zeros(20)) + more, 0, 1)
    np.testing.assert_allclose(result, wanted, atol=1e-12)


def test_fixed_weights_are_repeated_once() -> None:
    x, weight = channels_last(np.ones((1, 8, 5, 5))), values(2, (8, 1, 3, 3))
    out = channels_last(np.zeros((1, 8, 5, 5)))
    context = Context()
    context.origins[id(weight)] = ("state", "weight")
    op = Convolution((1, 1), ((1, 1), (1, 1)), (1, 1), 8)
    BACKEND.bind(op, [x, weight], [out], context)
    (form,) = context.prepared.values()
    form[...] = 1  # what a second executor of the network must read instead of making its own
    BACKEND.bind(op, [x, weight], [out], context)()
    assert out[0, 0, 2, 2] == 9
