"""Random sizes built twice: as an expression, and as the Python function that says what it must be."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import hypothesis
from hypothesis import settings
from hypothesis import strategies as st

from netspec.symbolic import Dim, maximum, minimum, symbol


def given(*strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hypothesis without its deadline: the first example pays for importing NumPy."""
    return lambda test: settings(deadline=None)(hypothesis.given(*strategies)(test))


@dataclass
class Pair:
    dim: Dim
    value: Callable[[Mapping[str, int]], int]
    made: str

    def __repr__(self) -> str:
        return f"{self.made}  ->  {self.dim}"


def _leaf(names: str) -> st.SearchStrategy[Pair]:
    constants = st.integers(-9, 9).map(lambda n: Pair(n, lambda env: n, str(n)))
    symbols = st.sampled_from(names).map(lambda s: Pair(symbol(s), lambda env: env[s], s))
    return st.one_of(constants, symbols, symbols)


def _both(
    build: Callable[[Dim, Dim], Dim],
    meaning: Callable[[int, int], int],
    left: st.SearchStrategy[Pair],
    right: st.SearchStrategy[Pair],
) -> st.SearchStrategy[Pair]:
    def join(a: Pair, b: Pair) -> Pair:
        made = f"{meaning.__name__}({a.made}, {b.made})"
        return Pair(build(a.dim, b.dim), lambda env: meaning(a.value(env), b.value(env)), made)

    return st.builds(join, left, right)


def _grow(products: bool) -> Callable[[st.SearchStrategy[Pair]], st.SearchStrategy[Pair]]:
    def grow(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
        number = st.integers(-5, 5).map(lambda n: Pair(n, lambda env: n, str(n)))
        divisor = st.integers(1, 6).map(lambda n: Pair(n, lambda env: n, str(n)))
        return st.one_of(
            _both(operator.add, operator.add, inner, inner),
            _both(operator.sub, operator.sub, inner, inner),
            _both(operator.mul, operator.mul, inner, inner if products else number),
            _both(operator.floordiv, operator.floordiv, inner, divisor),
            _both(maximum, max, inner, inner),
            _both(minimum, min, inner, inner),
        )

    return grow


def pairs(names: str = "HW", products: bool = True, leaves: int = 8) -> st.SearchStrategy[Pair]:
    return st.recursive(_leaf(names), _grow(products), max_leaves=leaves)
