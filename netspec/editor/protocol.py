"""Plain values of the features as values of the Language Server Protocol, places in the client's units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from lsprotocol import types as lsp

from netspec.diagnostics import Diagnostic, Source, Span
from netspec.editor.actions import Action
from netspec.editor.buffers import uri_of
from netspec.editor.completion import Offer
from netspec.editor.hints import Hint
from netspec.editor.positions import Lines
from netspec.editor.symbols import Symbol
from netspec.editor.view import View

SEVERITIES: Final = {
    "error": lsp.DiagnosticSeverity.Error,
    "warning": lsp.DiagnosticSeverity.Warning,
    "note": lsp.DiagnosticSeverity.Information,
}
OFFERS: Final = {
    "type": lsp.CompletionItemKind.Class,
    "parameter": lsp.CompletionItemKind.Field,
    "key": lsp.CompletionItemKind.Keyword,
    "reference": lsp.CompletionItemKind.Variable,
    "value": lsp.CompletionItemKind.EnumMember,
    "block": lsp.CompletionItemKind.Module,
    "argument": lsp.CompletionItemKind.Property,
    "symbol": lsp.CompletionItemKind.Constant,
}
SYMBOLS: Final = {
    "input": lsp.SymbolKind.Variable,
    "layer": lsp.SymbolKind.Function,
    "group": lsp.SymbolKind.Namespace,
    "block": lsp.SymbolKind.Class,
}


class Translator:
    """Places of a view, and of other files, as the client knows them. uris: of the files that are open."""

    def __init__(self, view: View, uris: Mapping[Path, str] | None = None) -> None:
        self.view = view
        self.lines = view.buffer.lines()
        self.uris = uris or {}
        self._others: dict[str, Lines] = {}

    # --- places -------------------------------------------------------------------------------------

    def uri(self, source: Source) -> str:
        """The URI of a source."""
        if source.name == self.view.document.source.name:
            return self.view.buffer.uri
        path = Path(source.name)
        return self.uris.get(path) or uri_of(path)

    def range(self, span: Span) -> lsp.Range:
        """The range of a span."""
        if span.source.name == self.view.document.source.name:
            return self.between(span.start, span.end)
        lines = self._others.get(span.source.name)
        if lines is None:
            lines = self._others[span.source.name] = Lines(span.source.text, self.lines.encoding)
        return _range(lines, span.start, span.end)

    def between(self, start: int, end: int) -> lsp.Range:
        """The range of two offsets of the view's document."""
        return _range(self.lines, start + self.view.shift, end + self.view.shift)

    def position(self, offset: int) -> lsp.Position:
        """The position of an offset of the view's document."""
        return lsp.Position(*self.lines.position(offset + self.view.shift))

    def offset(self, position: lsp.Position) -> int:
        """The offset, in the view's document, of a position."""
        return max(0, self.lines.offset(position.line, position.character) - self.view.shift)

    def location(self, span: Span) -> lsp.Location:
        """The place of a span, whatever file it is in."""
        return lsp.Location(self.uri(span.source), self.range(span))

    # --- values -------------------------------------------------------------------------------------

    def diagnostic(self, found: Diagnostic) -> lsp.Diagnostic:
        """A diagnostic; notes with a place are related information, the others and the help are lines of it."""
        lines = [found.message]
        related = []
        for note in found.notes:
            if note.span is None:
                lines.append(note.message)
            else:
                related.append(lsp.DiagnosticRelatedInformation(self.location(note.span), note.message))
        if found.help:
            lines.append(f"help: {found.help}")
        span = found.span
        return lsp.Diagnostic(
            range=self.range(span) if span is not None else _range(self.lines, 0, 0),
            message="\n".join(lines),
            severity=SEVERITIES[found.severity],
            code=found.code,
            source="netspec",
            tags=[lsp.DiagnosticTag.Unnecessary] if found.code == "unused-value" else None,
            related_information=related or None,
        )

    def hint(self, hint: Hint) -> lsp.InlayHint:
        """An inlay hint; accepting it inserts what it says."""
        where = self.position(hint.offset)
        edits = [lsp.TextEdit(lsp.Range(where, where), hint.insert)] if hint.insert else None
        kind = lsp.InlayHintKind.Parameter if hint.is_parameter else lsp.InlayHintKind.Type
        return lsp.InlayHint(where, hint.label, kind, edits, hint.tooltip or None, padding_left=True)

    def item(self, offer: Offer, number: int, snippets: bool) -> lsp.CompletionItem:
        """A completion; what documents types and parameters is asked for later, by its data."""
        text = offer.snippet if snippets else offer.plain
        words = lsp.MarkupContent(lsp.MarkupKind.Markdown, offer.words) if offer.words else None
        return lsp.CompletionItem(
            label=offer.label,
            kind=OFFERS[offer.kind],
            detail=offer.detail or None,
            documentation=words,
            sort_text=f"{offer.rank}{number:04}",
            filter_text=offer.label,
            insert_text_format=lsp.InsertTextFormat.Snippet if snippets else lsp.InsertTextFormat.PlainText,
            insert_text_mode=lsp.InsertTextMode.AdjustIndentation if "\n" in text else None,
            text_edit=lsp.TextEdit(self.between(offer.start, offer.end), text),
            data={"kind": offer.kind, "of": offer.of} if not offer.words else None,
        )

    def symbol(self, symbol: Symbol) -> lsp.DocumentSymbol:
        """A line of the outline with those below it."""
        return lsp.DocumentSymbol(
            name=symbol.name,
            detail=symbol.detail or None,
            kind=SYMBOLS[symbol.kind],
            range=self.range(symbol.span),
            selection_range=self.range(symbol.chosen),
            children=[self.symbol(child) for child in symbol.children] or None,
        )

    def action(self, action: Action) -> lsp.CodeAction:
        """A fix."""
        edits = [lsp.TextEdit(self.between(c.start, c.end), c.text) for c in action.changes]
        return lsp.CodeAction(
            title=action.title,
            kind=lsp.CodeActionKind.QuickFix,
            diagnostics=[self.diagnostic(action.diagnostic)],
            is_preferred=action.preferred or None,
            edit=lsp.WorkspaceEdit({self.view.buffer.uri: edits}),
        )

    def renaming(self, spans: Iterable[Span], text: str) -> lsp.WorkspaceEdit:
        """New text at every span."""
        changes: dict[str, list[lsp.TextEdit]] = {}
        for span in spans:
            changes.setdefault(self.uri(span.source), []).append(lsp.TextEdit(self.range(span), text))
        return lsp.WorkspaceEdit(changes)


def _range(lines: Lines, start: int, end: int) -> lsp.Range:
    return lsp.Range(lsp.Position(*lines.position(start)), lsp.Position(*lines.position(end)))
