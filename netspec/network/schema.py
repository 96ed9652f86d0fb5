"""The JSON Schema of network files, for editors and for validators in other languages.

It is read off the layer classes and says as much as a schema can: names, types, ranges, required
parameters. What needs the whole network (shapes, references) only `netspec validate` and `netspec lsp` know.

An entry of `layers` is `type` as an enumeration, then one condition a type: a wrong word is one error,
and what stands in an entry is judged by its own type alone. Inside `blocks` a text with `$` may stand for
a value (and `$index` under `repeat`), so entries are defined twice, from one function.
"""

from __future__ import annotations

import functools

from pydantic.fields import FieldInfo

from netspec.layers import REGISTRY, Layer
from netspec.layers.base import _Spatial
from netspec.layers.documentation import example, field_docs, summary
from netspec.network.schema_parts import (
    DRAFT,
    Definitions,
    Json,
    documented,
    markdown,
    model_schema,
    per_axis,
    simplified,
    with_arguments,
)
from netspec.network.spec import FORMAT_VERSION, Header, InputSpec, OutputSpec

_NAME = "^[A-Za-z0-9_]+$"
_NUMBERED_NAME = r"^([A-Za-z0-9_]|\{\})+$|\$"
_IDENTIFIER = "^[A-Za-z_][A-Za-z0-9_]*$"
_REFERENCE: Json = {"type": ["string", "number"]}

ENTRY_KEYS = {
    "type": "A torch.nn module such as `Conv2d`, or, in lower case, a torch function such as `cat`.",
    "block": "A block: its layers stand here, under this entry's name.",
    "layers": "A nested list of entries, as `nn.Sequential` inside a model.",
    "use": "The name of an earlier entry: the same module called again, its parameters shared.",
    "name": "Name in its list: letters, digits and `_`; default: the entry's position.",
    "inputs": "Where the inputs come from: a reference or a list of them; default: the previous entry. "
    "A reference is a network input, an entry of the same list, a port of it (`pool1.indices`) or a child.",
    "with": "The block's arguments.",
    "repeat": "How many times the entry stands here, each feeding the next: a number, or "
    "`{times: n, from: 1}`. With a name the copies are `name.0`, `name.1`, ...; `{}` in it is the number.",
}
"""What each key of an entry is, beside a type's own parameters."""

BLOCK_KEYS = {
    "args": "Arguments and their defaults; null: required, `{default: null}`: an optional null. "
    "`$name` stands for the value in the block's layers.",
    "inputs": "Names of the tensors that come in; default: [x].",
    "layers": "The block's entries.",
    "outputs": "References to its own entries; default: the last one.",
}
"""What each key of a block is."""


def network_schema() -> Json:
    """The schema of network files, draft 7."""
    shared = Definitions()
    shared.schemas["type"] = _type_schema()
    for inside in (False, True):
        shared.schemas[_entry_name(inside)] = _entry(shared, inside)
    shared.schemas["block"] = _block(shared)
    return {
        "$schema": DRAFT,
        "title": f"netspec network, format {FORMAT_VERSION}",
        "type": "object",
        "properties": _file(shared),
        "additionalProperties": False,
        "required": ["netspec"],
        # a file that only has blocks is there to be included
        "if": {
            "required": ["blocks"],
            "not": {"anyOf": [{"required": ["inputs"]}, {"required": ["layers"]}]},
        },
        "else": {"required": ["inputs", "layers"]},
        "definitions": shared.schemas,
    }


# --- the file ---------------------------------------------------------------------------------------


def _file(shared: Definitions) -> Json:
    """The keys of a file."""
    docs = field_docs(Header)
    text: Json = {"type": ["string", "null"]}
    label: Json = {"type": ["string", "number", "null"]}
    values: Json = {
        "netspec": {"const": FORMAT_VERSION, "default": FORMAT_VERSION},
        "name": label,
        "description": text,
        "inputs": _inputs(),
        "outputs": _outputs(),
        "weights": label,
    }
    properties = {key: documented(value, docs[key]) for key, value in values.items()}
    properties["layers"] = documented(
        _list(shared, inside=False), "The entries in order, each fed by the one before it."
    )
    properties["blocks"] = documented(
        {
            "type": "object",
            "propertyNames": {"title": "name", "pattern": _NAME},
            "additionalProperties": shared.reference("block"),
        },
        "Lists of layers with arguments, by name; an entry `block: name` stands for one.",
    )
    properties["include"] = documented(
        {"type": "array", "items": {"type": "string", "minLength": 1}},
        "Files whose `blocks` are known here too: relative paths inside this file's folder.",
    )
    return properties


