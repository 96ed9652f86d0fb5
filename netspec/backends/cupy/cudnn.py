"""Convolutions by cuDNN: the only file that knows it.

A convolution, the addition of another array, bias and ReLU are one graph, for which cuDNN is asked for an
engine. The frontend (`nvidia-cudnn-frontend`, 1.24 to 1.28) describes graphs; addresses are integers.

What cuDNN 9.28 has for an H200 (compute capability 9.0), planned from its properties:

- every convolution of the example networks, plain or with a bias and whatever follows it, has a finished
  kernel in every dtype and layout, grouped and depthwise ones, dilated ones and slices of arrays included;
- transposed convolutions have one only if nothing follows;
- it computes in one layout and converts the others in the workspace (up to the sizes of x and y together):
  float32 with TF32, float16 and bfloat16 want channels last, strict float32 and float64 torch's order;
- without TF32 its heuristics rank few engines, so most plans are the first of the fallback list: measuring
  pays most there;
- no engine transforms (Winograd, FFT), and the only one that adds in any order is what transposed
  convolutions in float32 without TF32 and float64 get if they are not `deterministic`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Any

log = logging.getLogger("netspec")

OLDEST = (1, 24)
"""The oldest frontend whose interface is used here."""

ALIGNMENT = 16
"""Bytes: engines read vectors of this size, as the graph's tensors promise by default."""

INSTALL = "pip install 'netspec-runner[cuda13]', or [cuda12] for CUDA 12"
"""What every sentence of `available` ends with."""

X, WEIGHT, Y, BIAS, RESIDUAL = 1, 2, 3, 4, 5
"""The names (uids) of the arrays in every graph; the frontend numbers the others after them."""

DTYPES = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "HALF", "bfloat16": "BFLOAT16"}

ROUNDED = ("DOWN_CONVERT_INPUTS", "REDUCED_PRECISION_REDUCTION")
"""Notes of engines that are never used: they would round to fewer bits than the dtype or TF32 has.

TF32 is not among them: its engines carry TENSOR_CORE alone. PyTorch leaves out DOWN_CONVERT_INPUTS always
as well (filterEngineConfigs in aten/src/ATen/native/cudnn/Conv_v8.cpp).
"""

TRANSFORMED = ("FFT", "WINOGRAD", "WINOGRAD_TILE_4x4", "WINOGRAD_TILE_6x6", "WINOGRAD_TILE_13x13")
"""Notes of engines that compute in a transformed space, so with other roundings than a sum of products.

PyTorch allows them without TF32; here strict means plain forms, as in the NumPy backend, whose Winograd
is for precision below 'highest' only.
"""


class Failure(RuntimeError):
    """cuDNN could not start what it had planned."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One convolution as cuDNN needs it: shapes (n, c, *s) in torch's order, strides in elements as they lie.

    transposed: conv_dgrad, with the weight (c, o/groups, *k) as torch has it; padding is cut from the result.
    bias: (o,), added per output channel. residual: an array shaped and strided like y is added; it is added
    before the bias, for which order there are kernels, and all sums are in float32 at least. relu: max(x, 0)
    last; NaN stays NaN: the graph asks for it, and the kernels' machine code was seen to heed it. (A limit, as
    ReLU6 has, leaves only one slow kernel: it is a pass of its own.)
    tf32 (float32 only): tensor cores with rounded inputs are allowed. deterministic: no engine that may give
    other bits from run to run.
    """

    transposed: bool
    x_shape: tuple[int, ...]
    x_strides: tuple[int, ...]
    weight_shape: tuple[int, ...]
    weight_strides: tuple[int, ...]
    y_shape: tuple[int, ...]
    y_strides: tuple[int, ...]
    dtype: str
    stride: tuple[int, ...]
    pre_padding: tuple[int, ...]
    post_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    bias: bool
    residual: bool
    relu: bool
    tf32: bool
    deterministic: bool


