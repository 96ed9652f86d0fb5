"""Which kernels and which pieces of the driver something used. Part of `gpu_report.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from docs.gpu.child import summary
from netspec.backends.cupy.device import Device

Note = Callable[[str], None]

PIECES = {
    "memory": "`Device.allocate`: memory of CuPy's pool",
    "free memory": "`Device.free_bytes`: what can still be allocated, within the limit",
    "held memory": "`Device.held_bytes`: what the pool has taken",
    "page-locked memory": "`Device.pinned`: what inputs and outputs go through",
    "copy to the device": "`Device.copy`: cudaMemcpyAsync, kind 1",
    "copy to the host": "`Device.copy`: cudaMemcpyAsync, kind 2",
    "copy on the device": "`Device.copy`: cudaMemcpyAsync, kind 3 (inputs and outputs that are CuPy's)",
    "stream": "`Device.stream`: non-blocking streams, one an executor",
    "wait for a stream": "`Device.synchronize`",
    "wait for the caller's stream": "`Device.wait_for_caller`: an event between two streams",
    "the caller's stream waits": "`Device.let_caller_wait`: the same the other way",
    "a stream given up": "`Device.forget`: kept with its handles for the next network",
    "graph capture": "`Device.capture`: all kernels of a call, cuDNN's and cuBLAS's too, as one CUDA graph",
    "graph launch": "the graph, started again with each call",
    "times by events": "`Device.elapsed`: how autotune measures",
    "kernel compiled and started": "`Device.function`: by NVRTC; one struct by value as the argument",
    **{
        f"cuBLAS {kind}": f"`Device.multiply`: gemmStridedBatchedEx, {kind}"
        for kind in (
            "float16",
            "bfloat16",
            "float32",
            "float32 as TF32",
            "float64",
            "complex64",
            "complex128",
        )
    },
    **{
        f"cuDNN {form} {kind}": f"`cudnn.py`: a plan for a {form}, {kind}"
        for form in ("convolution", "transposed convolution")
        for kind in ("float16", "bfloat16", "float32", "float32 as TF32", "float64")
    },
    "cuDNN with bias": "`cudnn.py`: added in the convolution's graph",
    "cuDNN with a sum": "`cudnn.py`: another array added there",
    "cuDNN with ReLU": "`cudnn.py`: at the end of it",
    "cuDNN deterministic": "`cudnn.py`: only engines that give the same bits",
    "cuDNN measured": "`cudnn.py`: the fastest plan of those that work (autotune)",
}
"""What only a driver, or a library that needs one, can do: nothing of it runs on a machine without a GPU."""


NO_GRAPH = "no graph: "
"""How a note begins that is about a capture that failed; why it did follows."""


@contextmanager
def watched(device: Device, note: Note) -> Iterator[None]:
    """What is started on the device inside is noted: `kernel type` for kernels, keys of PIECES for the rest."""
    plain = {"allocate": "memory", "free_bytes": "free memory", "pinned": "page-locked memory",
             "held_bytes": "held memory", "forget": "a stream given up",
             "stream": "stream", "synchronize": "wait for a stream",
             "wait_for_caller": "wait for the caller's stream", "let_caller_wait": "the caller's stream waits",
             "elapsed": "times by events"}  # fmt: skip
    kinds = {1: "copy to the device", 2: "copy to the host", 3: "copy on the device"}
    function, multiply, capture, copy = device.function, device.multiply, device.capture, device.copy
    replaced: dict[str, Any] = {
        name: _noted(getattr(device, name), note, key) for name, key in plain.items() if hasattr(device, name)
    }

    def watched_function(name: str, dtype: Any) -> Callable[..., None]:
        launch = function(name, dtype)
        key = f"{name} {np.dtype(dtype)}"

        def start(*arguments: Any, **more: Any) -> None:
            launch(*arguments, **more)
            note(key)
            note("kernel compiled and started")

        return start

    def watched_multiply(dtype: str, *arguments: Any, **more: Any) -> Callable[[], None]:
        tf32 = bool(more.get("tf32", arguments[5] if len(arguments) > 5 else False))
        key = f"cuBLAS {dtype}{' as TF32' if tf32 and dtype == 'float32' else ''}"
        return _noted(multiply(dtype, *arguments, **more), note, key)

    def watched_capture(stream: Any, run: Callable[[], None]) -> Callable[[], None]:
        try:
            replay = capture(stream, run)
        except Exception as error:  # a session goes on without a graph then
            note(f"{NO_GRAPH}{summary(error)}")
            raise
        note("graph capture")
        return _noted(replay, note, "graph launch")

    def watched_copy(target: int, origin: int, size: int, kind: int) -> None:
        copy(target, origin, size, kind)
        note(kinds[kind])

    replaced |= {"function": watched_function, "multiply": watched_multiply, "capture": watched_capture,
                 "copy": watched_copy}  # fmt: skip
    vars(device).update(replaced)
    library = device.cudnn
    if library is not None:
        library.plan = _watched_plans(library.plan, note)
    try:
        yield
    finally:
        for name in replaced:
            vars(device).pop(name, None)
        if library is not None:
            vars(library).pop("plan", None)


def _noted(run: Callable[..., Any], note: Note, key: str) -> Callable[..., Any]:
    def noted(*arguments: Any, **more: Any) -> Any:
        result = run(*arguments, **more)
        note(key)
        return result

    return noted


class _Plan:
    """A plan of cuDNN, its runs noted."""

    def __init__(self, plan: Any, note: Note, keys: list[str]) -> None:
        self.workspace_bytes = plan.workspace_bytes
        self._plan, self._note, self._keys = plan, note, keys

    def run(self, *arguments: Any) -> None:
        self._plan.run(*arguments)
        for key in self._keys:
            self._note(key)


def _watched_plans(plan: Callable[..., Any], note: Note) -> Callable[..., Any]:
    def watched_plan(problem: Any, measure: Any = None) -> Any:
        found = plan(problem, measure)
        if found is None:
            return None
        kind = problem.dtype + (" as TF32" if problem.tf32 and problem.dtype == "float32" else "")
        keys = [f"cuDNN {'transposed ' * problem.transposed}convolution {kind}"]
        keys += ["cuDNN with bias"] * problem.bias + ["cuDNN with a sum"] * problem.residual
        keys += ["cuDNN with ReLU"] * problem.relu + ["cuDNN deterministic"] * problem.deterministic
        keys += ["cuDNN measured"] * (measure is not None)
        return _Plan(found, note, keys)

    return watched_plan