def _inputs() -> Json:
    # the shorthand is the list that stands under `shape`
    described = model_schema(InputSpec)
    shape = described["properties"]["shape"]
    one = {**described, "type": ["array", "object"], "items": shape["items"]}
    words = "A shape such as `[N, 3, H, W]`, or `{shape: ..., dtype: ...}`."
    return {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"title": "name", "pattern": _NAME},
        "additionalProperties": documented(one, words),
    }


def _outputs() -> Json:
    described = model_schema(OutputSpec)
    one = {**described, "type": [*_REFERENCE["type"], "object"]}
    return {
        "type": ["array", "object"],
        "items": _REFERENCE,
        "minItems": 1,
        "minProperties": 1,
        "additionalProperties": documented(one, "A reference, or `{from: ..., labels: [...]}`."),
    }


def _block(shared: Definitions) -> Json:
    name: Json = {"type": ["string", "integer"], "pattern": _NAME}
    values: Json = {
        "args": {"type": "object", "propertyNames": {"title": "name", "pattern": _IDENTIFIER}},
        "inputs": {"type": "array", "items": name},
        "layers": _list(shared, inside=True),
        "outputs": {"type": "array", "items": _REFERENCE, "minItems": 1},
    }
    return {
        "type": "object",
        "properties": {key: documented(value, BLOCK_KEYS[key]) for key, value in values.items()},
        "required": ["layers"],
        "additionalProperties": False,
    }


# --- entries ----------------------------------------------------------------------------------------


def _entry_name(inside: bool) -> str:
    return "blockEntry" if inside else "entry"


def _entry(shared: Definitions, inside: bool) -> Json:
    """One entry of `layers`; inside a block, or under `repeat`, `$arguments` may stand for values."""
    common = {
        "name": shared.share(_named("entry.name", inside), _name(_NUMBERED_NAME if inside else _NAME)),
        "inputs": shared.share("entry.inputs", _references()),
        "repeat": _value(shared, "entry.repeat", _repeat(), inside),
    }
    arguments = _value(shared, "entry.with", documented({"type": "object"}, ENTRY_KEYS["with"]), inside)
    kinds: dict[str, Json] = {
        "use": {"use": documented(_REFERENCE, ENTRY_KEYS["use"])},
        "layers": {"layers": documented(_list(shared, inside), ENTRY_KEYS["layers"])},
        "block": {"block": documented({"type": "string"}, ENTRY_KEYS["block"]), "with": arguments},
    }
    every = {key: value for keys in kinds.values() for key, value in keys.items()}
    kind = shared.share("entry.type", documented({"type": "string"}, ENTRY_KEYS["type"]))
    otherwise: Json = {
        "title": "layer",
        "properties": {"type": kind, **every, **common},
        "required": ["type"],
    }
    for key, own in reversed(kinds.items()):
        otherwise = {
            "if": _has(key),
            "then": {"title": key, "properties": {**own, **common}, "additionalProperties": False},
            "else": otherwise,
        }
    one = {
        "if": _has("type"),
        "then": {
            # `not`, and a pattern further down: over a type the server shows every enumeration that holds
            "if": {"properties": {"type": {"not": {"enum": list(REGISTRY)}}}},
            "then": {"properties": {"type": _refused(shared, inside)}},
            "else": {
                "allOf": [*_families(shared, common, inside), {"properties": {"type": _offered(shared)}}],
            },
        },
        "else": otherwise,
    }
    if not inside:
        one = {"if": _has("repeat"), "then": shared.reference(_entry_name(True)), "else": one}
    return {"title": "layer", "type": "object", **one}


def _has(key: str) -> Json:
    # `type`, because editors ask about entries that are still empty
    return {"type": "object", "required": [key]}


def _list(shared: Definitions, inside: bool) -> Json:
    """A list of entries."""
    return {"type": "array", "minItems": 1, "items": shared.reference(_entry_name(inside))}


def _name(pattern: str) -> Json:
    return documented({"type": ["string", "integer", "null"], "pattern": pattern}, ENTRY_KEYS["name"])


def _references() -> Json:
    schema = {"type": [*_REFERENCE["type"], "array", "null"], "items": _REFERENCE}
    return documented(schema, ENTRY_KEYS["inputs"])


def _repeat() -> Json:
    count = {"type": "integer", "minimum": 0}
    return documented(
        {
            "type": ["integer", "object"],
            "minimum": 0,
            "properties": {"times": count, "from": count},
            "required": ["times"],
            "additionalProperties": False,
        },
        ENTRY_KEYS["repeat"],
    )


