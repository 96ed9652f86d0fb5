"""Which texts are ours: the extension for VS Code and the server must agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netspec.editor.buffers import Buffer

CASES = json.loads(
    (Path(__file__).parents[2] / "editors" / "vscode" / "test" / "texts.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("text", CASES["network"])
def test_ours(text: str) -> None:
    assert Buffer("file:///net.yaml", text).kind is not None


@pytest.mark.parametrize("text", CASES["other"])
def test_others(text: str) -> None:
    assert Buffer("file:///other.yaml", text).kind is None
