"""The JSON Schema: exact about what is wrong, silent about what the reader accepts, complete."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from netspec.analysis import analyse_file
from netspec.diagnostics import NetspecError
from netspec.document import read_file, read_text, to_python
from netspec.layers import REGISTRY, Layer
from netspec.layers.base import COMMON
from netspec.layers.documentation import example, field_docs, summary
from netspec.network.read import read
from netspec.network.schema import network_schema, parameter_fields, parameter_schemas
from netspec.network.schema_parts import DRAFT, per_axis, render, simplified, with_arguments
from netspec.network.spec import Header
from netspec.runtime.profile import Profile, read_profile
from netspec.runtime.schema import profile_schema

ROOT = Path(__file__).parents[2]
NETWORKS = sorted((ROOT / "configs").rglob("*.yaml"))
PROFILES = sorted((ROOT / "runners").rglob("*.yaml"))
TYPES = sorted(REGISTRY)

HEAD = "netspec: 1\ninputs: {x: [N, 3, H, W]}\n"
BLOCK = HEAD + "layers: [{type: ReLU}]\nblocks: {B: {args: {k: null}, layers: [%s]}}\n"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return network_schema()


def errors(schema: dict[str, Any], text: str) -> list[tuple[str, str]]:
    """(path, message) of every error in a YAML text."""
    found = jsonschema.Draft7Validator(schema).iter_errors(to_python(read_text(text).root))
    return [("/".join(map(str, error.absolute_path)), error.message) for error in found]


# --- the files that we ship -------------------------------------------------------------------------


@pytest.mark.parametrize("path", NETWORKS, ids=lambda p: p.name)
def test_shipped_networks_pass_the_schema_and_the_reader(path: Path, schema: dict[str, Any]) -> None:
    document = read_file(path)
    jsonschema.Draft7Validator(schema).validate(to_python(document.root))
    assert read(document, str(path.parent))[1] == []


@pytest.mark.parametrize("path", PROFILES, ids=lambda p: p.name)
def test_shipped_profiles_pass_the_schema_and_the_reader(path: Path) -> None:
    jsonschema.Draft7Validator(profile_schema()).validate(to_python(read_file(path).root))
    read_profile(path)


@pytest.mark.parametrize("kind", ["network", "runner"])
def test_schemas_are_valid_draft_7(kind: str) -> None:
    schema = network_schema() if kind == "network" else profile_schema()
    assert schema["$schema"] == DRAFT
    jsonschema.Draft7Validator.check_schema(schema)
    text = render(schema)
    assert json.loads(text) == schema
    assert len(text) < 400_000
    assert not {"$defs", "prefixItems", "defaultSnippets", "oneOf", "perAxis"} & keywords(schema)
    for reference in references(schema):
        assert reference.removeprefix("#/definitions/") in schema["definitions"]


def keywords(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(keywords, value.values()))
    return set().union(*map(keywords, value)) if isinstance(value, list) else set()


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for part in value.values() for found in references(part)]
    return [found for part in value for found in references(part)] if isinstance(value, list) else []


# --- one mistake, one error -------------------------------------------------------------------------


CONV = "{type: Conv2d, out_channels: 4, kernel_size: %s}"


@pytest.mark.parametrize(
    ("layer", "path", "message"),
    [
        ("{type: Conv2d, out_channels: 4, kernel_size: 3, strid: 2}", "layers/0", "'strid' was unexpected"),
        ("{type: Conv2d, out_channels: 4}", "layers/0", "'kernel_size' is a required property"),
        ("{type: Conv2D}", "layers/0/type", "'Conv2D' is not one of"),
        ("{typ: Conv2d}", "layers/0", "'type' is a required property"),
        ("{}", "layers/0", "'type' is a required property"),
        ("{type: 5}", "layers/0/type", "5 is not one of"),
        ("ReLU", "layers/0", "'ReLU' is not of type 'object'"),
        (CONV % "three", "layers/0/kernel_size", "'three' is not of type 'integer', 'array'"),
        (CONV % "0", "layers/0/kernel_size", "0 is less than the minimum of 1"),
        (CONV % "true", "layers/0/kernel_size", "True is not of type"),
        (CONV % "[3, x]", "layers/0/kernel_size/1", "'x' is not of type 'integer'"),
        (CONV % "[3, 3, 3]", "layers/0/kernel_size", "is too long"),
        (CONV % "$k", "layers/0/kernel_size", "'$k' is not of type"),
        ("{type: Conv3d, out_channels: 4, kernel_size: [3, 3]}", "layers/0/kernel_size", "is too short"),
        ("{type: ReLU, init: {weight: 1}}", "layers/0", "'init' was unexpected"),
        ("{type: ReLU, use: a}", "layers/0", "'use' was unexpected"),
        ("{type: Linear, out_features: 2, init: {wieght: 1}}", "layers/0/init", "'wieght' was unexpected"),
        ("{use: a, inplace: true}", "layers/0", "'inplace' was unexpected"),
        ("{layers: []}", "layers/0/layers", "[] "),
        ("{layers: [{type: Conv2d, kernel_size: 3}]}", "layers/0/layers/0", "'out_channels' is a required"),
        ("{block: B, width: 3}", "layers/0", "'width' was unexpected"),
        ("{block: B, repeat: {from: 1}}", "layers/0/repeat", "'times' is a required property"),
        ("{name: a-b, type: ReLU}", "layers/0/name", "'a-b' does not match"),
        ("{name: 'a{}', type: ReLU}", "layers/0/name", "'a{}' does not match"),
        ("{name: a-b, type: ReLU, repeat: 2}", "layers/0/name", "'a-b' does not match"),
        ("{type: ReLU, repeat: -1}", "layers/0/repeat", "-1 is less than the minimum"),
        ("{type: Conv2D, repeat: 2}", "layers/0/type", "'Conv2D' is not one of"),
    ],
)
def test_one_mistake_is_one_error(layer: str, path: str, message: str, schema: dict[str, Any]) -> None:
    found = errors(schema, f"{HEAD}layers: [{layer}]\n")
    assert [place for place, _ in found] == [path]
    assert message in found[0][1]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("inputs: {x: [1]}\nlayers: [{type: ReLU}]\n", ""),
        ("netspec: 2\ninputs: {x: [1]}\nlayers: [{type: ReLU}]\n", "netspec"),
        ("netspec: 1\ninputs: {x: [0]}\nlayers: [{type: ReLU}]\n", "inputs/x/0"),
        ("netspec: 1\ninputs: {x: {dtype: int64}}\nlayers: [{type: ReLU}]\n", "inputs/x"),
        ("netspec: 1\ninputs: {x: {shape: [1], dtyp: int64}}\nlayers: [{type: ReLU}]\n", "inputs/x"),
        (HEAD + "outputs: a\nlayers: [{type: ReLU}]\n", "outputs"),
        (HEAD + "outputs: {y: {form: a}}\nlayers: [{type: ReLU}]\n", "outputs/y"),
        (HEAD + "layer: []\nlayers: [{type: ReLU}]\n", ""),
        (HEAD + "blocks: {B: {arg: {}, layers: [{type: ReLU}]}}\nlayers: [{type: ReLU}]\n", "blocks/B"),
    ],
)
def test_mistakes_beside_the_layers(text: str, path: str, schema: dict[str, Any]) -> None:
    found = errors(schema, text)
    assert {place for place, _ in found} == {path}


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "outputs: [a, b.1]\nlayers: [{type: ReLU}]\n",
        HEAD + "outputs: {y: 3.10, z: {from: a, labels: [cat, 3]}}\nlayers: [{type: ReLU}]\n",
        "netspec: 1\ninputs: {x: [N], m: {shape: [], dtype: bool, description: d}}\nlayers: [{type: ReLU}]\n",
        HEAD + "layers: [{name: g, layers: [{type: ReLU}, {layers: [{type: ReLU}]}]}, {use: g, inputs: x}]\n",
        HEAD + "layers: [{block: B, with: {a: 1}, repeat: 3}]\n",
        HEAD + "layers: [{block: B, name: 'd{}', repeat: {times: 2, from: 1}}]\n",
        "include: [more.yaml]\n" + HEAD + "layers: [{block: B}]\n",
        "netspec: 1\nblocks: {B: {layers: [{type: ReLU}]}}\n",
        HEAD + "layers: [{type: Conv2d, out_channels: 4, kernel_size: 3, dilation: $index + 1, repeat: 3}]\n",
        HEAD + "layers: [{layers: [{type: Dropout, p: $index}], repeat: 2}]\n",
        HEAD + "layers: [{type: Conv3d, out_channels: 4, kernel_size: 3, stride: [2]}]\n",
        HEAD + "layers: [{type: Conv2d, out_channels: 4, kernel_size: 1, padding: same, init: {bias: 0}}]\n",
        HEAD + "layers: [{type: Upsample, scale_factor: 2}]\n",
    ],
)
def test_what_a_file_may_say(text: str, schema: dict[str, Any]) -> None:
    assert errors(schema, text) == []


@pytest.mark.parametrize(
    "layer",
    [
        "{type: Conv2d, out_channels: $k * 4, kernel_size: [$k, 3], bias: $b, padding: $p, padding_mode: $m}",
        "{type: Linear, out_features: $k, init: {weight: $w}}",
        "{type: permute, dims: $d}",
        "{block: C, with: {k: $k}, repeat: $n}",
        "{layers: [{type: Dropout, p: $p}]}",
        "{type: $activation, inplace: true}",
    ],
)
def test_arguments_stand_for_values_in_blocks_only(layer: str, schema: dict[str, Any]) -> None:
    assert errors(schema, BLOCK % layer) == []
    if not layer.startswith("{block"):
        assert errors(schema, f"{HEAD}layers: [{layer}]\n") != []


@pytest.mark.parametrize(
    ("layer", "path"),
    [
        ("{type: Conv2d, out_channels: k, kernel_size: 3}", "out_channels"),
        ("{type: Conv2d, out_channels: $k, kernel_size: [3, k]}", "kernel_size/1"),
        ("{type: Conv2d, out_channels: $k, kernel_size: 3, padding_mode: zero}", "padding_mode"),
        ("{type: Conv2d, out_channels: $k, kernel_size: 3, strid: 2}", ""),
        ("{type: Conv2D}", "type"),
    ],
)
def test_blocks_are_as_exact(layer: str, path: str, schema: dict[str, Any]) -> None:
    [(place, _)] = errors(schema, BLOCK % layer)
    assert place == f"blocks/B/layers/0/{path}".rstrip("/")


BLOCKS = """
netspec: 1
inputs: {image: [N, 8, 16, 16]}
blocks:
  Unit:
    args: {planes: null, stride: 1, activation: ReLU, p: 0.5, padding: [1, 1], extra: {default: null}}
    inputs: [x]
    layers:
      - {name: conv, type: Conv2d, out_channels: $planes, kernel_size: [3, 3], stride: $stride,
         padding: $padding}
      - {type: $activation}
      - {type: Dropout, p: $p}
      - {name: sum, type: add, other: 1}
    outputs: [sum]
