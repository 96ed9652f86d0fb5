"""All that is known of one network file without running it: one call for validate, shapes and editors."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netspec.diagnostics import Diagnostic, has_errors, sort_diagnostics
from netspec.document import Document, from_python, read_file, read_text
from netspec.graph import Graph, Memory, ShapedGraph, build, infer
from netspec.network import NetworkSpec, read


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """Each stage's result (None where the one before gave nothing), and every diagnostic, in order."""

    document: Document
    spec: NetworkSpec | None
    graph: Graph | None
    shaped: ShapedGraph | None
    diagnostics: tuple[Diagnostic, ...]

    @property
    def valid(self) -> bool:
        """Whether there are no errors."""
        return not has_errors(self.diagnostics)


def analyse(
    document: Document,
    directory: str | None = None,
    dtype: str = "float32",
    *,
    texts: Mapping[Path, str] | None = None,
    between: Callable[[], None] = lambda: None,
    memory: Memory | None = None,
) -> Analysis:
    """Read, resolve and shape a document; errors of one stage do not hide those of the next.

    texts: stand for included files that are open in an editor. between: called after each stage; it may
    raise to give up. memory: what was inferred for earlier versions of the text.
    """
    found = list(document.diagnostics)
    between()
    spec, more = read(document, directory, texts)
    found += more
    if spec is None:
        return Analysis(document, None, None, None, tuple(sort_diagnostics(found)))
    between()
    graph, more = build(spec)
    found += more
    between()
    shaped = infer(graph, dtype=dtype, memory=memory)
    found += shaped.diagnostics
    return Analysis(document, spec, graph, shaped, tuple(sort_diagnostics(found)))


def analyse_file(path: str | os.PathLike[str], dtype: str = "float32") -> Analysis:
    """`analyse` of a file."""
    return analyse(read_file(path), str(Path(path).parent), dtype)


def analyse_text(text: str, name: str = "<text>", directory: str | None = None) -> Analysis:
    """`analyse` of a text, such as an editor's."""
    return analyse(read_text(text, name), directory)


def analyse_mapping(mapping: Mapping[str, Any], dtype: str = "float32") -> Analysis:
    """`analyse` of Python values; layers may stand in it as objects."""
    given = dict(mapping)
    if isinstance(given.get("layers"), list | tuple):
        for layer in given["layers"]:
            if hasattr(layer, "blocks"):  # a bound layer may be an instance of its network's blocks
                blocks = {**layer.blocks(), **(given.get("blocks") or {})}
                given |= {"blocks": blocks} if blocks else {}
    return analyse(from_python(given), None, dtype)


def analyse_spec(spec: NetworkSpec, dtype: str = "float32") -> Analysis:
    """`analyse` of a network that was read (or built) before."""
    if spec._document is not None:
        return analyse(spec._document, spec._directory, dtype)
    graph, found = build(spec)
    shaped = infer(graph, dtype=dtype)
    found = [*found, *shaped.diagnostics]
    return Analysis(from_python(None), spec, graph, shaped, tuple(sort_diagnostics(found)))
