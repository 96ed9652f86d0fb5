"""Chains of elementwise stages as one pass: loaded once, computed in registers, stored once.

The text of a chain is also put into other kernels (depthwise, Winograd), which apply it to their results before
they are stored. Formulas and the order of operations are those of `functions`, so that all but exp and what
is made of it gives the same bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from netspec.backends.base import Array, Kernel
from netspec.backends.numpy.finish import Region
from netspec.backends.numpy.jit.compiler import kernel
from netspec.backends.strides import memory_order
from netspec.operations import Affine, Stage

OUTER = 3
"""Loops around the innermost one of a chain."""


def _number(value: float) -> str:
    return f"splat(FLOAT({value!r}))"


ZERO, ONE, SIX = _number(0.0), _number(1.0), _number(6.0)
_RELU6_SHIFTED = f"at_most(at_least(add({{0}}, {_number(3.0)}), {ZERO}), {SIX})"
_SIXTH = _number(float(np.float32(1 / 6)))
_DENOMINATOR = f"add({ONE}, exp(neg({{0}})))"

FORMULAS: dict[str, str] = {
    "mul": "mul({0}, {1})",
    "div": "div({0}, {1})",
    "maximum": "larger({0}, {1})",
    "minimum": "smaller({0}, {1})",
    "neg": "neg({0})",
    "square": "mul({0}, {0})",
    "abs": "magnitude({0})",
    "sqrt": "root({0})",
    "scale": "add(mul({0}, {a}), {b})",
    "relu": f"at_least({{0}}, {ZERO})",
    "leaky_relu": "where_positive({0}, {0}, mul({0}, {a}))",
    "prelu": "where_positive({0}, {0}, mul({0}, {1}))",
    "hardswish": f"mul(mul({{0}}, {_RELU6_SHIFTED}), {_SIXTH})",
    "hardsigmoid": f"mul({_RELU6_SHIFTED}, {_SIXTH})",
    "sigmoid": f"div({ONE}, {_DENOMINATOR})",
    "silu": f"div({{0}}, {_DENOMINATOR})",
}
"""Function -> its text; {0}, {1} are the operands, {a}, {b} the constants."""


def _formula(stage: Stage) -> str | None:
    """The text of a stage, or None where it is not compiled."""
    op = stage.operation
    if isinstance(op, Affine):
        return "add(mul({0}, {1}), {2})"
    constants = op.constants
    if not all(c is None or (isinstance(c, (int, float)) and not isinstance(c, bool)) for c in constants):
        return None
    if op.function in ("add", "sub"):
        plain = not constants or constants[0] == 1
        return f"{op.function}({{0}}, {{1}})" if plain else f"{op.function}({{0}}, mul({{1}}, {{a}}))"
    if op.function == "clamp":
        low, high = constants
        text = "{0}" if low is None else "at_least({0}, {a})"
        return text if high is None else f"at_most({text}, {{b}})"
    return FORMULAS.get(op.function)


@dataclass(frozen=True, slots=True)
class Strided:
    """An array as a kernel sees it: address and strides in bytes; keep: what the address is of."""

    address: int
    strides: tuple[int, ...]
    keep: Array


def strided(array: Array) -> Strided:
    """The address of the first element and the strides."""
    return Strided(array.__array_interface__["data"][0], array.strides, array)


class Chain:
    """Stages that follow one another on `out`; operands are views as large as it is."""

    def __init__(
        self, stages: Sequence[Stage], operands: Sequence[Sequence[Array | None]], out: Array
    ) -> None:
        """operands: of each stage, None for the running value."""
        self.out = out
        self.arrays: list[Array] = []
        numbers: list[float] = []
        self.lines: list[str] = []
        self.reads_running = any(x is None for x in operands[0])
        for stage, mine in zip(stages, operands, strict=True):
            formula = _formula(stage)
            assert formula is not None
            names = ["v" if x is None else f"x{self._operand(x)}" for x in mine]
            values = {}
            given = () if isinstance(stage.operation, Affine) else stage.operation.constants
            for letter, value in zip("ab", given, strict=False):
                if f"{{{letter}}}" in formula:
                    values[letter] = f"k{len(numbers)}"
                    numbers.append(float(value))  # type: ignore[arg-type]
            self.lines.append(f"v = {formula.format(*names, **values)}")
        self.constants = np.array(numbers or [0], np.float32)
        self.count = len(numbers)

    def _operand(self, array: Array) -> int:
        self.arrays.append(array)
        return len(self.arrays) - 1

    def constant_lines(self) -> list[str]:
        """The numbers, read once before all loops from the argument `constants`."""
        return [f"k{i} = everywhere(constants + {4 * i})" for i in range(self.count)]

    def kinds(self, axis: int) -> str | None:
        """For each operand 1: side by side along `axis`, 0: the same number everywhere; None: something else."""
        found = ""
        for x in self.arrays:
            if x.shape[axis] == 1 or x.strides[axis] == 0:
                found += "0"
            elif x.strides[axis] == x.itemsize:
                found += "1"
            else:
                return None
        return found

    def __call__(self, region: Region) -> list[Kernel]:
        """The steps on a region of the output."""
        part, arrays = self.out[region], [x[region] for x in self.arrays]
        if part.size == 0:
            return []
        return chain_steps(self, part, arrays)


def chain_steps(chain: Chain, out: Array, arrays: Sequence[Array]) -> list[Kernel]:
    """The chain on these cuts of its arrays."""
    shape, strides = _merged(out, arrays)
    if any(
        step[-1] not in allowed
        for step, allowed in zip(strides, ((4,), *((0, 4),) * len(arrays)), strict=True)
    ):
        shape.append(1)  # a cut one number wide: each is a run of its own
        for steps in strides:
            steps.append(4)
    kinds = "".join("1" if steps[-1] else "0" for steps in strides[1:])
    function = kernel(_chain_text(chain, kinds), "chain", 9 + 4 * len(arrays))
    outer = max(0, len(shape) - OUTER - 1)
    fill = max(0, OUTER + 1 - len(shape))
    calls: list[Kernel] = []
    for place in itertools.product(*map(range, shape[:outer])):
        at = [
            x.__array_interface__["data"][0] + sum(i * step for i, step in zip(place, steps, strict=False))
            for x, steps in zip((out, *arrays), strides, strict=True)
        ]
        arguments = [at[0], *(1,) * fill, *shape[outer:], *(0,) * fill, *strides[0][outer:-1]]
        for address, steps in zip(at[1:], strides[1:], strict=True):
            arguments += [address, *(0,) * fill, *steps[outer:-1]]
        call = partial(function, *arguments, chain.constants.__array_interface__["data"][0])
        call.keep = (out, *arrays, chain.constants)  # type: ignore[attr-defined]
        calls.append(call)
    return calls


def _merged(out: Array, arrays: Sequence[Array]) -> tuple[list[int], list[list[int]]]:
    """Sizes from the slowest to the fastest axis of `out`, neighbours as one where all arrays allow, and strides."""
    order = [axis for axis in memory_order(out) if out.shape[axis] > 1]
    shape: list[int] = []
    strides: list[list[int]] = [[] for _ in range(1 + len(arrays))]
    for axis in order:
        steps = [x.strides[axis] if x.shape[axis] > 1 else 0 for x in (out, *arrays)]
        size = out.shape[axis]
        if shape and all(s[-1] == step * size for s, step in zip(strides, steps, strict=True)):
            shape[-1] *= size
            for s, step in zip(strides, steps, strict=True):
                s[-1] = step
            continue
        shape.append(size)
        for s, step in zip(strides, steps, strict=True):
            s.append(step)
    if not shape:
        return [1], [[4] for _ in strides]
    return shape, strides


def _chain_text(chain: Chain, kinds: str) -> str:
    letters = [f"p{i}, p{i}_0, p{i}_1, p{i}_2" for i in range(len(kinds))]
    head = ", ".join(["out, d0, d1, d2, n, s0, s1, s2", *letters, "constants"])
    lines = [f"def chain({head}):"]
    lines += _indent(1, chain.constant_lines())
    lines += _indent(1, ["whole = n // 16 * 64", "left = n % 16"])
    lines += ["    for i in range(d0):", "        for j in range(d1):", "            for l in range(d2):"]
    lines += _indent(4, ["o = out + i * s0 + j * s1 + l * s2"])
    for i, kind in enumerate(kinds):
        lines += _indent(4, [f"q{i} = p{i} + i * p{i}_0 + j * p{i}_1 + l * p{i}_2"])
        if kind == "0":
            lines += _indent(4, [f"x{i} = everywhere(q{i})"])
    sides = [i for i, kind in enumerate(kinds) if kind == "1"]
    whole = ["v = load(o + e)"] * chain.reads_running + [f"x{i} = load(q{i} + e)" for i in sides]
    part = ["v = load_part(o + e, left)"] * chain.reads_running
    part += [f"x{i} = load_part(q{i} + e, left)" for i in sides]
    lines += _indent(4, ["for e in range(0, whole, 64):"])
    lines += _indent(5, [*whole, *chain.lines, "store(o + e, v)"])
    lines += _indent(4, ["if left:", "    e = whole"])
    lines += _indent(5, [*part, *chain.lines, "store_part(o + e, v, left)"])
    return "\n".join(lines) + "\n"


def _indent(depth: int, lines: Sequence[str]) -> list[str]:
    return ["    " * depth + line for line in lines]


# --- the stages of a step ---------------------------------------------------------------------------


def fits(array: Array) -> bool:
    """Whether kernels can read it where it lies."""
    return bool(
        array.dtype == np.float32
        and all(step >= 0 and step % 4 == 0 for step in array.strides)
        and array.__array_interface__["data"][0] % 4 == 0
    )


def compilable(stage: Stage, operands: Sequence[Array | None], out: Array) -> bool:
    """Whether a chain may have this stage on `out`."""
    if _formula(stage) is None or not all(x is None or fits(x) for x in operands):
        return False
    trial = Chain([stage], [operands], out)
    shape, strides = _merged(out, trial.arrays)
    return len(shape) <= OUTER + 1 and all(s[-1] in (0, 4) for s in strides) and strides[0][-1] == 4
