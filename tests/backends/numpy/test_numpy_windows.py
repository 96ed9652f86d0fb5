"""Convolution, pooling, padding and resizing against loops that follow the definitions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy_kernels import run, tolerance, values

from netspec.backends.base import KernelError
from netspec.operations import (
    AdaptiveAveragePool,
    AdaptiveMaxPool,
    AveragePool,
    Convolution,
    MaxPool,
    MaxUnpool,
    Pad,
    Resize,
    TransposedConvolution,
)

quick = settings(max_examples=40, deadline=None)
REAL = st.sampled_from([np.float32, np.float64, np.float16])
LAYOUTS: Any = st.sampled_from([{}, {"messy": True}, {"last": True}])
ANY = st.sampled_from([np.float32, np.float64, np.float16, np.complex64, np.int64])


def slow_convolution(op: Convolution, x: Any, w: Any, bias: Any, size: tuple[int, ...]) -> Any:
    out = np.zeros((len(x), len(w), *size), np.result_type(x, np.float32) if x.dtype.kind in "f" else x.dtype)
    per_group, features = w.shape[1], len(w) // op.groups
    for n, o in itertools.product(range(len(x)), range(len(w))):
        for place in itertools.product(*map(range, size)):
            total = bias[o].astype(out.dtype)
            for c in range(per_group):
                for tap in itertools.product(*map(range, w.shape[2:])):
                    at = [
                        p * s + t * d - before
                        for p, s, t, d, (before, _) in zip(
                            place, op.stride, tap, op.dilation, op.padding, strict=True
                        )
                    ]
                    if all(0 <= a < limit for a, limit in zip(at, x.shape[2:], strict=True)):
                        channel = o // features * per_group + c
                        total = total + out.dtype.type(x[(n, channel, *at)]) * w[(o, c, *tap)]
            out[(n, o, *place)] = total
    return out


@st.composite
def geometry(draw: Any) -> dict[str, Any]:
    rank = draw(st.integers(1, 3))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    return {
        "size": each(1, 5 if rank < 3 else 4),
        "kernel": each(1, 3 if rank < 3 else 2),
        "stride": each(1, 2),
        "dilation": each(1, 2),
        "padding": tuple(zip(each(0, 2), each(0, 2), strict=True)),
        "groups": draw(st.integers(1, 3)),
        "n": draw(st.integers(0, 2)),
        "how": draw(LAYOUTS),
    }


@quick
@given(geometry(), ANY, st.integers(1, 2), st.integers(1, 2))
def test_convolution_follows_its_definition(g: dict[str, Any], dtype: Any, c: int, o: int) -> None:
    size = tuple(
        (s + sum(p) - d * (k - 1) - 1) // st_ + 1
        for s, p, d, k, st_ in zip(
            g["size"], g["padding"], g["dilation"], g["kernel"], g["stride"], strict=True
        )
    )
    assume(all(count > 0 for count in size))
    op = Convolution(g["stride"], g["padding"], g["dilation"], g["groups"])
    x = values(1, (g["n"], c * g["groups"], *g["size"]), dtype)
    w = values(2, (o * g["groups"], c, *g["kernel"]), dtype)
    bias = values(3, (o * g["groups"],), dtype)
    expected = slow_convolution(op, x, w, bias, size)
    result = run(op, [x, w, bias], (expected.shape, dtype), **g["how"])
    np.testing.assert_allclose(result, expected, rtol=tolerance(dtype), atol=tolerance(dtype))


@pytest.mark.parametrize(
    ("n", "c", "o", "groups", "size", "kernel", "stride"),
    [
        (1, 64, 8, 1, (150, 150), (3, 3), (1, 1)),  # several blocks of rows
        (1, 3, 2, 1, (2, 40, 500), (3, 3, 3), (1, 1, 1)),
        (40, 16, 8, 2, (9, 9), (3, 3), (2, 1)),  # several blocks of images
        (2, 8, 4, 1, (16, 16), (1, 1), (2, 2)),
        (1, 70, 140, 70, (30, 31), (3, 3), (1, 2)),  # depthwise with a multiplier
    ],
)
def test_large_convolutions_are_the_same_in_blocks(
    n: int, c: int, o: int, groups: int, size: Any, kernel: Any, stride: Any
) -> None:
    pad = tuple(k // 2 for k in kernel)
    x = values(1, (n, c, *size))
    w, bias = values(2, (o, c // groups, *kernel)), values(3, (o,))
    count = tuple((s + 2 * p - k) // st_ + 1 for s, p, k, st_ in zip(size, pad, kernel, stride, strict=True))
    op = Convolution(stride, tuple((p, p) for p in pad), (1,) * len(size), groups)
    result = run(op, [x, w, bias], ((n, o, *count), np.float64))
    wide = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pad)])
    expected = np.zeros((n, groups, o // groups, *count)) + bias.reshape(groups, -1, *(1 for _ in size))
    for tap in itertools.product(*map(range, kernel)):
        index = tuple(slice(t, t + (m - 1) * s + 1, s) for t, m, s in zip(tap, count, stride, strict=True))
        part = wide[(..., *index)].reshape(n, groups, c // groups, -1)
        weight = w[(..., *tap)].reshape(groups, o // groups, c // groups)
        expected += (weight @ part).reshape(expected.shape)
    np.testing.assert_allclose(result, expected.reshape(result.shape), rtol=1e-10, atol=1e-10)


@quick
@given(geometry(), REAL, st.integers(0, 1))
def test_transposed_convolution_is_the_adjoint(g: dict[str, Any], dtype: Any, extra: int) -> None:
    pad = tuple(
        min(before, d * (k - 1))
        for (before, _), d, k in zip(g["padding"], g["dilation"], g["kernel"], strict=True)
    )
    size = tuple(
        (s - 1) * st_ - 2 * p + d * (k - 1) + 1 + extra
        for s, st_, p, d, k in zip(g["size"], g["stride"], pad, g["dilation"], g["kernel"], strict=True)
    )
    assume(all(count > 0 for count in size))
    groups = g["groups"]
    x = values(1, (g["n"], 2 * groups, *g["size"]), dtype)
    w = values(2, (2 * groups, 1, *g["kernel"]), dtype)
    bias = values(3, (groups,), dtype)
    expected = np.zeros((g["n"], groups, *size)) + bias.reshape(-1, *(1 for _ in size))
    for n, c in itertools.product(range(g["n"]), range(2 * groups)):
        for place in itertools.product(*map(range, g["size"])):
            for tap in itertools.product(*map(range, g["kernel"])):
                at = [
                    p * s + t * d - cut
                    for p, s, t, d, cut in zip(place, g["stride"], tap, g["dilation"], pad, strict=True)
                ]
                if all(0 <= a < limit for a, limit in zip(at, size, strict=True)):
                    expected[(n, c // 2, *at)] += float(x[(n, c, *place)]) * float(w[(c, 0, *tap)])
    op = TransposedConvolution(g["stride"], pad, g["dilation"], groups)
    result = run(op, [x, w, bias], (expected.shape, dtype), **g["how"])
    np.testing.assert_allclose(result, expected, rtol=tolerance(dtype), atol=tolerance(dtype))


def windows(op: Any, size: tuple[int, ...], out: tuple[int, ...]) -> Any:
    """For each output place, the input places of its window in order."""
    dilation = getattr(op, "dilation", (1,) * len(size))
    for place in itertools.product(*map(range, out)):
        axes = [
            [i * s + t * d - p for t in range(k) if 0 <= i * s + t * d - p < limit]
            for i, s, k, d, p, limit in zip(
                place, op.stride, op.kernel_size, dilation, op.padding, size, strict=True
            )
        ]
        yield place, list(itertools.product(*axes))


def largest(plane: Any, places: list[tuple[int, ...]]) -> tuple[Any, int]:
    """torch's rule: the first of equal values, the last of several NaN."""
    best, chosen = None, places[0]
    for place in places:
        value = plane[place]
        if best is None or value > best or value != value:
            best, chosen = value, place
    return best, int(np.ravel_multi_index(chosen, plane.shape))


