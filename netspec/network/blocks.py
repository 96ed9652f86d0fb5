"""`blocks` and `include`: the blocks that a file may use, and where each was written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

from pydantic_core import PydanticCustomError

from netspec.diagnostics import Diagnostic, Note, Span, format_path
from netspec.document import (
    Broken,
    Document,
    Limits,
    Mapping,
    Node,
    Scalar,
    Sequence,
    read_bytes,
    read_text,
    to_python,
)
from netspec.layers.parameters import describe, name
from netspec.network.errors import unknown_key
from netspec.network.expressions import INDEX, SYMBOL, Argument, argument
from netspec.network.spec import FORMAT_VERSION, Entry, Origin, instance_notes

MAX_FILES: Final = 256
"""Files that one network may include, directly and through others."""

TextsByFile = MappingOf[Path, str]
"""Texts to read in place of files, by resolved path."""

_BLOCK_KEYS = ("args", "inputs", "layers", "outputs")
_FILE_KEYS = ("netspec", "description", "include", "blocks")
_EXAMPLE = "for example args: {planes: null, stride: 1}"


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A block as written. arguments: None is required. layers None: they were refused.

    sure False: a part of its arguments could not be read, so there may be others.
    """

    name: str
    arguments: dict[str, Argument | None]
    inputs: tuple[str, ...]
    layers: Sequence | None
    outputs: Node | None
    origin: Origin
    span: Span | None
    sure: bool = True

    def argument_span(self, argument: str) -> Span | None:
        """Where an argument is declared."""
        declared = self.origin.node.get("args") if self.origin.node is not None else None
        key = declared.key_node(argument) if isinstance(declared, Mapping) else None
        return key.span if key is not None else self.span


# --- findings ---------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Expansion:
    """A block's entries for certain arguments, made once for all instances that have them.

    size counts the entries with those of inner expansions; uses says how often it holds others, owner
    whose instances count for what is found in it.
    """

    entries: tuple[Entry, ...] = ()
    outputs: tuple[str, ...] | None = None
    outputs_node: Node | None = None
    size: int = 0
    uses: Counter[Expansion] = field(default_factory=Counter)
    owner: Expansion | None = None


FindingKey = tuple[str, str, Span | None, str]


class Findings:
    """What is wrong, each at one place once: what every instance of a block repeats is counted."""

    def __init__(self) -> None:
        self.log: list[FindingKey] = []
        self._first: dict[FindingKey, Diagnostic] = {}
        self._owners: dict[FindingKey, list[Expansion | None]] = {}

    def __len__(self) -> int:
        return len(self._first)

    def add(self, found: Diagnostic, owner: Expansion | None = None) -> FindingKey:
        """Take a diagnostic of an expansion (None: of one instance); its key says it again of another."""
        key = (found.code, found.message, found.span, found.path if found.span is None else "")
        self._first.setdefault(key, found)
        self.again(key, owner)
        return key

    def again(self, key: FindingKey, owner: Expansion | None) -> None:
        """The same is true of another expansion."""
        self.log.append(key)
        owners = self._owners.setdefault(key, [])
        if owner is None or owner not in owners:
            owners.append(owner)

    def diagnostics(self, counts: Counter[Expansion] | None = None) -> list[Diagnostic]:
        """All of them; counts: the number of instances of each expansion."""
        result = []
        for key, found in self._first.items():
            number = sum(1 if o is None or counts is None else counts[o] for o in self._owners[key])
            if number > 1:
                more = f"and {number - 1:,} more instance{'s' * (number > 2)}"
                found = replace(found, notes=(*found.notes, Note(more)))
            result.append(found)
        return result


def instance_counts(roots: Iterable[Expansion], finished: Iterable[Expansion]) -> Counter[Expansion]:
    """How often each expansion stands in the network; `finished` has inner ones before outer ones."""
    counts: Counter[Expansion] = Counter(roots)
    for expansion in reversed(list(finished)):
        number = counts[expansion]
        for inner, times in expansion.uses.items():
            counts[inner] += number * times
    return counts


# --- reading ----------------------------------------------------------------------------------------


def read_blocks(
    document: Document,
    directory: str | None,
    findings: Findings,
    texts: TextsByFile | None = None,
) -> tuple[dict[str, Block], bool, tuple[Path, ...]]:
    """All blocks that a network file can use: those of the files it includes, then its own; and those files.

    False: some could not be read, so there may be others. texts: of files that are open in an editor.
    """
    reader = _BlockReader(directory, findings, texts or {})
    root = document.root
    assert isinstance(root, Mapping)
    here = None
    if directory is not None:
        here = _resolved(Path(directory) / Path(document.source.name).name)
    reader.file(root, directory, [here] if here is not None else [], document)
    return reader.blocks, reader.sure, tuple(reader.files)


