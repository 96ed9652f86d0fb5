"""A program as an ONNX model."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from netspec.diagnostics import DeviceError
from netspec.interop.onnx import (  # each import registers its translations
    axes,  # noqa: F401
    functions,
    windows,  # noqa: F401
)
from netspec.interop.onnx.writer import KINDS, TRANSLATIONS, NotInOnnx, Writer
from netspec.operations import Elementwise
from netspec.program.builder import Step
from netspec.program.compile import Program

OPSET = 20
IR_VERSION = 10
LIMIT = 2**31 - 1
"""Bytes of a protobuf message."""


def library() -> Any:
    """The onnx package. Raises `DeviceError` where it is not installed."""
    try:
        return importlib.import_module("onnx")
    except ImportError:
        raise DeviceError("ONNX models need onnx: pip install 'netspec-runner[bench]'") from None


def to_onnx(program: Program, arrays: Mapping[str, Any], name: str) -> Any:
    """The program, with its weights in it, as an onnx.ModelProto.

    arrays: NumPy arrays by state-dict key. The inputs and outputs have the network's names; an output that
    is called like an input gets `_out` appended. Raises `NotInOnnx` naming the layer.
    """
    onnx = library()
    if program.updates:
        raise NotInOnnx("a network in train mode changes its running statistics, which ONNX cannot say")
    known, steps = _fold(program, arrays)
    weight = sum(array.nbytes for array in known.values())
    if weight > LIMIT:
        raise NotInOnnx(f"the weights take {weight:,} bytes, an ONNX file holds at most {LIMIT:,}")
    w = Writer(program, known)
    inputs = _inputs(w)
    outputs = _name_outputs(w, inputs)
    for step, following in zip_longest(steps, steps[1:]):
        if w.taken_along:
            w.taken_along = False
            continue
        w.label, w.following = step.label, following
        _translate(w, step)
    _finish_outputs(w, outputs)
    graph = w.helper.make_graph(
        w.nodes,
        name,
        [w.helper.make_tensor_value_info(n, KINDS[w.dtype(v)], w.shape(v)) for n, v in inputs.items()],
        [w.helper.make_tensor_value_info(n, KINDS[w.dtype(v)], w.shape(v)) for n, v in outputs],
        w.initializers,
        value_info=w.value_info,
    )
    from netspec import __version__

    opset = onnx.helper.make_opsetid("", OPSET)
    model = w.helper.make_model(
        graph, opset_imports=[opset], producer_name="netspec", producer_version=__version__
    )
    model.ir_version = IR_VERSION
    return model


def _translate(w: Writer, step: Step) -> None:
    operation = step.operation
    dtypes = {w.dtype(v) for v in (*step.inputs, *step.outputs)}
    if any(dtype.startswith("complex") for dtype in dtypes):
        raise w.refuse("complex arithmetic")
    if isinstance(operation, Elementwise):
        functions.translate(w, operation, step)
        return
    translation = TRANSLATIONS.get(type(operation))
    if translation is None:
        raise w.refuse(f"counterpart of {type(operation).__name__}")
    translation(w, operation, step)


# --- what depends on the weights alone --------------------------------------------------------------


def _fold(program: Program, arrays: Mapping[str, Any]) -> tuple[dict[int, Any], list[Step]]:
    """Arrays of all values that no input reaches, and the steps that are left."""
    from netspec.backends.base import Context
    from netspec.backends.numpy.backend import NumpyBackend
    from netspec.program.executor import Executor

    known = {value: arrays[key] for key, value in program.states.items()} | dict(program.constants)
    folded: list[Step] = []
    left: list[Step] = []
    fixed = set(known)
    for step in program.steps:
        if step.inputs and set(step.inputs) <= fixed:
            folded.append(step)
            fixed |= set(step.outputs)
        else:
            left.append(step)
    used = {v for step in left for v in step.inputs} | set(program.outputs.values())
    computed = [v for step in folded for v in step.outputs if v in used]
    if computed:
        outputs = {str(value): value for value in computed}
        part = replace(program, steps=tuple(folded), inputs={}, outputs=outputs, updates={})
        found = Executor(part, NumpyBackend(), arrays, Context(precision="highest")).run({})
        known |= {int(name): array.copy() for name, array in found.items()}
    return known, left


# --- inputs and outputs -----------------------------------------------------------------------------


def _inputs(w: Writer) -> dict[str, int]:
    w.names |= {value: name for name, value in w.program.inputs.items()}
    return dict(w.program.inputs)


def _name_outputs(w: Writer, inputs: Mapping[str, int]) -> list[tuple[str, int]]:
    """Public names of the outputs; the first output of a value also names its edge."""
    outputs = []
    for name, value in w.program.outputs.items():
        public = name + "_out" if name in inputs else name
        outputs.append((public, value))
        if value not in w.names and value not in w.known:
            w.names[value] = public
    return outputs


def _finish_outputs(w: Writer, outputs: list[tuple[str, int]]) -> None:
    """Outputs that are inputs, constants, or a second name of a value."""
    w.label = "outputs"
    for name, value in outputs:
        if w.name(value) != name:
            w.node("Identity", [w.name(value)], [name])
