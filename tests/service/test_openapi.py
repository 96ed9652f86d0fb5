"""The service's OpenAPI document, and a service that does what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from tests.service.conftest import KINDS
from tests.service.running import LENET, ROOT, Running, serving, write_network

Json = dict[str, Any]


def schema_of(document: Json, name: str) -> Json:
    """A schema of the document, on its own."""
    return {
        **document["components"]["schemas"][name],
        "$schema": "https://json-schema.org/draft/2020-12/schema",
    }


def takes(schema: Json, value: Any) -> bool:
    """Whether a value is valid."""
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def request(name: str, shape: list[int], datatype: str, data: Any) -> Json:
    """A request with one input."""
    return {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}


@pytest.fixture(scope="module")
def document(service: Running) -> Json:
    """What the service says of itself."""
    found: Json = service.get("/openapi.json").json
    return found


def keys(document: Json, model: str) -> tuple[str, str]:
    """The schemas of a model's request and answer."""
    post = document["paths"][f"/v2/models/{model}/infer"]["post"]
    request_body = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    answer = post["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    return request_body.rsplit("/", 1)[1], answer.rsplit("/", 1)[1]


def test_every_schema_is_one(document: Json) -> None:
    assert document["openapi"] == "3.1.0"
    for name in document["components"]["schemas"]:
        jsonschema.Draft202012Validator.check_schema(schema_of(document, name))
    operations = [
        op["operationId"]
        for item in document["paths"].values()
        for k, op in item.items()
        if k != "parameters"
    ]
    assert len(set(operations)) == len(operations)


def test_every_route_is_described(document: Json) -> None:
    from netspec.service.app import ROUTES
    from netspec.service.static import page_routes

    for path, methods in ROUTES.items():
        if path in page_routes():
            continue
        if path.endswith("/infer"):
            path = path.replace("{model}", "lenet5").replace("{version}", "1")
        assert {method.lower() for method in methods} <= set(document["paths"][path]), path


def test_requests_have_types(document: Json) -> None:
    lenet = schema_of(document, keys(document, "lenet5")[0])
    picture = np.zeros((1, 1, 28, 28)).tolist()
    assert takes(lenet, request("image", [1, 1, 28, 28], "FP32", picture))
    assert takes(lenet, request("image", [1, 1, 28, 28], "FP16", [0] * 784))
    for name, shape, datatype, data in (
        ("imag", [1, 1, 28, 28], "FP32", picture),
        ("image", [1, 1, 28, 27], "FP32", picture),
        ("image", [1, 28, 28], "FP32", picture),
        ("image", [1, 1, 28, 28], "INT64", picture),
        ("image", [1, 1, 28, 28], "FP32", ["0"] * 784),
        ("image", [1, 1, 28, 28], "FP32", [[[[0] * 27] * 28]]),
        ("image", [-1, 1, 28, 28], "FP32", []),
    ):
        assert not takes(lenet, request(name, shape, datatype, data)), (name, shape, datatype)
    kinds = schema_of(document, keys(document, "kinds")[0])
    assert takes(kinds, {"inputs": [
        {"name": "flag", "shape": [1, 3], "datatype": "BOOL", "data": [True, False, True]},
        {"name": "byte", "shape": [1, 3], "datatype": "UINT8", "data": [0, 1, 255]},
    ]})  # fmt: skip
    assert not takes(kinds, request("byte", [1, 3], "UINT8", [0, 1, 256]))
    assert not takes(kinds, request("flag", [1, 3], "BOOL", [0, 1, 1]))


def test_answers_are_as_described(service: Running, document: Json) -> None:
    """Values, classes, and null for what JSON has not."""
    answers = schema_of(document, keys(document, "lenet5")[1])
    asked = request("image", [1, 1, 28, 28], "FP32", [0] * 784)
    for outputs in ([], [{"name": "probabilities", "parameters": {"classification": 2}}]):
        answer = service.post("/v2/models/lenet5/infer", {**asked, "outputs": outputs})
        assert answer.status == 200
        assert takes(answers, answer.json), answer.json
        answer.json["outputs"][0]["datatype"] = "FP64"
    wrong = service.post("/v2/models/lenet5/infer", asked).json
    wrong["outputs"][0]["shape"] = [1, 11]
    assert not takes(answers, wrong)


def test_examples_are_taken(service: Running, document: Json) -> None:
    found = 0
    for path, item in document["paths"].items():
        content = item.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        for example in content.get("examples", {}).values():
            answer = service.post(path, example["value"])
            assert answer.status == 200, (path, answer.body)
            found += 1
    assert found >= 6


def test_it_follows_the_models(tmp_path: Path) -> None:
    """A model that is not ready has no types; with a token every operation says so."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("netspec: 1\ninputs: {x: [N]}\nlayers: [{type: Linaer}]\n", encoding="utf-8")
    odd = tmp_path / "odd.yaml"
    odd.write_text(
        'netspec: 1\nname: "a {b} c?"\ninputs: {x: [N]}\nlayers: [{type: ReLU}]\n', encoding="utf-8"
    )
    token = tmp_path / "token"
    token.write_text("secret", encoding="utf-8")
    with serving(LENET, bad, odd, token_file=str(token)) as service:
        assert service.get("/openapi.json").status == 401
        found = service.ask("GET", "/openapi.json", headers={"Authorization": "Bearer secret"}).json
        paths = found["paths"]
        assert "/v2/models/bad/infer" not in paths
        assert paths["/v2/models/{model}"]["parameters"][0]["schema"]["enum"] == ["a {b} c?", "bad", "lenet5"]
        path = "/v2/models/a%20%7Bb%7D%20c%3F/infer"
        assert paths[path]["post"]["security"] == [{"token": []}]
        body = json.dumps(request("x", [2], "FP32", [-1, 1])).encode()
        assert service.ask("POST", path, body, {"Authorization": "Bearer secret"}).json["outputs"][0][
            "data"
        ] == [0, 1]
        assert "security" not in paths["/v2/health/live"]["get"]


@pytest.mark.external
def test_a_fuzzer_finds_it_true(tmp_path: Path) -> None:
    """schemathesis: no failure of the service, every answer as its schema says, wrong requests refused.

    Needs schemathesis.
    """
    small = write_network(tmp_path / "small.yaml", {
        "inputs": {"x": ["N", 2], "y": {"shape": [2], "dtype": "int64"}},
        "layers": [{"name": "twice", "type": "mul", "inputs": "x", "other": 2},
                   {"name": "sum", "type": "add", "inputs": ["twice", "y"]}],
        "outputs": ["twice", "sum"],
    })  # fmt: skip
    kinds = write_network(tmp_path / "kinds.yaml", KINDS)
    with serving(small, kinds, LENET, model_control=True) as service:
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"http://{service.address}/openapi.json",
            "--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", "30",
            "--seed", "1", "--no-color", "--exclude-path-regex", "unload",
        ]  # fmt: skip
        environment = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.service.fuzz_hooks",
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout or " passed" in done.stdout, done.stdout
    assert done.stdout.count("held against its schema") > 50, done.stdout


CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method,answer_as_described"
)
