"""The conditions a network puts on its sizes: collected, checked against each other, and solved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import gcd

from netspec.symbolic.bounding import bounds
from netspec.symbolic.conditions import (
    Comparison,
    Condition,
    Decided,
    Junction,
    Remainder,
    all_of,
    any_of,
    at_least,
    equal,
    remainder,
    substituted,
)
from netspec.symbolic.describing import Sizes
from netspec.symbolic.expression import (
    Dim,
    Expression,
    Interval,
    atom_interval,
    atoms_of,
    combine,
    floor_divide,
    from_terms,
    interval,
    maximum,
    minimum,
    single_atom,
    substitute,
    symbol,
    terms_of,
)

_ROUNDS = 8  # of carrying limits from one symbol to the next, before giving up on a contradiction


class ConstraintSet:
    """A growing conjunction of conditions that some sizes meet, as far as this can tell.

    Conditions on one symbol are decided exactly; those on several are refused only on proof.
    """

    def __init__(self, conditions: Iterable[Decided] = ()) -> None:
        """ValueError when the ``conditions`` contradict each other."""
        self._conditions: dict[Condition, None] = {}
        self._sizes: dict[str, Sizes] = {}
        self._joint: set[str] = set()  # symbols that a condition on several symbols speaks of
        self._solved: _Solution | None = None
        for condition in conditions:
            if not self.add(condition):
                raise ValueError(f"contradiction: {condition}")

    @property
    def conditions(self) -> list[Condition]:
        """The conditions as they were added; those that added nothing are left out."""
        return list(self._conditions)

    def add(self, condition: Decided) -> bool:
        """Take ``condition`` in, or return False, unchanged, when no sizes meet it with the earlier ones."""
        if not isinstance(condition, Condition):
            return bool(condition)
        if condition in self._conditions:
            return True
        if len(condition.symbols) == 1:
            (name,) = condition.symbols
            if name not in self._joint:
                return self._add_to_one(name, condition)
        solution = _solve([*self._conditions, condition])
        if solution is None:
            return False
        self._conditions[condition] = None
        self._solved = solution
        for part in _parts(condition):
            if len(part.symbols) == 1:
                (name,) = part.symbols
                self._sizes[name] = self._sizes.get(name, Sizes(name)).restricted(part)
            else:
                self._joint |= part.symbols
        return True

    def _add_to_one(self, name: str, condition: Condition) -> bool:
        before = self._sizes.get(name, Sizes(name))
        after = before
        for part in _parts(condition):
            after = after.restricted(part)
        if after is before or after == before:
            return True
        if after.first is None:
            return False
        self._sizes[name] = after
        self._conditions[condition] = None
        self._solved = None
        return True

    def conflict_with(self, condition: Decided) -> list[Condition]:
        """The earlier conditions that, together, rule ``condition`` out; none of them could be left away.

        Empty when they do not, and when ``condition`` contradicts itself.
        """
        if not isinstance(condition, Condition) or _solve([condition]) is None:
            return []
        if _solve([*self._conditions, condition]) is not None:
            return []
        for earlier in self._conditions:
            if _solve([earlier, condition]) is None:
                return [earlier]
        needed = list(self._conditions)
        for earlier in list(needed):
            fewer = [other for other in needed if other is not earlier]
            if _solve([*fewer, condition]) is None:
                needed = fewer
        return needed

    def implies(self, condition: Decided) -> bool:
        """True only if all sizes that meet these conditions meet ``condition``; False may mean "unsure"."""
        if not isinstance(condition, Condition) or condition in self._conditions:
            return bool(condition)
        return self._solution().implies(condition)

    def solve(self) -> list[Condition]:
        """The same conjunction, exactly, in few readable conditions, by symbol."""
        return self._solution().described()

    def simplify(self, dim: Dim) -> Dim:
        """``dim`` written shorter; equal to it for all sizes that meet the conditions."""
        return self._solution().simplify(dim)

    def _solution(self) -> _Solution:
        if self._solved is None:
            self._solved = _solve(list(self._conditions))
        assert self._solved is not None, "add refuses what cannot be solved"
        return self._solved


def _parts(condition: Decided) -> list[Condition]:
    if isinstance(condition, Junction) and condition.op == "and":
        return [inner for part in condition.parts for inner in _parts(part)]
    return [condition] if isinstance(condition, Condition) else []


class _Solution:
    """A conjunction taken apart: replaced symbols, the sizes of single symbols, and joint conditions."""

    def __init__(self, replaced: dict[str, Dim], sizes: dict[str, Sizes], joint: list[Condition]) -> None:
        self.replaced, self.sizes, self.joint = replaced, sizes, joint
        # symbol == first + step*(a new size >= 0), written with the symbol's own name
        self.forward: dict[str, Dim] = {}
        self.back: dict[str, tuple[int, int]] = {}
        self.new_ranges: dict[str, Interval] = {}
        self.ranges: dict[str, Interval] = {}
        for name, known in sizes.items():
            low, high = known.range
            if low is None or ((low, high) == (0, None) and known.pattern is None):
                continue
            step = known.step
            self.ranges[name] = low, high
            self.forward[name], self.back[name] = symbol(name) * step + low, (low, step)
            self.new_ranges[name] = 0, None if high is None else (high - low) // step

    def decide(self, condition: Condition) -> Decided:
        """True or False where the sizes of single symbols settle it, else the condition, maybe shorter."""
        if isinstance(condition, Junction):
            join = any_of if condition.op == "or" else all_of
            return join(*(self.decide(part) for part in condition.parts))
        if len(condition.symbols) == 1:
            (name,) = condition.symbols
            if name in self.sizes:
                if self.sizes[name].implies(condition):
                    return True
                if self.sizes[name].restricted(condition).first is None:
                    return False
            return condition
        moved = substituted(condition, self.forward)
        if not isinstance(moved, Condition):
            return moved
        if isinstance(moved, Comparison):
            low, high = bounds(moved.poly, self.new_ranges)
            if high is not None and high < moved.bound:
                return False
            if low is not None and low >= moved.bound and (moved.op == ">=" or low == high == moved.bound):
                return True
            if moved.op == "==" and low is not None and low > moved.bound:
                return False
        return self._shorter(condition)

    def _shorter(self, condition: Condition) -> Decided:
        if isinstance(condition, Comparison):
            dim = self.simplify(condition.poly)
            shorter = (at_least if condition.op == ">=" else equal)(dim, condition.bound)
        elif isinstance(condition, Remainder):
            modulus = self.simplify(condition.modulus)
            shorter = remainder(self.simplify(condition.dim), modulus, condition.residues)
        else:
            return condition
        return shorter if len(str(shorter)) < len(str(condition)) else condition

    def implies(self, condition: Condition) -> bool:
        decided = substituted(condition, self.replaced)
        for part in _parts(decided):
            if not self._implies_part(part):
                return False
        return decided is not False

    def _implies_part(self, part: Condition) -> bool:
        if (
            isinstance(part, Junction)
            and part.op == "or"
            and any(self.implies(branch) for branch in part.parts)
        ):
            return True
        return part in self.joint or self.decide(part) is True or _follows(part, self.joint)

    def described(self) -> list[Condition]:
        found: dict[str, list[Condition]] = {name: known.described() for name, known in self.sizes.items()}
        for name, dim in self.replaced.items():
            condition = equal(symbol(name), dim)
            found[name] = [condition] if isinstance(condition, Condition) else []
        single = [condition for name in sorted(found) for condition in found[name]]
        return list(dict.fromkeys([*single, *self.joint]))

    def simplify(self, dim: Dim) -> Dim:
        constants = {name: value for name, value in self.replaced.items() if isinstance(value, int)}
        dim = substitute(dim, constants)
        if isinstance(dim, int):
            return dim
        low, high = bounds(dim, self.ranges)
        if low is not None and low == high:
            return low
        pruned = _pruned(dim, self.ranges)
        moved = _moved_back(_pruned(substitute(pruned, self.forward), self.new_ranges), self.back)
        return min((moved, pruned, dim), key=lambda candidate: len(str(candidate)))


def _pruned(dim: Dim, ranges: Mapping[str, Interval]) -> Dim:
    """Without atoms and arguments of max and min that the ranges settle."""
    if isinstance(dim, int) or dim.symbols.isdisjoint(ranges):
        return dim
    values: dict[object, Dim] = {}
    known: dict[object, Interval] = {}
    for atom in atoms_of(dim):
        inside = [interval(part, known) for part in atom.parts]  # type: ignore[arg-type]
        known[atom] = atom_interval(atom, inside) if inside else ranges.get(atom.name, (0, None))
        low, high = known[atom]
        parts = [combine(part, values) for part in atom.parts]  # type: ignore[arg-type]
        if low is not None and low == high:
            values[atom] = low
        elif atom.kind == "symbol":
            values[atom] = symbol(atom.name)
        elif atom.kind == "floor":
            values[atom] = floor_divide(*parts)
        else:
            values[atom] = _best(atom.kind, parts, ranges)
    result: Dim = combine(dim, values)  # type: ignore[arg-type]
    return result


def _best(kind: str, parts: list[Dim], ranges: Mapping[str, Interval]) -> Dim:
    kept = list(parts)
    for part in parts:
        for other in kept:
            low = bounds(other - part if kind == "max" else part - other, ranges)[0]
            if other is not part and low is not None and low >= 0:
                kept.remove(part)
                break
    return maximum(*kept) if kind == "max" else minimum(*kept)


def _moved_back(dim: Dim, back: Mapping[str, tuple[int, int]]) -> Dim:
    """Written in the symbols again: a new size is ``(symbol - first)//step``."""
    values: dict[object, Dim] = {}
    for atom in atoms_of(dim):
        parts = [_moved_terms(part, values, back) for part in atom.parts]
        if atom.kind == "floor":
            values[atom] = floor_divide(*parts)
        elif atom.kind != "symbol":
            values[atom] = (maximum if atom.kind == "max" else minimum)(*parts)
    return _moved_terms(dim, values, back)


