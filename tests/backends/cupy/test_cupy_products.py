"""Matrix products and Einstein summation on the CUDA backend: every layout, every type, random equations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.backends.base import Context
from netspec.backends.cupy import products
from netspec.backends.cupy.arguments import LABELS
from netspec.operations import RUNNING, Affine, Einsum, Elementwise, Fused, Linear, MatMul, Stage
from tests.backends.cupy.cupy_strides import INEXACT, LAYOUTS, WHOLE, placed, run, tolerance, values, wide
from tests.backends.cupy.host import LAUNCHED, HostDevice, host_backend

pytestmark = pytest.mark.compiler
quick = settings(max_examples=80, deadline=None)
ANYWHERE = st.sampled_from(LAYOUTS)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The arguments of every call of the library that is bound."""
    found: list[tuple[Any, ...]] = []
    multiply = HostDevice.multiply

    def noted(self: HostDevice, *arguments: Any, **options: Any) -> Callable[[], None]:
        assert not options.get("tf32")  # torch's default: convolutions alone
        found.append(arguments)
        return multiply(self, *arguments, **options)

    monkeypatch.setattr(HostDevice, "multiply", noted)
    return found


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is small or awkward: the library does all that it can."""
    for name in ("AWKWARD", "DOT"):
        monkeypatch.setattr(products, name, 0)


def close(result: Any, expected: Any, dtype: str, terms: int = 1) -> None:
    """Whole numbers exactly; others within their rounding, that of sums of so many terms."""
    if dtype in WHOLE:
        np.testing.assert_array_equal(result, expected)
    else:
        rounding = tolerance(dtype) * max(1, terms**0.5)
        np.testing.assert_allclose(result, expected, rtol=rounding, atol=rounding)


# --- MatMul -----------------------------------------------------------------------------------------


SHAPES = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((3,), (5, 3, 4)), ((5, 2, 3), (3,)), ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)), ((5, 1, 2, 3), (6, 3, 4)), ((5, 1, 2, 3), (1, 6, 3, 4)), ((2, 5, 2, 3), (2, 5, 3, 1)),
    ((1, 3), (3, 4)), ((2, 1), (1, 4)), ((2, 1, 3), (2, 3, 1)), ((2, 0), (0, 4)), ((0, 3), (3, 4)), ((0,), (0,)),
    ((0, 2, 3), (3, 4)), ((1, 2, 3), (0, 3, 4)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64", "int8", "int64"])
@pytest.mark.parametrize(("x", "y"), SHAPES)
def test_matmul(x: Any, y: Any, dtype: str) -> None:
    a, b = values(1, x, dtype), values(2, y, dtype)
    expected = np.matmul(a, b) if dtype in WHOLE else np.matmul(wide(a), wide(b))
    for layouts in (("plain",) * 2, ("turned", "plain"), ("sparse", "turned"), ("last", "last")):
        result = run(MatMul(), [a, b], (expected.shape, dtype), layout=layouts, out_layout=layouts[0])
        close(result, expected, dtype)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("layouts", list(itertools.product(LAYOUTS, repeat=3)), ids="-".join)
def test_matmul_by_the_library(layouts: tuple[str, ...]) -> None:
    *ins, out = layouts
    for x, y in SHAPES:
        a, b = values(1, x, "float32"), values(2, y, "float32")
        expected = np.matmul(wide(a), wide(b))
        close(
            run(MatMul(), [a, b], (expected.shape, "float32"), layout=ins, out_layout=out),
            expected,
            "float32",
        )


def test_a_batch_times_one_matrix_is_one_product(calls: list[Any]) -> None:
    run(MatMul(), [np.ones((20, 30, 40)), np.ones((40, 50))], ((20, 30, 50), "float64"))
    assert [(call[1], call[5]) for call in calls] == [((600, 50, 40), 1)]


def test_matrices_are_read_as_they_lie(calls: list[Any]) -> None:
    x, y = values(1, (70, 80), "float32"), values(2, (80, 90), "float32")
    for layouts, turned in ((("turned", "plain"), (True, False)), (("plain", "turned"), (False, True))):
        calls.clear()
        result = run(MatMul(), [x, y], ((70, 90), "float32"), layout=layouts)
        close(result, wide(x) @ wide(y), "float32", 80)
        assert [(call[2][1], call[3][1]) for call in calls] == [turned]
    calls.clear()  # a turned result: the turned matrices in the other order
    close(run(MatMul(), [x, y], ((70, 90), "float32"), out_layout="turned"), wide(x) @ wide(y), "float32", 80)
    assert [(call[1], call[2][1], call[3][1]) for call in calls] == [((90, 70, 80), True, True)]


def attention(backend: Any, shape: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """Queries and keys (b, h, s, d) as they come from (b, s, h, d), and an array for the products."""
    b, h, s, d = shape
    q, k = (backend.asarray(values(i, (b, s, h, d), "float32")).transpose((0, 2, 1, 3)) for i in (1, 2))
    return q, k.transpose((0, 1, 3, 2)), backend.asarray(np.zeros((b, h, s, s), np.float32))


@pytest.mark.parametrize(
    ("shape", "count", "rounds"),
    [((2, 3, 64, 64), 3, 2), ((20, 12, 64, 16), 240, 1), ((1, 12, 70, 30), 12, 1)],
)
def test_attention_copies_only_for_many_calls(
    shape: tuple[int, ...], count: int, rounds: int, calls: list[Any]
) -> None:
    backend = host_backend()
    q, k, out = attention(backend, shape)
    context = Context(session=backend.session())
    backend.bind(MatMul(), [q, k], [out], context)()
    x, y = (values(i, (shape[0], shape[2], shape[1], shape[3]), "float32").swapaxes(1, 2) for i in (1, 2))
    close(backend.to_numpy(out), wide(x) @ wide(y).swapaxes(2, 3), "float32", shape[3])
    assert [call[5] for call in calls] == [count] * rounds


def test_large_products_in_every_layout() -> None:
    x, y = values(1, (3, 130, 70), "float32"), values(2, (3, 70, 110), "float32")
    for layouts in itertools.product(LAYOUTS, repeat=3):
        result = run(MatMul(), [x, y], ((3, 130, 110), "float32"), layout=layouts[:2], out_layout=layouts[2])
        close(result, wide(x) @ wide(y), "float32", 70)


# --- Linear -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (4, 2, 3), (0, 3), (2, 0), (1, 1), (2, 3, 4, 5)])
def test_linear(shape: tuple[int, ...], dtype: str) -> None:
    x, w, b = values(1, shape, dtype), values(2, (5, shape[-1]), dtype), values(3, (5,), dtype)
    product = x @ w.T if dtype in WHOLE else wide(x) @ wide(w).T
    spec = ((*shape[:-1], 5), dtype)
    for layout, out_layout in itertools.product(LAYOUTS, repeat=2):
        found = run(Linear(), [x, w, b], spec, layout=layout, out_layout=out_layout)
        close(found, product + b, dtype)
        close(run(Linear(), [x, w], spec, layout=layout, out_layout=out_layout), product, dtype)


STAGES = (
    Stage(Elementwise("add"), (RUNNING, 3)),
    Stage(Affine(1), (RUNNING, 2, 2)),
    Stage(Elementwise("mul"), (RUNNING, RUNNING)),
    Stage(Elementwise("relu"), (RUNNING,)),
)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize(
    ("rows", "size", "features"), [(1, 400, 110), (17, 210, 130), (70, 90, 70), (9, 50, 7)]
)
def test_linear_with_stages(rows: int, size: int, features: int, dtype: str) -> None:
    x, w = values(1, (rows, size), dtype) / 10, values(2, (features, size), dtype) / 10
    b, other = values(3, (features,), dtype), values(4, (rows, features), dtype)
    x, w = x.astype(dtype), w.astype(dtype)
    expected = wide(x) @ wide(w).T + b + other
    expected = np.maximum((expected * b + b) ** 2, 0)
    for layout, out_layout in itertools.product(LAYOUTS, repeat=2):
        result = run(
            Fused(Linear(), 3, STAGES),
            [x, w, b, other],
            (other.shape, dtype),
            layout=layout,
            out_layout=out_layout,
        )
        np.testing.assert_allclose(result, expected, rtol=10 * tolerance(dtype), atol=30 * tolerance(dtype))


def test_more_stages_than_a_chain_has() -> None:
    x, w, b = values(1, (6, 4)), values(2, (5, 4)), values(3, (5,))
    stages = tuple(Stage(Elementwise("add", (0.5,)), (RUNNING, 2)) for _ in range(30))
    for layout in LAYOUTS:
        result = run(Fused(Linear(), 3, stages), [x, w, b], ((6, 5), "float64"), out_layout=layout)
        np.testing.assert_allclose(result, x @ w.T + 16 * b, rtol=1e-12)
        result = run(Fused(Linear(), 2, stages), [x, w, b], ((6, 5), "float64"), out_layout=layout)
        np.testing.assert_allclose(result, x @ w.T + 15 * b, rtol=1e-12)


def test_one_launch_follows_the_product(calls: list[Any]) -> None:
    backend = host_backend()
    x, w, b, other = (
        backend.asarray(values(i, shape, "float32"))
        for i, shape in enumerate([(8, 100, 40), (30, 40), (30,), (8, 100, 30)])
    )
    out = backend.asarray(np.zeros((8, 100, 30), np.float32))
    context = Context(session=backend.session())
    for inputs, op, chains in (
        ([x, w], Linear(), 0),
        ([x, w, b], Linear(), 1),
        ([x, w, b, other], Fused(Linear(), 3, (Stage(Elementwise("add"), (RUNNING, 3)),)), 1),
    ):
        calls.clear()
        before = dict(LAUNCHED)
        backend.bind(op, inputs, [out], context)()
        assert [call[1] for call in calls] == [(800, 30, 40)]
        assert sum(LAUNCHED.values()) - sum(before.values()) == chains


# --- Einsum -----------------------------------------------------------------------------------------


def check(
    equation: str, arrays: list[np.ndarray], layout: str | Sequence[str] = "plain", out_layout: str = "plain"
) -> None:
    """Against np.einsum in double precision, or in the arrays' own type if that is whole."""
    dtype = str(arrays[0].dtype)
    expected = np.asarray(np.einsum(equation, *(x if dtype in WHOLE else wide(x) for x in arrays)))
    result = run(Einsum(equation), arrays, (expected.shape, dtype), layout=layout, out_layout=out_layout)
    terms = int(np.prod([x.size for x in arrays])) // max(1, expected.size)
    close(result, expected, dtype, terms)


