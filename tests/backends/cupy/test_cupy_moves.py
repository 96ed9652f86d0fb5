"""Padding, resampling, picking, random numbers and checks of values: against the NumPy backend, or a definition."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from netspec.backends.base import Context, KernelError
from netspec.backends.cupy.launching import launch
from netspec.operations import Operation, Pad, Random, Require, Resize, TakeAlong
from tests.backends.cupy.cupy_kernels import laid, numbers, on_device, on_numpy
from tests.backends.cupy.host import LAUNCHED, host_backend

pytestmark = pytest.mark.compiler
TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "float16": 2e-3, "complex64": 1e-5, "complex128": 1e-12}
SIDES = [(False, False), (True, True), (True, False), (False, True)]
"""Whether the channels of the input and of the output lie inside."""


def values(seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Random numbers of any type."""
    arrays = np.random.RandomState(seed)
    x = arrays.standard_normal(shape) * 3
    return (x + 1j * arrays.standard_normal(shape) if dtype.startswith("complex") else x).astype(dtype)


# --- padding --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("seed", range(30))
def test_padding_is_numpys(seed: int, mode: Any) -> None:
    rng = random.Random(seed)
    shape = (rng.randint(1, 3), rng.choice([1, 3, 8]), *(rng.randint(3, 6) for _ in range(rng.randint(1, 3))))
    widths = tuple(
        (0, 0)
        if rng.random() < 0.3
        else (rng.randint(-1, min(2, size - 1)), rng.randint(-1, min(2, size - 1)))
        for size in shape
    )
    widths = tuple(pair if size + sum(pair) > 0 else (0, 0) for pair, size in zip(widths, shape, strict=True))
    out = tuple(size + sum(pair) for size, pair in zip(shape, widths, strict=True))
    dtype = ["float32", "float16", "float64", "int64", "bool", "complex64", "complex128"][seed % 7]
    op = Pad(widths, mode, rng.choice([0.0, 2.5, -3.0]))
    x = values(seed, shape, dtype)
    last, out_last = SIDES[seed // 7 % 4]
    (found,) = on_device(op, [x], [(out, dtype)], last=last, out_last=out_last)
    np.testing.assert_array_equal(found, on_numpy(op, [x], [(out, dtype)])[0])


@pytest.mark.parametrize(
    ("mode", "widths", "expected"),
    [
        ("constant", (-1, 2), [2, 3, 4, 9, 9]),
        ("constant", (-2, -1), [3]),
        ("constant", (6, -4), [9] * 6),
        ("reflect", (-1, 2), [2, 3, 4, 3, 2]),
        ("replicate", (2, -2), [1, 1, 1, 2]),
        ("circular", (-1, 2), [2, 3, 4, 2, 3]),
        ("circular", (3, -3), [1, 1, 1, 1]),
    ],
)
def test_negative_padding_crops(mode: Any, widths: tuple[int, int], expected: list[int]) -> None:
    (found,) = on_device(Pad((widths,), mode, 9.0), [np.array([1, 2, 3, 4])], [((len(expected),), "int64")])
    assert found.tolist() == expected


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_more_axes_than_a_kernel_takes_are_padded_in_turns(mode: Any) -> None:
    shape, widths = (2,) * 10, ((1, 0),) * 10
    x = values(0, shape, "float32")
    op = Pad(widths, mode, 1.5)
    (found,) = on_device(op, [x], [((3,) * 10, "float32")])
    np.testing.assert_array_equal(found, on_numpy(op, [x], [((3,) * 10, "float32")])[0])


def test_axes_that_stay_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []
    real = launch

    def spied(*args: Any, **fields: Any) -> Any:
        seen.append(fields["sizes"])
        return real(*args, **fields)

    monkeypatch.setattr("netspec.backends.cupy.moves.launch", spied)
    for last, sizes in ((False, [6, 7, 6]), (True, [2, 7, 6, 3])):
        op = Pad(((0, 0), (0, 0), (1, 1), (1, 1)), "constant", 0.0)
        on_device(
            op, [values(0, (2, 3, 5, 4), "float32")], [((2, 3, 7, 6), "float32")], last=last, out_last=last
        )
        assert seen.pop() == sizes


# --- resampling -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear", "cubic", "area"])
@pytest.mark.parametrize("seed", range(24))
def test_resizing_is_numpys(seed: int, mode: Any) -> None:
    rng = random.Random(seed)
    rank = 2 if mode == "cubic" else rng.choice([1, 2, 2, 3])
    sizes = [(rng.randint(1, 9), rng.randint(2, 12)) for _ in range(rank)]
    scales = tuple(rng.choice([None, None, out / size, out / size + 0.04]) for size, out in sizes)
    op = Resize(mode, scales, mode in ("linear", "cubic") and rng.random() < 0.5)
    n, c = rng.choice([1, 2]), rng.choice([1, 3, 8, 16])
    shape, out = (n, c, *(size for size, _ in sizes)), (n, c, *(size for _, size in sizes))
    dtype = ["float32", "float64", "float16", "complex64"][seed % 4]
    if mode.startswith("nearest"):
        dtype = ["float32", "int64", "uint8", "complex128", "float16"][seed % 5]
    x = values(seed, shape, dtype)
    last, out_last = SIDES[seed // 4 % 4]
    (found,) = on_device(op, [x], [(out, dtype)], last=last, out_last=out_last)
    if mode.startswith("nearest"):
        np.testing.assert_array_equal(found, on_numpy(op, [x], [(out, dtype)])[0])
        return
    # narrow numbers have weights of float32, and positions in all types but float64 are of float32
    wide = dtype if dtype in ("float32", "float64", "complex64") else "float32"
    (expected,) = on_numpy(op, [x.astype(wide)], [(out, wide)])
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=5 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "complex128"])
@pytest.mark.parametrize(("mode", "form"), [("nearest", "resize_copy"), ("linear", "resize_sum")])
def test_channels_are_resized_in_packs(mode: Any, form: str, dtype: str) -> None:
    if dtype == "uint8" and mode == "linear":
        return
    op = Resize(mode, (2.0, 2.0))
    x, out = values(0, (2, 32, 8, 9), dtype), ((2, 32, 16, 18), dtype)
    for last in (False, True):
        name = form + ("_packed" if last and dtype != "complex128" else "")
        before = LAUNCHED.get((name, dtype), 0)
        (found,) = on_device(op, [x], [out], last=last, out_last=last)
        assert LAUNCHED[name, dtype] == before + 2
        (expected,) = on_numpy(op, [x], [out])
        np.testing.assert_allclose(
            found, expected, rtol=TOLERANCE.get(dtype, 0), atol=0.01 if dtype == "float16" else 1e-5
        )


