"""References become edges: names are looked up in their own list, then children, then ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from netspec.diagnostics import Diagnostic, Note, Span, did_you_mean, format_path
from netspec.document import Mapping as MappingNode
from netspec.document import Node as DocumentNode
from netspec.document import Sequence as SequenceNode
from netspec.document import walk_path
from netspec.graph.model import INPUT, UNKNOWN, Graph, Node, TensorRef
from netspec.layers.base import Layer
from netspec.network import Broken, Group, NetworkSpec, Origin, Use
from netspec.network.read import _instance_notes
from netspec.network.spec import NOWHERE, Entry


@dataclass(slots=True, eq=False)
class _Target:
    """What a name stands for: a tensor to pass on, ports, and children."""

    first: TensorRef
    node: int | None = None
    ports: tuple[str, ...] | None = ()
    children: dict[str, _Target] = field(default_factory=dict)
    outputs: tuple[TensorRef, ...] = ()
    entry: Entry | None = None
    path: str = ""
    known: bool = True


@dataclass(slots=True, eq=False)
class _Scope:
    """The names that the entries of one list see."""

    entries: tuple[Entry, ...]
    inputs: dict[str, TensorRef]
    default: TensorRef | None
    prefix: str
    targets: dict[str, _Target] = field(default_factory=dict)
    current: int = 0


def build(spec: NetworkSpec) -> tuple[Graph, list[Diagnostic]]:
    """The graph of a network, and what is wrong with its references."""
    return _Builder(spec).build()


class _Builder:
    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec
        self.nodes: list[Node] = []
        self.diagnostics: list[Diagnostic] = []
        self.groups: dict[str, tuple[TensorRef, ...]] = {}

    def build(self) -> tuple[Graph, list[Diagnostic]]:
        inputs = {name: TensorRef(INPUT, name) for name in self.spec.inputs}
        default = next(iter(inputs.values())) if len(inputs) == 1 else None
        scope = _Scope(tuple(self.spec.layers), inputs, default, "")
        for entry in scope.entries:
            if str(entry.name) in inputs:
                self.report(
                    "duplicate-name",
                    f"the name `{entry.name}` is taken by a network input",
                    _origin(entry),
                    "name",
                    notes=(Note("the input", self.spec.find_key("inputs", str(entry.name))),),
                )
        self.add(scope)
        graph = Graph(self.spec, dict(self.spec.inputs), tuple(self.nodes), {}, self.groups)
        outputs = self.outputs(scope)
        graph = Graph(self.spec, graph.inputs, graph.nodes, outputs, self.groups)
        self.inplace_warnings(graph)
        return graph, self.diagnostics

    # --- entries ------------------------------------------------------------------------------------

    def add(self, scope: _Scope) -> _Target | None:
        """Append the nodes of a list; the last entry's target."""
        previous: _Target | None = None
        for index, entry in enumerate(scope.entries):
            scope.current = index
            path = f"{scope.prefix}{entry.name}"
            before = previous.first if previous is not None else scope.default
            if isinstance(entry, Layer):
                target = self.layer(entry, path, path, scope, before)
            elif isinstance(entry, Group):
                target = self.group(entry, path, path, scope, before)
            elif isinstance(entry, Use):
                target = self.use(entry, path, scope, before)
            else:
                self.references(entry.inputs, entry.origin, scope, "inputs")
                target = _Target(UNKNOWN, known=False)
            target.entry, target.path = entry, path
            scope.targets.setdefault(str(entry.name), target)
            previous = target
        return previous

    def layer(
        self,
        layer: Layer,
        path: str,
        state_path: str,
        scope: _Scope,
        before: TensorRef | None,
        origin: Origin | None = None,
    ) -> _Target:
        """One call of a layer; `origin` is that of a second use."""
        origin = origin or layer._origin or NOWHERE
        least, most = layer.arity
        wanted = layer.inputs
        if wanted is None and most == 0:
            refs: tuple[TensorRef, ...] = ()
        elif wanted is None:
            refs = (self.default(before, origin, scope),)
        else:
            refs = self.references(wanted, origin, scope, "inputs")
        if len(refs) < least or (most is not None and len(refs) > most):
            expected = (
                f"{least}" if most == least else f"{least} or more" if most is None else f"{least} to {most}"
            )
            names = f" ({', '.join(layer.input_names)})" if least > 1 or most != 1 else ""
            if not (wanted is None and refs == (UNKNOWN,)):
                self.report(
                    "wrong-input-count",
                    f"{layer.type_name} takes {expected} input{'' if expected == '1' else 's'}{names}, "
                    f"got {len(refs)}",
                    origin,
                    "inputs",
                    help="list them under `inputs`" if wanted is None else None,
                )
            refs = (UNKNOWN,)
        size_of = None
        for text in layer.references():
            size_of = self.resolve(text, origin, scope, "output_size")
        index = len(self.nodes)
        self.nodes.append(Node(index, path, state_path, layer, refs, size_of, origin))
        ports = layer.ports()
        first = TensorRef(index, ports[0] if ports else "0")
        return _Target(first, index, ports)

    def group(
        self, group: Group, path: str, state_path: str, scope: _Scope, before: TensorRef | None
    ) -> _Target:
        """A nested list, or an instance of a block."""
        origin = group.origin
        wanted = group.inputs
        refs = (
            (self.default(before, origin, scope),)
            if wanted is None
            else self.references(wanted, origin, scope, "inputs")
        )
        if group.parameters is None:
            inner = _Scope(group.entries, scope.inputs, refs[0] if len(refs) == 1 else None, path + ".")
            if len(refs) != 1:
                self.report(
                    "wrong-input-count",
                    f"a nested list takes one input, got {len(refs)}",
                    origin,
                    "inputs",
                    help="give each of its layers its own `inputs`",
                )
        else:
            if len(refs) != len(group.parameters):
                self.report(
                    "wrong-input-count",
                    f"block {group.block} takes {len(group.parameters)} inputs "
                    f"({', '.join(group.parameters)}), got {len(refs)}",
                    origin,
                    "inputs",
                )
                refs = (UNKNOWN,) * len(group.parameters)
            bound = dict(zip(group.parameters, refs, strict=True))
            inner = _Scope(group.entries, bound, refs[0] if len(refs) == 1 else None, path + ".")
        start = len(self.nodes)
        last = self.add(inner)
        if path != state_path:
            for i in range(start, len(self.nodes)):
                moved = state_path + self.nodes[i].state_path[len(path) :]
                self.nodes[i] = replace(self.nodes[i], state_path=moved)
        inner.current = len(inner.entries)
        if group.outputs is not None:
            outputs = tuple(self.resolve(text, origin, inner, None) for text in group.outputs)
        else:
            outputs = (last.first if last is not None else UNKNOWN,)
        self.groups[path] = outputs
        return _Target(outputs[0], None, (), inner.targets, outputs)

    def use(self, entry: Use, path: str, scope: _Scope, before: TensorRef | None) -> _Target:
        """An earlier entry called again."""
        target = self.lookup(entry.target, entry.origin, scope, "use")
        if target is None or not target.known or target.entry is None:
            if target is not None and target.known and target.entry is None:
                self.report("wrong-use", f"`{entry.target}` is not a layer", entry.origin, "use")
            self.references(entry.inputs, entry.origin, scope, None)
            return _Target(UNKNOWN, known=False)
        while isinstance(target.entry, Use):
            original = self.lookup(target.entry.target, entry.origin, scope, "use")
            if original is None:
                return _Target(UNKNOWN, known=False)
            target = original
        if isinstance(target.entry, Layer):
            again = target.entry.model_copy(update={"inputs": entry.inputs})
            return self.layer(again, path, target.path, scope, before, entry.origin)
        assert isinstance(target.entry, Group)
        group = replace(target.entry, inputs=entry.inputs, origin=entry.origin)
        return self.group(group, path, target.path, scope, before)

    # --- references ---------------------------------------------------------------------------------

    def default(self, before: TensorRef | None, origin: Origin, scope: _Scope) -> TensorRef:
        """The previous entry's first output, or the only input."""
        if before is not None:
            return before
        if scope.inputs:
            names = ", ".join(scope.inputs)
            self.report(
                "missing-input",
                f"the first layer must say which input it takes: there are {names}",
                origin,
                None,
                help=f"for example inputs: {next(iter(scope.inputs))}",
            )
        return UNKNOWN

    def references(
        self, texts: Sequence[str] | None, origin: Origin, scope: _Scope, parameter: str | None
    ) -> tuple[TensorRef, ...]:
        """The tensors that a list of references means."""
        if texts is None:
            return ()
        listed = isinstance(walk_path(origin.node, ("inputs",)), SequenceNode)
        return tuple(
            self.resolve(text, origin, scope, f"inputs.{i}" if listed else "inputs")
            for i, text in enumerate(texts)
        )

    def resolve(self, text: str, origin: Origin, scope: _Scope, parameter: str | None) -> TensorRef:
        """The tensor that one reference means; reports and gives UNKNOWN where there is none."""
        head, *rest = text.split(".")
        if head in scope.inputs and head not in scope.targets:
            if rest:
                self.report(
                    "unknown-reference", f"input `{head}` has no output `{'.'.join(rest)}`", origin, parameter
                )
                return UNKNOWN
            return scope.inputs[head]
        target = self.lookup(head, origin, scope, parameter)
        if target is None or not target.known:
            return UNKNOWN
        return self.descend(target, head, rest, origin, parameter)

    def lookup(self, head: str, origin: Origin, scope: _Scope, parameter: str | None) -> _Target | None:
        """The entry of a name (dots lead to children), if it is an earlier one of this list."""
        first, *rest = head.split(".")
        target = scope.targets.get(first)
        if target is None:
            self.unknown(first, origin, scope, parameter)
            return None
        for part in rest:
            child = target.children.get(part)
            if child is None:
                if target.known:
                    self.report("unknown-reference", f"`{first}` has no child `{part}`", origin, parameter,
                                help=did_you_mean(part, target.children))  # fmt: skip
                return None
            target = child
        return target

    def descend(
        self, target: _Target, head: str, rest: list[str], origin: Origin, parameter: str | None
    ) -> TensorRef:
        """Children first, then a port."""
        walked = head
        for position, part in enumerate(rest):
            if part in target.children:
                target, walked = target.children[part], f"{walked}.{part}"
                if not target.known:
                    return UNKNOWN
                continue
            last = position == len(rest) - 1
            if last and target.node is not None:
                if target.ports is None and part.isdigit():
                    return TensorRef(target.node, str(int(part)))
                if target.ports is not None and part in target.ports:
                    return TensorRef(target.node, part)
            if last and target.outputs and part.isdigit() and int(part) < len(target.outputs):
                return target.outputs[int(part)]
            kind = target.entry.type_name if isinstance(target.entry, Layer) else "the group"
            offered = [*target.children, *(target.ports or ())]
            advice = did_you_mean(part, offered)
            if part == "indices":
                advice = "pooling gives indices with return_indices: true"
            elif advice is None and offered:
                advice = "it has " + ", ".join(offered)
            self.report(
                "unknown-reference",
                f"`{walked}` ({kind}) has no output `{part}`",
                origin,
                parameter,
                help=advice,
            )
            return UNKNOWN
        return target.first

    def unknown(self, head: str, origin: Origin, scope: _Scope, parameter: str | None) -> None:
        """Say why a name means nothing: it comes later, or nowhere."""
        names = [str(e.name) for e in scope.entries]
        if head in names[scope.current :]:
            index = names.index(head, scope.current)
            if index == scope.current:
                self.report("cycle", f"`{head}` takes its own output", origin, parameter)
                return
            later = scope.entries[index]
            chain = _chain(scope, scope.current, index)
            note = (Note(f"`{head}` is defined here", _origin(later).span),)
            if chain:
                self.report(
                    "cycle",
                    "the layers form a cycle: " + " -> ".join([*chain, chain[0]]),
                    origin,
                    parameter,
                    notes=note,
                    help="a layer can only take outputs of earlier layers",
                )
            else:
                self.report(
                    "forward-reference",
                    f"`{head}` is defined later",
                    origin,
                    parameter,
                    notes=note,
                    help="move it before this layer",
                )
            return
        known = [*scope.inputs, *names[: scope.current]]
        self.report(
            "unknown-reference",
            f"there is no input or earlier layer `{head}`",
            origin,
            parameter,
            help=did_you_mean(head, known) or f"known here: {', '.join(known[-8:])}",
        )

    # --- the network's outputs ----------------------------------------------------------------------

    def outputs(self, scope: _Scope) -> dict[str, TensorRef]:
        """The declared outputs, or the last entry's first one."""
        scope.current = len(scope.entries)
        declared = self.spec.outputs
        if declared is None:
            if not scope.entries:
                return {}
            last = scope.targets[str(scope.entries[-1].name)]
            return {str(scope.entries[-1].name): last.first}
        result: dict[str, TensorRef] = {}
        node = walk_path(self.spec.origin, ("outputs",))
        for index, (name, output) in enumerate(declared.items()):
            place, path = _output_place(node, index, name)
            origin = _Place(place, ("outputs", *path))
            result[name] = self.resolve(output.from_, origin, scope, None)  # type: ignore[arg-type]
        return result

    def inplace_warnings(self, graph: Graph) -> None:
        """torch would overwrite the input of an `inplace` layer: reading it again gives other values there."""
        overwritten = {
            node.inputs[0]: node
            for node in graph.nodes
            if node.layer is not None and getattr(node.layer, "inplace", False) and node.inputs
        }
        if not overwritten:
            return
        readers = [(ref, node.index, node.origin) for node in graph.nodes for ref in node.inputs]
        for ref, index, origin in readers:
            writer = overwritten.get(ref)
            if writer is not None and index > writer.index:
                self.diagnostics.append(
                    Diagnostic(
                        "inplace-overwrite",
                        "warning",
                        f"`{graph.label(ref)}` is read again after `{writer.path}` with inplace: true; "
                        "torch would give the overwritten values here, netspec gives the original ones",
                        origin.find("inputs")[0],
                        format_path(origin.path),
                        (Note("overwritten here", writer.origin.find("inplace")[0]),),
                        "set inplace: false to make both agree",
                    )
                )

    def report(
        self,
        code: str,
        message: str,
        origin: Origin | _Place,
        parameter: str | None,
        *,
        notes: tuple[Note, ...] = (),
        help: str | None = None,
    ) -> None:
        span, path = origin.find(parameter)
        extra = _instance_notes(origin) if isinstance(origin, Origin) else ()
        self.diagnostics.append(
            Diagnostic(code, "error", message, span, format_path(path), (*notes, *extra), help)
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """A place that is no entry: one of the network's outputs."""

    span: Span | None
    path: tuple[str | int, ...]
    node: None = None

    def find(self, parameter: str | None) -> tuple[Span | None, tuple[str | int, ...]]:
        return self.span, self.path


def _output_place(
    node: DocumentNode | None, index: int, name: str
) -> tuple[Span | None, tuple[str | int, ...]]:
    if isinstance(node, SequenceNode) and index < len(node.items):
        return node.items[index].span, (index,)
    if isinstance(node, MappingNode) and (value := node.get(name)) is not None:
        inner = value.get("from") if isinstance(value, MappingNode) else None
        return (inner or value).span, (name,)
    return None, (name,)


def _origin(entry: Entry) -> Origin:
    if isinstance(entry, Layer):
        return entry._origin or NOWHERE
    return entry.origin


def _chain(scope: _Scope, start: int, later: int) -> list[str]:
    """Names on the way from `start` through the later entry back to `start`, if there is one."""
    names = [str(e.name) for e in scope.entries]
    position = {n: i for i, n in reversed(list(enumerate(names)))}
    came_from: dict[int, int] = {later: start}
    stack = [later]
    while stack:
        index = stack.pop()
        entry = scope.entries[index]
        if entry.inputs is None:
            needs = [index - 1] if index else []
        else:
            needs = [position[h] for text in entry.inputs if (h := text.split(".")[0]) in position]
        for need in needs:
            if need == start:
                chain, walk = [names[index]], index
                while walk != later:
                    walk = came_from[walk]
                    chain.append(names[walk])
                return [names[start], *reversed(chain)] if chain else []
            if need not in came_from and need > start:
                came_from[need] = index
                stack.append(need)
    return []


__all__ = ["Broken", "build"]
