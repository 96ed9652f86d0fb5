"""Hints, hover, symbols: what is shown."""

from __future__ import annotations

from typing import Any

import pytest
from lsprotocol import types as lsp

from tests.editor.client import HEAD, Client, marked

pytestmark = pytest.mark.asyncio(loop_scope="module")

BLOCK = """netspec: 1
inputs: {image: {shape: [N, 3, H, W], description: a picture}}
blocks:
  B:
    args: {planes: null, stride: 1}
    layers:
      - {name: conv, type: Conv2d, out_channels: $planes, kernel_size: 3, stride: $stride, padding: 1}
      - {name: out, type: add, inputs: [conv, conv]}
layers:
  - {name: a, block: B, with: {planes: 8}}
  - {name: b, block: B, with: {planes: 16, stride: 2}}
  - {name: pool, type: MaxPool2d, kernel_size: 2, return_indices: true}
  - {name: up, type: MaxUnpool2d, kernel_size: 2, inputs: [pool, pool.indices]}
  - {name: flat, type: Flatten}
outputs: [flat]
"""


# --- hints ------------------------------------------------------------------------------------------


async def test_shapes_stand_at_the_end_of_each_layer(client: Client) -> None:
    text = HEAD + "layers:\n  - {name: c, type: Conv2d, out_channels: 8, kernel_size: 3} # comment\n"
    text += "  - type: MaxPool2d # comment\n    kernel_size: 2\n"
    text += "  - name: g\n    layers:\n      - {type: ReLU}\n      - {type: argmax, dim: 1}\n"
    uri, _ = await client.open(text)
    assert (await client.shown(uri)).splitlines()[3:] == [
        "  - {name: c, type: Conv2d «in_channels: 3», out_channels: 8, kernel_size: 3}"
        " «→ [N, 8, H - 2, W - 2]» # comment",
        "  - type: MaxPool2d «→ [N, 8, H//2 - 1, W//2 - 1]» # comment",
        "    kernel_size: 2",
        "  - name: g",
        "    layers: «→ [N, H//2 - 1, W//2 - 1] int64»",
        "      - {type: ReLU} «→ [N, 8, H//2 - 1, W//2 - 1]»",
        "      - {type: argmax, dim: 1} «→ [N, H//2 - 1, W//2 - 1] int64»",
    ]


async def test_a_block_shows_what_its_instances_share(client: Client) -> None:
    uri, found = await client.open(BLOCK)
    assert found == []
    lines = (await client.shown(uri)).splitlines()
    assert lines[6].endswith("padding: 1} «→ [N, 8|16, H|(H - 1)//2 + 1, W|(W - 1)//2 + 1]»")
    assert "type: Conv2d «in_channels: 3|8»," in lines[6]
    assert lines[10].endswith("{planes: 16, stride: 2}} «→ [N, 16, (H - 1)//2 + 1, (W - 1)//2 + 1]»")
    hint = next(
        h for h in await client.hints(uri) if h.position.line == 6 and h.kind is lsp.InlayHintKind.Type
    )
    assert (
        hint.tooltip
        == "a.conv: [N, 8, H, W] float32\nb.conv: [N, 16, (H - 1)//2 + 1, (W - 1)//2 + 1] float32"
    )


async def test_a_repetition_shows_what_it_gives_as_a_whole(client: Client) -> None:
    text = HEAD + "blocks:\n  Half:\n    layers: [{name: p, type: MaxPool2d, kernel_size: 2}]\nlayers:\n"
    text += (
        "  - {name: a, block: Half, repeat: 2}\n  - {name: b, type: MaxPool2d, kernel_size: 2, repeat: 2}\n"
    )
    text += "  - {block: Half, repeat: 2}\n"
    uri, found = await client.open(text)
    assert found == []
    hints = [h.label for h in await client.hints(uri) if h.position.line >= 6]
    assert hints == [
        "→ [N, 3, H//4, W//4]",
        "→ [N, 3, H//16, W//16]",
        "→ [N, 3, H//32|H//64, W//32|W//64]",  # spliced: two entries of the list
    ]