@quick
@given(geometry(), st.sampled_from([np.float32, np.float16, np.int64, np.uint8]), st.integers(0, 99))
def test_max_pool_and_its_indices(g: dict[str, Any], dtype: Any, seed: int) -> None:
    pad = tuple(min(before, k // 2) for (before, _), k in zip(g["padding"], g["kernel"], strict=True))
    op = MaxPool(g["kernel"], g["stride"], pad, g["dilation"])
    out = tuple(
        (s + 2 * p - d * (k - 1) - 1) // st_ + 1
        for s, p, d, k, st_ in zip(g["size"], pad, g["dilation"], g["kernel"], g["stride"], strict=True)
    )
    assume(all(count > 0 for count in out))
    x = np.abs(np.round(values(seed, (g["n"], 2, *g["size"])))).astype(dtype)
    if x.dtype.kind == "f":
        x[np.random.default_rng(seed).random(x.shape) < 0.2] = np.nan
        x[np.random.default_rng(seed + 1).random(x.shape) < 0.2] = -np.inf
    shape = (g["n"], 2, *out)
    expected, indices = np.zeros(shape, dtype), np.zeros(shape, np.int64)
    for n, c in itertools.product(range(g["n"]), range(2)):
        for place, places in windows(op, g["size"], out):
            assume(places)
            expected[(n, c, *place)], indices[(n, c, *place)] = largest(x[n, c], places)
    result, found = run(op, [x], (shape, dtype), (shape, np.int64), **g["how"])
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(found, indices)
    np.testing.assert_array_equal(run(op, [x], (shape, dtype), **g["how"]), expected)


@quick
@given(geometry(), REAL, st.booleans(), st.sampled_from([None, 3]))
def test_average_pool(g: dict[str, Any], dtype: Any, include: bool, divisor: int | None) -> None:
    pad = tuple(min(before, k // 2) for (before, _), k in zip(g["padding"], g["kernel"], strict=True))
    op = AveragePool(g["kernel"], g["stride"], pad, include, divisor)
    out = []
    for s, p, k, st_ in zip(g["size"], pad, g["kernel"], g["stride"], strict=True):
        count = -(-(s + 2 * p - k) // st_) + 1  # ceil_mode
        out.append(count - 1 if (count - 1) * st_ >= s + p else count)
    assume(all(count > 0 for count in out))
    shape = (g["n"], 2, *out)
    x, expected = values(1, (g["n"], 2, *g["size"]), dtype), np.zeros(shape)
    for n, c in itertools.product(range(g["n"]), range(2)):
        for place, places in windows(op, g["size"], tuple(out)):
            clipped = math.prod(
                min(i * s - p + k, limit + p) - (i * s - p)
                for i, s, k, p, limit in zip(place, g["stride"], g["kernel"], pad, g["size"], strict=True)
            )
            count = divisor or (clipped if include else len(places))
            expected[(n, c, *place)] = sum(float(x[(n, c, *at)]) for at in places) / count
    result = run(op, [x], (shape, dtype), **g["how"])
    np.testing.assert_allclose(result, expected, rtol=tolerance(dtype), atol=tolerance(dtype))


def test_the_last_window_of_ceil_mode_has_a_smaller_divisor() -> None:
    op = AveragePool((3,), (2,), (1,), True)
    result = run(op, [np.ones((1, 1, 6), np.float32)], ((1, 1, 4), np.float32))
    np.testing.assert_allclose(result.ravel(), [2 / 3, 1, 1, 0.5], rtol=1e-6)


def test_integer_average_rounds_towards_zero() -> None:
    x = np.array([[[-3, 0, 3, 4]]])
    np.testing.assert_array_equal(
        run(AveragePool((2,), (2,), (0,), True), [x], ((1, 1, 2), np.int64)), [[[-1, 3]]]
    )


@quick
@given(st.lists(st.tuples(st.integers(1, 7), st.integers(1, 9)), min_size=1, max_size=3), LAYOUTS)
def test_adaptive_pools(sizes: list[tuple[int, int]], how: dict[str, bool]) -> None:
    size, out = (tuple(axis) for axis in zip(*sizes, strict=True))
    x = np.round(values(5, (1, 2, *size)))
    x[0, 0].flat[-1] = np.nan
    shape = (1, 2, *out)
    mean, best, index = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64)
    for c, place in itertools.product(range(2), itertools.product(*map(range, out))):
        axes = [range(i * s // o, -(-(i + 1) * s // o)) for i, s, o in zip(place, size, out, strict=True)]
        places = list(itertools.product(*axes))
        mean[(0, c, *place)] = np.mean([x[(0, c, *at)] for at in places])
        best[(0, c, *place)], index[(0, c, *place)] = largest(x[0, c], places)
    result = run(AdaptiveAveragePool(), [x], (shape, np.float64), **how)
    np.testing.assert_allclose(result, mean, rtol=1e-12, atol=1e-12)
    result, found = run(AdaptiveMaxPool(), [x], (shape, np.float64), (shape, np.int64), **how)
    np.testing.assert_array_equal(result, best)
    np.testing.assert_array_equal(found, index)
    np.testing.assert_array_equal(run(AdaptiveMaxPool(), [x], (shape, np.float64), **how), best)


def test_unpool_keeps_the_last_of_repeated_indices() -> None:
    x, index = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[4, 0, 4]]])
    for messy in (False, True):
        result = run(MaxUnpool(), [x, index], ((1, 1, 5), np.float64), messy=messy)
        np.testing.assert_array_equal(result, [[[2, 0, 0, 0, 3]]])


HOW: list[dict[str, Any]] = [{}, {"messy": True}, {"last": True}, {"lanes": 2}, {"last": True, "lanes": 2}]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("c", "size", "wide"), [(3, (5, 4), (9, 8)), (70, (11, 12), (24, 24)), (5, (40,), (300,))]
)
def test_unpool_puts_every_plane_back(c: int, size: Any, wide: Any, how: dict[str, Any]) -> None:
    x = values(1, (2, c, *size), np.float32)
    index = np.random.default_rng(2).integers(0, math.prod(wide), x.shape)
    expected = np.zeros((2, c, math.prod(wide)), np.float32)
    for n, channel in itertools.product(range(2), range(c)):
        expected[n, channel][index[n, channel].ravel()] = x[n, channel].ravel()
    expected = expected.reshape(2, c, *wide)
    result = run(MaxUnpool(), [x, index], (expected.shape, np.float32), **how)
    np.testing.assert_array_equal(result, expected)


def windowed(x: Any, width: int, stride: int, pad: int, fill: float) -> Any:
    """Every window of x (n, c, h, w) as (n, c, h', w', k, k)."""
    wide = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(wide, (width, width), (2, 3))[:, :, ::stride, ::stride]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("width", "stride", "pad"), [(3, 2, 1), (2, 2, 0), (3, 1, 1), (5, 3, 2)])
def test_pools_in_several_blocks(width: int, stride: int, pad: int, how: dict[str, Any]) -> None:
    x = np.round(values(1, (2, 24, 60, 57), np.float32) * 2)
    x[1, 3, 20, 20:23] = np.nan  # in one block of many
    cut = windowed(x, width, stride, pad, -np.inf)
    shape = cut.shape[:4]
    flat = cut.reshape(*shape, -1)
    op = MaxPool((width,) * 2, (stride,) * 2, (pad,) * 2, (1, 1))
    np.testing.assert_array_equal(run(op, [x], (shape, np.float32), **how), flat.max(-1))
    found, index = run(op, [x], (shape, np.float32), (shape, np.int64), **how)
    np.testing.assert_array_equal(found, flat.max(-1))
    missing = np.isnan(flat)
    last_nan = width * width - 1 - missing[..., ::-1].argmax(-1)
    tap = np.where(missing.any(-1), last_nan, flat.argmax(-1))
    rows = np.arange(shape[2])[:, None] * stride - pad + tap // width
    columns = np.arange(shape[3]) * stride - pad + tap % width
    np.testing.assert_array_equal(index, rows * 57 + columns)
    x = np.nan_to_num(x)
    mean = windowed(x, width, stride, pad, 0).mean((-2, -1))
    result = run(AveragePool((width,) * 2, (stride,) * 2, (pad,) * 2, True), [x], (shape, np.float32), **how)
    np.testing.assert_allclose(result, mean, rtol=1e-5, atol=1e-5)
    inside = windowed(np.ones_like(x), width, stride, pad, 0).mean((-2, -1))
    op = AveragePool((width,) * 2, (stride,) * 2, (pad,) * 2, False)
    np.testing.assert_allclose(run(op, [x], (shape, np.float32), **how), mean / inside, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64, np.uint8])
