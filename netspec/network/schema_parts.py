"""The parts that JSON Schemas are put together from, in the form that editors answer exactly.

yaml-language-server and check-jsonschema give one exact error for `{"type": ["integer", "array"]}` and a
heap of guesses for a union of two schemas, so unions of different types are folded into one schema.
Draft 7, which is what the server reads: no `prefixItems`, no `$defs`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from netspec.layers.documentation import field_docs
from netspec.layers.parameters import LARGEST

Json = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"

_KEYWORDS = {
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "string": ("pattern", "patternErrorMessage", "minLength", "maxLength"),
    "array": ("items", "minItems", "maxItems", "perAxis"),
    "object": ("properties", "required", "additionalProperties", "minProperties", "propertyNames"),
    "boolean": (),
    "null": (),
}
"""What says something about values of one type only."""
_NOTES = ("title", "description", "default")
"""What Pydantic adds and the reader of the schema gets in other words."""

ARGUMENT: Json = {
    "type": "string",
    "pattern": "\\$",
    "patternErrorMessage": "A text has an argument in it, such as $planes.",
}
"""A text with a block's argument in it, such as `$planes * 4`."""


# --- values -----------------------------------------------------------------------------------------


def simplified(schema: Json) -> Json:
    """Pydantic's schema of one value, its unions folded, without limits that only say `64 bits`."""
    result: Json = {}
    for key, value in schema.items():
        if key in _NOTES or (key in ("minimum", "maximum") and abs(value) == LARGEST):
            continue
        if key == "properties":
            value = {name: simplified(part) for name, part in value.items()}
        elif key in ("items", "additionalProperties", "propertyNames") and isinstance(value, dict):
            value = simplified(value)
        elif key == "anyOf":
            continue
        result[key] = value
    options = [simplified(option) for option in schema.get("anyOf", ())]
    return {**result, **_union(options)} if options else result


def types(schema: Json) -> tuple[str, ...]:
    """The JSON types that a schema names; () where it names none."""
    found = schema.get("type", ())
    return (found,) if isinstance(found, str) else tuple(found)


def _union(options: list[Json]) -> Json:
    """One schema for several: folded where their types differ, `anyOf` for what is left."""
    nullable = any(option == {"type": "null"} for option in options)
    folded: list[Json] = []
    for option in options:
        if option == {"type": "null"}:
            continue
        for index, other in enumerate(folded):
            if _foldable(option) and _foldable(other) and not _overlap(option, other):
                folded[index] = {**other, **option, "type": [*types(other), *types(option)]}
                break
        else:
            folded.append(option)
    if nullable and len(folded) == 1 and types(folded[0]):
        only = {**folded[0], "type": [*types(folded[0]), "null"]}
        if "enum" in only:
            only["enum"] = [*only["enum"], None]
        return only
    if nullable:
        folded.append({"type": "null"})
    return folded[0] if len(folded) == 1 else {"anyOf": folded}


def _foldable(schema: Json) -> bool:
    known = {keyword for name in types(schema) for keyword in _KEYWORDS[name]}
    return bool(types(schema)) and not schema.keys() - known - {"type"}


def _overlap(a: Json, b: Json) -> bool:
    kinds = [{"number" if name == "integer" else name for name in types(s)} for s in (a, b)]
    return bool(kinds[0] & kinds[1])


def per_axis(schema: Json, rank: int | None, single_means_all: bool) -> Json:
    """The lists that have one value an axis, of that length; rank None: of any."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [per_axis(option, rank, single_means_all) for option in schema["anyOf"]]}
    if "perAxis" not in schema:
        return schema
    result = {key: value for key, value in schema.items() if key != "perAxis"}
    if rank is None:
        return result
    result |= {"minItems": 1 if single_means_all else rank, "maxItems": rank}
    if single_means_all and rank > 2:  # a list of one or of `rank`, and of nothing between
        result |= {"if": {"type": "array", "minItems": 2}, "then": {"minItems": rank}}
    return result


def with_arguments(schema: Json) -> Json:
    """The same, where a text with `$` may stand for every value that is not a text already."""
    result = dict(schema)
    if isinstance(schema.get("items"), dict):
        result["items"] = with_arguments(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = with_arguments(schema["additionalProperties"])
    if "properties" in schema:
        result["properties"] = {name: with_arguments(part) for name, part in schema["properties"].items()}
    if "anyOf" in schema:
        return {**result, "anyOf": [*schema["anyOf"], ARGUMENT]}
    if "enum" in schema:
        notes: Json = {key: result.pop(key) for key in ("markdownDescription", "default") if key in result}
        return {"anyOf": [result, ARGUMENT], **notes}
    if types(schema) and "string" not in types(schema):
        result |= {**ARGUMENT, "type": [*types(schema), "string"]}
    return result


# --- words ------------------------------------------------------------------------------------------


def markdown(text: str) -> str:
    """Plain sentences as Markdown: `(*)` stays `(*)`."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*<])", r"\\\1", part) for part in parts)


