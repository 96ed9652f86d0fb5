"""The texts that are open in the editor, kept up to date edit by edit."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from netspec.editor.positions import Lines

_NETWORK = re.compile(r"""^(?:\ufeff)?(?:\{\s*)?["']?netspec["']?[ \t]*:(?:\s|\Z)""", re.MULTILINE)
_PROFILE = re.compile(r"""^(?:\ufeff)?["']?runner["']?[ \t]*:[ \t]*[0-9]+[ \t]*(?:#.*)?\r?$""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Edit:
    """New text for a part of a buffer: `(line, character)` from and to, in the client's units; None: for all."""

    text: str
    start: tuple[int, int] | None = None
    end: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """One state of an open text; an edit makes another."""

    uri: str
    text: str
    version: int | None = None
    encoding: str = "utf-16"

    @property
    def path(self) -> Path | None:
        """The file it is saved as; None where the editor has not said."""
        return path_of(self.uri)

    @property
    def name(self) -> str:
        """How diagnostics call it."""
        path = self.path
        return str(path) if path is not None else f"<{self.uri}>"

    @property
    def kind(self) -> str | None:
        """`network`, `runner`, or None for YAML that is none of ours."""
        if _NETWORK.search(self.text):
            return "network"
        return "runner" if _PROFILE.search(self.text) else None

    def lines(self) -> Lines:
        """Its lines, in the client's units."""
        return Lines(self.text, self.encoding)

    def edited(self, edits: Iterable[Edit], version: int | None) -> Buffer:
        """The buffer after edits, each made on the result of the one before."""
        text = self.text
        for edit in edits:
            if edit.start is None or edit.end is None:
                text = edit.text
                continue
            lines = Lines(text, self.encoding)
            start, end = lines.offset(*edit.start), lines.offset(*edit.end)
            text = text[:start] + edit.text + text[max(start, end) :]
        return Buffer(self.uri, text, version, self.encoding)


def path_of(uri: str) -> Path | None:
    """The file that a URI names, if it is a file."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return None
    path = unquote(parts.path) if os.name == "nt" else parts.path  # a drive may be written `c%3A`
    return Path(url2pathname(path))


def uri_of(path: Path) -> str:
    """The URI of a file."""
    return Path(os.path.abspath(path)).as_uri()
