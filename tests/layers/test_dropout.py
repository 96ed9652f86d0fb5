"""Dropout and RReLU in training: random numbers, so their statistics are checked, not torch's values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netspec

ALPHA = 1.7580993408473766


def run(
    shape: tuple[int, ...], values: Any = None, seed: int = 0, dtype: str = "float32", **layer: Any
) -> np.ndarray:
    """One layer in training mode, on ones unless `values` are given."""
    mapping = {"netspec": 1, "inputs": {"x": {"shape": list(shape), "dtype": dtype}}, "layers": [layer]}
    net = netspec.load(mapping, mode="train", seed=seed, dtype=dtype)
    x = np.ones(shape, dtype) if values is None else np.asarray(values, dtype).reshape(shape)
    return np.asarray(net(x))


def near(fraction: float, probability: float, count: int) -> None:
    """A fraction of `count` draws within five deviations of its probability."""
    assert abs(fraction - probability) < 5 * (probability * (1 - probability) / count) ** 0.5


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_right_share_and_the_mean(p: float) -> None:
    y = run((100, 200), type="Dropout", p=p)
    near(float((y == 0).mean()), p, y.size)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - p), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float64", "complex64"])
def test_dropout_of_other_dtypes(dtype: str) -> None:
    y = run((50, 100), type="Dropout", p=0.5, dtype=dtype)
    assert y.dtype == dtype
    assert set(np.unique(y)) == {0, 2}


def test_dropout_multiplies_the_values() -> None:
    x = np.arange(1, 1001)
    y = run((1000,), x, type="Dropout", p=0.25)
    kept = y != 0
    np.testing.assert_allclose(y[kept], x[kept] / 0.75, rtol=1e-6)


def test_special_values_survive_or_become_nan() -> None:
    y = run((1000,), [np.inf] * 1000, type="Dropout", p=0.5)
    assert set(np.isnan(y)) == {True, False}  # inf * 0, as in torch
    assert np.isposinf(y[~np.isnan(y)]).all()


@pytest.mark.parametrize(
    ("name", "shape", "channels"),
    [
        ("Dropout1d", (40, 50, 3), 2),
        ("Dropout1d", (2000, 3), 1),
        ("Dropout2d", (40, 50, 2, 3), 2),
        ("Dropout2d", (40, 50, 3), 2),
        ("Dropout2d", (40, 50), 2),
        ("Dropout3d", (40, 50, 2, 1, 3), 2),
        ("Dropout3d", (2000, 2, 3, 1), 1),
        ("Dropout3d", (2000, 3), 1),
        ("FeatureAlphaDropout", (40, 50, 2, 3), 2),
        ("FeatureAlphaDropout", (40, 50), 2),
    ],
)
def test_whole_channels_are_dropped(name: str, shape: tuple[int, ...], channels: int) -> None:
    y = run(shape, type=name, p=0.3)
    planes = y.reshape(*shape[:channels], -1)
    assert (planes == planes[..., :1]).all()
    low, high = sorted(set(np.unique(planes)))
    near(float((planes[..., 0] == low).mean()), 0.3, planes[..., 0].size)
    if name != "FeatureAlphaDropout":
        assert (low, high) == (0, pytest.approx(1 / 0.7))


@pytest.mark.parametrize("p", [0.1, 0.3, 0.8])
def test_alpha_dropout_keeps_mean_and_variance(p: float) -> None:
    x = np.random.default_rng(1).standard_normal(200_000)
    y = run(x.shape, x, type="AlphaDropout", p=p)
    assert y.mean() == pytest.approx(0, abs=0.02)
    assert y.std() == pytest.approx(1, abs=0.02)


def test_alpha_dropout_has_torchs_two_values() -> None:
    p = 0.3
    y = run((10_000,), type="AlphaDropout", p=p)
    a = ((ALPHA**2 * p + 1) * (1 - p)) ** -0.5
    low, high = np.unique(y)
    assert low == pytest.approx(-a * ALPHA * (1 - p), rel=1e-5)
    assert high == pytest.approx(a + a * ALPHA * p, rel=1e-5)
    near(float((y == low).mean()), p, y.size)


def test_rrelu_draws_a_slope_for_each_negative_element() -> None:
    x = np.tile([-1.0, 2.0, 0.0, np.nan], 5000)
    y = run(x.shape, x, type="RReLU", lower=0.1, upper=0.3)
    slopes = -y[::4]
    assert 0.1 <= slopes.min() < 0.101
    assert 0.299 < slopes.max() <= 0.3001
    assert slopes.mean() == pytest.approx(0.2, abs=0.003)
    assert (y[1::4] == 2).all()
    assert (y[2::4] == 0).all()
    assert np.isnan(y[3::4]).all()


def test_the_seed_decides() -> None:
    first, again, other = (run((1000,), type="Dropout", seed=seed) for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_each_run_draws_anew() -> None:
    mapping = {"netspec": 1, "inputs": {"x": [1000]}, "layers": [{"type": "Dropout"}]}
    net = netspec.load(mapping, mode="train")
    x = np.ones(1000, np.float32)
    assert (np.asarray(net(x)) != np.asarray(net(x))).any()
    assert (np.asarray(net.eval()(x)) == x).all()