def test_axes_that_keep_their_size_need_no_table() -> None:
    backend: Any = host_backend()
    x, out = (backend.asarray(np.ones(shape, "f")) for shape in ((1, 2, 5, 7), (1, 2, 10, 7)))
    context = Context(session=backend.session())
    before = backend.device.allocations
    backend.bind(Resize("linear", (None, None)), [x], [out], context)
    assert backend.device.allocations == before + 2  # places and weights of the first axis


def test_half_precision_is_resized_with_weights_of_single_precision() -> None:
    x = np.array([[[0, 1000.0]]], "float16")
    (found,) = on_device(Resize("linear", (None,), True), [x], [((1, 1, 8), "float16")])
    np.testing.assert_array_equal(found, np.linspace(0, 1000, 8, dtype="f").astype("float16")[None, None])


# --- picking by index -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_picking_is_numpys(seed: int) -> None:
    rng = random.Random(seed)
    shape = tuple(rng.randint(1, 5) for _ in range(rng.randint(1, 4)))
    axis = rng.randrange(-len(shape), len(shape))
    out = tuple(size for i, size in enumerate(shape) if i != axis % len(shape))
    dtype = ["float32", "float16", "int64", "complex128"][seed % 4]
    x, index = values(seed, shape, dtype), np.random.RandomState(seed).randint(0, shape[axis], out)
    sides = [rng.random() < 0.5, rng.random() < 0.5]
    (found,) = on_device(TakeAlong(axis), [x, index], [(out, dtype)], last=sides, out_last=rng.random() < 0.5)
    np.testing.assert_array_equal(found, on_numpy(TakeAlong(axis), [x, index], [(out, dtype)])[0])


