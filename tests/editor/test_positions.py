"""Offsets and positions in every encoding, and edits on top of each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec.diagnostics import Source
from netspec.editor.buffers import Buffer, Edit, path_of, uri_of
from netspec.editor.positions import ENCODINGS, Lines

CODECS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}
TEXTS = st.text(st.sampled_from("ab:{} \n\r\u2028\x85\x0cé漢😀👩‍🔬"), max_size=30)


def units(text: str, encoding: str) -> int:
    """The length of a text, by Python's own codecs."""
    codec, size = CODECS[encoding]
    return len(text.encode(codec)) // size


@given(TEXTS, st.sampled_from(ENCODINGS), st.data())
def test_positions_are_those_of_the_codec(text: str, encoding: str, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(text)))
    lines = Lines(text, encoding)
    line, character = lines.position(offset)
    assert (line + 1) == Source("", text).position(offset)[0]
    assert character == units(text[lines.start(line) : offset], encoding)
    inside = lines.start(line) <= offset <= lines.end(line)
    assert lines.offset(line, character) == (offset if inside else lines.end(line))


@given(TEXTS, st.sampled_from(ENCODINGS), st.integers(-1, 40), st.integers(0, 60))
def test_positions_outside_are_moved_inside(text: str, encoding: str, line: int, character: int) -> None:
    lines = Lines(text, encoding)
    offset = lines.offset(line, character)
    assert 0 <= offset <= len(text)
    if 0 <= line < lines.count:
        assert lines.start(line) <= offset <= lines.end(line)


def test_a_position_inside_a_character_is_its_start() -> None:
    assert Lines("a😀b", "utf-16").offset(0, 2) == 1
    assert Lines("é", "utf-8").offset(0, 1) == 0


@given(
    TEXTS,
    st.sampled_from(ENCODINGS),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), TEXTS), max_size=4),
)
def test_edits_change_what_they_name(text: str, encoding: str, wanted: list[tuple[int, int, str]]) -> None:
    buffer = Buffer("file:///x.yaml", text, 1, encoding)
    for first, second, new in wanted:
        lines = buffer.lines()
        ends = sorted(lines.offset(*lines.position(min(o, len(buffer.text)))) for o in (first, second))
        expected = buffer.text[: ends[0]] + new + buffer.text[ends[1] :]
        edit = Edit(new, lines.position(ends[0]), lines.position(ends[1]))
        buffer = buffer.edited([edit], 2)
        assert buffer.text == expected


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("netspec: 1\n", "network"),
        ("\ufeffnetspec: 1\n", "network"),
        ("# c\r\nnetspec: 1\r\n", "network"),
        ("{netspec: 1}", "network"),
        ("name: x\nnetspec:", "network"),
        ("runner: 1\n", "runner"),
        ("runner: 1 # c\r\n", "runner"),
        ("runner:\n  image: x\n", None),
        ("runner: ubuntu\n", None),
        ("# netspec: 1\n", None),
        ("a:\n  netspec: 1\n", None),
        ("netspec_version: 1\n", None),
    ],
)
def test_which_files_are_ours(text: str, kind: str | None) -> None:
    assert Buffer("file:///x.yaml", text).kind == kind


def test_paths_and_uris() -> None:
    path = path_of("file:///tmp/a%20b/%25c.yaml")
    assert str(path) == "/tmp/a b/%c.yaml"
    assert path is not None
    assert uri_of(path) == "file:///tmp/a%20b/%25c.yaml"
    assert path_of("untitled:Untitled-1") is None
    assert Buffer("untitled:Untitled-1", "").name == "<untitled:Untitled-1>"
