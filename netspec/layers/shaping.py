"""Layers and functions that rearrange elements: Flatten, reshape, permute, cat, split, pad and their kin.

Source: torch.nn's Flatten and Unflatten, torch's Indexing, Slicing, Joining Ops, torch.nn.functional.pad.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from netspec.layers.base import Call, Layer, _Function
from netspec.layers.broadcasting import forced, need_fit
from netspec.layers.convolution import dimension
from netspec.layers.parameters import (
    Axes,
    Axis,
    Count,
    Extents,
    IntegerList,
    Number,
    choice,
    out_of_range,
    wrong_type,
)
from netspec.layers.tensor import TensorType, format_shape, promote_all
from netspec.operations import Concat, Pad, Slice
from netspec.program.builder import Builder, Value
from netspec.symbolic import Dim, any_of, at_least, at_most, divisible, equal, product

# --- other shapes for the same elements -------------------------------------------------------------


class _Flatten(Layer):
    """Flatten and flatten."""

    start_dim: Axis
    end_dim: Axis = -1
    """Last axis that is merged; negative ones count from the back."""

    def infer(self, call: Call) -> TensorType:
        """Axes start_dim to end_dim become one."""
        x = call.x
        start = call.axis(self.start_dim, x.rank, "start_dim")
        end = call.axis(self.end_dim, x.rank, "end_dim")
        if start > end:
            call.fail(
                f"start_dim {self.start_dim} comes after end_dim {self.end_dim} in a {x.rank}-D tensor {x}",
                code="wrong-axes",
                parameter="start_dim",
            )
        return x.with_shape(*x.shape[:start], product(x.shape[start : end + 1]), *x.shape[end + 1 :])

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """A reshape."""
        return b.reshape(inputs[0], b.shape)


class Flatten(_Flatten):
    """Merges neighbouring axes into one, by default all but the first: (N, *) -> (N, product of *).

    Example: `{type: Flatten}`
    """

    start_dim: Axis = 1
    """First axis that is merged."""


class FlattenFunction(_Function, _Flatten, type="flatten"):
    """Merges neighbouring axes into one, by default all of them: (*) -> (product of *).

    Example: `{type: flatten, start_dim: 1}`
    """

    start_dim: Axis = 0
    """First axis that is merged."""


class _Unflatten(Layer):
    """Unflatten and unflatten."""

    sizes_field: ClassVar[str]
    """The field that holds the new sizes."""

    @field_validator("unflattened_size", "sizes", mode="before", check_fields=False)
    @classmethod
    def _list(cls, value: Any) -> Any:
        return _listed(value)

    def infer(self, call: Call) -> TensorType:
        """Axis dim becomes several; one size may be -1."""
        x = call.x
        if x.rank == 0:
            call.fail(f"{self.type_name} needs at least one axis, got a 0-d tensor", code="wrong-rank")
        axis = call.axis(self.dim, x.rank)  # type: ignore[attr-defined]
        wanted = getattr(self, self.sizes_field)
        if not wanted:
            call.fail(
                f"{self.sizes_field} is empty", code="wrong-length", parameter=self.sizes_field, inputs=()
            )
        sizes = _filled(call, wanted, (x.shape[axis],), self.sizes_field, f"axis {axis} of {x}")
        return x.with_shape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :])

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """A reshape."""
        return b.reshape(inputs[0], b.shape)


class Unflatten(_Unflatten):
    """Cuts one axis into several: (*, product of sizes, *) -> (*, *sizes, *).

    Example: `{type: Unflatten, dim: 1, unflattened_size: [2, 5, 5]}`
    """

    sizes_field: ClassVar = "unflattened_size"

    dim: Axis
    """Axis that is cut."""
    unflattened_size: Extents
    """Its new sizes; one may be -1, and expressions over the inputs' symbols are allowed."""


