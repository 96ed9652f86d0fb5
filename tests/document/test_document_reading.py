"""Reading YAML: what is read, what is reported and where, and that nothing raises."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from document_cases import BROKEN, CONTENT, SCALARS, SYNTAX
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.diagnostics import CODES, has_errors, render_github, render_json, render_text
from netspec.document import (
    Broken,
    Document,
    Limits,
    Mapping,
    Node,
    Scalar,
    Sequence,
    read_bytes,
    read_file,
    read_text,
    reader,
    to_python,
    walk_path,
)

# -- helpers


def outline(node: Node | None) -> Any:
    """What was read, as plain values with the marks of `document_cases`."""
    if isinstance(node, Broken):
        return BROKEN
    if isinstance(node, Mapping):
        values = {entry.key.text: outline(entry.value) for entry in node}
        return values if node.complete else {**values, "...": True}
    if isinstance(node, Sequence):
        return [outline(item) for item in node] + ([] if node.complete else ["..."])
    return node.value if node is not None else None


def places(document: Document) -> list[str]:
    found = []
    for diagnostic in document.diagnostics:
        assert diagnostic.span is not None
        line, column = diagnostic.span.position
        found.append(f"{diagnostic.code} {line}:{column}")
    return found


def assert_sound(document: Document) -> None:
    """Every span lies in the text, every code is explained, nothing is reported twice, all can be shown."""
    length = len(document.source.text)
    for diagnostic in document.diagnostics:
        assert diagnostic.code in CODES
        for span in (diagnostic.span, *(note.span for note in diagnostic.notes)):
            assert span is None or 0 <= span.start <= span.end <= length
    keys = [(each.code, each.span, each.message) for each in document.diagnostics]
    assert len(set(keys)) == len(keys)
    stack = [document.root] if document.root else []
    seen: set[int] = set()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        assert node.span is not None
        assert 0 <= node.span.start <= node.span.end <= length
        if isinstance(node, Mapping):
            stack += [each for entry in node for each in (entry.key, entry.value)]
        elif isinstance(node, Sequence):
            stack += node.items
    render_text(document.diagnostics)
    render_github(document.diagnostics)
    json.dumps(render_json([("x", document.diagnostics)]))


@pytest.fixture(params=["libyaml", "python"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of PyYAML's two parsers."""
    if request.param == "python":
        monkeypatch.setattr(reader, "parser_class", lambda: yaml.SafeLoader)


# -- tables


@pytest.mark.parametrize("name", SYNTAX)
def test_syntax_errors_are_reported_at_their_cause_and_read_past(name: str) -> None:
    text, expected, value = SYNTAX[name]
    document = read_text(text, "net.yaml")
    assert places(document) == expected
    assert outline(document.root) == value
    assert_sound(document)


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize("name", CONTENT)
def test_content(name: str) -> None:
    text, expected, value = CONTENT[name]
    document = read_text(text, "net.yaml")
    assert places(document) == expected
    assert outline(document.root) == value
    assert_sound(document)


@pytest.mark.parametrize("name", SYNTAX)
def test_the_python_parser_reports_every_mistake_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its sense of where it lost the thread differs, so its findings are only required to exist.
    monkeypatch.setattr(reader, "parser_class", lambda: yaml.SafeLoader)
    document = read_text(SYNTAX[name][0], "net.yaml")
    assert not document.ok
    assert_sound(document)


@pytest.mark.parametrize("text", SCALARS)
def test_core_schema(text: str) -> None:
    node = walk_path(read_text(f"a: {text}\n").root, ("a",))
    assert isinstance(node, Scalar)
    assert node.value == SCALARS[text]
    assert type(node.value) is type(SCALARS[text])
    assert node.plain is (text[0] not in "'\"")
    assert node.text == text.strip("'\"")