async def test_accepting_an_inferred_parameter_writes_it(client: Client) -> None:
    for style in ("- {type: Linear, out_features: 2}", "- type: Linear\n    out_features: 2"):
        text = f"netspec: 1\ninputs: {{x: [N, 7]}}\nlayers:\n  {style}\n"
        uri, _ = await client.open(text)
        [hint, _] = await client.hints(uri)
        assert hint.label == "in_features: 7"
        [edit] = hint.text_edits or ()
        lines = text.splitlines()
        line = lines[hint.position.line]
        at = hint.position.character
        lines[hint.position.line] = line[:at] + edit.new_text + line[at:]
        uri, found = await client.open("\n".join(lines))
        assert found == []
        assert [h.label for h in await client.hints(uri)] == ["→ [N, 2]"]


async def test_a_half_typed_file_keeps_its_hints(client: Client) -> None:
    layers = [
        "  - {name: a, type: Conv2d, out_channels: 8, kernel_size: 3, padding: 1}",
        "  - {name: b, type: ReLU}",
        "  - {name: c, type: Conv2d, out_channels: 4, kernel_size: 1}",
    ]
    uri, found = await client.open(HEAD + "layers:\n" + "\n".join(layers) + "\n")
    assert found == []
    whole = [line for line in (await client.shown(uri)).splitlines() if "«" in line]
    assert len(whole) == 3

    for typed in ("  - {name: b, type: ", "  - {name: b, type: ReLU, inputs: [", "  - {name: b", "  - "):
        found = await client.write(uri, HEAD + "layers:\n" + "\n".join([layers[0], typed, layers[2]]) + "\n")
        assert found, typed
        lines = (await client.shown(uri)).splitlines()
        assert lines[3] == whole[0], typed
        assert lines[5] == whole[2], typed
    # a line between them moves the ones below
    inserted = [layers[0], "  - {type: Conv2d, ", *layers[1:]]
    assert await client.write(uri, HEAD + "layers:\n" + "\n".join(inserted) + "\n")
    lines = (await client.shown(uri)).splitlines()
    assert [lines[3], lines[5], lines[6]] == whole


async def test_only_the_lines_that_are_asked_for(client: Client) -> None:
    uri, _ = await client.open(HEAD + "layers:\n" + "  - {type: ReLU}\n" * 50)
    place = lsp.Range(lsp.Position(10, 0), lsp.Position(20, 0))
    found = await client.text_document_inlay_hint_async(
        lsp.InlayHintParams(lsp.TextDocumentIdentifier(uri), place)
    )
    assert {hint.position.line for hint in found or ()} == set(range(10, 20))


async def test_hints_can_be_turned_off(client: Client) -> None:
    uri, _ = await client.open(HEAD + "layers:\n  - {type: Conv2d, out_channels: 8, kernel_size: 3}\n")
    for off, left in (("shapes", ["in_channels: 3"]), ("parameters", ["→ [N, 8, H - 2, W - 2]"])):
        settings: Any = {"inlayHints": {"shapes": True, "parameters": True} | {off: False}}
        client.workspace_did_change_configuration(lsp.DidChangeConfigurationParams(settings))
        assert [hint.label for hint in await client.hints(uri)] == left
    settings = {"inlayHints": {"shapes": True, "parameters": True}}
    client.workspace_did_change_configuration(lsp.DidChangeConfigurationParams(settings))
    assert len(await client.hints(uri)) == 2


# --- hover ------------------------------------------------------------------------------------------


async def test_over_a_type(client: Client) -> None:
    layer = "  - {name: c, type: Con|v2d, out_channels: 8, kernel_size: 3, stride: 2, padding: 1}\n"
    text = await client.hover(HEAD.replace("H, W", "H, 32") + "layers:\n" + layer)
    for part in (
        "**c**: `[N, 3, H, 32]` → `[N, 8, (H - 1)//2 + 1, 16]` float32",
        "H: (H + 2*1 - 1*(3 - 1) - 1)//2 + 1 = (H - 1)//2 + 1",
        "W: (32 + 2*1 - 1*(3 - 1) - 1)//2 + 1 = 16",
        "in_channels: 3, inferred",
        "parameters: 224 (weight [8, 3, 3, 3], bias [8])",
        "multiply-adds: `3456*N*((H - 1)//2) + 3456*N`",
        "Slides a kernel over images",
        "torch.nn.Conv2d.html",
    ):
        assert part in text, text