SIZES = {"a": 2, "b": 3, "c": 4, "d": 5, "e": 1}


def arrays_of(equation: str, dtype: str, sizes: dict[str, int] = SIZES) -> list[np.ndarray]:
    terms = equation.split("->")[0].split(",")
    return [values(i, [sizes[letter] for letter in term], dtype) for i, term in enumerate(terms)]


EQUATIONS = [
    "ab,bc->ca", "ab,bc,cd->ad", "aab->ab", "aa->", "ab,ab->", "aab,bc->ac", "ab->ba", "abc->b", ",->", "a,->a",
    "ab,b->a", "a,b->ab", "a,b,c->cab", "ab,ab,ab->a", "abcd,abed->abce", "abc,ad->bd", "ab,cd->", "ab,cd->ac",
    "abb,bcc->a", "ab,bc,cd,da->", "ab,ab,bc,bc,cd->ad", "a,a,a,a,a->a", "abcd,cd->ba", "badc,cdae->eb", "a->a",
]  # fmt: skip


@pytest.mark.parametrize("dtype", [*INEXACT, "int8", "int64", "bool"])
@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(equation: str, dtype: str) -> None:
    arrays = arrays_of(equation, dtype)
    for layout in LAYOUTS:
        check(equation, arrays, layout, layout)


