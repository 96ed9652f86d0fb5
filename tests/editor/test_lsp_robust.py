"""Encodings, bursts of edits, cancellation, broken and enormous texts: the server keeps up and stays right."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_lsp
from lsprotocol import types as lsp

from netspec.editor.positions import ENCODINGS, Lines
from tests.editor.client import HEAD, WAIT, Client, config
from tests.editor.test_positions import units

ROOT = Path(__file__).parents[2]
WIDE = (
    "netspec: 1 # 😀 👩‍🔬 é\r\n"
    "description: a\u2028b \x85 'c' # \u2029 no line ends here\r\n"
    "inputs: {x: {shape: [N, 3, H, W], description: \"😀😀\"}} # 漢字\r\n"
    "layers:\r\n"
    "  - {name: a, type: ReLU} # 😀\r\n"
    "  - {name: b, type: ReLU, inputs: [a], colour: 1} # 😀\r\n"
    "  - {name: c, description: '😀', type: ReLU, inputs: missing}\r\n"
    "  - {name: d, type: Conv2d, in_channels: 5, out_channels: 2, kernel_size: 3, inputs: a}\r\n"
)  # fmt: skip


@pytest.fixture(params=ENCODINGS)
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_lsp.fixture(config=config())
async def speaking(lsp_client: Client, encoding: str) -> AsyncIterator[None]:
    result = await lsp_client.begin(encoding)
    assert result.capabilities.position_encoding == encoding
    yield
    await lsp_client.shutdown_session()
    assert lsp_client.log == [], "the server's log"


def words(text: str, found: list[lsp.Diagnostic], encoding: str) -> list[str]:
    """What the diagnostics underline."""
    lines = Lines(text, encoding)
    places = [
        (lines.offset(d.range.start.line, d.range.start.character), d.range.end.line, d.range.end.character)
        for d in found
    ]
    return [text[start : lines.offset(line, character)] for start, line, character in places]


@pytest.mark.asyncio
async def test_positions_in_every_encoding(speaking: Client, encoding: str) -> None:
    client = speaking
    uri, found = await client.open(WIDE)
    assert words(WIDE, found, encoding) == ["colour", "description", "missing", "5"]
    assert [d.range.start.line for d in found] == [5, 6, 6, 7]
    for number, line, word in ((0, 5, "colour"), (1, 6, "description"), (2, 6, "missing"), (3, 7, "5")):
        before = WIDE.split("\r\n")[line].partition(word)[0]  # in these lines the word comes once, or first
        assert found[number].range.start.character == units(before, encoding)
    [related] = found[3].related_information or ()
    assert related.location.range.start.line == 4

    lines = Lines(WIDE, encoding)
    where = lsp.Position(*lines.position(WIDE.index("missing") + 3))
    change = lsp.TextDocumentContentChangePartial(lsp.Range(where, where), "😀")
    version = client.change(uri, change)
    after = await client.diagnostics_of(uri, version)
    assert "mis😀sing" in words(WIDE.replace("missing", "mis😀sing"), after, encoding)

    document = lsp.TextDocumentIdentifier(uri)
    where = lsp.Position(*lines.position(WIDE.index("[a]") + 1))
    [definition] = await client.text_document_definition_async(lsp.DefinitionParams(document, where)) or ()
    assert isinstance(definition, lsp.Location)
    start = lines.offset(definition.range.start.line, definition.range.start.character)
    assert WIDE[start - 6 : start + 1] == "name: a"
    hints = await client.hints(uri)
    assert [lines.offset(h.position.line, h.position.character) for h in hints][:1] == [
        WIDE.index("} # 😀\r\n  - {name: b") + 1
    ]
    completion = await client.text_document_completion_async(lsp.CompletionParams(document, where))
    assert isinstance(completion, lsp.CompletionList)
    [offer] = [item for item in completion.items if item.label == "a"]
    assert isinstance(offer.text_edit, lsp.TextEdit)
    assert offer.text_edit.range == definition_range(lines, WIDE.index("[a]") + 1, 1)


def definition_range(lines: Lines, start: int, length: int) -> lsp.Range:
    return lsp.Range(lsp.Position(*lines.position(start)), lsp.Position(*lines.position(start + length)))


@pytest.mark.asyncio
async def test_many_small_edits_end_in_the_text_that_they_make(speaking: Client, encoding: str) -> None:
    client, draw = speaking, random.Random(7)
    uri, _ = await client.open(WIDE)
    text = WIDE
    for _ in range(30):
        changes = []
        for _ in range(draw.randrange(1, 4)):
            lines = Lines(text, encoding)
            places = sorted((lines.line_at(o), o) for o in draw.sample(range(len(text)), 2))
            first, second = (lines.offset(*lines.position(offset)) for _, offset in places)
            if second - first > 12:
                second = lines.offset(*lines.position(first + draw.randrange(3)))
            first, second = min(first, second), max(first, second)
            new = draw.choice(["", "x", "😀", "\n", "é: ", "{", "}", "\u2028", "\r\n  - "])
            place = lsp.Range(lsp.Position(*lines.position(first)), lsp.Position(*lines.position(second)))
            changes.append(lsp.TextDocumentContentChangePartial(place, new))
            text = text[:first] + new + text[second:]
        version = client.change(uri, *changes)
        if "netspec: 1" not in text:
            break
    found = await client.diagnostics_of(uri, version)
    _, fresh = await client.open(text)
    assert [(d.code, d.range) for d in found] == [(d.code, d.range) for d in fresh]


# --- one server, utf-16 -----------------------------------------------------------------------------

one = pytest.mark.asyncio(loop_scope="module")


@one
async def test_a_burst_of_edits_is_answered_with_its_end(client: Client) -> None:
    text = HEAD + "layers:\n" + "  - {type: ReLU}\n" * 400
    uri, _ = await client.open(text)
    client.published.clear()
    before, after = lsp.Position(2, 7), lsp.Position(2, 8)
    for _ in range(100):
        client.change(uri, lsp.TextDocumentContentChangePartial(lsp.Range(before, before), " "))
        version = client.change(uri, lsp.TextDocumentContentChangePartial(lsp.Range(before, after), ""))
    last = client.change(uri, lsp.TextDocumentContentChangeWholeDocument(text.replace("ReLU", "Rellu", 1)))
    assert last == version + 1
    found = await client.diagnostics_of(uri, last)
    assert [d.code for d in found] == ["unknown-type"]
    versions = [int(p.version or 0) for p in client.published if p.uri == uri]
    assert versions == sorted(versions)


@one
async def test_answers_are_about_the_newest_text(client: Client) -> None:
    uri, _ = await client.open(HEAD + "layers:\n  - {type: ReLU}\n")
    document = lsp.TextDocumentIdentifier(uri)
    for letter in "xyz":
        client.change(
            uri,
            lsp.TextDocumentContentChangeWholeDocument(
                HEAD + f"layers:\n  - {{name: {letter}, type: ReLU}}\n"
            ),
        )
        found = await client.text_document_document_symbol_async(lsp.DocumentSymbolParams(document))
        assert [s.name for s in found or ()] == ["image", letter]


@one
async def test_a_request_can_be_cancelled(client: Client) -> None:
    text = HEAD + "layers:\n" + "  - {type: Conv2d, out_channels: 3, kernel_size: 3, padding: 1}\n" * 3000
    uri, _ = await client.open(text)
    client.change(uri, lsp.TextDocumentContentChangeWholeDocument(text + "  - {type: ReLU}\n"))
    whole = lsp.Range(lsp.Position(0, 0), lsp.Position(9999, 0))
    params = lsp.InlayHintParams(lsp.TextDocumentIdentifier(uri), whole)
    asked = client.protocol.send_request("textDocument/inlayHint", params, msg_id="cancelled")
    client.cancel_request(lsp.CancelParams("cancelled"))
    with pytest.raises(Exception, match=r"(?i)cancel"):
        await asyncio.wait_for(asyncio.wrap_future(asked), WAIT)
    hints = await client.hints(uri)  # the analysis that the request waited for goes on
    assert sum(hint.kind is lsp.InlayHintKind.Type for hint in hints) == 3001


@one
async def test_an_enormous_text(client: Client) -> None:
    text = HEAD + "layers:\n" + "  - {type: ReLU}\n" * 10_000
    uri, found = await client.open(text)
    assert found == []
    found = await client.write(uri, text + "  - {type: ReLu}\n")
    assert [d.range.start.line for d in found] == [10_003]
    [too_large] = await client.write(uri, "netspec: 1\n" + "#" * (17 * 1024 * 1024))
    assert too_large.code == "file-too-large"
    assert await client.write(uri, text) == []


@one
@pytest.mark.parametrize(
    "text",
    [
        "netspec: 1\n" + "[" * 100_000,
        "netspec: 1\n" + "- " * 100_000,
        "netspec: 1\na: &a [*a]\n",
        "netspec: 1\n\0",
        "netspec: 1\nlayers: {{{\n",
        "netspec: 1\n\tlayers:\n\t- {\n",
        "netspec: 1\nb0: &b0 [1]\n" + "".join(f"b{i}: &b{i} [*b{i - 1}, *b{i - 1}]\n" for i in range(1, 60)),
        "\ufeffnetspec: 1\ninputs: {x: [N]}\nlayers: [{type: ReLUU}]\n",
        "netspec:",
        '{"netspec": 1, "layers": [',
    ],
)  # fmt: skip
async def test_broken_texts(client: Client, text: str) -> None:
    uri, found = await client.open(text)
    assert found
    document = lsp.TextDocumentIdentifier(uri)
    await client.hints(uri)
    await client.text_document_document_symbol_async(lsp.DocumentSymbolParams(document))
    lines = Lines(text)
    for offset in {0, 5, len(text) // 2, len(text)}:
        where = lsp.Position(*lines.position(offset))
        await client.text_document_hover_async(lsp.HoverParams(document, where))
        await client.text_document_completion_async(lsp.CompletionParams(document, where))
    for d in found:
        assert lines.offset(d.range.end.line, d.range.end.character) <= len(text)


@one
async def test_every_place_of_a_network(client: Client) -> None:
    path = ROOT / "configs" / "resnet18.yaml"
    text = path.read_text(encoding="utf-8")
    uri, found = await client.open(text, path.as_uri())
    assert found == []
    lines, document = Lines(text), lsp.TextDocumentIdentifier(uri)
    for offset in range(0, len(text), 7):
        where = lsp.Position(*lines.position(offset))
        shown, offered, defined = await asyncio.gather(
            client.text_document_hover_async(lsp.HoverParams(document, where)),
            client.text_document_completion_async(lsp.CompletionParams(document, where)),
            client.text_document_definition_async(lsp.DefinitionParams(document, where)),
        )
        if shown is not None and shown.range is not None:
            start, end = shown.range.start, shown.range.end
            assert (
                lines.offset(start.line, start.character) <= offset <= lines.offset(end.line, end.character)
            )
        assert offered is not None
        assert defined is not None