class UnflattenFunction(_Function, _Unflatten, type="unflatten"):
    """Cuts one axis into several: (*, product of sizes, *) -> (*, *sizes, *).

    Example: `{type: unflatten, dim: 1, sizes: [-1, 4]}`
    """

    sizes_field: ClassVar = "sizes"

    dim: Axis
    """Axis that is cut."""
    sizes: Extents
    """Its new sizes; one may be -1, and expressions over the inputs' symbols are allowed."""


class Reshape(_Function, type="reshape"):
    """The same elements in row-major order under another shape: (*) -> shape.

    Example: `{type: reshape, shape: [N, 2, "C//2", -1]}`
    """

    shape: Extents
    """New sizes; one may be -1, and expressions over the inputs' symbols are allowed."""

    @field_validator("shape", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return _listed(value)

    def infer(self, call: Call) -> TensorType:
        """The sizes must hold exactly the input's elements."""
        x = call.x
        return x.with_shape(*_filled(call, self.shape, x.shape, "shape", f"input {x}"))

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """A reshape."""
        return b.reshape(inputs[0], b.shape)


def _listed(value: Any) -> Any:
    """Sizes as a list: torch refuses a single integer here."""
    if not isinstance(value, list | tuple):
        raise wrong_type("a list of sizes", value)
    return value


def _filled(
    call: Call, wanted: Sequence[int | str], held: Sequence[Dim], parameter: str, what: str
) -> list[Dim]:
    """The wanted sizes as dims, -1 filled in, so that together they hold the elements of `held`."""
    sizes = [dimension(call, size, parameter) for size in wanted]
    total = product(held)
    where: dict[str, Any] = {"parameter": parameter}
    unknown = [i for i, size in enumerate(sizes) if size == -1]
    if len(unknown) > 1:
        call.fail(f"only one size can be -1, got {format_shape(sizes)}", code="wrong-shape", **where)
    for i, size in enumerate(sizes):
        if i not in unknown:
            message = f"sizes must not be negative, got {format_shape(sizes)}"
            call.require(at_least(size, 0), message, code="wrong-shape", **where)
    known = product(size for i, size in enumerate(sizes) if i not in unknown)
    if not unknown:
        message = f"{what} has {total} elements, {parameter} {format_shape(sizes)} has {known}"
        call.require(equal(*_cancelled(sizes, held)), message, code="shape-mismatch", **where)
        return sizes
    message = f"-1 in {parameter} {format_shape(sizes)} is ambiguous when the other sizes hold no elements"
    call.require(at_least(known, 1), message, code="wrong-shape", **where)
    message = f"{what} has {total} elements, which {parameter} {format_shape(sizes)} cannot divide evenly"
    call.require(divisible(total, known), message, code="shape-mismatch", **where)
    sizes[unknown[0]] = total // known
    return sizes


def _cancelled(sizes: Sequence[Dim], held: Sequence[Dim]) -> tuple[Dim, Dim]:
    """Both products without the symbolic sizes that stand on both sides.

    An empty axis would make any two products equal; the condition that people want to read is the one for
    sizes of at least 1. Shapes with numbers put in are compared as they are.
    """
    left, right = list(sizes), list(held)
    for size in sizes:
        if not isinstance(size, int) and size in right:
            left.remove(size)
            right.remove(size)
    return product(left), product(right)


class Squeeze(_Function, type="squeeze"):
    """Drops axes of size 1, all or those named; an axis of another size stays: (*, 1, *) -> (*, *).

    Example: `{type: squeeze, dim: 1}`
    """

    dim: Axes | None = None
    """Axis or axes to drop; null: every axis of size 1."""

    def infer(self, call: Call) -> TensorType:
        """Without the named axes of size 1."""
        x = call.x
        dropped = [axis for axis in _axes(call, self.dim, x.rank) if self._is_one(call, x, axis)]
        return x.with_shape(*(size for axis, size in enumerate(x.shape) if axis not in dropped))

    def _is_one(self, call: Call, x: TensorType, axis: int) -> bool:
        if x.rank == 0:
            return False
        size = x.shape[axis]
        one = equal(size, 1)
        if one is False or forced(call, any_of(equal(size, 0), at_least(size, 2))):
            return False
        if not forced(call, one):
            call.fail(
                f"whether axis {axis} of {x} is dropped depends on {size}: it is only where {size} is 1",
                code="symbolic-size",
                parameter=None if self.dim is None else "dim",
                help="name the axes to drop with dim"
                if self.dim is None
                else "use reshape, or write a number",
            )
        return True

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """A reshape."""
        return b.reshape(inputs[0], b.shape)


class Unsqueeze(_Function, type="unsqueeze"):
    """Inserts an axis of size 1: (*, *) -> (*, 1, *).

    Example: `{type: unsqueeze, dim: 1}`
    """

    dim: Axis
    """Place of the new axis in the output."""

    def infer(self, call: Call) -> TensorType:
        """One axis more."""
        axis = call.axis(self.dim, call.x.rank + 1)
        return call.x.with_shape(*call.x.shape[:axis], 1, *call.x.shape[axis:])

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """A reshape."""
        return b.reshape(inputs[0], b.shape)


# --- axes in another order --------------------------------------------------------------------------


class Permute(_Function, type="permute"):
    """Axes in another order: output axis i is input axis dims[i].

    Example: `{type: permute, dims: [0, 2, 3, 1]}`
    """

    dims: IntegerList
    """Input axis for each output axis."""

    def infer(self, call: Call) -> TensorType:
        """The sizes in the new order."""
        x = call.x
        if len(self.dims) != x.rank:
            call.fail(
                f"dims names {len(self.dims)} axes, the input has {x.rank}: {x}",
                code="wrong-length",
                parameter="dims",
            )
        return x.with_shape(*(x.shape[axis] for axis in _axes(call, self.dims, x.rank, "dims")))

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """A transposition."""
        return b.transpose(inputs[0], [axis % inputs[0].rank for axis in self.dims])


class Transpose(_Function, type="transpose"):
    """Two axes exchanged: (*, a, *, b, *) -> (*, b, *, a, *).

    Example: `{type: transpose, dim0: 1, dim1: 2}`
    """

    dim0: Axis
    """One axis."""
    dim1: Axis
    """The other."""

    def infer(self, call: Call) -> TensorType:
        """The two sizes exchanged."""
        x = call.x
        call.axis(self.dim0, x.rank, "dim0")
        call.axis(self.dim1, x.rank, "dim1")
        return x.with_shape(*(x.shape[axis] for axis in self._order(x.rank)))

    def _order(self, rank: int) -> list[int]:
        order = list(range(rank))
        if rank:
            order[self.dim0], order[self.dim1] = order[self.dim1], order[self.dim0]
        return order

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """A transposition."""
        return b.transpose(inputs[0], self._order(inputs[0].rank))


def _axes(call: Call, dims: int | tuple[int, ...] | None, rank: int, parameter: str = "dim") -> list[int]:
    """The named axes (None: all), counted from the front, each once."""
    if dims is None:
        return list(range(rank))
    axes = [call.axis(dim, rank, parameter) for dim in (dims if isinstance(dims, tuple) else (dims,))]
    if len(set(axes)) < len(axes):
        call.fail(f"{parameter} names an axis twice: {list(dims)}", code="wrong-axes", parameter=parameter)  # type: ignore[arg-type]
    return axes


# --- joining and cutting ----------------------------------------------------------------------------


class Cat(_Function, type="cat"):
    """Tensors one after the other along an axis: (*, a, *), (*, b, *) -> (*, a + b, *).

    Example: `{type: cat, inputs: [up4, skip4], dim: 1}`
    """

    arity: ClassVar = (1, None)
    input_names: ClassVar = ("tensors",)

    dim: Axis = 0
    """Axis along which they follow each other."""

    def infer(self, call: Call) -> TensorType:
        """The sizes along dim add up, the others must agree; tensors of shape [0] count by dtype only."""
        for index, tensor in enumerate(call.inputs):
            if tensor.rank == 0:
                call.fail("a 0-d tensor cannot be concatenated", code="wrong-rank", inputs=(index,))
        dtype = promote_all([tensor.dtype for tensor in call.inputs])
        parts = [(i, tensor) for i, tensor in enumerate(call.inputs) if tensor.shape != (0,)]
        if not parts:
            return TensorType((0,), dtype)
        first, head = parts[0]
        axis = call.axis(self.dim, head.rank)
        for index, tensor in parts[1:]:
            if tensor.rank != head.rank:
                call.fail(
                    f"tensors to concatenate need the same number of axes, got {head} and {tensor}",
                    code="wrong-rank",
                    inputs=(first, index),
                )
            for place, (size, wanted) in enumerate(zip(tensor.shape, head.shape, strict=True)):
                if place != axis:
                    call.require(
                        equal(size, wanted),
                        f"sizes must agree except on axis {axis}: {head} and {tensor} differ on axis {place}",
                        code="shape-mismatch",
                        inputs=(first, index),
                    )
        total: Dim = 0
        for _, tensor in parts:
            total = total + tensor.shape[axis]
        return TensorType((*head.shape[:axis], total, *head.shape[axis + 1 :]), dtype)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One concatenation in the promoted dtype."""
        dtype = b.outputs[0].dtype
        parts = [b.cast(x, dtype) for x in inputs if x.shape != (0,)] or [b.cast(inputs[0], dtype)]
        if len(parts) == 1:
            return parts[0]
        return b.emit(Concat(self.dim % parts[0].rank), *parts)


class Stack(_Function, type="stack"):
    """Tensors of one shape side by side along a new axis: (*, *), (*, *) -> (*, 2, *).

    Example: `{type: stack, inputs: [left, right], dim: 1}`
    """

    arity: ClassVar = (1, None)
    input_names: ClassVar = ("tensors",)

    dim: Axis = 0
    """Place of the new axis in the output."""

    def infer(self, call: Call) -> TensorType:
        """One axis more, as long as there are tensors."""
        head = call.x
        axis = call.axis(self.dim, head.rank + 1)
        for index, tensor in enumerate(call.inputs[1:], 1):
            message = f"tensors to stack need the same shape, got {head} and {tensor}"
            where: dict[str, Any] = {"code": "shape-mismatch", "inputs": (0, index)}
            if tensor.rank != head.rank:
                call.fail(message, **where)
            for size, wanted in zip(tensor.shape, head.shape, strict=True):
                call.require(equal(size, wanted), message, **where)
        shape = (*head.shape[:axis], len(call.inputs), *head.shape[axis:])
        return TensorType(shape, promote_all([tensor.dtype for tensor in call.inputs]))

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """Each with an axis of size 1, concatenated."""
        dtype, axis = b.outputs[0].dtype, self.dim % len(b.shape)
        shape = (*b.shape[:axis], 1, *b.shape[axis + 1 :])
        parts = [b.reshape(b.cast(x, dtype), shape) for x in inputs]
        return parts[0] if len(parts) == 1 else b.emit(Concat(axis), *parts)


class _Cut(_Function):
    """split and chunk: consecutive pieces along an axis `dim`, on ports 0, 1, ..."""

    def ports(self) -> tuple[str, ...] | None:
        """As many as there are pieces."""
        return None

    def infer(self, call: Call) -> tuple[TensorType, ...]:
        """The input's shape with each piece's size along dim."""
        x = call.x
        if x.rank == 0:
            call.fail(f"{self.type_name} needs at least one axis, got a 0-d tensor", code="wrong-rank")
        axis = call.axis(self.dim, x.rank)  # type: ignore[attr-defined]
        sizes = self._sizes(call, x.shape[axis], f"axis {axis} of {x}")
        return tuple(x.with_shape(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes)

    def _sizes(self, call: Call, size: Dim, what: str) -> Sequence[Dim]:
        raise NotImplementedError

    def lower(self, b: Builder, *inputs: Value) -> Sequence[Value]:
        """One slice a piece."""
        x = inputs[0]
        axis = self.dim % x.rank  # type: ignore[attr-defined]
        pieces: list[Value] = []
        start = 0
        for spec in b.outputs:
            stop = start + spec.shape[axis]
            pieces.append(b.emit(Slice(axis, start, stop), x, shape=spec.shape))
            start = stop
        return pieces


class Split(_Cut, type="split"):
    """Cuts an axis into pieces of a given size, or of the sizes listed; ports 0, 1, ...

    Example: `{type: split, split_size_or_sections: [64, 32], dim: 1}`
    """

    split_size_or_sections: Axes
    """Size of every piece (the last may be smaller), or the list of all sizes."""
    dim: Axis = 0
    """Axis that is cut."""

    @field_validator("split_size_or_sections")
    @classmethod
    def _not_negative(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        sizes = value if isinstance(value, tuple) else (value,)
        if any(size < 0 for size in sizes):
            raise out_of_range("sizes >= 0", list(sizes) if isinstance(value, tuple) else value)
        if not sizes:
            raise out_of_range("at least one size", [])
        return value

    def _sizes(self, call: Call, size: Dim, what: str) -> Sequence[Dim]:
        wanted = self.split_size_or_sections
        where: dict[str, Any] = {"parameter": "split_size_or_sections"}
        if isinstance(wanted, tuple):
            total = sum(wanted)
            message = f"the sections {list(wanted)} add up to {total}, but {what} has size {size}"
            call.require(equal(size, total), message, code="shape-mismatch", **where)
            return wanted
        if not isinstance(size, int):
            call.fail(
                f"the number of pieces depends on {size}, the size of {what}",
                code="symbolic-size",
                help="list the sizes of the pieces",
                **where,
            )
        if wanted == 0 and size != 0:
            call.fail(f"pieces of size 0 cannot make up {what}, of size {size}", code="out-of-range", **where)
        if size == 0:
            return (0,)
        return [min(wanted, size - start) for start in range(0, size, wanted)]


class Chunk(_Cut, type="chunk"):
    """Cuts an axis into at most `chunks` pieces of equal size, the last maybe smaller; ports 0, 1, ...

    Example: `{type: chunk, chunks: 2, dim: 1}`
    """

    chunks: Count
    """Number of pieces; a size that does not divide may give fewer, as in torch."""
    dim: Axis = 0
    """Axis that is cut."""

    def _sizes(self, call: Call, size: Dim, what: str) -> Sequence[Dim]:
        chunks: int = self.chunks
        if size == 0:
            return (0,) * chunks
        if isinstance(size, int):
            piece = -(-size // chunks)
            return [min(piece, size - start) for start in range(0, size, piece)]
        if forced(call, divisible(size, chunks)):
            return (size // chunks,) * chunks
        call.fail(
            f"the number of pieces depends on {size}, the size of {what}: it may not divide by {chunks}",
            code="symbolic-size",
            parameter="chunks",
            help="list the sizes of the pieces with split, or write a size that is a multiple",
        )


# --- padding ----------------------------------------------------------------------------------------

_RANKS = {2: (2, 3), 4: (3, 4), 6: (4, 5)}
"""Length of `pad` -> numbers of axes that modes other than constant take."""


class PadFunction(_Function, type="pad"):
    """Widens (or, with negative amounts, crops) axes from the last one on: (*, W) -> (*, before + W + after).

    Example: `{type: pad, pad: [1, 1, 2, 2], mode: reflect}`
    """

    source: ClassVar = "https://pytorch.org/docs/stable/generated/torch.nn.functional.pad.html"

    pad: IntegerList
    """Amounts before and after the last axis, then before and after the one before it, and so on."""
    mode: choice("constant", "reflect", "replicate", "circular") = "constant"  # type: ignore[valid-type]
    """What the padding holds."""
    value: Number | None = None
    """What constant padding holds; null: 0."""

    @field_validator("pad")
    @classmethod
    def _pairs(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(value) % 2:
            raise PydanticCustomError(
                "wrong-length",
                "pad has two amounts an axis, got {count} values",
                {"count": len(value)},
            )
        return value

    def infer(self, call: Call) -> TensorType:
        """Each axis grows by its two amounts."""
        x = call.x
        where: dict[str, Any] = {"parameter": "pad"}
        axes = len(self.pad) // 2
        if self.mode == "constant":
            if axes > x.rank:
                call.fail(
                    f"pad has amounts for {axes} axes, the input has {x.rank}: {x}",
                    code="wrong-rank",
                    **where,
                )
            if self.value is not None:
                need_fit(call, self.value, x.dtype, "value")
        else:
            self._check_mode(call, x)
        shape = list(x.shape)
        for place, (before, after) in self._amounts(x.rank):
            size = shape[place]
            shape[place] = size + before + after
            self._check_axis(call, size, before, after, place, where)
        return x.with_shape(*shape)

    def _amounts(self, rank: int) -> list[tuple[int, tuple[int, int]]]:
        """(axis, (before, after)) of each padded axis, the last first."""
        return [(rank - 1 - i // 2, (self.pad[i], self.pad[i + 1])) for i in range(0, len(self.pad), 2)]

    def _check_mode(self, call: Call, x: TensorType) -> None:
        if self.value:
            call.fail(
                f"{self.mode} padding takes no value, got {self.value}",
                code="unused-value",
                parameter="value",
            )
        if x.rank not in _RANKS.get(len(self.pad), ()):
            allowed = ", ".join(f"{n} amounts for {a}-D or {b}-D input" for n, (a, b) in _RANKS.items())
            call.fail(
                f"{self.mode} padding takes {allowed}; got {len(self.pad)} for a {x.rank}-D {x}",
                code="wrong-rank",
                parameter="pad",
            )
        if self.mode != "circular":
            batch = x.rank - len(self.pad) // 2 - 1
            for axis, size in enumerate(x.shape[batch:], batch):
                message = (
                    f"{self.mode} padding needs sizes >= 1 behind the batch, axis {axis} of {x} is {size}"
                )
                call.require(at_least(size, 1), message, code="empty-axis")

    def _check_axis(
        self, call: Call, size: Dim, before: int, after: int, axis: int, where: dict[str, Any]
    ) -> None:
        """Refuse amounts that this axis does not have."""
        kept = size + min(before, 0) + min(after, 0)
        widest = max(before, after)
        message = f"padding [{before}, {after}] is too much for axis {axis} of size {size}"
        if self.mode == "constant":
            call.require(
                at_least(kept, 0), f"{message}: it crops more than there is", code="empty-output", **where
            )
            return
        if self.mode == "reflect":
            ok = at_most(widest, size - 1)
            call.require(
                ok, f"{message}: reflect needs less than the size", code="padding-too-large", **where
            )
        elif self.mode == "circular":
            ok = at_least(kept, max(widest, 0))
            call.require(
                ok, f"{message}: circular goes round once at most", code="padding-too-large", **where
            )
            return
        call.require(
            at_least(size + before + after, 1), f"{message}: nothing is left", code="empty-output", **where
        )

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One padding."""
        x = inputs[0]
        widths = [(0, 0)] * x.rank
        for axis, amounts in self._amounts(x.rank):
            widths[axis] = amounts
        if not any(map(any, widths)):
            return x
        mode: Literal["constant", "reflect", "replicate", "circular"] = self.mode
        value = self.value or 0.0
        return b.emit(Pad(tuple(widths), mode, int(value) if "int" in x.dtype else value), x)
