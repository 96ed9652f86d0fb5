"""Functions that reduce axes: sum, mean, prod, amax, amin, argmax.

Source: torch's Reduction Ops.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from netspec.layers.base import Call, _Function
from netspec.layers.parameters import Axes, Axis, Bool, choice
from netspec.layers.shaping import _axes
from netspec.layers.tensor import DTYPES, TensorType, is_complex, is_inexact
from netspec.operations import ArgMax as ArgMaxOperation
from netspec.operations import Reduce
from netspec.program.builder import Builder, Value
from netspec.symbolic import Dim, at_least


class _Reduction(_Function):
    """What reductions share: which axes, and whether they stay with size 1."""

    operation: ClassVar[Literal["sum", "mean", "max", "min", "prod"]]
    """The function of `netspec.operations.Reduce`."""

    dim: Axes | None = None
    keepdim: Bool = False

    def infer(self, call: Call) -> TensorType:
        """Without the reduced axes, or with size 1 in their place."""
        axes = _axes(call, None if self.dim == () else self.dim, call.x.rank)
        self._check(call, axes)
        return TensorType(_reduced(call.x.shape, axes, self.keepdim), self._dtype(call))

    def _check(self, call: Call, axes: list[int]) -> None:
        """Refuse sizes that cannot be reduced."""

    def _dtype(self, call: Call) -> str:
        return call.x.dtype

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One reduction, in the result's dtype."""
        x = b.cast(inputs[0], b.outputs[0].dtype)
        if x.rank == 0:
            return x
        dims = self.dim if isinstance(self.dim, tuple) else () if self.dim is None else (self.dim,)
        axes = tuple(sorted(axis % x.rank for axis in dims)) or tuple(range(x.rank))
        return b.emit(Reduce(self.operation, axes, self.keepdim), x)


def _reduced(shape: tuple[Dim, ...], axes: list[int], keepdim: bool) -> tuple[Dim, ...]:
    if keepdim:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _not_empty(call: Call, axes: list[int], name: str) -> None:
    """The largest of nothing is nothing: the reduced axes need at least one element."""
    for axis in axes:
        if call.x.rank:
            message = f"{name} of nothing has no value: axis {axis} of {call.x} is {call.x.shape[axis]}"
            call.require(at_least(call.x.shape[axis], 1), message, code="empty-axis")


class _Total(_Reduction):
    """sum and prod: integers and bool are added up in int64."""

    dtype: choice(*DTYPES) | None = None  # type: ignore[valid-type]

    def _dtype(self, call: Call) -> str:
        found: str = self.dtype or (call.x.dtype if is_inexact(call.x.dtype) else "int64")
        return found


class Sum(_Total, type="sum"):
    """Sum over axes: (*) -> () or without those axes; of integers and bool in int64.

    Example: `{type: sum, dim: [2, 3]}`
    """

    operation: ClassVar = "sum"

    dim: Axes | None = None
    """Axis or axes to reduce; null or [] means all."""
    keepdim: Bool = False
    """Whether reduced axes stay, with size 1."""
    dtype: choice(*DTYPES) | None = None  # type: ignore[valid-type]
    """dtype that the input is converted to first."""


class Prod(_Total, type="prod"):
    """Product over one axis or all: (*) -> () or without that axis; of integers and bool in int64.

    Example: `{type: prod, dim: 1}`
    """

    operation: ClassVar = "prod"

    dim: Axis | None = None
    """Axis to reduce; null means all."""
    keepdim: Bool = False
    """Whether the reduced axis stays, with size 1; needs dim."""
    dtype: choice(*DTYPES) | None = None  # type: ignore[valid-type]
    """dtype that the input is converted to first."""

    @model_validator(mode="after")
    def _keeps_an_axis(self) -> Prod:
        if self.keepdim and self.dim is None:
            raise PydanticCustomError("missing-key", "keepdim needs dim here", {"field": "keepdim"})
        return self


class Mean(_Reduction, type="mean"):
    """Mean over axes: (*) -> () or without those axes; of nothing, NaN.

    Example: `{type: mean, dim: [2, 3], keepdim: true}`
    """

    operation: ClassVar = "mean"

    dim: Axes | None = None
    """Axis or axes to reduce; null or [] means all."""
    keepdim: Bool = False
    """Whether reduced axes stay, with size 1."""
    dtype: choice(*DTYPES) | None = None  # type: ignore[valid-type]
    """dtype that the input is converted to first; it must be floating."""

    def _dtype(self, call: Call) -> str:
        found: str = self.dtype or call.x.dtype
        if not is_inexact(found):
            call.fail(
                f"the mean needs a floating dtype, got {found}",
                code="wrong-dtype",
                parameter="dtype" if self.dtype else None,
                help="write dtype: float32 to convert first",
            )
        return found


class _Extreme(_Reduction):
    """amax and amin."""

    def _check(self, call: Call, axes: list[int]) -> None:
        _not_empty(call, axes, self.type_name)

    def _dtype(self, call: Call) -> str:
        if is_complex(call.x.dtype):
            call.fail(f"complex numbers have no {self.type_name}", code="wrong-dtype")
        return call.x.dtype


class Amax(_Extreme, type="amax"):
    """Largest value over axes: (*) -> () or without those axes; NaN wins.

    Example: `{type: amax, dim: 1}`
    """

    operation: ClassVar = "max"

    dim: Axes | None = None
    """Axis or axes to reduce; null or [] means all."""
    keepdim: Bool = False
    """Whether reduced axes stay, with size 1."""


class Amin(_Extreme, type="amin"):
    """Smallest value over axes: (*) -> () or without those axes; NaN wins.

    Example: `{type: amin, dim: 1}`
    """

    operation: ClassVar = "min"

    dim: Axes | None = None
    """Axis or axes to reduce; null or [] means all."""
    keepdim: Bool = False
    """Whether reduced axes stay, with size 1."""


class Argmax(_Function, type="argmax"):
    """int64 index of the first largest value along an axis, or in the flattened input; NaN wins.

    Example: `{type: argmax, dim: 1}`
    """

    dim: Axis | None = None
    """Axis to search; null: the flattened input."""
    keepdim: Bool = False
    """Whether searched axes stay, with size 1."""

    def infer(self, call: Call) -> TensorType:
        """Without the searched axis, or with size 1 in its place."""
        if call.x.dtype == "bool" or is_complex(call.x.dtype):
            call.fail(f"argmax does not take {call.x.dtype}", code="wrong-dtype")
        axes = _axes(call, self.dim, call.x.rank)
        _not_empty(call, axes, "argmax")
        return TensorType(_reduced(call.x.shape, axes, self.keepdim), "int64")

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One search."""
        x = inputs[0]
        axis = None if self.dim is None or x.rank == 0 else self.dim % x.rank
        return b.emit(ArgMaxOperation(axis, self.keepdim), x, dtype="int64")