class Convolution:
    """A built plan for one problem, reused for every run; `name` is what cuDNN calls its engine and knobs."""

    __slots__ = ("_graph", "_owner", "name", "workspace_bytes")

    def __init__(self, owner: Cudnn, graph: Any, index: int) -> None:
        self.name = str(graph.get_plan_name_at_index(index))
        self.workspace_bytes = int(graph.get_workspace_size_plan_at_index(index))
        self._graph = graph
        self._owner = owner

    def run(
        self, x: int, weight: int, y: int, bias: int | None, residual: int | None, workspace: int, stream: int
    ) -> None:
        """Enqueue it on a stream of this thread's current device; y overlaps no other array.

        All addresses are multiples of `ALIGNMENT`; workspace: of `workspace_bytes` bytes, or 0 if there are
        none. The first run on a stream makes a handle for it and may load kernels, so run once before a CUDA
        graph is captured. Raises `Failure`.
        """
        if (x | weight | y | (bias or 0) | (residual or 0) | workspace) % ALIGNMENT:
            raise ValueError(f"cuDNN reads vectors: every address must be a multiple of {ALIGNMENT}")
        arrays = {X: x, WEIGHT: weight, Y: y}
        if bias is not None:
            arrays[BIAS] = bias
        if residual is not None:
            arrays[RESIDUAL] = residual
        self._owner._execute(self._graph, arrays, workspace, stream)


class Cudnn:
    """cuDNN on one device: plans by problem, and a handle for each stream.

    Threads may share it. Handles are of one stream each, because a stream that is being captured may draw
    the helper streams of its handle into the capture. A plan takes some milliseconds to make; those of plain
    depthwise convolutions may be compiled then (a third of a second for each kind of kernel), in which the
    frontend keeps the interpreter's lock.
    """

    def __init__(self, properties: Any = None) -> None:
        """properties: serialized device properties, to plan for a device that is not here.

        None: this thread's current device.
        """
        cudnn: Any = import_module("cudnn")
        self._cudnn = cudnn
        self._target: dict[str, Any]
        if properties is None:
            self._target = {"handle": cudnn.create_handle()}
        else:
            self._target = {"device_property": cudnn.create_device_properties(properties)}
        self._refusals = (cudnn.cudnnGraphNotSupportedError, RuntimeError, ValueError)
        self._plans: dict[tuple[Problem, bool], Convolution | None] = {}
        self._handles: dict[int, Any] = {}
        self._planning = Lock()
        self._running = Lock()

    def plan(
        self, problem: Problem, measure: Callable[[Callable[[], None]], float] | None = None
    ) -> Convolution | None:
        """The plan that cuDNN's heuristics rank first among those that work; None where it has no kernel.

        That is also the answer (without asking) for bias, residual or ReLU after a transposed convolution,
        and for the latter two without a bias: give a bias of zeros. Whatever is found is kept.

        measure: how long a kernel takes; every plan that works is timed, on arrays of its own that the kernel
        makes when it is first called, and the fastest is kept.
        """
        key = problem, measure is not None
        with self._planning:
            if key not in self._plans:
                plans = self._working(problem)
                if measure is None:
                    self._plans[key] = next(plans, None)
                else:
                    self._plans[key] = self._fastest(problem, plans, measure)
            return self._plans[key]

    def _working(self, problem: Problem) -> Iterator[Convolution]:
        """The plans that can be built, best first by cuDNN's heuristics.

        Each is the only one built of its graph, so that those not kept give their memory back.
        """
        index = 0
        graph = self._graph(problem)
        while graph is not None and index < graph.get_execution_plan_count():
            try:
                graph.build_plan_at_index(index)
            except self._refusals as refusal:
                log.debug("cuDNN plan %s: %s", graph.get_plan_name_at_index(index), refusal)
            else:
                yield Convolution(self, graph, index)
                graph = self._graph(problem)
            index += 1

    def _fastest(
        self,
        problem: Problem,
        plans: Iterator[Convolution],
        measure: Callable[[Callable[[], None]], float],
    ) -> Convolution | None:
        best, shortest = None, math.inf
        arrays = lru_cache(maxsize=1)(lambda: _arrays(problem))
        for plan in plans:
            try:
                seconds = measure(_trial(plan, arrays))
            except (*self._refusals, MemoryError) as refusal:
                log.debug("cuDNN plan %s: %s", plan.name, refusal)
            else:
                if seconds < shortest:
                    best, shortest = plan, seconds
        return best

    def _graph(self, problem: Problem) -> Any:
        """The graph of the problem with the plans that it may use; None if cuDNN has no engine for it."""
        if problem.dtype not in DTYPES or len(problem.stride) not in (1, 2, 3) or not _finished(problem):
            return None
        cudnn = self._cudnn
        try:
            graph = _described(cudnn, problem, self._target)
            graph.validate()
            graph.build_operation_graph()
            graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        except self._refusals as refusal:
            log.debug("cuDNN has no engine for %s: %s", problem, refusal)
            return None
        graph.deselect_numeric_notes([getattr(cudnn.numerical_note, name) for name in _refused(problem)])
        return graph

    def _execute(self, graph: Any, arrays: dict[int, int], workspace: int, stream: int) -> None:
        # A handle serves one thread at a time, and so does a plan; the frontend keeps the interpreter's
        # lock while it enqueues, so a lock for the device makes nothing wait that would not wait anyway.
        with self._running:
            try:
                handle = self._handles.get(stream)
                if handle is None:
                    handle = self._cudnn.create_handle()
                    self._cudnn.set_stream(handle=handle, stream=stream)
                    self._handles[stream] = handle
                graph.execute(arrays, workspace, handle=handle)
            except self._refusals as error:
                raise Failure(f"cuDNN: {error}") from None


