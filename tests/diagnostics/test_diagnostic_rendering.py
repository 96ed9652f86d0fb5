"""What a finding looks like: golden text, JSON, GitHub annotations."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec.diagnostics import (
    Diagnostic,
    Note,
    Severity,
    Source,
    Span,
    render_github,
    render_json,
    render_text,
)

GOLDEN = Path(__file__).parent / "golden"
NET = Source(
    "net.yaml",
    "netspec: 1\nname: digits\ninputs:\n  image: [N, 1, 28, 28]\n\nlayers:\n"
    "  - {name: conv1, type: Conv2d, kernal_size: 5}\n  - {name: tab,\ttype: ReLU,\tfoo: 1}\n"
    "  - {name: 卷积層, type: 😀e\u0301, foo: 2}\n  - name: x\n    type: [\n      a]\n",
)


def at(source: Source, needle: str, length: int | None = None) -> Span:
    start = source.text.index(needle)
    return Span(source, start, start + (len(needle) if length is None else length))


def finding(
    span: Span | None, severity: Severity = "error", path: str = "", note: Note | None = None
) -> Diagnostic:
    notes = (note,) if note else ()
    return Diagnostic("unknown-key", severity, "Conv2d has no such parameter", span, path, notes, None)


def line(text: str, needle: str) -> list[Diagnostic]:
    return [finding(at(Source("line.yaml", text), needle))]


LONG = "a: {" + ", ".join(f"key{i}: {i}" for i in range(60)) + "}"
CASES: dict[str, list[Diagnostic]] = {
    "typo": [
        Diagnostic(
            "unknown-key",
            "error",
            "Conv2d has no parameter `kernal_size`",
            at(NET, "kernal_size"),
            "layers[0].kernal_size",
            (Note("image has shape [N, 1, 28, 28], declared here", at(NET, "image")),),
            "did you mean `kernel_size`?",
        )
    ],
    "tabs": [finding(at(NET, "foo: 1", 3))],
    "wide": [finding(at(NET, "foo: 2", 3))],
    "several_lines": [finding(at(NET, "[\n      a]"))],
    "sorted": [
        finding(at(NET, "Conv2d"), "warning"),
        finding(at(Source("other.yaml", "b: 1"), "b")),
        finding(at(NET, "netspec"), "note"),
        finding(None, "error", "layers[3].in_channels"),
        finding(None),
    ],
    "gutter": [
        finding(at(NET, "foo: 2", 3), note=Note("here", at(NET, "name: x"))),
        finding(at(NET, "name: x")),
    ],
    "note_without_place": [finding(at(NET, "Conv2d"), note=Note("torch refuses this too"))],
    "long_start": line(LONG, "key0"),
    "long_middle": line(LONG, "key30"),
    "long_end": line(LONG, "key59: 59"),
    "long_span": line(LONG, LONG[4:-1]),
    "control": [
        *line("a: \x1b[31mred\x07 \u202eback \ud800\u2028end", "end"),
        Diagnostic("syntax-error", "error", "found \x1b[2J\nand \u202e", Span(NET, 0, 0), help="no \x07"),
    ],
    "end_of_text": [finding(Span(NET, len(NET.text), len(NET.text))), finding(Span(NET, 10, 10))],
    "unreadable_file": [finding(Span(Source("missing.yaml", ""), 0, 0))],
}


@pytest.mark.parametrize("name", CASES)
def test_text(name: str) -> None:
    file = GOLDEN / f"{name}.txt"
    shown = render_text(CASES[name]) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")


def test_every_golden_file_has_a_case() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == {*CASES, "color"}


def test_color() -> None:
    shown = render_text(CASES["typo"], color=True) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / "color.txt").write_text(shown, encoding="utf-8")
    assert shown == (GOLDEN / "color.txt").read_text(encoding="utf-8")


@given(st.text(min_size=1), st.integers(0, 30), st.integers(0, 30), st.text(), st.booleans())
def test_nothing_in_a_file_reaches_the_terminal_raw(
    text: str, start: int, length: int, name: str, note: bool
) -> None:
    span = Span(Source(name, text), min(start, len(text)), min(start + length, len(text)))
    found = Diagnostic("x", "error", text, span, text, (Note(text, span),) if note else (), text)
    shown = render_text([found])
    assert not {c for c in shown if c != "\n" and not c.isprintable() and c not in "\u200d"} & set(
        map(chr, [*range(32), *range(127, 160), 0x202E, 0x2066, 0x2028, 0x2029, 0xD800])
    )
    assert all(len(each) < 500 for each in shown.split("\n")[1:3])
    github = render_github([found])
    assert "\n" not in github
    assert "\r" not in github
    json.dumps(render_json([(name, [found])]))


def test_a_megabyte_line_is_cut_quickly() -> None:
    text = "a: " + "x" * 1_000_000 + "é" + "y" * 1_000_000
    shown = render_text(line(text, "é"))
    assert len(shown) < 400
    assert shown.split("\n")[2].index("é") == shown.split("\n")[3].index("^")


def test_json() -> None:
    found = render_json([("net.yaml", CASES["typo"]), ("fine.yaml", [finding(None, "warning", "a")])])
    assert found == {
        "valid": False,
        "files": [
            {
                "path": "net.yaml",
                "valid": False,
                "diagnostics": [
                    {
                        "code": "unknown-key",
                        "severity": "error",
                        "message": "Conv2d has no parameter `kernal_size`",
                        "path": "layers[0].kernal_size",
                        "range": {"start": {"line": 7, "column": 33}, "end": {"line": 7, "column": 44}},
                        "notes": [
                            {
                                "message": "image has shape [N, 1, 28, 28], declared here",
                                "path": "net.yaml",
                                "range": {"start": {"line": 4, "column": 3}, "end": {"line": 4, "column": 8}},
                            }
                        ],
                        "help": "did you mean `kernel_size`?",
                    }
                ],
            },
            {
                "path": "fine.yaml",
                "valid": True,
                "diagnostics": [
                    {
                        "code": "unknown-key",
                        "severity": "warning",
                        "message": "Conv2d has no such parameter",
                        "path": "a",
                        "range": None,
                        "notes": [],
                        "help": None,
                    }
                ],
            },
        ],
    }
    assert render_json([]) == {"valid": True, "files": []}
    noted = render_json([("net.yaml", CASES["note_without_place"])])["files"][0]["diagnostics"][0]["notes"]
    assert noted == [{"message": "torch refuses this too", "path": None, "range": None}]


def test_github() -> None:
    assert render_github(CASES["typo"]) == (
        "::error file=net.yaml,line=7,col=33,endLine=7,endColumn=44,title=error[unknown-key]::"
        "Conv2d has no parameter `kernal_size`"
        "%0Anote: image has shape [N, 1, 28, 28], declared here (net.yaml:4:3)"
        "%0Ahelp: did you mean `kernel_size`?"
    )
    several = render_github(CASES["several_lines"])
    assert several.startswith("::error file=net.yaml,line=11,col=11,endLine=12,title=")
    odd = Source("a,b:c%.yaml", "x")
    assert render_github([Diagnostic("c", "warning", "100%\r\n", Span(odd, 0, 1))]) == (
        "::warning file=a%2Cb%3Ac%25.yaml,line=1,col=1,endLine=1,endColumn=2,title=warning[c]::100%25%0D%0A"
    )
    assert render_github([finding(None, "note", "a.b")]) == (
        "::notice title=note[unknown-key]::a.b: Conv2d has no such parameter"
    )
