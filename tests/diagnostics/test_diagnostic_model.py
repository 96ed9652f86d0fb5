"""Positions, names, errors."""

from __future__ import annotations

import dataclasses
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec.diagnostics import (
    CODES,
    DeviceError,
    Diagnostic,
    InputError,
    NetspecError,
    Source,
    Span,
    SpecError,
    WeightsError,
    did_you_mean,
    format_path,
    has_errors,
    nearest,
)


def test_positions() -> None:
    source = Source("x", "ab\r\nc\rd\ne\u2028f\x85g\n")
    assert [source.position(source.text.index(letter)) for letter in "abcdefg"] == [
        (1, 1), (1, 2), (2, 1), (3, 1), (4, 1), (4, 3), (4, 5),
    ]  # fmt: skip
    assert [source.line_text(n) for n in range(1, 6)] == ["ab", "c", "d", "e\u2028f\x85g", ""]
    assert source.line_count == 5
    assert source.position(-5) == (1, 1)
    assert source.position(1000) == (5, 1)
    assert str(Span(source, 4, 5)) == "x:2:1"
    assert Span(source, 4, 5).text == "c"


@given(st.text(st.sampled_from("ab\r\n\u2028é😀")), st.integers(0, 50))
def test_position_and_line_agree(text: str, offset: int) -> None:
    source, offset = Source("x", text), min(offset, len(text))
    line, column = source.position(offset)
    assert source.line_start(line) + column - 1 == offset
    if offset < len(text) and text[offset] not in "\r\n":
        assert source.line_text(line)[column - 1] == text[offset]


def test_values_are_frozen_and_comparable() -> None:
    source = Source("x", "abc")
    source.position(1)
    assert source == Source("x", "abc")
    assert hash(Span(source, 0, 1)) == hash(Span(Source("x", "abc"), 0, 1))
    for value in (source, Span(source, 0, 1), Diagnostic("a", "error", "b")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, dataclasses.fields(value)[0].name, None)


def test_paths() -> None:
    assert format_path(("layers", 3, "in_channels")) == "layers[3].in_channels"
    assert format_path((0, "a")) == "[0].a"
    assert format_path(()) == ""


def test_codes_are_words_with_a_sentence() -> None:
    for code, sentence in CODES.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)
        assert sentence[0].isupper() or sentence[0] == "`"
        assert sentence.endswith(".")


NAMES = [
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "Conv2d",
    "Conv1d",
    "ConvTranspose2d",
    "ReLU",
]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("kernal_size", "kernel_size"),
        ("conv2d", "Conv2d"),
        ("CONV_2D", "Conv2d"),
        ("in_chanels", "in_channels"),
        ("inChannels", "in_channels"),
        ("relu", "ReLU"),
        ("Relu", "ReLU"),
        ("stirde", "stride"),
        ("paddding", "padding"),
        ("kernel-size", "kernel_size"),
        ("Conv2D", "Conv2d"),
    ],
)
def test_nearest(word: str, meant: str) -> None:
    assert nearest(word, NAMES) == [meant]
    assert did_you_mean(word, NAMES) == f"did you mean `{meant}`?"


@pytest.mark.parametrize("word", ["", "x", "zzzzzz", "momentum", "a" * 100_000])
def test_nothing_near(word: str) -> None:
    assert nearest(word, NAMES, 3) == []
    assert did_you_mean(word, NAMES) is None


def test_several_near() -> None:
    assert nearest("conv2d", NAMES, 2) == ["Conv2d", "Conv1d"]
    assert nearest("a", [], 2) == []


@pytest.mark.parametrize("kind", [NetspecError, InputError, WeightsError, DeviceError])
def test_errors(kind: type[NetspecError]) -> None:
    found = Diagnostic("a", "error", "b", path="c")
    error = kind("does not fit", [found])
    assert isinstance(error, NetspecError)
    assert (str(error), error.diagnostics) == ("does not fit\n<mapping>:c: error[a]: b", [found])
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is kind
    assert (copied.message, copied.diagnostics) == ("does not fit", [found])
    assert str(kind("only words")) == "only words"


def test_spec_error() -> None:
    found = Diagnostic("a", "error", "b")
    error = SpecError([found])
    assert isinstance(error, NetspecError)
    assert str(error) == "<mapping>: error[a]: b"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(SpecError([found], "net.yaml")) == "net.yaml\n<mapping>: error[a]: b"
    assert has_errors([found])
    assert not has_errors([Diagnostic("a", "warning", "b")])
