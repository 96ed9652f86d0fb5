"""The sizes one symbol may have, and the shortest conditions that say exactly that."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import gcd
from typing import Final

from netspec.symbolic.conditions import (
    Comparison,
    Condition,
    Decided,
    all_of,
    any_of,
    at_least,
    at_most,
    equal,
    substituted,
)
from netspec.symbolic.conditions import remainder as has_remainder
from netspec.symbolic.expression import Expression, Interval, single_atom, symbol
from netspec.symbolic.periodic import NotTabulated, SizeSet, size_set

MOST_RESIDUES: Final = 6
_MOST_LISTED: Final = 10_000


@dataclass(frozen=True)
class Sizes:
    """What is known of one symbol: ``low <= symbol <= high``, the table, and conditions without a table."""

    name: str
    low: int = 0
    high: int | None = None
    pattern: SizeSet | None = None
    tabulated: tuple[Condition, ...] = field(default=(), compare=False)
    raw: tuple[Condition, ...] = ()

    def restricted(self, condition: Condition) -> Sizes:
        """Also meeting ``condition``, which speaks of this symbol only."""
        return self._with(condition)._listed()

    def _listed(self) -> Sizes:
        """Conditions without a table get one as soon as the sizes left can be tried one by one."""
        first = self.first if self.raw else None
        high = None if first is None else self.range[1]
        if first is None or high is None or high > _MOST_LISTED:
            return self
        allowed = [n >= first and (self.pattern is None or n in self.pattern) for n in range(high + 1)]
        mask = [ok and _meets(self.raw, self.name, n) for n, ok in enumerate(allowed)] + [False]
        pattern = SizeSet.of(mask)
        return replace(self, pattern=pattern, tabulated=(*self.tabulated, *self.raw), raw=())

    def _with(self, condition: Condition) -> Sizes:
        limits = as_limits(condition)
        if limits is not None:
            low, high = limits
            highs = [end for end in (high, self.high) if end is not None]
            return replace(self, low=max(low or 0, self.low), high=min(highs, default=None))
        if condition in self.tabulated or condition in self.raw:
            return self
        try:
            found = size_set(condition)
            pattern = found if self.pattern is None else self.pattern.combined(found, lambda a, b: a & b)
        except NotTabulated:
            return replace(self, raw=(*self.raw, condition))
        return replace(self, pattern=pattern, tabulated=(*self.tabulated, condition))

    @property
    def first(self) -> int | None:
        """The smallest size, None when there is none (conditions without a table left aside)."""
        if self.pattern is not None:
            return self.pattern.first(self.low, self.high)
        return self.low if self.high is None or self.low <= self.high else None

    @property
    def range(self) -> Interval:
        """The smallest and the largest size; there must be one."""
        if self.pattern is None or self.first is None:
            return self.low, self.high
        if self.high is not None:
            return self.first, self.pattern.last(self.high)
        if not self.pattern.tail:
            return self.first, self.pattern.last(self.pattern.threshold)
        return self.first, None

    @property
    def constant(self) -> int | None:
        """The only size there is, if so."""
        low, high = self.range
        return low if low == high else None

    @property
    def step(self) -> int:
        """All sizes are ``first`` plus multiples of this."""
        if self.pattern is None:
            return 1
        low, high = self.range
        assert low is not None
        return self.pattern.step(low, high)

    def implies(self, condition: Condition) -> bool:
        """Whether all these sizes meet a condition on this symbol."""
        if condition in self.raw or condition in self.tabulated:
            return True
        try:
            wanted = size_set(condition)
            missing = wanted if self.pattern is None else self.pattern.combined(wanted, lambda a, b: a & ~b)
        except NotTabulated:
            return False
        if self.pattern is None:
            missing = missing.combined(wanted, lambda a, _: ~a)
        return missing.first(self.low, self.high) is None

    def described(self) -> list[Condition]:
        """Conditions that hold for exactly these sizes."""
        given = [*_undecided(_between(self.name, self.low, self.high)), *self.tabulated]
        short = self._short()
        kept = given if short is None else _undecided(short)
        if len(given) <= len(kept) and _length(given) < _length(kept):
            kept = given  # it was well said already
        return kept + [condition for condition in self.raw if condition not in kept]

    def _short(self) -> list[Decided] | None:
        low, high = self.range
        assert low is not None
        if self.pattern is None or low == high:
            return _between(self.name, low, high)
        if high is not None and high < self.pattern.threshold + 2 * self.pattern.period:
            if high - low > _MOST_LISTED:
                return None
            return _finite(self.name, [n for n in range(low, high + 1) if n in self.pattern])
        return _endless(self.name, self.pattern, self.low, high)


def _meets(conditions: tuple[Condition, ...], name: str, size: int) -> bool:
    return all(substituted(condition, {name: size}) is True for condition in conditions)


def as_limits(condition: Condition) -> Interval | None:
    """The interval that ``H >= 3``, ``H <= 7`` or ``H == 5`` leaves; None for any other condition."""
    if not isinstance(condition, Comparison):
        return None
    for poly, sign in ((condition.poly, 1), (-condition.poly, -1)):
        atom = single_atom(poly)
        if atom is not None and atom.kind == "symbol":
            bound = sign * condition.bound
            if condition.op == "==":
                return bound, bound
            return (bound, None) if sign > 0 else (0, bound)
    return None


def _undecided(parts: list[Decided]) -> list[Condition]:
    return [part for part in parts if isinstance(part, Condition)]


def _length(parts: list[Condition]) -> int:
    return sum(len(str(part)) for part in parts)


def _between(name: str, low: int, high: int | None) -> list[Decided]:
    size = symbol(name)
    if low == high:
        return [equal(size, low)]
    return [at_least(size, low)] + ([] if high is None else [at_most(size, high)])


def _finite(name: str, sizes: list[int]) -> list[Decided] | None:
    low, high = sizes[0], sizes[-1]
    limits = _between(name, low, high)
    step = gcd(*(b - a for a, b in pairwise(sizes)))
    if step * (len(sizes) - 1) == high - low and len(sizes) > 2:
        return [*limits, has_remainder(symbol(name), step, (low % step,))]
    if len(sizes) == high - low + 1:
        return limits
    if len(sizes) <= MOST_RESIDUES:
        return [any_of(*(equal(symbol(name), size) for size in sizes))]
    members = set(sizes)
    for modulus in range(2, min(high - low, 256)):
        residues = {size % modulus for size in sizes}
        if len(residues) <= MOST_RESIDUES and all(
            (n % modulus in residues) == (n in members) for n in range(low, high + 1)
        ):
            return [*limits, has_remainder(symbol(name), modulus, residues)]
    return None


def _endless(name: str, pattern: SizeSet, low: int, high: int | None) -> list[Decided] | None:
    """``low`` and residues, with the few sizes below the threshold that do not fit listed apart."""
    size: Expression = symbol(name)
    residues, period, threshold = pattern.tail, pattern.period, max(pattern.threshold, low)
    if len(residues) > MOST_RESIDUES or pattern.threshold - low > _MOST_LISTED:
        return None
    fitting = set(residues)
    early = [n for n in range(low, threshold) if n in pattern]
    members = set(early)
    # From where on every size with the right remainder is a member.
    start = threshold
    while start > 0 and ((start - 1) % period not in fitting or (start - 1) in members):
        start -= 1
    while start % period not in fitting:
        start += 1
    strays = [n for n in early if n < start or n % period not in fitting]
    if len(strays) > MOST_RESIDUES:
        return None
    bound = at_least(size, start) if any(n % period in fitting for n in range(start)) else True
    regular = [bound, has_remainder(size, period, residues)]
    end = [] if high is None else [at_most(size, high)]
    if not strays:
        return [bound, *end, *regular[1:]]
    return [any_of(*(equal(size, stray) for stray in strays), all_of(*regular)), *end]
