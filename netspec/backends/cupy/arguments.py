"""What kernels are launched with: C structs, declared once, for NumPy (which fills them) and for the compiler.

Every kernel takes one struct by value. The declarations that the CUDA source reads are written from these
tables, so that the two sides cannot disagree.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.operations.elementwise import FUNCTIONS

RANK = 8
"""Axes of an array in a kernel, after neighbours that lie in one run were joined."""

SPACE = 3
"""Spatial axes; missing ones have size 1."""

OPERANDS = 8
"""Arrays that one chain of elementwise stages reads."""

STAGES = 12
"""Stages of one chain."""

TAPS = 4
"""Places that a resampled axis reads: one, two or four."""

TERMS = 4
"""Arrays that one sum of products reads."""

LABELS = 16
"""Letters of one sum of products."""

DTYPES = (
    "bool", "uint8", "int8", "int16", "int32", "int64",
    "float16", "bfloat16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
"""Numbers of the dtypes in kernels: positions here."""

EXTRA_FUNCTIONS = ("affine", "magnitude")
"""Stages beside the elementwise functions: x * y + z; the magnitude of a complex operand."""

FUNCTION_CODES = {name: code for code, name in enumerate((*FUNCTIONS, *EXTRA_FUNCTIONS))}
"""Numbers of the elementwise functions in kernels."""

_POINTER, _INT, _LONG, _DOUBLE = np.uint64, np.int32, np.int64, np.float64
_C_NAMES = {_POINTER: "void*", _INT: "int", _LONG: "long long", _DOUBLE: "double"}

_Field = tuple[str, Any, int] | tuple[str, Any]

_TABLES: dict[str, list[_Field]] = {
    # an array: strides in elements
    "Array": [("data", _POINTER), ("dtype", _INT), ("strides", _LONG, RANK)],
    # operands: positions among the chain's, or -1 for the running value; constants as real, imaginary, whole
    # numbers; given: bit i is set where constant i is not None
    "Stage": [
        ("function", _INT), ("operands", _INT, 3), ("given", _INT),
        ("real", _DOUBLE, 3), ("imaginary", _DOUBLE, 3), ("whole", _LONG, 3),
    ],
    # start: the operand that the running value begins with, or -1
    "Chain": [
        ("count", _LONG), ("rank", _INT), ("start", _INT), ("stage_count", _INT), ("sizes", _LONG, RANK),
        ("flags", _POINTER), ("out", "Array"), ("operands", "Array", OPERANDS), ("stages", "Stage", STAGES),
    ],
    # x (n, c, space), weight (o, c, taps) or for transposed ones (c, o, taps); channels, group_outputs: of a group.
    # The chain's axes are the output's: (n, c, space), or (n, space, c) with `last`. For gathered columns x is
    # (n, group, output channel, tap, place).
    "Convolution": [
        ("x", "Array"), ("weight", "Array"), ("channels", _INT), ("group_outputs", _INT), ("last", _INT),
        ("sizes", _INT, SPACE), ("kernel", _INT, SPACE), ("stride", _INT, SPACE), ("padding", _INT, SPACE),
        ("dilation", _INT, SPACE), ("chain", "Chain"),
    ],
    # columns (n, group, channel, tap, place), or with `last` (group, n, place, tap, channel)
    "Columns": [
        ("x", "Array"), ("columns", _POINTER), ("images", _INT), ("groups", _INT), ("channels", _INT),
        ("sizes", _INT, SPACE), ("outputs", _INT, SPACE), ("kernel", _INT, SPACE), ("stride", _INT, SPACE),
        ("padding", _INT, SPACE), ("dilation", _INT, SPACE), ("last", _INT), ("count", _LONG),
    ],
    # x, values, indices are (n, c, space), space of `sizes` and `outputs`; divisor 0: the elements of the window;
    # last: threads run along the channels; lanes: threads that share a window
    "Pool": [
        ("x", "Array"), ("values", "Array"), ("indices", "Array"), ("count", _LONG), ("batch", _INT, 2),
        ("sizes", _INT, SPACE), ("outputs", _INT, SPACE), ("kernel", _INT, SPACE), ("stride", _INT, SPACE),
        ("padding", _INT, SPACE), ("dilation", _INT, SPACE), ("adaptive", _INT), ("count_padding", _INT),
        ("divisor", _LONG), ("last", _INT), ("lanes", _INT),
    ],
    # owners: for each output place the last x that goes there, by its number in the plane of x, or -1; plane: of
    # the output; last, out_last: threads run along the channels
    "Unpool": [
        ("x", "Array"), ("indices", "Array"), ("out", "Array"), ("owners", _POINTER), ("flags", _POINTER),
        ("batch", _INT, 2), ("sizes", _INT, SPACE), ("outputs", _INT, SPACE), ("plane", _LONG), ("count", _LONG),
        ("last", _INT), ("out_last", _INT),
    ],
    # sizes of the output, limits of x; before: what is added in front of each axis, or cut off where it is negative;
    # kept: what cutting off leaves, which `circular` repeats; value: the bytes of the element outside
    "Pad": [
        ("x", "Array"), ("out", "Array"), ("count", _LONG), ("rank", _INT), ("mode", _INT), ("sizes", _LONG, RANK),
        ("limits", _LONG, RANK), ("before", _LONG, RANK), ("kept", _LONG, RANK), ("value", _LONG, 2),
    ],
    # places (int) and weights (of the type that is computed in, or its real part) of each axis, `taps` of them for
    # each output one after the other; without places every output is at its own, without weights they are 1
    "Resize": [
        ("x", "Array"), ("out", "Array"), ("count", _LONG), ("batch", _INT, 2), ("outputs", _INT, SPACE),
        ("places", _POINTER, SPACE), ("weights", _POINTER, SPACE), ("taps", _INT, SPACE), ("last", _INT),
    ],
    # rows of x: kept axes say which row, two reduced axes run along it. lanes: threads of a row, lying `across` rows
    # or along them; held: their elements fit in registers; width: elements of one access; parts: a row is cut into so
    # many, `part` elements each, with partial results; slices: those that one launch does; inner: the size of the
    # second reduced axis; steps from one element of a thread to its next, and what is added where that axis is passed
    "Rows": [
        ("x", "Array"), ("out", "Array"), ("second", "Array"), ("partials", _POINTER),
        ("rows", _LONG), ("length", _LONG), ("turns", _LONG), ("slices", _LONG), ("parts", _LONG), ("part", _LONG),
        ("stage", _INT), ("lanes", _INT), ("across", _INT), ("held", _INT), ("width", _INT),
        ("kept_rank", _INT), ("kept", _LONG, RANK), ("x_along", _LONG, 2), ("out_along", _LONG, 2),
        ("inner", _INT), ("inner_step", _INT),
        ("x_step", _LONG), ("out_step", _LONG), ("x_carry", _LONG), ("out_carry", _LONG),
        ("center", _INT), ("log", _INT), ("divisor", _DOUBLE), ("eps", _DOUBLE),
    ],
    # along: from one class of x to the next
    "Take": [
        ("x", "Array"), ("indices", "Array"), ("out", "Array"), ("flags", _POINTER), ("count", _LONG),
        ("rank", _INT), ("sizes", _LONG, RANK), ("along", _LONG), ("classes", _LONG),
    ],
    # sizes of all letters, those of the result first; strides of each operand along them; count: elements of the
    # result, terms_each: of each one's sum; lanes: threads that share it, which lie `across` elements or along the sum
    "Products": [
        ("terms", "Array", TERMS), ("out", "Array"), ("term_count", _INT), ("kept_rank", _INT),
        ("letters", _INT), ("sizes", _LONG, LABELS), ("term_strides", _LONG, TERMS * LABELS),
        ("out_strides", _LONG, LABELS), ("count", _LONG), ("terms_each", _LONG),
        ("lanes", _INT), ("across", _INT),
    ],
    # seed: one number for a whole run, in which streams tell the steps apart
    "Random": [
        ("out", "Array"), ("count", _LONG), ("rank", _INT), ("sizes", _LONG, RANK),
        ("seed", _POINTER), ("stream", _LONG), ("kind", _INT), ("low", _DOUBLE), ("high", _DOUBLE),
    ],
    "Require": [
        ("x", "Array"), ("count", _LONG), ("rank", _INT), ("sizes", _LONG, RANK), ("flags", _POINTER),
        ("low", _DOUBLE), ("high", _DOUBLE), ("ignore", _LONG), ("ignores", _INT),
    ],
    "Fill": [("data", _POINTER), ("count", _LONG), ("value", _LONG)],
}  # fmt: skip


def _dtype(fields: list[_Field]) -> Any:
    entries = []
    for name, kind, *count in fields:
        base = STRUCTS[kind] if isinstance(kind, str) else kind
        entries.append((name, base, (count[0],)) if count else (name, base))
    return np.dtype(entries, align=True)


STRUCTS: dict[str, Any] = {}
"""Name of a struct -> its NumPy dtype, laid out as a C compiler does."""
for _name, _fields in _TABLES.items():
    STRUCTS[_name] = _dtype(_fields)


def declarations() -> str:
    """The structs, dtype numbers, function numbers and limits as C++."""
    lines = [f"enum {{ {', '.join(f'D_{name}' for name in DTYPES)} }};"]
    lines.append(f"enum {{ {', '.join(f'F_{name}' for name in FUNCTION_CODES)} }};")
    limits = {"RANK": RANK, "SPACE": SPACE, "TAPS": TAPS, "LABELS": LABELS}
    lines.append(f"enum {{ {', '.join(f'{name} = {value}' for name, value in limits.items())} }};")
    for name, fields in _TABLES.items():
        lines.append(f"struct {name} {{")
        for field, kind, *count in fields:
            written = kind if isinstance(kind, str) else _C_NAMES[kind]
            lines.append(f"    {written} {field}{f'[{count[0]}]' if count else ''};")
        lines.append("};")
    return "\n".join(lines) + "\n"


def arguments(name: str, **fields: Any) -> Any:
    """A filled struct, as an array of one element; fields that are not given are 0.

    A list shorter than its field fills the beginning.
    """
    struct = np.zeros(1, STRUCTS[name])
    record = struct[0]
    for field, value in fields.items():
        if isinstance(value, list | tuple):
            record[field][: len(value)] = value
        else:
            record[field] = value
    return struct
