"""cuDNN's plans for a device that is not here (an H200, from its properties), by the library itself."""

from __future__ import annotations

import ctypes
import importlib
import itertools
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from netspec.backends.cupy import cudnn
from netspec.backends.cupy.cudnn import Convolution, Cudnn, Problem

MISSING = cudnn.available()
DEVICELESS = 91100
"""The first cuDNN that reads the properties of a device."""


def old() -> bool:
    return MISSING is None and bool(importlib.import_module("cudnn").backend_version() < DEVICELESS)


pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
    pytest.mark.skipif(old(), reason="cuDNN before 9.11 cannot plan without a device"),
    pytest.mark.skipif(sys.platform != "linux", reason="the stand-in for the driver is made for Linux"),
]

H200 = {
    "version": 1,
    "deviceName": "NVIDIA H200",
    "deviceVer": 900,
    "driverVer": 13000,
    "cudaDeviceId": 0,
    "pciDeviceId": 0,
    "isTccDriver": 0,
    "supportCoopLaunch": 1,
    "totalGlobalMem": 150754820096,
    "multiProcessorCount": 132,
    "smCountOrigin": 0,
    "warpSize": 32,
    "maxGridSize": [2147483647, 65535, 65535],
    "maxBlockSize": [1024, 1024, 64],
    "regsPerBlock": 65536,
    "maxRegistersPerSM": 65536,
    "maxCtasPerSM": 32,
    "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 2048,
    "maxSharedMemoryPerBlock": 49152,
    "maxSharedMemoryPerBlockOptin": 232448,
    "reservedSharedMemoryPerBlock": 1024,
    "oversizedSharedMemoryPerBlock": 0,
    "smClockRateKHz": 1980000,
    "memClockRateKHz": 3201000,
    "memoryBusWidth": 6144,
    "l2CacheSize": 62914560,
}

# What one of cuDNN's libraries is linked to or looks up. Planning needs no driver, only that these exist;
# kernels that are compiled while planning are loaded, which is acknowledged.
DRIVER = """
#define NONE(name) int name(void) { return 0; }
#define GONE(name) int name(void) { return 100; }
#define SOME(name) int name(void **out) { *out = (void *) 16; return 0; }
#define ONE(name) int name(int *out) { *out = 1; return 0; }
SOME(cuLibraryLoadData) SOME(cuLibraryLoadFromFile) SOME(cuLibraryGetKernel) SOME(cuKernelGetFunction)
SOME(cuModuleLoadData) SOME(cuModuleGetFunction) SOME(cuCtxGetCurrent) SOME(cuCtxPopCurrent)
NONE(cuLibraryUnload) NONE(cuModuleUnload) NONE(cuKernelSetAttribute) NONE(cuCtxPushCurrent)
ONE(cuDeviceGetCount) ONE(cuKernelGetAttribute) ONE(cuOccupancyMaxPotentialClusterSize)
GONE(cuDeviceGet) GONE(cuCtxGetLimit) GONE(cuStreamGetCtx) GONE(cuLaunchKernel) GONE(cuLaunchKernelEx)
GONE(cuLaunchCooperativeKernel) GONE(cuTensorMapEncodeIm2col) GONE(cuTensorMapEncodeTiled)
GONE(cuLinkCreate) GONE(cuLinkAddData) GONE(cuLinkComplete) GONE(cuLinkDestroy)
int cuDriverGetVersion(int *out) { *out = 13000; return 0; }
int cuGetErrorName(int error, const char **out) { *out = "none"; return 0; }
int cuGetErrorString(int error, const char **out) { *out = "there is no driver"; return 0; }
"""

KINDS = [
    ("float32", False),
    ("float32", True),
    ("float16", False),
    ("bfloat16", False),
    ("float64", False),
]
FORMS = [(False, False, False), (True, False, False), (True, False, True), (True, True, True)]
PLAIN = FORMS[0]


def packed(shape: Sequence[int], last: bool) -> tuple[int, ...]:
    order = [*range(len(shape))] if not last else [0, *range(2, len(shape)), 1]
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis], step = step, step * shape[axis]
    return tuple(strides)


