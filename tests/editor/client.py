"""The real client of pytest-lsp, with a text to work on: `|` in it is where the cursor is."""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import Any

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient as Base
from pytest_lsp import LanguageClient, client_capabilities
from pytest_lsp.client import DEFAULT_CLIENT_FEATURES, register_lsp_features
from pytest_lsp.plugin import ClientServerConfig

HEAD = "netspec: 1\ninputs: {image: [N, 3, H, W]}\n"
"""The beginning of a network; layers follow."""
WAIT = 60.0
"""Seconds after which a server that says nothing hangs."""

_numbers = itertools.count(1)


class Client(LanguageClient):
    """A client that keeps what the server publishes by version, and what it logs."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[lsp.PublishDiagnosticsParams] = []
        self.news = asyncio.Event()
        self.refreshed = 0
        self.log: list[str] = []
        self.texts: dict[str, tuple[str, int]] = {}

    async def start_io(self, cmd: str, *args: Any, **kwargs: Any) -> None:
        """Start the server; its log is kept."""
        await Base.start_io(self, cmd, *args, **kwargs)
        self._stderr_forwarder = asyncio.create_task(self._read_log())

    async def _read_log(self) -> None:
        assert self._server is not None
        assert self._server.stderr is not None
        while line := await self._server.stderr.readline():
            self.log.append(line.decode())

    async def begin(self, encoding: str = "utf-16", options: object = None) -> lsp.InitializeResult:
        """Introduce ourselves as Neovim does, with positions in an encoding."""
        capabilities = client_capabilities("neovim")
        assert capabilities.general is not None
        capabilities.general.position_encodings = [lsp.PositionEncodingKind(encoding)]
        params = lsp.InitializeParams(capabilities, initialization_options=options)
        return await self.initialize_session(params)

    # --- texts --------------------------------------------------------------------------------------

    async def open(self, text: str, uri: str | None = None) -> tuple[str, list[lsp.Diagnostic]]:
        """Open a text; its URI and diagnostics."""
        uri = uri or f"file:///nowhere/net{next(_numbers)}.yaml"
        self.texts[uri] = text, 1
        self.text_document_did_open(lsp.DidOpenTextDocumentParams(lsp.TextDocumentItem(uri, "yaml", 1, text)))
        return uri, await self.diagnostics_of(uri, 1)

    def change(self, uri: str, *changes: lsp.TextDocumentContentChangeEvent) -> int:
        """Send edits; the version that they make."""
        version = self.texts[uri][1] + 1
        self.texts[uri] = self.texts[uri][0], version
        document = lsp.VersionedTextDocumentIdentifier(version, uri)
        self.text_document_did_change(lsp.DidChangeTextDocumentParams(document, list(changes)))
        return version

    async def write(self, uri: str, text: str) -> list[lsp.Diagnostic]:
        """Replace the whole text; its diagnostics."""
        version = self.change(uri, lsp.TextDocumentContentChangeWholeDocument(text))
        self.texts[uri] = text, version
        return await self.diagnostics_of(uri, version)

    async def until_codes(self, uri: str, *codes: str) -> list[lsp.Diagnostic]:
        """What is known of a text once it has just these diagnostics."""

        async def wait() -> list[lsp.Diagnostic]:
            while True:
                found = next((p for p in reversed(self.published) if p.uri == uri), None)
                if found is not None and sorted(str(d.code) for d in found.diagnostics) == sorted(codes):
                    return list(found.diagnostics)
                self.news.clear()
                await self.news.wait()

        return await asyncio.wait_for(wait(), WAIT)

    async def diagnostics_of(self, uri: str, version: int) -> list[lsp.Diagnostic]:
        """What the server publishes about a version."""

        async def wait() -> list[lsp.Diagnostic]:
            while True:
                for params in reversed(self.published):
                    if params.uri == uri and params.version == version:
                        return list(params.diagnostics)
                self.news.clear()
                await self.news.wait()

        return await asyncio.wait_for(wait(), WAIT)

    async def at(self, marked: str, uri: str | None = None) -> dict[str, Any]:
        """Open a text with `|` at the cursor; the parameters of a request about that place."""
        before, _, after = marked.partition("|")
        uri, _ = await self.open(before + after, uri)
        position = lsp.Position(before.count("\n"), len(before) - before.rfind("\n") - 1)
        return {"text_document": lsp.TextDocumentIdentifier(uri), "position": position}

    # --- requests -----------------------------------------------------------------------------------

    async def offers(self, marked: str) -> dict[str, lsp.CompletionItem]:
        """Completions at the mark, by label."""
        found = await self.text_document_completion_async(lsp.CompletionParams(**await self.at(marked)))
        assert isinstance(found, lsp.CompletionList)
        return {item.label: item for item in found.items}

    async def hover(self, marked: str) -> str:
        """What is shown at the mark."""
        found = await self.text_document_hover_async(lsp.HoverParams(**await self.at(marked)))
        if found is None:
            return ""
        assert isinstance(found.contents, lsp.MarkupContent)
        return found.contents.value

    async def hints(self, uri: str) -> list[lsp.InlayHint]:
        """The hints of a whole text."""
        whole = lsp.Range(lsp.Position(0, 0), lsp.Position(1_000_000, 0))
        params = lsp.InlayHintParams(lsp.TextDocumentIdentifier(uri), whole)
        return list(await self.text_document_inlay_hint_async(params) or ())

    async def shown(self, uri: str) -> str:
        """The text with its hints where an editor shows them."""
        text = self.texts[uri][0]
        for hint in reversed(await self.hints(uri)):
            offset = offset_of(text, hint.position)
            text = f"{text[:offset]} «{hint.label}»{text[offset:]}"
        return text

    async def fixes(self, uri: str, found: lsp.Diagnostic) -> dict[str, lsp.CodeAction]:
        """Fixes of a diagnostic, by title."""
        context = lsp.CodeActionContext([found])
        params = lsp.CodeActionParams(lsp.TextDocumentIdentifier(uri), found.range, context)
        actions = await self.text_document_code_action_async(params) or ()
        return {action.title: action for action in actions if isinstance(action, lsp.CodeAction)}


def config(*arguments: str) -> ClientServerConfig:
    """How the server is started."""

    def make() -> Client:
        def publish(ls: Client, params: lsp.PublishDiagnosticsParams) -> None:
            ls.published.append(params)
            ls.news.set()

        def refresh(ls: Client, params: None) -> None:
            ls.refreshed += 1

        client = Client()
        own = {
            lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS: publish,
            lsp.WORKSPACE_INLAY_HINT_REFRESH: refresh,
        }
        register_lsp_features(client, {**DEFAULT_CLIENT_FEATURES, **own})
        return client

    return ClientServerConfig([sys.executable, "-m", "netspec", "lsp", *arguments], make)


def offset_of(text: str, position: lsp.Position) -> int:
    """The offset of a position; for texts without characters that count twice in UTF-16."""
    lines = text.split("\n")
    return sum(len(line) + 1 for line in lines[: position.line]) + position.character


def applied(text: str, edits: Any) -> str:
    """The text after edits, which do not overlap."""
    for edit in sorted(edits, key=lambda e: (e.range.start.line, e.range.start.character), reverse=True):
        start, end = offset_of(text, edit.range.start), offset_of(text, edit.range.end)
        text = text[:start] + edit.new_text + text[end:]
    return text


def marked(text: str, place: lsp.Range) -> str:
    """The characters of a range."""
    return text[offset_of(text, place.start) : offset_of(text, place.end)]
