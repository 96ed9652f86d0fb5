"""The language server: the state that it keeps, and its life."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterable
from pathlib import Path

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol
from pygls.protocol.language_server import lsp_method

from netspec import __version__
from netspec.editor.buffers import Buffer, Edit
from netspec.editor.diagnostics import shown
from netspec.editor.pending import Pending
from netspec.editor.protocol import Translator
from netspec.editor.settings import Settings
from netspec.editor.view import View


class RequestFailed(JsonRpcException):
    """A request is refused for a reason that the user should read."""

    CODE = lsp.LSPErrorCodes.RequestFailed


class Server(LanguageServer):
    """The open buffers, their views and what was published about them."""

    def __init__(self) -> None:
        super().__init__("netspec", __version__, protocol_cls=Protocol)
        self.settings = Settings()
        self.buffers: dict[str, Buffer] = {}
        self.pending = Pending(self.texts, self.publish)
        self.good: dict[str, View] = {}
        self.published: dict[str, dict[str, list[lsp.Diagnostic]]] = {}
        self._seen: dict[str, View] = {}

    @property
    def encoding(self) -> str:
        """The unit of the client's positions."""
        found = self.server_capabilities.position_encoding
        return str(getattr(found, "value", found) or "utf-16")

    def texts(self) -> dict[Path, str]:
        """What is open, by file: it stands for what is saved."""
        paths = {path: buffer.text for buffer in self.buffers.values() if (path := buffer.path) is not None}
        return {path.resolve(): text for path, text in paths.items()}

    def uris(self) -> dict[Path, str]:
        """The URIs of open files, as the client writes them."""
        return {path: uri for uri, buffer in self.buffers.items() if (path := buffer.path) is not None}

    def translator(self, view: View) -> Translator:
        """From a view's places to the client's."""
        return Translator(view, self.uris())

    # --- buffers ------------------------------------------------------------------------------------

    def keep(self, buffer: Buffer) -> None:
        """A text was opened or edited."""
        self.buffers[buffer.uri] = buffer
        if buffer.kind is not None:
            self.pending.want(buffer)
        else:  # it may have been one of ours before the edit
            self.pending.forget(buffer.uri)
            self.retract(buffer.uri)
        self.changed(buffer.path)

    def close(self, uri: str) -> None:
        """A text was closed: its file counts again."""
        buffer = self.buffers.pop(uri, None)
        self.pending.forget(uri)
        self.good.pop(uri, None)
        self._seen.pop(uri, None)
        self.retract(uri)
        if buffer is not None:
            self.changed(buffer.path)

    def changed(self, path: Path | None) -> None:
        """A file is different: look again at the texts that include it."""
        if path is None:
            return
        resolved = path.resolve()
        for view in list(self.pending.views.values()):
            buffer = self.buffers.get(view.buffer.uri)
            if buffer is not None and resolved in view.included:
                self.pending.want(buffer)

    async def view(self, uri: str) -> View | None:
        """What is known of a text as it is now; None for YAML that is none of ours."""
        return await self.pending.view(uri)

    def including(self, view: View) -> list[View]:
        """The views of texts that include a view's file."""
        path = view.buffer.path
        resolved = path.resolve() if path is not None else None
        return [
            other for other in self.pending.views.values() if other is not view and resolved in other.included
        ]

    # --- diagnostics --------------------------------------------------------------------------------

    def publish(self, view: View) -> None:
        """Send what was found in a text, and in the files that it includes."""
        translate = self.translator(view)
        own = view.buffer.uri
        if view.valid:
            self.good[own] = view
        found: dict[str, list[lsp.Diagnostic]] = {own: []}
        for diagnostic in shown(view, self.settings):
            uri = translate.uri(diagnostic.span.source) if diagnostic.span is not None else own
            found.setdefault(uri, []).append(translate.diagnostic(diagnostic))
        before = self.published.get(own, {})
        self.published[own] = found
        for uri in {**found, **before}:
            self.send(uri)
        if view is not self._seen.get(own) and view.buffer is self._buffer_seen(own):
            self.refresh()  # an included file is different, not this one, so that the client does not ask
        self._seen[own] = view

    def _buffer_seen(self, uri: str) -> Buffer | None:
        seen = self._seen.get(uri)
        return seen.buffer if seen is not None else None

    def refresh(self) -> None:
        """Ask the client to ask for inlay hints again."""
        workspace = self.client_capabilities.workspace
        if (
            workspace is not None
            and workspace.inlay_hint is not None
            and workspace.inlay_hint.refresh_support
        ):
            self.workspace_inlay_hint_refresh(None)

    def retract(self, uri: str) -> None:
        """Nothing more is known of a text."""
        for other in self.published.pop(uri, {}):
            self.send(other)

    def send(self, uri: str) -> None:
        """Publish what all open texts say about one file."""
        every = [d for found in self.published.values() for d in found.get(uri, ())]
        unique = {(d.code, d.message, d.range.start.line, d.range.start.character): d for d in every}
        buffer = self.buffers.get(uri)
        self.text_document_publish_diagnostics(
            lsp.PublishDiagnosticsParams(uri, list(unique.values()), buffer.version if buffer else None)
        )


class Protocol(LanguageServerProtocol):
    """Edits go to our buffers: the library's own split lines where no editor does."""

    _server: Server

    @lsp_method(lsp.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: lsp.DidOpenTextDocumentParams) -> None:
        """A text was opened."""
        opened = params.text_document
        server = self._server
        server.keep(Buffer(opened.uri, opened.text, opened.version, server.encoding))

    @lsp_method(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: lsp.DidChangeTextDocumentParams) -> None:
        """A text was edited."""
        buffer = self._server.buffers.get(params.text_document.uri)
        if buffer is not None:
            self._server.keep(buffer.edited(_edits(params.content_changes), params.text_document.version))

    @lsp_method(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: lsp.DidCloseTextDocumentParams) -> None:
        """A text was closed."""
        self._server.close(params.text_document.uri)


def _edits(changes: Iterable[lsp.TextDocumentContentChangeEvent]) -> Iterable[Edit]:
    for change in changes:
        if isinstance(change, lsp.TextDocumentContentChangePartial):
            start, end = change.range.start, change.range.end
            yield Edit(change.text, (start.line, start.character), (end.line, end.character))
        else:
            yield Edit(change.text)


def _worth_logging(record: logging.LogRecord) -> bool:
    """Not what is refused to the user in so many words."""
    return record.exc_info is None or not isinstance(record.exc_info[1], RequestFailed)


def serve() -> None:
    """Serve on standard input and output until the client leaves."""
    from netspec.editor.features import register

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_worth_logging)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # it warns of every cancellation that comes too late, which is most of them
    logging.getLogger("pygls").setLevel(logging.ERROR)
    server = Server()
    register(server)
    # Analyses make many values that live until the next one; the collector would look for cycles in them
    # dozens of times each, which doubles their time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    server.start_io()