def _finished(problem: Problem) -> bool:
    """Whether the graph is of a form that cuDNN has finished kernels for, now or in its fallback list.

    Others are compiled at run time: transposed ones in 2.5 to 3.6 seconds, while the fallback for them is one
    kernel of a few multiplications per thread. The convolution alone and a pass over its result is better.
    """
    if problem.transposed:
        return not (problem.bias or problem.residual or problem.relu)
    return problem.bias or not (problem.residual or problem.relu)


def _refused(problem: Problem) -> list[str]:
    """The numerical notes of engines that the problem may not use."""
    names = [*ROUNDED]
    if problem.dtype == "float32" and not problem.tf32:
        names.append("TENSOR_CORE")
    if problem.dtype in ("float32", "float64") and not problem.tf32:
        names.extend(TRANSFORMED)
    if problem.deterministic:
        names.append("NONDETERMINISTIC")
    return names


def _described(cudnn: Any, problem: Problem, target: dict[str, Any]) -> Any:
    """The frontend's graph: relu(convolution + residual + bias), in float32 at least."""
    dtype = getattr(cudnn.data_type, DTYPES[problem.dtype])
    wide = cudnn.data_type.DOUBLE if problem.dtype == "float64" else cudnn.data_type.FLOAT
    graph = cudnn.pygraph(io_data_type=dtype, intermediate_data_type=wide, compute_data_type=wide, **target)
    (x_shape, x_strides), (w_shape, w_strides), (y_shape, y_strides) = _laid(problem)
    x = graph.tensor(name="x", dim=x_shape, stride=x_strides, data_type=dtype, uid=X)
    weight = graph.tensor(name="weight", dim=w_shape, stride=w_strides, data_type=dtype, uid=WEIGHT)
    widen = [0] * (2 - len(problem.stride))  # the spatial axis of 1 in front
    window = {
        "pre_padding": [*widen, *problem.pre_padding],
        "post_padding": [*widen, *problem.post_padding],
        "stride": [*(1 for _ in widen), *problem.stride],
        "dilation": [*(1 for _ in widen), *problem.dilation],
    }
    if problem.transposed:
        result = graph.conv_dgrad(loss=x, filter=weight, **window)
    else:
        result = graph.conv_fprop(image=x, weight=weight, **window)
    steps = [result]
    if problem.residual:
        other = graph.tensor(name="residual", dim=y_shape, stride=y_strides, data_type=dtype, uid=RESIDUAL)
        steps.append(graph.add(a=steps[-1], b=other))
    if problem.bias:
        shape = [1, y_shape[1], *(1 for _ in y_shape[2:])]
        strides = [y_shape[1], 1, *(y_shape[1] for _ in y_shape[2:])]
        bias = graph.tensor(name="bias", dim=shape, stride=strides, data_type=dtype, uid=BIAS)
        steps.append(graph.add(a=steps[-1], b=bias))
    if problem.relu:
        steps.append(graph.relu(input=steps[-1]))
    for step in steps:  # conv_dgrad cannot know its size, and nothing the order of its axes in memory
        step.set_dim(y_shape).set_stride(y_strides)
    steps[-1].set_output(True).set_data_type(dtype).set_uid(Y)
    return graph


