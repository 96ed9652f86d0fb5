"""Every form of a convolution that needs no library, against the NumPy backend in float64."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from netspec.backends.base import Context
from netspec.backends.cupy import convolution as forms
from netspec.operations import (
    RUNNING,
    Affine,
    Convolution,
    Elementwise,
    Fused,
    Operation,
    Stage,
    TransposedConvolution,
)
from tests.backends.cupy.cupy_kernels import numbers, on_device, on_numpy
from tests.backends.cupy.host import HostDevice, HostLibrary, host_backend

pytestmark = pytest.mark.compiler
TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "float16": 4e-3, "complex64": 1e-5}


def drawn(seed: int, transposed: bool) -> tuple[Any, list[np.ndarray], tuple[int, ...], random.Random]:
    """An operation, its inputs in float64, its output's shape."""
    rng, arrays = random.Random(seed), np.random.RandomState(seed)
    rank = rng.choice([1, 2, 2, 3])
    groups = rng.choice([1, 1, 2, 3])
    channels, outputs, n = rng.choice([1, 2, 5]), rng.choice([1, 2, 4]), rng.choice([1, 3])
    kernel = [rng.choice([1, 1, 2, 3]) for _ in range(rank)]
    stride = tuple(rng.choice([1, 1, 2, 3]) for _ in range(rank))
    dilation = tuple(rng.choice([1, 1, 2]) for _ in range(rank))
    sizes = [rng.randint(max(5, (k - 1) * d + 1), 9) for k, d in zip(kernel, dilation, strict=True)]
    x = arrays.standard_normal((n, groups * channels, *sizes))
    bias = [arrays.standard_normal(groups * outputs)] if rng.random() < 0.6 else []
    if not transposed:
        padding = tuple((rng.randint(0, 2), rng.randint(0, 2)) for _ in range(rank))
        weight = arrays.standard_normal((groups * outputs, channels, *kernel))
        space = [
            (size + sum(pad) - d * (k - 1) - 1) // s + 1
            for size, pad, d, k, s in zip(sizes, padding, dilation, kernel, stride, strict=True)
        ]
        op: Operation = Convolution(stride, padding, dilation, groups)
    else:
        pads = tuple(rng.randint(0, 1) for _ in range(rank))
        weight = arrays.standard_normal((groups * channels, outputs, *kernel))
        space = [
            max(1, (size - 1) * s - 2 * p + d * (k - 1) + 1 + rng.randint(0, max(s, d) - 1))
            for size, p, d, k, s in zip(sizes, pads, dilation, kernel, stride, strict=True)
        ]
        op = TransposedConvolution(stride, pads, dilation, groups)
    return op, [x, weight, *bias], (n, groups * outputs, *space), rng


def stages_for(
    rng: random.Random, count: int, shape: tuple[int, ...]
) -> tuple[list[Stage], list[np.ndarray]]:
    """Stages behind an operation of `count` inputs, and the arrays that they read."""
    arrays = np.random.RandomState(rng.randint(0, 9999))
    stages: list[Stage] = []
    extra: list[np.ndarray] = []

    def place(array: np.ndarray) -> int:
        extra.append(array)
        return count + len(extra) - 1

    for _ in range(rng.choice([0, 1, 3, 15])):  # more than one kernel has room for
        kind = rng.choice(["relu", "add", "affine", "scale", "mul"])
        if kind == "relu":
            stages.append(Stage(Elementwise("relu"), (RUNNING,)))
        elif kind == "add":
            stages.append(Stage(Elementwise("add", (1,)), (RUNNING, place(arrays.standard_normal(shape)))))
        elif kind == "mul":
            other = arrays.standard_normal((1, shape[1], *(1 for _ in shape[2:])))
            stages.append(Stage(Elementwise("mul"), (place(other), RUNNING)))
        elif kind == "scale":
            stages.append(Stage(Elementwise("scale", (0.5, 0.1)), (RUNNING,)))
        else:
            vectors = [place(arrays.standard_normal(shape[1])) for _ in range(2)]
            stages.append(Stage(Affine(1), (RUNNING, *vectors)))
    return stages, extra


