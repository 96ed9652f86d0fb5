"""A small constant matrix times vectors in registers, written out with few operations.

Winograd's matrices come in pairs: columns that are equal up to signs (their inputs are added and subtracted
first), rows that differ only in the signs of some terms (what they share is computed once).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.backends.base import Array


class Lines:
    """The text of a straight run of statements, and fresh names."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.count = 0

    def let(self, expression: str) -> str:
        """A new name for the value."""
        name = f"t{self.count}"
        self.count += 1
        self.text.append(f"{name} = {expression}")
        return name


def product(lines: Lines, matrix: Array, names: Sequence[str]) -> list[str]:
    """The names of `matrix` times the vector of `names`."""
    matrix, names = _paired_columns(lines, np.array(matrix, np.float64), list(names))
    results: list[str | None] = [None] * len(matrix)
    for i in range(len(matrix)):
        if results[i] is not None:
            continue
        for k in range(i + 1, len(matrix)):
            if results[k] is None and _paired(matrix[i], matrix[k]):
                results[i], results[k] = _pair(lines, matrix[i], matrix[k], names)
                break
        else:
            results[i] = _row(lines, matrix[i], names)
    return [result for result in results if result is not None]


def _paired_columns(lines: Lines, matrix: Array, names: list[str]) -> tuple[Array, list[str]]:
    """Columns equal up to signs replaced by those of the sum and the difference of their inputs."""
    columns, values, done = [], [], set()
    for j in range(matrix.shape[1]):
        if j in done:
            continue
        for k in range(j + 1, matrix.shape[1]):
            a, b = matrix[:, j], matrix[:, k]
            signed = np.isclose(a, b) & (a != 0), np.isclose(a, -b) & (a != 0)
            if k not in done and signed[0].any() and signed[1].any() and np.allclose(abs(a), abs(b)):
                columns += [np.where(signed[0], a, 0), np.where(signed[1], a, 0)]
                values += [lines.let(f"{f}({names[j]}, {names[k]})") for f in ("add", "sub")]
                done.add(k)
                break
        else:
            columns.append(matrix[:, j])
            values.append(names[j])
    return np.stack(columns, 1), values


def _paired(a: Array, b: Array) -> bool:
    """Whether two rows share several terms and differ in the signs of others."""
    same, opposite = np.isclose(a, b) & (a != 0), np.isclose(a, -b) & (a != 0)
    return bool(
        np.allclose(abs(a), abs(b)) and same.sum() >= 1 and opposite.sum() >= 1 and (a != 0).sum() > 2
    )


def _pair(lines: Lines, a: Array, b: Array, names: Sequence[str]) -> tuple[str, str]:
    same = np.isclose(a, b)
    even = _row(lines, np.where(same, a, 0), names)
    odd = np.where(same, 0, a)
    factor = odd[np.flatnonzero(odd)[-1]]
    half = _row(lines, odd / factor, names)
    if factor == 1:
        return lines.let(f"add({even}, {half})"), lines.let(f"sub({even}, {half})")
    return (
        lines.let(f"fma({half}, {_constant(factor)}, {even})"),
        lines.let(f"fma({half}, {_constant(-factor)}, {even})"),
    )


def _row(lines: Lines, row: Array, names: Sequence[str]) -> str:
    """One sum; terms with the factor 1 first."""
    terms = [(float(row[j]), names[int(j)]) for j in np.flatnonzero(row)]
    terms.sort(key=lambda term: not np.isclose(term[0], 1))
    if not terms:
        return lines.let(_constant(0.0))
    factor, name = terms[0]
    total = name if np.isclose(factor, 1) else lines.let(f"mul({name}, {_constant(factor)})")
    for factor, name in terms[1:]:
        if np.isclose(factor, 1):
            total = lines.let(f"add({total}, {name})")
        elif np.isclose(factor, -1):
            total = lines.let(f"sub({total}, {name})")
        else:
            total = lines.let(f"fma({name}, {_constant(factor)}, {total})")
    return total


def _constant(value: float) -> str:
    return f"splat(FLOAT({float(value)!r}))"
