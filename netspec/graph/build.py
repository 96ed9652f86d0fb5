"""References become edges: names are looked up in their own list, then children, then ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from netspec.diagnostics import Diagnostic, Note, Span, did_you_mean, format_path
from netspec.document import Mapping as MappingNode
from netspec.document import Node as DocumentNode
from netspec.document import Sequence as SequenceNode
from netspec.document import walk_path
from netspec.graph.model import INPUT, UNKNOWN, Graph, Node, TensorRef
from netspec.layers.base import Layer
from netspec.network import Broken, Group, NetworkSpec, Origin, Use
from netspec.network.blocks import FindingKey, Findings
from netspec.network.reading import MAX_ENTRIES
from netspec.network.repetition import HIDDEN
from netspec.network.spec import NOWHERE, Entry, instance_notes

_UNUSED_ENTRIES: Final = 50_000
"""Entries of blocks without an instance that are looked at."""

Instance = tuple[tuple[str, Span | None], ...]


@dataclass(slots=True, eq=False)
class _Target:
    """What a name stands for: a tensor to pass on, ports, and children.

    entry: the layer or group that is called (for a second use, the first one). last: the entry whose ports a
    group has. visible, instance: the inputs and block instances around a group, for using it again.
    """

    first: TensorRef
    node: int | None = None
    ports: tuple[str, ...] | None = ()
    children: dict[str, _Target] = field(default_factory=dict)
    outputs: tuple[TensorRef, ...] = ()
    named: dict[str, TensorRef] = field(default_factory=dict)
    entry: Layer | Group | None = None
    state_path: str = ""
    last: _Target | None = None
    visible: dict[str, TensorRef] = field(default_factory=dict)
    instance: Instance = ()
    size_of: TensorRef | None = None
    known: bool = True
    sure: bool = True


@dataclass(slots=True, eq=False)
class _Scope:
    """The names that the entries of one list see. sure False: there may be others, so nothing is missing."""

    entries: tuple[Entry, ...]
    inputs: dict[str, TensorRef]
    default: TensorRef | None
    prefix: str = ""
    state_prefix: str = ""
    instance: Instance = ()
    targets: dict[str, _Target] = field(default_factory=dict)
    current: int = 0
    sure: bool = True


class _TooLarge(Exception):
    """There are more calls than a network may have."""


@dataclass(slots=True, eq=False)
class _Size:
    """Calls that an entry makes, and its children's sizes."""

    calls: int
    children: dict[str, _Size]


def build(spec: NetworkSpec) -> tuple[Graph, list[Diagnostic]]:
    """The graph of a network, and what is wrong with its references."""
    return _Builder(spec).build()