@st.composite
def equations(draw: Any) -> tuple[str, dict[str, int]]:
    """An explicit equation of one to five terms over up to six letters, and their sizes."""
    letters = "abcdef"[: draw(st.integers(1, 6))]
    term = st.lists(st.sampled_from(letters), min_size=0, max_size=4).map("".join)
    terms = draw(st.lists(term, min_size=1, max_size=5))
    used = sorted(set("".join(terms)))
    result = draw(st.permutations(used))[: draw(st.integers(0, len(used)))]
    sizes = {letter: draw(st.sampled_from([0, 1, 2, 3, 5])) for letter in letters}
    return f"{','.join(terms)}->{''.join(result)}", sizes


@quick
@given(
    equations(), st.sampled_from(["float32", "float64", "complex64", "int16", "int64"]), ANYWHERE, ANYWHERE
)
def test_any_einsum(case: tuple[str, dict[str, int]], dtype: str, layout: str, out_layout: str) -> None:
    equation, sizes = case
    check(equation, arrays_of(equation, dtype, sizes), layout, out_layout)


@pytest.mark.usefixtures("library")
@quick
@given(equations(), st.sampled_from(["float16", "float64"]), ANYWHERE, ANYWHERE)
def test_any_einsum_by_the_library(
    case: tuple[str, dict[str, int]], dtype: str, layout: str, out_layout: str
) -> None:
    equation, sizes = case
    arrays = arrays_of(equation, dtype, sizes)
    if dtype == "float16":  # intermediate results are rounded too
        arrays = [np.sign(x) for x in arrays]
    check(equation, arrays, layout, out_layout)