def test_more_axes_than_a_kernel_takes_are_picked_in_turns() -> None:
    backend: Any = host_backend()
    shape = (2, 3) * 5
    x, index = values(0, shape, "float32"), np.random.RandomState(0).randint(0, 2, (1, *shape[1:]))[0]
    order = (1, 0, 3, 2, 5, 4, 7, 6, 9, 8)
    turned = backend.asarray(np.ascontiguousarray(x.transpose(order))).transpose(order)
    arrays = [turned, backend.asarray(index)]
    out = backend.asarray(np.zeros(index.shape, "f"))
    backend.bind(TakeAlong(0), arrays, [out], Context(session=backend.session()))()
    np.testing.assert_array_equal(backend.to_numpy(out), np.take_along_axis(x, index[None], 0)[0])
    backend.device.check_fences()


def test_a_repeated_vector_is_picked_from() -> None:
    backend: Any = host_backend()
    weight = backend.asarray(np.array([1.0, 2.0, 3.0], "f"))
    x = backend.device.strided(weight, (4, 3, 5), (0, 4, 0))
    index = np.random.RandomState(0).randint(0, 3, (4, 5))
    out = backend.asarray(np.zeros((4, 5), "f"))
    backend.bind(TakeAlong(1), [x, backend.asarray(index)], [out], Context(session=backend.session()))()
    np.testing.assert_array_equal(backend.to_numpy(out), index + 1)


# --- what is refused --------------------------------------------------------------------------------------


def refusal(op: Operation, inputs: Sequence[np.ndarray], *outputs: tuple[tuple[int, ...], str]) -> str | None:
    """What is said of these inputs, the same in three calls, or None."""
    backend: Any = host_backend()
    session = backend.session()
    arrays = [backend.device.empty(x.shape, x.dtype) for x in inputs]
    results = [backend.device.empty(*spec) for spec in outputs]
    kernel = backend.bind(op, arrays, results, Context(session=session, label="layer"))
    said = set()
    for _ in range(3):
        session.start([(kernel, "layer")], list(zip(arrays, inputs, strict=True)), {})
        try:
            session.results({})
        except KernelError as error:
            said.add((error.label, str(error)))
        else:
            said.add(("layer", ""))
    backend.device.check_fences()
    ((label, text),) = said
    assert label == "layer"
    return text or None


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([[0, 2], [1, 1]], None),
        ([[0, 3], [1, 1]], "index 3 is outside 0..2"),
        ([[0, 1 << 50], [3, 1]], f"index {1 << 50} is outside 0..2"),
        ([[0, 9], [-1, -5]], "index -5 is outside 0..2"),
    ],
)
def test_an_index_outside_the_axis_is_refused(index: list[list[int]], message: str | None) -> None:
    x = values(0, (2, 3, 2), "float32")
    assert refusal(TakeAlong(1), [x, np.array(index)], ((2, 2), "float32")) == message
    if message is not None:
        with pytest.raises(KernelError) as found:
            on_numpy(TakeAlong(1), [x, np.array(index)], [((2, 2), "float32")])
        assert str(found.value) == message


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint8", "bool"])
@pytest.mark.parametrize("seed", range(6))
def test_checks_are_numpys(dtype: str, seed: int) -> None:
    arrays = np.random.RandomState(seed)
    x = arrays.randint(0, 4, (3, 5, 7)).astype(dtype)
    number = [2, 3, 1, -100, 0.5, -1][seed]
    if x.dtype.kind == "f" or (float(number).is_integer() and (number >= 0 or x.dtype.kind == "i")):
        x[1, 2, 3] = number
    for low, high in ((0, 3), (0, 2), (1.0, 3.0), (0.0, 1.0)):
        for ignore in (None, 0, 3, -100):
            op = Require(low, high, "out of range", ignore)
            try:
                on_numpy(op, [x], [])
                expected = None
            except KernelError as error:
                expected = str(error)
            assert refusal(op, [x]) == expected


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_nan_is_never_in_range(dtype: str) -> None:
    x = np.zeros((300, 5), dtype)
    assert refusal(Require(-math.inf, math.inf, "said"), [x]) is None
    x[299, 4] = math.nan
    assert refusal(Require(-math.inf, math.inf, "said"), [x]) == "said"
    x[299, 4] = math.inf
    assert refusal(Require(0.0, 1.0, "said"), [x]) == "said"