def _moved_terms(dim: Dim, values: Mapping[object, Dim], back: Mapping[str, tuple[int, int]]) -> Dim:
    total: Dim = 0
    for monomial, coefficient in terms_of(dim).items():
        term: Dim = 1
        for atom, power in monomial:
            for _ in range(power):
                if atom.kind != "symbol":
                    term = term * values[atom]
                    continue
                first, step = back.get(atom.name, (0, 1))
                shared = gcd(coefficient, step)
                coefficient //= shared
                term = term * floor_divide(symbol(atom.name) - first, step // shared)
        total = total + term * coefficient
    return total


# ---------------------------------------------------------------- solving


def _solve(conditions: list[Condition]) -> _Solution | None:
    """The conjunction taken apart, or None when no sizes meet it."""
    replaced: dict[str, Dim] = {}
    pending: list[Condition] = [part for condition in conditions for part in _parts(condition)]
    while True:
        current = _substituted(pending, replaced)
        if current is None:
            return None
        sizes: dict[str, Sizes] = {}
        joint: list[Condition] = []
        for condition in current:
            if len(condition.symbols) == 1:
                (name,) = condition.symbols
                sizes[name] = sizes.get(name, Sizes(name)).restricted(condition)
            else:
                joint.append(condition)
        if any(known.first is None for known in sizes.values()):
            return None
        new = _replacement(sizes, joint)
        if new is not None:
            name, dim = new
            replaced = {other: substitute(value, {name: dim}) for other, value in replaced.items()} | {
                name: dim
            }
            pending = current
            continue
        solution = _Solution(replaced, sizes, joint)
        decided = [solution.decide(condition) for condition in joint]
        if not all(decided) or _contradiction(joint, solution.ranges):
            return None
        parts = list(dict.fromkeys(part for condition in decided for part in _parts(condition)))
        if parts == joint:
            solution.joint = _without_implied(joint)
            return solution
        pending = [condition for condition in current if len(condition.symbols) == 1] + parts


def _substituted(conditions: list[Condition], replaced: Mapping[str, Dim]) -> list[Condition] | None:
    found: dict[Condition, None] = {}
    for condition in conditions:
        moved = substituted(condition, replaced)
        if moved is False:
            return None
        found.update(dict.fromkeys(_parts(moved)))
    return list(found)


def _replacement(sizes: Mapping[str, Sizes], joint: list[Condition]) -> tuple[str, Dim] | None:
    """A symbol to be rid of: it has one size only, or is another symbol plus a constant >= 0."""
    for name, known in sizes.items():
        if known.constant is not None:
            return name, known.constant
    for condition in joint:
        if isinstance(condition, Comparison) and condition.op == "==" and len(condition.poly.terms) == 2:
            up = single_atom(from_terms({m: c for m, c in condition.poly.terms.items() if c > 0}))
            down = single_atom(from_terms({m: -c for m, c in condition.poly.terms.items() if c < 0}))
            if up is None or down is None or up.kind != "symbol" or down.kind != "symbol":
                continue
            (small, large) = sorted((up.name, down.name))
            if condition.bound == 0:
                return large, symbol(small)
            if condition.bound > 0:
                return up.name, symbol(down.name) + condition.bound
            return down.name, symbol(up.name) - condition.bound
    return None


def _follows(condition: Condition, known: Iterable[Condition]) -> bool:
    """From one other comparison of the same polynomial."""
    if not isinstance(condition, Comparison) or condition.op != ">=":
        return False
    for other in known:
        if isinstance(other, Comparison) and other is not condition:
            if other.poly is condition.poly and other.bound >= condition.bound:
                return True
            if other.op == "==" and other.poly == -condition.poly and -other.bound >= condition.bound:
                return True
    return False


def _without_implied(joint: list[Condition]) -> list[Condition]:
    kept = list(joint)
    for condition in joint:
        others = [other for other in kept if other is not condition]
        if _follows(condition, others):
            kept = others
    return kept


def _contradiction(joint: list[Condition], ranges: Mapping[str, Interval]) -> bool:
    """Two comparisons of one polynomial that exclude each other, or limits that cross when carried on."""
    comparisons = [condition for condition in joint if isinstance(condition, Comparison)]
    lows: dict[Expression, int] = {}
    for condition in comparisons:
        for poly, low in _lower_limits(condition):
            lows[poly] = max(low, lows.get(poly, low))
    if any(-poly in lows and low > -lows[-poly] for poly, low in lows.items()):
        return True
    return _limits_cross(comparisons, dict(ranges))


def _lower_limits(condition: Comparison) -> list[tuple[Expression, int]]:
    limits = [(condition.poly, condition.bound)]
    return limits + ([(-condition.poly, -condition.bound)] if condition.op == "==" else [])


def _limits_cross(comparisons: list[Comparison], ranges: dict[str, Interval]) -> bool:
    sides = [side for condition in comparisons for side in _lower_limits(condition)]
    for _ in range(_ROUNDS):
        before = dict(ranges)
        for poly, bound in sides:
            for monomial, c in poly.terms.items():
                atom = single_atom(from_terms({monomial: 1}))
                if atom is None or atom.kind != "symbol":
                    continue
                most = bounds(poly - from_terms({monomial: c}), ranges)[1]  # c*symbol >= bound - most
                if most is None:
                    continue
                low, high = ranges.get(atom.name, (0, None))
                if c > 0:
                    low = max(low or 0, -((most - bound) // c))
                else:
                    limit = (bound - most) // c
                    high = limit if high is None else min(high, limit)
                if high is not None and (low or 0) > high:
                    return True
                ranges[atom.name] = low, high
        if ranges == before:
            return False
    return False
