"""Documentation as Markdown: of types, parameters, keys; read off the classes, as the schema is."""

from __future__ import annotations

from functools import cache

from pydantic import BaseModel

from netspec.layers import REGISTRY, Layer
from netspec.layers.documentation import field_docs
from netspec.network.schema import BLOCK_KEYS, ENTRY_KEYS, parameter_schemas, type_markdown
from netspec.network.schema_parts import Json, markdown, types
from netspec.network.spec import Header, InputSpec, OutputSpec

REPEAT_KEYS = {"times": "How many copies.", "from": "The first one's number; default: 0."}


def _model_keys(cls: type[BaseModel]) -> dict[str, str]:
    """The keys of a model, as they are written, with the sentences under its fields."""
    docs = field_docs(cls)
    written = (info.alias or name for name, info in cls.model_fields.items())
    return {key: docs.get(key, "") for key in written}


FILE_KEYS = {
    **_model_keys(Header),
    "layers": "The entries in order, each fed by the one before it.",
    "blocks": "Lists of layers with arguments, by name; an entry `block: name` stands for one.",
    "include": "Files whose `blocks` are known here too: relative paths inside this file's folder.",
}
"""The keys of a network file."""


def type_words(cls: type[Layer]) -> str:
    """A type: signature, what it does, shapes, an example."""
    rule = (cls.infer.__doc__ or "").strip().split("\n")[0]
    text = type_markdown(cls)
    return f"{text}\n\nShapes: {markdown(rule)}" if rule else text


def parameter_words(cls: type[Layer], parameter: str) -> str | None:
    """A parameter: what it means, its values, its default."""
    schema = parameter_schemas(cls).get(parameter)
    if schema is None:
        return ENTRY_KEYS.get(parameter)
    lines = [f"`{parameter}`: {value_words(schema)}"]
    if parameter in cls.inferred:
        lines[0] += ", inferred from the input where it is left out"
    elif parameter in required(cls):
        lines[0] += ", required"
    return "\n\n".join([*lines, schema.get("markdownDescription", "")]).strip()


def required(cls: type[Layer]) -> list[str]:
    """The parameters that have no default, in torch's order."""
    fields = {info.alias or name: info for name, info in cls.model_fields.items()}
    return [name for name in cls.own_parameters() if fields[name].is_required()]


def choices(cls: type[Layer], parameter: str, only: bool = False) -> list[str]:
    """The words that a parameter may be: an enumeration's, or true and false; only: if it is nothing else."""
    schema = parameter_schemas(cls).get(parameter, {})
    if only and ("anyOf" in schema or ("enum" not in schema and types(schema) != ("boolean",))):
        return []
    return _choices(schema)


def _choices(schema: Json) -> list[str]:
    if "anyOf" in schema:
        return [word for option in schema["anyOf"] for word in _choices(option)]
    if "enum" in schema:
        return ["null" if value is None else str(value) for value in schema["enum"]]
    return ["true", "false"] if "boolean" in types(schema) else []


def value_words(schema: Json) -> str:
    """A schema in words: `integer or list`."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(value_words(option) for option in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(_choices(schema))
    words = {"array": "list", "object": "mapping", "string": "text", "boolean": "true or false"}
    bound = schema.get("minimum", schema.get("exclusiveMinimum"))
    sign = ">=" if "minimum" in schema else ">"
    named = []
    for name in types(schema):
        limit = f" {sign} {bound:g}" if bound is not None and name in ("integer", "number") else ""
        named.append(words.get(name, name) + limit)
    return " or ".join(named) or "any value"


@cache
def inner_keys(kind: str) -> dict[str, str]:
    """The keys of a mapping that is no layer, with what each means."""
    if kind == "picture":
        from netspec.network.picture import PictureSpec

        return _model_keys(PictureSpec)
    if kind == "profile":
        from netspec.runtime.profile import Profile

        return _model_keys(Profile)
    known = {"file": FILE_KEYS, "block": BLOCK_KEYS, "entry": ENTRY_KEYS, "repeat": REPEAT_KEYS}
    models: dict[str, type[BaseModel]] = {"input": InputSpec, "output": OutputSpec}
    return _model_keys(models[kind]) if kind in models else known.get(kind, {})


def layer_class(name: str | None) -> type[Layer] | None:
    """The class of a type's name."""
    return REGISTRY.get(name or "")
