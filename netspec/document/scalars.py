"""Plain scalars by YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema).

PyYAML's own rules are YAML 1.1's, where `no` is False, `1:30` is 90 and `1e-5` a string.
"""

from __future__ import annotations

import math
import re

from netspec.document.nodes import ScalarValue

_WORDS: dict[str, ScalarValue] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((f"{sign}.{word}" for sign in ("", "+") for word in ("inf", "Inf", "INF")), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_INT = re.compile(r"[-+]?[0-9]+\Z")
_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NUMERIC = frozenset("+-.0123456789")
_MOST_DIGITS = 40  # int() refuses 5,000 digits with an exception, and no 64-bit integer needs more than these
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


class TooLarge(ValueError):
    """A number that fits no 64-bit type; `args[0]` is the diagnostic's code."""


def resolve(text: str) -> ScalarValue:
    """The value of a plain scalar. Raises TooLarge."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC:
        return text
    if _INT.match(text):
        digits = text.lstrip("+-").lstrip("0")
        return check_int(int(text) if len(digits) < _MOST_DIGITS and len(text) < 4000 else 2**64)
    if _BASED.match(text):
        return check_int(int(text[2:], 8 if text[1] == "o" else 16) if len(text) < 100 else 2**64)
    if _FLOAT.match(text):
        value = float(text)
        if math.isinf(value):
            raise TooLarge("float-too-large")
        return value
    return text


def check_int(value: int) -> int:
    """`value`, if it fits 64 bits with a sign. Raises TooLarge."""
    if not _INT_MIN <= value <= _INT_MAX:
        raise TooLarge("integer-too-large")
    return value


def convert(text: str, tag: str) -> ScalarValue:
    """The value of a scalar under one of the core tags (`int`, ...). Raises ValueError and TooLarge."""
    if tag == "str":
        return text
    value = resolve(text.strip())
    if tag == "float" and type(value) is int:
        return float(value)
    if type(value) is not {"int": int, "float": float, "bool": bool, "null": type(None)}[tag]:
        raise ValueError(text)
    return value


def too_large_advice(code: str) -> tuple[str, str]:
    """Message and help for the code that TooLarge carries."""
    if code == "float-too-large":
        return "number is beyond the range of a 64-bit float", "write .inf if infinity is meant"
    return "integer does not fit 64 bits", f"the range is {_INT_MIN} to {_INT_MAX}; quote it if it is text"
