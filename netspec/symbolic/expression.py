"""Tensor sizes as exact integer expressions over named symbols.

A size is an ``int`` or an :class:`Expression`: a polynomial with integer coefficients over atoms.  An atom is
a symbol, a floor division that could not be carried out, or a maximum or minimum that could not be decided.
Symbols stand for integers >= 0.  A division by zero has no value, so rewriting takes divisors as nonzero.

Atoms and expressions are interned: equal canonical forms are the same object, so ``==`` and ``hash`` cost
nothing however deep the nesting, and every walk below is a loop over atoms instead of a recursion.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from math import gcd
from typing import Any, Final, TypeAlias
from weakref import WeakValueDictionary

Dim: TypeAlias = "int | Expression"
Interval: TypeAlias = tuple[int | None, int | None]
Monomial: TypeAlias = (
    "tuple[tuple[Atom, int], ...]"  # (atom, power) pairs, by atom.serial; () is the constant
)
Terms: TypeAlias = "Mapping[Monomial, int]"

MAX_TERMS: Final = 4096  # products multiply term counts: refuse before a short text fills the memory
_MAX_COMPARED: Final = 64  # arguments of one max or min that are compared pairwise
_CONSTANT: Final[Monomial] = ()
_lock = threading.RLock()
_serials = count()


class Atom:
    """One indivisible factor: ``kind`` is "symbol", "floor", "max" or "min".

    ``parts`` holds the dims inside (numerator and divisor, or the arguments); ``name`` is a symbol's name.
    """

    __slots__ = ("__weakref__", "interval", "kind", "name", "parts", "serial", "symbols", "text")

    def __init__(self, kind: str, name: str, parts: tuple[Dim, ...]) -> None:
        self.kind, self.name, self.parts = kind, name, parts
        self.serial = next(_serials)
        self.text: str | None = None
        self.symbols: frozenset[str] = frozenset((name,) if kind == "symbol" else ())
        for part in parts:
            if isinstance(part, Expression):
                self.symbols |= part.symbols
        self.interval: Interval = atom_interval(self, [interval(part) for part in parts])

    def __reduce__(self) -> tuple[Any, ...]:
        return _atom, (self.kind, self.name, self.parts)


class Expression:
    """A size that depends on symbols.  Build one with :func:`symbol` and ``+ - * //``; never directly.

    Immutable; ``==`` is equality of canonical forms; results without symbols come back as plain ``int``.
    """

    __slots__ = ("__weakref__", "symbols", "terms", "text")

    terms: Terms
    symbols: frozenset[str]
    text: str | None

    def __add__(self, other: Dim) -> Dim:
        return _sum(self, other, 1) if isinstance(other, int | Expression) else NotImplemented

    __radd__ = __add__

    def __sub__(self, other: Dim) -> Dim:
        return _sum(self, other, -1) if isinstance(other, int | Expression) else NotImplemented

    def __rsub__(self, other: Dim) -> Dim:
        return _sum(-self, other, 1) if isinstance(other, int | Expression) else NotImplemented

    def __neg__(self) -> Expression:
        return _scaled(self, -1)

    def __mul__(self, other: Dim) -> Dim:
        return _product(self, other) if isinstance(other, int | Expression) else NotImplemented

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return floor_divide(self, other) if isinstance(other, int | Expression) else NotImplemented

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floor_divide(other, self) if isinstance(other, int | Expression) else NotImplemented

    def evaluate(self, env: Mapping[str, Any]) -> Any:
        """The value for given symbol values: ints, or NumPy integer arrays that broadcast.

        Raises KeyError for a symbol without a value and ZeroDivisionError for a zero divisor (ints).
        """
        return _interpret(self, env.__getitem__, operator.floordiv, _largest, _smallest)

    def substitute(self, env: Mapping[str, Dim]) -> Dim:
        """This expression with symbols replaced, all at once; symbols missing from ``env`` stay."""
        if self.symbols.isdisjoint(env):
            return self
        result: Dim = _interpret(
            self, lambda name: env[name] if name in env else symbol(name), floor_divide, maximum, minimum
        )
        return result

    def __str__(self) -> str:
        if self.text is None:
            from netspec.symbolic.printing import text

            self.text = text(self)
        return self.text

    def __repr__(self) -> str:
        return str(self)

    def __copy__(self) -> Expression:
        return self

    def __deepcopy__(self, memo: object) -> Expression:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_items, (tuple(self.terms.items()),)


_atoms: WeakValueDictionary[object, Atom] = WeakValueDictionary()
_expressions: WeakValueDictionary[frozenset[tuple[Monomial, int]], Expression] = WeakValueDictionary()


def _atom(kind: str, name: str, parts: tuple[Dim, ...]) -> Atom:
    key = (kind, name, parts if kind == "floor" else frozenset(parts))
    with _lock:
        found = _atoms.get(key)
        if found is None:
            found = _atoms[key] = Atom(kind, name, parts)
        return found


def from_terms(terms: Mapping[Monomial, int]) -> Dim:
    """The dim with these coefficients, zeros dropped."""
    terms = {monomial: coefficient for monomial, coefficient in terms.items() if coefficient}
    if not terms:
        return 0
    if len(terms) == 1 and _CONSTANT in terms:
        return terms[_CONSTANT]
    key = frozenset(terms.items())
    with _lock:
        found = _expressions.get(key)
        if found is None:
            found = Expression()
            found.terms, found.text = terms, None
            found.symbols = frozenset().union(*(atom.symbols for monomial in terms for atom, _ in monomial))
            _expressions[key] = found
        return found


def _from_items(items: Iterable[tuple[Monomial, int]]) -> Dim:
    """Rebuild after unpickling: atoms have new serials, so monomials are sorted again."""
    return from_terms({tuple(sorted(m, key=lambda factor: factor[0].serial)): c for m, c in items})


def _wrap(atom: Atom) -> Dim:
    """An atom as a dim; one that can only have a single value is that value."""
    low, high = atom.interval
    return low if low is not None and low == high else from_terms({((atom, 1),): 1})


def symbol(name: str) -> Expression:
    """The size called ``name``, an integer >= 0.  ValueError unless ``name`` is an ASCII identifier."""
    if not (name.isascii() and name.isidentifier()) or name in ("min", "max"):
        raise ValueError(f"expected a symbol name such as H or in_channels, got {name!r}")
    result = _wrap(_atom("symbol", name, ()))
    assert isinstance(result, Expression)
    return result


def terms_of(dim: Dim) -> Terms:
    """Coefficients by monomial, also for an ``int``."""
    return dim.terms if isinstance(dim, Expression) else ({_CONSTANT: dim} if dim else {})


def constant_of(dim: Dim) -> int:
    """The constant term."""
    return terms_of(dim).get(_CONSTANT, 0)


def single_atom(dim: Dim) -> Atom | None:
    """The atom when ``dim`` is exactly one atom, otherwise None."""
    if isinstance(dim, Expression) and len(dim.terms) == 1:
        ((monomial, coefficient),) = dim.terms.items()
        if coefficient == 1 and len(monomial) == 1 and monomial[0][1] == 1:
            return monomial[0][0]
    return None


# ---------------------------------------------------------------- polynomial arithmetic


def _sum(a: Dim, b: Dim, sign: int) -> Dim:
    if b == 0:
        return a
    terms = dict(terms_of(a))
    for monomial, coefficient in terms_of(b).items():
        terms[monomial] = terms.get(monomial, 0) + sign * coefficient
    return from_terms(terms)


def _scaled(a: Expression, factor: int) -> Expression:
    result = from_terms({monomial: factor * coefficient for monomial, coefficient in a.terms.items()})
    assert isinstance(result, Expression)
    return result


def _product(a: Dim, b: Dim) -> Dim:
    if b == 1:
        return a
    left, right = terms_of(a), terms_of(b)
    if len(left) * len(right) > MAX_TERMS:
        raise OverflowError(f"expression too large: a product of {len(left)} by {len(right)} terms")
    terms: dict[Monomial, int] = {}
    for m1, c1 in left.items():
        for m2, c2 in right.items():
            monomial = times(m1, m2)
            terms[monomial] = terms.get(monomial, 0) + c1 * c2
    return from_terms(terms)


def times(a: Monomial, b: Monomial) -> Monomial:
    """The product of two monomials."""
    if not a or not b:
        return a or b
    powers = dict(a)
    for atom, power in b:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda factor: factor[0].serial))


def _without(a: Monomial, b: Monomial) -> Monomial | None:
    """``a / b``, or None when ``b`` does not divide ``a``."""
    powers = dict(a)
    for atom, power in b:
        left = powers.get(atom, 0) - power
        if left < 0:
            return None
        powers[atom] = left
    return tuple((atom, power) for atom, power in powers.items() if power)


def divide_exactly(a: Dim, b: Dim) -> Dim | None:
    """The polynomial ``q`` with ``a == q*b``, or None: long division by leading terms."""
    divisor = terms_of(b)
    rest = dict(terms_of(a))
    variables = sorted({atom.serial for terms in (rest, divisor) for m in terms for atom, _ in m})

    def order(monomial: Monomial) -> list[int]:
        powers = {atom.serial: power for atom, power in monomial}
        return [powers.get(serial, 0) for serial in variables]

    lead = max(divisor, key=order)
    quotient: dict[Monomial, int] = {}
    while rest:
        top = max(rest, key=order)
        monomial = _without(top, lead)
        factor, remainder = divmod(rest[top], divisor[lead])
        if monomial is None or remainder:
            return None
        quotient[monomial] = factor
        for m, c in divisor.items():
            key = times(monomial, m)
            rest[key] = rest.get(key, 0) - factor * c
            if not rest[key]:
                del rest[key]
    return from_terms(quotient)


# ---------------------------------------------------------------- floor division


def floor_divide(a: Dim, b: Dim) -> Dim:
    """``a // b`` in canonical form; ZeroDivisionError when ``b`` is 0."""
    if isinstance(b, Expression):
        return _divide_by_expression(a, b)
    if b == 0:
        raise ZeroDivisionError("division of a size by zero")
    if b < 0:
        a, b = -a, -b
    return a // b if isinstance(a, int) else _divide_by_int(a, b)


