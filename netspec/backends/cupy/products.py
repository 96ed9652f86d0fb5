"""Matrix products and Einstein summation.

Everything here is a sum of products of terms whose axes have letters. Two terms become one batched product of
cuBLAS: letters of both and the result are its batch, of one and the result its rows or columns, of both alone what
is summed. Terms that no leading dimension describes are copied first where that costs less than more launches.
Whole numbers, products without a sum and small awkward ones have a kernel of their own (kernels/products.cu).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.cupy.arguments import LABELS, TERMS
from netspec.backends.cupy.chains import Chain, Link, along_axis, bind_chain, copy, stage_links
from netspec.backends.cupy.launching import (
    THREADS,
    WAVES,
    described,
    held,
    launch,
    outer_loops,
    scratch,
    sequence,
)
from netspec.backends.cupy.layout import joined
from netspec.backends.cupy.registry import ended, kernel
from netspec.backends.cupy.rows import ENOUGH, reduced
from netspec.operations import RUNNING, Einsum, Linear, MatMul, Stage

LIBRARY_TYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
"""What cuBLAS multiplies."""

LAUNCH, BYTES = 3e-6, 2e12
"""Seconds that one more launch costs, and bytes that a copy moves in a second: what a plan is chosen by."""

AWKWARD = 1 << 18
"""Products of so few multiplications are left to one launch of the own kernel where the library needs several."""

DOT = 1 << 12
"""Sums of so many terms are worth no tile of a matrix product if each stands alone."""

FEW_TERMS = 8
"""Terms of a sum that a thread adds at least before others share it."""

MOST_ROUNDS = 256
"""Calls of the library that one product is worth at most."""

LARGEST = np.iinfo(np.int32).max
"""Sizes and leading dimensions are ints in the library."""

Letter = Any
"""A name of an axis: a character or a number."""


@dataclass(frozen=True)
class Term:
    """An array and its elements' steps along letters; letters of size 1 are left out."""

    array: Array
    steps: Mapping[Letter, int]

    def has(self, letter: Letter) -> bool:
        """Whether the letter is one of its axes."""
        return letter in self.steps


@dataclass(frozen=True)
class Run:
    """Letters that are one axis in the result and both terms: its size and steps, 0 in what lacks it."""

    size: int
    out: int
    left: int
    right: int


@dataclass(frozen=True)
class Plan:
    """One way to call the library.

    copies: which of left, right and the result (0, 1, 2) are copies, with letters in these orders. sizes: rows,
    columns and terms of a sum; left, right: whether they lie turned, their leading dimension, the step from one
    matrix to the next; rounds: (left, right, result) offsets in elements, one call each. swapped: the result lies
    turned, so that its columns are the rows of the product of the turned terms, in the other order.
    """

    sizes: tuple[int, int, int]
    left: tuple[bool, int, int]
    right: tuple[bool, int, int]
    out: tuple[int, int]
    swapped: bool
    count: int
    rounds: list[tuple[int, int, int]]
    copies: tuple[int, ...] = ()
    orders: Mapping[str, Sequence[Letter]] = field(default_factory=dict)
    cost: float = 0.0