def test_tabs_between_brackets_are_fine() -> None:
    # PyYAML's own parser refuses them.
    assert to_python(read_text("a: {\n\tb: 1,\n\tc: 2\n}\n").root) == {"a": {"b": 1, "c": 2}}


def test_nan() -> None:
    assert math.isnan(to_python(read_text(".NaN").root))


# -- spans and the tree


@pytest.mark.usefixtures("loader")
def test_spans_cover_values_without_anchors_tags_and_trailing_space() -> None:
    text = "a: &x !!str  5   # c\nb: &y\n  c: [1, 'two'] \n\nd: |\n  text\n\n# end\ne: *y\nf:\n"
    root = read_text(text).root
    assert isinstance(root, Mapping)
    found = {
        path: walk_path(root, path) for path in [("a",), ("b",), ("b", "c"), ("b", "c", 1), ("d",), ("f",)]
    }
    spans = {path: node.span.text for path, node in found.items() if node and node.span}
    assert spans == {
        ("a",): "5",
        ("b",): "c: [1, 'two']",
        ("b", "c"): "[1, 'two']",
        ("b", "c", 1): "'two'",
        ("d",): "|\n  text",
        ("f",): "",
    }
    assert root.get("e") is root.get("b")
    key = root.key_node("d")
    assert key is not None
    assert key.span is not None
    assert key.span.position == (5, 1)
    assert root.get("zz") is None
    assert root.key_node("zz") is None
    assert walk_path(root, ("b", "c", 7)) is None
    assert walk_path(root, ("a", 0)) is None
    assert "a" in root
    assert len(root) == 5


def test_merged_entries_keep_their_own_place() -> None:
    root = read_text("a: &x {p: 1}\nb:\n  <<: *x\n  q: 2\n").root
    merged = walk_path(root, ("b", "p"))
    assert merged is walk_path(root, ("a", "p"))


def test_broken_entries_keep_what_was_read_of_them() -> None:
    root = read_text("layers:\n  - {name: conv1, k: [1, 2}\n  - {name: x}\n").root
    broken = walk_path(root, ("layers", 0))
    assert isinstance(broken, Broken)
    assert isinstance(broken.partial, Mapping)
    assert to_python(broken.partial.get("name")) == "conv1"
    assert broken.span is not None
    assert broken.span.text == "{name: conv1, k: [1, 2}"


def test_paths_and_notes() -> None:
    document = read_text("layers:\n  - {a: 1}\n  - {a: 1, b: *u, a: 2}\n")
    undefined, duplicate = sorted(document.diagnostics, key=lambda each: each.code, reverse=True)
    assert (undefined.path, duplicate.path) == ("layers[1].b", "layers[1].a")
    assert str(duplicate.notes[0].span) == "<text>:3:6"
    syntax = read_text("layers:\n  - a: 1\n  - b: [1, 'x' 'y']\n").diagnostics[0]
    assert syntax.path.startswith("layers[1].b")


@pytest.mark.parametrize(
    ("text", "message", "advice"),
    [
        ("{k: (3, 5)}", "write [3, 5] instead of (3, 5)", None),
        ("a: 1e999", None, "write .inf if infinity is meant"),
        ("a:\n\tb: 1\n\tc: 1", "tab in the indentation (1 more below)", "indent with spaces"),
        ("a: 1\nk:35", None, "write `k: 35`"),
        ("a: [1", "`[` is not closed", "add `]`"),
        ("a: b: c", "this value contains `: `", 'put the value in quotes: "b: c"'),
        ("l:\n  - a: 1\n    b: 1\n   c: 1", None, "indent it by 4 spaces"),
    ],
)
def test_messages(text: str, message: str | None, advice: str | None) -> None:
    found = read_text(text).diagnostics[0]
    assert message is None or found.message == message
    assert advice is None or (found.help or "").startswith(advice)


