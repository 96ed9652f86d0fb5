"""Conditions on sizes, brought to a normal form that decides, prints and compares well.

Every constructor returns True or False when that holds for all symbol values >= 0, else a :class:`Condition`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from math import gcd
from typing import Any, TypeAlias

from netspec.symbolic.bounding import bounds
from netspec.symbolic.expression import (
    Atom,
    Dim,
    Expression,
    constant_of,
    divide_exactly,
    evaluate,
    from_terms,
    interval,
    single_atom,
    substitute,
    symbols_of,
    terms_of,
)
from netspec.symbolic.printing import leading, operand

Decided: TypeAlias = "Condition | bool"


@dataclass(frozen=True, repr=False)
class Condition:
    """A statement about sizes, built by the functions below; ``str`` is a Python boolean expression."""

    def __repr__(self) -> str:
        return f"<{self}>"

    @property
    def symbols(self) -> frozenset[str]:
        """The names the condition speaks of."""
        raise NotImplementedError

    def evaluate(self, env: Mapping[str, Any]) -> Any:
        """Whether it holds: a bool, or an array of bool when ``env`` holds arrays."""
        raise NotImplementedError

    def substitute(self, env: Mapping[str, Dim]) -> Decided:
        """The condition with symbols replaced."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class Comparison(Condition):
    """``poly >= bound`` or ``poly == bound``; ``poly`` has no constant and no common integer factor."""

    poly: Expression
    op: str
    bound: int

    @property
    def symbols(self) -> frozenset[str]:
        return self.poly.symbols

    def evaluate(self, env: Mapping[str, Any]) -> Any:
        value = self.poly.evaluate(env)
        return value >= self.bound if self.op == ">=" else value == self.bound

    def substitute(self, env: Mapping[str, Dim]) -> Decided:
        if self.symbols.isdisjoint(env):
            return self
        return (at_least if self.op == ">=" else equal)(self.poly.substitute(env), self.bound)

    def __str__(self) -> str:
        left = from_terms({m: c for m, c in self.poly.terms.items() if c > 0})
        right = left - self.poly
        if left == 0:
            return f"{right} {'<=' if self.op == '>=' else self.op} {-self.bound}"
        return f"{left} {self.op} {right + self.bound}"


@dataclass(frozen=True, repr=False)
class Remainder(Condition):
    """``dim % modulus`` is one of ``residues``."""

    dim: Dim
    modulus: Dim
    residues: tuple[int, ...]

    @property
    def symbols(self) -> frozenset[str]:
        return symbols_of(self.dim) | symbols_of(self.modulus)

    def evaluate(self, env: Mapping[str, Any]) -> Any:
        value = evaluate(self.dim, env) % evaluate(self.modulus, env)
        return reduce(operator.or_, [value == residue for residue in self.residues])

    def substitute(self, env: Mapping[str, Dim]) -> Decided:
        if self.symbols.isdisjoint(env):
            return self
        return remainder(substitute(self.dim, env), substitute(self.modulus, env), self.residues)

    def __str__(self) -> str:
        one = len(self.residues) == 1
        wanted = f"== {self.residues[0]}" if one else f"in ({', '.join(map(str, self.residues))})"
        return f"{operand(self.dim)} % {operand(self.modulus)} {wanted}"


@dataclass(frozen=True, repr=False)
class Junction(Condition):
    """Any (``or``) or all (``and``) of two or more conditions."""

    op: str
    parts: tuple[Condition, ...]

    @property
    def symbols(self) -> frozenset[str]:
        return frozenset().union(*(part.symbols for part in self.parts))

    def evaluate(self, env: Mapping[str, Any]) -> Any:
        values = [part.evaluate(env) for part in self.parts]
        return reduce(operator.or_ if self.op == "or" else operator.and_, values)

    def substitute(self, env: Mapping[str, Dim]) -> Decided:
        if self.symbols.isdisjoint(env):
            return self
        return _junction(self.op, [part.substitute(env) for part in self.parts])

    def __str__(self) -> str:
        texts = [f"({part})" if isinstance(part, Junction) else str(part) for part in self.parts]
        return f" {self.op} ".join(texts)


