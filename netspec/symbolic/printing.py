"""Expressions as readable Python: ``+ - * //``, ``min``, ``max`` and parentheses only."""

from __future__ import annotations

from netspec.symbolic.expression import Atom, Dim, Monomial, atoms_of, terms_of


def text(dim: Dim) -> str:
    """``(H - 1)//2 + 1``: higher degrees first, constants last, a positive term in front if there is one."""
    for atom in atoms_of(dim):  # innermost first, so that nothing here recurses
        if atom.text is None:
            atom.text = _atom_text(atom)
    return _polynomial(dim)


def leading(dim: Dim) -> Monomial:
    """The monomial written first, signs aside."""
    text(dim)
    return min(terms_of(dim), key=_order)


def _polynomial(dim: Dim) -> str:
    terms = sorted(terms_of(dim).items(), key=lambda term: _order(term[0]))
    if not terms:
        return "0"
    first = next((i for i, (_, coefficient) in enumerate(terms) if coefficient > 0), 0)
    terms.insert(0, terms.pop(first))
    pieces = []
    for i, (monomial, coefficient) in enumerate(terms):
        sign = ("-" if coefficient < 0 else "") if i == 0 else (" - " if coefficient < 0 else " + ")
        # A leading minus binds tighter than //, so what follows it must not be a bare quotient.
        pieces.append(sign + _term(monomial, abs(coefficient), bare=sign != "-"))
    return "".join(pieces)


def _term(monomial: Monomial, coefficient: int, bare: bool) -> str:
    factors = [atom for atom, power in sorted(monomial, key=_factor_order) for _ in range(power)]
    if len(factors) == 1 and coefficient == 1 and bare:
        return factors[0].text or ""
    numbers = [str(coefficient)] if coefficient != 1 or not factors else []
    return "*".join(numbers + [f"({a.text})" if a.kind == "floor" else a.text or "" for a in factors])


def _order(monomial: Monomial) -> tuple[bool, int, str]:
    return not monomial, -sum(power for _, power in monomial), _term(monomial, 1, bare=True)


def _factor_order(factor: tuple[Atom, int]) -> tuple[bool, str]:
    return factor[0].kind == "floor", factor[0].text or ""


def _atom_text(atom: Atom) -> str:
    if atom.kind == "symbol":
        return atom.name
    if atom.kind == "floor":
        return "//".join(_operand(part) for part in atom.parts)
    return f"{atom.kind}({', '.join(_polynomial(part) for part in sorted(atom.parts, key=_argument_order))})"


def _argument_order(dim: Dim) -> tuple[bool, str]:
    return isinstance(dim, int), _polynomial(dim)


def operand(dim: Dim) -> str:
    """``dim`` as an operand of ``//`` or ``%``: in parentheses unless a name, a call or a number."""
    text(dim)  # writes the atoms inside
    return _operand(dim)


def _operand(dim: Dim) -> str:
    written = _polynomial(dim)
    simple = written.isidentifier() or written.isdigit() or _is_call(dim)
    return written if simple else f"({written})"


def _is_call(dim: Dim) -> bool:
    terms = terms_of(dim)
    if len(terms) != 1:
        return False
    ((monomial, coefficient),) = terms.items()
    return (
        coefficient == 1
        and len(monomial) == 1
        and monomial[0][1] == 1
        and monomial[0][0].kind in ("max", "min")
    )
