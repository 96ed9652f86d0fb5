"""Transposed convolution against the scatter of its definition, in every layout and form."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy_kernels import BACKEND, channels_last, run, tolerance, values

from netspec.backends.base import Context
from netspec.backends.numpy import transposed
from netspec.operations import RUNNING, Elementwise, Fused, Stage, TransposedConvolution

quick = settings(max_examples=60, deadline=None)
ANY = st.sampled_from([np.float32, np.float64, np.float16, np.complex64, np.int64])
LAYOUT = st.sampled_from([{}, {"messy": True}, {"last": True}])


def output_size(op: TransposedConvolution, size: Any, kernel: Any, extra: Any) -> tuple[int, ...]:
    return tuple(
        (s - 1) * stride - 2 * cut + dilation * (k - 1) + 1 + more
        for s, stride, cut, dilation, k, more in zip(
            size, op.stride, op.padding, op.dilation, kernel, extra, strict=True
        )
    )


def expected(op: TransposedConvolution, x: Any, weight: Any, bias: Any, size: Any) -> Any:
    """x (n, g*c, *s), weight (g*c, o, *k), bias (g*o,): scattered into a large plane, then cut."""
    n, kernel, groups = len(x), weight.shape[2:], op.groups
    wide = {"f": np.float64, "c": np.complex128, "i": np.int64}[x.dtype.kind]
    per_group = x.shape[1] // groups
    source = x.astype(wide).reshape(n, groups, per_group, -1)
    filters = weight.astype(wide).reshape(groups, per_group, weight.shape[1], *kernel)
    room = [
        max(cut + count, (s - 1) * stride + dilation * (k - 1) + 1)
        for cut, count, s, stride, dilation, k in zip(
            op.padding, size, x.shape[2:], op.stride, op.dilation, kernel, strict=True
        )
    ]
    total = np.zeros((n, groups, weight.shape[1], *room), wide)
    for tap in itertools.product(*map(range, kernel)):
        part = np.einsum("ngcp,gco->ngop", source, filters[(..., *tap)])
        index = tuple(
            slice(t * d, t * d + (s - 1) * stride + 1, stride)
            for t, d, s, stride in zip(tap, op.dilation, x.shape[2:], op.stride, strict=True)
        )
        total[(..., *index)] += part.reshape(n, groups, -1, *x.shape[2:])
    index = tuple(slice(cut, cut + count) for cut, count in zip(op.padding, size, strict=True))
    result = total[(..., *index)].reshape(n, -1, *size)
    return result + bias.astype(wide).reshape(-1, *(1 for _ in size))


@st.composite
def geometry(draw: Any) -> dict[str, Any]:
    rank = draw(st.integers(1, 3))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    return {
        "size": each(1, 6 if rank < 3 else 4),
        "kernel": each(1, 5 if rank < 3 else 3),
        "stride": each(1, 3),
        "dilation": each(1, 3),
        "padding": each(0, 3),
        "extra": each(0, 2),
        "groups": draw(st.integers(1, 3)),
        "c": draw(st.integers(1, 3)),
        "o": draw(st.integers(1, 3)),
        "n": draw(st.integers(1, 3)),
    }


@quick
@given(geometry(), ANY, LAYOUT, st.integers(1, 2), st.booleans())
def test_transposed_convolution_is_the_scatter(
    g: dict[str, Any], dtype: Any, layout: Any, lanes: int, small: bool
) -> None:
    op = TransposedConvolution(g["stride"], g["padding"], g["dilation"], g["groups"])
    size = output_size(op, g["size"], g["kernel"], g["extra"])
    assume(min(size) > 0)
    x = values(1, (g["n"], g["groups"] * g["c"], *g["size"]), dtype)
    weight = values(2, (x.shape[1], g["o"], *g["kernel"]), dtype)
    bias = values(3, (g["groups"] * g["o"],), dtype)
    wanted = expected(op, x, weight, bias, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("netspec.backends.numpy.arrays.SPREAD_ELEMENTS", 0)
        if small:
            patch.setattr(transposed, "PRODUCT_ELEMENTS", 30)
            patch.setattr(transposed, "PRODUCT_COLUMNS", 6)
        result = run(op, [x, weight, bias], (wanted.shape, dtype), lanes=lanes, **layout)
    near = 8 * tolerance(dtype)
    np.testing.assert_allclose(result, wanted, rtol=near, atol=near)


@pytest.mark.parametrize("layout", [{}, {"last": True}])
@pytest.mark.parametrize(
    ("n", "c", "size", "o", "k", "stride", "cut", "extra"),
    [
        (4, 10, 1, 32, 4, 1, 0, 0),  # from a point
        (5, 32, 4, 16, 4, 2, 1, 0),  # images side by side
        (1, 16, 60, 24, 4, 2, 1, 0),  # in pieces of rows
        (1, 32, 30, 16, 2, 2, 0, 0),
        (1, 16, 20, 3, 9, 3, 4, 2),
        (2, 16, 9, 16, 2, 3, 0, 1),  # places that no tap reaches
        (1, 16, 24, 16, 3, 1, 1, 0),  # a convolution
    ],
)
def test_sizes_of_decoders(
    n: int, c: int, size: int, o: int, k: int, stride: int, cut: int, extra: int, layout: Any
) -> None:
    op = TransposedConvolution((stride, stride), (cut, cut), (1, 1), 1)
    out = output_size(op, (size, size), (k, k), (extra, extra))
    x, weight = values(1, (n, c, size, size), np.float32), values(2, (c, o, k, k), np.float32)
    bias = values(3, (o,), np.float32)
    wanted = expected(op, x, weight, bias, out)
    results = [
        run(op, [x, weight, bias], (wanted.shape, np.float32), lanes=lanes, **layout) for lanes in (1, 2, 3)
    ]
    np.testing.assert_allclose(results[0], wanted, rtol=1e-4, atol=1e-4)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize("padding", [0, 1])
def test_without_bias_and_with_stages(padding: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transposed, "PRODUCT_ELEMENTS", 2000)
    x, weight = values(1, (2, 6, 7, 5)), values(2, (6, 4, 3, 3))
    op = TransposedConvolution((2, 2), (padding, padding), (1, 1), 1)
    size = output_size(op, (7, 5), (3, 3), (1, 0))
    more = values(3, (2, 4, *size))
    stages = (Stage(Elementwise("add", (1,)), (RUNNING, 2)), Stage(Elementwise("tanh"), (RUNNING,)))
    wanted = np.tanh(expected(op, x, weight, np.zeros(4), size) + more)
    for lanes, last in itertools.product((1, 2), (False, True)):
        result = run(
            Fused(op, 2, stages), [x, weight, more], (more.shape, np.float64), last=last, lanes=lanes
        )
        np.testing.assert_allclose(result, wanted, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_fixed_weights_are_brought_into_form_once(stride: int) -> None:
    x, weight = channels_last(np.ones((1, 8, 5, 5))), values(2, (8, 4, 3, 3))
    op = TransposedConvolution((stride, stride), (1, 1), (1, 1), 1)
    out = channels_last(np.zeros((1, 4, *output_size(op, (5, 5), (3, 3), (0, 0)))))
    context = Context(precision="highest")
    context.origins[id(weight)] = ("state", "weight")
    BACKEND.bind(op, [x, weight], [out], context)
    assert len(context.prepared) == (
        2 if stride == 1 else 1
    )  # turned round, and then as the convolution has it
    for form in context.prepared.values():
        form[...] = 1  # what a second executor of the network must read instead of making its own
    BACKEND.bind(op, [x, weight], [out], context)()
    assert out[0, 0, 2, 2] == 8 * (9 if stride == 1 else 1)
