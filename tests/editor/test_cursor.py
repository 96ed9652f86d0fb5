"""What is being typed, in whole and in half-typed texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec.editor.cursor import find

ROOT = Path(__file__).parents[2]
TEXTS = [p.read_text(encoding="utf-8") for p in sorted((ROOT / "configs").glob("*.yaml"))]
PIECES = [
    *"{}[],:#'\"|> 0.-\n\té",
    "- ",
    "a: ",
    "type: ",
    "&x ",
    "*x",
    "!t ",
    "$p",
    "\r\n",
    "  ",
    "layers:\n",
    "\ufeff",
]


@pytest.mark.parametrize(
    ("marked", "role", "path", "word"),
    [
        ("|", "key", (), ""),
        ("net|", "key", (), "net"),
        ("layers:\n  - |", "item", ("layers", 0), ""),
        ("layers:\n  -|", "item", ("layers", 0), ""),
        ("layers:\n  - {ty|", "key", ("layers", 0), "ty"),
        ("layers:\n  - {name: a, |}", "key", ("layers", 0), ""),
        ("layers:\n  - {name: a, |\n  - {name: b}\n", "key", ("layers", 0), ""),
        ("layers:\n  - {name: a,\n     ke|}\n", "key", ("layers", 0), "ke"),
        ("layers:\n  - type: Con|v\n    bias: x\n", "value", ("layers", 0, "type"), "Con"),
        ("layers:\n  - type:|", "value", ("layers", 0, "type"), ""),
        ("layers:\n  - type: A\n    |\n    bias: x\n", "key", ("layers", 0), ""),
        ("layers:\n- name: a\n- |", "item", ("layers", 1), ""),
        ("layers:\n  - {a: 1} # c, {\n  - {b: |}", "value", ("layers", 1, "b"), ""),
        ("layers:\n  - {a: [1\n  - {b: |}", "value", ("layers", 1, "b"), ""),
        ("layers:\n  - {a: '{', b: |}", "value", ("layers", 0, "b"), ""),
        ("layers:\n  - {inputs: [a, b|", "item", ("layers", 0, "inputs", 1), "b"),
        ("layers:\n  - inputs:\n      - a\n      - |", "item", ("layers", 0, "inputs", 1), ""),
        ("layers:\n  - {block: B, with: {a: 1, |}, repeat: 2}", "key", ("layers", 0, "with"), ""),
        ("layers:\n  - layers:\n      - {a: 1}\n      - {b|}", "key", ("layers", 0, "layers", 1), "b"),
        ("layers: [{type: A}, {type: |}]", "value", ("layers", 1, "type"), ""),
        ("blocks:\n  B:\n    |\nlayers:\n", "key", ("blocks", "B"), ""),
        ("blocks:\n  B:\n    layers:\n      - a: $p|\n", "value", ("blocks", "B", "layers", 0, "a"), "$p"),
        ("a: |\n  text: x\nb: &x [1, ^", "item", ("b", 1), ""),
        ("inputs:\r\n  x: [N, |]\r\n", "item", ("inputs", "x", 1), ""),
        ("# 😀 {\nlayers:\n  - {a: |}", "value", ("layers", 0, "a"), ""),
    ],
)
def test_places(marked: str, role: str, path: tuple[object, ...], word: str) -> None:
    sign = "^" if "^" in marked else "|"
    offset = marked.index(sign)
    found = find(marked[:offset] + marked[offset + 1 :], offset)
    assert found is not None
    assert (found.role, found.path, found.word) == (role, path, word)


def test_the_keys_around_are_known_on_both_sides() -> None:
    for text in (
        "- {name: a, |, type: Conv2d, bias: x}",
        "- {name: a, |, type: Conv2d, bias: x\n- {b: c}\n",
        "- {name: a, |, type: Conv2d, bias: x",
        "- name: a\n  |\n  type: Conv2d # c\n  bias: 'x'\n",
    ):
        found = find(text.replace("|", ""), text.index("|"))
        assert found is not None
        assert found.frame is not None
        assert found.frame.keys | {"name": "a", "type": "Conv2d", "bias": "x"} == found.frame.keys


@pytest.mark.parametrize(
    "marked", ["# co|mment", "a: 1 # co|mment", "a: |\n  te^xt\n", "a: {b: 1, # co|\n c: 2}"]
)
def test_nothing_is_typed_in_comments_and_texts(marked: str) -> None:
    sign = "^" if "^" in marked else "|"
    offset = marked.index(sign)
    assert find(marked[:offset] + marked[offset + 1 :], offset) is None


@given(st.sampled_from(TEXTS), st.data())
def test_every_place_of_a_network_cut_off_anywhere(text: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    offset = data.draw(st.integers(0, cut))
    found = find(text[:cut], offset)
    if found is not None:
        assert 0 <= found.start <= offset <= found.end <= cut
        assert text[found.start : offset] == found.word


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), st.data())
def test_no_text_is_too_broken(text: str, data: st.DataObject) -> None:
    offset = data.draw(st.integers(-1, len(text) + 1))
    found = find(text, offset)
    if found is not None:
        assert 0 <= found.start <= max(0, min(offset, len(text))) <= found.end <= len(text)
        assert len(found.keys) == len(found.frames)
