"""Types of every tensor, symbolic or for given sizes, and the conditions on the sizes.

One pass in order. A layer that refuses its inputs is reported once; what comes after it is of unknown
type, is not reported again, and hides nothing else. What all instances of a block repeat is said of the
first one, with the number of the others.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from netspec.diagnostics import Diagnostic, Note, Severity, format_path
from netspec.graph.model import INPUT, Graph, Node, ShapedGraph, TensorRef
from netspec.layers.base import Call, Layer, ShapeError, State
from netspec.layers.tensor import COMPLEX_OF, TensorType, is_complex, is_float
from netspec.network import InputSpec
from netspec.network.blocks import FindingKey, Findings
from netspec.network.spec import instance_notes
from netspec.symbolic import Condition, ConstraintSet, Dim, symbol
from netspec.symbolic.conditions import Decided


@dataclass(frozen=True, slots=True)
class Inferred:
    """What a layer gave, and the conditions that it needed."""

    result: TensorType | tuple[TensorType, ...]
    needed: tuple[Decided, ...]


class Memory:
    """Calls that were inferred, by layer and arriving types: networks repeat themselves, and so do their
    versions in an editor. What a version does not use is forgotten with the next."""

    def __init__(self) -> None:
        self._new: dict[Hashable, Inferred] = {}
        self._old: dict[Hashable, Inferred] = {}

    def begin(self) -> Memory:
        """For the next version."""
        made = Memory()
        self._old, made._old = {}, {**self._old, **self._new}
        self._new = made._new
        return made

    def get(self, key: Hashable) -> Inferred | None:
        """What is remembered of a call."""
        found = self._new.get(key)
        if found is None and (found := self._old.get(key)) is not None:
            self._new[key] = found
        return found

    def put(self, key: Hashable, inferred: Inferred) -> None:
        """Remember a call."""
        self._new[key] = inferred


class _Recorded(ConstraintSet):
    """Conditions, with those that one call adds; asked: its result depends on what the others say."""

    def __init__(self) -> None:
        super().__init__()
        self.needed: list[Decided] = []
        self.asked = False

    def add(self, condition: Decided) -> bool:
        self.needed.append(condition)
        return super().add(condition)

    def implies(self, condition: Decided) -> bool:
        self.asked = True
        return super().implies(condition)

    @property
    def conditions(self) -> list[Condition]:
        self.asked = True
        return super().conditions


def _key(layer: Layer, call: Call) -> Hashable | None:
    """What the result of a call depends on; None where that cannot be compared."""
    if layer.init is not None or call.size_of is not None:
        return None
    values = (value for name, value in layer.__dict__.items() if name not in ("name", "inputs"))
    key = (type(layer), call.inputs, call.dtype, call.training, tuple(call.symbols.items()), *values)
    try:
        hash(key)
    except TypeError:
        return None
    return key


def infer(
    graph: Graph,
    *,
    dtype: str = "float32",
    training: bool = False,
    sizes: Mapping[str, tuple[int, ...]] | None = None,
    memory: Memory | None = None,
) -> ShapedGraph:
    """Infer every type; `sizes` are concrete shapes of (some) inputs, which fix their symbols.

    memory: what was inferred for earlier versions of the network.
    """
    return _Inference(graph, dtype, training, sizes or {}, memory or Memory()).run()


class _Inference:
    def __init__(
        self, graph: Graph, dtype: str, training: bool, sizes: Mapping[str, tuple[int, ...]], memory: Memory
    ) -> None:
        self.graph = graph
        self.dtype = dtype
        self.training = training
        self.memory = memory.begin()
        self.constraints = _Recorded()
        self.findings = _InstanceFindings()
        self.symbols: dict[str, Dim] = {}
        for name, spec in graph.inputs.items():
            shape = spec.shape if spec is not None else ()
            for axis, dim in enumerate(shape):
                if isinstance(dim, str):
                    given = sizes[name][axis] if name in sizes else None
                    if given is not None:
                        self.symbols[dim] = given
                    else:
                        self.symbols.setdefault(dim, symbol(dim))
        self.inputs = {name: self.input_type(spec) for name, spec in graph.inputs.items()}

    def input_type(self, spec: InputSpec | None) -> TensorType | None:
        if spec is None:
            return None
        shape = tuple(self.symbols[d] if isinstance(d, str) else d for d in spec.shape)
        return TensorType(shape, run_dtype(spec.dtype, self.dtype))

    def run(self) -> ShapedGraph:
        layers: list[Layer | None] = []
        types: list[dict[str, TensorType] | None] = []
        shared: dict[str, Layer] = {}
        for node in self.graph.nodes:
            layer, outputs = self.node(node, types, shared)
            layers.append(layer)
            types.append(outputs)
        self.labels(types)
        return ShapedGraph(
            self.graph, self.dtype, tuple(layers), self.inputs, tuple(types),
            self.constraints, self.symbols, tuple(self.findings.diagnostics()),
        )  # fmt: skip

    def labels(self, types: list[dict[str, TensorType] | None]) -> None:
        """Refuse labels that are not as many as the last axis of their output has elements."""
        spec = self.graph.spec
        for name, output in (spec.outputs or {}).items():
            ref = self.graph.outputs.get(name)
            if not output.labels or ref is None or ref.node < 0 or not (outputs := types[ref.node]):
                continue
            tensor = outputs.get(ref.port)
            size = tensor.shape[-1] if tensor is not None and tensor.shape else None
            if tensor is not None and size != len(output.labels) and (size is None or isinstance(size, int)):
                self.findings.findings.add(
                    Diagnostic(
                        "wrong-length",
                        "error",
                        f"`outputs.{name}.labels`: {len(output.labels)} labels for an output of shape {tensor}",
                        spec.find("outputs", name, "labels"),
                        f"outputs.{name}.labels",
                        (Note("the output is computed here", self.graph.place(ref)),),
                        "one label for each element of the last axis",
                    )
                )

    def node(
        self, node: Node, types: list[dict[str, TensorType] | None], shared: dict[str, Layer]
    ) -> tuple[Layer | None, dict[str, TensorType] | None]:
        """The completed layer and the types of its outputs."""
        layer = node.layer
        arriving = [self.tensor(ref, types, node) for ref in node.inputs]
        size_of = self.tensor(node.size_of, types, node) if node.size_of is not None else None
        if (
            layer is None
            or any(t is None for t in arriving)
            or (node.size_of is not None and size_of is None)
        ):
            return layer, None
        inputs = tuple(t for t in arriving if t is not None)
        call = Call(inputs, self.constraints, self.dtype, self.training, size_of, self.symbols)
        try:
            layer = shared.get(node.state_path) if node.state_path != node.path else None
            layer = layer or node.layer.complete(call)  # type: ignore[union-attr]
            result = self.inferred(layer, call)
            layer.check_init(call)
        except ShapeError as error:
            self.report(error, node, inputs, "error")
            return layer or node.layer, None
        finally:
            for warning in call.warnings:
                self.report(warning, node, inputs, "warning")
        shared[node.path] = layer
        outputs = result if isinstance(result, tuple) else (result,)
        ports = layer.ports()
        names = ports if ports is not None else tuple(map(str, range(len(outputs))))
        return layer, dict(zip(names, outputs, strict=True))

    def inferred(self, layer: Layer, call: Call) -> TensorType | tuple[TensorType, ...]:
        """What a layer gives, remembered from the same call of an equal layer where there was one."""
        key = _key(layer, call)
        known = self.memory.get(key) if key is not None else None
        if known is not None and all(self.constraints.add(condition) for condition in known.needed):
            return known.result
        self.constraints.needed, self.constraints.asked = [], False
        result = layer.infer(call)
        if key is not None and not self.constraints.asked and not call.warnings:
            self.memory.put(key, Inferred(result, tuple(self.constraints.needed)))
        return result

    def tensor(
        self, ref: TensorRef, types: list[dict[str, TensorType] | None], node: Node
    ) -> TensorType | None:
        """The type that arrives through an edge; a numbered port that does not exist is reported here."""
        if ref.node == INPUT:
            return self.inputs[ref.port]
        if ref.node < 0:
            return None
        outputs = types[ref.node]
        if outputs is not None and ref.port not in outputs:
            there = self.graph.place(ref)
            what = f"has {len(outputs)} outputs (0 to {len(outputs) - 1}), there is no {ref.port}"
            self.findings.add(
                Diagnostic(
                    "unknown-reference",
                    "error",
                    f"`{self.graph.nodes[ref.node].path}` {what}",
                    node.origin.find("inputs")[0],
                    format_path(node.origin.path),
                    (Note("it is here", there), *instance_notes(node.origin.instance)),
                ),
                node,
                (what, there),
            )
            return None
        return outputs[ref.port] if outputs is not None else None

    def report(
        self, error: ShapeError, node: Node, inputs: tuple[TensorType, ...], severity: Severity
    ) -> None:
        """A layer's refusal with its places: the parameter, the producers, the instance."""
        assert node.layer is not None
        parameter = error.parameter
        if parameter is None and error.inputs and len(node.inputs) > 1:
            parameter = "inputs"
        span, path = node.origin.find(parameter)
        notes = [Note(text) for text in error.notes]
        seen: set[TensorRef] = set()
        for index in error.inputs:
            if index < len(node.inputs) and node.inputs[index] not in seen:
                ref = node.inputs[index]
                seen.add(ref)
                label, shape = self.graph.label(ref), inputs[index]
                kind = "input" if ref.node == INPUT else self.producer(ref)
                notes.append(Note(f"`{label}` ({kind}) gives {shape} {shape.dtype}", self.graph.place(ref)))
        self.findings.add(
            Diagnostic(
                error.code,
                severity,
                f"{node.layer.type_name} `{node.path}`: {error.message}",
                span,
                format_path(path),
                (*notes, *instance_notes(node.origin.instance)),
                error.help,
                error.fix,
            ),
            node,
            error.message,
        )

    def producer(self, ref: TensorRef) -> str:
        layer = self.graph.nodes[ref.node].layer
        return layer.type_name if layer is not None else "layer"


