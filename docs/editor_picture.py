"""Make the README's picture of an editor, from what the language server really answers.

python docs/editor_picture.py
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient
from rich.console import Console
from rich.syntax import Syntax
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

ROOT = Path(__file__).parent.parent
WIDTH = 126

NETWORK = """\
netspec: 1
inputs:
  image: [N, 3, H, W]
layers:
  - {name: conv1, type: Conv2d, out_channels: 16, kernel_size: 3, padding: 1}
  - {name: relu1, type: ReLU}
  - {name: pool1, type: MaxPool2d, kernel_size: 2}
  - {name: conv2, type: Conv2d, out_channels: 32, kernel_size: 3, padding: same}
  - {name: up, type: Upsample, scale_factor: 2, mode: bilinear}
  - {name: both, type: cat, inputs: [relu1, up], dim: 1}
  - {name: out, type: Conv2d, in_channels: 64, out_channels: 1, kernel_size: 1}
"""


async def ask(path: Path) -> tuple[list[lsp.Diagnostic], list[lsp.InlayHint]]:
    """What `netspec lsp` says of a file."""
    client = LanguageClient("picture", "1")
    published: asyncio.Queue[list[lsp.Diagnostic]] = asyncio.Queue()

    @client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
    def diagnostics(params: lsp.PublishDiagnosticsParams) -> None:
        published.put_nowait(list(params.diagnostics))

    await client.start_io(sys.executable, "-m", "netspec", "lsp")
    client_can = lsp.ClientCapabilities(
        general=lsp.GeneralClientCapabilities(position_encodings=[lsp.PositionEncodingKind.Utf32]),
        text_document=lsp.TextDocumentClientCapabilities(
            publish_diagnostics=lsp.PublishDiagnosticsClientCapabilities(related_information=True)
        ),
    )
    await client.initialize_async(lsp.InitializeParams(client_can))
    client.initialized(lsp.InitializedParams())
    text = path.read_text()
    document = lsp.TextDocumentItem(path.as_uri(), "yaml", 1, text)
    client.text_document_did_open(lsp.DidOpenTextDocumentParams(document))
    found = await asyncio.wait_for(published.get(), 30)
    everything = lsp.Range(lsp.Position(0, 0), lsp.Position(len(text.splitlines()), 0))
    hints = await client.text_document_inlay_hint_async(
        lsp.InlayHintParams(lsp.TextDocumentIdentifier(document.uri), everything)
    )
    await client.shutdown_async(None)
    client.exit(None)
    await client.stop()
    return found, list(hints or ())


def label(hint: lsp.InlayHint) -> str:
    """The text of a hint, with the space that the server asks for around it."""
    text = hint.label if isinstance(hint.label, str) else "".join(part.value for part in hint.label)
    return " " * bool(hint.padding_left) + text + " " * bool(hint.padding_right)


def annotated(number: int, code: Text, found: list[lsp.Diagnostic], hints: list[lsp.InlayHint]) -> list[Text]:
    """A line with its marks and hints, and the messages below it."""
    for each in found:
        start, end = each.range.start, each.range.end
        if start.line == end.line == number:
            code.stylize("underline bold red", start.character, end.character)
    line, done = Text.assemble((f" {number + 1:>2}  ", "dim")), 0
    for hint in sorted((h for h in hints if h.position.line == number), key=lambda h: h.position.character):
        line.append_text(code[done : hint.position.character])
        line.append(label(hint), style="italic #9aa4b0")
        done = hint.position.character
    line.append_text(code[done:])
    lines = [line]
    for each in found:
        if each.range.start.line == number:
            parts = f"{each.message}  {each.source}({each.code})".split("\n")
            for related in each.related_information or ():
                parts.append(f"line {related.location.range.start.line + 1}: {related.message}")
            lines += [Text(" " * 6 + "│ " + part, style="red") for part in parts]
    return lines


def draw(path: Path, found: list[lsp.Diagnostic], hints: list[lsp.InlayHint]) -> str:
    """The file as an editor shows it."""
    console = Console(record=True, width=WIDTH, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115
    code = Syntax("", "yaml", theme="github-dark", background_color="default").highlight(path.read_text())
    for number, line in enumerate(code.split("\n", allow_blank=False)):
        for row in annotated(number, line, found, hints):
            console.print(row, no_wrap=True, crop=False, overflow="ignore")
    svg = console.export_svg(title=path.name, theme=SVG_EXPORT_THEME)
    # Fonts are fetched from the network otherwise; any monospace one will do.
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.yaml"
        path.write_text(NETWORK)
        answers = asyncio.run(ask(path))
        (ROOT / "docs" / "editor.svg").write_text(draw(path, *answers), encoding="utf-8")
