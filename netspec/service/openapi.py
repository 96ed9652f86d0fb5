"""`GET /openapi.json`: the service in OpenAPI 3.1, each model's inference with its own types.

https://spec.openapis.org/oas/v3.1.1
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from netspec import __version__
from netspec.service import typed
from netspec.service.http import Call, Reply
from netspec.service.repository import Entry
from netspec.service.state import State
from netspec.service.typed import COUNT, FLAG, TEXT, array_of, object_of, parameters_of

Json = dict[str, Any]

_REF = "#/components/responses/"
_ERRORS = {
    "400": "What was sent is wrong; `error` says where.",
    "401": "The request needs a token.",
    "403": "Clients may not do this here.",
    "404": "There is no such model or version.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body is compressed in a way that is not known.",
    "500": "The service failed; its log says why.",
    "503": "Not ready, or the queue is full: try again later.",
    "504": "It was not computed in its time.",
}
_BODY = ("400", "408", "413", "415", "503")
_RETRY = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
_TENSOR = object_of({"name": TEXT, "datatype": TEXT, "shape": array_of({"type": "integer", "minimum": -1})})
_METADATA = object_of(
    {"name": TEXT, "versions": array_of(TEXT), "platform": TEXT,
     "inputs": array_of(_TENSOR), "outputs": array_of(_TENSOR)}
)  # fmt: skip
_DURATION = object_of({"count": COUNT, "ns": COUNT})
_STATISTICS = object_of({"model_stats": array_of(object_of({
    "name": TEXT, "version": TEXT, "last_inference": COUNT, "inference_count": COUNT, "execution_count": COUNT,
    "inference_stats": {"type": "object", "additionalProperties": _DURATION},
    "batch_stats": array_of(object_of({"batch_size": COUNT})),
}))})  # fmt: skip
_CONFIG = object_of({"name": TEXT, "platform": TEXT, "max_batch_size": COUNT,
                     "input": array_of({"type": "object"}), "output": array_of({"type": "object"})})  # fmt: skip
_STATE = object_of(
    {"name": TEXT, "version": TEXT, "state": {"enum": ["READY", "UNAVAILABLE"]}, "reason": TEXT}
)
_DIMENSION = {"description": "A size, or an expression over the symbols.", "type": ["integer", "string"]}
_TYPE = object_of({"shape": array_of(_DIMENSION), "dtype": TEXT})
_SHAPES = object_of({
    "name": TEXT,
    "description": {"type": ["string", "null"]},
    "inputs": {"type": "object", "additionalProperties": _TYPE},
    "outputs": {"type": "object", "additionalProperties": _TYPE},
    "layers": array_of(object_of({
        "name": TEXT, "type": TEXT, "inputs": array_of(TEXT), "parameters": COUNT, "macs": _DIMENSION,
        "outputs": {"type": "object", "additionalProperties": _TYPE},
    })),
    "parameters": COUNT, "macs": _DIMENSION, "constraints": array_of(TEXT),
})  # fmt: skip


async def openapi(call: Call) -> Reply:
    """`GET /openapi.json`."""
    return Reply(await asyncio.to_thread(lambda: json.dumps(document(call.state)).encode()))


def document(state: State) -> Json:
    """The description of the service as it is now; inference is described for the models that are ready."""
    codes = [code for code in _ERRORS if state.token is not None or code != "401"]
    found: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "netspec",
            "version": __version__,
            "description": "Neural networks by the Open Inference Protocol v2 with its binary tensor extension.",
        },
        "paths": {**_fixed(state), **_by_name(state)},
        "components": {
            "schemas": {"Error": object_of({"error": TEXT})},
            "responses": {code: _error(code) for code in codes},
        },
    }
    for number, entry in enumerate(_ready(state)):
        _add_inference(found, state, entry, f"model{number}")
    if state.token is not None:
        _require_token(found)
    return found


def _ready(state: State) -> Iterator[Entry]:
    return (entry for entry in state.repository if entry.model is not None)


def _error(code: str) -> Json:
    headers = {"headers": _RETRY} if code in ("503", "504") else {}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": _ERRORS[code], "content": content, **headers}


def _answers(schema: Json, *codes: str, what: str = "What was asked for.") -> Json:
    """The responses of an operation: JSON, or one of these errors."""
    content = {"application/json": {"schema": schema}}
    return {
        "200": {"description": what, "content": content},
        **{code: {"$ref": _REF + code} for code in sorted({*codes, "500"})},
    }


def _get(operation: str, summary: str, schema: Json, *codes: str, **more: Any) -> Json:
    return {
        "get": {"operationId": operation, "summary": summary, "responses": _answers(schema, *codes), **more}
    }


# --- what every service has -------------------------------------------------------------------------


def _fixed(state: State) -> Json:
    ready = object_of({"ready": FLAG})
    is_ready = _get("ready", "Whether a model answers.", ready)
    is_ready["get"]["responses"]["503"] = {
        "description": "No model answers, or the end is near.",
        "content": {"application/json": {"schema": ready}},
    }
    metrics = {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": TEXT}}}
    only_ready = {"type": "object", "properties": {"ready": {**FLAG, "default": False}}}
    return {
        "/v2": _get("server", "The server's metadata.",
                    object_of({"name": TEXT, "version": TEXT, "extensions": array_of(TEXT)})),
        "/v2/health/live": _get("live", "Whether the process answers.", object_of({"live": FLAG})),
        "/v2/health/ready": is_ready,
        "/v2/models/stats": _get("statistics", "Statistics of all models.", _STATISTICS),
        "/v2/repository/index": {"post": {
            "operationId": "index", "summary": "Every model and its state.",
            "requestBody": {"content": {"application/json": {"schema": only_ready}}},
            "responses": _answers(array_of(_STATE), *_BODY),
        }},
        "/metrics": {"get": {"operationId": "metrics", "summary": "For Prometheus.",
                             "responses": {"200": metrics, "500": {"$ref": _REF + "500"}}}},
        "/openapi.json": _get("openapi", "This document.", {"type": "object"}),
    }  # fmt: skip


def _by_name(state: State) -> Json:
    """Paths with a model's name in braces, for all models alike."""
    names = sorted({entry.name for entry in state.repository})
    versions = sorted({entry.version for entry in state.repository}, key=int)
    model = _named("model", names)
    ready = object_of({"name": TEXT, "ready": FLAG})
    found: Json = {}
    for path, suffix, parameters in (
        ("/v2/models/{model}", "", [model]),
        ("/v2/models/{model}/versions/{version}", "_of_version", [model, _named("version", versions)]),
    ):
        found[path] = _get(f"metadata{suffix}", "Names, datatypes and shapes.", _METADATA, "404", "503")
        found[f"{path}/config"] = _get(f"config{suffix}", "Triton's configuration.", _CONFIG, "404", "503")
        found[f"{path}/stats"] = _get(f"stats{suffix}", "Statistics.", _STATISTICS, "404")
        found[f"{path}/shapes"] = _get(
            f"shapes{suffix}", "Every layer with its shape.", _SHAPES, "404", "503"
        )
        found[f"{path}/ready"] = is_ready = _get(f"is_ready{suffix}", "Whether it answers.", ready, "404")
        is_ready["get"]["responses"]["503"] = {
            "description": "It does not.", "content": {"application/json": {"schema": ready}}
        }  # fmt: skip
        for place in list(found)[-5:]:
            found[place]["parameters"] = parameters
    for verb, summary in (
        ("load", "Read a model's files again."),
        ("unload", "Take a model out of service."),
    ):
        own = {**parameters_of(unload_dependents=FLAG), "additionalProperties": False}
        schema = {"type": "object", "properties": {"parameters": own}}
        found[f"/v2/repository/models/{{model}}/{verb}"] = {"parameters": [model], "post": {
            "operationId": verb, "summary": summary,
            "requestBody": {"content": {"application/json": {"schema": schema}}},
            "responses": _answers({"type": "object"}, *_BODY, "403", "404"),
        }}  # fmt: skip
    return found