def _laid(problem: Problem) -> list[tuple[list[int], list[int]]]:
    """Shape and strides of x, weight and y with two or three spatial axes.

    Strides of axes of size 1 are arbitrary, but cuDNN takes the order of the axes from them: they become
    those of a packed array, channels last or first as the other arrays are laid.
    """
    arrays: list[tuple[list[int], list[int]]] = []
    for shape, strides in (
        (problem.x_shape, problem.x_strides),
        (problem.weight_shape, problem.weight_strides),
        (problem.y_shape, problem.y_strides),
    ):
        if len(shape) == 3:
            arrays.append(([*shape[:2], 1, shape[2]], [*strides[:2], shape[2] * strides[2], strides[2]]))
        else:
            arrays.append(([*shape], [*strides]))
    orders = [True, False]
    if not all(_fits(*array, _packed(array[0], True)) for array in arrays[::2]):
        orders.reverse()
    laid = []
    for shape_, strides_ in arrays:
        packed = [
            order for order in (_packed(shape_, last) for last in orders) if _fits(shape_, strides_, order)
        ]
        laid.append((shape_, packed[0] if packed else strides_))
    return laid


def _packed(shape: Sequence[int], last: bool) -> list[int]:
    """Strides of an array without gaps, with its channels last in memory or in torch's order."""
    inner = [*range(len(shape) - 1, 1, -1)]
    strides, step = [0] * len(shape), 1
    for axis in [1, *inner, 0] if last else [*inner, 1, 0]:
        strides[axis] = step
        step *= shape[axis]
    return strides


def _fits(shape: Sequence[int], strides: Sequence[int], packed: Sequence[int]) -> bool:
    return all(size == 1 or step == want for size, step, want in zip(shape, strides, packed, strict=True))


def _trial(plan: Convolution, arrays: Callable[[], dict[int, Any]]) -> Callable[[], None]:
    """The plan as a kernel over arrays of its own, on this thread's current stream."""
    given: dict[int, int] = {}
    workspace: list[Any] = []

    def kernel() -> None:
        cupy: Any = import_module("cupy")

        if not workspace:
            given.update({name: array.data.ptr for name, array in arrays().items()})
            workspace.append(cupy.empty(max(plan.workspace_bytes, 1), "uint8"))
        plan.run(
            given[X],
            given[WEIGHT],
            given[Y],
            given.get(BIAS),
            given.get(RESIDUAL),
            workspace[0].data.ptr,
            cupy.cuda.get_current_stream().ptr,
        )

    return kernel


def _arrays(problem: Problem) -> dict[int, Any]:
    """Arrays of the problem's sizes on this device, full of ordinary numbers (zeros would draw less power)."""
    cupy: Any = import_module("cupy")
    import numpy as np

    numbers = np.random.default_rng(0).standard_normal(1 << 16, np.float32)
    if problem.dtype == "bfloat16":
        tile = cupy.asarray((numbers.view(np.uint32) >> 16).astype(np.uint16))
    else:
        tile = cupy.asarray(numbers.astype(problem.dtype))
    spans = {
        X: _span(problem.x_shape, problem.x_strides),
        WEIGHT: _span(problem.weight_shape, problem.weight_strides),
        Y: _span(problem.y_shape, problem.y_strides),
    }
    if problem.bias:
        spans[BIAS] = problem.y_shape[1]
    if problem.residual:
        spans[RESIDUAL] = spans[Y]
    return {name: cupy.tile(tile, -(-span // tile.size)) for name, span in spans.items()}


def _span(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Elements from an array's first to its last place in memory."""
    return 1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))


def available() -> str | None:
    """None, or what is missing for convolutions by cuDNN and how to install it."""
    if find_spec("cudnn") is None:
        return f"The package nvidia-cudnn-frontend is not installed: {INSTALL}."
    cudnn: Any = import_module("cudnn")

    found = str(cudnn.__version__)
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return f"nvidia-cudnn-frontend {found} is too old, {oldest} or newer is needed: {INSTALL}."
    try:
        version = int(cudnn.backend_version())
    except RuntimeError:
        return f"The cuDNN library (libcudnn.so.9) was not found: {INSTALL}."
    if version < 90000:
        return f"cuDNN {version} is too old, version 9 is needed: {INSTALL}."
    return None