def _divide_by_int(dim: Dim, d: int) -> Dim:
    outside: Dim = 0
    while isinstance(dim, Expression):
        # Multiples of a common factor do not see what the constant has beyond it: (2*H + 1)//4 == H//2.
        common = gcd(d, *(c for m, c in dim.terms.items() if m))
        dim, d = from_terms({m: c // common for m, c in dim.terms.items()}), d // common
        pulled, inside = {}, {}
        for m, c in terms_of(dim).items():
            # Only whole multiples leave: taking H out of (3*H)//2 would write every size inside twice.
            # The constant stays nearest to zero, (H - 1)//2 + 1, as a convolution is written.
            kept = (c if c % d else 0) if m else (c + d // 2) % d - d // 2
            pulled[m], inside[m] = (c - kept) // d, kept
        outside, dim = outside + from_terms(pulled), from_terms(inside)
        inner = _only_floor(dim)
        if inner is None:
            break
        numerator, divisor = inner.parts  # (x//a + r)//d == (x + a*r)//(a*d)
        dim = numerator + divisor * (dim - _wrap(inner))
        if isinstance(divisor, Expression):
            return outside + floor_divide(dim, divisor * d)
        d *= divisor
    return outside + (dim // d if isinstance(dim, int) else _wrap(_atom("floor", "", (dim, d))))


def _only_floor(dim: Dim) -> Atom | None:
    """The only floor atom in ``dim``, when it is a term of its own with coefficient 1."""
    found = [(m, c) for m, c in terms_of(dim).items() if any(atom.kind == "floor" for atom, _ in m)]
    if len(found) == 1 and found[0][1] == 1 and len(found[0][0]) == 1 and found[0][0][0][1] == 1:
        return found[0][0][0][0]
    return None


def _divide_by_expression(a: Dim, b: Expression) -> Dim:
    exact = divide_exactly(a, b)
    if exact is not None:
        return exact
    outside: Dim = 0
    if len(b.terms) == 1:
        outside, a = _pull_out(a, b)
    a, b_left = _cancel(a, b)
    if isinstance(b_left, int):
        return outside + floor_divide(a, b_left)
    inner = _only_floor(a)
    if inner is not None and (b_left_low := interval(b_left)[0]) is not None and b_left_low >= 0:
        numerator, divisor = inner.parts
        return outside + floor_divide(numerator + divisor * (a - _wrap(inner)), divisor * b_left)
    return outside + _wrap(_atom("floor", "", (a, b_left)))


def _pull_out(a: Dim, b: Expression) -> tuple[Dim, Dim]:
    """``(q, r)`` with ``a == q*b + r`` for a ``b`` of one term."""
    ((divisor, factor),) = b.terms.items()
    pulled: dict[Monomial, int] = {}
    for m, c in terms_of(a).items():
        quotient = _without(m, divisor)
        if quotient is not None:
            pulled[quotient] = c // factor
    q = from_terms(pulled)
    return q, a - q * b


def _cancel(a: Dim, b: Expression) -> tuple[Dim, Dim]:
    """Both sides without their common integer and monomial factor."""
    everything = [*terms_of(a).items(), *b.terms.items()]
    common = dict(everything[0][0])
    for m, _ in everything:
        powers = dict(m)
        common = {atom: min(power, powers[atom]) for atom, power in common.items() if atom in powers}
    number = gcd(*(c for _, c in everything))
    factor = tuple(sorted(common.items(), key=lambda item: item[0].serial))
    shrink: Callable[[Dim], Dim] = lambda dim: from_terms(  # noqa: E731
        {_without(m, factor) or (): c // number for m, c in terms_of(dim).items()}
    )
    return shrink(a), shrink(b)


# ---------------------------------------------------------------- maximum and minimum


def maximum(*dims: Dim) -> Dim:
    """The largest of ``dims``; arguments that can never be it are dropped."""
    return _extreme("max", dims)


def minimum(*dims: Dim) -> Dim:
    """The smallest of ``dims``; arguments that can never be it are dropped."""
    return _extreme("min", dims)


def _extreme(kind: str, dims: tuple[Dim, ...]) -> Dim:
    if not dims:
        raise ValueError(f"{kind}imum of no sizes")
    arguments: dict[Dim, None] = {}
    for dim in dims:
        atom = single_atom(dim)
        arguments.update(dict.fromkeys(atom.parts if atom is not None and atom.kind == kind else (dim,)))
    kept = list(arguments)
    if len(kept) <= _MAX_COMPARED:
        for dim in list(kept):
            if any(other is not dim and _beats(kind, other, dim) for other in kept):
                kept.remove(dim)
    return kept[0] if len(kept) == 1 else _wrap(_atom(kind, "", tuple(kept)))


def _beats(kind: str, winner: Dim, loser: Dim) -> bool:
    from netspec.symbolic.bounding import bounds

    low = bounds(winner - loser if kind == "max" else loser - winner)[0]
    return low is not None and low >= 0


# ---------------------------------------------------------------- intervals


def interval(dim: Dim, known: Mapping[Atom, Interval] | None = None) -> Interval:
    """Plain interval arithmetic over the terms, sound and cheap; ``known`` overrides the atoms' intervals."""
    if isinstance(dim, int):
        return dim, dim
    low: int | None = 0
    high: int | None = 0
    for monomial, coefficient in dim.terms.items():
        term: Interval = (coefficient, coefficient)
        for atom, power in monomial:
            term = _interval_times(term, _interval_power(known[atom] if known else atom.interval, power))
        low = None if low is None or term[0] is None else low + term[0]
        high = None if high is None or term[1] is None else high + term[1]
    return low, high


def _interval_power(base: Interval, power: int) -> Interval:
    low, high = base
    if low is not None and low >= 0:
        return low**power, None if high is None else high**power
    result = base
    for _ in range(power - 1):
        result = _interval_times(result, base)
    return result


def _interval_times(a: Interval, b: Interval) -> Interval:
    if a == (0, 0) or b == (0, 0):
        return 0, 0
    corners: list[int] = []
    low_open = high_open = False
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            if x is not None and y is not None:
                corners.append(x * y)
                continue
            # An open end times a finite 0 is 0; otherwise its sign says which way the product is open.
            signs = [(1 if end else -1) if v is None else (v > 0) - (v < 0) for end, v in ((i, x), (j, y))]
            sign = signs[0] * signs[1]
            if sign == 0:
                corners.append(0)
            low_open |= sign < 0
            high_open |= sign > 0
    return None if low_open else min(corners), None if high_open else max(corners)


def atom_interval(atom: Atom, parts: list[Interval]) -> Interval:
    """An atom's interval from those of its parts."""
    if atom.kind == "symbol":
        return 0, None
    if atom.kind == "floor":
        return _floor_interval(*parts)
    lows = [low for low, _ in parts]
    highs = [high for _, high in parts]
    pick, some, every = (max, lows, highs) if atom.kind == "max" else (min, highs, lows)
    one = [end for end in some if end is not None]
    all_ends = [end for end in every if end is not None]
    near = pick(one) if one else None
    far = pick(all_ends) if len(all_ends) == len(every) else None
    return (near, far) if atom.kind == "max" else (far, near)


def _floor_interval(numerator: Interval, divisor: Interval) -> Interval:
    (low, high), (least, most) = numerator, divisor
    if least is None or least < 0:
        return None, None
    least = max(least, 1)
    by_most: Callable[[int, int], int] = lambda value, limit: limit if most is None else value // most  # noqa: E731
    if most == 0:
        return None, None
    new_low = None if low is None else low // least if low < 0 else by_most(low, 0)
    new_high = None if high is None else high // least if high >= 0 else by_most(high, -1)
    return new_low, new_high


# ---------------------------------------------------------------- walks


def atoms_of(dim: Dim) -> list[Atom]:
    """Every atom in ``dim``, each after those it contains."""
    done: dict[Atom, None] = {}
    stack: list[tuple[Atom, bool]] = [(atom, False) for atom in _direct(dim)]
    while stack:
        atom, expanded = stack.pop()
        if atom in done:
            continue
        if expanded or not atom.parts:
            done[atom] = None
            continue
        stack.append((atom, True))
        stack.extend((inner, False) for part in atom.parts for inner in _direct(part) if inner not in done)
    return list(done)


def _direct(dim: Dim) -> list[Atom]:
    return [atom for monomial in terms_of(dim) for atom, _ in monomial]


def _interpret(
    dim: Dim,
    on_symbol: Callable[[str], Any],
    on_floor: Callable[[Any, Any], Any],
    on_max: Callable[..., Any],
    on_min: Callable[..., Any],
) -> Any:
    """``dim`` with its symbols and operations given a meaning, atom by atom."""
    operations = {"floor": on_floor, "max": on_max, "min": on_min}
    values: dict[Atom, Any] = {}
    for atom in atoms_of(dim):
        if atom.kind == "symbol":
            values[atom] = on_symbol(atom.name)
        else:
            values[atom] = operations[atom.kind](*(combine(part, values) for part in atom.parts))
    return combine(dim, values)


def combine(dim: Dim, values: Mapping[Atom, Any]) -> Any:
    """The polynomial ``dim`` with a value for each of its atoms."""
    total: Any = 0
    for monomial, coefficient in terms_of(dim).items():
        term: Any = coefficient
        for atom, power in monomial:
            for _ in range(power):
                term = term * values[atom]
        total = total + term
    return total


def _largest(*values: Any) -> Any:
    return _pick(values, "maximum")


def _smallest(*values: Any) -> Any:
    return _pick(values, "minimum")


def _pick(values: tuple[Any, ...], name: str) -> Any:
    if all(isinstance(value, int) for value in values):
        return max(values) if name == "maximum" else min(values)
    import numpy as np  # only reached when arrays came in

    result = values[0]
    for value in values[1:]:
        result = getattr(np, name)(result, value)
    return result


# ---------------------------------------------------------------- the same operations on any Dim


def ceildiv(a: Dim, b: Dim) -> Dim:
    """``a / b`` rounded up, for a positive ``b``."""
    return floor_divide(a + b - 1, b)


def product(dims: Iterable[Dim]) -> Dim:
    """All ``dims`` multiplied; 1 when there are none."""
    result: Dim = 1
    for dim in dims:
        result = result * dim
    return result


def evaluate(dim: Dim, env: Mapping[str, Any]) -> Any:
    """:meth:`Expression.evaluate` for any dim."""
    return dim if isinstance(dim, int) else dim.evaluate(env)


def substitute(dim: Dim, env: Mapping[str, Dim]) -> Dim:
    """:meth:`Expression.substitute` for any dim."""
    return dim if isinstance(dim, int) else dim.substitute(env)


def symbols_of(dim: Dim) -> frozenset[str]:
    """The names in ``dim``."""
    return frozenset() if isinstance(dim, int) else dim.symbols
