"""Which of a view's diagnostics an editor shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from netspec.diagnostics import Diagnostic
from netspec.document import Mapping
from netspec.editor.settings import Settings
from netspec.editor.view import View

STRUCTURAL: Final = frozenset(
    {
        # YAML itself, which yaml-language-server checks with or without a schema
        "syntax-error", "tab-indentation", "bad-indentation", "unclosed-bracket", "stray-bracket",
        "unclosed-quote", "invalid-escape", "missing-comma", "stray-comma", "missing-space", "missing-colon",
        "colon-in-value", "doubled-colon", "stray-dash", "special-character", "unexpected-text",
        "duplicate-key", "undefined-alias",
        # what the schema says of keys and values
        "missing-key", "missing-parameter", "unknown-key", "unknown-type", "unknown-value", "wrong-type",
        "wrong-length", "out-of-range", "invalid-name",
    }
)  # fmt: skip
"""Codes of what `netspec schema` in yaml-language-server reports too."""


def shown(view: View, settings: Settings) -> Iterator[Diagnostic]:
    """The diagnostics of `netspec validate`, less those that the settings leave to another server."""
    only_blocks = _only_blocks(view)
    for found in view.diagnostics:
        if only_blocks and found.code == "missing-key" and found.path == "":
            # an error of a command that is given this file; in the editor it is a file like any other
            found = replace(found, severity="note")
        if settings.structural or not _is_structural(found):
            yield found


def _is_structural(found: Diagnostic) -> bool:
    if found.code not in STRUCTURAL or any("instance" in note.message for note in found.notes):
        return False  # a block is judged with an instance's arguments, which a schema does not know
    if found.code == "wrong-length":  # as many means as channels, as many labels as classes
        return not re.search(r"\.(mean|std|labels)$", found.path)
    whole = found.span is not None and re.fullmatch(r"[-+]?\d+\.0*", found.span.text)
    return not (found.code == "wrong-type" and whole)  # to a schema 4.0 is an integer


def _only_blocks(view: View) -> bool:
    root = view.document.root
    return isinstance(root, Mapping) and "blocks" in root and "layers" not in root and "inputs" not in root