class _Builder:
    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec
        self.nodes: list[Node] = []
        self.findings = Findings()
        self.groups: dict[str, tuple[TensorRef, ...]] = {}
        self.places: dict[str, Origin] = {}
        self.quiet = 0
        self.budget = 2 * MAX_ENTRIES

    def build(self) -> tuple[Graph, list[Diagnostic]]:
        inputs = {name: TensorRef(INPUT, name) for name in self.spec.inputs}
        default = next(iter(inputs.values())) if len(inputs) == 1 else None
        scope = _Scope(tuple(self.spec.layers), inputs, default)
        for entry in scope.entries:
            if str(entry.name) in inputs:
                self.report(
                    "duplicate-name",
                    f"the name `{entry.name}` is taken by a network input",
                    _origin(entry),
                    "name",
                    notes=(Note("the input", self.spec.find_key("inputs", str(entry.name))),),
                )
        if (excess := self.excess(scope.entries)) is not None:
            self.report(
                "too-many-layers",
                f"more than {MAX_ENTRIES:,} layers, with everything that is used again",
                _origin(excess),
                None,
            )
            return Graph(self.spec, dict(self.spec.inputs), (), {}, {}), self.findings.diagnostics()
        self.add(scope)
        outputs = self.outputs(scope)
        graph = Graph(self.spec, dict(self.spec.inputs), tuple(self.nodes), outputs, self.groups, self.places)
        self.inplace_warnings(graph)
        self.unused_blocks()
        return graph, self.findings.diagnostics()

    def excess(self, entries: tuple[Entry, ...]) -> Entry | None:
        """The entry with which the network has too many calls: groups used again can double at each level."""
        measured: dict[int, tuple[int, dict[str, _Size]]] = {}

        def measure(entries: tuple[Entry, ...]) -> tuple[int, dict[str, _Size]]:
            found = measured.get(id(entries))
            if found is None:
                sizes: dict[str, _Size] = {}
                total = 0
                for entry in entries:
                    size = size_of(entry, sizes)
                    sizes.setdefault(str(entry.name), size)
                    total += size.calls
                found = measured[id(entries)] = total, sizes
            return found

        def size_of(entry: Entry, sizes: dict[str, _Size]) -> _Size:
            if isinstance(entry, Group):
                calls, children = measure(entry.entries)
                return _Size(calls + 1, children)
            if isinstance(entry, Use):
                head, *rest = entry.target.split(".")
                size = sizes.get(head)
                for part in rest:
                    size = size.children.get(part) if size is not None else None
                return size or _Size(1, {})
            return _Size(1, {})

        total, sizes = 0, dict[str, _Size]()
        for entry in entries:
            size = size_of(entry, sizes)
            sizes.setdefault(str(entry.name), size)
            total += size.calls
            if total > MAX_ENTRIES:
                return entry
        return None

    def unused_blocks(self) -> None:
        """References inside blocks without an instance; the graph is not changed."""
        kept = self.groups, self.places, self.nodes
        self.groups, self.places, self.nodes = {}, {}, []
        self.budget = _UNUSED_ENTRIES
        try:
            for block in self.spec._unused:
                self.open_group(
                    block, _Scope((), {}, UNKNOWN), (UNKNOWN,) * len(block.parameters or ()), "", "", ()
                )
        except _TooLarge:
            pass  # the checks that are left would take too long
        self.groups, self.places, self.nodes = kept

    # --- entries ------------------------------------------------------------------------------------

    def add(self, scope: _Scope) -> _Target | None:
        """Append the nodes of a list; the last entry's target."""
        previous: _Target | None = None
        for index, entry in enumerate(scope.entries):
            self.budget -= 1
            if self.budget < 0:
                raise _TooLarge
            scope.current = index
            path = f"{scope.prefix}{entry.name}"
            state_path = f"{scope.state_prefix}{entry.name}"
            before = previous.first if previous is not None else scope.default
            if isinstance(entry, Layer):
                target = self.layer(entry, path, state_path, scope, before, _within(_origin(entry), scope))
            elif isinstance(entry, Group):
                target = self.group(entry, path, state_path, scope, before)
            elif isinstance(entry, Use):
                target = self.use(entry, path, scope, before)
            else:
                self.references(entry.inputs, _within(entry.origin, scope), scope, "inputs")
                scope.sure &= not entry.many
                target = _Target(UNKNOWN, known=False)
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
        origin: Origin,
        again: _Target | None = None,
    ) -> _Target:
        """One call of a layer; `again`: of one that was called before, `origin` is then that of the use."""
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
        size_of = again.size_of if again is not None else None
        if again is None:
            for text in layer.references():
                size_of = self.resolve(text, origin, scope, "output_size")
        index = len(self.nodes)
        self.nodes.append(Node(index, path, state_path, layer, refs, size_of, origin))
        ports = layer.ports()
        first = TensorRef(index, ports[0] if ports else "0")
        return _Target(first, index, ports, entry=layer, state_path=state_path, size_of=size_of)

    def group(
        self,
        group: Group,
        path: str,
        state_path: str,
        scope: _Scope,
        before: TensorRef | None,
        origin: Origin | None = None,
        again: _Target | None = None,
    ) -> _Target:
        """A nested list, a block's instance, or repetitions; `origin` and `again` are for a second use."""
        origin = origin or _within(group.origin, scope)
        wanted = group.inputs
        refs: tuple[TensorRef, ...] | None
        if wanted is not None:
            refs = self.references(wanted, origin, scope, "inputs")
        elif group.parameters == ():
            refs = ()
        elif before is None and group.parameters is None and group.entries:
            refs = None  # whoever needs it inside says so
        else:
            refs = (self.default(before, origin, scope),)
        if group.parameters is None and refs is not None and len(refs) != 1 and not group.repeated:
            self.report(
                "wrong-input-count",
                f"a nested list takes one input, got {len(refs)}",
                origin,
                "inputs",
                help="give each of its layers its own `inputs`",
            )
            refs = (UNKNOWN,)
        elif group.parameters is None and refs is not None and len(refs) > 1 and group.entries:
            self.report("wrong-input-count", f"it takes one input, got {len(refs)}", origin, "inputs")
            refs = (UNKNOWN,)
        elif group.parameters is None and refs == () and not group.entries:
            self.report("missing-input", "repeated 0 times, it has no input to pass on", origin, "inputs")
            refs = (UNKNOWN,)
        elif group.parameters is not None and refs is not None and len(refs) != len(group.parameters):
            what = f"block {group.block}" if group.block is not None else "it"
            number = len(group.parameters)
            names = f" ({', '.join(group.parameters)})" if group.block is not None and number else ""
            if UNKNOWN not in refs or wanted is not None:
                self.report(
                    "wrong-input-count",
                    f"{what} takes {number} input{'s' * (number != 1)}{names}, got {len(refs)}",
                    origin,
                    "inputs",
                    help="list them under `inputs`" if wanted is None else None,
                )
            refs = (UNKNOWN,) * number
        return self.open_group(group, scope, refs, path, state_path, origin.instance, origin, again)

    def open_group(
        self,
        group: Group,
        scope: _Scope,
        refs: tuple[TensorRef, ...] | None,
        path: str,
        state_path: str,
        instance: Instance,
        origin: Origin | None = None,
        again: _Target | None = None,
    ) -> _Target:
        """The nodes of a group whose inputs are known (None: there is none to take by default)."""
        bound = dict(zip(group.parameters or (), refs or (), strict=False))
        visible = again.visible if again is not None else scope.inputs
        if group.block is None:
            inputs = {**visible, **bound}
        else:
            inputs = bound
            if origin is not None:
                place = origin.find("block" if again is None else "use")[0]
                around = again.instance if again is not None else instance
                instance = (*around, (path, place))
        if again is not None and group.block is None:
            instance = again.instance
        default = refs[0] if refs and (len(refs) == 1 or group.repeated) else None
        prefix = f"{path}." if path else ""
        inner = _Scope(
            group.entries, inputs, default, prefix, f"{state_path}." if state_path else "", instance
        )
        self.quiet += again is not None
        last = self.add(inner)
        inner.current = len(inner.entries)
        target = _Target(UNKNOWN, None, (), inner.targets, entry=group, state_path=state_path, last=last)
        target.visible, target.sure = visible, inner.sure
        target.instance = again.instance if again is not None else scope.instance
        if group.outputs is not None:
            target.last = None
            target.outputs = tuple(
                self.resolve(text, self.output_place(group, i, inner), inner, None) if text else UNKNOWN
                for i, text in enumerate(group.outputs)
            )
            target.named = dict(zip(group.outputs, target.outputs, strict=True))
        elif last is not None:
            target.outputs = (last.first,)
        else:
            target.outputs = (refs[0] if refs else UNKNOWN,)
        self.quiet -= again is not None
        target.first = target.outputs[0]
        self.groups[path] = target.outputs
        if origin is not None:
            self.places[path] = origin
        return target

    def output_place(self, group: Group, index: int, inner: _Scope) -> _Place:
        node = group.outputs_node
        if isinstance(node, SequenceNode) and index < len(node.items):
            return _Place(node.items[index].span, (*group.outputs_path, index), instance=inner.instance)
        return _Place(node.span if node is not None else None, group.outputs_path, instance=inner.instance)

    def use(self, entry: Use, path: str, scope: _Scope, before: TensorRef | None) -> _Target:
        """An earlier entry called again."""
        origin = _within(entry.origin, scope)
        target = self.used(entry.target, origin, scope)
        if target is None or target.entry is None:
            self.references(entry.inputs, origin, scope, "inputs")
            return _Target(UNKNOWN, known=False)
        if isinstance(target.entry, Layer):
            layer = target.entry.model_copy(update={"inputs": entry.inputs})
            return self.layer(layer, path, target.state_path, scope, before, origin, target)
        group = replace(target.entry, inputs=entry.inputs)
        return self.group(group, path, target.state_path, scope, before, origin, target)

    def used(self, text: str, origin: Origin, scope: _Scope) -> _Target | None:
        """The layer or group that `use` names; None if there is none."""
        head, *rest = text.split(".")
        target = scope.targets.get(head)
        if target is None:
            if head in scope.inputs:
                self.report("wrong-use", f"`{head}` is an input, not a layer", origin, "use")
            elif scope.sure:
                self.unknown(head, origin, scope, "use")
            return None
        walked = head
        for part in rest:
            if not target.known:
                return None
            child = target.children.get(part)
            if child is None:
                if not target.sure:
                    return None
                is_port = self.port(target, part) is not None
                children = list(target.children)
                self.report(
                    "wrong-use" if is_port else "unknown-reference",
                    f"`{walked}.{part}` is an output, not a layer"
                    if is_port
                    else f"`{walked}` has no child `{part}`",
                    origin,
                    "use",
                    help=f"write use: {walked}"
                    if is_port or not children
                    else did_you_mean(part, children) or f"it has {_listed(children)}",
                )
                return None
            target, walked = child, f"{walked}.{part}"
        return target if target.known else None

    # --- references ---------------------------------------------------------------------------------

    def default(self, before: TensorRef | None, origin: Origin, scope: _Scope) -> TensorRef:
        """The previous entry's first output, or the only input."""
        if before is not None:
            return before
        names = [name for name in scope.inputs if not name.startswith(HIDDEN)]
        if names:
            self.report(
                "missing-input",
                f"the first layer must say which input it takes: there are {', '.join(names)}",
                origin,
                None,
                help=f"for example inputs: {names[0]}",
            )
        elif scope.instance:
            self.report(
                "missing-input", "the block has no inputs, and nothing comes before this layer", origin, None
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

    def resolve(self, text: str, origin: Origin | _Place, scope: _Scope, parameter: str | None) -> TensorRef:
        """The tensor that one reference means; reports and gives UNKNOWN where there is none."""
        head, *rest = text.split(".")
        target = scope.targets.get(head)
        if target is not None:
            return self.descend(target, head, rest, origin, parameter) if target.known else UNKNOWN
        if head in scope.inputs:
            if rest:
                self.report(
                    "unknown-reference", f"input `{head}` has no output `{'.'.join(rest)}`", origin, parameter
                )
                return UNKNOWN
            return scope.inputs[head]
        if scope.sure:
            self.unknown(head, origin, scope, parameter)
        return UNKNOWN

    def descend(
        self, target: _Target, head: str, rest: list[str], origin: Origin | _Place, parameter: str | None
    ) -> TensorRef:
        """Children first, then a port."""
        walked = head
        for position, part in enumerate(rest):
            if part in target.children:
                target, walked = target.children[part], f"{walked}.{part}"
                if not target.known:
                    return UNKNOWN
                continue
            if (named := target.named.get(".".join(rest[position:]))) is not None:
                return named
            if position == len(rest) - 1 and (found := self.port(target, part)) is not None:
                return found
            if not target.sure:
                return UNKNOWN
            self.no_output(target, walked, ".".join(rest[position:]), origin, parameter)
            return UNKNOWN
        return target.first

    def port(self, target: _Target, part: str) -> TensorRef | None:
        """An output by its port: of a layer, of a block's outputs, or of the last entry of a list."""
        while target.last is not None:
            target = target.last
        if target.node is not None:
            if target.ports is None and part.isdigit():
                return TensorRef(target.node, str(int(part)))
            if target.ports is not None and part in target.ports:
                return TensorRef(target.node, part)
        if not target.known:
            return UNKNOWN
        if part.isdigit() and len(part) < 10 and int(part) < len(target.outputs):
            return target.outputs[int(part)]
        return target.named.get(part)

    def no_output(
        self, target: _Target, walked: str, part: str, origin: Origin | _Place, parameter: str | None
    ) -> None:
        entry = target.entry
        kind = "the group"
        if isinstance(entry, Layer):
            kind = entry.type_name
        elif entry is not None and entry.block is not None:
            kind = f"block {entry.block}"
        offered = [*target.children, *(target.ports or ())]
        if len(target.outputs) > 1:
            offered += map(str, range(len(target.outputs)))
        advice = did_you_mean(part, offered)
        if part == "indices":
            advice = "pooling gives indices with return_indices: true"
        elif advice is None and offered:
            advice = f"it has {_listed(offered)}"
        self.report(
            "unknown-reference", f"`{walked}` ({kind}) has no output `{part}`", origin, parameter, help=advice
        )

    def unknown(self, head: str, origin: Origin | _Place, scope: _Scope, parameter: str | None) -> None:
        """Say why a name means nothing: it comes later, or nowhere."""
        names = [str(e.name) for e in scope.entries]
        if head in names[scope.current :]:
            index = names.index(head, scope.current)
            if index == scope.current:
                if parameter == "use":
                    self.report("cycle", f"`{head}` uses itself", origin, parameter)
                else:
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
        inputs = [] if parameter == "use" else [n for n in scope.inputs if not n.startswith(HIDDEN)]
        known = [*inputs, *names[: scope.current]]
        what = "earlier layer" if parameter == "use" else "input or earlier layer"
        advice = f"known here: {', '.join(known[-8:])}" if known else None
        self.report(
            "unknown-reference",
            f"there is no {what} `{head}`",
            origin,
            parameter,
            help=did_you_mean(head, known) or advice,
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
            result[name] = self.resolve(output.from_, origin, scope, None)
        return result

    def inplace_warnings(self, graph: Graph) -> None:
        """torch would overwrite the input of an `inplace` layer: read again, it has other values there."""
        overwritten = {
            node.inputs[0]: node
            for node in graph.nodes
            if node.layer is not None
            and getattr(node.layer, "inplace", False)
            and node.inputs
            and node.inputs[0] != UNKNOWN
        }
        if not overwritten:
            return
        said: dict[tuple[tuple[str | int, ...], ...], FindingKey] = {}
        pairs = dict.fromkeys((ref, node) for node in graph.nodes for ref in node.inputs)
        for ref, node in pairs:
            writer = overwritten.get(ref)
            if writer is None or node.index <= writer.index:
                continue
            places = (node.origin.path, writer.origin.path)
            if node.origin.path and places in said:  # another instance of the same block
                self.findings.again(said[places], None)
                continue
            warning = Diagnostic(
                "inplace-overwrite",
                "warning",
                f"`{graph.label(ref)}` is read again after `{writer.path}` with inplace: true; "
                "torch would give the overwritten values here, netspec gives the original ones",
                node.origin.find("inputs")[0],
                format_path(node.origin.path),
                (
                    Note("overwritten here", writer.origin.find("inplace")[0]),
                    *instance_notes(node.origin.instance),
                ),
                "set inplace: false to make both agree",
            )
            said[places] = self.findings.add(warning)

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
        if self.quiet:  # said when the group was called first
            return
        span, path = origin.find(parameter)
        notes = (*notes, *instance_notes(origin.instance))
        self.findings.add(Diagnostic(code, "error", message, span, format_path(path), notes, help))


@dataclass(frozen=True, slots=True)
class _Place:
    """A place that is no entry: one of the outputs of the network or of a block."""

    span: Span | None
    path: tuple[str | int, ...]
    node: None = None
    instance: Instance = ()

    def find(self, parameter: str | None) -> tuple[Span | None, tuple[str | int, ...]]:
        return self.span, self.path


def _within(origin: Origin, scope: _Scope) -> Origin:
    """The origin of an entry, with the block instances it is in."""
    return Origin(origin.node, origin.path, scope.instance) if scope.instance else origin


def _listed(names: list[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


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