class _BlockReader:
    def __init__(self, directory: str | None, findings: Findings, texts: TextsByFile) -> None:
        self.findings = findings
        self.texts = texts
        self.blocks: dict[str, Block] = {}
        self.files: dict[Path, Document] = {}
        self.full = False
        self.sure = True

    def report(
        self,
        code: str,
        message: str,
        span: Span | None,
        path: tuple[str | int, ...],
        *,
        notes: tuple[Note, ...] = (),
        help: str | None = None,
    ) -> None:
        self.findings.add(Diagnostic(code, "error", message, span, format_path(path), notes, help))

    def file(self, root: Mapping, directory: str | None, open_files: list[Path], document: Document) -> None:
        """The blocks of one file, after those it includes."""
        self.includes(root.get("include"), directory, open_files, document)
        blocks = root.get("blocks")
        self.sure &= root.complete and (blocks is None or (isinstance(blocks, Mapping) and blocks.complete))
        if blocks is None or isinstance(blocks, Broken):
            return
        if not isinstance(blocks, Mapping):
            self.report(
                "wrong-type",
                f"blocks: expected a mapping from names to blocks, got {describe(to_python(blocks))}",
                blocks.span,
                ("blocks",),
                help="for example blocks: {Block: {layers: [{type: ReLU}]}}",
            )
            return
        for entry in blocks:
            self.block(entry.key, entry.value)

    # --- include ------------------------------------------------------------------------------------

    def includes(
        self, node: Node | None, directory: str | None, open_files: list[Path], document: Document
    ) -> None:
        """The files that `include` lists."""
        if node is None or isinstance(node, Broken):
            return
        if not isinstance(node, Sequence):
            advice = (
                f"write [{node.text}]" if isinstance(node, Scalar) and isinstance(node.value, str) else None
            )
            self.report(
                "wrong-type",
                f"include: expected a list of files, got {describe(to_python(node))}",
                node.span,
                ("include",),
                help=advice,
            )
            return
        for index, item in enumerate(node.items):
            path = ("include", index)
            if isinstance(item, Broken):
                self.sure = False
                continue
            if not isinstance(item, Scalar) or not isinstance(item.value, str) or not item.value:
                self.sure = False
                self.report(
                    "wrong-type",
                    f"include: expected a file, got {describe(to_python(item))}",
                    item.span,
                    path,
                )
                continue
            if directory is None:
                self.sure = False
                self.report(
                    "include-refused",
                    "include needs a file to start from; this network was not read from one",
                    item.span,
                    path,
                    help="put the blocks under `blocks`",
                )
                continue
            self.include(item, directory, open_files, path, document)

    def include(
        self,
        item: Scalar,
        directory: str,
        open_files: list[Path],
        path: tuple[str | int, ...],
        document: Document,
    ) -> None:
        """One file; paths stay inside the including file's folder, links followed."""
        text = str(item.value)
        target = _inside(directory, text)
        if target is None:
            self.sure = False
            self.report(
                "include-refused",
                f"`{text}` is not inside this file's folder",
                item.span,
                path,
                help="include takes relative paths inside this file's folder tree",
            )
            return
        if target in open_files:
            chain = [p.name for p in [*open_files[open_files.index(target) :], target]]
            self.report(
                "include-cycle", "the files include each other: " + " -> ".join(chain), item.span, path
            )
            return
        if target in self.files:
            return
        if len(self.files) >= MAX_FILES:
            self.sure = False
            if not self.full:
                self.full = True
                self.report("too-many-files", f"more than {MAX_FILES} files are included", item.span, path)
            return
        shown = os.path.normpath(os.path.join(os.path.dirname(document.source.name), text))
        text_now = self.texts.get(target)
        included = read_text(text_now, shown) if text_now is not None else _read(target, shown)
        if isinstance(included, str):
            self.sure = False
            code = "file-not-found" if included == "there is no such file" else "file-unreadable"
            self.report(code, f"include `{text}`: {included}", item.span, path)
            return
        self.files[target] = included
        for found in included.diagnostics:
            self.findings.add(found)
        root = included.root
        if isinstance(root, Mapping):
            self.header(root)
            self.file(root, str(target.parent), [*open_files, target], included)
            return
        self.sure = False
        if root is not None and not isinstance(root, Broken):
            self.report(
                "wrong-type",
                f"an included file is a mapping with blocks, got {describe(to_python(root))}",
                root.span,
                (),
            )

    def header(self, root: Mapping) -> None:
        """The keys of an included file beside its blocks."""
        self.known_keys("an included file", root, _FILE_KEYS, ())
        version = root.get("netspec")
        top = root.entries[0].key.span if len(root) else root.span
        if version is None:
            if root.complete:
                self.report(
                    "missing-key",
                    "an included file needs `netspec`, the version of the format",
                    top,
                    (),
                    help="write `netspec: 1` on the first line",
                )
        elif not isinstance(version, Broken):
            value = to_python(version)
            if value != FORMAT_VERSION or isinstance(value, bool | float):
                self.report(
                    "unknown-version",
                    f"`netspec`: expected format version 1, got {describe(value)}",
                    version.span,
                    ("netspec",),
                    help="this netspec reads `netspec: 1`",
                )
        text = root.get("description")
        if isinstance(text, Mapping | Sequence) or (
            isinstance(text, Scalar) and not isinstance(text.value, str | None)
        ):
            self.report(
                "wrong-type",
                f"`description`: expected a text, got {describe(to_python(text))}",
                text.span,
                ("description",),
            )

    # --- one block ----------------------------------------------------------------------------------

    def block(self, key: Scalar, node: Node) -> None:
        """Read one block; what is refused in it is left out."""
        label, path = key.text, ("blocks", key.text)
        try:
            name(label)
        except PydanticCustomError as error:
            self.report(error.type, f"block `{label}`: {error.message()}", key.span, path, help=_help(error))
        if (earlier := self.blocks.get(label)) is not None:
            self.report(
                "duplicate-name",
                f"there are two blocks `{label}`",
                key.span,
                path,
                notes=(Note("the first one is here", earlier.span),),
                help="the blocks of a file and of those it includes have different names",
            )
            return
        origin = Origin(node if isinstance(node, Mapping) else None, path)
        if not isinstance(node, Mapping):
            if not isinstance(node, Broken):
                self.report(
                    "wrong-type",
                    f"a block is a mapping with layers, got {describe(to_python(node))}",
                    node.span or key.span,
                    path,
                )
            self.blocks[label] = Block(label, {}, ("x",), None, None, origin, key.span)
            return
        self.known_keys("a block", node, _BLOCK_KEYS, path)
        arguments = self.arguments(node.get("args"), (*path, "args"))
        inputs = self.inputs(node.get("inputs"), (*path, "inputs"))
        layers = self.listed(node, "layers", path, "a list with at least one layer")
        if layers is None and "layers" not in node and node.complete:
            self.report("missing-key", f"block {label} needs `layers`, a list of layers", key.span, path)
        outputs = self.listed(node, "outputs", path, "a list of references")
        if outputs is None and isinstance(given := node.get("outputs"), Broken):
            outputs = given
        declared = node.get("args")
        sure = isinstance(declared, Mapping) and declared.complete if declared is not None else node.complete
        self.blocks[label] = Block(label, arguments, inputs, layers, outputs, origin, key.span, sure)

    def listed(self, node: Mapping, key: str, path: tuple[str | int, ...], expected: str) -> Any:
        """A list under a key, with something in it; None where it is missing or refused."""
        value = node.get(key)
        if value is None or isinstance(value, Broken):
            return None
        if isinstance(value, Sequence) and (value.items or not value.complete):
            return value
        got = "an empty list" if isinstance(value, Sequence) else describe(to_python(value))
        advice = (
            f"write [{value.text}]"
            if isinstance(value, Scalar) and isinstance(value.value, str | int)
            else None
        )
        self.report(
            "wrong-type", f"{key}: expected {expected}, got {got}", value.span, (*path, key), help=advice
        )
        return None

    def arguments(self, node: Node | None, path: tuple[str | int, ...]) -> dict[str, Argument | None]:
        """Names and defaults; null is required, `{default: null}` an optional None."""
        if node is None or isinstance(node, Broken):
            return {}
        if not isinstance(node, Mapping):
            advice = _EXAMPLE
            if isinstance(node, Sequence) and node.items and all(isinstance(i, Scalar) for i in node.items):
                advice = (
                    f"write {{{', '.join(f'{i.text}: null' for i in node.items if isinstance(i, Scalar))}}}"
                )
            self.report(
                "wrong-type",
                f"args: expected a mapping from names to defaults, got {describe(to_python(node))}",
                node.span,
                path,
                help=advice,
            )
            return {}
        result: dict[str, Argument | None] = {}
        for entry in node:
            label, value = entry.key.text, entry.value
            place = (*path, label)
            if not SYMBOL.fullmatch(label) or label == INDEX:
                message = (
                    f'an argument\'s name is letters, digits and _ and starts with no digit, got "{label}"'
                )
                if label == INDEX:
                    message = f"`{INDEX}` cannot be an argument: $index is the number under `repeat`"
                self.report("invalid-name", message, entry.key.span, place)
                if label == INDEX:
                    continue
            if isinstance(value, Mapping) and "default" in value:
                self.known_keys("an argument", value, ("default",), place)
                value = value.get("default") or value
                place = (*place, "default")
            elif isinstance(value, Scalar) and value.value is None:
                result[label] = None
                continue
            result[label] = argument(value)
            self.no_arguments(value, place)
        return result

    def no_arguments(self, value: Node, path: tuple[str | int, ...]) -> None:
        """A default stands outside the layers, where `$name` means nothing."""
        if isinstance(value, Scalar) and value.plain and isinstance(value.value, str) and "$" in value.value:
            self.report(
                "wrong-expression",
                f"a default cannot use arguments, got {describe(value.value)}",
                value.span,
                path,
                help="put quotes around text that is meant as it is",
            )

    def inputs(self, node: Node | None, path: tuple[str | int, ...]) -> tuple[str, ...]:
        """The names of a block's inputs."""
        if node is None or isinstance(node, Broken):
            return ("x",)
        if not isinstance(node, Sequence):
            advice = f"write [{node.text}]" if isinstance(node, Scalar) else None
            self.report(
                "wrong-type",
                f"inputs: expected a list of names, got {describe(to_python(node))}",
                node.span,
                path,
                help=advice or "a block's inputs are names; shapes come from where it is used",
            )
            return (node.text,) if isinstance(node, Scalar) and isinstance(node.value, str) else ("x",)
        result: list[str] = []
        for index, item in enumerate(node.items):
            if isinstance(item, Broken):
                continue
            try:
                label = name(
                    item.text if isinstance(item, Scalar) and item.value is not None else to_python(item)
                )
            except PydanticCustomError as error:
                self.report(
                    error.type, f"`inputs`: {error.message()}", item.span, (*path, index), help=_help(error)
                )
                continue
            if label in result:
                self.report(
                    "duplicate-name", f"the input `{label}` is listed twice", item.span, (*path, index)
                )
                continue
            result.append(label)
        return tuple(result)

    def known_keys(
        self, what: str, node: Mapping, known: tuple[str, ...], path: tuple[str | int, ...]
    ) -> None:
        """Refuse other keys."""
        for key in [entry.key.text for entry in node]:
            if key not in known:
                self.findings.add(unknown_entry_key(what, key, known, node, path, ()))