def problem(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    kind: tuple[str, bool] = ("float32", False),
    form: tuple[bool, bool, bool] = PLAIN,
    last: bool = False,
    stride: int = 1,
    padding: int = 1,
    dilation: int = 1,
    transposed: bool = False,
    deterministic: bool = False,
) -> Problem:
    """A convolution with the same numbers on every axis; the groups follow from the channels."""
    spatial, kernel = x[2:], weight[2:]
    groups = 1 if transposed else x[1] // weight[1]
    if transposed:
        size = [
            (s - 1) * stride - 2 * padding + dilation * (k - 1) + 1
            for s, k in zip(spatial, kernel, strict=True)
        ]
    else:
        size = [
            (s + 2 * padding - dilation * (k - 1) - 1) // stride + 1
            for s, k in zip(spatial, kernel, strict=True)
        ]
    y = (x[0], weight[1] if transposed else weight[0], *size)
    axes = len(spatial)
    return Problem(
        transposed=transposed,
        x_shape=x,
        x_strides=packed(x, last),
        weight_shape=weight,
        weight_strides=packed(weight, last),
        y_shape=y,
        y_strides=packed(y, last),
        dtype=kind[0],
        stride=(stride,) * axes,
        pre_padding=(padding,) * axes,
        post_padding=(padding,) * axes,
        dilation=(dilation,) * axes,
        groups=groups,
        bias=form[0],
        residual=form[1],
        relu=form[2],
        tf32=kind[1],
        deterministic=deterministic,
    )


SQUARE = ((8, 64, 56, 56), (64, 64, 3, 3))  # ResNet's
FORWARD: dict[str, dict[str, Any]] = {
    "3x3": {"x": SQUARE[0], "weight": SQUARE[1]},
    "1x1": {"x": (8, 64, 56, 56), "weight": (256, 64, 1, 1), "padding": 0},
    "first layer": {"x": (1, 3, 224, 224), "weight": (64, 3, 7, 7), "stride": 2, "padding": 3},
    "grey picture": {"x": (1, 1, 28, 28), "weight": (6, 1, 5, 5), "padding": 0},
    "depthwise": {"x": (8, 96, 56, 56), "weight": (96, 1, 3, 3), "stride": 2},
    "groups": {"x": (8, 128, 28, 28), "weight": (128, 4, 3, 3)},
    "dilation": {"x": (8, 64, 56, 56), "weight": (64, 64, 3, 3), "padding": 2, "dilation": 2},
    "odd channels": {"x": (8, 5, 33, 31), "weight": (7, 5, 3, 3)},
    "sound": {"x": (8, 1, 8000), "weight": (32, 1, 80), "stride": 16, "padding": 0},
    "sound, later": {"x": (8, 32, 124), "weight": (32, 32, 3), "padding": 0},
    "clip": {"x": (1, 3, 16, 112, 112), "weight": (64, 3, 3, 3, 3)},
}
TRANSPOSED: dict[str, dict[str, Any]] = {
    "2x2": {"x": (8, 1024, 16, 16), "weight": (1024, 512, 2, 2), "stride": 2, "padding": 0},
    "4x4": {"x": (8, 256, 8, 8), "weight": (256, 128, 4, 4), "stride": 2},
    "from one place": {"x": (8, 100, 1, 1), "weight": (100, 512, 4, 4), "padding": 0},
    "line": {"x": (8, 64, 50), "weight": (64, 32, 4), "stride": 2},
    "clip": {"x": (2, 64, 8, 8, 8), "weight": (64, 32, 2, 2, 2), "stride": 2, "padding": 0},
}


# --- in a process of its own, which may have a stand-in for the driver ------------------------------


def prepare(driver: str | None) -> None:
    if driver is not None:
        ctypes.CDLL(driver, mode=ctypes.RTLD_GLOBAL)


@lru_cache(maxsize=1)
def library() -> Cudnn:
    return Cudnn(json.dumps(H200))


def found(problems: list[Problem]) -> list[tuple[str, int] | None]:
    """The names and workspaces of the plans."""
    plans = [library().plan(problem) for problem in problems]
    return [None if plan is None else (plan.name, plan.workspace_bytes) for plan in plans]


def noted(problem: Problem, note: str) -> set[str]:
    """The names of all plans of the problem (whether it may use them or not) that carry a numerical note."""
    frontend = importlib.import_module("cudnn")
    graph = cudnn._described(frontend, problem, library()._target)
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([frontend.heur_mode.A, frontend.heur_mode.FALLBACK])
    graph.select_numeric_notes([getattr(frontend.numerical_note, note)])
    names = set()
    for index in range(graph.get_execution_plan_count()):
        if frontend.behavior_note.RUNTIME_COMPILATION in graph.get_behavior_notes_for_plan_at_index(index):
            continue
        try:
            graph.build_plan_at_index(index)
        except (RuntimeError, frontend.cudnnGraphNotSupportedError):
            continue
        names.add(str(graph.get_plan_name_at_index(index)))
    return names


