"""Beside yaml-language-server: what is left to the schema is what the schema sees, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from netspec.diagnostics import CODES, Diagnostic, format_path
from netspec.document import to_python
from netspec.editor.buffers import Buffer
from netspec.editor.diagnostics import STRUCTURAL, shown
from netspec.editor.settings import Settings
from netspec.editor.view import View, look
from netspec.network.schema import network_schema

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "tests/golden/diagnostics").glob("*.yaml"))
OURS = ("integer-too-large", "float-too-large")
"""What both say: a value that cannot be read is null to the schema here, and a number to an editor's."""


def split(path: Path) -> tuple[View, list[Diagnostic], list[Diagnostic]]:
    """A view, the diagnostics that stay and those that are left to the schema."""
    view = look(Buffer(path.as_uri(), path.read_text(encoding="utf-8")), {}, lambda: None)
    kept = list(shown(view, Settings(structural=False)))
    said = {id(found) for found in view.document.diagnostics}
    return view, kept, [d for d in view.diagnostics if d not in kept and id(d) not in said]


def places(view: View) -> list[str]:
    """Where the schema finds something."""
    errors = Draft7Validator(network_schema()).iter_errors(to_python(view.document.root))
    return [format_path(error.absolute_path) for error in errors]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_left_to_the_schema_is_seen_by_it(path: Path) -> None:
    view, _, left = split(path)
    seen = places(view) if view.document.root is not None else []
    for found in left:
        about = [
            p for p in seen if found.path == p or p.startswith(f"{found.path}") or found.path.startswith(p)
        ]
        assert about, found.message


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_stays_is_not_seen_by_the_schema(path: Path) -> None:
    view, kept, _ = split(path)
    if view.document.root is None:
        return
    seen = places(view)
    for found in kept:
        assert found.path not in seen or found.severity != "error" or found.code in OURS, found.message


def test_codes_exist() -> None:
    assert not STRUCTURAL - CODES.keys()
