"""Names of checkpoints brought to those of the network, and proposals for the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netspec
from netspec.diagnostics import WeightsError
from netspec.interop.fitting import fit, fold
from netspec.interop.matching import Rename, propose

NETWORK: dict[str, Any] = {
    "netspec": 1,
    "inputs": {"x": ["N", 4]},
    "layers": [
        {"name": "first", "type": "Linear", "in_features": 4, "out_features": 4},
        {"name": "norm", "type": "BatchNorm1d", "num_features": 4},
        {"name": "second", "use": "first"},
        {"name": "last", "type": "Linear", "in_features": 4, "out_features": 2},
    ],
}
NAMES = ("first.weight", "first.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var",
         "norm.num_batches_tracked", "last.weight", "last.bias")  # fmt: skip


@pytest.fixture
def net() -> netspec.Network:
    return netspec.load(NETWORK, weights=weights())


def weights() -> dict[str, Any]:
    """Right weights for the network."""
    rng = np.random.default_rng(0)
    shapes = {
        "first.weight": (4, 4),
        "last.weight": (2, 4),
        "last.bias": (2,),
        "norm.num_batches_tracked": (),
    }
    return {n: rng.standard_normal(shapes.get(n, (4,))).astype("f4") for n in NAMES}


def fitting(net: netspec.Network, given: dict[str, Any]) -> Any:
    return fit(net._states, given, net._graph)


@pytest.mark.parametrize(
    "rename",
    [
        lambda n: f"module.{n}",
        lambda n: f"_orig_mod.{n}",
        lambda n: f"model.{n}",
        lambda n: f"module.model._orig_mod.{n}",
        lambda n: f"model.model.{n}",
        lambda n: n.replace("norm.", "norm._orig_mod."),
        lambda n: n.replace("first.", "first.module."),
        lambda n: f"model.{n}" if n.startswith("norm") else n,
    ],
)
def test_prefixes(rename: Any, net: netspec.Network) -> None:
    given = weights()
    found = fitting(net, {rename(name): array for name, array in given.items()})
    assert list(found.arrays) == list(NAMES)
    assert found.notes
    assert found.sources["last.weight"] == (rename("last.weight"),)
    loaded = netspec.load(NETWORK, weights={rename(name): array for name, array in given.items()})
    np.testing.assert_array_equal(loaded["last"].weight, given["last.weight"])


def test_names_that_fit_are_left_alone(net: netspec.Network) -> None:
    found = fitting(net, weights())
    assert list(found.arrays) == list(NAMES)
    assert found.notes == ()


def test_a_layer_may_be_called_model() -> None:
    mapping = {**NETWORK, "layers": [{"name": "model", "layers": NETWORK["layers"]}]}
    given = {f"model.{name}": array for name, array in weights().items()}
    net = netspec.load(mapping, weights=given)
    assert fit(net._states, given, net._graph).notes == ()
    netspec.load(mapping, weights={f"module.{name}": array for name, array in given.items()})


def test_a_prefix_that_helps_nothing_stays(net: netspec.Network) -> None:
    with pytest.raises(WeightsError, match=r"unexpected  module\.other"):
        netspec.load(NETWORK, weights={**weights(), "module.other": np.zeros(2)})


def test_a_prefix_is_kept_where_two_names_would_become_one(net: netspec.Network) -> None:
    given = weights()
    given["module.last.bias"] = given["last.bias"] + 1
    assert set(fitting(net, given).arrays) == {*NAMES, "module.last.bias"}


def test_the_number_of_batches_may_be_missing() -> None:
    given = weights()
    del given["norm.num_batches_tracked"]
    assert netspec.load(NETWORK, weights=given).state_dict()["norm.num_batches_tracked"] == 0


# --- shared layers ----------------------------------------------------------------------------------


def test_second_names_are_accepted_when_equal(net: netspec.Network) -> None:
    given = weights()
    given |= {f"second.{n}": given[f"first.{n}"].copy() for n in ("weight", "bias")}
    assert list(netspec.load(NETWORK, weights=given).state_dict()) == list(NAMES)
    net.load_state_dict(given)


def test_nans_are_equal() -> None:
    given = weights()
    given["first.bias"][0] = np.nan
    given |= {f"second.{n}": given[f"first.{n}"].copy() for n in ("weight", "bias")}
    netspec.load(NETWORK, weights=given)


def test_the_second_name_alone_will_do() -> None:
    """safetensors' writers keep one of the names, and not always the first."""
    given = weights()
    first = {n: given.pop(f"first.{n}") for n in ("weight", "bias")}
    given |= {f"second.{n}": array for n, array in first.items()}
    net = netspec.load(NETWORK, weights=given)
    np.testing.assert_array_equal(net["first"].weight, first["weight"])