def asked_twice(problem: Problem, hopeless: Problem) -> tuple[bool, float]:
    """Whether a plan is kept, and the shortest time for the answer that there is none."""
    first, second = library().plan(problem), library().plan(problem)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert library().plan(hopeless) is None
        times.append(time.perf_counter() - start)
    return first is second and first is not None, min(times[1:])


def measured(problem: Problem, times: list[float]) -> tuple[list[str], str | None]:
    """The candidates in the order of measurement, and the chosen one; a negative time is a failure."""
    names: list[str] = []
    given = itertools.chain(times, itertools.repeat(1.0))

    def measure(kernel: Callable[[], None]) -> float:
        names.append(plan_of(kernel).name)
        seconds = next(given)
        if seconds < 0:
            raise RuntimeError("out of resources")
        return seconds

    plan = library().plan(problem, measure)
    return names, None if plan is None else plan.name


def plan_of(kernel: Callable[[], None]) -> Convolution:
    cells = kernel.__closure__ or ()
    return next(cell.cell_contents for cell in cells if isinstance(cell.cell_contents, Convolution))


def refusal(problem: Problem, addresses: tuple[int, ...]) -> str:
    plan = library().plan(problem)
    assert plan is not None
    try:
        plan.run(*addresses[:3], addresses[3], None, 0, 0)
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


# ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessPoolExecutor]:
    driver = None
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip(
                "there is neither an NVIDIA driver (libcuda.so.1) nor a C compiler to make a stand-in"
            )
        folder = tmp_path_factory.mktemp("driver")
        (folder / "driver.c").write_text(DRIVER)
        driver = str(folder / "libcuda.so.1")
        command = [compiler, "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", "-o", driver, "driver.c"]
        subprocess.run(command, cwd=folder, check=True)
    with ProcessPoolExecutor(1, get_context("spawn"), prepare, (driver,)) as pool:
        yield pool


def names_of(worker: ProcessPoolExecutor, problems: list[Problem]) -> list[str | None]:
    return [plan and plan[0] for plan in worker.submit(found, problems).result()]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", FORWARD)
def test_every_convolution_has_a_plan(worker: ProcessPoolExecutor, name: str, last: bool) -> None:
    asked = [problem(**FORWARD[name], kind=kind, form=form, last=last) for kind in KINDS for form in FORMS]
    plans = dict(zip(asked, names_of(worker, asked), strict=True))
    assert None not in plans.values(), [p for p, plan in plans.items() if plan is None]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", TRANSPOSED)
def test_every_transposed_convolution_has_a_plan(worker: ProcessPoolExecutor, name: str, last: bool) -> None:
    made = [
        problem(**TRANSPOSED[name], kind=kind, last=last, transposed=True, deterministic=deterministic)
        for kind in KINDS
        for deterministic in (False, True)
    ]
    assert None not in names_of(worker, made)


def test_what_padding_leaves_over_may_be_an_output(worker: ProcessPoolExecutor) -> None:
    base = problem((8, 64, 14, 14), (64, 32, 3, 3), stride=2, transposed=True)
    wider = replace(base, y_shape=(8, 32, 28, 28), y_strides=packed((8, 32, 28, 28), False))
    assert base.y_shape == (8, 32, 27, 27)
    assert None not in names_of(worker, [base, wider, replace(wider, post_padding=(0, 0))])


def test_uneven_padding(worker: ProcessPoolExecutor) -> None:
    y = (8, 64, 28, 28)
    uneven = replace(problem(*SQUARE, stride=2), pre_padding=(0, 0), y_shape=y, y_strides=packed(y, False))
    assert names_of(worker, [uneven]) != [None]


def test_slices_of_wider_arrays(worker: ProcessPoolExecutor) -> None:
    """A part of the channels: of every place with channels last, of every image with channels first."""
    rest = 56 * 56
    last = problem(*SQUARE, kind=("float16", False), form=(True, False, True), last=True)
    wide = (128 * rest, 1, 128 * 56, 128)
    first = problem(*SQUARE, form=(True, False, True))
    apart = (128 * rest, rest, 56, 1)
    made = [replace(last, x_strides=wide), replace(last, y_strides=wide), replace(first, x_strides=apart)]
    assert None not in names_of(worker, made)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("form", [PLAIN, (True, True, True)])
