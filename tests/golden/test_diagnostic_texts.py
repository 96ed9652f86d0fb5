"""`netspec validate` on wrong files gives exactly the committed text. `UPDATE_GOLDEN=1` rewrites the texts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netspec.analysis import analyse
from netspec.diagnostics import render_json, render_text
from netspec.document import read_bytes

FOLDER = Path(__file__).parent / "diagnostics"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_text(file: Path) -> None:
    analysis = analyse(read_bytes(file.read_bytes(), file.name))
    actual = render_text(analysis.diagnostics) + "\n"
    golden = file.with_suffix(".txt")
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(actual, encoding="utf-8")
    assert actual == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_diagnostic_has_a_place_and_a_known_code(file: Path) -> None:
    from netspec.diagnostics import CODES

    analysis = analyse(read_bytes(file.read_bytes(), file.name))
    report = render_json([(file.name, analysis.diagnostics)])
    for diagnostic in report["files"][0]["diagnostics"]:
        assert diagnostic["range"] is not None
        assert diagnostic["code"] in CODES