class Maker:
    """Makes the kernels of one operation; scratch arrays of one operation are apart, those of several are shared."""

    def __init__(self, context: Context, sizes: Mapping[Letter, int]) -> None:
        self.context = context
        self.sizes = {letter: size for letter, size in sizes.items() if size != 1}
        self.kernels: list[Kernel] = []
        self.made = 0

    # --- terms --------------------------------------------------------------------------------------

    def term(self, array: Array, letters: Sequence[Letter]) -> Term:
        """An array with a letter for each axis; the steps of repeated ones add up, which walks the diagonal."""
        steps: dict[Letter, int] = {}
        for letter, size, step in zip(letters, array.shape, array.strides, strict=True):
            if size != 1:
                steps[letter] = steps.get(letter, 0) + step // array.itemsize
        return Term(array, steps)

    def fresh(self, letters: Sequence[Letter], dtype: Any) -> Term:
        """A contiguous array in scratch memory, its letters from the longest step to the shortest."""
        self.made += 1
        shape = [self.sizes[letter] for letter in letters]
        array = scratch(self.context, f"term {self.made}", shape, dtype)
        return Term(array, _contiguous(letters, self.sizes))

    def view(self, term: Term, letters: Sequence[Letter]) -> Array:
        """The array with an axis for each of these letters, in this order."""
        size = term.array.itemsize
        device = self.context.session.device
        shape = [self.sizes.get(letter, 1) for letter in letters]
        return device.strided(term.array, shape, [term.steps.get(letter, 0) * size for letter in letters])

    def copied(self, term: Term, letters: Sequence[Letter]) -> Term:
        """A contiguous copy."""
        result = self.fresh(letters, term.array.dtype)
        self.kernels.append(copy(result.array, self.view(term, letters), self.context))
        return result

    def work(self, *terms: Term) -> int:
        """The product of the sizes of all letters."""
        return math.prod(self.sizes[letter] for letter in self.letters(*terms))

    def letters(self, *terms: Term) -> list[Letter]:
        """All letters, each once."""
        return list(dict.fromkeys(letter for term in terms for letter in term.steps))

    # --- products -----------------------------------------------------------------------------------

    def multiply(self, terms: Sequence[Term], out: Term, exact: bool = True) -> Term:
        """Kernels for `out` as the sum of the products of the terms; the term that has it.

        exact: that is `out` itself, else it may be scratch memory that is still to be copied.
        """
        if out.array.size == 0:
            return out
        if len(terms) == 1:
            return self._single(terms[0], out)
        for term in terms:
            if any(self.sizes[letter] == 0 for letter in term.steps):
                return self._own((term,), out)  # a sum of nothing is 0
        if self.work(*terms) > AWKWARD:
            terms = [self._summed_alone(i, terms, out) for i in range(len(terms))]
        if len(terms) == 2 and str(out.array.dtype) in LIBRARY_TYPES:
            return self._by_library(terms[0], terms[1], out, exact)
        if len(terms) <= TERMS:
            return self._own(terms, out)
        pair = terms[:2]
        needed = {*out.steps, *self.letters(*terms[2:])}
        between = self.fresh([x for x in self.letters(*pair) if x in needed], out.array.dtype)
        return self.multiply([self.multiply(pair, between), *terms[2:]], out, exact)

    def _single(self, term: Term, out: Term) -> Term:
        """Sums over the letters that the result lacks, or a copy of the diagonal that is left."""
        kept = [letter for letter in term.steps if out.has(letter)]
        gone = [letter for letter in term.steps if not out.has(letter)]
        source, target = self.view(term, [*kept, *gone]), self.view(out, kept)
        if not gone:
            self.kernels.append(copy(target, source, self.context))
        else:
            axes = range(len(kept), len(kept) + len(gone))
            self.kernels.append(reduced("rows_sum", source, [target], axes, self.context, divisor=1))
        return out

    def _summed_alone(self, number: int, terms: Sequence[Term], out: Term) -> Term:
        """A term summed over the letters that only it has."""
        term = terms[number]
        others = {*out.steps, *self.letters(*terms[:number], *terms[number + 1 :])}
        kept = [letter for letter in term.steps if letter in others]
        if len(kept) == len(term.steps):
            return term
        kept.sort(key=lambda letter: -abs(term.steps[letter]))
        return self._single(term, self.fresh(kept, term.array.dtype))

    def _by_library(self, left: Term, right: Term, out: Term, exact: bool) -> Term:
        """A matrix product, or the own kernel where that is no more than it does as well."""
        alone = [x for x in self.letters(left, right) if not out.has(x) and left.has(x) != right.has(x)]
        best = None if alone else min(self._plans(left, right, out), key=lambda plan: plan.cost, default=None)
        if best is None:
            return self._own((left, right), out)
        m, n, k = best.sizes
        awkward = bool(best.copies) or len(best.rounds) > 1
        if k == 1 or (m == n == 1 and k <= DOT) or (awkward and self.work(left, right) <= AWKWARD):
            return self._own((left, right), out)
        return self._run(best, left, right, out, exact)

    def _run(self, plan: Plan, left: Term, right: Term, out: Term, exact: bool) -> Term:
        batch, rows, columns, summed = (plan.orders[name] for name in ("batch", "rows", "columns", "summed"))
        if 0 in plan.copies:
            left = self.copied(left, [*batch, *rows, *summed])
        if 1 in plan.copies:
            right = self.copied(right, [*batch, *columns, *summed])
        result = self.fresh([*batch, *rows, *columns], out.array.dtype) if 2 in plan.copies else out
        for at in plan.rounds:
            x, y, z = (
                term.array.data.ptr + offset * out.array.itemsize
                for term, offset in zip((left, right, result), at, strict=True)
            )
            kernel = self._call(plan, str(out.array.dtype), x, y, z)
            self.kernels.append(held(kernel, left.array, right.array, result.array))
        if result is out or not exact:
            return result
        letters = list(out.steps)
        self.kernels.append(copy(self.view(out, letters), self.view(result, letters), self.context))
        return out

    def _call(self, plan: Plan, dtype: str, left: int, right: int, out: int) -> Kernel:
        """One call of the library on these addresses."""
        multiply = self.context.session.device.multiply
        m, n, k = plan.sizes
        first, second = (left, *plan.left), (right, *plan.right)
        if plan.swapped:
            m, n = n, m
            first, second = _turned(second), _turned(first)
        call: Kernel = multiply(dtype, (m, n, k), first, second, (out, *plan.out), plan.count)
        return call

    # --- the library --------------------------------------------------------------------------------

    def _plans(self, left: Term, right: Term, out: Term) -> Iterator[Plan]:
        """The ways to have it done, by what is copied and whose rows are the result's."""
        for count in range(4):
            for copies in itertools.combinations(range(3), count):
                plan = self._plan(left, right, out, copies)
                if plan is not None:
                    yield plan

    def _plan(self, left: Term, right: Term, out: Term, copies: tuple[int, ...]) -> Plan | None:
        orders = self._orders(left, right, out, copies)
        batch, rows, columns, summed = (orders[name] for name in ("batch", "rows", "columns", "summed"))
        if 0 in copies:
            left = Term(left.array, _contiguous([*batch, *rows, *summed], self.sizes))
        if 1 in copies:
            right = Term(right.array, _contiguous([*batch, *columns, *summed], self.sizes))
        if 2 in copies:
            out = Term(out.array, _contiguous([*batch, *rows, *columns], self.sizes))
        depth = self._runs(summed, out, left, right)
        if len(depth) > 1:
            return None  # sums of several calls' results would be needed
        moved = sum(
            2 * self.work(term) * out.array.itemsize
            for i, term in enumerate((left, right, out))
            if i in copies
        )
        cost = len(copies) * LAUNCH + moved / BYTES
        found = _best_matrices(
            [self._runs(group, out, left, right) for group in (batch, rows, columns)],
            depth[0] if depth else Run(1, 0, 0, 0),
        )
        if found is None:
            return None
        return replace(found, copies=copies, orders=orders, cost=cost + len(found.rounds) * LAUNCH)

    def _orders(self, left: Term, right: Term, out: Term, copies: Sequence[int]) -> dict[str, list[Letter]]:
        """The letters by what they are in a matrix product, each group in the order in which what stays has them."""
        batch = [x for x in out.steps if left.has(x) and right.has(x)]
        rows = [x for x in out.steps if left.has(x) and not right.has(x)]
        columns = [x for x in out.steps if right.has(x) and not left.has(x)]
        summed = [x for x in left.steps if right.has(x) and not out.has(x)]

        def sort(letters: list[Letter], *by: int) -> list[Letter]:
            leader = next((i for i in by if i not in copies), by[0])
            steps = (left, right, out)[leader].steps
            return sorted(letters, key=lambda letter: -abs(steps[letter]))

        return {"batch": sort(batch, 2, 0, 1), "rows": sort(rows, 2, 0), "columns": sort(columns, 2, 1),
                "summed": sort(summed, 0, 1)}  # fmt: skip

    def _runs(self, letters: Sequence[Letter], out: Term, left: Term, right: Term) -> list[Run]:
        """These letters as few axes as their order allows."""
        if not letters:
            return []
        steps = [[term.steps.get(letter, 0) for letter in letters] for term in (out, left, right)]
        sizes, joint = joined([self.sizes[letter] for letter in letters], steps)
        return [Run(*each) for each in zip(sizes, *joint, strict=True)]

    # --- the own kernel -----------------------------------------------------------------------------

    def _own(self, terms: Sequence[Term], out: Term) -> Term:
        """One thread an element of the result, or several that share its sum."""
        kept = sorted(out.steps, key=lambda letter: -abs(out.steps[letter]))
        gone = [letter for letter in self.letters(*terms) if not out.has(letter)]
        gone.sort(key=lambda letter: -max(abs(term.steps.get(letter, 0)) for term in terms))
        summed, summed_steps = self._joint(gone, out, *terms)
        if len(summed) > LABELS // 2:  # axes that lie anyhow become one
            terms = [self.copied(x, [i for i in (*kept, *gone) if x.has(i)]) for x in terms]
            summed, summed_steps = self._joint(gone, out, *terms)
        sizes, steps, rounds = outer_loops(*self._joint(kept, out, *terms), LABELS - len(summed))
        count, each = math.prod(sizes), math.prod(summed)
        lanes, across = self._lanes(count, each, summed_steps[1:])
        blocks = min(-(-count // (THREADS // lanes)), WAVES * self.context.session.device.processors)
        strides = [[*a, *b] for a, b in zip(steps, summed_steps, strict=True)]
        arrays = (out.array, *(term.array for term in terms))
        for offsets in rounds:
            places = [
                {**described(array, ()), "data": array.data.ptr + offset * array.itemsize}
                for array, offset in zip(arrays, offsets, strict=True)
            ]
            self.kernels.append(
                launch(
                    self.context, "products", out.array.dtype, "Products", 0, blocks=blocks, threads=THREADS,
                    shared=THREADS * 16 if lanes > 1 else 0, out=places[0], terms=places[1:],
                    term_count=len(terms), kept_rank=len(sizes), letters=len(sizes) + len(summed),
                    sizes=[*sizes, *summed], out_strides=strides[0], count=count, terms_each=each,
                    term_strides=[x for row in strides[1:] for x in (*row, *(0,) * (LABELS - len(row)))],
                    lanes=lanes, across=int(across),
                )
            )  # fmt: skip
        return out

    def _joint(
        self, letters: Sequence[Letter], *terms: Term
    ) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
        """These letters as few axes of all terms: sizes, and each term's steps."""
        if not letters:
            return (), [() for _ in terms]
        steps = [[term.steps.get(letter, 0) for letter in letters] for term in terms]
        return joined([self.sizes[letter] for letter in letters], steps)

    def _lanes(self, count: int, each: int, steps: Sequence[Sequence[int]]) -> tuple[int, bool]:
        """Threads that share a sum, and whether neighbours are of neighbouring elements rather."""
        lanes = 1
        enough = ENOUGH * self.context.session.device.processors
        while lanes < THREADS and count * lanes < enough and lanes * FEW_TERMS < each:
            lanes *= 2
        return lanes, not any(step and abs(step[-1]) == 1 for step in steps)


def _contiguous(letters: Sequence[Letter], sizes: Mapping[Letter, int]) -> dict[Letter, int]:
    """Steps of a row-major array with these axes."""
    steps: dict[Letter, int] = {}
    step = 1
    for letter in reversed(letters):
        steps[letter] = step
        step *= sizes[letter]
    return dict(reversed(steps.items()))


def _leading(rows: int, columns: int, row_step: int, column_step: int) -> tuple[bool, int] | None:
    """Whether a matrix lies turned, and its leading dimension; None where none describes it that fits an int."""
    if max(rows, columns, row_step, column_step) > LARGEST:
        return None
    if (columns == 1 or column_step == 1) and (rows == 1 or row_step >= columns):
        return False, row_step if rows > 1 else columns
    if (rows == 1 or row_step == 1) and (columns == 1 or column_step >= rows):
        return True, column_step if columns > 1 else rows
    return None


def _turned(matrix: tuple[int, bool, int, int]) -> tuple[int, bool, int, int]:
    """The same memory as the matrix with rows and columns exchanged."""
    address, turned, step, batch = matrix
    return address, not turned, step, batch


def _best_matrices(groups: Sequence[list[Run]], depth: Run) -> Plan | None:
    """The fewest calls: which run is the rows, which the columns, and what is left as batch and rounds."""
    batch, rows, columns = groups
    alone = Run(1, 0, 0, 0)
    found: list[Plan] = []
    for row, column in itertools.product(rows or [alone], columns or [alone]):
        rest = [run for run in (*batch, *rows, *columns) if run is not row and run is not column]
        plan = _matrices(row, column, depth, rest)
        if plan is not None:
            found.append(plan)
    return min(found, key=lambda plan: (len(plan.rounds), -plan.sizes[0] * plan.sizes[1]), default=None)


def _matrices(row: Run, column: Run, depth: Run, rest: list[Run]) -> Plan | None:
    """Calls with these rows and columns, if leading dimensions describe the matrices."""
    left = _leading(row.size, depth.size, row.left, depth.left)
    right = _leading(depth.size, column.size, depth.right, column.right)
    out = _leading(row.size, column.size, row.out, column.out)
    longest = max(rest, key=lambda run: run.size, default=Run(1, 0, 0, 0))
    others = [run for run in rest if run is not longest]
    if left is None or right is None or out is None or math.prod(run.size for run in others) > MOST_ROUNDS:
        return None
    rounds = [(0, 0, 0)]
    for run in others:
        rounds = [
            (x + i * run.left, y + i * run.right, z + i * run.out)
            for x, y, z in rounds
            for i in range(run.size)
        ]
    return Plan(
        (row.size, column.size, depth.size), (*left, longest.left), (*right, longest.right),
        (out[1], longest.out), out[0], longest.size, rounds,
    )  # fmt: skip


# --- the operations -----------------------------------------------------------------------------------


def _maker(context: Context, arrays: Sequence[Array], spelled: Sequence[Sequence[Letter]]) -> Maker:
    """For arrays with these letters on their axes; an axis of size 1 fits any size."""
    sizes: dict[Letter, int] = {}
    for array, letters in zip(arrays, spelled, strict=True):
        for letter, size in zip(letters, array.shape, strict=True):
            if sizes.get(letter, 1) == 1:
                sizes[letter] = size
    return Maker(context, sizes)


def _converted(maker: Maker, array: Array, dtype: Any, number: int) -> Array:
    """The array itself, or a copy in the dtype of the result."""
    if array.dtype == dtype:
        return array
    result = scratch(maker.context, f"converted {number}", array.shape, dtype)
    maker.kernels.append(copy(result, array, maker.context))
    return result


def _terms(
    context: Context, arrays: Sequence[Array], out: Array, spelled: Sequence[Sequence[Letter]]
) -> tuple[Maker, list[Term], Term]:
    """A maker, a term for each array, and the result's; spelled: the letters of each, the result's last."""
    maker = _maker(context, [*arrays, out], spelled)
    same = [_converted(maker, array, out.dtype, i) for i, array in enumerate(arrays)]
    terms = [maker.term(array, letters) for array, letters in zip(same, spelled, strict=False)]
    return maker, terms, maker.term(out, spelled[-1])


@ended(Linear)
def linear(
    op: Linear,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    context: Context,
    stages: Sequence[Stage],
    all_inputs: Sequence[Array],
) -> Kernel:
    """x (*, i), weight (o, i), [bias (o,)] -> x @ weight.T (*, o), then bias and stages in one pass over it."""
    (x, weight, *bias), (out,) = inputs, outputs
    axes = range(out.ndim - 1)
    maker, terms, target = _terms(context, (x, weight), out, ([*axes, "i"], ["o", "i"], [*axes, "o"]))
    arrays, links = stage_links(stages, all_inputs, out)
    if bias:
        links = [Link("add", (RUNNING, len(arrays))), *links]
        arrays.append(along_axis(bias[0], -1, out.ndim))
    result = maker.multiply(terms, target, exact=not links)
    if links:
        # the first link reads the product as an operand: a chain that has to be cut goes on from its output
        operands = tuple(len(arrays) if i == RUNNING else i for i in links[0].operands)
        arrays.append(out if result is target else maker.view(result, [*axes, "o"]))
        chain = Chain(tuple(arrays), (replace(links[0], operands=operands), *links[1:]))
        maker.kernels.append(bind_chain(chain, out, context))
    return sequence(maker.kernels)


@kernel(MatMul)
def matmul(op: MatMul, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """x (*, m, k) or (k,), y (*, k, n) or (k,) -> (*, m, n), without the axes that a vector lacks."""
    (x, y), (out,) = inputs, outputs
    before = out.ndim - (x.ndim > 1) - (y.ndim > 1)
    batch = list(range(before))
    spelled: list[list[Letter]] = [
        [*batch[before - x.ndim + 2 :], "m", "k"] if x.ndim > 1 else ["k"],
        [*batch[before - y.ndim + 2 :], "k", "n"] if y.ndim > 1 else ["k"],
        [*batch, *("m" for _ in range(x.ndim > 1)), *("n" for _ in range(y.ndim > 1))],
    ]
    maker, terms, target = _terms(context, inputs, out, spelled)
    maker.multiply(terms, target)
    return sequence(maker.kernels)


@kernel(Einsum)
def einsum(op: Einsum, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """The terms in pairs, in the order of np.einsum_path."""
    (out,) = outputs
    left, right = op.equation.split("->")
    maker, terms, target = _terms(context, inputs, out, [*left.split(","), right])
    for chosen in _path(op.equation, inputs)[:-1]:
        picked = [terms.pop(i) for i in sorted(chosen, reverse=True)][::-1]
        needed = {*target.steps, *maker.letters(*terms)}
        between = maker.fresh([x for x in maker.letters(*picked) if x in needed], out.dtype)
        terms.append(maker.multiply(picked, between))
    maker.multiply(terms, target)
    return sequence(maker.kernels)


def _path(equation: str, inputs: Sequence[Array]) -> list[tuple[int, ...]]:
    """Which terms are multiplied in each step; results go to the end. One step where there are two terms or fewer."""
    if len(inputs) < 3 or any(x.size == 0 for x in inputs):
        return [tuple(range(len(inputs)))]
    shapes = [np.broadcast_to(np.zeros(()), x.shape) for x in inputs]
    return list(np.einsum_path(equation, *shapes, optimize="greedy")[0][1:])