def test_strict_float32_uses_no_tensor_cores(
    worker: ProcessPoolExecutor, form: tuple[bool, bool, bool], last: bool
) -> None:
    strict = problem(*SQUARE, form=form, last=last)
    loose = replace(strict, tf32=True)
    tensor_cores = worker.submit(noted, strict, "TENSOR_CORE").result()
    assert tensor_cores == worker.submit(noted, loose, "TENSOR_CORE").result() != set()
    strict_plan, loose_plan = names_of(worker, [strict, loose])
    assert strict_plan is not None
    assert strict_plan not in tensor_cores
    assert loose_plan in tensor_cores
    for note in (*cudnn.ROUNDED, *cudnn.TRANSFORMED):
        assert strict_plan not in worker.submit(noted, strict, note).result()
    for note in cudnn.ROUNDED:
        assert loose_plan not in worker.submit(noted, loose, note).result()


def test_strict_float32_transposed_uses_no_tensor_cores(worker: ProcessPoolExecutor) -> None:
    strict = problem(**TRANSPOSED["4x4"], transposed=True, last=True)
    (plan,) = names_of(worker, [strict])
    assert plan not in worker.submit(noted, strict, "TENSOR_CORE").result()


def test_tensor_cores_are_no_matter_of_strictness_for_float16(worker: ProcessPoolExecutor) -> None:
    half = problem(*SQUARE, kind=("float16", False), last=True)
    (plan,) = names_of(worker, [half])
    assert plan in worker.submit(noted, half, "TENSOR_CORE").result()


@pytest.mark.parametrize("kind", KINDS)
def test_deterministic_plans_add_in_one_order(worker: ProcessPoolExecutor, kind: tuple[str, bool]) -> None:
    made = problem(**TRANSPOSED["4x4"], kind=kind, transposed=True, deterministic=True)
    (plan,) = names_of(worker, [made])
    any_order = worker.submit(noted, made, "NONDETERMINISTIC").result()
    assert plan is not None
    assert plan not in any_order
    assert any_order or kind[0] == "bfloat16"