def test_of_several_checks_the_first_one_speaks() -> None:
    backend: Any = host_backend()
    session = backend.session()
    x = backend.device.empty((4,), "float32")
    context = Context(session=session)
    kernels = []
    for number in range(70):  # more than share a piece of memory
        context.label = f"layer{number}"
        op = Require(0.0, 1.0 + number % 3, f"message {number}")
        kernels.append((backend.bind(op, [x], [], context), context.label))
    for value, said in ((5, 0), (2.5, 0), (1, None)):
        session.start(kernels, [(x, np.full(4, value, "f"))], {})
        if said is None:
            session.results({})
            continue
        with pytest.raises(KernelError, match=f"message {said}$") as found:
            session.results({})
        assert found.value.label == f"layer{said}"


@pytest.mark.parametrize("op", [Require(0.0, 1.0, "said"), Random("uniform", (0.0, 1.0)), TakeAlong(0)])
def test_nothing_is_started_for_empty_arrays(op: Any) -> None:
    before = dict(LAUNCHED)
    backend: Any = host_backend()
    x, index, out = (backend.device.empty(s, d) for s, d in (((2, 0), "f"), ((0,), "int64"), ((0,), "f")))
    inputs = {Require: [x], Random: [], TakeAlong: [x, index]}[type(op)]
    backend.bind(op, inputs, [out], Context(session=backend.session()))()
    assert before == LAUNCHED


# --- random numbers ---------------------------------------------------------------------------------------


def philox(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    """Philox4x32-10 as Salmon et al. (2011) define it."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [
            (second >> 32) ^ c[1] ^ k[0], second & 0xFFFFFFFF, (first >> 32) ^ c[3] ^ k[1], first & 0xFFFFFFFF
        ]  # fmt: skip
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def test_the_generator_of_this_test_gives_the_published_numbers() -> None:
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = [0xFFFFFFFF] * 4
    assert philox(ones, ones[:2]) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    assert philox(pi, [0xA4093822, 0x299F31D0]) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


class Drawing:
    """An executor's line on which one operation after the other draws numbers."""

    def __init__(self, *steps: tuple[Random, tuple[int, ...], str], last: bool = False) -> None:
        self.backend: Any = host_backend()
        self.session = self.backend.session()
        self.context = Context(session=self.session)
        self.outputs = [laid(self.backend, np.zeros(shape, dtype), last) for _, shape, dtype in steps]
        self.kernels = [
            (self.backend.bind(op, [], [out], self.context), "layer")
            for (op, _, _), out in zip(steps, self.outputs, strict=True)
        ]

    def run(self, rng: Any) -> list[np.ndarray]:
        """One call."""
        self.context.rng = rng
        self.session.start(self.kernels, [], {})
        self.session.results({})
        self.backend.device.check_fences()
        return [numbers(self.backend, out) for out in self.outputs]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 1000])
