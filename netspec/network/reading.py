"""Where reading is and what it has found: the state that the parts of the reader share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from netspec.diagnostics import Diagnostic, Note, Span, format_path
from netspec.network.blocks import Block, Expansion, Findings
from netspec.network.expressions import Substitution
from netspec.network.spec import Origin, instance_notes

MAX_ENTRIES: Final = 200_000
"""Entries of a network with all blocks and repetitions written out."""
MAX_DEPTH: Final = 64
"""Nesting of lists and blocks."""

Path = tuple[str | int, ...]
"""Where a value stands, from the root of its file."""
Instance = tuple[tuple[str, Span | None], ...]
"""The block instances around a place, outermost first, each with the place that asked for it."""


class Reading:
    """What the parts of the reader know of each other.

    current: what is being made, whose instances count for what is found; open: the names of the blocks around
    it. prefix: the full name of the group around, with a dot. finished: what was made, inner before outer.
    """

    def __init__(self) -> None:
        self.findings = Findings()
        self.substitution = Substitution(self.report)
        self.blocks: dict[str, Block] = {}
        self.all_blocks = True
        self.finished: list[Expansion] = []
        self.current = _root()
        self.open: list[str] = []
        self.prefix = ""
        self.instance: Instance = ()
        self.depth = 0
        self.work = 0
        self.stopped = False

    # --- going somewhere and coming back ------------------------------------------------------------

    @contextmanager
    def below(self, label: str) -> Iterator[None]:
        """Inside a group of that name."""
        outer, self.prefix = self.prefix, f"{self.prefix}{label}."
        yield
        self.prefix = outer

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Something is read for what is wrong with it, not for the network."""
        outer, self.current = self.current, _root()
        yield
        self.finished.append(self.current)
        self.current = outer

    @contextmanager
    def copied(self) -> Iterator[Expansion]:
        """A part that will stand in the current one several times, on whose account findings go."""
        outer = self.current
        part = self.current = Expansion(owner=outer.owner)
        yield part
        self.current = outer
        self.finished.append(part)

    @contextmanager
    def expanding(self, block: Block, label: str, instance: Instance) -> Iterator[Expansion]:
        """Inside a block, for the instance of that label."""
        outer = self.current, self.instance
        made = self.current = _root()
        self.instance = instance
        self.open.append(block.name)
        with self.below(label):
            yield made
        self.open.pop()
        self.current, self.instance = outer
        self.finished.append(made)

    # --- findings -----------------------------------------------------------------------------------

    def report(
        self,
        code: str,
        message: str,
        span: Span | None,
        path: Path = (),
        *,
        notes: tuple[Note, ...] = (),
        help: str | None = None,
    ) -> None:
        """Something is wrong at a place."""
        notes = (*notes, *instance_notes(self.instance))
        self.add(Diagnostic(code, "error", message, span, format_path(path), notes, help))

    def add(self, found: Diagnostic) -> None:
        """Something is wrong with what is being made."""
        self.findings.add(found, self.current.owner)

    # --- limits -------------------------------------------------------------------------------------

    def too_many(self, number: int, origin: Origin) -> bool:
        """Whether so many more entries are over the limit."""
        if self.current.size + number > MAX_ENTRIES:
            self.stop(origin)
        return self.stopped

    def count(self, number: int, origin: Origin) -> None:
        """So many entries were made."""
        self.current.size += number
        self.work += 1
        if self.current.size > MAX_ENTRIES or self.work > MAX_ENTRIES:
            self.stop(origin)

    def stop(self, origin: Origin, why: str | None = None, place: Span | None = None) -> None:
        """Give up: the network is too large."""
        if not self.stopped:
            self.stopped = True
            why = why or f"more than {MAX_ENTRIES:,} layers, with blocks and repetitions written out"
            self.report("too-many-layers", why, place or origin.span, origin.path)


def _root() -> Expansion:
    """An expansion that answers for itself."""
    made = Expansion()
    made.owner = made
    return made
