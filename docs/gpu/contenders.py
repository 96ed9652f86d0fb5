"""The runtimes of the GPU benchmark: each in a process of its own, its inputs and outputs on the device.

Part of `gpu_report.py`. Everybody gets the same network, weights and inputs: `netspec.benchmark.problem.pose` makes
them anew in each process, from one seed. A call goes from arrays of the device to arrays of the device. Times are
between two CUDA events, before and after; with `device` cpu (a dry run) they are the processor's clock.
"""

from __future__ import annotations

import importlib
import logging
import time
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from docs.gpu.child import Plain
from netspec import __version__
from netspec.benchmark import onnxruntime_peer, torch_peer
from netspec.benchmark.contender import Task
from netspec.benchmark.problem import Problem, pose
from netspec.runtime.network import Network

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

OLDEST_TORCH = (2, 6)

KINDS: dict[str, dict[str, str]] = {
    "float32 strict": {"precision": "highest"},
    "TF32": {"precision": "high"},
    "float16": {"dtype": "float16"},
}
"""Kind -> how netspec is told. TF32 is what torch does by default: convolutions round to it, matrix products do not."""

PARTS = 4
"""Rows of calls in a turn, each of which gives one figure."""

WARM = 3
"""Calls before anything is timed; the second of netspec captures its graph."""


@dataclass(frozen=True)
class Job:
    """What one process runs. network: the name of a file in configs/."""

    contender: str
    setting: str
    network: str
    shape: tuple[int, ...]
    kind: str
    device: str
    threads: int = 1

    @property
    def on_gpu(self) -> bool:
        """Whether this is no dry run."""
        return self.device != "cpu"

    @property
    def index(self) -> int:
        """The device's number."""
        return int(self.device[5:] or 0)


@dataclass(frozen=True)
class Built:
    """A contender, ready.

    call: one call, which may go on when it returns; queue: so many, results taken as late as may be. read: the outputs
    of one call as NumPy arrays; live: bytes of the device that its own counters say it holds, at the peak of a call.
    """

    call: Callable[[], Any]
    queue: Callable[[int], Any]
    read: Callable[[], dict[str, Any]]
    live: Callable[[], int | None]
    scope: Callable[[], AbstractContextManager[Any]] = nullcontext


class Missing(Plain):
    """A runtime is not here; the text says what is missing."""


# --- clocks and counters ----------------------------------------------------------------------------

Elapsed = Callable[[Callable[[], Any]], float]
"""Milliseconds until all that something starts is done."""


def wall(run: Callable[[], Any]) -> float:
    """By the processor's clock."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def cupy_events(run: Callable[[], Any]) -> float:
    """By events of CuPy on the current stream; what runs elsewhere is waited for by `run`."""
    cuda = importlib.import_module("cupy").cuda
    before, after = cuda.Event(), cuda.Event()
    before.record()
    run()
    after.record()
    after.synchronize()
    return float(cuda.get_elapsed_time(before, after))


def torch_events(run: Callable[[], Any]) -> float:
    """By events of torch on the current stream."""
    event = torch_peer.library().cuda.Event
    before, after = event(enable_timing=True), event(enable_timing=True)
    before.record()
    run()
    after.record()
    after.synchronize()
    return float(before.elapsed_time(after))


def used_by_cupy(job: Job) -> int:
    """Bytes of the device that are taken, by anybody. The device is the thread's current one from here on."""
    cuda = importlib.import_module("cupy").cuda
    cuda.Device(job.index).use()
    cuda.runtime.deviceSynchronize()
    free, total = cuda.runtime.memGetInfo()
    return int(total - free)


def used_by_torch(job: Job) -> int:
    """The same, asked by torch."""
    cuda = torch_peer.library().cuda
    cuda.synchronize(job.index)
    free, total = cuda.mem_get_info(job.index)
    return int(total - free)


def posed(job: Job, ours: bool) -> tuple[Network, Task]:
    """The network, and what everybody is to run; it lies on the device where it is `ours` to run."""
    file = CONFIGS / f"{job.network}.yaml"
    (name,) = importlib.import_module("netspec").parse(file).inputs
    problem = Problem(
        str(file), job.threads, {name: job.shape}, device=job.device if ours else "cpu",
        autotune="autotune" in job.contender, **KINDS[job.kind],
    )  # fmt: skip
    return pose(problem)


# --- netspec ----------------------------------------------------------------------------------------


