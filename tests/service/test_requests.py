"""The parser: what it reads, what it refuses by name, and that nothing makes it do anything else."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netspec
from netspec.service.errors import Refused
from netspec.service.request import HEADS_KEPT, Parser
from netspec.service.signature import Signature
from tests.service.conftest import KINDS
from tests.service.running import Running, arrays_of, infer, request_of

MIB = 1024 * 1024
NET = netspec.load({"netspec": 1, "name": "kinds", **KINDS})
NUMBER = np.array([[[0.5, -1.5, 2.0]]], "<f4")


def parser(max_json: int = MIB, max_tensor: int = MIB) -> Parser:
    return Parser(Signature(NET), max_json, max_tensor)


def parse(document: Any, tail: bytes = b"", **limits: int) -> tuple[Any, dict[str, Any]]:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parser(**limits).parse(text + tail, len(text) if tail else None)


def number(data: Any = (0.5, -1.5, 2.0), **changes: Any) -> dict[str, Any]:
    """A request for `twice`."""
    tensor = {"name": "number", "shape": [1, 1, 3], "datatype": "FP32", "data": data, **changes}
    return {"inputs": [{k: v for k, v in tensor.items() if v is not None}], "outputs": [{"name": "twice"}]}


# --- what it reads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [[0.5, -1.5, 2], [[[0.5, -1.5, 2]]]], ids=["flat", "nested"])
def test_numbers_flat_and_nested(data: Any) -> None:
    _, inputs = parse(number(data))
    np.testing.assert_array_equal(inputs["number"], NUMBER)
    assert inputs["number"].dtype == np.float32


def test_binary_tensors_are_views_of_the_body() -> None:
    arrays = {"number": NUMBER, "index": np.array([[[4, 0, 2]]])}
    body, size = request_of(arrays, outputs=[{"name": "placed"}])
    _, inputs = parser().parse(body, size)
    whole = np.frombuffer(body, "u1")
    for name, array in arrays.items():
        np.testing.assert_array_equal(inputs[name], array)
        assert np.shares_memory(inputs[name], whole)


def test_bfloat16_is_widened(service: Running) -> None:
    halves = (np.array([1.5, -2.0, 3.0], "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    tensor = {"name": "number", "shape": [1, 1, 3], "datatype": "BF16", "parameters": {"binary_data_size": 6}}
    asked = [{"name": "twice", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [tensor], "outputs": asked}).encode()
    answer = service.ask(
        "POST", "/v2/models/kinds/infer", head + halves, {"Inference-Header-Content-Length": str(len(head))}
    )
    np.testing.assert_array_equal(arrays_of(answer)["twice"], [[[3, -4, 6]]])


def test_a_byte_is_true_or_false() -> None:
    tensors = [
        {"name": "flag", "shape": [1, 3], "datatype": "BOOL", "parameters": {"binary_data_size": 3}},
        {"name": "byte", "shape": [1, 3], "datatype": "UINT8", "data": [1, 2, 3]},
    ]
    _, inputs = parse({"inputs": tensors, "outputs": [{"name": "sum"}]}, bytes([0, 1, 7]))
    assert inputs["flag"].tolist() == [[False, True, True]]
    assert inputs["flag"].view("u1").tolist() == [[0, 1, 1]]


def test_numbers_that_json_does_not_know() -> None:
    """NaN and infinities come as Python's and RapidJSON's writers put them."""
    text = json.dumps(number([float("nan"), float("inf"), 1e400])).encode()
    _, inputs = parse(text)
    np.testing.assert_array_equal(inputs["number"], [[[np.nan, np.inf, np.inf]]])


def test_they_are_null_in_an_answer(service: Running) -> None:
    (output,) = service.post("/v2/models/kinds/infer", number([float("nan"), float("-inf"), 1.0])).json[
        "outputs"
    ]
    assert output["data"] == [None, None, 2.0]
    assert output["parameters"] == {"not_finite": 2}


def test_heads_are_kept_and_not_mixed_up() -> None:
    one = parser()
    for _ in range(2):
        for rows in (1, 2):
            array = np.arange(3 * rows, dtype="<f4").reshape(rows, 1, 3)
            body, size = request_of({"number": array}, outputs=[{"name": "twice"}], id=f"r{rows}")
            head, inputs = one.parse(body, size)
            assert (head.id, head.rows) == (f"r{rows}", rows)
            np.testing.assert_array_equal(inputs["number"], array)
    for index in range(2 * HEADS_KEPT):
        body, size = request_of({"number": NUMBER}, outputs=[{"name": "twice"}], id=str(index))
        assert one.parse(body, size)[0].id == str(index)
    assert len(one._heads) <= HEADS_KEPT


# --- what it refuses --------------------------------------------------------------------------------

BINARY = {"binary_data_size": 12}
REFUSED: dict[str, tuple[Any, int, str]] = {
    "nothing": (b"", 400, "not valid JSON"),
    "not JSON": (b"{", 400, "not valid JSON"),
    "not UTF-8": (b"\xff\xfe{}", 400, "not valid JSON"),
    "a list": ([], 400, "no JSON object"),
    "nested too deep": (b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "nested too deep"),
    "an integer of thousands of digits": (b'{"inputs": ' + b"1" * 5000 + b"}", 400, "not valid JSON"),
    "no inputs": ({}, 400, "inputs: expected a list"),
    "an input that is no object": ({"inputs": [1]}, 400, "expected objects"),
    "an input without a name": (number(name=None), 400, "needs a `name`"),
    "an unknown input": (number(name="numbr"), 400, "did you mean `number`?"),
    "an input twice": ({"inputs": [number()["inputs"][0]] * 2}, 400, "given twice"),
    "no shape": (number(shape=None), 400, "expected `shape`"),
    "a negative size": (number(shape=[-1, 1, 3]), 400, "a size is an integer from 0"),
    "a size that is true": (number(shape=[True, 1, 3]), 400, "a size is an integer"),
    "a huge size": (number(shape=[2**31, 1, 3]), 400, "a size is an integer"),
    "a huge shape": (number(shape=[2**30, 1, 3]), 413, "is larger than"),
    "a huge shape of nothing": (number([], shape=[2**30, 1, 0]), 413, "is larger than"),
    "too many axes": (number(shape=[1] * 65), 400, "at most 64 sizes"),
    "another rank": (number(shape=[3]), 400, "expected 3 axes [N, 1, 3]"),
    "another size": (number(shape=[1, 1, 4]), 400, "axis 2 is 3"),
    "no datatype": (number(datatype=None), 400, "unknown datatype None"),
    "an unknown datatype": (number(datatype="FP8"), 400, "unknown datatype 'FP8'; known: BOOL"),
    "texts": (number(datatype="BYTES"), 400, "BYTES is not taken"),
    "another kind": (number(datatype="INT64"), 400, "expected FP32 (FP16, FP64 are cast), got INT64"),
    "no data": (number(None), 400, "needs `data` or"),
    "data and bytes": (number(parameters=BINARY), 400, "has both"),
    "too few numbers": (number([1.0]), 400, "has 3 elements, `data` has 1"),
    "a text among the numbers": (number([1.0, "2", 3]), 400, "expected numbers for FP32, got '2'"),
    "null among the numbers": (number([1.0, None, 3]), 400, "got None"),
    "true among the numbers": (number([1.0, True, 3]), 400, "got True"),
    "a ragged list": (number([[[1.0, 2], [3]]]), 400, "does not have the shape [1, 1, 3] (axis 1)"),
    "a list among numbers": (number([[[1.0, 2, [3]]]]), 400, "got list"),
    "another nesting": (number([[1.0, 2, 3]]), 400, "does not have the shape"),
    "a mapping as data": (number({"a": 1}), 400, "expected `data`, a list"),
    "the wrong number of bytes": (number(None, parameters={"binary_data_size": 11}), 400, "has 12 bytes"),
    "bytes that are not there": (number(None, parameters=BINARY), 400, "the inputs have 12 bytes"),
    "a text as a size": (number(None, parameters={"binary_data_size": "12"}), 400, "binary_data_size is '12'"),
    "an integer beyond its type": (
        {"inputs": [{"name": "byte", "shape": [1, 3], "datatype": "UINT8", "data": [1, 2, 256]},
                    {"name": "flag", "shape": [1, 3], "datatype": "BOOL", "data": [True, True, False]}],
         "outputs": [{"name": "sum"}]},
        400, "does not fit UINT8",
    ),
    "an output that is no object": ({**number(), "outputs": ["twice"]}, 400, "outputs: expected objects"),
    "an unknown output": ({**number(), "outputs": [{"name": "twise"}]}, 400, "did you mean `twice`?"),
    "an output twice": ({**number(), "outputs": [{"name": "twice"}] * 2}, 400, "asked for twice"),
    "a text for true": (
        {**number(), "outputs": [{"name": "twice", "parameters": {"binary_data": "yes"}}]},
        400, "binary_data: expected true or false",
    ),
    "a negative classification": (
        {**number(), "outputs": [{"name": "twice", "parameters": {"classification": -1}}]},
        400, "expected a number of classes",
    ),
    "inputs that the outputs need": ({**number(), "outputs": []}, 400, "inputs flag, index, byte: missing"),
    "parameters that are a list": ({**number(), "parameters": []}, 400, "parameters: expected an object"),
    "a number as the id": ({**number(), "id": 7}, 400, "id: expected a text, got 7"),
    "a negative timeout": ({**number(), "parameters": {"timeout": -1}}, 400, "expected microseconds"),
    "a timeout that is no number": ({**number(), "parameters": {"timeout": False}}, 400, "expected microseconds"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case: str) -> None:
    document, status, text = REFUSED[case]
    with pytest.raises(Refused) as error:
        parse(document)
    assert text in error.value.message
    assert error.value.status == status


@pytest.mark.parametrize("case", REFUSED)
def test_refused_over_http(case: str, service: Running) -> None:
    document, status, text = REFUSED[case]
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    answer = service.ask("POST", "/v2/models/kinds/infer", body)
    if "huge" not in case:  # the service's limit is larger than this test's parser's
        assert answer.status == status
        assert text in answer.json["error"]
    assert set(answer.json) == {"error"}
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 30, "99999", ""])
def test_a_wrong_header_length(length: str, service: Running) -> None:
    answer = service.ask("POST", "/v2/models/kinds/infer", b"{}", {"Inference-Header-Content-Length": length})
    assert answer.status == 400
    assert "Inference-Header-Content-Length" in answer.json["error"]


def test_the_json_part_has_its_own_limit() -> None:
    with pytest.raises(Refused, match="send tensors in binary") as error:
        parse(number(), max_json=50)
    assert error.value.status == 413


def test_nothing_is_allocated_for_what_is_refused() -> None:
    """A few bytes that claim gigabytes."""
    claims = [
        number(shape=[2**30, 1, 3], data=None, parameters={"binary_data_size": 12 * 2**30}),
        number(["x" * 100_000, *[1.0] * 2]),  # NumPy would make every element as wide as the longest text
        number([[[0.0]] * 1000]),
    ]
    texts = [json.dumps(claim).encode() for claim in claims]
    tracemalloc.start()
    try:
        for text in texts:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            with pytest.raises(Refused):
                parser(max_tensor=2**40).parse(text, None)
            assert tracemalloc.get_traced_memory()[1] - before < 2 * MIB
    finally:
        tracemalloc.stop()


# --- whatever comes ---------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = ("inputs", "outputs", "id", "parameters", "name", "shape", "datatype", "data", "binary_data_size",
        "binary_data", "classification", "timeout", "binary_data_output")  # fmt: skip
VALID = [
    request_of({"number": NUMBER}, outputs=[{"name": "twice"}], id="a"),
    request_of({"number": NUMBER, "index": np.array([[[4, 0, 2]]])}, outputs=[{"name": "placed"}]),
    request_of({"flag": np.ones((2, 3), "?"), "byte": np.ones((2, 3), "u1")}, outputs=[{"name": "sum"}]),
]


def check(body: bytes, size: int | None) -> None:
    """Either arrays of the declared shapes, or a refusal with a status of the client's."""
    refused: Refused | None = None
    try:
        head, inputs = parser().parse(body, size)
    except Refused as error:
        refused = error
    if refused is not None:
        assert 400 <= refused.status < 500
        assert json.dumps({"error": refused.message})
        return
    assert set(inputs) == set(head.needed)
    for slot in head.slots:
        if slot.port.name in inputs:
            assert inputs[slot.port.name].shape == slot.shape


