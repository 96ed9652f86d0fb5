"""Sound bounds on expressions, sharper than interval arithmetic where floor divisions meet."""

from __future__ import annotations

from collections.abc import Mapping

from netspec.symbolic.expression import (
    Atom,
    Dim,
    Expression,
    Interval,
    atom_interval,
    atoms_of,
    constant_of,
    from_terms,
    interval,
    single_atom,
    terms_of,
)

_ROUNDS = 8  # floor divisions replaced one after another while looking for a bound


def bounds(dim: Dim, ranges: Mapping[str, Interval] | None = None) -> Interval:
    """``(lowest, highest)`` with None for "no bound found": every value lies between them.

    Symbols are integers >= 0, or in ``ranges`` where given.  Sound, not always tight.
    """
    if isinstance(dim, int):
        return dim, dim
    low = _low(dim, ranges)
    high = _low(-dim, ranges)
    return low, None if high is None else -high


def _low(dim: Expression, ranges: Mapping[str, Interval] | None) -> int | None:
    found = [_interval(dim, ranges)[0]]
    if any(atom.kind == "floor" for monomial in dim.terms for atom, _ in monomial):
        found += [_relaxed(dim, ranges)]
        merged, extra = _merge_same_divisor(dim)
        if merged is not dim:
            low = _relaxed(merged, ranges) if isinstance(merged, Expression) else merged
            found += [None if low is None else low + extra]
    return max((low for low in found if low is not None), default=None)


def _interval(dim: Dim, ranges: Mapping[str, Interval] | None) -> Interval:
    if not ranges or isinstance(dim, int) or dim.symbols.isdisjoint(ranges):
        return interval(dim)
    known: dict[Atom, Interval] = {}
    for atom in atoms_of(dim):
        inside = [interval(part, known) for part in atom.parts]
        known[atom] = ranges.get(atom.name, (0, None)) if not inside else atom_interval(atom, inside)
    return interval(dim, known)


def _relaxed(dim: Dim, ranges: Mapping[str, Interval] | None) -> int | None:
    """A lower bound from ``(x - d + 1)/d <= x//d <= x/d``, all terms scaled by the divisors."""
    scale = 1
    lows = [_interval(dim, ranges)[0]]
    for _ in range(_ROUNDS):
        step = _relax_one(dim, ranges)
        if step is None:
            break
        dim, divisor = step
        scale *= divisor
        low = _interval(dim, ranges)[0]
        lows.append(None if low is None else -(-low // scale))
    return max((low for low in lows if low is not None), default=None)


def _relax_one(dim: Dim, ranges: Mapping[str, Interval] | None) -> tuple[Dim, int] | None:
    """``(p, d)`` with ``p/d <= dim`` everywhere and one floor division fewer, if there is one to replace."""
    if isinstance(dim, int):
        return None
    for monomial, c in dim.terms.items():
        for atom, power in monomial:
            d = atom.parts[-1] if atom.kind == "floor" else None
            if power != 1 or not isinstance(d, int):
                continue
            rest = from_terms({tuple(factor for factor in monomial if factor[0] is not atom): 1})
            low = _interval(rest, ranges)[0]
            if low is None or low < 0:
                continue
            numerator = atom.parts[0]
            least = numerator - (d - 1) if c > 0 else numerator
            return (dim - from_terms({monomial: c})) * d + c * rest * least, d
    return None


def _merge_same_divisor(dim: Expression) -> tuple[Dim, int]:
    """Write ``(x + k)//d`` as ``x//d`` plus what the remainder of ``x`` adds, and take the least of that sum.

    This sees that ``(H + 1)//2 - H//2`` is 0 or 1 whatever H is.
    """
    groups: dict[tuple[Dim, int], list[tuple[int, int, Atom]]] = {}
    whole: dict[Atom, Dim] = {}  # (3*H)//2 counts as H//2, and H whole
    for monomial, c in dim.terms.items():
        atom = single_atom(from_terms({monomial: 1}))
        d = atom.parts[-1] if atom is not None and atom.kind == "floor" else None
        if atom is not None and isinstance(d, int):
            k = constant_of(atom.parts[0])
            x = from_terms({m: c % d for m, c in terms_of(atom.parts[0]).items() if m})
            whole[atom] = (atom.parts[0] - k - x) // d
            groups.setdefault((x, d), []).append((k, c, atom))
    merged: Dim = dim
    extra = 0
    for (_, d), members in groups.items():
        if len(members) < 2:
            continue
        base, _, kept = members[0]
        remainders = {0} | {(base - k) % d for k, _, _ in members}
        extra += min(sum(c * ((r + k - base) // d) for k, c, _ in members) for r in remainders)
        for _, c, atom in members[1:]:
            more = whole[atom] - whole[kept]
            merged = merged + from_terms({((kept, 1),): c}) + more * c - from_terms({((atom, 1),): c})
    return merged, extra