def plain_json(value: Any) -> Any:
    """A default as JSON holds it, or None where it cannot."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, tuple | list):
        return [plain_json(item) for item in value]
    return value if isinstance(value, bool | int | float | str) else None


def documented(schema: Json, text: str, default: Any = None) -> Json:
    """The schema with what an editor shows over it, and what it fills in."""
    shown = plain_json(default)
    result = dict(schema)
    if shown is not None:
        result["default"] = shown
        text = f"{text}\n\nDefault: `{json.dumps(shown)}`" if text else f"Default: `{json.dumps(shown)}`"
    return {**result, "markdownDescription": markdown(text)} if text else result


# --- models -----------------------------------------------------------------------------------------


def model_schema(cls: type[BaseModel]) -> Json:
    """The schema of a Pydantic model: every key with its docstring, nested models in place."""
    raw = cls.model_json_schema(by_alias=True)
    found = [model for field in cls.model_fields.values() for model in _models(field.annotation)]
    inner = {model.__name__: model for model in found}
    definitions = {name: model_schema(inner[name]) for name in raw.get("$defs", ()) if name in inner}
    return _object_schema(cls, _inlined(raw, definitions))


def _object_schema(cls: type[BaseModel], raw: Json) -> Json:
    docs = field_docs(cls)
    properties: Json = {}
    for name, info in cls.model_fields.items():
        key = info.alias or name
        default = None if info.is_required() else info.get_default(call_default_factory=True)
        properties[key] = documented(simplified(raw["properties"][key]), docs.get(key, ""), default)
    result: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**result, "required": raw["required"]} if "required" in raw else result


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from _models(field.annotation)
    for part in get_args(annotation):
        yield from _models(part)


def _inlined(value: Any, definitions: Json) -> Any:
    if isinstance(value, dict):
        if "$ref" in value:
            return definitions[value["$ref"].rsplit("/", 1)[-1]]
        return {key: _inlined(part, definitions) for key, part in value.items() if key != "$defs"}
    if isinstance(value, list):
        return [_inlined(part, definitions) for part in value]
    return value


# --- shared parts -----------------------------------------------------------------------------------


class Definitions:
    """Schemas by name; the same schema is kept once, however many ask for it."""

    def __init__(self) -> None:
        self.schemas: dict[str, Json] = {}
        self._names: dict[str, str] = {}

    def share(self, name: str, schema: Json) -> Json:
        """A reference to the schema, under `name` where it is new."""
        key = json.dumps(schema, sort_keys=True)
        if len(key) < 60:
            return schema
        if key not in self._names:
            if name in self.schemas:
                raise ValueError(f"two schemas are called {name}")
            self._names[key] = name
            self.schemas[name] = schema
        return self.reference(self._names[key])

    def reference(self, name: str) -> Json:
        """A reference to a schema that may come later."""
        return {"$ref": f"#/definitions/{name}"}


def render(schema: Json) -> str:
    """The schema as a text with a line for each definition: small, and still readable as a difference."""

    def line(key: str, value: Any) -> str:
        return f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'), allow_nan=False)}"

    parts = [f"  {line(key, value)}" for key, value in schema.items() if key != "definitions"]
    if "definitions" in schema:
        inner = ",\n".join(f"    {line(key, value)}" for key, value in schema["definitions"].items())
        parts.append(f'  "definitions": {{\n{inner}\n  }}')
    return "{\n" + ",\n".join(parts) + "\n}\n"
