"""What `schemathesis run` loads in `test_openapi`: its own check of answers, by the document as it is.

schemathesis 4.32 turns `prefixItems` of a response into the `items` list of older drafts and then refuses
that list. So it is given the answers' schemas without, and whole ones are held against the answers here.
"""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import schemathesis

WHOLE: dict[str, Any] = {}
"""The schemas of answers by name, as the service gave them."""


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    schemas = raw_schema["components"]["schemas"]
    for name in schemas:
        if name.endswith(".response"):
            WHOLE[name] = copy.deepcopy(schemas[name])
            _strip(schemas[name])


def _strip(schema: Any) -> None:
    if isinstance(schema, dict):
        schema.pop("prefixItems", None)
        for value in schema.values():
            _strip(value)
    elif isinstance(schema, list):
        for value in schema:
            _strip(value)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A request that gives the service a microsecond may be answered 504, or not, as it happens: it gets seconds."""
    parameters = case.body.get("parameters") if isinstance(case.body, dict) else None
    if isinstance(parameters, dict) and type(parameters.get("timeout")) is int and parameters["timeout"] > 0:
        parameters["timeout"] = max(parameters["timeout"], 10_000_000)


@schemathesis.check
def answer_as_described(ctx: Any, response: Any, case: Any) -> None:
    """The outputs' names, datatypes and sizes."""
    kind = response.headers.get("content-type", [""])[0]
    if response.status_code != 200 or "/infer" not in case.operation.path or kind != "application/json":
        return
    raw = case.operation.definition.raw["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    jsonschema.Draft202012Validator(WHOLE[raw.rsplit("/", 1)[1]]).validate(response.json())
    print("held against its schema", flush=True)