# -- limits


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.usefixtures("loader")
def test_depth() -> None:
    assert read_text(nested(100)).ok
    assert places(read_text(nested(101))) == ["too-deep 1:101"]


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "{a: " * 100_000, "? " * 100_000])
def test_deep_nesting_is_refused_at_once(text: str) -> None:
    start = time.perf_counter()
    document = read_text(text)
    assert time.perf_counter() - start < 60  # a guard against a hang: measured 20 ms
    assert [each.code for each in document.diagnostics] == ["too-deep"]


class Shallow(yaml.SafeLoader):
    """Has the limit that libyaml has from 0.2.6 on."""

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        if self.flow_level >= 1000:
            mark = self.get_mark()
            text = "exceeded maximum nesting depth"
            raise yaml.scanner.ScannerError("while increasing flow level", mark, text, mark)
        super().fetch_flow_collection_start(token)


def test_the_parsers_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in ("", "a: 1\nb: ", "- - {c: "):
        monkeypatch.setattr(reader, "parser_class", lambda: yaml.SafeLoader)
        expected = read_text(before + nested(2000))
        monkeypatch.setattr(reader, "parser_class", lambda: Shallow)
        found = read_text(before + nested(2000))
        assert [each.code for each in found.diagnostics] == ["too-deep"]
        assert (found.diagnostics[0].span, found.diagnostics[0].path) == (
            expected.diagnostics[0].span,
            expected.diagnostics[0].path,
        )
        assert outline(found.root) == outline(expected.root)
    # a mistake before it is still the mistake, and a limit of ours above the parser's is not at fault
    assert places(read_text("[1, 2}, " + nested(2000)))[0].startswith("unclosed-bracket 1:1")
    found = read_text(nested(2000), limits=Limits(depth=5000))
    assert places(found) == ["too-deep 1:1001"]
    assert found.diagnostics[0].message == "nested deeper than libyaml reads"


def test_alias_bomb_and_depth_through_aliases() -> None:
    bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30))
    assert [each.code for each in read_text(bomb).diagnostics] == ["too-many-nodes"]
    chain = "- &a0 [1]\n" + "".join(f"- &a{i} [*a{i - 1}]\n" for i in range(1, 200))
    assert [each.code for each in read_text(chain).diagnostics] == ["too-deep"]


def test_nodes_and_bytes() -> None:
    assert places(read_text("[1, 2, 3]", limits=Limits(nodes=3))) == ["too-many-nodes 1:8"]
    assert read_text("[1, 2, 3]", limits=Limits(nodes=4)).ok
    assert [each.code for each in read_text("a: 12345", limits=Limits(bytes=5)).diagnostics] == [
        "file-too-large"
    ]
    assert [each.code for each in read_bytes(b"a: 12345", limits=Limits(bytes=5)).diagnostics] == [
        "file-too-large"
    ]


def large(count: int) -> list[str]:
    line = "  - {{name: conv{}, type: Conv2d, in_channels: 64, out_channels: 64, kernel_size: 3, padding: 1}}"
    return ["netspec: 1", "layers:", *(line.format(i) for i in range(count))]


def test_ten_thousand_layers() -> None:
    text = "\n".join(large(10_000))
    start = time.process_time()
    document = read_text(text)
    # Half a second measured; the rest is for slow machines and neighbours.
    assert time.process_time() - start < 3
    assert len(to_python(document.root)["layers"]) == 10_000


def test_errors_in_a_large_file_end_in_bounded_time() -> None:
    lines = large(10_000)
    lines[100::200] = ["  - {name: b type: c}"] * len(lines[100::200])
    start = time.process_time()
    document = read_text("\n".join(lines))
    assert time.process_time() - start < 10
    assert 5 <= len(document.diagnostics) <= 20


