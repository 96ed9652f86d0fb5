"""Python values to nodes and back."""

from __future__ import annotations

import enum
import math
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.diagnostics import render_text
from netspec.document import Broken, Limits, Scalar, from_python, to_python, walk_path

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_round_trip(value: Any) -> None:
    document = from_python(value)
    assert document.ok
    assert to_python(document.root) == value


class Size(enum.IntEnum):
    """An int subclass."""

    SMALL = 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, 2), [1, 2]),
        (Size.SMALL, 3),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(7), 7),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ({0: "x"}, {"0": "x"}),
    ],
)
def test_converted(value: Any, expected: Any) -> None:
    document = from_python({"v": value})
    assert document.diagnostics == []
    assert to_python(document.root) == {"v": expected}
    assert type(to_python(document.root)["v"]) is type(expected)


def test_texts_are_what_yaml_would_say() -> None:
    values = [None, True, 3, 0.5, math.inf, -math.inf, math.nan, "3.10"]
    nodes = [walk_path(from_python(values).root, (index,)) for index in range(len(values))]
    assert [node.text for node in nodes if isinstance(node, Scalar)] == [
        "null", "true", "3", "0.5", ".inf", "-.inf", ".nan", "3.10",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({1, 2}, "unsupported-value"),
        (b"x", "unsupported-value"),
        (1j, "unsupported-value"),
        (np.zeros(20_000), "unsupported-value"),
        (np.array([1j]), "unsupported-value"),
        (2**63, "integer-too-large"),
        ({None: 1}, "unsupported-value"),
        ({True: 1}, "unsupported-value"),
        ({1: 1, "1": 2}, "duplicate-key"),
    ],
)
def test_refused(value: Any, code: str) -> None:
    document = from_python({"layers": [{"v": value}]})
    assert [each.code for each in document.diagnostics] == [code]
    assert document.diagnostics[0].path.startswith("layers[0].v")
    assert document.diagnostics[0].span is None


def test_a_refused_value_is_broken_and_named() -> None:
    document = from_python({"layers": [object()]})
    assert isinstance(walk_path(document.root, ("layers", 0)), Broken)
    assert render_text(document.diagnostics) == (
        "<mapping>:layers[0]: error[unsupported-value]: a value of type object has no YAML form\n"
        "   = help: use dicts, lists, text, numbers, booleans or None"
    )


def test_cycles_depth_and_size() -> None:
    loop: list[Any] = [1]
    loop.append({"a": loop})
    assert [(each.code, each.path) for each in from_python(loop).diagnostics] == [
        ("recursive-value", "[1].a")
    ]
    shared = [1]
    assert to_python(from_python([shared, shared]).root) == [[1], [1]]
    deep: Any = 1
    for _ in range(101):
        deep = [deep]
    assert [each.code for each in from_python(deep).diagnostics] == ["too-deep"]
    assert [each.code for each in from_python([1, 2], limits=Limits(nodes=2)).diagnostics] == [
        "too-many-nodes"
    ]
    bomb: Any = [1] * 10
    for _ in range(20):
        bomb = [bomb] * 10
    assert [each.code for each in from_python(bomb, limits=Limits(nodes=1000)).diagnostics] == [
        "too-many-nodes"
    ]