def _families(shared: Definitions, common: Json, inside: bool) -> list[Json]:
    """One condition for each type, by families, so that not every condition is tried on every entry."""
    families: dict[str, list[type[Layer]]] = {}
    for cls in REGISTRY.values():
        families.setdefault(cls.__module__, []).append(cls)
    return [
        {
            "if": {"properties": {"type": {"pattern": f"^({'|'.join(cls.type_name for cls in members)})$"}}},
            "then": {
                "allOf": [
                    {
                        "if": {"properties": {"type": {"const": cls.type_name}}},
                        "then": _layer(shared, cls, common, inside),
                    }
                    for cls in members
                ]
            },
        }
        for members in families.values()
    ]


def _layer(shared: Definitions, cls: type[Layer], common: Json, inside: bool) -> Json:
    """What an entry of this type may hold."""
    label = cls.type_name
    parameters = parameter_schemas(cls)
    properties: Json = {
        "type": shared.share(f"{label}.type", {"markdownDescription": type_markdown(cls)}),
        **{name: _value(shared, f"{label}.{name}", schema, inside) for name, schema in parameters.items()},
        **{key: value for key, value in common.items() if key != "inputs" or cls.arity != (0, 0)},
    }
    required = [name for name, (_, info) in parameter_fields(cls).items() if info.is_required()]
    result: Json = {"title": label, "properties": properties, "additionalProperties": False}
    if required:
        result["required"] = required
    return shared.share(_named(label, inside), result)


def _value(shared: Definitions, name: str, schema: Json, inside: bool) -> Json:
    changed = with_arguments(schema) if inside else schema
    return shared.share(_named(name, changed != schema), changed)


def _named(name: str, inside: bool) -> str:
    return f"block.{name}" if inside else name


def parameter_fields(cls: type[Layer]) -> dict[str, tuple[str, FieldInfo]]:
    """Parameter as users write it -> the field that holds it, in torch's order."""
    written = {info.alias or name: (name, info) for name, info in cls.model_fields.items()}
    return {name: written[name] for name in cls.own_parameters()}


@functools.cache
def parameter_schemas(cls: type[Layer]) -> dict[str, Json]:
    """Parameter -> schema with its documentation, in torch's order; `init` last where it applies."""
    raw = cls.model_json_schema()["properties"]
    docs = field_docs(cls)
    result: dict[str, Json] = {}
    for name, (field, info) in parameter_fields(cls).items():
        schema = simplified(raw[name])
        if issubclass(cls, _Spatial) and field in cls.per_axis:
            schema = per_axis(schema, cls.rank, cls.single_means_all(field))
        else:
            schema = per_axis(schema, None, False)
        result[name] = documented(schema, docs.get(name, ""), None if info.is_required() else info.default)
        if schema.get("deprecated"):
            result[name]["doNotSuggest"] = True
    if cls.parameter_names and "init" not in result:
        schema = simplified(raw["init"])
        schema["properties"] = dict.fromkeys(cls.parameter_names, schema["additionalProperties"])
        schema["additionalProperties"] = False
        result["init"] = documented(schema, docs["init"])
    return result


# --- types ------------------------------------------------------------------------------------------


def _type_schema() -> Json:
    return {
        "enum": list(REGISTRY),
        "markdownEnumDescriptions": [_offer(cls) for cls in REGISTRY.values()],
        "errorMessage": "There is no layer type of this name; `netspec layers` lists them.",
    }


def _refused(shared: Definitions, inside: bool) -> Json:
    """A type that there is not; inside a block it may be an argument."""
    listed = shared.reference("type")
    return {"if": {"type": "string", "pattern": "\\$"}, "else": listed} if inside else listed


def _offered(shared: Definitions) -> Json:
    """What always holds, and makes the server offer every type where one stands already."""
    return {"anyOf": [{}, {"allOf": [shared.reference("type")], "not": {}}]}


def signature(cls: type[Layer]) -> str:
    """`Conv2d(in_channels, out_channels, kernel_size, stride=1, ...)`, as torch writes it."""
    bare, given = [], []
    for name, (_, info) in parameter_fields(cls).items():
        if info.is_required() or name in cls.inferred:
            bare.append(name)
        else:
            given.append(f"{name}={info.default!r}")
    return f"{cls.type_name}({', '.join(bare + given)})"


def _offer(cls: type[Layer]) -> str:
    return f"`{signature(cls)}`\n\n{markdown(summary(cls))}"


def type_markdown(cls: type[Layer]) -> str:
    """What an editor shows over a type."""
    parts = [_offer(cls)]
    if shown := example(cls):
        parts.append(f"```yaml\n{shown}\n```")
    parts.append(f"[torch's page]({cls.source})")
    return "\n\n".join(parts)