async def test_over_a_type_in_a_block(client: Client) -> None:
    text = await client.hover(BLOCK.replace("type: Conv2d", "type: Con|v2d"))
    assert "**a.conv**" in text
    assert "**b.conv**: `[N, 8, H, W]` → `[N, 16, (H - 1)//2 + 1, (W - 1)//2 + 1]`" in text


async def test_over_a_parameter(client: Client) -> None:
    layer = "layers:\n  - {type: Conv2d, out_channels: 8, kernel_size: 3, padding_mo|de: zeros}\n"
    text = await client.hover(HEAD + layer)
    assert "zeros, reflect, replicate, circular" in text
    assert "What the padding holds." in text
    assert 'Default: `"zeros"`' in text
    assert "required" in await client.hover(HEAD + "layers:\n  - {type: Conv2d, kernel_|size: 3}\n")
    assert "a torch function" in await client.hover(HEAD + "layers:\n  - {ty|pe: ReLU}\n")
    assert "Network inputs" in await client.hover("netspec: 1\ninp|uts: {x: [N]}\n")
    assert "xavier_normal_" in await client.hover(
        HEAD
        + "layers:\n  - {type: Conv2d, out_channels: 8, kernel_size: 3, init: {weight: {method: xavier_no|rmal}}}\n"
    )
    assert "Type of the parameters" in await client.hover("runner: 1\ndty|pe: float32\n")


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        ("[po|ol, pool", ["**pool**", "`[N, 16, (H + 1)//4, (W + 1)//4]`", "float32"]),
        ("pool.ind|ices]", ["pool.indices", "int64"]),
        ("{name: a|, block", ["**a**: block `B`", "- a: `[N, 8, H, W]` float32"]),
        (
            "block: B|, with: {planes: 8",
            ["**B**: a block of 2 entries", "`planes`: required", "`stride`: default `1`"],
        ),
        ("with: {pla|nes: 8", ["required argument"]),
        ("stride: $str|ide", ["default `1`"]),
        ("{ima|ge:", ["a network input", "`[N, 3, H, W]`", "a picture"]),
        ("outputs: [fl|at]", ["**flat**: `Flatten`"]),
    ],
)
async def test_over_a_name(client: Client, at: str, shown: list[str]) -> None:
    assert BLOCK.count(at.replace("|", "")) == 1
    text = await client.hover(BLOCK.replace(at.replace("|", ""), at))
    for part in shown:
        assert part in text, text


async def test_over_a_size(client: Client) -> None:
    layers = (
        "layers:\n  - {type: MaxPool2d, kernel_size: 2}\n  - {name: u, type: Upsample, scale_factor: 2}\n"
    )
    layers += "  - {type: add, inputs: [u, image]}\n"
    text = await client.hover(HEAD.replace("H, W", "|H, W") + layers)
    assert text.startswith("**H**: a size of `image`")
    assert "- `H >= 2`" in text
    assert "- `H % 2 == 0`" in text
    assert "W" not in text
    assert "Any size will do." in await client.hover(HEAD.replace("[N", "[|N") + layers)


async def test_over_nothing(client: Client) -> None:
    for text in ("# co|mment\nnetspec: 1\n", HEAD + "\n|\n", HEAD + "layers:\n  - {type: Nothin|g}\n"):
        assert await client.hover(text) == ""


# --- symbols ----------------------------------------------------------------------------------------


async def test_symbols(client: Client) -> None:
    uri, _ = await client.open(BLOCK)
    params = lsp.DocumentSymbolParams(lsp.TextDocumentIdentifier(uri))
    found = await client.text_document_document_symbol_async(params)
    assert found
    assert [s.name for s in found] == ["image", "B", "a", "b", "pool", "up", "flat"]
    block = found[1]
    assert isinstance(block, lsp.DocumentSymbol)
    assert [child.name for child in block.children or ()] == ["conv", "out"]
    assert found[4].detail == "MaxPool2d [N, 16, (H + 1)//4, (W + 1)//4]"
    for symbol in found:
        assert isinstance(symbol, lsp.DocumentSymbol)
        assert marked(BLOCK, symbol.selection_range) == symbol.name
        assert symbol.name in marked(BLOCK, symbol.range)
