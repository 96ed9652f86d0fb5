"""`netspec.load` and the network it gives: calls, weights, modes, edits, threads."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec

SMALL: dict[str, Any] = {
    "netspec": 1,
    "inputs": {"x": ["N", 3]},
    "layers": [
        {"name": "fc1", "type": "Linear", "in_features": 3, "out_features": 4},
        {"name": "act", "type": "ReLU"},
        {"name": "fc", "type": "Linear", "out_features": 2},
    ],
}


@pytest.fixture
def net() -> netspec.Network:
    return netspec.load(SMALL)


def x(rows: int = 2, width: int = 3) -> np.ndarray:
    return np.random.RandomState(3).standard_normal((rows, width)).astype("f4")


def by_hand(net: netspec.Network, data: np.ndarray) -> np.ndarray:
    s = net.state_dict()
    hidden = np.maximum(data @ s["fc1.weight"].T + s["fc1.bias"], 0)
    return hidden @ s["fc.weight"].T + s["fc.bias"]


def test_inputs_by_position_keyword_and_dict(net: netspec.Network) -> None:
    data = x()
    expected = by_hand(net, data)
    for result in (net(data), net(x=data), net({"x": data}), net.run({"x": data})["fc"]):
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_outputs_are_fresh_arrays(net: netspec.Network) -> None:
    first = net(x())
    kept = first.copy()
    net(x() * 5)
    np.testing.assert_array_equal(first, kept)


def test_several_outputs_are_a_dict() -> None:
    net = netspec.load({**SMALL, "outputs": {"hidden": "act", "scores": "fc"}})
    assert list(net(x())) == ["hidden", "scores"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net(), "x is missing: x has shape \\[N, 3\\]"),
        (lambda net: net(x(), x()), "has 1 inputs \\(x\\), got 2"),
        (lambda net: net(y=x()), "no input `y`"),
        (lambda net: net(x(), x=x()), "given twice"),
        (lambda net: net(x(2, 4)), "axis 1 is 3 in \\[N, 3\\], got 4"),
        (lambda net: net(np.zeros((2, 3), int)), "expected float32, got int64"),
        (lambda net: net(np.zeros((2, 3), object)), "expected float32"),
        (lambda net: net([[1, 2], [3]]), "not an array"),
        (lambda net: net.run({"x": x()}, taps=["fc2"]), "did you mean `fc`"),
        (lambda net: net.run({"x": x()}, outputs=["fd"]), "no output `fd`"),
    ],
)
def test_wrong_calls(net: netspec.Network, call: Any, message: str) -> None:
    with pytest.raises(netspec.InputError, match=message):
        call(net)


def test_an_empty_batch_runs(net: netspec.Network) -> None:
    assert net(x(0)).shape == (0, 2)


def test_lists_of_numbers_are_taken(net: netspec.Network) -> None:
    np.testing.assert_array_equal(net([[1.0, 2.0, 3.0]]), net(np.array([[1, 2, 3]], "f4")))


def test_an_input_that_nothing_needs_may_be_left_out() -> None:
    net = netspec.load(
        {
            "netspec": 1,
            "inputs": {"x": ["N", 3], "target": ["N", 3]},
            "layers": [
                {"name": "y", "type": "Sigmoid", "inputs": "x"},
                {"name": "loss", "type": "BCELoss", "inputs": ["y", "target"]},
            ],
            "outputs": {"y": "y", "loss": "loss"},
        }
    )
    assert net.run({"x": x()}, outputs=["y"])["y"].shape == (2, 3)
    with pytest.raises(netspec.InputError, match="target is missing"):
        net.run({"x": x()})


def test_dtypes(caplog: pytest.LogCaptureFixture) -> None:
    for dtype in ("float16", "float32", "float64", "complex64"):
        net = netspec.load({**SMALL, "layers": SMALL["layers"][:1]}, dtype=dtype)
        assert str(net(x()).dtype) == dtype
    with pytest.raises(netspec.InputError, match="dtype: expected one of"):
        netspec.load(SMALL, dtype="int32")


def test_same_seed_same_weights() -> None:
    a, b, c = (netspec.load(SMALL, seed=s).state_dict() for s in (1, 1, 2))
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert not np.array_equal(a["fc.weight"], c["fc.weight"])
    bound = 1 / np.sqrt(3)
    assert np.abs(a["fc1.weight"]).max() <= bound


def test_declared_initialisation() -> None:
    init = {"weight": [[1, 2, 3], [4, 5, 6]], "bias": {"method": "constant", "val": 0.5}}
    net = netspec.load(
        {"netspec": 1, "inputs": {"x": [3]}, "layers": [{"type": "Linear", "out_features": 2, "init": init}]}
    )
    assert net.random_weights == ()
    assert net([1.0, 1.0, 1.0]).tolist() == [6.5, 15.5]


def test_weights_are_compared_with_a_readable_difference(net: netspec.Network) -> None:
    state = net.state_dict()
    state["fc1.wieght"] = state.pop("fc1.weight")
    state["fc.bias"] = np.zeros(5)
    with pytest.raises(netspec.WeightsError) as caught:
        netspec.load(SMALL, weights=state)
    text = str(caught.value)
    assert "missing     fc1.weight (is it fc1.wieght?)" in text
    assert "unexpected  fc1.wieght" in text
    assert "wrong shape fc.bias: expected [2], got [5]" in text


def test_load_state_dict(net: netspec.Network) -> None:
    other = netspec.load(SMALL, seed=9)
    net.load_state_dict(other.state_dict())
    np.testing.assert_array_equal(net(x()), other(x()))
    with pytest.raises(netspec.WeightsError, match="missing"):
        net.load_state_dict({"fc.bias": np.zeros(2)})
    net.load_state_dict({"fc.bias": np.ones(2), "else": np.ones(1)}, strict=False)
    assert net.fc.bias.tolist() == [1, 1]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_weights_files(net: netspec.Network, tmp_path: Path, suffix: str) -> None:
    from netspec.interop.safetensors import write_safetensors

    path = tmp_path / f"w{suffix}"
    if suffix == ".npz":
        np.savez(path, **net.state_dict())
    else:
        write_safetensors(path, net.state_dict())
    again = netspec.load(SMALL, weights=path, seed=5)
    np.testing.assert_array_equal(again(x()), net(x()))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(netspec.WeightsError):
        netspec.load(SMALL, weights=path)


def test_missing_weights_file(tmp_path: Path) -> None:
    with pytest.raises(netspec.WeightsError, match="no such weights file"):
        netspec.load(SMALL, weights=tmp_path / "none.npz")
    with pytest.raises(netspec.WeightsError, match=r"none\.safetensors"):
        netspec.load({**SMALL, "weights": "none.safetensors"})


def test_parameters_are_read_and_assigned(net: netspec.Network) -> None:
    net["fc"].weight = np.zeros((2, 4))
    net.fc.bias = np.array([1, 2])
    assert net(x()).tolist() == [[1, 2], [1, 2]]
    with pytest.raises(netspec.WeightsError, match=r"expected \[2, 4\], got \[4, 2\]"):
        net.fc.weight = np.zeros((4, 2))
    with pytest.raises(AttributeError, match="no parameter 'wait'"):
        net.fc.wait = np.zeros(2)
    with pytest.raises(KeyError, match="did you mean `fc1`"):
        net["fc11"]
    with pytest.raises(AttributeError):
        net.nonsense  # noqa: B018


def test_children(net: netspec.Network) -> None:
    assert [(c.name, c.type, tuple(map(str, c.output_shape))) for c in list(net.children())[-2:]] == [
        ("act", "ReLU", ("N", "4")),
        ("fc", "Linear", ("N", "2")),
    ]
    assert set(net.fc.parameters()) == {"weight", "bias"}
    hidden = net.fc1(x())
    np.testing.assert_allclose(hidden, net.run({"x": x()}, taps=["fc1"])["fc1"], rtol=1e-6)


def test_a_network_from_a_slice_of_children(net: netspec.Network) -> None:
    layers = list(net.children())[:2]
    weights = {k: v for layer in layers for k, v in layer.arrays(layer.name).items()}
    part = netspec.load({"netspec": 1, "inputs": {"x": ["N", 3]}, "layers": layers}, weights=weights)
    np.testing.assert_allclose(part(x()), net.run({"x": x()}, taps=["act"])["act"], rtol=1e-6)


def test_a_layer_is_replaced(net: netspec.Network) -> None:
    kept = net.fc1.weight
    net.fc = netspec.layers.Linear(4, 7)
    assert net(x()).shape == (2, 7)
    np.testing.assert_array_equal(net.fc1.weight, kept)
    with pytest.raises(netspec.SpecError, match="in_features is 5"):
        net.fc = netspec.layers.Linear(5, 7)
    assert net(x()).shape == (2, 7)


def test_add_module(net: netspec.Network) -> None:
    net.add_module("soft", netspec.layers.Softmax(dim=1))
    np.testing.assert_allclose(net(x()).sum(1), 1, rtol=1e-6)
    explicit = netspec.load({**SMALL, "outputs": ["fc"]})
    explicit.add_module("soft", netspec.layers.Softmax(dim=1))
    assert list(explicit.run({"x": x()})) == ["fc"]


def test_reset_parameters(net: netspec.Network) -> None:
    before = net.fc.weight
    net.fc.reset_parameters(seed=7)
    assert not np.array_equal(net.fc.weight, before)
    net.fc.reset_parameters()
    np.testing.assert_array_equal(net.fc.weight, before)


def test_save_and_load_again(net: netspec.Network, tmp_path: Path) -> None:
    net.fc = netspec.layers.Linear(4, 7, init={"bias": 1.0})
    net.add_module("act2", netspec.layers.LeakyReLU(0.2))
    net.save(tmp_path / "n.yaml")
    again = netspec.load(tmp_path / "n.yaml")
    np.testing.assert_array_equal(again(x()), net(x()))
    assert {p.name for p in tmp_path.iterdir()} == {"n.yaml", "n.safetensors"}


def test_layers_from_python() -> None:
    conv = netspec.layers.Conv2d(3, 8, 3, padding=1)
    assert conv.kernel_size == (3, 3)
    with pytest.raises(netspec.SpecError, match="divisible by groups"):
        netspec.layers.Conv2d(3, 8, 3, groups=2)
    with pytest.raises(TypeError, match="got in_channels twice"):
        netspec.layers.Conv2d(3, in_channels=3)
    net = netspec.load({"netspec": 1, "inputs": {"x": [1, 3, 4, 4]}, "layers": [conv]})
    assert net(np.zeros((1, 3, 4, 4), "f4")).shape == (1, 8, 4, 4)


def test_calls_from_several_threads(net: netspec.Network) -> None:
    data = [np.random.RandomState(i).standard_normal((5, 3)).astype("f4") for i in range(4)]
    expected = [net(d) for d in data]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(50):
            if not np.array_equal(net(data[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_train_mode_updates_statistics_and_draws_from_the_seed() -> None:
    mapping = {
        "netspec": 1,
        "inputs": {"x": ["N", 3]},
        "layers": [
            {"name": "bn", "type": "BatchNorm1d", "momentum": 0.5},
            {"name": "drop", "type": "Dropout"},
        ],
    }
    net = netspec.load(mapping, mode="train", seed=4)
    data = x(8)
    first = net(data)
    np.testing.assert_allclose(net.bn.running_mean, 0.5 * data.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.bn.running_var, 0.5 + 0.5 * data.var(0, ddof=1), rtol=1e-5)
    assert net.bn.num_batches_tracked == 1
    assert (first == 0).any()
    np.testing.assert_array_equal(netspec.load(mapping, mode="train", seed=4)(data), first)
    assert not np.array_equal(net(data), first)
    net.eval()
    np.testing.assert_array_equal(net(data), net(data))
    assert net.bn.num_batches_tracked == 2
    net.train()
    with pytest.raises(netspec.InputError, match="need more than one value"):
        net(x(1))


def test_to_device(net: netspec.Network) -> None:
    assert net.to("cpu") is net
    with pytest.raises(netspec.DeviceError):
        net.to("cuda")


def test_summary_is_the_table(net: netspec.Network) -> None:
    assert "fc1" in net.summary()
    assert "total" in net.summary()


def test_shapes_function() -> None:
    report = netspec.shapes(SMALL, x=(5, 3))
    assert report["layers"][-1]["outputs"]["out"]["shape"] == [5, 2]
    with pytest.raises(netspec.InputError):
        netspec.shapes(SMALL, x=(5, 4))
    with pytest.raises(netspec.SpecError):
        netspec.shapes({**SMALL, "layers": [{"type": "Relu7"}]})
    assert netspec.shapes(netspec.parse(SMALL))["constraints"] == []


def test_profiles() -> None:
    net = netspec.load(SMALL, runner={"runner": 1, "dtype": "float64", "threads": 1, "batch_size": 3})
    assert (net.dtype, net.threads, net.batch_size) == ("float64", 1, 3)
    assert netspec.load(SMALL, runner={"runner": 1, "dtype": "float64"}, dtype="float32").dtype == "float32"
    with pytest.raises(netspec.SpecError, match="did you mean `dtype`"):
        netspec.load(SMALL, runner={"runner": 1, "dtpye": "float64"})
