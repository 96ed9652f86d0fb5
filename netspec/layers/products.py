"""Products of tensors: matmul, bmm, einsum.

Source: torch.matmul, torch.bmm, torch.einsum.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters
from typing import Annotated, Any, ClassVar

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from netspec.layers.base import Call, _Function
from netspec.layers.broadcasting import broadcast
from netspec.layers.parameters import wrong_type
from netspec.layers.tensor import TensorType, is_inexact, promote_all
from netspec.operations import Einsum as EinsumOperation
from netspec.operations import MatMul
from netspec.program.builder import Builder, Value
from netspec.symbolic import Dim, equal, product


class _Product(_Function):
    """matmul and bmm."""

    arity: ClassVar = (2, 2)
    input_names: ClassVar = ("input", "other")

    def _common_dtype(self, call: Call) -> str:
        a, b = call.inputs
        if a.dtype != b.dtype:
            message = f"both tensors need the same dtype, got {a.dtype} and {b.dtype}"
            call.fail(message, code="dtype-mismatch", inputs=(0, 1))
        if a.dtype == "bool":
            call.fail(f"{self.type_name} does not take bool", code="wrong-dtype", inputs=(0, 1))
        return a.dtype

    def _inner(self, call: Call, left: Dim, right: Dim) -> None:
        a, b = call.inputs
        call.require(
            equal(left, right),
            f"the last axis of {a} ({left}) must match the first axis of the matrix in {b} ({right})",
            code="shape-mismatch",
            inputs=(0, 1),
        )

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """Output elements times the size that is summed."""
        return product(outputs[0].shape) * inputs[0].shape[-1]

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One matrix product."""
        return b.emit(MatMul(), *inputs)


class Matmul(_Product, type="matmul"):
    """Matrix product over the last two axes, those before broadcast: (*, n, k), (*, k, m) -> (*, n, m).

    Example: `{type: matmul, inputs: [queries, keys]}`
    """

    def infer(self, call: Call) -> TensorType:
        """A 1-D operand is a row on the left, a column on the right; its axis vanishes."""
        a, b = call.inputs
        for index, tensor in enumerate(call.inputs):
            if tensor.rank == 0:
                call.fail(
                    "matmul needs at least one axis, got a 0-d tensor", code="wrong-rank", inputs=(index,)
                )
        dtype = self._common_dtype(call)
        self._inner(call, a.shape[-1], b.shape[-2] if b.rank > 1 else b.shape[-1])
        batch = broadcast(call, a.shape[:-2], b.shape[:-2])
        return TensorType((*batch, *a.shape[-2:-1], *(b.shape[-1:] if b.rank > 1 else ())), dtype)


class Bmm(_Product, type="bmm"):
    """Matrix product of two batches, without broadcasting: (N, n, k), (N, k, m) -> (N, n, m).

    Example: `{type: bmm, inputs: [weights, values]}`
    """

    input_names: ClassVar = ("input", "mat2")

    def infer(self, call: Call) -> TensorType:
        """(N, n, k), (N, k, m) -> (N, n, m)."""
        a = call.need_rank(3, axes="(N, n, k)", index=0)
        b = call.need_rank(3, axes="(N, k, m)", index=1)
        dtype = self._common_dtype(call)
        call.require(
            equal(a.shape[0], b.shape[0]),
            f"both batches must have the same size, got {a.shape[0]} and {b.shape[0]}",
            code="shape-mismatch",
            inputs=(0, 1),
        )
        self._inner(call, a.shape[2], b.shape[1])
        return TensorType((a.shape[0], a.shape[1], b.shape[2]), dtype)


# --- einsum -----------------------------------------------------------------------------------------


def _equation(value: Any) -> str:
    """An equation whose letters and ellipses are in order; spaces are dropped."""
    if not isinstance(value, str):
        raise wrong_type('an equation such as "ij,jk->ik"', value)
    text = value.replace(" ", "")
    left, arrow, right = text.partition("->")
    for part in [*left.split(","), right]:
        if not re.fullmatch(r"[A-Za-z]*(\.\.\.[A-Za-z]*)?", part):
            raise PydanticCustomError(
                "wrong-equation",
                "subscripts are letters and at most one ... for each tensor, got {part}",
                {"part": f'"{part}"', "help": 'for example "bhqd,bhkd->bhqk" or "...ij->...ji"'},
            )
    letters = right.replace("...", "")
    for letter in letters:
        if letters.count(letter) > 1:
            raise PydanticCustomError(
                "wrong-equation", "{letter} appears twice in the output", {"letter": letter}
            )
        if arrow and letter not in left:
            raise PydanticCustomError(
                "wrong-equation", "{letter} is in the output, but in no input", {"letter": letter}
            )
    return text


Equation = Annotated[str, PlainValidator(_equation), WithJsonSchema({"type": "string"})]


@dataclass(frozen=True)
class _Subscripts:
    """An equation with a letter for every axis: one text for each input, and the output's."""

    inputs: tuple[str, ...]
    output: str