def test_wide_windows_have_indices(dtype: Any) -> None:
    x = np.round(np.abs(values(1, (1, 2, 700)) * 50)).astype(dtype)
    for width in (300, 20):  # more taps than a byte counts, and fewer
        op = MaxPool((width,), (7,), (width // 2,), (1,))
        count = (700 + 2 * (width // 2) - width) // 7 + 1
        result, index = run(op, [x], ((1, 2, count), dtype), ((1, 2, count), np.int64))
        for i in range(count):
            low, high = max(0, i * 7 - width // 2), i * 7 - width // 2 + width
            np.testing.assert_array_equal(index[..., i], x[..., low:high].argmax(-1) + low)
        np.testing.assert_array_equal(result, np.take_along_axis(x, index, -1))


@pytest.mark.parametrize("wrong", [-1, 5])
def test_unpool_refuses_an_index_outside_the_plane(wrong: int) -> None:
    with pytest.raises(KernelError, match=rf"index {wrong} is outside the output plane of 5 elements"):
        run(MaxUnpool(), [np.ones((1, 1, 1)), np.array([[[wrong]]])], ((1, 1, 5), np.float64))


MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@quick
@given(
    st.sampled_from(sorted(MODES)),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=3),
    st.sampled_from([np.float32, np.float16, np.int64, np.complex64, np.bool_]),
    LAYOUTS,
)
def test_padding(mode: Any, widths: list[tuple[int, int]], dtype: Any, how: dict[str, bool]) -> None:
    x = values(4, (2, 2, *(3 + i for i in range(len(widths)))), dtype)
    pairs = ((0, 0), (0, 0), *widths)
    more = {"constant_values": 2} if mode == "constant" else {}
    expected = np.pad(x, pairs, mode=MODES[mode], **more)  # type: ignore[call-overload]
    result = run(Pad(pairs, mode, 2.0), [x], (expected.shape, dtype), **how)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("mode", "widths", "expected"),
    [
        ("constant", (-1, 2), [2, 3, 4, 9, 9]),
        ("constant", (-2, -1), [3]),
        ("reflect", (-1, 2), [2, 3, 4, 3, 2]),
        ("replicate", (2, -2), [1, 1, 1, 2]),
        ("circular", (-1, 2), [2, 3, 4, 2, 3]),
    ],
)
def test_negative_padding_crops(mode: Any, widths: tuple[int, int], expected: list[int]) -> None:
    result = run(Pad((widths,), mode, 9.0), [np.array([1, 2, 3, 4])], ((len(expected),), np.int64))
    assert result.tolist() == expected


@pytest.mark.parametrize(
    ("mode", "scale", "align", "x", "expected"),
    [
        ("nearest", 2.0, False, [1, 2], [1, 1, 2, 2]),
        ("nearest", None, False, [1, 2, 3], [1, 1, 2, 2, 3]),
        ("nearest-exact", None, False, [1, 2, 3], [1, 1, 2, 3, 3]),
        ("nearest", 2.3, False, [0, 1, 2], [0, 0, 0, 1, 1, 2]),
        ("linear", 2.0, False, [0, 4], [0, 1, 3, 4]),
        ("linear", None, True, [0, 3], [0, 1, 2, 3]),
        ("linear", None, True, [5, 3], [5]),
        ("linear", None, False, [0, 1, 2, 3], [0.5, 2.5]),
        ("area", None, False, [1, 2, 3], [1.5, 2.5]),
    ],
)
def test_resize_of_a_line(mode: Any, scale: Any, align: bool, x: list[float], expected: list[float]) -> None:
    for dtype, how in itertools.product((np.float32, np.float64, np.float16), HOW):
        data = np.array(x, dtype).reshape(1, 1, -1).repeat(2, axis=1)
        result = run(Resize(mode, (scale,), align), [data], ((1, 2, len(expected)), dtype), **how)
        np.testing.assert_allclose(result, [[expected, expected]], rtol=1e-6)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("size", [(96, 130), (48, 65), (47, 65), (31, 99), (150, 43), (48, 1)])
@pytest.mark.parametrize(
    ("mode", "align"), [("nearest", False), ("linear", False), ("linear", True), ("cubic", False)]
)
def test_resize_of_planes_in_blocks(
    mode: Any, align: bool, size: tuple[int, int], how: dict[str, Any]
) -> None:
    x = values(1, (2, 17, 48, 65), np.float32)
    result = run(Resize(mode, (None, None), align), [x], ((2, 17, *size), np.float32), **how)
    lines = np.moveaxis(x, 2, 3).reshape(2 * 17, 65, 48)
    rows = run(Resize(mode, (None,), align), [lines], ((34, 65, size[0]), np.float32))
    rows = np.moveaxis(rows.reshape(2, 17, 65, size[0]), 3, 2).reshape(34, size[0], 65)
    expected = run(Resize(mode, (None,), align), [rows], ((34, *size), np.float32))
    np.testing.assert_allclose(result, expected.reshape(2, 17, *size), rtol=1e-5, atol=1e-5)


def test_resize_uses_the_scale_as_given() -> None:
    x = np.arange(5.0).reshape(1, 1, 5)
    given_scale = run(Resize("linear", (0.7,)), [x], ((1, 1, 3), np.float64))
    by_size = run(Resize("linear", (None,)), [x], ((1, 1, 3), np.float64))
    np.testing.assert_allclose(given_scale.ravel(), [3 / 14, 23 / 14, 43 / 14])
    np.testing.assert_allclose(by_size.ravel(), [1 / 3, 2, 11 / 3])


@pytest.mark.parametrize(
    ("scale", "height", "width", "expected"),
    [
        (2.3, 4, 124, [0, 0, 1, 1]),
        (2.3, 4, 125, [0, 0, 0, 1]),
        (1.05, 2, 126, [0, 1]),
        (1.05, 2, 127, [0, 0]),
    ],
)
def test_nearest_in_small_planes_goes_by_the_sizes(
    scale: float, height: int, width: int, expected: list[int]
) -> None:
    x = np.repeat(np.arange(2.0)[:, None], width, axis=1)[None, None]
    result = run(Resize("nearest", (scale, 1.0)), [x], ((1, 1, height, width), np.float64))
    assert result[0, 0, :, 0].tolist() == expected


def test_cubic_resize_keeps_lines_and_passes_through_points() -> None:
    x = np.add.outer(np.arange(6.0), 2 * np.arange(7.0))[None, None]
    result = run(Resize("cubic", (None, None), True), [x], ((1, 1, 11, 13), np.float64))
    np.testing.assert_allclose(result[0, 0, ::2, ::2], x[0, 0], atol=1e-12)
    middle = run(Resize("cubic", (2.0, 1.0)), [x[..., :1]], ((1, 1, 12, 1), np.float64)).ravel()
    # at a quarter past 2: weights -0.10546875, 0.87890625, 0.26171875, -0.03515625 of 1, 2, 3, 4
    assert middle[5] == pytest.approx(-0.10546875 + 2 * 0.87890625 + 3 * 0.26171875 - 4 * 0.03515625)