LARGE = {"a": 31, "b": 20, "c": 17, "d": 40, "e": 3}


@pytest.mark.parametrize(
    "equation", [*EQUATIONS, "abe,bed->eda", "abc,bcd->ad", "ace,bde->abcd", "eab,bcd->dace"]
)
def test_large_einsum(equation: str) -> None:
    """Beyond what is left to the own kernel: sums of single terms, copies, several calls."""
    if "aab" in equation or "abb" in equation:
        sizes = LARGE
    else:
        sizes = {letter: 2 * size + 1 if len(set(equation)) < 7 else size for letter, size in LARGE.items()}
    arrays = arrays_of(equation, "float64", sizes)
    expected = np.asarray(np.einsum(equation, *arrays, optimize="greedy"))
    for layout in ("plain", "sparse"):
        result = run(Einsum(equation), arrays, (expected.shape, "float64"), layout=layout, out_layout=layout)
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9)


def test_whole_numbers_wrap_as_numpys(calls: list[Any]) -> None:
    for dtype in ("uint8", "int16", "int64"):
        x, y = values(1, (90, 80), dtype), values(2, (80, 70), dtype)
        check("ab,bc->ac", [x, y])
        np.testing.assert_array_equal(run(MatMul(), [x, y], ((90, 70), dtype)), x @ y)
    assert calls == []


def test_sums_of_many_terms() -> None:
    x, y = values(1, (100_000,), "float32"), values(2, (100_000,), "float32")
    expected = (wide(x) * wide(y)).sum()
    for layout in ("plain", "sparse"):
        np.testing.assert_allclose(
            run(Einsum("a,a->"), [x, y], ((), "float32"), layout=layout), expected, atol=2e-2
        )
    x, y = values(1, (3, 2000), "float32"), values(2, (3, 2000), "float32")
    for layout in LAYOUTS:  # dot products, by the own kernel
        result = run(Einsum("ab,ab->a"), [x, y], ((3,), "float32"), layout=layout)
        np.testing.assert_allclose(result, (wide(x) * wide(y)).sum(1), rtol=2e-6, atol=1e-4)


def test_letters_beyond_those_of_the_kernel() -> None:
    letters = "abcdefghijkl"
    x, y = values(1, (2,) * 12, "int64"), values(2, (2,) * 12, "int64")
    assert len(letters) + 8 > LABELS
    check(f"{letters},{letters[::-1]}->{letters[::2]}", [x, y])
    check(f"{letters},{letters[::-1]}->", [x, y])
    check(f"{letters[:10]},mnop{letters[:6]}->{'ponm' + letters[:10]}", [x[0, 0], y[0, 0]])


def leading(rows: int, columns: int, row_step: int, column_step: int) -> Iterator[tuple[int, int]]:
    """(place by steps, place by what `_leading` says) of each element."""
    found = products._leading(rows, columns, row_step, column_step)
    if found is None:
        return
    turned, step = found
    assert step >= (rows if turned else columns)
    for r, c in itertools.product(range(rows), range(columns)):
        yield r * row_step + c * column_step, r + c * step if turned else r * step + c


@given(
    *(st.integers(1, 5) for _ in range(2)), *(st.sampled_from([0, 1, 2, 3, 5, 7, -1, -3]) for _ in range(2))
)
def test_a_leading_dimension_describes_the_matrix(
    rows: int, columns: int, row_step: int, column_step: int
) -> None:
    assert all(a == b for a, b in leading(rows, columns, row_step, column_step))


def test_another_dtype_is_converted() -> None:
    backend = host_backend()
    x, w = (placed(backend, values(i, (3, 4), "float32"), "plain") for i in (1, 2))
    out = backend.asarray(np.zeros((3, 3)))
    context = Context(session=backend.session())
    backend.bind(Linear(), [x, w], [out], context)()
    expected = values(1, (3, 4), "float32").astype(float) @ values(2, (3, 4), "float32").astype(float).T
    np.testing.assert_allclose(backend.to_numpy(out), expected, rtol=1e-12)