def test_numbers_are_the_generators(dtype: str, count: int) -> None:
    op = Random("uniform", (0.0, 1.0))
    found = Drawing((op, (count,), dtype), (op, (count,), dtype)).run(np.random.default_rng(5))
    seed = int(np.random.default_rng(5).integers(1 << 63))
    each = 2 if dtype == "float64" else 4
    part = -(-count // each)
    for stream, drawn in enumerate(found):
        for i in {0, part // 2, part - 1}:
            words = philox([i, 0, stream, 0], [seed & 0xFFFFFFFF, seed >> 32])
            if dtype == "float64":
                pairs = zip(words[::2], words[1::2], strict=True)
                expected = [((a >> 5) * 2**26 + (b >> 6)) / 2**53 for a, b in pairs]
            else:
                expected = [(word >> 8) / 2**24 for word in words]
            assert drawn[i::part].tolist() == expected[: len(drawn[i::part])]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_uniform_numbers_fill_their_range_evenly(dtype: str, last: bool) -> None:
    drawing = Drawing((Random("uniform", (-1.0, 3.0)), (4, 5, 60, 70), dtype), last=last)
    for call in range(3):  # on its own, captured, replayed
        (x,) = drawing.run(np.random.default_rng(call))
        wide = x.astype("float64")
        assert wide.min() >= -1
        assert wide.max() <= 3
        assert abs(wide.mean() - 1) < 5 * math.sqrt(16 / 12 / x.size)
        assert abs(wide.var() - 16 / 12) < 0.02
        counts, _ = np.histogram(wide, 16, (-1, 3))
        expected = x.size / 16
        assert ((counts - expected) ** 2 / expected).sum() < 45  # of chi squared with 15 degrees: 1 in 10 000
        for axis in range(4):  # neighbours know nothing of each other
            a, b = (np.take(wide, range(i, wide.shape[axis] - 1 + i), axis).ravel() for i in (0, 1))
            assert abs(np.corrcoef(a, b)[0, 1]) < 5 / math.sqrt(a.size)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "bool"])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_bernoulli_numbers_are_1_as_often_as_they_should(dtype: str, p: float) -> None:
    (x,) = Drawing((Random("bernoulli", (p,)), (300, 200), dtype)).run(np.random.default_rng(1))
    assert set(np.unique(x).tolist()) <= {0, 1}
    assert abs(x.astype("float64").mean() - p) <= 5 * math.sqrt(p * (1 - p) / x.size)


def test_each_run_each_replay_and_each_step_draws_numbers_of_its_own() -> None:
    op = Random("uniform", (0.0, 1.0))
    drawing = Drawing((op, (50,), "float32"), (op, (50,), "float32"))
    rng = np.random.default_rng(3)
    drawn = [x for _ in range(5) for x in drawing.run(rng)]
    assert drawing.backend.device.replays > 2
    for i, x in enumerate(drawn):
        for y in drawn[:i]:
            assert np.isin(x, y).sum() < 2  # of 24 bits, two may be alike


def test_the_same_seed_draws_the_same_numbers_whatever_the_device_is_busy_with() -> None:
    op = Random("uniform", (0.0, 1.0))
    drawing = Drawing((op, (500,), "float32"), (op, (7, 9), "float64"))
    first = [drawing.run(np.random.default_rng(4)) for _ in range(3)]
    wider = Drawing((op, (500,), "float32"), (op, (7, 9), "float64"))
    wider.backend.device.processors = 1
    for found in [*first, wider.run(np.random.default_rng(4))]:
        for x, y in zip(found, first[0], strict=True):
            np.testing.assert_array_equal(x, y)


def test_one_seed_is_sent_for_all_steps() -> None:
    op = Random("bernoulli", (0.5,))
    drawing = Drawing(*[(op, (5,), "float32")] * 4)
    assert len(drawing.session.refresh) == 1