def substituted(condition: Condition, env: Mapping[str, Dim]) -> Decided:
    """:meth:`Condition.substitute`; a condition that comes to divide by zero is not met."""
    try:
        return condition.substitute(env)
    except ZeroDivisionError:
        return False


# ---------------------------------------------------------------- and, or


def any_of(*conditions: Decided) -> Decided:
    """At least one of ``conditions``."""
    return _junction("or", conditions)


def all_of(*conditions: Decided) -> Decided:
    """Every one of ``conditions``."""
    return _junction("and", conditions)


def _junction(op: str, conditions: Iterable[Decided]) -> Decided:
    decisive = op == "or"
    parts: dict[Condition, None] = {}
    for condition in conditions:
        if isinstance(condition, Condition):
            nested = isinstance(condition, Junction) and condition.op == op
            parts.update(dict.fromkeys(condition.parts if nested else (condition,)))  # type: ignore[attr-defined]
        elif bool(condition) is decisive:
            return decisive
    if len(parts) > 1:
        return Junction(op, tuple(parts))
    return next(iter(parts), not decisive)


# ---------------------------------------------------------------- comparisons


def at_least(a: Dim, b: Dim) -> Decided:
    """``a >= b``."""
    return _at_least(a - b)


def at_most(a: Dim, b: Dim) -> Decided:
    """``a <= b``."""
    return _at_least(b - a)


def _at_least(difference: Dim) -> Decided:
    """``difference >= 0``, floors carried to the other side for as long as one stands alone."""
    while True:
        if isinstance(difference, int):
            return difference >= 0
        low, high = bounds(difference)
        if low is not None and low >= 0:
            return True
        if high is not None and high < 0:
            return False
        poly, bound = _primitive(difference)
        alone = _lone_term(poly)
        if alone is None:
            return Comparison(poly, ">=", bound)
        monomial, sign = alone
        atom = monomial[0][0]
        if sum(power for _, power in monomial) > 1:
            return _product_at_least(poly, bound, sign)
        if atom.kind in ("max", "min"):
            parts = [_at_least(sign * part - bound) for part in atom.parts]
            return any_of(*parts) if (atom.kind == "max") == (sign > 0) else all_of(*parts)
        if atom.kind != "floor" or not _positive(atom.parts[1]):
            return Comparison(poly, ">=", bound)
        numerator, divisor = atom.parts
        # x//d >= n is x >= d*n, and x//d <= n is x <= d*n + d - 1.
        difference = numerator - divisor * bound if sign > 0 else divisor * (1 - bound) - 1 - numerator