@pytest.mark.parametrize("change", [lambda a: a + 1, lambda a: a[:2]])
def test_second_names_with_other_values(change: Any, net: netspec.Network) -> None:
    given = weights()
    given["second.weight"] = change(given["first.weight"])
    with pytest.raises(WeightsError, match=r"second\.weight and first\.weight have different values"):
        netspec.load(NETWORK, weights=given)
    with pytest.raises(WeightsError, match="have different values"):
        net.load_state_dict(given)


def test_load_state_dict_takes_no_prefix_off(net: netspec.Network) -> None:
    with pytest.raises(WeightsError, match=r"module\.first\.weight"):
        net.load_state_dict({f"module.{name}": array for name, array in weights().items()})


# --- weight_norm ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [("parametrizations.weight.original0", "parametrizations.weight.original1"), ("weight_g", "weight_v")],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weight_norm(parts: tuple[str, str], prefix: str) -> None:
    given = weights()
    weight = given.pop("last.weight")
    norm = np.linalg.norm(weight, axis=1, keepdims=True)
    given |= {f"last.{parts[0]}": norm, f"last.{parts[1]}": weight * 3}
    net = netspec.load(NETWORK, weights={prefix + name: array for name, array in given.items()})
    np.testing.assert_allclose(net["last"].weight, weight, rtol=1e-6)


def test_half_of_weight_norm_is_not_folded() -> None:
    given = weights()
    given["last.weight_v"] = given.pop("last.weight")
    with pytest.raises(WeightsError, match=r"missing     last\.weight"):
        netspec.load(NETWORK, weights=given)


def test_folding_over_other_axes() -> None:
    v = np.random.default_rng(0).standard_normal((3, 4, 2)).astype("f4")
    for axes, shape in (((1, 2), (3, 1, 1)), ((0, 2), (1, 4, 1)), ((0, 1, 2), ())):
        norm = np.sqrt((v.astype("f8") ** 2).sum(axis=axes)).reshape(shape)
        found = fold(norm.astype("f4"), v)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, v, rtol=3e-7)
    assert np.isnan(fold(np.ones((1, 1), "f4"), np.zeros((1, 2), "f4"))).all()


# --- proposals --------------------------------------------------------------------------------------


def test_proposals_by_name_shape_and_order() -> None:
    missing = {"conv1.weight": (8, 8, 3), "conv2.weight": (8, 8, 3), "fc.weight": (10, 4), "last_bias": (10,)}
    unexpected = {"0.weight": (8, 8, 3), "3.weight": (8, 8, 3), "head.weight": (10, 4), "lastBias": (10,)}
    assert propose(missing, unexpected) == [
        Rename("0.weight", "conv1.weight", (8, 8, 3), "order"),
        Rename("3.weight", "conv2.weight", (8, 8, 3), "order"),
        Rename("head.weight", "fc.weight", (10, 4), "shape"),
        Rename("lastBias", "last_bias", (10,), "name"),
    ]


def test_other_endings_are_the_second_choice() -> None:
    missing = {"norm.weight": (4,), "norm.bias": (4,)}
    unexpected = {"n.bias": (4,), "n.gamma": (4,)}
    assert [(r.old, r.new) for r in propose(missing, unexpected)] == [
        ("n.gamma", "norm.weight"),
        ("n.bias", "norm.bias"),
    ]


def test_unequal_numbers_go_by_the_nearest_name() -> None:
    missing = {"encoder.layer1.weight": (4, 4)}
    unexpected = {"decoder.x.weight": (4, 4), "enc.layer1.weight": (4, 4)}
    assert propose(missing, unexpected) == [
        Rename("enc.layer1.weight", "encoder.layer1.weight", (4, 4), "name")
    ]


def test_nothing_is_proposed_for_other_shapes() -> None:
    assert propose({"a.weight": (2, 2)}, {"b.weight": (2, 3)}) == []


def test_many_names_take_little_time() -> None:
    missing = {f"a.{i}.weight": (4, 4) for i in range(3000)}
    unexpected = {f"b.{i}.weight": (4, 4) for i in range(2999)}
    assert propose(missing, unexpected) == []