layers:
  - {block: Unit, with: {planes: 8}}
  - {name: 'unit{}', block: Unit, with: {planes: 8, activation: Sigmoid}, repeat: {times: 2, from: 1}}
  - {layers: [{type: Conv2d, out_channels: 8, kernel_size: 1, dilation: $index + 1}], repeat: 2}
  - {use: unit1, repeat: 2}
"""


def test_blocks_pass_the_schema_and_the_reader(schema: dict[str, Any]) -> None:
    assert errors(schema, BLOCKS) == []
    _, found = read(read_text(BLOCKS))
    assert found == []


# --- the registry -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_is_documented(kind: str, schema: dict[str, Any]) -> None:
    cls = REGISTRY[kind]
    assert cls.__dict__.get("__doc__")
    assert summary(cls)
    docs = field_docs(cls)
    missing = [name for name in parameter_fields(cls) if not docs.get(name)]
    assert missing == []
    assert all(docs.get(name) for name in COMMON)
    shown = example(cls)
    assert shown, "a docstring ends with Example: `{type: ...}`"
    mapping = to_python(read_text(shown).root)
    assert mapping["type"] == kind
    assert isinstance(layer_of(mapping), Layer)
    assert errors(schema, f"{HEAD}layers:\n  - {shown}\n") == []
    assert errors(schema, BLOCK % shown) == []


def layer_of(mapping: dict[str, Any]) -> Layer:
    cls = REGISTRY[mapping["type"]]
    return cls.model_validate({key: value for key, value in mapping.items() if key != "type"})


PROBES: list[Any] = [
    None, True, False, 0, 1, 2, -1, 0.5, -0.5, 1e-5, 2.0, math.inf, "", "x", "same", "none", "mean", "zeros",
    [], [0], [1], [1, 1], [1, 2, 3], [1, 1, 1, 1], [2, -1], [None, 1], [0.5], ["N", 2], ["x"], [[1.0], [2.0]],
    {}, {"method": "ones"}, {"weight": 1},
]  # fmt: skip


@pytest.mark.parametrize("kind", TYPES)
def test_the_schema_refuses_nothing_that_the_reader_accepts(kind: str) -> None:
    cls = REGISTRY[kind]
    base = to_python(read_text(str(example(cls))).root)
    schemas = parameter_schemas(cls)
    for parameter, (_, info) in parameter_fields(cls).items():
        validator = jsonschema.Draft7Validator(schemas[parameter])
        inside = jsonschema.Draft7Validator(with_arguments(schemas[parameter]))
        assert inside.is_valid("$a")
        for value in [*PROBES, *([] if info.is_required() else [info.default])]:
            try:
                layer_of({**base, parameter: value})
            except (ValidationError, NetspecError):
                continue
            shown = list(value) if isinstance(value, tuple) else value
            assert validator.is_valid(shown), f"{parameter}: {value}"
            assert inside.is_valid(shown), f"{parameter}: {value}"


def test_every_key_of_a_file_is_in_the_schema(schema: dict[str, Any]) -> None:
    assert set(schema["properties"]) == {*Header.model_fields, "layers", "blocks", "include"}
    assert all(part.get("markdownDescription") for part in schema["properties"].values())
    assert schema["definitions"]["type"]["enum"] == list(REGISTRY)


def test_every_key_of_a_profile_is_in_the_schema() -> None:
    properties = profile_schema()["properties"]
    assert set(properties) == set(Profile.model_fields)
    assert all(part.get("markdownDescription") for part in properties.values())


# --- the parts --------------------------------------------------------------------------------------


INTEGER, NUMBER, TEXT, NULL = ({"type": name} for name in ("integer", "number", "string", "null"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"anyOf": [{**INTEGER, "minimum": 1}, NULL]}, {"type": ["integer", "null"], "minimum": 1}),
        ({"anyOf": [{**TEXT, "enum": ["a"]}, NULL]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"anyOf": [INTEGER, NUMBER]}, {"anyOf": [INTEGER, NUMBER]}),
        ({"title": "T", **INTEGER, "maximum": 2**63 - 1}, INTEGER),
    ],
)
def test_unions_are_folded(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert simplified(before) == after


@pytest.mark.parametrize(
    ("rank", "single", "accepted"), [(1, True, {1}), (2, True, {1, 2}), (3, True, {1, 3}), (3, False, {3})]
)
def test_lists_have_one_value_an_axis(rank: int, single: bool, accepted: set[int]) -> None:
    schema = per_axis({"type": ["integer", "array"], "perAxis": True}, rank, single)
    validator = jsonschema.Draft7Validator(schema)
    assert {n for n in range(5) if validator.is_valid([1] * n)} == accepted
    assert validator.is_valid(1)


# --- check-jsonschema -------------------------------------------------------------------------------


def test_check_jsonschema_says_it_in_one_line(tmp_path: Path, schema: dict[str, Any]) -> None:
    (tmp_path / "s.json").write_text(render(schema))
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(HEAD + "layers: [{type: ReLU}]\n")
    bad.write_text(HEAD + "layers: [{type: Conv2d, out_channels: 4, kernel_size: 3, strid: 2}]\n")
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(tmp_path / "s.json")]
    assert subprocess.run([*command, str(good)], capture_output=True, check=False).returncode == 0
    result = subprocess.run([*command, str(bad)], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "$.layers[0]: Additional properties are not allowed ('strid' was unexpected)" in result.stdout


def test_the_shipped_networks_are_valid_beyond_the_schema() -> None:
    for path in NETWORKS:
        assert analyse_file(path).valid, path