def _named(name: str, values: list[str]) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"enum": values, "type": "string"}}


# --- inference --------------------------------------------------------------------------------------


def _add_inference(found: Json, state: State, entry: Entry, key: str) -> None:
    """The typed paths of one version: its own, and the model's if it is the one that answers without."""
    assert entry.model is not None
    signature = entry.model.signature
    schemas = found["components"]["schemas"]
    schemas[f"{key}.request"] = typed.request(signature)
    version = {"enum": [other.version for other in state.repository.versions(entry.name).values()]}
    schemas[f"{key}.response"] = typed.response(entry.name, version, signature)
    paths = [f"/v2/models/{_escaped(entry.name)}/versions/{entry.version}/infer"]
    if state.repository.entry(entry.name, None) is entry:
        paths.append(f"/v2/models/{_escaped(entry.name)}/infer")
    for path in paths:
        found["paths"][path] = {
            "post": _inference(entry, key, operation=f"infer_{key}_{len(found['paths'])}")
        }


def _escaped(name: str) -> str:
    """A name in a path, where braces would be a parameter."""
    return quote(name, safe="")


def _inference(entry: Entry, key: str, operation: str) -> Json:
    assert entry.model is not None
    json_body: Json = {"schema": {"$ref": f"#/components/schemas/{key}.request"}}
    example = typed.example(entry.model.signature)
    if example is not None:
        json_body["examples"] = {"zeros": {"value": example}}
    binary = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
    answers = _answers({"$ref": f"#/components/schemas/{key}.response"}, *_BODY, "504", what="The outputs.")
    answers["200"]["content"]["application/octet-stream"] = binary
    answers["200"]["headers"] = {"Inference-Header-Content-Length": {
        "description": "Bytes of the JSON part, where binary tensors follow it.", "schema": COUNT
    }}  # fmt: skip
    return {
        "operationId": operation,
        "summary": f"The outputs of {entry.name}, version {entry.version}.",
        "description": "Tensors may also be sent in binary, after the JSON: an input has the parameter "
        "`binary_data_size` then instead of `data`, and the header Inference-Header-Content-Length says how "
        "many bytes the JSON has.",
        "tags": [entry.name],
        "requestBody": {"required": True, "content": {"application/json": json_body}},
        "responses": answers,
    }


def _require_token(found: Json) -> None:
    found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, item in found["paths"].items():
        for method in ("get", "post"):
            if method in item and not path.startswith("/v2/health/"):
                item[method]["security"] = [{"token": []}]
                item[method]["responses"]["401"] = {"$ref": _REF + "401"}