@dataclass(slots=True, eq=False)
class _InstanceFindings:
    """Findings whose messages name a node: those that differ only in its block's instance are one."""

    findings: Findings = field(default_factory=Findings)
    said: dict[Hashable, tuple[FindingKey, set[str]]] = field(default_factory=dict)

    def add(self, found: Diagnostic, node: Node, what: Hashable) -> None:
        """Take what is wrong with a node; `what` is the message without the names of nodes."""
        inside = node.origin.instance
        instance = inside[-1][0] if inside else node.path
        kind = (found.code, found.severity, found.span, found.path, what, "" if inside else node.path)
        if kind not in self.said:
            self.said[kind] = self.findings.add(found), {instance}
            return
        key, instances = self.said[kind]
        if instance not in instances:  # the same one says it again where its lists are used again
            instances.add(instance)
            self.findings.again(key, None)

    def diagnostics(self) -> list[Diagnostic]:
        """All of them."""
        return self.findings.diagnostics()


def run_dtype(declared: str, dtype: str) -> str:
    """The dtype in which an input of a declared dtype runs: floats take the network's width."""
    if is_float(declared):
        return dtype
    if is_complex(declared):
        return dtype if is_complex(dtype) else COMPLEX_OF[dtype]
    return declared


def states_of(shaped: ShapedGraph) -> dict[str, State]:
    """Every array of the network by its state-dict key, shared ones once, in order."""
    found: dict[str, State] = {}
    for node, layer in zip(shaped.graph.nodes, shaped.layers, strict=True):
        if layer is None or node.path != node.state_path:
            continue
        for state in layer.states():
            found[state_key(node.state_path, state.name)] = state
    return found


def state_key(path: str, name: str) -> str:
    """`conv1.weight`; a Parameter's key is its own path."""
    return f"{path}.{name}" if name else path
