"""NVIDIA's own client, unmodified, against the service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

import netspec
from tests.service.running import LENET, SIAMESE, Running, serving

IMAGES = np.random.RandomState(0).random_sample((3, 1, 28, 28)).astype("f4")


@pytest.fixture
def client(service: Running) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(service.address)
    yield client
    client.close()


def inputs_of(arrays: Mapping[str, Any], binary: bool = True) -> list[triton.InferInput]:
    found = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array, binary_data=binary)
        found.append(tensor)
    return found


def wanted(names: Sequence[str], binary: bool = True, classes: int = 0) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name, binary_data=binary, class_count=classes) for name in names]


# --- what is there ----------------------------------------------------------------------------------


def test_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("lenet5")
    assert client.is_model_ready("lenet5", "1")
    assert not client.is_model_ready("lenet5", "2")
    assert not client.is_model_ready("nothing")
    assert client.get_server_metadata()["name"] == "netspec"
    assert client.get_model_metadata("lenet5") == {
        "name": "lenet5",
        "versions": ["1"],
        "platform": "netspec",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 28, 28]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}],
    }
    assert client.get_model_metadata("siamese", "1")["outputs"][1] == {
        "name": "loss",
        "datatype": "FP32",
        "shape": [],
    }
    config = client.get_model_config("lenet5")
    assert config["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": [-1, 1, 28, 28]}]
    assert config["max_batch_size"] == 0
    names = {model["name"]: model["state"] for model in client.get_model_repository_index()}
    assert names == dict.fromkeys(("kinds", "mean", "lenet5", "siamese"), "READY")


def test_statistics_count(client: triton.InferenceServerClient) -> None:
    def figures() -> dict[str, Any]:
        (found,) = client.get_inference_statistics("lenet5")["model_stats"]
        return dict(found)

    before = figures()
    client.infer("lenet5", inputs_of({"image": IMAGES}))
    with pytest.raises(InferenceServerException):
        client.infer("lenet5", inputs_of({"image": IMAGES[:, :, 1:]}))
    after = figures()
    assert after["inference_count"] - before["inference_count"] == 3
    assert after["execution_count"] - before["execution_count"] == 1
    for key, count in (("success", 1), ("fail", 1), ("queue", 1), ("compute_infer", 1)):
        assert after["inference_stats"][key]["count"] - before["inference_stats"][key]["count"] == count
        assert after["inference_stats"][key]["ns"] > before["inference_stats"][key]["ns"]
    assert {s["batch_size"] for s in after["batch_stats"]} >= {3}
    assert len(client.get_inference_statistics()["model_stats"]) == 4


# --- inference --------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary_out", [False, True])
@pytest.mark.parametrize("binary_in", [False, True])
def test_every_encoding_gives_the_same(
    client: triton.InferenceServerClient, binary_in: bool, binary_out: bool, compression: str | None
) -> None:
    images = np.tile(IMAGES, (20, 1, 1, 1))  # an answer that is worth compressing
    result = client.infer(
        "lenet5",
        inputs_of({"image": images}, binary_in),
        outputs=wanted(["probabilities"], binary_out),
        request_id="seventeen",
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    expected = netspec.load(LENET)(images)
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected, rtol=1e-5, atol=1e-7)
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("seventeen", "lenet5", "1")
    assert ("data" in response["outputs"][0]) is not binary_out


def test_all_outputs_without_asking(client: triton.InferenceServerClient) -> None:
    arrays = {"left": IMAGES, "right": IMAGES[::-1].copy(), "target": np.ones((3, 1), "f4")}
    result = client.infer("siamese", inputs_of(arrays))
    expected = netspec.load(SIAMESE).run(arrays)
    assert set(expected) == {"probability", "loss"}
    for name, array in expected.items():
        np.testing.assert_allclose(result.as_numpy(name), array, rtol=1e-5)
        assert result.as_numpy(name).shape == array.shape


def test_a_subset_of_the_outputs_needs_fewer_inputs(client: triton.InferenceServerClient) -> None:
    arrays = {"left": IMAGES, "right": IMAGES}
    result = client.infer("siamese", inputs_of(arrays), outputs=wanted(["probability"]))
    assert result.as_numpy("loss") is None
    expected = netspec.load(SIAMESE).run(arrays, outputs=["probability"])["probability"]
    np.testing.assert_allclose(result.as_numpy("probability"), expected, rtol=1e-5)


@pytest.mark.parametrize("binary", [False, True])
def test_every_kind_of_number(client: triton.InferenceServerClient, binary: bool) -> None:
    arrays = {
        "flag": np.array([[True, False, True]]),
        "index": np.array([[[4, 0, 2]]], "i8"),
        "byte": np.array([[254, 0, 7]], "u1"),
        "number": np.array([[[0.5, -1.5, 2.0]]], "f4"),
    }
    result = client.infer(
        "kinds", inputs_of(arrays, binary), outputs=wanted(["placed", "sum", "twice"], binary)
    )
    np.testing.assert_array_equal(result.as_numpy("placed"), [[[-1.5, 0, 2, 0, 0.5, 0]]])
    np.testing.assert_array_equal(result.as_numpy("sum"), np.array([[255, 0, 8]], "u1"))
    assert result.as_numpy("sum").dtype == np.uint8
    np.testing.assert_array_equal(result.as_numpy("twice"), [[[1, -3, 4]]])


@pytest.mark.parametrize(
    ("name", "dtype"), [("number", "f2"), ("number", "f8"), ("index", "i4"), ("index", "u2")]
)
def test_other_widths_are_cast(client: triton.InferenceServerClient, name: str, dtype: str) -> None:
    arrays = {"number": np.array([[[1, 3, 2]]], "f4"), "index": np.array([[[1, 5, 2]]], "i8")}
    arrays[name] = arrays[name].astype(dtype)
    result = client.infer("kinds", inputs_of(arrays), outputs=wanted(["placed"]))
    np.testing.assert_array_equal(result.as_numpy("placed"), [[[0, 1, 2, 0, 0, 3]]])


def test_a_network_in_half_precision() -> None:
    with serving(LENET, profile={"dtype": "float16"}) as running:
        client = triton.InferenceServerClient(running.address)
        assert client.get_model_metadata("lenet5")["inputs"][0]["datatype"] == "FP16"
        result = client.infer("lenet5", inputs_of({"image": IMAGES.astype("f2")}))
        assert result.as_numpy("probabilities").dtype == np.float16
        expected = netspec.load(LENET)(IMAGES)
        np.testing.assert_allclose(result.as_numpy("probabilities"), expected, atol=5e-3)
        client.close()


@pytest.mark.parametrize("binary", [False, True])
def test_classification_names_the_labels(client: triton.InferenceServerClient, binary: bool) -> None:
    result = client.infer(
        "lenet5", inputs_of({"image": IMAGES}), outputs=wanted(["probabilities"], binary, classes=2)
    )
    texts = result.as_numpy("probabilities")
    assert texts.shape == (3, 2)
    for row, values in zip(texts, netspec.load(LENET)(IMAGES), strict=True):
        order = np.argsort(-values)[:2]
        assert [t.decode() if binary else t for t in row] == [f"{values[i]:f}:{i}:{i}" for i in order]


def test_no_rows(client: triton.InferenceServerClient) -> None:
    result = client.infer(
        "kinds", inputs_of({"number": np.zeros((0, 1, 3), "f4")}), outputs=wanted(["twice"])
    )
    assert result.as_numpy("twice").shape == (0, 1, 3)


def test_async_requests(service: Running) -> None:
    client = triton.InferenceServerClient(service.address, concurrency=8)
    pending = [client.async_infer("lenet5", inputs_of({"image": IMAGES[i % 3][None]})) for i in range(24)]
    expected = netspec.load(LENET)(IMAGES)
    for index, request in enumerate(pending):
        found = request.get_result().as_numpy("probabilities")[0]
        np.testing.assert_allclose(found, expected[index % 3], rtol=1e-5, atol=1e-7)
    client.close()


# --- errors -----------------------------------------------------------------------------------------


def text_input() -> triton.InferInput:
    tensor = triton.InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array(["a"], object))
    return tensor


REFUSED: dict[str, tuple[str, Any, str, str]] = {
    "unknown model": ("lenet", lambda: inputs_of({"image": IMAGES}), "404", "did you mean `lenet5`?"),
    "unknown input": ("lenet5", lambda: inputs_of({"imag": IMAGES}), "400", "did you mean `image`?"),
    "wrong rank": ("lenet5", lambda: inputs_of({"image": IMAGES[0]}), "400", "expected 4 axes [N, 1, 28, 28]"),
    "wrong size": ("lenet5", lambda: inputs_of({"image": IMAGES[..., :27]}), "400", "axis 3 is 28"),
    "another kind": ("lenet5", lambda: inputs_of({"image": IMAGES.astype("i8")}), "400", "expected FP32"),
    "texts": ("lenet5", lambda: [text_input()], "400", "BYTES"),
    "missing input": ("siamese", lambda: inputs_of({"left": IMAGES}), "400", "inputs right, target: missing"),
    "rows that differ": (
        "siamese", lambda: inputs_of({"left": IMAGES, "right": IMAGES[:2], "target": np.ones((3, 1), "f4")}),
        "400", "N is 2 on axis 0, but 3",
    ),
    "a value that a layer refuses": (
        "kinds", lambda: inputs_of({"index": np.array([[[9, 0, 0]]]), "flag": np.ones((1, 3), "?"),
                                    "byte": np.ones((1, 3), "u1"), "number": np.ones((1, 1, 3), "f4")}),
        "400", "layer placed: index 9 is outside",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_errors_are_named(client: triton.InferenceServerClient, case: str) -> None:
    model, inputs, status, text = REFUSED[case]
    with pytest.raises(InferenceServerException) as error:
        client.infer(model, inputs())
    assert error.value.status() == status
    assert text in error.value.message()


def test_an_unknown_output_is_named(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="did you mean `probabilities`"):
        client.infer("lenet5", inputs_of({"image": IMAGES}), outputs=wanted(["probability"]))


def test_shared_memory_is_refused(client: triton.InferenceServerClient) -> None:
    tensor = triton.InferInput("image", IMAGES.shape, "FP32")
    tensor.set_shared_memory("region", IMAGES.nbytes)
    with pytest.raises(InferenceServerException, match="shared memory is not supported"):
        client.infer("lenet5", [tensor])


# --- loading and unloading --------------------------------------------------------------------------


def test_clients_load_and_unload_where_the_profile_lets_them(networks: dict[str, Path]) -> None:
    with serving(networks["kinds"], model_control=True) as running:
        client = triton.InferenceServerClient(running.address)
        client.unload_model("kinds")
        assert not client.is_model_ready("kinds")
        assert not client.is_server_ready()
        with pytest.raises(InferenceServerException, match="it was unloaded") as error:
            client.infer("kinds", inputs_of({"number": np.ones((1, 1, 3), "f4")}), outputs=wanted(["twice"]))
        assert error.value.status() == "503"
        client.load_model("kinds")
        assert client.is_model_ready("kinds")
        client.infer("kinds", inputs_of({"number": np.ones((1, 1, 3), "f4")}), outputs=wanted(["twice"]))
        with pytest.raises(InferenceServerException, match="from its own files only"):
            client.load_model("kinds", config='{"backend": "x"}')
        client.close()


def test_clients_do_not_by_default(client: triton.InferenceServerClient) -> None:
    for change in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="model_control"):
            change("kinds")
    assert client.is_model_ready("kinds")