def unknown_entry_key(
    what: str,
    key: str,
    known: tuple[str, ...],
    node: Mapping,
    path: tuple[str | int, ...],
    instance: tuple[tuple[str, Span | None], ...],
) -> Diagnostic:
    """A key that does not belong there, of something that has keys and not parameters."""
    found = unknown_key(what, key, known, node, (*path, key), (key,), instance_notes(instance))
    return replace(found, message=f"{what} has no key `{key}`")


def _help(error: PydanticCustomError) -> str | None:
    return (error.context or {}).get("help")


# --- files ------------------------------------------------------------------------------------------


def _resolved(path: Path) -> Path | None:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # loops of links, NUL
        return None


def _inside(directory: str, text: str) -> Path | None:
    """The file that a relative path means, if it is inside the folder with all links followed."""
    if PurePosixPath(text).is_absolute() or PureWindowsPath(text).drive or text.startswith(("\\", "~")):
        return None
    if os.path.normpath(text).split(os.sep)[0] == "..":
        return None
    base, target = _resolved(Path(directory)), _resolved(Path(directory) / text)
    if base is None or target is None or not target.is_relative_to(base):
        return None
    return target


def _read(path: Path, shown: str) -> Document | str:
    """A file's document, under the name it is shown by; or why there is none."""
    try:
        if not path.exists():
            return "there is no such file"
        if not path.is_file():  # a pipe would never end
            return "this is not a file"
        with path.open("rb") as file:
            data = file.read(Limits().bytes + 1)
    except (OSError, ValueError) as error:
        return f"it cannot be read: {getattr(error, 'strerror', None) or error}"
    return read_bytes(data, shown)
