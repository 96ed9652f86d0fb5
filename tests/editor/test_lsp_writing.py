"""Completion, fixes, renaming: what changes the text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException

from netspec.layers import REGISTRY
from tests.editor.client import HEAD, Client, applied, marked

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]
BLOCK = """blocks:
  B:
    args: {planes: null, stride: 1}
    inputs: [x, y]
    layers:
      - {name: conv, type: Conv2d, out_channels: $planes, kernel_size: 3, stride: $stride, inputs: x}
      - {name: out, type: add, inputs: [conv, y]}
"""
LAYERS = """layers:
  - {name: a, type: ReLU}
  - {name: pool, type: MaxPool2d, kernel_size: 2, return_indices: true, inputs: image}
"""


def inserted(item: lsp.CompletionItem) -> str:
    assert isinstance(item.text_edit, lsp.TextEdit)
    return item.text_edit.new_text


# --- completion -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "label", "insert"),
    [
        ("layers:\n  - |", "Linear", "{type: Linear, out_features: $1}"),
        ("layers:\n  - {|}\n", "Linear", "type: Linear, out_features: $1"),
        ("layers:\n  - {type: |}\n", "Linear", "Linear, out_features: $1"),
        ("layers:\n  - {type:|}\n", "Linear", " Linear, out_features: $1"),
        ("layers:\n  - {type: Lin|, out_features: 2}\n", "Linear", "Linear"),
        ("layers:\n  - {type: Lin|\n  - {type: ReLU}\n", "Linear", "Linear, out_features: $1"),
        ("layers:\n  - type: Lin|\n", "Linear", "Linear\n  out_features: $1"),
        ("layers:\n  - name: a\n    type: Lin|\n", "Linear", "Linear\nout_features: $1"),
        ("layers:\n  - type: ReLU\n  - |\n", "Linear", "type: Linear\n  out_features: $1"),
        ("layers:\n  |\n", "Linear", "- {type: Linear, out_features: $1}"),
    ],
)
async def test_types_come_with_what_they_need(client: Client, text: str, label: str, insert: str) -> None:
    offers = await client.offers(HEAD + text)
    assert set(REGISTRY) <= set(offers)
    assert inserted(offers[label]) == insert
    assert offers[label].insert_text_format is lsp.InsertTextFormat.Snippet
    resolved = await client.completion_item_resolve_async(offers[label])
    assert isinstance(resolved.documentation, lsp.MarkupContent)
    assert "y = x" in resolved.documentation.value


@pytest.mark.parametrize(
    "text",
    [
        "layers:\n  - {name: a, type: MaxPool2d, |}\n",
        "layers:\n  - {name: a, type: MaxPool2d, |\n",
        "layers:\n  - {name: a, |, type: MaxPool2d}\n",
        "layers:\n  - {name: a, type: MaxPool2d,\n     |}\n",
        "layers:\n  - name: a\n    type: MaxPool2d\n    |\n",
        "layers:\n  - name: a\n    |\n    type: MaxPool2d\n  - type: ReLU\n",
        BLOCK + "layers:\n  - name: g\n    layers:\n      - {name: a, type: MaxPool2d, |}\n",
    ],
)
async def test_a_types_own_parameters_that_are_not_given(client: Client, text: str) -> None:
    offers = await client.offers(HEAD + text)
    assert set(offers) == {*REGISTRY["MaxPool2d"].own_parameters(), "inputs", "repeat"}
    assert offers["kernel_size"].detail == "required"
    assert str(offers["kernel_size"].sort_text) < str(offers["stride"].sort_text)
    assert inserted(offers["ceil_mode"]).startswith("ceil_mode: ${1|true,false|}")
    resolved = await client.completion_item_resolve_async(offers["stride"])
    assert isinstance(resolved.documentation, lsp.MarkupContent)
    assert "Step of the window" in resolved.documentation.value


async def test_a_comma_is_added_before_what_follows(client: Client) -> None:
    offers = await client.offers(HEAD + "layers:\n  - {type: MaxPool2d, | kernel_size: 2}\n")
    assert inserted(offers["stride"]) == "stride: $1, "
    offers = await client.offers(HEAD + "layers:\n  - {type: MaxPool2d, str|: 2}\n")
    assert inserted(offers["stride"]) == "stride"


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (LAYERS + "  - {type: cat, inputs: [|]}\n", ["pool", "a", "image"]),
        (LAYERS + "  - {type: cat, inputs: [a, |", ["pool", "a", "image"]),
        (LAYERS + "  - {type: cat, inputs: |}\n", ["pool", "a", "image"]),
        (LAYERS + "  - type: cat\n    inputs:\n      - |\n", ["pool", "a", "image"]),
        (
            LAYERS + "  - {type: MaxUnpool2d, kernel_size: 2, inputs: [pool, pool.|]}\n",
            ["pool.out", "pool.indices"],
        ),
        (LAYERS + "  - {use: |}\n", ["pool", "a"]),
        (LAYERS.replace("type: ReLU", "type: ReLU, inputs: |"), ["image"]),
        (
            LAYERS
            + "  - name: g\n    layers:\n      - {name: z, type: ReLU}\n      - {type: add, inputs: [|]}\n",
            ["z", "image"],
        ),
        (LAYERS + "outputs: [|]\n", ["pool", "a", "image"]),
        (LAYERS + "outputs: {one: |}\n", ["pool", "a", "image"]),
        (BLOCK + "    outputs: [|]\n" + LAYERS, ["out", "conv", "x", "y"]),
        (BLOCK.replace("[conv, y]", "[|]") + LAYERS, ["conv", "x", "y"]),
        (LAYERS + "  - {type: ConvTranspose2d, output_size: |}\n", ["pool", "a", "image"]),
    ],
)
async def test_references_that_are_visible(client: Client, text: str, labels: list[str]) -> None:
    offers = await client.offers(HEAD + text)
    ordered = sorted(offers.values(), key=lambda item: str(item.sort_text))
    assert [item.label for item in ordered] == labels


async def test_references_show_their_shape(client: Client) -> None:
    offers = await client.offers(HEAD + LAYERS + "  - {type: cat, inputs: [|]}\n")
    assert offers["pool"].detail == "MaxPool2d [N, 3, H//2, W//2]"


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("layers:\n  - {type: Conv2d, padding_mode: |}\n", {"zeros", "reflect", "replicate", "circular"}),
        ("layers:\n  - {type: Conv2d, bias: |}\n", {"true", "false"}),
        ("layers:\n  - type: Conv2d\n    padding: |\n", {"same", "valid"}),
        ("layers:\n  - {type: Linear, init: {|}}\n", {"weight", "bias"}),
        ("layers:\n  - {type: ReLU, repeat: {|}}\n", {"times", "from"}),
        ("layers:\n  - {type: ReLU, name: |}\n", set()),
        (BLOCK + "layers:\n  - {block: |}\n", {"B"}),
        (
            BLOCK + "      - {block: |}\n  C:\n    layers: [{type: ReLU}]\n",
            {"C"},
        ),  # a block cannot hold itself
        (BLOCK + "layers:\n  - {block: B, with: {|}}\n", {"planes", "stride"}),
        (BLOCK + "layers:\n  - {block: B, with: {planes: 1, |}}\n", {"stride"}),
        (BLOCK + "layers:\n  - block: B\n    with:\n      |\n", {"planes", "stride"}),
        (BLOCK + "layers:\n  - {block: B, |}\n", {"with", "inputs", "name", "repeat"}),
        (BLOCK.replace("$planes", "|"), {"$planes", "$stride"}),
        (BLOCK.replace("$planes", "$pl|"), {"$planes", "$stride"}),
        (BLOCK + "      - {type: Linear, out_features: $|, repeat: 2}\n", {"$planes", "$stride", "$index"}),
        ("blocks:\n  B:\n    |\n", {"args", "inputs", "layers", "outputs"}),
    ],
)
async def test_values_and_keys(client: Client, text: str, labels: set[str]) -> None:
    assert set(await client.offers(HEAD + text)) == labels


async def test_keys_of_a_file(client: Client) -> None:
    keys = {"name", "description", "layers", "outputs", "weights", "blocks", "include"}
    assert set(await client.offers(HEAD + "|")) == keys
    assert set(await client.offers(HEAD + "lay|\n")) == keys
    offers = await client.offers("runner: 1\nd|\n")
    assert {"device", "dtype", "precision"} <= set(offers)
    assert {"high", "highest"} == set(await client.offers("runner: 1\nprecision: |\n"))
    assert "int64" in await client.offers("netspec: 1\ninputs: {x: {shape: [N], dtype: |}}\n")
    assert {"N", "H", "W"} == set(await client.offers("netspec: 1\ninputs: {x: [N, H, W], y: [|]}\n"))


async def test_nothing_is_offered_in_comments(client: Client) -> None:
    assert await client.offers(HEAD + "layers: # |\n") == {}


# --- fixes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "title", "result"),
    [
        ("- {type: ReLuu}", "Change to `ReLU`", "- {type: ReLU}"),
        ("- {type: ReLU, inplac: true}", "Change to `inplace`", "- {type: ReLU, inplace: true}"),
        ("- {name: one, type: ReLU}\n  - {type: ReLU, inputs: ones}", "Change to `one`",
         "- {name: one, type: ReLU}\n  - {type: ReLU, inputs: one}"),
        ("- {name: one, type: MaxPool2d, kernel_size: 2, return_indices: true}\n  - {type: ReLU, inputs: one.indicez}",
         "Change to `indices`",
         "- {name: one, type: MaxPool2d, kernel_size: 2, return_indices: true}\n  - {type: ReLU, inputs: one.indices}"),
        ("- {type: Conv2d, out_channels: 2, kernel_size: 1, padding_mode: zeroes}", "Change to `zeros`",
         "- {type: Conv2d, out_channels: 2, kernel_size: 1, padding_mode: zeros}"),
        ("- {type: ReLU, colour: red}", "Remove `colour`", "- {type: ReLU}"),
        ("- {colour: red, type: ReLU}", "Remove `colour`", "- {type: ReLU}"),
        ("- type: ReLU\n    colour: red # why\n    inplace: false", "Remove `colour`",
         "- type: ReLU\n    inplace: false"),
        ("- colour: red\n    type: ReLU", "Remove `colour`", "- type: ReLU"),
        ("- {type: ReLU, inplace: false, inplace: true}", "Remove `inplace`", "- {type: ReLU, inplace: false}"),
        ("- {type: Conv2d, in_channels: 4, out_channels: 2, kernel_size: 1}", "Set in_channels to 3",
         "- {type: Conv2d, in_channels: 3, out_channels: 2, kernel_size: 1}"),
        ("- {type: BatchNorm2d, num_features: 4}", "Set num_features to 3", "- {type: BatchNorm2d, num_features: 3}"),
        ("- {type:ReLU}", "Insert the space", "- {type: ReLU}"),
        ("- {type: Conv2d, out_channels: 2, kernel_size: (1, 1)}", "Write [1, 1]",
         "- {type: Conv2d, out_channels: 2, kernel_size: [1, 1]}"),
        ("- {name: a, type: ReLU, inplace: true}\n  - {type: add, inputs: [a, image]}", "Set inplace: false there",
         "- {name: a, type: ReLU, inplace: false}\n  - {type: add, inputs: [a, image]}"),
    ],
)  # fmt: skip
async def test_a_fix_makes_the_text_right(client: Client, layers: str, title: str, result: str) -> None:
    text = f"{HEAD}layers:\n  {layers}\n"
    uri, found = await client.open(text)
    [fix] = [fix for d in found for label, fix in (await client.fixes(uri, d)).items() if label == title][:1]
    assert fix.edit is not None
    fixed = applied(text, (fix.edit.changes or {})[uri])
    assert fixed == f"{HEAD}layers:\n  {result}\n"
    assert await client.write(uri, fixed) == []


async def test_a_missing_flatten_is_inserted(client: Client) -> None:
    head = "netspec: 1\ninputs: {x: [N, 4, 5, 5]}\nlayers:\n"
    for before, after in (
        ("  - {name: f, type: Linear, in_features: 100, out_features: 2}\n",
         "  - {name: flatten, type: Flatten}\n  - {name: f, type: Linear, in_features: 100, out_features: 2}\n"),
        ("  - {name: flatten, type: ReLU}\n"
         "  - name: f\n    type: Linear\n    inputs: x\n    in_features: 100\n    out_features: 2\n",
         "  - {name: flatten, type: ReLU}\n  - {name: flatten2, type: Flatten, inputs: x}\n"
         "  - name: f\n    type: Linear\n    inputs: flatten2\n    in_features: 100\n    out_features: 2\n"),
    ):  # fmt: skip
        uri, [found] = await client.open(head + before)
        fixes = await client.fixes(uri, found)
        fix = fixes["Insert a Flatten layer before it"]
        assert fix.is_preferred
        assert fix.edit is not None
        fixed = applied(head + before, (fix.edit.changes or {})[uri])
        assert fixed == head + after
        assert await client.write(uri, fixed) == []


async def test_what_an_argument_gives_is_not_set(client: Client) -> None:
    block = "blocks:\n  B:\n    args: {k: null}\n    layers:\n"
    block += "      - {type: Conv2d, in_channels: $k, out_channels: 3, kernel_size: 1}\n"
    uri, [found] = await client.open(HEAD + block + "layers:\n  - {block: B, with: {k: 4}}\n")
    assert found.code == "channel-mismatch"
    assert await client.fixes(uri, found) == {}


async def test_every_fix_of_every_golden_file_removes_its_diagnostic(client: Client) -> None:
    seen = set()
    for path in sorted((ROOT / "tests/golden/diagnostics").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        if "netspec:" not in text or not text.isascii():
            continue
        _, found = await client.open(text)
        uri = list(client.texts)[-1]
        for diagnostic in found:
            for title, fix in (await client.fixes(uri, diagnostic)).items():
                assert fix.edit is not None
                [target] = fix.diagnostics or ()
                fixed = applied(text, (fix.edit.changes or {})[uri])
                _, after = await client.open(fixed)
                count = sum((d.code, d.message) == (target.code, target.message) for d in found)
                left = sum((d.code, d.message) == (target.code, target.message) for d in after)
                assert left < count, (path.name, title, target.message)
                seen.add(title.split("`")[0])
    assert {"Change to ", "Remove "} <= seen


# --- names ------------------------------------------------------------------------------------------


async def places(client: Client, text: str, method: str, **more: Any) -> list[tuple[int, str]]:
    """Line and characters of the locations that a request at the mark gives."""
    where = await client.at(text)
    if method == "definition":
        found: Any = await client.text_document_definition_async(lsp.DefinitionParams(**where))
    else:
        context = lsp.ReferenceContext(more.get("declaration", True))
        found = await client.text_document_references_async(lsp.ReferenceParams(context, **where))
    plain = text.replace("|", "")
    return sorted((place.range.start.line, marked(plain, place.range)) for place in found or ())


NAMES = """netspec: 1
inputs: {image: [N, 3, H, W], other: [N, 3, H, W]}
blocks:
  B:
    args: {planes: null}
    layers:
      - {name: conv, type: Conv2d, out_channels: $planes, kernel_size: 3, padding: 1}
      - {name: sum, type: add, inputs: [conv, conv]}
