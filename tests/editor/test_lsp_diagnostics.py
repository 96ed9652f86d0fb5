"""Diagnostics while typing: those of `netspec validate`, where it says they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types as lsp

from netspec.analysis import analyse_file
from netspec.diagnostics import render_json
from tests.editor.client import HEAD, Client, marked

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]
FILES = [
    path
    for folder in ("tests/golden/diagnostics", "configs")
    for path in sorted((ROOT / folder).glob("*.yaml"))
    if "netspec:" in path.read_text(encoding="utf-8")  # without its first key a file is none of ours
]
SEVERITY = {"error": 1, "warning": 2, "note": 3}


def place(range: dict[str, Any]) -> tuple[int, int, int, int]:
    """A range of the JSON as the protocol counts, in code points."""
    start, end = range["start"], range["end"]
    return start["line"] - 1, start["column"] - 1, end["line"] - 1, end["column"] - 1


def place_of(range: lsp.Range) -> tuple[int, int, int, int]:
    return range.start.line, range.start.character, range.end.line, range.end.character


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_the_same_as_validate(client: Client, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    uri, found = await client.open(text, path.as_uri())
    expected = render_json([(str(path), analyse_file(path).diagnostics)])["files"][0]["diagnostics"]
    wide = any(ord(character) > 0xFFFF for character in text)
    assert len(found) == len(expected)
    for diagnostic, wanted in zip(found, expected, strict=True):
        assert (diagnostic.code, int(diagnostic.severity or 0)) == (
            wanted["code"],
            SEVERITY[wanted["severity"]],
        )
        assert diagnostic.message.startswith(wanted["message"])
        assert wanted["help"] is None or wanted["help"] in diagnostic.message
        if not wide:
            assert place_of(diagnostic.range) == place(wanted["range"])
        placed = [note for note in wanted["notes"] if note["range"] is not None]
        related = diagnostic.related_information or []
        assert [r.message for r in related] == [note["message"] for note in placed]
        if not wide:
            assert [place_of(r.location.range) for r in related] == [place(note["range"]) for note in placed]
        assert all(r.location.uri == uri for r in related)
        for note in wanted["notes"]:
            assert note["range"] is not None or note["message"] in diagnostic.message


async def test_the_producer_is_related_information(client: Client) -> None:
    text = HEAD + "layers:\n  - {name: c, type: Conv2d, out_channels: 8, kernel_size: 3}\n"
    text += "  - {name: d, type: Conv2d, in_channels: 5, out_channels: 2, kernel_size: 3}\n"
    _, [found] = await client.open(text)
    assert marked(text, found.range) == "5"
    [related] = found.related_information or ()
    assert marked(text, related.location.range) == "c"
    assert "gives [N, 8, H - 2, W - 2]" in related.message


async def test_other_yaml_is_left_alone(client: Client) -> None:
    for text in (
        "image: nginx\nports: [80, 80]\n",
        "a: [1\n",
        "# netspec: 1\na: 1\n",
        "runner:\n  image: x\n",
        "",
    ):
        uri = f"file:///nowhere/other{hash(text)}.yaml"
        client.text_document_did_open(
            lsp.DidOpenTextDocumentParams(lsp.TextDocumentItem(uri, "yaml", 1, text))
        )
        where = {"text_document": lsp.TextDocumentIdentifier(uri), "position": lsp.Position(0, 0)}
        assert await client.text_document_completion_async(lsp.CompletionParams(**where)) is None
        assert not [params for params in client.published if params.uri == uri]


async def test_a_text_becomes_a_network_and_stops_being_one(client: Client) -> None:
    text = HEAD + "layers: []\n"
    uri, found = await client.open(text)
    assert [d.code for d in found] == ["missing-key"]
    assert await client.write(uri, text.replace("netspec", "spec")) == []
    assert [d.code for d in await client.write(uri, text)] == ["missing-key"]
    client.text_document_did_close(lsp.DidCloseTextDocumentParams(lsp.TextDocumentIdentifier(uri)))
    client.text_document_did_open(lsp.DidOpenTextDocumentParams(lsp.TextDocumentItem(uri, "yaml", 1, text)))
    assert [d.code for d in await client.diagnostics_of(uri, 1)] == ["missing-key"]


async def test_run_profiles(client: Client) -> None:
    text = "runner: 1\nthreads: two\ndevise: cpu\n"
    _, found = await client.open(text)
    assert [marked(text, d.range) for d in found] == ["two", "devise"]


async def test_included_files_are_read_as_they_are_in_the_editor(client: Client, tmp_path: Path) -> None:
    blocks = "netspec: 1\nblocks:\n  B:\n    layers: [{name: a, type: ReLU}]\n"
    (tmp_path / "blocks.yaml").write_text(blocks)
    network = tmp_path / "net.yaml"
    uri, found = await client.open(HEAD + "include: [blocks.yaml]\nlayers: [{block: B}]\n", network.as_uri())
    assert found == []
    other = (tmp_path / "blocks.yaml").as_uri()
    _, found = await client.open(blocks, other)
    # a file of blocks alone is no mistake in an editor, though it is none of a network
    assert [(d.code, d.severity) for d in found] == [("missing-key", lsp.DiagnosticSeverity.Information)]

    client.published.clear()
    found = await client.write(other, blocks.replace("ReLU", "Rellu"))
    assert "unknown-type" in [d.code for d in found]
    await client.write(other, blocks.replace("B:", "Block:"))
    [found] = await client.until_codes(uri, "unknown-block")
    assert "there is no block `B`" in found.message
    assert client.refreshed  # hints are other ones too, and nobody has typed in that text
    client.text_document_did_close(lsp.DidCloseTextDocumentParams(lsp.TextDocumentIdentifier(other)))
    await client.until_codes(uri)  # what is saved counts again


async def test_what_a_schema_sees_can_be_left_to_it(client: Client) -> None:
    text = HEAD + "layers:\n  - {type: Conv2d, out_channels: 8, kernel_size: 3, strid: 2}\n"
    text += "  - {type: Conv2d, inputs: image, in_channels: 4, out_channels: 8, kernel_size: 3}\n"
    uri, found = await client.open(text)
    assert {d.code for d in found} == {"unknown-key", "channel-mismatch"}
    client.published.clear()
    settings = {"netspec": {"structural": False}}
    client.workspace_did_change_configuration(lsp.DidChangeConfigurationParams(settings))
    assert [d.code for d in await client.diagnostics_of(uri, 1)] == ["channel-mismatch"]
    client.published.clear()
    settings = json.loads('{"netspec": {"structural": true}}')
    client.workspace_did_change_configuration(lsp.DidChangeConfigurationParams(settings))
    assert len(await client.diagnostics_of(uri, 1)) == 2
