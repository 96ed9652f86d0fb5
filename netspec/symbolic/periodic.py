"""Exact solution sets of conditions on one symbol.

Sums, floor divisions by integers, maxima and minima of one size n are sequences that eventually repeat with a
constant increase: f(n + period) == f(n) + shift from some threshold on.  So the sizes that meet a condition
are eventually periodic too, and the finite table made here is the whole truth about them, not a sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from math import gcd, lcm
from typing import TYPE_CHECKING, Any, Final

from netspec.symbolic.conditions import Comparison, Condition, Junction, Remainder
from netspec.symbolic.expression import Atom, Dim, atoms_of, terms_of

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

LIMIT: Final = 2_000_000  # entries in one table
_SAFE: Final = 2**60  # int64 tables are kept below this


class NotTabulated(Exception):
    """The condition is not of this kind, or its table would be too long."""


def _numpy() -> Any:
    import numpy  # when first needed: building expressions does without it

    return numpy


def _positions(n: int, threshold: int, period: int) -> tuple[Any, Any]:
    """For sizes 0..n-1: the index into a table and how many periods lie beyond it."""
    if n > LIMIT:
        raise NotTabulated
    sizes = _numpy().arange(n)
    beyond = _numpy().maximum(sizes - threshold, 0) // period
    return sizes - beyond * period, beyond


@dataclass(frozen=True, eq=False)
class SizeSet:
    """A set of sizes: ``mask[n]`` below ``threshold + period``, repeating with ``period`` from then on."""

    threshold: int
    period: int
    mask: Array

    @classmethod
    def of(cls, mask: list[bool]) -> SizeSet:
        """The set with this mask, its last entry standing for all sizes after."""
        return cls(len(mask) - 1, 1, _numpy().array(mask)).shortest()

    def __contains__(self, size: int) -> bool:
        t, p = self.threshold, self.period
        return size >= 0 and bool(self.mask[size if size < t else t + (size - t) % p])

    def stretched(self, threshold: int, period: int) -> Array:
        """The mask for a later threshold and a multiple of the period."""
        mask: Array = self.mask[_positions(threshold + period, self.threshold, self.period)[0]]
        return mask

    def combined(self, other: SizeSet, op: Callable[[Any, Any], Any]) -> SizeSet:
        """``op`` of the two masks, size by size, as short as it can be written."""
        t, p = max(self.threshold, other.threshold), lcm(self.period, other.period)
        return SizeSet(t, p, op(self.stretched(t, p), other.stretched(t, p))).shortest()

    def shortest(self) -> SizeSet:
        """The same set with the smallest period, then the smallest threshold."""
        t, p = self.threshold, self.period
        for prime in _primes(p):
            while p % prime == 0:
                rows = self.mask[t : t + p].reshape(prime, -1)
                if not (rows == rows[0]).all():
                    break
                p //= prime
        different = _numpy().flatnonzero(self.mask[:t] != self.mask[p : t + p])
        t = int(different[-1]) + 1 if len(different) else 0
        return SizeSet(t, p, self.mask[: t + p])

    def first(self, low: int, high: int | None) -> int | None:
        """The smallest member between ``low`` and ``high``."""
        start = low if low < self.threshold else self.threshold + (low - self.threshold) % self.period
        found = _numpy().flatnonzero(self._two_periods()[start:])
        size = low + int(found[0]) if len(found) else None
        return None if size is None or (high is not None and size > high) else size

    def last(self, high: int) -> int | None:
        """The largest member up to ``high``."""
        end = min(high, self.threshold + self.period + (high - self.threshold) % self.period)
        found = _numpy().flatnonzero(self._two_periods()[: end + 1])
        if len(found) == 0:
            return None
        size = int(found[-1])
        return size + high - end if size >= self.threshold else size

    def step(self, low: int, high: int | None) -> int:
        """The largest number that divides all differences of members between ``low`` and ``high``."""
        start = min(low, self.threshold + (low - self.threshold) % self.period)
        end = None if high is None else high - low + 1
        found = _numpy().flatnonzero(self._two_periods()[start:][:end])
        common = int(_numpy().gcd.reduce(_numpy().diff(found))) if len(found) > 1 else 0
        if high is None or high >= self.threshold + self.period:
            common = gcd(common, self.period)
        return common or 1

    def _two_periods(self) -> Any:
        return _numpy().concatenate([self.mask, self.mask[self.threshold :]])

    @property
    def tail(self) -> list[int]:
        """The residues modulo ``period`` of all members from ``threshold`` on."""
        members = _numpy().flatnonzero(self.mask[self.threshold :]) + self.threshold
        return sorted(int(n) % self.period for n in members)


def _primes(n: int) -> list[int]:
    found, prime = [], 2
    while prime * prime <= n:
        if n % prime == 0:
            found.append(prime)
            while n % prime == 0:
                n //= prime
        prime += 1
    return found + ([n] if n > 1 else [])


def size_set(condition: Condition) -> SizeSet:
    """The sizes that meet a condition on one symbol.  Raises NotTabulated when no table of them is made."""
    if isinstance(condition, Comparison):
        wave = _wave(condition.poly)
        reached = wave.at_least(condition.bound)
        if condition.op == ">=":
            return reached.shortest()
        return reached.combined(wave.at_least(condition.bound + 1), lambda a, b: a & ~b)
    if isinstance(condition, Remainder):
        if not isinstance(condition.modulus, int):
            raise NotTabulated
        return _wave(condition.dim).remainder(condition.modulus, condition.residues).shortest()
    assert isinstance(condition, Junction)
    sets = [size_set(part) for part in condition.parts]
    return reduce(lambda a, b: a.combined(b, _or if condition.op == "or" else _and), sets)


def _or(a: Any, b: Any) -> Any:
    return a | b


def _and(a: Any, b: Any) -> Any:
    return a & b


@dataclass(frozen=True, eq=False)
class _Wave:
    """``f(n)`` for n below ``threshold + period``; beyond, ``f(n + period) == f(n) + shift``."""

    threshold: int
    period: int
    shift: int
    values: Array

    def __post_init__(self) -> None:
        if max(abs(int(self.values.max())), abs(int(self.values.min())), abs(self.shift)) > _SAFE:
            raise NotTabulated

    def stretched(self, threshold: int, period: int) -> _Wave:
        index, beyond = _positions(threshold + period, self.threshold, self.period)
        if abs(self.shift) * (int(beyond[-1]) + 1) > _SAFE:
            raise NotTabulated
        values = self.values[index] + beyond * self.shift
        return _Wave(threshold, period, self.shift * (period // self.period), values)

    def plus(self, other: _Wave) -> _Wave:
        a, b = _aligned(self, other)
        return _Wave(a.threshold, a.period, a.shift + b.shift, a.values + b.values)

    def scaled(self, factor: int) -> _Wave:
        if (
            abs(factor) * max(abs(int(self.values.max())), abs(int(self.values.min())), abs(self.shift))
            > _SAFE
        ):
            raise NotTabulated
        return _Wave(self.threshold, self.period, self.shift * factor, self.values * factor)

    def floor(self, divisor: int) -> _Wave:
        if divisor > _SAFE:
            raise NotTabulated
        long = self.stretched(self.threshold, self.period * (divisor // gcd(divisor, self.shift)))
        return _Wave(long.threshold, long.period, long.shift // divisor, long.values // divisor)

    def largest(self, other: _Wave) -> _Wave:
        a, b = _aligned(self, other)
        if a.shift < b.shift:
            a, b = b, a
        settled = _Wave(a.threshold, a.period, a.shift - b.shift, a.values - b.values).settled(0)
        a, b = a.stretched(settled, a.period), b.stretched(settled, a.period)
        return _Wave(a.threshold, a.period, a.shift, _numpy().maximum(a.values, b.values))

    def settled(self, bound: int) -> int:
        """A threshold from which on comparing with ``bound`` gives the same answer period after period."""
        tail = self.values[self.threshold :]
        if self.shift == 0:
            return self.threshold
        short = bound - int(tail.min()) if self.shift > 0 else int(tail.max()) - bound + 1
        return self.threshold + self.period * max(0, -(-short // abs(self.shift)))

    def at_least(self, bound: int) -> SizeSet:
        if abs(bound) > _SAFE:
            raise NotTabulated
        long = self.stretched(self.settled(bound), self.period)
        return SizeSet(long.threshold, long.period, long.values >= bound)

    def remainder(self, modulus: int, residues: tuple[int, ...]) -> SizeSet:
        if modulus > _SAFE:
            raise NotTabulated
        long = self.stretched(self.threshold, self.period * (modulus // gcd(modulus, self.shift)))
        return SizeSet(long.threshold, long.period, _numpy().isin(long.values % modulus, residues))


def _aligned(a: _Wave, b: _Wave) -> tuple[_Wave, _Wave]:
    t, p = max(a.threshold, b.threshold), lcm(a.period, b.period)
    return a.stretched(t, p), b.stretched(t, p)


def _wave(dim: Dim) -> _Wave:
    waves: dict[Atom, _Wave] = {}
    for atom in atoms_of(dim):
        if atom.kind == "symbol":
            waves[atom] = _Wave(0, 1, 1, _numpy().zeros(1, dtype="int64"))
            continue
        parts = [
            _wave_sum(part, waves)
            for part in atom.parts
            if not (atom.kind == "floor" and isinstance(part, int))
        ]
        if atom.kind == "max":
            waves[atom] = reduce(_Wave.largest, parts)
        elif atom.kind == "min":
            waves[atom] = reduce(_Wave.largest, [part.scaled(-1) for part in parts]).scaled(-1)
        elif len(parts) == 1 and isinstance(atom.parts[1], int):
            waves[atom] = parts[0].floor(atom.parts[1])
        else:
            raise NotTabulated  # divided by a size
    return _wave_sum(dim, waves)


def _wave_sum(dim: Dim, waves: dict[Atom, _Wave]) -> _Wave:
    total = _Wave(0, 1, 0, _numpy().zeros(1, dtype="int64"))
    for monomial, coefficient in terms_of(dim).items():
        if sum(power for _, power in monomial) > 1 or abs(coefficient) > _SAFE:
            raise NotTabulated  # products of sizes grow without a constant shift
        one = _Wave(0, 1, 0, _numpy().ones(1, dtype="int64"))
        total = total.plus((waves[monomial[0][0]] if monomial else one).scaled(coefficient))
    return total