def netspec(job: Job) -> Built:
    """netspec, graphs on."""
    net, task = posed(job, True)
    backend = net._backend
    given = {name: backend.asarray(array) for name, array in task.inputs.items()}
    wanted = net.wanted()

    def queue(count: int) -> None:
        pending: deque[Any] = deque()
        for _ in range(count):
            pending.append(net.begin(given, wanted))
            if len(pending) > net.calls_ahead:
                pending.popleft().result()
        for call in pending:
            call.result()

    def read() -> dict[str, Any]:
        return {
            name: backend.to_numpy(x) if job.on_gpu else x for name, x in net.compute(given, wanted).items()
        }

    def live() -> int | None:
        return int(backend.device.pool.total_bytes()) if job.on_gpu else None  # type: ignore[attr-defined]

    return Built(lambda: net.compute(given, wanted), queue, read, live)


# --- torch ------------------------------------------------------------------------------------------


def torch_module(job: Job) -> tuple[Any, list[Any], list[str]]:
    """The module on the device, its inputs there, and the names of its outputs."""
    torch = torch_peer.library()
    if job.on_gpu:
        torch.cuda.set_device(job.index)
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = job.kind == "TF32"
        torch.backends.cuda.matmul.allow_tf32 = False
    else:
        torch.set_num_threads(job.threads)
    _, task = posed(job, False)
    place = torch.device("cuda", job.index) if job.on_gpu else torch.device("cpu")
    form = torch.channels_last if job.setting == "channels_last" else torch.contiguous_format
    module = torch_peer.build(task).to(place)
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=form)
    tensors = [torch.from_numpy(array.copy()).to(place) for array in task.inputs.values()]
    tensors = [x.contiguous(memory_format=form) if x.ndim == 4 else x for x in tensors]
    return module, tensors, list(task.wanted)


def torch_eager(job: Job) -> Built:
    """The module itself. fx wraps __call__ for its own tracebacks, a person's module has no such wrapper."""
    module, tensors, names = torch_module(job)
    return _torch_built(job, partial(torch_peer.library().nn.Module.__call__, module, *tensors), names)


def torch_compiled(job: Job) -> Built:
    """torch.compile; inductor chooses the layout."""
    module, tensors, names = torch_module(job)
    compiled = torch_peer.library().compile(module, mode=job.setting, dynamic=False)
    return _torch_built(job, partial(compiled, *tensors), names)


def _torch_built(job: Job, call: Callable[[], Any], names: list[str]) -> Built:
    torch = torch_peer.library()

    def queue(count: int) -> None:
        for _ in range(count):
            call()

    def read() -> dict[str, Any]:
        return {name: x.cpu().contiguous().numpy().copy() for name, x in zip(names, call(), strict=True)}

    def live() -> int | None:
        if not job.on_gpu:
            return None
        torch.cuda.reset_peak_memory_stats()
        call()
        return int(torch.cuda.max_memory_allocated())

    return Built(call, queue, read, live, torch.inference_mode)


# --- ONNX Runtime -----------------------------------------------------------------------------------


def onnxruntime(job: Job) -> Built:
    """netspec's export in ONNX Runtime, inputs and outputs bound to memory of the device."""
    ort = _ort(job)
    _, task = posed(job, False)
    options, running = ort.SessionOptions(), ort.RunOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    providers: list[Any] = ["CPUExecutionProvider"]
    where: tuple[Any, ...] = ("cpu", 0)
    stream: Any = None
    if job.on_gpu:
        stream = importlib.import_module("cupy").cuda.Stream(non_blocking=True)
        stream.use()  # so that the events are on it, too, and it need not be waited for between them
        provider = {
            "device_id": job.index,
            "use_tf32": int(job.kind == "TF32"),
            "cudnn_conv_algo_search": "EXHAUSTIVE",
            "cudnn_conv_use_max_workspace": "1",
            "user_compute_stream": str(stream.ptr),
        }
        providers = [("CUDAExecutionProvider", provider), *providers]
        where = ("cuda", job.index)
        running.add_run_config_entry("disable_synchronize_execution_providers", "1")
    else:
        options.intra_op_num_threads, options.inter_op_num_threads = job.threads, 1
    session = ort.InferenceSession(onnxruntime_peer.serialized(task), options, providers=providers)
    if job.on_gpu and session.get_providers()[0] != "CUDAExecutionProvider":
        raise Missing("ONNX Runtime fell back to the CPU")
    names, binding = list(task.wanted), session.io_binding()
    for entry in session.get_inputs():
        binding.bind_ortvalue_input(
            entry.name, ort.OrtValue.ortvalue_from_numpy(task.inputs[entry.name], *where)
        )
    outputs = [entry.name for entry in session.get_outputs()]
    for name in outputs:
        binding.bind_output(name, *where)
    session.run_with_iobinding(binding)  # makes the outputs, which later calls write again
    for name, value in zip(outputs, binding.get_outputs(), strict=True):
        binding.bind_ortvalue_output(name, value)

    def call() -> None:
        session.run_with_iobinding(binding, running)

    def queue(count: int) -> None:
        for _ in range(count):
            call()

    def read() -> dict[str, Any]:
        call()
        if stream is not None:
            stream.synchronize()
        return dict(zip(names, (np.array(x) for x in binding.copy_outputs_to_cpu()), strict=True))

    return Built(call, queue, read, lambda: None)