def _primitive(difference: Expression) -> tuple[Expression, int]:
    """``difference >= 0`` as ``poly >= bound`` with the coefficients' common factor divided out."""
    constant = constant_of(difference)
    common = gcd(*(c for m, c in difference.terms.items() if m))
    poly = from_terms({m: c // common for m, c in difference.terms.items() if m})
    assert isinstance(poly, Expression)
    return poly, -(constant // common)


def _lone_term(poly: Expression) -> tuple[tuple[tuple[Atom, int], ...], int] | None:
    if len(poly.terms) != 1:
        return None
    ((monomial, coefficient),) = poly.terms.items()
    return monomial, coefficient


def _product_at_least(poly: Expression, bound: int, sign: int) -> Decided:
    """A product of sizes is at least 1 exactly when each is."""
    atoms = [atom for monomial in poly.terms for atom, _ in monomial]
    if (
        sign > 0
        and bound == 1
        and all(atom.interval[0] is not None and atom.interval[0] >= 0 for atom in atoms)
    ):
        return all_of(*(_at_least(from_terms({((atom, 1),): 1}) - 1) for atom in atoms))
    return Comparison(poly, ">=", bound)


def _positive(divisor: Dim) -> bool:
    """Divisors are nonzero, so one that is never negative is positive."""
    low = interval(divisor)[0]
    return low is not None and low >= 0


def equal(a: Dim, b: Dim) -> Decided:
    """``a == b``."""
    difference = a - b
    if isinstance(difference, int):
        return difference == 0
    low, high = bounds(difference)
    if (low is not None and low > 0) or (high is not None and high < 0):
        return False
    if low == high == 0:
        return True
    poly, bound = _primitive(difference)
    if (poly - bound) * _content(difference) != difference:
        return False  # the common factor of the coefficients does not divide the constant
    if poly.terms[leading(poly)] < 0:
        poly, bound = -poly, -bound
    return _equal_by_remainder(poly, bound) or _equal_alone(poly, bound) or Comparison(poly, "==", bound)


def _content(difference: Expression) -> int:
    return gcd(*(c for m, c in difference.terms.items() if m))


def _equal_by_remainder(poly: Expression, bound: int) -> Decided | None:
    """``c*(x//d) + rest == bound`` when the rest is a multiple of ``x``: then it only asks for ``x % d``."""
    for monomial, c in poly.terms.items():
        atom = single_atom(from_terms({monomial: 1}))
        if atom is None or atom.kind != "floor" or not _positive(atom.parts[1]):
            continue
        numerator, divisor = atom.parts
        rest = poly - from_terms({monomial: c}) - bound
        left = c * numerator + divisor * rest  # == c*(x % d)
        if isinstance(left, int) and isinstance(divisor, int):
            possible = left % c == 0 and 0 <= left // c < divisor
            return possible and remainder(numerator, divisor, (left // c,))
    return None


def _equal_alone(poly: Expression, bound: int) -> Decided | None:
    """A floor that stands alone equals n on a range; a maximum or minimum does when an argument does."""
    alone = _lone_term(poly)
    if alone is None or len(alone[0]) != 1 or alone[0][0][1] != 1 or alone[1] != 1:
        return None
    atom = alone[0][0][0]
    if atom.kind == "floor" and _positive(atom.parts[1]):
        return all_of(at_least(poly, bound), at_most(poly, bound))
    if atom.kind in ("max", "min"):
        limit = at_most if atom.kind == "max" else at_least
        hit = any_of(*(equal(part, bound) for part in atom.parts))
        return all_of(*(limit(part, bound) for part in atom.parts), hit)
    return None


# ---------------------------------------------------------------- remainders


def divisible(a: Dim, b: Dim) -> Decided:
    """``a % b == 0``; ZeroDivisionError when ``b`` is 0."""
    return remainder(a, -b if isinstance(b, int) and b < 0 else b, (0,))


def remainder(dim: Dim, modulus: Dim, residues: Iterable[int]) -> Decided:
    """Whether ``dim % modulus`` is one of ``residues``; an int modulus must be positive."""
    wanted = tuple(sorted(set(residues)))
    if isinstance(modulus, int):
        if modulus == 0:
            raise ZeroDivisionError("remainder of a division by zero")
        return _remainder_by_int(dim, modulus, [residue for residue in wanted if 0 <= residue < modulus])
    if wanted == (0,) and (dim == 0 or divide_exactly(dim, modulus) is not None):
        return True
    return Remainder(dim, modulus, wanted)


def _remainder_by_int(dim: Dim, modulus: int, wanted: list[int]) -> Decided:
    constant = constant_of(dim)
    shifted = {(residue - constant) % modulus for residue in wanted}
    terms = {m: c % modulus for m, c in terms_of(dim).items() if m and c % modulus}
    common = gcd(modulus, *terms.values())
    modulus //= common
    shifted = {residue // common for residue in shifted if residue % common == 0}
    if len(terms) == 1:  # the only coefficient is now invertible: 3*H % 4 == 1 is H % 4 == 3
        ((monomial, c),) = terms.items()
        inverse = pow(c // common, -1, modulus) if modulus > 1 else 0
        terms, shifted = {monomial: common}, {residue * inverse % modulus for residue in shifted}
    if not shifted or len(shifted) == modulus:
        return bool(shifted)
    poly = from_terms({m: c // common for m, c in terms.items()})
    if isinstance(poly, int):
        return poly % modulus in shifted
    low, high = bounds(poly)
    if low is not None and high is not None and low >= 0 and high < modulus:
        inside = [low <= residue <= high for residue in shifted]
        if not any(inside):
            return False
        if sum(inside) == high - low + 1:
            return True
    return Remainder(poly, modulus, tuple(sorted(shifted)))