@given(st.binary(max_size=200), st.none() | st.integers(0, 300))
def test_any_bytes(body: bytes, size: int | None) -> None:
    check(body, size)


@given(st.dictionaries(st.sampled_from(KEYS[:4]), JSON_VALUES), st.binary(max_size=20))
def test_any_json(document: Any, tail: bytes) -> None:
    text = json.dumps(document).encode()
    check(text + tail, len(text))


@given(st.data())
def test_changed_requests(data: st.DataObject) -> None:
    """A valid request with one value, somewhere in its JSON, put in place of another."""
    body, size = data.draw(st.sampled_from(VALID))
    document = json.loads(body[:size])
    here: Any = document
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(here[key], dict | list) or not here[key] or data.draw(st.booleans()):
            break
        here = here[key]
    here[key] = data.draw(JSON_VALUES)
    text = json.dumps(document).encode()
    check(text + body[size:], len(text))


@given(st.data())
def test_changed_bytes(data: st.DataObject) -> None:
    body, size = data.draw(st.sampled_from(VALID))
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed) - 1))
        kind = data.draw(st.sampled_from(("set", "cut", "insert")))
        if kind == "set":
            changed[place] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del changed[place : place + data.draw(st.integers(1, 20))]
            if not changed:
                break
        else:
            changed[place:place] = data.draw(st.binary(max_size=20))
    check(bytes(changed), data.draw(st.sampled_from((None, size, len(changed) // 2))))


@settings(max_examples=60)
@given(st.sampled_from(VALID), st.data())
def test_changed_requests_over_http(valid: tuple[bytes, int], data: st.DataObject) -> None:
    """The same through the real parser of HTTP and the real network: an answer in JSON or tensors, no 5xx."""
    service = RUNNING[0]
    body, size = valid
    place = data.draw(st.integers(0, len(body) - 1))
    changed = body[:place] + data.draw(st.binary(max_size=8)) + body[place + data.draw(st.integers(0, 8)) :]
    headers = {"Inference-Header-Content-Length": str(data.draw(st.sampled_from((size, len(changed), 0))))}
    answer = service.ask("POST", "/v2/models/kinds/infer", changed, headers)
    assert answer.status == 200 or 400 <= answer.status < 500, answer
    if answer.status != 200:
        assert set(answer.json) == {"error"}


RUNNING: list[Running] = []


@pytest.fixture(autouse=True)
def _running(service: Running) -> None:
    """Hypothesis' tests cannot take the service as an argument without a health check's complaint."""
    RUNNING[:] = [service]


# --- the rest of HTTP -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v2/", 404),
        ("GET", "/v2/models/../../etc/passwd", 404),
        ("GET", "/v2/models/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/v2/models/%00", 404),
        ("GET", "/v2/models/lenet5/versions/9", 404),
        ("GET", "/v2/models/lenet5/versions/1", 200),
        ("GET", "/v2/models/lenet5/infer", 405),
        ("DELETE", "/v2", 405),
        ("OPTIONS", "/v2/models/lenet5", 405),
        ("POST", "/v2/repository/index", 200),
        ("POST", "/v2/models/lenet5/versions/1/infer", 400),
        ("POST", "/v2/models/lenet5/versions/7/infer", 404),
    ],
)
def test_paths_and_methods(method: str, path: str, status: int, service: Running) -> None:
    answer = service.ask(method, path)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert status == 200 or set(answer.json) == {"error"}
    if status == 405:
        assert answer.headers["allow"]


def test_head_is_get_without_a_body(service: Running) -> None:
    answer = service.ask("HEAD", "/v2")
    assert (answer.status, answer.body) == (200, b"")


def test_the_index_can_be_asked_for_ready_models_only(service: Running) -> None:
    assert len(service.post("/v2/repository/index", {"ready": True}).json) == 4
    assert service.post("/v2/repository/index", {"ready": "yes"}).status == 400
    assert service.ask("POST", "/v2/repository/index", b"[").status == 400


def test_requests_follow_one_another_on_a_connection(service: Running) -> None:
    """Also after errors, whose bodies were not read."""
    connection = service.connect()
    body, size = request_of({"number": NUMBER}, outputs=[{"name": "twice"}])
    for index in range(6):
        path = "/v2/models/kinds/infer" if index % 2 else "/v2/models/nothing/infer"
        connection.request("POST", path, body, {"Inference-Header-Content-Length": str(size)})
        response = connection.getresponse()
        response.read()
        assert response.status == (200 if index % 2 else 404)
    connection.close()


def test_a_body_in_chunks(service: Running) -> None:
    connection = service.connect()
    body, size = request_of({"number": NUMBER}, outputs=[{"name": "twice"}])
    pieces = iter([body[:10], body[10:50], body[50:]])
    connection.request(
        "POST",
        "/v2/models/kinds/infer",
        pieces,
        {"Inference-Header-Content-Length": str(size)},
        encode_chunked=True,
    )
    assert connection.getresponse().read().endswith((NUMBER * 2).tobytes())
    connection.close()


def test_a_long_answer_in_json(service: Running) -> None:
    """Written in a thread, in pieces."""
    array = np.random.RandomState(0).random_sample((5000, 1, 3)).astype("f4")
    answer = infer(
        service, "kinds", {"number": array}, outputs=[{"name": "twice", "parameters": {"binary_data": False}}]
    )
    (output,) = answer.json["outputs"]
    np.testing.assert_array_equal(np.array(output["data"], "f4").reshape(array.shape), array * 2)


def test_networks_without_a_datatype_are_refused(tmp_path: Path) -> None:
    net = netspec.load(
        {"netspec": 1, "inputs": {"x": {"shape": ["N"], "dtype": "complex64"}}, "layers": [{"type": "neg"}]}
    )
    with pytest.raises(netspec.InputError, match="no datatype for complex64"):
        Signature(net)
