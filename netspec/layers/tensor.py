"""What is known of a tensor before it is computed: its shape and dtype."""

from __future__ import annotations

from dataclasses import dataclass

from netspec.symbolic import Dim

FLOATS = ("float16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
DTYPES = ("bool", *INTEGERS, *FLOATS, *COMPLEX)
"""Every dtype a tensor may have, narrowest kind first."""

NARROW = ("bfloat16",)
"""Dtypes that values may be kept in while a network runs: its inputs and outputs are float32 then."""

ITEM_SIZE = {
    "bool": 1, "uint8": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8,
    "float16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16,
    "bfloat16": 2,
}  # fmt: skip
"""Bytes of one element."""

REAL_OF = {"complex64": "float32", "complex128": "float64"}
COMPLEX_OF = {"float16": "complex64", "float32": "complex64", "float64": "complex128"}


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape (ints or expressions over the named sizes) and dtype of one tensor."""

    shape: tuple[Dim, ...]
    dtype: str = "float32"

    @property
    def rank(self) -> int:
        """Number of axes; always known."""
        return len(self.shape)

    def __str__(self) -> str:
        return format_shape(self.shape)

    def with_shape(self, *shape: Dim) -> TensorType:
        """The same dtype under another shape."""
        return TensorType(shape, self.dtype)


def format_shape(shape: tuple[Dim, ...] | list[Dim]) -> str:
    """`[N, 1, 28, 28]`, as a user writes it."""
    return "[" + ", ".join(map(str, shape)) + "]"


def is_float(dtype: str) -> bool:
    """Real floating point."""
    return dtype in FLOATS


def is_complex(dtype: str) -> bool:
    """Complex floating point."""
    return dtype in COMPLEX


def is_inexact(dtype: str) -> bool:
    """Real or complex floating point: what a layer with weights can read."""
    return dtype in FLOATS or dtype in COMPLEX


def _category(dtype: str) -> int:
    """torch's order of kinds for promotion: bool < integer < real < complex."""
    return 0 if dtype == "bool" else 1 if dtype in INTEGERS else 2 if dtype in FLOATS else 3


def _promote(a: str, b: str) -> str:
    """torch.promote_types: unlike NumPy's, int with float keeps the float's width."""
    if a == b:
        return a
    if _category(a) > _category(b):
        a, b = b, a
    kind_a, kind_b = _category(a), _category(b)
    if kind_b == 3:
        real = REAL_OF.get(a, a if kind_a == 2 else "float32")
        return COMPLEX_OF[_promote(real, REAL_OF[b])]
    if kind_a < kind_b:
        return b
    if kind_b == 1 and "uint8" in (a, b):
        other = b if a == "uint8" else a
        return "int16" if other == "int8" else other
    return max(a, b, key=lambda dtype: ITEM_SIZE[dtype])


def result_dtype(*tensors: TensorType) -> str:
    """torch.result_type: 0-d tensors count only where they are of a higher kind."""
    dims = _promote_all(t.dtype for t in tensors if t.rank)
    zero = _promote_all(t.dtype for t in tensors if not t.rank)
    if dims is None or zero is None:
        return dims or zero or "float32"
    return _promote(dims, zero) if _category(zero) > _category(dims) else dims


def with_number(dtype: str, number: complex | float | int | bool) -> str:
    """dtype of `tensor op number`: the number counts only by its kind (torch's wrapped numbers)."""
    if isinstance(number, bool):
        return dtype
    if isinstance(number, int):
        return "int64" if dtype == "bool" else dtype
    if isinstance(number, float):
        return dtype if _category(dtype) >= 2 else "float32"
    return dtype if _category(dtype) == 3 else COMPLEX_OF.get(dtype, "complex64")


def promote_all(dtypes: list[str]) -> str:
    """torch.promote_types over a list, no special place for 0-d tensors (as `cat` does)."""
    return _promote_all(dtypes) or "float32"


def _promote_all(dtypes: object) -> str | None:
    result: str | None = None
    for dtype in dtypes:  # type: ignore[attr-defined]
        result = dtype if result is None else _promote(result, dtype)
    return result
