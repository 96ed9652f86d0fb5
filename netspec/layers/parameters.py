"""The vocabulary of parameter types: each is one validator, one JSON Schema, one sentence of expectation.

torch's parameters are few kinds of things (a count, a size for every axis, a choice, ...). One plain
validator a kind gives one error for one mistake, in words, where a union of types would give two.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

Json = dict[str, Any]

LARGEST = 2**63 - 1


def describe(value: Any) -> str:
    """What the user wrote, in words short enough for a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value}"
    if isinstance(value, str):
        return f'the text "{value}"' if len(value) <= 40 else f'the text "{value[:37]}..."'
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        text = "[" + ", ".join(describe(v) for v in value[:6]) + (", ...]" if len(value) > 6 else "]")
        return text if len(text) <= 60 else f"a list of {len(value)}"
    return f"a {type(value).__name__}"


def wrong_type(expected: str, value: Any) -> PydanticCustomError:
    """The error for a value of another kind; a Python tuple in text gets its own advice."""
    context = {"expected": expected, "got": describe(value)}
    if isinstance(value, str) and (advice := _tuple_advice(value)):
        context["help"] = advice
    elif isinstance(value, str) and value in ("None", "none"):
        context["help"] = "write null (or leave the parameter out) for None"
    elif isinstance(value, str) and value.lower() in ("yes", "no", "on", "off"):
        context["help"] = "YAML 1.2 has only true and false"
    return PydanticCustomError("wrong-type", "expected {expected}, got {got}", context)


def out_of_range(expected: str, value: Any) -> PydanticCustomError:
    """The error for a value of the right kind that torch refuses."""
    return PydanticCustomError(
        "out-of-range", "expected {expected}, got {got}", {"expected": expected, "got": describe(value)}
    )


def _tuple_advice(text: str) -> str | None:
    if re.fullmatch(r"\(\s*-?[\w.]+(\s*,\s*-?[\w.]+)*\s*,?\s*\)", text):
        return f"write [{', '.join(part.strip() for part in text[1:-1].split(',') if part.strip())}]"
    return None


def is_integer(value: Any) -> bool:
    """An int, and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """An int or a float, and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- single values ----------------------------------------------------------------------------------


def _bounded(expected: str, lo: int | None, hi: int | None) -> Callable[[Any], int]:
    def validate(value: Any) -> int:
        if not is_integer(value):
            raise wrong_type(expected, value)
        if (lo is not None and value < lo) or (hi is not None and value > hi):
            raise out_of_range(expected, value)
        return int(value)

    return validate


def integer(expected: str, lo: int | None = None, hi: int | None = None) -> Any:
    """An integer between `lo` and `hi`."""
    schema: Json = {"type": "integer"}
    if lo is not None:
        schema["minimum"] = lo
    if hi is not None:
        schema["maximum"] = hi
    return Annotated[int, PlainValidator(_bounded(expected, lo, hi)), WithJsonSchema(schema)]


def number(
    expected: str,
    lo: float = -math.inf,
    hi: float = math.inf,
    *,
    exclusive: bool = False,
    finite: bool = False,
) -> Any:
    """A float (ints are converted) between `lo` and `hi`."""

    def validate(value: Any) -> float:
        if not is_number(value):
            raise wrong_type(expected, value)
        result = float(value)
        inside = lo < result < hi if exclusive else lo <= result <= hi
        if (not inside and (lo != -math.inf or hi != math.inf)) or (finite and not math.isfinite(result)):
            raise out_of_range(expected, value)
        return result

    schema: Json = {"type": "number"}
    if lo != -math.inf:
        schema["exclusiveMinimum" if exclusive else "minimum"] = lo
    if hi != math.inf:
        schema["exclusiveMaximum" if exclusive else "maximum"] = hi
    return Annotated[float, PlainValidator(validate), WithJsonSchema(schema)]


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong_type("true or false", value)
    return value


