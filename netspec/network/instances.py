"""Instances of blocks: arguments are put in, and those with equal ones share one expansion."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from pydantic_core import PydanticCustomError

from netspec.diagnostics import Note, Span, did_you_mean, nearest
from netspec.document import Broken as BrokenNode
from netspec.document import Mapping, Scalar, Sequence, to_python
from netspec.layers import REGISTRY
from netspec.layers.base import Layer
from netspec.layers.parameters import describe, reference
from netspec.network.blocks import Block, Expansion
from netspec.network.expressions import UNKNOWN, Argument, Scope, argument
from netspec.network.reading import Instance, Path, Reading
from netspec.network.spec import Broken, Entry, Group, Origin
from netspec.network.values import Damaged, text_of, value_of

MAX_EXPANSIONS: Final = 20_000
"""Instances of blocks with different arguments: equal ones are read once."""

ReadList = Callable[[Sequence, Path, Scope], tuple[Entry, ...]]
"""Reads a list of entries."""


class Instances:
    """Reads instances of blocks."""

    def __init__(self, reading: Reading, read_list: ReadList) -> None:
        self.reading = reading
        self.read_list = read_list
        self.expansions: dict[Hashable, Expansion] = {}
        self.seen: set[str] = set()
        self.cycles: set[frozenset[str]] = set()

    def read(
        self, node: Mapping, origin: Origin, scope: Scope, label: str, inputs: tuple[str, ...] | None
    ) -> Entry:
        """A block with arguments put in."""
        broken = Broken(label, inputs, origin)
        path = (*origin.path, "block")
        kind = self.reading.substitution.apply(node.get("block"), scope, path)  # type: ignore[arg-type]
        if isinstance(kind, BrokenNode):
            return broken
        if not isinstance(kind, Scalar) or not isinstance(text := text_of(kind), str):
            self.reading.report(
                "wrong-type",
                f"block: expected the name of a block, got {describe(to_python(kind))}",
                kind.span,
                path,
            )
            return broken
        block = self.reading.blocks.get(text)
        if block is None:
            self.unknown_block(text, kind.span, path)
            return broken
        given = self.arguments(node, block, origin, scope, kind.span)
        if block.name in self.reading.open:
            self.recursion(block, kind.span, path)
            return broken
        instance = (*self.reading.instance, (self.reading.prefix + label, kind.span))
        made = self.expand(block, given, label, kind.span, instance)
        if made is None:
            return broken
        if not made.entries and not block.inputs and not block.outputs and not self.reading.stopped:
            self.gives_nothing(block, kind.span, path)
        return _group(label, inputs, block, made, origin)

    def unused(self) -> tuple[Group, ...]:
        """Blocks without an instance, read with their defaults, or without values where one is required."""
        groups = []
        for block in self.reading.blocks.values():
            if self.reading.stopped or block.name in self.seen:
                continue
            given = {n: UNKNOWN if a is None else a for n, a in block.arguments.items()}
            if None in block.arguments.values():
                given = dict.fromkeys(given, UNKNOWN)
            with self.reading.aside():
                made = self.expand(block, given, block.name, None, ())
            if made is not None and not self.reading.stopped:
                groups.append(_group(block.name, None, block, made, block.origin))
        return tuple(groups)

    def unknown_block(self, text: str, place: Span | None, path: Path) -> None:
        """There is no such block, unless it is in a part that could not be read."""
        blocks = self.reading.blocks
        if not self.reading.all_blocks:
            return
        known = f"the blocks are {', '.join(list(blocks)[:12])}" if blocks else None
        advice = did_you_mean(text, blocks) or known or "blocks are declared under `blocks`"
        if text in REGISTRY:
            advice = f"`{text}` is a layer type: write type: {text}"
        self.reading.report("unknown-block", f"there is no block `{text}`", place, path, help=advice)

    def gives_nothing(self, block: Block, place: Span | None, path: Path) -> None:
        """An instance without layers passes its input on, and this one has none."""
        if block.layers is not None and block.layers.complete:
            self.reading.report(
                "missing-input",
                f"block {block.name} has no input to pass on, and everything in it is repeated 0 times",
                place,
                path,
                notes=(Note(f"block {block.name} is defined here", block.span),),
            )

    # --- arguments ----------------------------------------------------------------------------------

    def arguments(
        self, node: Mapping, block: Block, origin: Origin, scope: Scope, place: Span | None
    ) -> dict[str, Argument]:
        """The values of a block's arguments; one that is missing or wrong is reported and not known."""
        path = (*origin.path, "with")
        known = list(block.arguments)
        given: dict[str, Argument] = {}
        unknown: list[str] = []
        complete = node.complete
        values = node.get("with")
        if values is not None:
            values = self.reading.substitution.apply(values, scope, path)
        if isinstance(values, Mapping):
            complete &= values.complete
            for entry in values:
                label = entry.key.text
                if label in block.arguments:
                    given[label] = argument(entry.value)
                elif block.sure:
                    unknown.append(label)
                    self.unknown_argument(block, entry.key, (*path, label))
        elif isinstance(values, BrokenNode):
            complete = False
        elif values is not None:
            complete = False
            self.reading.report(
                "wrong-type",
                f"with: expected a mapping from arguments to values, got {describe(to_python(values))}",
                values.span,
                path,
                help=f"for example with: {{{known[0]}: 1}}" if known else None,
            )
        result: dict[str, Argument] = {}
        meant = {word for label in unknown for word in nearest(label, known)}
        for label, default in block.arguments.items():
            value = given.get(label, default)
            if value is None and complete and label not in meant:
                self.reading.report(
                    "missing-argument",
                    f"block {block.name} needs `{label}`",
                    place,
                    path if values is not None else origin.path,
                    notes=(Note("declared here, without a default", block.argument_span(label)),),
                    help=f"write with: {{{label}: ...}}" if values is None else None,
                )
            result[label] = UNKNOWN if value is None else value
        return result

    def unknown_argument(self, block: Block, key: Scalar, path: Path) -> None:
        """The block declares no argument of that name."""
        known = list(block.arguments)
        advice = f"its arguments are {', '.join(known)}" if known else "it has no arguments"
        self.reading.report(
            "unknown-argument",
            f"block {block.name} has no argument `{key.text}`",
            key.span,
            path,
            notes=(Note(f"block {block.name} is defined here", block.span),),
            help=did_you_mean(key.text, known) or advice,
        )

    def recursion(self, block: Block, place: Span | None, path: Path) -> None:
        """A block that contains itself; each ring of blocks is reported once."""
        reading = self.reading
        ring = reading.open[reading.open.index(block.name) :]
        if frozenset(ring) in self.cycles:
            return
        self.cycles.add(frozenset(ring))
        chain = [*ring, block.name]
        shown = chain if len(chain) <= 10 else [*chain[:5], "...", *chain[-4:]]
        what = f"block {block.name} contains itself" if len(ring) == 1 else "the blocks contain each other"
        reading.report(
            "recursive-block",
            f"{what}: {' -> '.join(shown)}",
            place,
            path,
            notes=tuple(
                Note(f"block {label} is defined here", reading.blocks[label].span) for label in ring[:5]
            ),
            help="a block cannot contain an instance of itself; use `repeat` for several in a row",
        )

    # --- expansion ----------------------------------------------------------------------------------

    def expand(
        self, block: Block, given: dict[str, Argument], label: str, place: Span | None, instance: Instance
    ) -> Expansion | None:
        """The entries of a block with these arguments; None if the block itself was refused."""
        reading = self.reading
        self.seen.add(block.name)
        if block.layers is None:
            return None
        key = (block.name, tuple(value.key for value in given.values()))
        made = self.expansions.get(key)
        if made is None and len(self.expansions) >= MAX_EXPANSIONS:
            why = f"more than {MAX_EXPANSIONS:,} instances of blocks with different arguments"
            reading.stop(block.origin, why, place)
        if reading.stopped:
            return None
        if made is None:
            with reading.expanding(block, label, instance) as made:
                scope = Scope(block.name, given, sure=block.sure)
                made.entries = self.read_list(block.layers, (*block.origin.path, "layers"), scope)
                self.outputs(block, scope, made)
                self.clashes(block, made)
            self.expansions[key] = made
        reading.current.uses[made] += 1
        reading.current.size += made.size
        return made

    def outputs(self, block: Block, scope: Scope, made: Expansion) -> None:
        """A block's outputs as references."""
        if block.outputs is None:
            return
        path = (*block.origin.path, "outputs")
        node = made.outputs_node = self.reading.substitution.apply(block.outputs, scope, path)
        texts: list[str] = []
        for index, item in enumerate(node.items if isinstance(node, Sequence) else [node]):
            try:
                texts.append(reference(value_of(item, True)))
            except Damaged:
                texts.append("")
            except PydanticCustomError as error:
                message = f"`outputs`: {error.message()}"
                self.reading.report(error.type, message, item.span, (*path, index))
                texts.append("")
        made.outputs = tuple(texts)

    def clashes(self, block: Block, made: Expansion) -> None:
        """Entries that are called as one of the block's inputs."""
        declared = block.origin.node.get("inputs") if block.origin.node is not None else None
        for entry in made.entries:
            if str(entry.name) in block.inputs:
                origin = (entry._origin if isinstance(entry, Layer) else entry.origin) or block.origin
                note = Note("the input", declared.span if declared is not None else block.span)
                self.reading.report(
                    "duplicate-name",
                    f"the name `{entry.name}` is taken by an input of block {block.name}",
                    origin.find("name")[0],
                    (*origin.path, "name"),
                    notes=(note,),
                )


def _group(
    label: str, inputs: tuple[str, ...] | None, block: Block, made: Expansion, origin: Origin
) -> Group:
    return Group(
        label,
        made.entries,
        inputs,
        block.inputs,
        made.outputs,
        block.name,
        origin,
        made.outputs_node,
        (*block.origin.path, "outputs"),
    )