@pytest.mark.parametrize(
    ("x", "like"),
    [
        ((8, 64, 1, 1), (8, 64, 1, 1)),  # channels last and first at once
        ((1, 64, 14, 14), (1, 64, 14, 14)),
        ((8, 1, 14, 14), (8, 1, 14, 14)),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_strides_of_axes_of_size_1_say_nothing(
    worker: ProcessPoolExecutor, x: tuple[int, ...], like: tuple[int, ...], last: bool
) -> None:
    plain = problem(x, (64, x[1], 1, 1), kind=("float16", False), last=last, padding=0)

    def odd(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(999 if size == 1 else step for size, step in zip(shape, strides, strict=True))

    other = replace(
        plain,
        x_strides=odd(plain.x_shape, plain.x_strides),
        weight_strides=odd(plain.weight_shape, plain.weight_strides),
        y_strides=odd(plain.y_shape, plain.y_strides),
    )
    plans = worker.submit(found, [plain, other]).result()
    assert plans[0] == plans[1] is not None


def test_a_line_is_a_picture_of_one_row(worker: ProcessPoolExecutor) -> None:
    for last in (False, True):
        line = problem((8, 32, 124), (64, 32, 3), last=last, padding=0)
        picture = problem((8, 32, 1, 124), (64, 32, 1, 3), last=last, padding=0)
        plans = worker.submit(found, [line, picture]).result()
        assert plans[0] == plans[1] is not None


@pytest.mark.parametrize("form", FORMS[1:])
@pytest.mark.parametrize("last", [False, True])
def test_nothing_follows_a_transposed_convolution(
    worker: ProcessPoolExecutor, form: tuple[bool, bool, bool], last: bool
) -> None:
    kinds = [problem(**TRANSPOSED["2x2"], kind=kind, form=form, last=last, transposed=True) for kind in KINDS]
    assert names_of(worker, kinds) == [None] * len(KINDS)


@pytest.mark.parametrize(
    "hopeless",
    [
        problem(*SQUARE, form=(False, False, True)),
        problem(*SQUARE, form=(False, True, False)),
        problem(*SQUARE, kind=("int64", False)),
        problem((2, 4, 5, 5, 5, 5), (4, 4, 3, 3, 3, 3)),
        replace(problem(*SQUARE), y_shape=(8, 64, 50, 50)),
        replace(problem(*SQUARE), weight_shape=(64, 63, 3, 3)),
        replace(problem(**TRANSPOSED["2x2"], transposed=True), post_padding=(-1, -1)),
        replace(problem(*SQUARE), x_strides=(0, 0, 0, 0)),
    ],
    ids=["no bias", "addition alone", "dtype", "4 axes", "size", "channels", "negative padding", "strides"],
)
def test_what_it_cannot_do_is_none(worker: ProcessPoolExecutor, hopeless: Problem) -> None:
    assert names_of(worker, [hopeless]) == [None]


def test_answers_are_kept(worker: ProcessPoolExecutor) -> None:
    hopeless = replace(problem(*SQUARE), y_shape=(8, 64, 50, 50))
    same, seconds = worker.submit(asked_twice, problem(*SQUARE), hopeless).result()
    assert same
    assert seconds < 1e-3


def test_the_fastest_of_the_measured_plans_is_kept(worker: ProcessPoolExecutor) -> None:
    made = problem(*SQUARE, form=(True, True, True), kind=("float32", True), last=True)
    names, chosen = worker.submit(measured, made, [5.0, 4.0, -1.0, 2.0, 3.0, 2.0]).result()
    assert len(names) == len(set(names)) > 6  # every one is timed, those after the sixth at 1.0
    assert chosen == names[6]
    assert names_of(worker, [made])[0] == names[0]  # without measuring the first is taken as before
    again, same = worker.submit(measured, made, []).result()
    assert (again, same) == ([], chosen)


def test_plans_that_fail_are_passed_over(worker: ProcessPoolExecutor) -> None:
    made = problem(*SQUARE, form=(True, False, True))
    names, chosen = worker.submit(measured, made, [-1.0] * 100).result()
    assert names
    assert chosen is None


def test_run_refuses_addresses_that_kernels_cannot_read(worker: ProcessPoolExecutor) -> None:
    made = problem(*SQUARE, form=(True, False, True))
    for place in range(4):
        addresses = tuple(4096 + 8 * (place == number) for number in range(4))
        assert "multiple of 16" in worker.submit(refusal, made, addresses).result()


def test_strict_plans_need_little_memory_in_torchs_order(worker: ProcessPoolExecutor) -> None:
    """cuDNN converts what lies otherwise than it computes: strict float32 first, tensor cores last."""
    batch = ((64, 64, 56, 56), (64, 64, 3, 3))
    size = math.prod(batch[0]) * 2
    made = [
        problem(*batch, kind=kind, form=(True, False, True), last=last)
        for kind, last in [
            (("float32", False), False),
            (("float16", False), True),
            (("float16", False), False),
        ]
    ]
    strict, native, converted = worker.submit(found, made).result()
    assert strict is not None
    assert native is not None
    assert converted is not None
    assert max(strict[1], native[1]) < size / 4
    assert converted[1] > size / 2


# --- sentences --------------------------------------------------------------------------------------

ASK = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("plans", {file!r})
module = importlib.util.module_from_spec(spec)
sys.modules["plans"] = module
{before}
spec.loader.exec_module(module)
print(module.available())
"""


def sentence(before: str = "", *options: str) -> str:
    """What `available` says in a new process; the file imports nothing but Python's own library."""
    text = ASK.format(file=str(Path(cudnn.__file__)), before=before)
    command = [sys.executable, *options, "-c", text]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_available_says_that_the_package_is_missing() -> None:
    assert sentence("", "-S") == (
        "The package nvidia-cudnn-frontend is not installed: "
        "pip install 'netspec-runner[cuda13]', or [cuda12] for CUDA 12."
    )


NO_LIBRARY = """
import ctypes, sysconfig
sysconfig.get_path = lambda name: "/nowhere"
try:
    ctypes.CDLL("libcudnn.so.9")
except OSError:
    pass
else:
    print("installed")
    sys.exit()
"""


def test_available_says_that_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    said = sentence(NO_LIBRARY)
    if said == "installed":
        pytest.skip("cuDNN is installed for the whole system")
    assert said.startswith("The cuDNN library (libcudnn.so.9) was not found: pip install 'netspec-runner[")


def test_available_says_that_the_package_is_too_old(tmp_path: Path) -> None:
    (tmp_path / "cudnn.py").write_text('__version__ = "1.23.0"\n')
    said = sentence(f"sys.path.insert(0, {str(tmp_path)!r})")
    assert said.startswith("nvidia-cudnn-frontend 1.23.0 is too old, 1.24 or newer is needed: pip install")


def test_available_here() -> None:
    assert sentence() == "None"
