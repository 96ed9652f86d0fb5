import time

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from netspec.symbolic import (
    Condition,
    ConstraintSet,
    Dim,
    all_of,
    any_of,
    at_least,
    at_most,
    divisible,
    equal,
    evaluate,
    maximum,
    minimum,
    symbol,
)
from tests.symbolic.strategies import Pair, given, pairs

Env = dict[str, np.ndarray]
H, N, W = map(symbol, "HNW")
UNET = [
    equal(2 * (H // 16), H // 8),
    equal(2 * (H // 8), H // 4),
    equal(2 * (H // 4), H // 2),
    equal(2 * (H // 2), H),
    at_least(H // 16, 1),
]


@pytest.mark.parametrize(
    ("conditions", "solved"),
    [
        (UNET, ["H >= 16", "H % 16 == 0"]),
        ([at_least(H, 3), at_most(H, 9), divisible(H, 3)], ["H >= 3", "H <= 9", "H % 3 == 0"]),
        ([any_of(equal(H, 1), divisible(H, 2))], ["H == 1 or H % 2 == 0"]),
        ([any_of(equal(H, 1), divisible(H, 4), divisible(H - 2, 4))], ["H == 1 or H % 2 == 0"]),
        ([divisible(H - 3, 4), at_least(H, 2)], ["H % 4 == 3"]),
        ([any_of(divisible(H - 1, 5), divisible(H - 2, 5))], ["H % 5 in (1, 2)"]),
        ([any_of(at_least(H, 7), at_most(H, 2))], ["H >= 7 or H <= 2"]),
        ([at_least(H, 24), at_most(H, 26), divisible(H, 5)], ["H == 25"]),
        ([at_least(H, 10**9), divisible(H, 7)], ["H >= 1000000001", "H % 7 == 0"]),
        ([equal(H, W), divisible(H, 2), divisible(W, 3), at_least(W, 1)], ["H >= 6", "H % 6 == 0", "H == W"]),
        ([equal(H, 25), at_least(W, H)], ["H == 25", "W >= 25"]),
        ([equal(H, W + 3), at_least(H, 5)], ["H == W + 3", "W >= 2"]),
        ([at_least(H * W, 1)], ["H >= 1", "W >= 1"]),
        ([any_of(equal(H, W), equal(H, 1), equal(W, 1)), at_least(H, 2)], ["H >= 2", "H == W or W == 1"]),
        ([equal(2 * (H // 2) * W, H * W), divisible(H, 2)], ["H % 2 == 0"]),
        ([at_most(H, 50), divisible(36, H), at_most(H * H, 30)], ["H >= 1", "H <= 4"]),
        ([at_least(H, W), at_least(H, W + 2)], ["H >= W + 2"]),
        ([], []),
    ],
)
def test_solved(conditions: list[Condition], solved: list[str]) -> None:
    assert [str(condition) for condition in ConstraintSet(conditions).solve()] == solved


@pytest.mark.parametrize(
    ("conditions", "refused"),
    [
        ([at_least(H, 3)], at_most(H, 2)),
        ([divisible(H, 2)], equal(H, 3)),
        ([divisible(H, 2), at_least(H, 3)], at_most(H, 3)),
        ([divisible(H, 6)], divisible(H - 1, 4)),
        ([equal(H, W), at_least(H, 5)], at_most(W, 4)),
        ([at_least(H, W + 3)], at_least(W, H)),
        ([at_least(W, H + 1), at_least(H, 7)], at_most(W, 7)),
        ([at_most(H * (H + 1), 0)], equal(H, 1)),
        ([at_most(H, 7)], equal(H * H, 50)),
        ([divisible(16, H)], at_most(H, 0)),
        ([equal(H, 5)], any_of(equal(H, 4), equal(H, 6))),
    ],
)
def test_contradictions(conditions: list[Condition], refused: Condition) -> None:
    known = ConstraintSet([at_least(N, 4), *conditions])
    before = known.solve()
    assert known.add(refused) is False
    assert known.solve() == before
    assert refused not in known.conditions
    assert known.conflict_with(refused) == conditions
    assert known.conflict_with(at_least(N, 9)) == []


def test_simplify() -> None:
    known = ConstraintSet([*UNET, equal(W, 25), at_most(N, 8), at_least(N, 1)])
    cases: list[tuple[Dim, str]] = [
        (2 * (H // 2), "H"),
        ((H - 1) // 2 + 1, "H//2"),
        (maximum(H, 7), "H"),
        (minimum(N, 9) + N // 9, "N"),
        (N * 8 * (H // 16), "N*(H//2)"),
        (W + H, "H + 25"),
        (W // 2, "12"),
    ]
    assert [str(known.simplify(dim)) for dim, _ in cases] == [text for _, text in cases]


def test_implies() -> None:
    known = ConstraintSet([*UNET, equal(N, W), at_least(N, 2)])
    for condition in (
        divisible(H, 8),
        at_least(H, 9),
        equal(2 * (H // 2), H),
        at_least(W, 2),
        equal(N, W),
        all_of(at_least(W, 1), divisible(H, 2)),
        at_least(H + W, 18),
        any_of(divisible(H, 3), at_least(N, 1)),
    ):
        assert known.implies(condition), condition
    for condition in (divisible(H, 32), at_least(H, 17), at_least(N, 3), equal(H, W)):
        assert not known.implies(condition), condition


def test_many_conditions_are_cheap() -> None:
    known = ConstraintSet()
    start = time.perf_counter()
    for layer in range(10_000):
        assert known.add(at_least(H, layer // 2))
        assert known.add(at_least(W, 3))
    assert time.perf_counter() - start < 60  # a guard against a hang
    assert [str(condition) for condition in known.solve()] == ["H >= 4999", "W >= 3"]


def test_without_a_table_conditions_stay() -> None:
    long = [divisible(H, 1009), divisible(H // 1013, 1019), at_least(H * H, H + 30)]
    known = ConstraintSet(long)
    solved = known.solve()
    for env in ({"H": h} for h in (0, 1009, 1009 * 1013 * 1019, 6)):
        assert all(c.evaluate(env) for c in solved) == all(c.evaluate(env) for c in known.conditions)


def _single(pair: Pair, other: Pair, kind: str, modulus: int) -> Condition | bool:
    if kind == "divisible":
        return divisible(pair.dim, modulus)
    return {"at_least": at_least, "at_most": at_most, "equal": equal}[kind](pair.dim, other.dim)


def conditions(names: str, leaves: int = 5) -> st.SearchStrategy[Condition | bool]:
    pair = pairs(names, products=len(names) > 1, leaves=leaves)
    kinds = st.sampled_from(["at_least", "at_most", "equal", "divisible", "divisible"])
    single = st.builds(_single, pair, pairs(names, products=False, leaves=2), kinds, st.integers(1, 9))
    return st.one_of(single, single, st.lists(single, min_size=2, max_size=3).map(lambda cs: any_of(*cs)))


def _mask(found: list[Condition], env: Env) -> np.ndarray:
    result = np.ones(np.broadcast_shapes(*(values.shape for values in env.values())), dtype=bool)
    for condition in found:
        result = result & condition.evaluate(env)
    return result


def _collect(found: list[Condition | bool], env: Env) -> tuple[ConstraintSet, list[Condition]]:
    """A set of those that fit; every refusal is checked against all sizes in ``env``."""
    known = ConstraintSet()
    added: list[Condition] = []
    for condition in found:
        if known.add(condition):
            added += [condition] if isinstance(condition, Condition) else []
        elif isinstance(condition, Condition):
            assert not _mask([*added, condition], env).any()
            possible_alone = ConstraintSet().add(condition)
            assert bool(known.conflict_with(condition)) == possible_alone
    return known, added


@given(st.lists(conditions("H"), min_size=1, max_size=4), pairs("H", products=False), conditions("H"))
def test_one_symbol(found: list[Condition | bool], pair: Pair, other: Condition | bool) -> None:
    env = {"H": np.arange(301)}
    known, added = _collect(found, env)
    mask = _mask(added, env)
    assert np.array_equal(_mask(known.solve(), env), mask)
    simple = np.broadcast_to(evaluate(known.simplify(pair.dim), env), (301,))
    assert np.array_equal(simple[mask], np.broadcast_to(evaluate(pair.dim, env), (301,))[mask])
    if isinstance(other, Condition) and known.implies(other):
        assert other.evaluate(env)[mask].all()


@given(
    st.lists(st.one_of(conditions("HW"), conditions("H", 3)), min_size=1, max_size=4),
    pairs(),
    conditions("HW"),
)
def test_two_symbols(found: list[Condition | bool], pair: Pair, other: Condition | bool) -> None:
    env = {"H": np.arange(24)[:, None], "W": np.arange(24)[None, :]}
    known, added = _collect(found, env)
    mask = _mask(added, env)
    assert np.array_equal(_mask(known.solve(), env), mask)
    simple = np.broadcast_to(evaluate(known.simplify(pair.dim), env), mask.shape)
    assert np.array_equal(simple[mask], np.broadcast_to(evaluate(pair.dim, env), mask.shape)[mask])
    if isinstance(other, Condition) and known.implies(other):
        assert np.broadcast_to(other.evaluate(env), mask.shape)[mask].all()


@given(st.lists(conditions("H"), min_size=1, max_size=3))
def test_one_symbol_is_refused_exactly(found: list[Condition | bool]) -> None:
    known = ConstraintSet()
    added: list[Condition] = []
    for condition in found:
        if isinstance(condition, Condition) and known.add(condition):
            added.append(condition)
    assume(added)
    solution = known._solution()
    size = solution.replaced["H"] if "H" in solution.replaced else solution.sizes["H"].first
    assert all(condition.evaluate({"H": size}) for condition in added)
