"""What the translations write to: nodes, constants and the names of edges."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from netspec.diagnostics import InputError
from netspec.operations import Operation
from netspec.program.builder import Step
from netspec.program.compile import Program

KINDS = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9,
    "float16": 10, "float64": 11, "uint32": 12, "uint64": 13, "complex64": 14, "complex128": 15,
}  # fmt: skip
"""NumPy's name -> onnx.TensorProto.DataType."""


class NotInOnnx(InputError):
    """An operation that cannot be written as ONNX."""


class Writer:
    """Collects one graph. `known` are the arrays of values that do not depend on the inputs."""

    def __init__(self, program: Program, known: Mapping[int, Any]) -> None:
        self.program = program
        self.known = known
        self.helper = importlib.import_module("onnx.helper")
        self.from_array = importlib.import_module("onnx.numpy_helper").from_array
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.value_info: list[Any] = []
        self.names: dict[int, str] = {}
        self.label = ""
        self.following: Step | None = None
        self.taken_along = False
        self._constants: dict[Any, str] = {}
        self._count = 0

    # --- names --------------------------------------------------------------------------------------

    def name(self, value: int) -> str:
        """The edge of a value of the program; a known array becomes an initializer at its first use."""
        if value not in self.names:
            key = next((k for k, v in self.program.states.items() if v == value), None)
            self.names[value] = self.constant(self.known[value], key)
        return self.names[value]

    def shape(self, value: int) -> tuple[int, ...]:
        """Shape of a value."""
        return self.program.values[value].shape

    def dtype(self, value: int) -> str:
        """dtype of a value."""
        return self.program.values[value].dtype

    def constant(self, array: Any, name: str | None = None) -> str:
        """An initializer; small equal ones are one."""
        import numpy as np

        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 64 and name is None else None
        if key is not None and key in self._constants:
            return self._constants[key]
        self._count += 1
        name = name or f"{self.label}/constant_{self._count}"
        self.initializers.append(self.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        if key is not None:
            self._constants[key] = name
        return name

    def number(self, value: Any, dtype: str) -> str:
        """A single number as a constant."""
        import numpy as np

        return self.constant(np.array(value, dtype))

    def integers(self, values: Sequence[int]) -> str:
        """A list of int64, such as axes or a shape."""
        import numpy as np

        return self.constant(np.array(list(values), np.int64))

    # --- nodes --------------------------------------------------------------------------------------

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """One node, named after its layer."""
        self._count += 1
        self.nodes.append(
            self.helper.make_node(kind, list(inputs), list(outputs), f"{self.label}/{kind}_{self._count}",
                                  **attributes)
        )  # fmt: skip

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One node with one new edge between, whose name is returned."""
        self._count += 1
        name = f"{self.label}/between_{self._count}"
        self.node(kind, inputs, [name], **attributes)
        return name

    def result(self, value: int, kind: str, *inputs: str, **attributes: Any) -> None:
        """One node that gives a value of the program."""
        self.node(kind, inputs, [self.edge(value)], **attributes)

    def edge(self, value: int) -> str:
        """The new edge of a value."""
        name = self.names.setdefault(value, f"{self.label}/{value}")
        spec = self.program.values[value]
        if value not in self.program.outputs.values():
            info = self.helper.make_tensor_value_info(name, KINDS[spec.dtype], spec.shape)
            self.value_info.append(info)
        return name

    def same(self, value: int, source: str) -> None:
        """Give a value an edge that exists; an output of the network needs one of its own."""
        if value in self.names:
            self.node("Identity", [source], [self.names[value]])
        else:
            self.names[value] = source

    def settle(self, value: int, edge: str) -> None:
        """The edge that the last node gives becomes the value's own."""
        last = self.nodes[-1]
        if list(last.output) == [edge]:
            last.output[0] = self.edge(value)
        else:
            self.same(value, edge)

    def cast(self, edge: str, dtype: str) -> str:
        """The edge in another dtype."""
        return self.op("Cast", edge, to=KINDS[dtype])

    def refuse(self, what: str) -> NotInOnnx:
        """To be raised: the operation in words, with the layer's name."""
        return NotInOnnx(f"layer {self.label}: ONNX has no {what}")


Translation = Callable[[Writer, Any, Step], None]
TRANSLATIONS: dict[type[Operation], Translation] = {}
"""Operation -> what writes its nodes."""


def translates(operation: type[Operation]) -> Callable[[Translation], Translation]:
    """Registers a translation."""

    def register(translation: Translation) -> Translation:
        TRANSLATIONS[operation] = translation
        return translation

    return register
