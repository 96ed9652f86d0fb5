import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from netspec.symbolic import (
    Condition,
    all_of,
    any_of,
    at_least,
    at_most,
    divisible,
    equal,
    maximum,
    minimum,
    symbol,
)
from tests.symbolic.strategies import Pair, given, pairs

C, H, W = map(symbol, "CHW")


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (at_least(H, 32), "H >= 32"),
        (at_least(2 * (H // 4) - 3, 2), "H >= 12"),
        (at_most((H - 1) // 2 + 1, 7), "H <= 14"),
        (at_least(H // 16, 1), "H >= 16"),
        (at_least(0, 0), "True"),
        (at_least(H, 0), "True"),
        (at_most(H, -1), "False"),
        (at_least((H + 1) // 2, H // 2), "True"),
        (at_least(W, H + 3), "W >= H + 3"),
        (at_least(H * W, 1), "H >= 1 and W >= 1"),
        (at_least(H // W, 2), "H >= 2*W"),
        (at_least(maximum(H, W), 3), "H >= 3 or W >= 3"),
        (at_least(minimum(H, W), 3), "H >= 3 and W >= 3"),
        (equal(H, W), "H == W"),
        (equal(W, H), "H == W"),
        (equal(2 * H, 5), "False"),
        (equal(2 * H, 6), "H == 3"),
        (equal(H // 3, 4), "H >= 12 and H <= 14"),
        (equal(2 * (H // 2), H), "H % 2 == 0"),
        (equal(H, 4 * ((H - 1) // 4) + 1), "H % 4 == 1"),
        (equal(2 * (H // 16), H // 8), "2*(H//16) == H//8"),
        (divisible(H, 16), "H % 16 == 0"),
        (divisible(3 * H + 1, 4), "H % 4 == 1"),
        (divisible(4 * H, 2), "True"),
        (divisible(2 * H + 1, 4), "False"),
        (divisible(H // 2, 2), "(H//2) % 2 == 0"),
        (divisible(C * H, C), "True"),
        (divisible(16, C), "16 % C == 0"),
        (any_of(equal(H, W), equal(H, 1), equal(W, 1)), "H == W or H == 1 or W == 1"),
        (all_of(any_of(equal(H, 1), equal(H, 3)), at_least(W, 1)), "(H == 1 or H == 3) and W >= 1"),
        (any_of(at_least(H, 1), at_least(W, 0)), "True"),
    ],
)
def test_normal_form(condition: Condition | bool, text: str) -> None:
    assert str(condition) == text


MAKERS = {
    "at_least": (at_least, lambda a, b: a >= b),
    "at_most": (at_most, lambda a, b: a <= b),
    "equal": (equal, lambda a, b: a == b),
}


@given(st.sampled_from(sorted(MAKERS)), pairs("H", products=False), pairs("H", products=False, leaves=3))
def test_comparison_means_the_same(name: str, a: Pair, b: Pair) -> None:
    make, meaning = MAKERS[name]
    condition = make(a.dim, b.dim)
    for h in range(201):
        env = {"H": h}
        expected = meaning(a.value(env), b.value(env))
        assert (condition if isinstance(condition, bool) else condition.evaluate(env)) == expected
        if h < 40:
            assert eval(str(condition), {"min": min, "max": max}, env) == expected


@given(st.sampled_from(sorted(MAKERS)), pairs(), pairs(leaves=3), st.integers(0, 9), st.integers(0, 9))
def test_comparison_of_several_symbols(name: str, a: Pair, b: Pair, h: int, w: int) -> None:
    make, meaning = MAKERS[name]
    condition = make(a.dim, b.dim)
    env = {"H": h, "W": w}
    expected = meaning(a.value(env), b.value(env))
    assert (condition if isinstance(condition, bool) else condition.evaluate(env)) == expected
    assert eval(str(condition), {"min": min, "max": max}, env) == expected
    if isinstance(condition, Condition):
        assert bool(condition.substitute({"H": h}) is not False) or not expected
        assert condition.substitute(env) == expected


@given(pairs(), st.integers(1, 12))
def test_divisible_means_the_same(a: Pair, modulus: int) -> None:
    condition = divisible(a.dim, modulus)
    h, w = np.meshgrid(np.arange(20), np.arange(20))
    found = condition if isinstance(condition, bool) else condition.evaluate({"H": h, "W": w})
    expected = np.array([[a.value({"H": i, "W": j}) % modulus == 0 for i in range(20)] for j in range(20)])
    assert np.array_equal(np.broadcast_to(found, (20, 20)), expected)


@given(pairs(), pairs(leaves=3), st.integers(0, 12), st.integers(0, 12))
def test_divisible_by_an_expression(a: Pair, b: Pair, h: int, w: int) -> None:
    env = {"H": h, "W": w}
    assume(b.dim != 0)
    assume(b.value(env) != 0)
    condition = divisible(a.dim, b.dim)
    expected = a.value(env) % b.value(env) == 0
    assert (condition if isinstance(condition, bool) else condition.evaluate(env)) == expected
