"""What is remembered of earlier versions of a network changes no answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.analysis import Analysis, analyse
from netspec.document import read_text
from netspec.graph import Memory

ROOT = Path(__file__).parents[2]
FILES = [
    *sorted((ROOT / "configs").glob("*.yaml")),
    *sorted((ROOT / "tests/golden/diagnostics").glob("*.yaml")),
]


def answer(analysis: Analysis) -> object:
    """All that an analysis says, without the objects that say it."""
    said = [(d.code, d.message, d.path, d.help, [n.message for n in d.notes]) for d in analysis.diagnostics]
    if analysis.shaped is None:
        return said
    types = [
        {port: (t.shape, t.dtype) for port, t in (found or {}).items()} for found in analysis.shaped.types
    ]
    layers = [layer.to_mapping() if layer is not None else None for layer in analysis.shaped.layers]
    return said, types, layers, [str(condition) for condition in analysis.shaped.constraints.solve()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_same_answer_with_and_without_memory(path: Path) -> None:
    document = read_text(path.read_text(encoding="utf-8"), path.name)
    fresh = answer(analyse(document, str(path.parent)))
    memory = Memory()
    for _ in range(3):
        assert answer(analyse(document, str(path.parent), memory=memory)) == fresh


def test_a_version_that_conflicts_is_refused_though_its_layers_are_remembered() -> None:
    memory = Memory()
    head = "netspec: 1\ninputs: {x: [N, 3, H, W], y: [N, 3, 4, 4]}\nlayers:\n"
    pool = "  - {name: p, type: MaxPool2d, kernel_size: 8, inputs: x}\n"
    same = "  - {name: s, type: cat, dim: 1, inputs: [x, y]}\n"
    for text, valid in (
        (head + pool, True),
        (head + same, True),
        (head + pool + same, False),
        (head + same, True),
    ):
        assert analyse(read_text(text), memory=memory).valid is valid
