"""One state of an open text with all that is known of it; the features read it and change nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from netspec.analysis import Analysis, analyse
from netspec.diagnostics import Diagnostic, has_errors
from netspec.document import Document, read_text
from netspec.editor.buffers import Buffer
from netspec.editor.outline import Entry, Outline
from netspec.graph import Memory, Node, ShapedGraph, TensorRef
from netspec.layers.tensor import TensorType
from netspec.symbolic import Dim


class View:
    """A buffer, its document and, for a network, its analysis. Tables are made when somebody asks."""

    def __init__(
        self,
        buffer: Buffer,
        document: Document,
        diagnostics: tuple[Diagnostic, ...] = (),
        analysis: Analysis | None = None,
    ) -> None:
        self.buffer = buffer
        self.document = document
        self.diagnostics = diagnostics
        self.analysis = analysis
        self._short: dict[Dim, Dim] = {}

    @property
    def text(self) -> str:
        """The document's text: the buffer's without a byte order mark."""
        return self.buffer.text.removeprefix("\ufeff")

    @property
    def shift(self) -> int:
        """Characters of the buffer before the document's first."""
        return len(self.buffer.text) - len(self.text)

    @property
    def valid(self) -> bool:
        """Whether there are no errors."""
        return not has_errors(self.diagnostics)

    @property
    def shaped(self) -> ShapedGraph | None:
        """The graph with its types."""
        return self.analysis.shaped if self.analysis is not None else None

    @property
    def included(self) -> tuple[Path, ...]:
        """The files that the network's `include` brought in."""
        spec = self.analysis.spec if self.analysis is not None else None
        return spec._included if spec is not None else ()

    @cached_property
    def outline(self) -> Outline:
        """Names and references as they are written."""
        spec = self.analysis.spec if self.analysis is not None else None
        return Outline(self.document.root, spec._blocks.values() if spec is not None else ())

    # --- calls --------------------------------------------------------------------------------------

    @cached_property
    def _calls(self) -> dict[int, list[Node]]:
        found: dict[int, list[Node]] = {}
        graph = self.analysis.graph if self.analysis is not None else None
        for node in graph.nodes if graph is not None else ():
            found.setdefault(id(node.origin.node), []).append(node)
        return found

    @cached_property
    def _groups(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        graph = self.analysis.graph if self.analysis is not None else None
        for path, origin in graph.places.items() if graph is not None else ():
            found.setdefault(id(origin.node), []).append(path)
        return found

    def calls(self, entry: Entry) -> list[Node]:
        """The calls that an entry stands for: one, or one for each instance of its block or repetition."""
        return self._calls.get(id(entry.node), []) if entry.node is not None else []

    def results(self, entry: Entry) -> list[tuple[str, tuple[TensorType | None, ...]]]:
        """What an entry gives: for each of its instances the full name and the types of its outputs."""
        shaped = self.shaped
        if shaped is None or entry.node is None:
            return []
        paths = self._groups.get(id(entry.node))
        if paths is None:
            return [(n.path, tuple((shaped.types[n.index] or {}).values())) for n in self.calls(entry)]
        outer = set(paths)
        # a named repetition is a group of groups: only the outermost is the entry's own
        return [
            (path, tuple(self.type_of(ref) for ref in shaped.graph.groups[path]))
            for path in paths
            if not (entry.repeated and path.rpartition(".")[0] in outer)
        ]

    def type_of(self, ref: TensorRef) -> TensorType | None:
        """The type of a tensor."""
        return self.shaped.type_of(ref) if self.shaped is not None else None

    def tidy(self, tensor: TensorType) -> TensorType:
        """The same type with its sizes written short."""
        return TensorType(tuple(self.simplify(size) for size in tensor.shape), tensor.dtype)

    def simplify(self, size: Dim) -> Dim:
        """A size written short."""
        if isinstance(size, int) or self.shaped is None:
            return size
        if size not in self._short:
            self._short[size] = self.shaped.constraints.simplify(size)
        return self._short[size]

    @cached_property
    def conditions(self) -> list[str]:
        """The conditions on the sizes."""
        return [str(condition) for condition in self.shaped.constraints.solve()] if self.shaped else []


def look(
    buffer: Buffer, texts: Mapping[Path, str], between: Callable[[], None], memory: Memory | None = None
) -> View:
    """Analyse a buffer as `netspec validate` would the file.

    texts: of all open files. between: may raise to give up. memory: of the buffer's earlier states.
    """
    document = read_text(buffer.text, buffer.name)
    if buffer.kind == "runner":
        from netspec.runtime.profile import analyse_profile

        return View(buffer, document, tuple(analyse_profile(document)[1]))
    path = buffer.path
    directory = str(path.parent) if path is not None else None
    analysis = analyse(document, directory, texts=texts, between=between, memory=memory)
    return View(buffer, document, analysis.diagnostics, analysis)