def _ort(job: Job) -> Any:
    ort = onnxruntime_peer.library()
    if job.on_gpu and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    return ort


# --- all --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contender:
    """How one is made. settings: those of which the fastest is taken."""

    build: Callable[[Job], Built]
    settings: tuple[str, ...]
    events: Elapsed
    used: Callable[[Job], int]


CONTENDERS = {
    "netspec": Contender(netspec, ("",), cupy_events, used_by_cupy),
    "netspec --autotune": Contender(netspec, ("",), cupy_events, used_by_cupy),
    "torch eager": Contender(torch_eager, ("contiguous", "channels_last"), torch_events, used_by_torch),
    "torch.compile": Contender(
        torch_compiled, ("max-autotune-no-cudagraphs", "reduce-overhead"), torch_events, used_by_torch
    ),
    "onnxruntime": Contender(onnxruntime, ("",), cupy_events, used_by_cupy),
}


def make(job: Job) -> Callable[[tuple[Any, ...]], Any]:
    """A child that answers `outputs` (with what it takes), `one n` (milliseconds of single calls) and `queued n`."""
    warnings.simplefilter("ignore")
    said = _Said()
    logging.getLogger("netspec").addHandler(said)
    contender = CONTENDERS[job.contender]
    elapsed = contender.events if job.on_gpu else wall
    before = 0
    if job.on_gpu:
        contender.used(job)  # makes the device the current one
        _prime(job)
        before = contender.used(job)
    built = contender.build(job)
    with built.scope():
        for _ in range(WARM):
            built.call()
        outputs = built.read()
        taken = max(0, contender.used(job) - before) if job.on_gpu else None
        live = built.live()

    def answer(message: tuple[Any, ...]) -> Any:
        what, *given = message
        if what == "outputs":
            return outputs, taken, live, said.lines
        with built.scope():
            built.call()  # the caches hold what others used
            if what == "one":
                return [elapsed(built.call) for _ in range(given[0])]
            part = -(-given[0] // PARTS)
            return [elapsed(lambda: built.queue(part)) / part for _ in range(min(PARTS, given[0]))]

    return answer


class _Said(logging.Handler):
    """What netspec warns about, such as a call that goes on without a graph."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.lines.append(record.getMessage())


def _prime(job: Job) -> None:
    """Loads libraries and their kernels, so that they are not counted as the network's memory."""
    first = replace(job, network="lenet5", shape=(1, 1, 28, 28))
    build = torch_eager if job.contender == "torch.compile" else CONTENDERS[job.contender].build
    built = build(first)
    with built.scope():
        for _ in range(WARM):
            built.read()


def probe(job: Job) -> Callable[[Any], str]:
    """A child that answers with the version of a job's runtime. Raises `Missing`."""
    name, version = job.contender, __version__
    if name.startswith("torch"):
        try:
            torch = importlib.import_module("torch")
        except ImportError as error:
            raise Missing(f"PyTorch is not installed ({error}): pip install torch") from None
        version = torch.__version__
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_TORCH:
            raise Missing(f"torch {version} is older than {'.'.join(map(str, OLDEST_TORCH))}")
        if job.on_gpu and not torch.cuda.is_available():
            raise Missing(f"torch {version} sees no CUDA device")
    elif name == "onnxruntime":
        try:
            importlib.import_module("onnx")
            ort = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise Missing(f"not installed ({error}): pip install onnx onnxruntime-gpu") from None
        version = ort.__version__
        if job.on_gpu and "CUDAExecutionProvider" not in ort.get_available_providers():
            raise Missing(f"onnxruntime {version} has no CUDAExecutionProvider: pip install onnxruntime-gpu")
    return lambda _: version