@pytest.mark.parametrize("form", ["direct", "by_product", "by_library"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_forms_agree_with_numpy(seed: int, transposed: bool, form: str, monkeypatch: Any) -> None:
    op, inputs, shape, rng = drawn(seed, transposed)
    if math.prod(shape) == 0:
        return
    dtypes = ["float32", "float32", "float64", "float16", "complex64"]
    dtype = rng.choice(dtypes[:-1] if form == "by_library" else dtypes)
    stages, extra = stages_for(rng, len(inputs), shape)
    if dtype == "complex64":
        stages, extra = [], []
    if rng.random() < 0.5:  # images in turns
        monkeypatch.setattr(forms, "COLUMN_BYTES", 1)
    fused = Fused(op, len(inputs), tuple(stages)) if stages else op
    given = [x.astype(dtype) for x in (*inputs, *extra)]
    wide = "complex128" if dtype == "complex64" else "float64"
    (expected,) = on_numpy(fused, [x.astype(wide) for x in given], [(shape, wide)])
    monkeypatch.setattr(HostDevice, "cudnn", property(HostLibrary))
    monkeypatch.setattr(forms, "_bound", lambda task, context: getattr(forms, form)(task, context))
    sides = [rng.random() < 0.5 for _ in given]
    sides[1] = False
    (found,) = on_device(fused, given, [(shape, dtype)], last=sides, out_last=rng.random() < 0.5)
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=TOLERANCE[dtype])


def test_depthwise_takes_one_thread_an_output_and_others_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []
    for name in ("direct", "by_product"):
        form = getattr(forms, name)

        def spied(task: Any, context: Context, name: str = name, form: Any = form) -> Any:
            chosen.append(name)
            return form(task, context)

        monkeypatch.setattr(forms, name, spied)
    x = np.ones((1, 32, 6, 6), "f")
    for groups in (32, 1):
        op = Convolution((1, 1), ((1, 1), (1, 1)), (1, 1), groups)
        on_device(op, [x, np.ones((32, 32 // groups, 3, 3), "f")], [(x.shape, "float32")])
    assert chosen == ["direct", "by_product"]


def test_an_output_inside_a_concatenation_is_written_in_place() -> None:
    backend = host_backend()
    x = np.random.RandomState(0).standard_normal((2, 8, 5, 5)).astype("f")
    weight = np.random.RandomState(1).standard_normal((24, 8, 3, 3)).astype("f")
    op = Convolution((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    (expected,) = on_numpy(op, [x, weight], [((2, 24, 5, 5), "float32")])
    for last in (False, True):
        whole = backend.device.empty((2, 5, 5, 40) if last else (2, 40, 5, 5), "float32")
        whole = whole.transpose((0, 3, 1, 2)) if last else whole
        part = whole[:, 8:32]
        context = Context(session=backend.session())
        backend.bind(op, [backend.asarray(x), backend.asarray(weight)], [part], context)()
        found = numbers(backend, whole)
        np.testing.assert_allclose(found[:, 8:32], expected, rtol=1e-4, atol=1e-5)
        assert np.isnan(found[:, :8]).all()
        assert np.isnan(found[:, 32:]).all()
    backend.device.check_fences()


@pytest.mark.parametrize("precision", ["high", "highest"])
def test_the_library_takes_over_sum_and_relu_and_the_rest_follows(precision: str, monkeypatch: Any) -> None:
    library: list[HostLibrary] = []

    def opened(device: HostDevice) -> HostLibrary:
        library.append(HostLibrary(device))
        return library[-1]

    monkeypatch.setattr(HostDevice, "cudnn", property(opened))
    rng = np.random.RandomState(0)
    x, weight, other = (
        rng.standard_normal(s).astype("f") for s in ((2, 24, 5, 5), (24, 24, 3, 3), (2, 24, 5, 5))
    )
    relu, add = Stage(Elementwise("relu"), (RUNNING,)), Stage(Elementwise("add", (1,)), (2, RUNNING))
    op = Convolution((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    for stages, fused in (
        ((add, relu), (True, True)), ((relu,), (False, True)), ((add,), (True, False)),
        ((relu, add), (False, True)), ((Stage(Elementwise("tanh"), (RUNNING,)), relu), (False, False)),
    ):  # fmt: skip
        library.clear()
        whole = Fused(op, 2, stages)
        (expected,) = on_numpy(whole, [x, weight, other], [(x.shape, "float32")])
        (found,) = on_device(
            whole,
            [x, weight, other],
            [(x.shape, "float32")],
            last=[True, False, True],
            out_last=True,
            precision=precision,
        )
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        problem = library[-1].asked[-1]
        assert (problem.residual, problem.relu) == fused
        assert problem.tf32 == (precision == "high")