def choice(*options: str) -> Any:
    """One of a few words."""
    expected = "one of " + ", ".join(options)

    def validate(value: Any) -> str:
        if not isinstance(value, str):
            raise wrong_type(expected, value)
        if value not in options:
            raise PydanticCustomError(
                "unknown-value",
                "expected {expected}, got {got}",
                {"expected": expected, "got": describe(value), "word": value, "options": list(options)},
            )
        return value

    return Annotated[str, PlainValidator(validate), WithJsonSchema({"type": "string", "enum": list(options)})]


def _scalar(value: Any) -> float | int | bool:
    if not isinstance(value, int | float):
        raise wrong_type("a number", value)
    return value


Count = integer("an integer >= 1", 1, LARGEST)
Integer = integer("an integer", -LARGEST, LARGEST)
Number = number("a number")
Probability = number("a number between 0 and 1", 0.0, 1.0)
Bool = Annotated[bool, PlainValidator(_boolean), WithJsonSchema({"type": "boolean"})]
Scalar = Annotated[
    float | int | bool, PlainValidator(_scalar), WithJsonSchema({"type": ["number", "boolean"]})
]
"""A number that keeps its kind: 2 stays an integer, since dtype promotion looks at it."""


# --- one value, or one an axis ----------------------------------------------------------------------


def sizes(expected: str, lo: int | None = None, *, words: Sequence[str] = (), null: bool = False) -> Any:
    """An integer for every axis, or a list with one an axis; the layer's rank fixes the length.

    words: strings allowed instead; null: entries (and the whole) may be null.
    """
    whole = f"{expected} or a list of them" + (f" or {' or '.join(words)}" if words else "")

    def validate(value: Any) -> Any:
        if isinstance(value, str) and words:
            if value not in words:
                raise PydanticCustomError(
                    "unknown-value" if value.isidentifier() else "wrong-type",
                    "expected {expected}, got {got}",
                    {"expected": whole, "got": describe(value), "word": value, "options": list(words),
                     **({"help": advice} if (advice := _tuple_advice(value)) else {})},
                )  # fmt: skip
            return value
        items = value if isinstance(value, list | tuple) else [value]
        for item in items:
            if not is_integer(item) and not (null and item is None):
                raise wrong_type(whole, value)
            if item is not None and (item > LARGEST or (lo is not None and item < lo)):
                raise out_of_range(whole, value)
        return tuple(items) if isinstance(value, list | tuple) else value

    one: Json = {"type": "integer"} if lo is None else {"type": "integer", "minimum": lo}
    item = {**one, "type": ["integer", "null"]} if null else one
    options: list[Json] = [one, {"type": "array", "items": item, "perAxis": True}]
    if words:
        options.append({"type": "string", "enum": list(words)})
    return Annotated[Any, PlainValidator(validate), WithJsonSchema({"anyOf": options})]


Counts = sizes("an integer >= 1", 1)
NonNegatives = sizes("an integer >= 0", 0)


def _integers(value: Any) -> int | tuple[int, ...]:
    if is_integer(value):
        return int(value)
    if isinstance(value, list | tuple) and all(is_integer(v) for v in value):
        return tuple(value)
    raise wrong_type("an integer or a list of integers", value)


def _integer_list(value: Any) -> tuple[int, ...]:
    if isinstance(value, list | tuple) and all(is_integer(v) for v in value):
        return tuple(value)
    raise wrong_type("a list of integers", value)


_INTEGER_LIST: Json = {"type": "array", "items": {"type": "integer"}}
Axis = Integer
Axes = Annotated[
    int | tuple[int, ...],
    PlainValidator(_integers),
    WithJsonSchema({"anyOf": [{"type": "integer"}, _INTEGER_LIST]}),
]
IntegerList = Annotated[tuple[int, ...], PlainValidator(_integer_list), WithJsonSchema(_INTEGER_LIST)]


def _extents(value: Any) -> tuple[int | str, ...]:
    items = value if isinstance(value, list | tuple) else [value]
    if not all(is_integer(v) or isinstance(v, str) for v in items):
        raise wrong_type("a list of sizes: integers, or expressions over the inputs' symbols", value)
    return tuple(items)


