"""The `--input` options of `netspec run`: whole arrays, or rows that are read when their batch comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from netspec.diagnostics import InputError, did_you_mean
from netspec.engine.sources import PARQUET, Source, list_files, open_source
from netspec.graph import TensorRef, select
from netspec.interop.arrays import read_input, read_named
from netspec.network import InputSpec
from netspec.runtime.network import Network

NAMED = (".npz", PARQUET)
"""Files that can hold several inputs, each under its name."""


def input_arrays(texts: Sequence[str], net: Network, wanted: Mapping[str, TensorRef]) -> dict[str, Any]:
    """The arrays of all options; without a name it is the only input that is needed."""
    arrays: dict[str, Any] = {}
    needed = _needed(net, wanted)
    for text in texts:
        _add(arrays, text, _whole(text, net, needed))
    return arrays


def input_rows(texts: Sequence[str], net: Network, wanted: Mapping[str, TensorRef]) -> dict[str, Any]:
    """As `input_arrays`, but what is in several files, or in Parquet, as a `Source`: nothing is read yet."""
    rows: dict[str, Any] = {}
    needed = _needed(net, wanted)
    for text in texts:
        name, path = _split(text, net, needed)
        files = list_files(path)
        one_array = len(files) == 1 and files[0].suffix.lower() != PARQUET
        _add(rows, text, _whole(text, net, needed) if one_array else _sources(name, files, net, needed))
    return rows


def input_sources(texts: Sequence[str], net: Network, wanted: Mapping[str, TensorRef]) -> dict[str, Source]:
    """The rows of all options. Raises `InputError` where an input is missing."""
    sources: dict[str, Source] = {}
    needed = _needed(net, wanted)
    for text in texts:
        name, path = _split(text, net, needed)
        _add(sources, text, _sources(name, list_files(path), net, needed))
    missing = [name for name in needed if name not in sources]
    if missing:
        raise InputError(f"input {', '.join(missing)} is missing")
    return {name: sources[name] for name in needed}


def _needed(net: Network, wanted: Mapping[str, TensorRef]) -> tuple[str, ...]:
    _, needed = select(net._graph, wanted)
    return needed or tuple(net._graph.inputs)


def _add(found: dict[str, Any], text: str, new: Mapping[str, Any]) -> None:
    for name, value in new.items():
        if name in found:
            raise InputError(f"--input {text}: input {name} is given twice")
        found[name] = value


def _split(text: str, net: Network, needed: Sequence[str]) -> tuple[str | None, str]:
    """The name and the path of an option; None where files may hold several inputs by name."""
    names = list(net._graph.inputs)
    head, equals, rest = text.partition("=")
    name, path = (head, rest) if equals and head in names else (None, text)
    if not path:
        raise InputError(f"--input {text}: no path is given")
    if name is None and equals and head.isidentifier() and not Path(text).exists():
        advice = did_you_mean(head, names) or f"the inputs are {', '.join(names)}"
        raise InputError(f"--input {text}: the network has no input `{head}`; {advice}")
    if name is None and len(needed) == 1:
        return needed[0], path
    if name is None and not all(file.suffix.lower() in NAMED and file.is_file() for file in list_files(path)):
        choices = ", ".join(f"{n}={text}" for n in needed)
        raise InputError(f"--input {text}: say which input it is: {choices}")
    return name, path


def _whole(text: str, net: Network, needed: Sequence[str]) -> dict[str, Any]:
    name, path = _split(text, net, needed)
    files = list_files(path)
    if any(file.suffix.lower() == PARQUET for file in files):
        return {n: source[:] for n, source in _sources(name, files, net, needed).items()}
    if name is not None:
        spec = _spec(net, name)
        return {name: read_input(path, spec.shape, name, spec.picture)}
    if len(files) == 1:
        return read_named(files[0], list(net._graph.inputs))
    return {n: read_input(path, _spec(net, n).shape, n, _spec(net, n).picture) for n in needed}


def _sources(
    name: str | None, files: Sequence[Path], net: Network, needed: Sequence[str]
) -> dict[str, Source]:
    """The source of one input, or those of all that are needed."""
    names = (name,) if name is not None else needed
    alone = len(names) == 1
    return {n: open_source(files, n, _spec(net, n), needed, alone) for n in names}


def _spec(net: Network, name: str) -> InputSpec:
    spec = net._graph.inputs[name]
    assert spec is not None
    return spec