@pytest.mark.parametrize(
    "text",
    [
        "b: @\na" + " " * 200_000 + "b\n",
        "{k: (" + "a, " * 50_000 + "}",
        "[" + "(, " * 50_000,
        "'\"" * 100_000,
        "- [a\n" * 20_000,
        "a: @\n" * 20_000,
        "[" + "a, " * 50_000 + "b c: : d]",
    ],
    ids=range(7),
)
def test_nothing_takes_quadratic_time(text: str) -> None:
    start = time.process_time()
    document = read_text(text)
    assert time.process_time() - start < 5
    assert not document.ok


# -- files


def test_files(tmp_path: Path) -> None:
    good = tmp_path / "net.yaml"
    good.write_bytes(b"\xef\xbb\xbfa: 1\r\na: 2\r\n")
    document = read_file(good)
    assert places(document) == ["duplicate-key 2:1"]
    assert document.source.name == str(good)
    good.write_bytes(b"\xef\xbb\xbf@\n")
    assert places(read_file(good)) == ["special-character 1:1"]


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = read_file(tmp_path / "missing.yaml")
    assert missing.root is None
    assert render_text(missing.diagnostics) == f"{tmp_path}/missing.yaml: error[file-not-found]: no such file"
    assert [each.code for each in read_file(tmp_path).diagnostics] == ["file-unreadable"]
    assert [each.code for each in read_file("a\0b").diagnostics] == ["file-unreadable"]

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    refused = read_file("net.yaml")
    monkeypatch.undo()
    assert refused.diagnostics[0].message == "no permission to read this file"


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ("a: 1".encode("utf-16"), "not-utf8 1:1"),
        ("a: 1".encode("utf-32"), "not-utf8 1:1"),
        ("a: é\nb: ü\xff".encode("latin-1"), "not-utf8 1:4"),
        ("é: 1\nb: ü".encode() + b"\xff", "not-utf8 2:5"),
        (b"\x7fELF\x00\x00\xff", "binary-file 1:1"),
        (b"a\x00b", "binary-file 1:2"),
    ],
)
def test_bytes_that_are_no_text(data: bytes, place: str) -> None:
    document = read_bytes(data, "net.yaml")
    assert places(document) == [place]
    assert document.root is None


def test_yaml_is_imported_only_to_read() -> None:
    code = "import sys, netspec.document; sys.exit('yaml' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- properties

PIECES = st.sampled_from(
    [
        "a",
        "b: ",
        "- ",
        "  ",
        "\n",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ":",
        "'",
        '"',
        "#",
        "&a ",
        "*a",
        "<<: ",
        "!!int ",
        "(",
        ")",
        "\t",
        "|",
        ">",
        "@",
        "%",
        "?",
        "1",
        "1e999",
        "---\n",
        "\r\n",
        "\u2028",
        "\x07",
        "\ud800",
        "😀",
        "\\",
        "key: value\n",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=25).map("".join)))
def test_any_text_is_read_or_explained(text: str) -> None:
    document = read_text(text)
    assert_sound(document)
    if not has_errors(document.diagnostics):
        assert document.root is not None


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(SYNTAX)), st.data())
def test_any_slip_in_a_file_is_read_or_explained(name: str, data: st.DataObject) -> None:
    text = SYNTAX[name][0]
    at = data.draw(st.integers(0, len(text)))
    end = min(len(text), at + data.draw(st.integers(0, 3)))
    assert_sound(read_text(text[:at] + data.draw(PIECES) + text[end:]))


@settings(max_examples=200, deadline=None)
@given(st.binary())
def test_any_bytes_are_read_or_explained(data: bytes) -> None:
    assert_sound(read_bytes(data))


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)


class _Dumper(yaml.SafeDumper):
    """Quotes all text: PyYAML leaves plain what is text in YAML 1.1 only, such as 0o17."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


@settings(max_examples=200, deadline=None)
@given(VALUES, st.booleans())
def test_dumped_values_read_back_equal(value: Any, flow: bool) -> None:
    document = read_text(yaml.dump(value, Dumper=_Dumper, allow_unicode=True, default_flow_style=flow))
    assert document.diagnostics == []
    assert to_python(document.root) == value