_EXTENT: Json = {"type": ["integer", "string"]}
Extents = Annotated[
    tuple[int | str, ...],
    PlainValidator(_extents),
    WithJsonSchema({"anyOf": [{"type": "array", "items": _EXTENT}, _EXTENT]}),
]
"""Sizes that may be expressions over the network's symbols (`reshape`, `Unflatten`)."""


def _numbers(value: Any) -> Any:
    """A number or nested lists of numbers, all of one shape, as nested tuples."""

    def walk(item: Any, depth: int) -> tuple[Any, tuple[int, ...]]:
        if is_number(item):
            return item, ()
        if not isinstance(item, list | tuple) or depth > 16:
            raise wrong_type("a number or a nested list of numbers", item)
        parts = [walk(v, depth + 1) for v in item]
        shapes = {shape for _, shape in parts}
        if len(shapes) > 1:
            raise PydanticCustomError(
                "ragged-list",
                "the nested list is ragged: its rows have shapes {shapes}",
                {"shapes": ", ".join(str(list(s)) for s in sorted(shapes, key=str))},
            )
        return tuple(v for v, _ in parts), (len(parts), *(shapes.pop() if shapes else ()))

    return walk(value, 0)[0]


def literal_shape(value: Any) -> tuple[int, ...]:
    """Shape of a validated nested literal."""
    shape: list[int] = []
    while isinstance(value, tuple):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


Literal = Annotated[
    Any, PlainValidator(_numbers), WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "array"}]})
]
"""Literal values: a number, or nested lists of numbers."""

# --- names ------------------------------------------------------------------------------------------

NAME = re.compile(r"[A-Za-z0-9_]+")
REFERENCE = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


def name(value: Any) -> str:
    """A layer's name: letters, digits and underscores."""
    if is_integer(value):
        value = str(value)
    if not isinstance(value, str):
        raise wrong_type("a name", value)
    if not NAME.fullmatch(value) or not value.isascii():
        raise PydanticCustomError(
            "invalid-name",
            "a name has letters, digits and _ only, got {got}",
            {
                "got": describe(value),
                "help": f"for example {re.sub('[^A-Za-z0-9_]+', '_', value) or 'layer1'}",
            },
        )
    return value


def reference(value: Any) -> str:
    """A reference to a tensor: a name, with children and port after dots."""
    if is_integer(value):
        value = str(value)
    if not isinstance(value, str):
        raise wrong_type("a reference (the name of an input or an earlier layer)", value)
    if not REFERENCE.fullmatch(value) or not value.isascii():
        raise PydanticCustomError(
            "invalid-reference",
            "a reference is a name, or names joined by dots such as pool1.indices, got {got}",
            {"got": describe(value)},
        )
    return value


def _references(value: Any) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(reference(v) for v in value)
    return (reference(value),)


Name = Annotated[
    str, PlainValidator(name), WithJsonSchema({"type": ["string", "integer"], "pattern": "^[A-Za-z0-9_]+$"})
]
_REFERENCE: Json = {"type": ["string", "number"]}
References = Annotated[
    tuple[str, ...],
    PlainValidator(_references),
    WithJsonSchema({"anyOf": [_REFERENCE, {"type": "array", "items": _REFERENCE}]}),
]


def _output_size(value: Any) -> Any:
    if isinstance(value, list | tuple):
        if not all(is_integer(v) or isinstance(v, str) for v in value):
            raise wrong_type("a list of sizes, or one reference to a tensor of that spatial size", value)
        return tuple(value)
    return reference(value)


OutputSize = Annotated[
    Any,
    PlainValidator(_output_size),
    WithJsonSchema({"anyOf": [{"type": "array", "items": _EXTENT}, _REFERENCE]}),
]
"""`output_size` of ConvTranspose and MaxUnpool: sizes, or a reference whose spatial size is meant."""