class Einsum(_Function, type="einsum"):
    """Einstein summation: multiplies along shared letters and sums over those missing on the right.

    Example: `{type: einsum, inputs: [queries, keys], equation: "bhqd,bhkd->bhqk"}`
    """

    arity: ClassVar = (1, None)
    input_names: ClassVar = ("operands",)

    equation: Equation
    """A letter for each axis, inputs separated by commas; ... stands for any axes, -> may be left out."""

    def infer(self, call: Call) -> TensorType:
        """One axis for each letter of the output."""
        subscripts = self._subscripts([t.rank for t in call.inputs], call)
        sizes = self._sizes(call, subscripts)
        return TensorType(tuple(sizes[letter] for letter in subscripts.output), self._dtype(call, subscripts))

    def _subscripts(self, ranks: Sequence[int], call: Call | None = None) -> _Subscripts:
        """Ellipses written out in unused letters, the implicit output in alphabetical order."""
        left, arrow, right = self.equation.partition("->")
        parts = left.split(",")
        if call is not None:
            self._check_counts(call, parts, ranks)
        hidden = [
            rank - len(part) + 3 if "..." in part else 0 for part, rank in zip(parts, ranks, strict=True)
        ]
        unused = [letter for letter in ascii_letters if letter not in self.equation]
        most = max(hidden)
        if call is not None and most > len(unused):
            call.fail(f"... stands for {most} axes, more than there are letters left", code="wrong-rank")
        spelled = "".join(unused[:most])
        inputs = tuple(
            part.replace("...", spelled[most - count :]) for part, count in zip(parts, hidden, strict=True)
        )
        if arrow:
            return _Subscripts(inputs, right.replace("...", spelled))
        letters = "".join(parts).replace("...", "").replace(".", "")
        # torch's order of an implicit output: the ellipsis, then letters that appear once, A-Z before a-z
        once = "".join(sorted(letter for letter in letters if letters.count(letter) == 1))
        return _Subscripts(inputs, spelled + once)

    def _check_counts(self, call: Call, parts: list[str], ranks: Sequence[int]) -> None:
        where: dict[str, Any] = {"parameter": "equation"}
        if len(parts) != len(ranks):
            call.fail(
                f"the equation is for {len(parts)} tensors, got {len(ranks)}", code="wrong-arity", **where
            )
        for index, (part, rank) in enumerate(zip(parts, ranks, strict=True)):
            letters = len(part.replace("...", ""))
            if letters > rank or (letters < rank and "..." not in part):
                call.fail(
                    f'"{part}" is for {letters} axes{" or more" if "..." in part else ""}, '
                    f"the tensor has {rank}: {call.inputs[index]}",
                    code="wrong-rank",
                    inputs=(index,),
                    **where,
                )

    def _sizes(self, call: Call, subscripts: _Subscripts) -> dict[str, Dim]:
        """The size of each letter, sizes of 1 broadcast between tensors."""
        found: dict[str, tuple[int, Dim]] = {}
        for index, (letters, tensor) in enumerate(zip(subscripts.inputs, call.inputs, strict=True)):
            own: dict[str, Dim] = {}
            for letter, size in zip(letters, tensor.shape, strict=True):
                if letter in own:
                    call.require(
                        equal(own[letter], size),
                        f'"{letters}" repeats {letter}, but its sizes are {own[letter]} and {size}: {tensor}',
                        code="shape-mismatch",
                        parameter="equation",
                        inputs=(index,),
                    )
                own.setdefault(letter, size)
            for letter, size in own.items():
                earlier, so_far = found.get(letter, (index, size))
                (common,) = broadcast(call, (so_far,), (size,), inputs=(earlier, index))
                found[letter] = (index if so_far == 1 else earlier, common)
        # An ellipsis only in the output stands for no axes.
        return {letter: size for letter, (_, size) in found.items()}

    def _dtype(self, call: Call, subscripts: _Subscripts) -> str:
        """Promoted, but a sum over a shared letter needs one dtype; integers summed alone give int64."""
        dtypes = [tensor.dtype for tensor in call.inputs]
        dtype = promote_all(dtypes)
        holders = {
            letter: sum(letter in part for part in subscripts.inputs)
            for letter in set("".join(subscripts.inputs)) - set(subscripts.output)
        }
        if any(count > 1 for count in holders.values()):
            if len(set(dtypes)) > 1:
                call.fail(
                    f"tensors that are summed together need one dtype, got {', '.join(dtypes)}",
                    code="dtype-mismatch",
                    inputs=range(len(dtypes)),
                )
            if dtype == "bool":
                call.fail("products of bool cannot be summed", code="wrong-dtype")
        return "int64" if 1 in holders.values() and not is_inexact(dtype) else dtype

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """All letters' sizes multiplied, for each tensor after the first."""
        subscripts = self._subscripts([t.rank for t in inputs])
        sizes: dict[str, Dim] = {}
        for letters, tensor in zip(subscripts.inputs, inputs, strict=True):
            for letter, size in zip(letters, tensor.shape, strict=True):
                if sizes.get(letter, 1) == 1:
                    sizes[letter] = size
        return product(sizes.values()) * (len(inputs) - 1)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One summation; axes of size 1 that broadcast are dropped first."""
        subscripts = self._subscripts([x.rank for x in inputs])
        dtype = b.outputs[0].dtype
        full: dict[str, int] = {}
        for letters, x in zip(subscripts.inputs, inputs, strict=True):
            for letter, size in zip(letters, x.shape, strict=True):
                full[letter] = size if full.get(letter, 1) == 1 else full[letter]
        parts: list[str] = []
        operands: list[Value] = []
        for letters, x in zip(subscripts.inputs, inputs, strict=True):
            kept = [i for i, letter in enumerate(letters) if x.shape[i] == full[letter]]
            parts.append("".join(letters[i] for i in kept))
            operands.append(b.cast(b.reshape(x, [x.shape[i] for i in kept]), dtype))
        return b.emit(EinsumOperation(f"{','.join(parts)}->{subscripts.output}"), *operands)
