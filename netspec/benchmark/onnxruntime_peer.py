"""The same network in ONNX Runtime: exported from the unfused program, optimised by the runtime itself."""

from __future__ import annotations

import importlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from netspec.benchmark.contender import Contender, Maker, Task
from netspec.diagnostics import DeviceError, InputError
from netspec.interop.onnx import to_onnx

BOUND = "bound buffers"
PASSIVE = "threads sleep"


def library() -> Any:
    """onnxruntime, imported when it is asked for. Raises `DeviceError` where it or onnx is not installed."""
    try:
        importlib.import_module("onnx")
        return importlib.import_module("onnxruntime")
    except ImportError:
        raise DeviceError(
            "--against onnxruntime: onnx and onnxruntime are needed: pip install 'netspec-runner[bench]'"
        ) from None


def settings(task: Task) -> list[str]:
    """Results in new arrays or in buffers bound once; several threads wait turning or sleeping."""
    waiting = ["", PASSIVE] if task.threads > 1 else [""]
    return [", ".join(filter(None, (binding, wait))) for wait in waiting for binding in ("", BOUND)]


def makers(task: Task) -> dict[str, Maker]:
    """Setting -> what builds the contender; the model is exported once."""
    library()
    model = serialized(task)
    sessions: dict[bool, Any] = {}

    def maker(setting: str) -> Contender:
        passive = PASSIVE in setting
        if passive not in sessions:
            sessions[passive] = session(model, task.threads, passive)
        return make(task, setting, sessions[passive])

    return {setting: partial(maker, setting) for setting in settings(task)}


def serialized(task: Task) -> bytes:
    """The network as the bytes of an ONNX file."""
    graph = task.shaped.graph
    return bytes(to_onnx(task.program(), task.arrays, graph.spec.name or "network").SerializeToString())


def session(model: bytes, threads: int, passive: bool = False, profile: str | None = None) -> Any:
    """A session with every graph optimisation on, and as many threads as everybody else has."""
    ort = library()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    if passive:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, profile
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"ONNX Runtime {ort.__version__} does not take the network: {reason}") from None


def make(task: Task, setting: str, opened: Any = None) -> Contender:
    """The network in one setting; `opened` is a session that is already there."""
    ort = library()
    opened = opened or session(serialized(task), task.threads, PASSIVE in setting)
    inputs, outputs = [i.name for i in opened.get_inputs()], [o.name for o in opened.get_outputs()]
    feed = {name: task.inputs[name] for name in inputs}
    names = list(task.wanted)
    if BOUND not in setting:

        def read(result: Any) -> dict[str, Any]:
            return dict(zip(names, result, strict=True))

        return Contender("onnxruntime", ort.__version__, setting, lambda: opened.run(outputs, feed), read)
    binding = opened.io_binding()
    values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in feed.items()}
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    for name in outputs:
        binding.bind_output(name)

    def call() -> None:
        opened.run_with_iobinding(binding)

    def read_bound(result: Any) -> dict[str, Any]:
        return {n: v.copy() for n, v in zip(names, binding.copy_outputs_to_cpu(), strict=True)}

    return Contender("onnxruntime", ort.__version__, setting, call, read_bound)


# --- times by layer ---------------------------------------------------------------------------------


def layer_times(task: Task, setting: str, seconds: float) -> Mapping[str, float]:
    """Least seconds of each layer, from ONNX Runtime's own profile; what it has fused is one layer's."""
    import time

    with tempfile.TemporaryDirectory() as folder:
        profiled = session(
            serialized(task), task.threads, PASSIVE in setting, os.path.join(folder, "profile")
        )
        feed = {i.name: task.inputs[i.name] for i in profiled.get_inputs()}
        end, calls = time.perf_counter() + seconds, 0
        while calls < 3 or (time.perf_counter() < end and calls < 200):
            profiled.run(None, feed)
            calls += 1
        events = json.loads(Path(profiled.end_profiling()).read_text(encoding="utf-8"))
    found: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = event["name"].removesuffix("_kernel_time"), event["args"]["op_name"]
            found.setdefault(key, []).append(event["dur"] * 1e-6)
    best: dict[str, float] = {}
    for (name, kind), taken in found.items():
        layer = _layer(task, name, kind)
        best[layer] = best.get(layer, 0.0) + min(taken)
    return best


_OWNERS = {"Conv": "Conv", "FusedConv": "Conv", "Gemm": "Linear", "FusedGemm": "Linear", "MatMul": "Linear"}
"""Operator -> how the type of the layer starts that such a node belongs to."""


def _layer(task: Task, name: str, kind: str) -> str:
    """The layer that a node belongs to; its own name where it belongs to none.

    Nodes and edges are called after layers, edges that leave the network after outputs. A convolution that
    has taken in what follows it goes by the name of the last one: it is the convolution's, found by going
    back along first inputs.
    """
    graph = task.shaped.graph
    numbers = {ref_name: ref.node for ref_name, ref in task.wanted.items() if ref.node >= 0}
    numbers |= {node.path: node.index for node in graph.nodes}
    parts = re.split(r"[/ ]|_nchwc|_token_", name)
    layer = next((part for part in parts if part in numbers), None)
    if layer is None:
        return name
    start, number = _OWNERS.get(kind), numbers[layer]
    while start is not None and number >= 0:
        node = graph.nodes[number]
        if node.layer is not None and node.layer.type_name.startswith(start):
            return node.path
        number = node.inputs[0].node if node.inputs else -1
    return graph.nodes[numbers[layer]].path


def prime() -> None:
    """Loads the library."""
    library()