layers:
  - {name: a, block: B, with: {planes: 3}, inputs: image}
  - name: g
    inputs: a
    layers:
      - {name: inner, type: ReLU}
  - {name: c, type: cat, inputs: [a, a.conv, g.inner, other], dim: 1}
  - {name: r, type: reshape, shape: [N, "H*W", -1]}
  - {name: again, use: a, inputs: other}
outputs: {all: c, r: {from: r}}
"""


@pytest.mark.parametrize(
    ("at", "line", "text", "count"),
    [
        ("inputs: [a|, a.conv", 9, "a", 5),
        ("[a, a.co|nv", 6, "conv", 4),
        ("g.in|ner", 13, "inner", 2),
        ("block: |B,", 3, "B", 2),
        ("with: {pl|anes", 4, "planes", 3),
        ("$pla|nes", 4, "planes", 3),
        ('"|H*W"', 1, "H", 3),
        ("inputs: im|age}", 1, "image", 2),
        ("all: |c", 14, "c", 2),
        ("use: |a", 9, "a", 5),
        ("from: |r", 15, "r", 2),
    ],
)
async def test_definitions_and_references(client: Client, at: str, line: int, text: str, count: int) -> None:
    assert NAMES.count(at.replace("|", "")) == 1
    where = NAMES.replace(at.replace("|", ""), at)
    assert await places(client, where, "definition") == [(line, text)]
    found = await places(client, where, "references")
    assert len(found) == count
    assert {name for _, name in found} == {text}
    assert len(await places(client, where, "references", declaration=False)) == count - 1


async def test_a_definition_in_an_included_file(client: Client, tmp_path: Path) -> None:
    blocks = tmp_path / "blocks.yaml"
    blocks.write_text("netspec: 1\nblocks:\n  B: {args: {k: 1}, layers: [{name: z, type: ReLU}]}\n")
    text = HEAD + "include: [blocks.yaml]\nlayers: [{name: a, block: |B, with: {k: 2}}]\n"
    uri = (tmp_path / "net.yaml").as_uri()
    where = await client.at(text, uri)
    [found] = await client.text_document_definition_async(lsp.DefinitionParams(**where)) or ()
    assert isinstance(found, lsp.Location)
    assert (found.uri, found.range.start) == (blocks.as_uri(), lsp.Position(2, 2))
    where = await client.at(text.replace("|", "").replace("blocks.yaml", "blocks|.yaml"), uri)
    [found] = await client.text_document_definition_async(lsp.DefinitionParams(**where)) or ()
    assert isinstance(found, lsp.Location)
    assert found.uri == blocks.as_uri()

    # renamed where it is defined, it is renamed where it is used
    _, _ = await client.open(blocks.read_text(), blocks.as_uri())
    params = lsp.RenameParams(lsp.TextDocumentIdentifier(blocks.as_uri()), lsp.Position(2, 2), "Block")
    edit = await client.text_document_rename_async(params)
    assert edit is not None
    assert {uri: len(edits) for uri, edits in (edit.changes or {}).items()} == {blocks.as_uri(): 1, uri: 1}
    where = await client.at(text, uri)
    with pytest.raises(JsonRpcException, match=r"is defined in .*blocks\.yaml; rename it there"):
        await client.text_document_rename_async(lsp.RenameParams(new_name="Block", **where))


async def test_renaming_keeps_the_network(client: Client) -> None:
    for at in (
        "inputs: [a|, a.conv",
        "[a, a.co|nv",
        "block: |B,",
        "$pla|nes",
        "], oth|er:",
        '"H*|W"',
        "use: |a",
    ):
        assert NAMES.count(at.replace("|", "")) == 1
        where = await client.at(NAMES.replace(at.replace("|", ""), at))
        uri = where["text_document"].uri
        prepared = await client.text_document_prepare_rename_async(lsp.PrepareRenameParams(**where))
        assert isinstance(prepared, lsp.PrepareRenamePlaceholder)
        assert marked(NAMES, prepared.range) == prepared.placeholder
        edit = await client.text_document_rename_async(lsp.RenameParams(new_name="new_one", **where))
        assert edit is not None
        renamed = applied(NAMES, (edit.changes or {})[uri])
        assert renamed.count("new_one") == len((edit.changes or {})[uri]) >= 2
        assert await client.write(uri, renamed) == []


@pytest.mark.parametrize(
    ("at", "name", "why"),
    [
        ("inputs: [a|, a.conv", "two words", "is no name"),
        ("inputs: [a|, a.conv", "g", "taken: it is another layer"),
        ("inputs: [a|, a.conv", "other", "taken: it is an input"),
        ("[a, a.co|nv", "x", "taken: it is an input"),
        ("inputs: im|age}", "g", "taken: it is another layer"),
        ("inputs: im|age}", "other", "taken: it is another input"),
        ('"|H*W"', "W", "taken: it is another size"),
        ('"|H*W"', "1H", "starts with no digit"),
        ("$pla|nes", "index", "is the number"),
        ("type: Re|LU", "x", "no name here"),
    ],
)
async def test_a_name_that_cannot_be_is_refused(client: Client, at: str, name: str, why: str) -> None:
    assert NAMES.count(at.replace("|", "")) == 1
    where = await client.at(NAMES.replace(at.replace("|", ""), at))
    with pytest.raises(JsonRpcException, match=why):
        await client.text_document_rename_async(lsp.RenameParams(new_name=name, **where))


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ("- {type: ReLU}\n  - {type: ReLU, inputs: |0}", "no name of its own"),
        ("- {name: p, type: MaxPool2d, kernel_size: 2, return_indices: true}\n  - {type: ReLU, inputs: p.ind|ices}",
         "an output's name"),
        ('- {name: "l{}", type: ReLU, repeat: 2}\n  - {type: ReLU, inputs: |l1}', "several layers"),
    ],
)  # fmt: skip
async def test_what_has_no_name_is_not_renamed(client: Client, layers: str, why: str) -> None:
    where = await client.at(f"{HEAD}layers:\n  {layers}\n")
    with pytest.raises(JsonRpcException, match=why):
        await client.text_document_prepare_rename_async(lsp.PrepareRenameParams(**where))
