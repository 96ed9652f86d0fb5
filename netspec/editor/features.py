"""The requests that the server answers: a view, a place, a feature's values, translated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from lsprotocol import types as lsp

from netspec.editor import navigation
from netspec.editor.actions import actions
from netspec.editor.buffers import path_of
from netspec.editor.completion import complete, documentation
from netspec.editor.hints import recalled
from netspec.editor.hover import hover
from netspec.editor.protocol import Translator
from netspec.editor.server import RequestFailed, Server
from netspec.editor.settings import Settings
from netspec.editor.symbols import symbols
from netspec.editor.view import View

_F = TypeVar("_F", bound=Callable[..., Any])

_TRIGGERS: Final = [" ", ":", ",", "[", "{", "-", ".", "$"]


def register(server: Server) -> None:
    """Let a server answer."""
    _life(server)
    _reading(server)
    _writing(server)


def _on(server: Server, method: str, options: Any = None) -> Callable[[_F], _F]:
    made: Callable[[_F], _F] = server.feature(method, options)
    return made


async def _placed(
    server: Server, document: lsp.TextDocumentIdentifier, position: lsp.Position
) -> tuple[View, Translator, int] | None:
    """The view of a document, its translator and an offset in it."""
    view = await server.view(document.uri)
    if view is None:
        return None
    translate = server.translator(view)
    return view, translate, translate.offset(position)


def _life(server: Server) -> None:
    """Settings, saved files, the end."""

    @_on(server, lsp.INITIALIZE)
    def initialize(ls: Server, params: lsp.InitializeParams) -> None:
        ls.settings = Settings.read(params.initialization_options)

    @_on(server, lsp.WORKSPACE_DID_CHANGE_CONFIGURATION)
    def configured(ls: Server, params: lsp.DidChangeConfigurationParams) -> None:
        ls.settings = Settings.read(params.settings, ls.settings)
        for view in list(ls.pending.views.values()):
            ls.publish(view)
        ls.refresh()

    @_on(server, lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def files_changed(ls: Server, params: lsp.DidChangeWatchedFilesParams) -> None:
        for change in params.changes:
            ls.changed(path_of(change.uri))

    @_on(server, lsp.TEXT_DOCUMENT_DID_SAVE)
    def saved(ls: Server, params: lsp.DidSaveTextDocumentParams) -> None:
        ls.changed(path_of(params.text_document.uri))

    @_on(server, lsp.SHUTDOWN)
    def shutdown(ls: Server, params: None) -> None:
        ls.pending.close()


def _reading(server: Server) -> None:
    """What is shown, and where things are."""

    @_on(server, lsp.TEXT_DOCUMENT_HOVER)
    async def show_hover(ls: Server, params: lsp.HoverParams) -> lsp.Hover | None:
        placed = await _placed(ls, params.text_document, params.position)
        found = hover(placed[0], placed[2]) if placed is not None else None
        if placed is None or found is None:
            return None
        return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, found[0]), placed[1].range(found[1]))

    @_on(server, lsp.TEXT_DOCUMENT_INLAY_HINT)
    async def inlay_hints(ls: Server, params: lsp.InlayHintParams) -> list[lsp.InlayHint] | None:
        placed = await _placed(ls, params.text_document, params.range.start)
        if placed is None:
            return None
        view, translate, start = placed
        good = ls.good.get(view.buffer.uri)
        end = translate.offset(params.range.end)
        return [translate.hint(hint) for hint in recalled(view, good, start, end, ls.settings)]

    @_on(server, lsp.TEXT_DOCUMENT_DEFINITION)
    async def definition(ls: Server, params: lsp.DefinitionParams) -> list[lsp.Location] | None:
        placed = await _placed(ls, params.text_document, params.position)
        if placed is None:
            return None
        view, translate, offset = placed
        return [translate.location(span) for span in navigation.definition(view, offset)]

    @_on(server, lsp.TEXT_DOCUMENT_REFERENCES)
    async def references(ls: Server, params: lsp.ReferenceParams) -> list[lsp.Location] | None:
        placed = await _placed(ls, params.text_document, params.position)
        if placed is None:
            return None
        view, translate, offset = placed
        found = navigation.references(view, offset, params.context.include_declaration)
        return [translate.location(span) for span in found]

    @_on(server, lsp.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
    async def highlights(
        ls: Server, params: lsp.DocumentHighlightParams
    ) -> list[lsp.DocumentHighlight] | None:
        placed = await _placed(ls, params.text_document, params.position)
        if placed is None:
            return None
        view, translate, offset = placed
        own = view.document.source
        found = [span for span in navigation.references(view, offset) if span.source is own]
        return [lsp.DocumentHighlight(translate.range(span)) for span in found]

    @_on(server, lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    async def outline(ls: Server, params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol] | None:
        view = await ls.view(params.text_document.uri)
        if view is None:
            return None
        translate = ls.translator(view)
        return [translate.symbol(symbol) for symbol in symbols(view)]


def _writing(server: Server) -> None:
    """What changes the text."""

    @_on(server, lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(_TRIGGERS, resolve_provider=True))
    async def completion(ls: Server, params: lsp.CompletionParams) -> lsp.CompletionList | None:
        placed = await _placed(ls, params.text_document, params.position)
        if placed is None:
            return None
        view, translate, offset = placed
        snippets = _snippets(ls.client_capabilities)
        offers = complete(view, offset)
        return lsp.CompletionList(False, [translate.item(o, i, snippets) for i, o in enumerate(offers)])

    @_on(server, lsp.COMPLETION_ITEM_RESOLVE)
    def resolve(ls: Server, item: lsp.CompletionItem) -> lsp.CompletionItem:
        if isinstance(item.data, dict):
            words = documentation(item.label, str(item.data.get("kind")), str(item.data.get("of")))
            if words:
                item.documentation = lsp.MarkupContent(lsp.MarkupKind.Markdown, words)
        return item

    @_on(server, lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions([lsp.CodeActionKind.QuickFix]))
    async def code_actions(ls: Server, params: lsp.CodeActionParams) -> list[lsp.CodeAction] | None:
        placed = await _placed(ls, params.text_document, params.range.start)
        if placed is None:
            return None
        view, translate, start = placed
        end = translate.offset(params.range.end)
        return [translate.action(action) for action in actions(view, start, end)]

    @_on(server, lsp.TEXT_DOCUMENT_PREPARE_RENAME)
    async def prepare(ls: Server, params: lsp.PrepareRenameParams) -> lsp.PrepareRenamePlaceholder | None:
        placed = await _placed(ls, params.text_document, params.position)
        if placed is None:
            return None
        view, translate, offset = placed
        try:
            span = navigation.renameable(view, offset)
        except navigation.Refused as refused:
            raise RequestFailed(str(refused)) from None
        return lsp.PrepareRenamePlaceholder(translate.range(span), span.text)

    @_on(server, lsp.TEXT_DOCUMENT_RENAME, lsp.RenameOptions(prepare_provider=True))
    async def rename(ls: Server, params: lsp.RenameParams) -> lsp.WorkspaceEdit | None:
        placed = await _placed(ls, params.text_document, params.position)
        if placed is None:
            return None
        view, translate, offset = placed
        try:
            spans = navigation.rename(view, offset, params.new_name, ls.including(view))
        except navigation.Refused as refused:
            raise RequestFailed(str(refused)) from None
        return translate.renaming(spans, params.new_name)


def _snippets(client: lsp.ClientCapabilities) -> bool:
    """Whether the client understands snippets."""
    document = client.text_document
    completion = document.completion if document is not None else None
    item = completion.completion_item if completion is not None else None
    return bool(item is not None and item.snippet_support)
