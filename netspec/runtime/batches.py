"""Running a large input in batches along a first axis that all inputs and outputs share."""

from __future__ import annotations

import os
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from netspec.diagnostics import InputError
from netspec.graph import TensorRef, select
from netspec.interop.files import temporary_beside, write_beside
from netspec.program.batching import mixing_layer
from netspec.program.compile import compile
from netspec.runtime.inputs import check_sizes
from netspec.runtime.network import Call, Network
from netspec.runtime.streaming import NpyWriter, release
from netspec.symbolic import symbol

PROBE = 2
"""Rows with which the program is looked at."""


def batch_ranges(
    net: Network, arrays: Mapping[str, Any], wanted: Mapping[str, TensorRef], batch_size: int
) -> list[tuple[int, int]]:
    """(start, stop) of each batch. Raises `InputError` where batches would change the answer."""
    if net.training:
        raise InputError(
            "--batch-size: in train mode the batch changes the answer (batch statistics, dropout)"
        )
    _, needed = select(net._graph, wanted)
    first: dict[str, Any] = {}
    for name in needed:
        spec = net._graph.inputs[name]
        assert spec is not None
        first[f"input {name}"] = (
            symbol(spec.shape[0]) if spec.shape and isinstance(spec.shape[0], str) else None
        )
    for name, ref in wanted.items():
        tensor = net._shaped.type_of(ref)
        first[f"output {name}"] = tensor.shape[0] if tensor is not None and tensor.shape else None
    axes = set(first.values())
    if len(axes) != 1 or None in axes or str(next(iter(axes))) not in net._shaped.symbols:
        shown = ", ".join(f"{where}: {axis if axis is not None else 'none'}" for where, axis in first.items())
        raise InputError(
            f"--batch-size needs one symbol as the first axis of all inputs and outputs, got {shown}"
        )
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise InputError(f"input {', '.join(missing)} is missing")
    shapes = {name: tuple(arrays[name].shape) for name in needed}
    batch = str(next(iter(axes)))
    total = check_sizes(net._graph, shapes)[batch]
    probe = {name: (PROBE, *shape[1:]) for name, shape in shapes.items()}
    shaped = net.shaped(probe)
    if all(shaped.types[i] is not None for i in select(net._graph, wanted)[0]):
        mixing = mixing_layer(compile(shaped, wanted))
        if mixing is not None:
            raise InputError(
                f"--batch-size: layer {mixing} mixes the rows of the batch, so batches would change the answer"
            )
    starts = range(0, total, batch_size) if total else [0]
    return [(start, min(start + batch_size, total)) for start in starts]


def run_batches(
    net: Network,
    arrays: Mapping[str, Any],
    wanted: Mapping[str, TensorRef],
    ranges: Sequence[tuple[int, int]],
    target: Path | None,
    advance: Callable[[], None],
) -> tuple[dict[str, Any], bool]:
    """All batches' outputs, one after the other, and whether they already lie in `target`.

    For a .npy or .npz file they go to disk beside it as they are computed, and are mapped from there, so
    that memory does not grow with the batches.
    """
    streamed = target is not None and target.suffix in (".npy", ".npz")
    batches = _batches(net, arrays, wanted, ranges, advance)
    if streamed and target is not None:
        return rows_to_file(batches, ranges[-1][1], target), True
    return rows_in_memory(batches, ranges[-1][1]), False


def _batches(
    net: Network,
    arrays: Mapping[str, Any],
    wanted: Mapping[str, TensorRef],
    ranges: Sequence[tuple[int, int]],
    advance: Callable[[], None],
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The first row of each batch, and its outputs."""
    _, needed = select(net._graph, wanted)
    pending: deque[tuple[int, Call]] = deque()

    def finished() -> tuple[int, dict[str, Any]]:
        start, call = pending.popleft()
        return start, call.result()

    for start, stop in ranges:
        pending.append((start, net.begin({name: arrays[name][start:stop] for name in needed}, wanted)))
        for name in needed:
            release(arrays[name])
        if len(pending) == net.calls_ahead:
            yield finished()
            advance()
    while pending:
        yield finished()
        advance()


def rows_in_memory(batches: Iterator[tuple[int, dict[str, Any]]], total: int) -> dict[str, Any]:
    """All rows as arrays, from the first row of each batch and its outputs."""
    import numpy as np

    results: dict[str, Any] = {}
    for start, found in batches:
        for name, rows in found.items():
            if name not in results:
                results[name] = np.empty((total, *rows.shape[1:]), rows.dtype)
            results[name][start : start + len(rows)] = rows
    return results


def rows_to_file(batches: Iterator[tuple[int, dict[str, Any]]], total: int, target: Path) -> dict[str, Any]:
    """All rows as mapped arrays, from batches in order: each output goes to a file of its own beside `target`;
    one is renamed to it, several are packed into it."""
    parts: dict[str, Path] = {}
    with ExitStack() as stack:
        writers: dict[str, NpyWriter] = {}
        for _, found in batches:
            for name, rows in found.items():
                if name not in writers:
                    parts[name] = Path(temporary_beside(target))
                    stack.callback(parts[name].unlink, missing_ok=True)
                    writers[name] = NpyWriter(stack.enter_context(parts[name].open("r+b")), total)
                writers[name].write(rows)
        results = {name: writer.mapped() for name, writer in writers.items()}
        if target.suffix == ".npy":
            os.replace(next(iter(parts.values())), target)
        else:
            with write_beside(target) as file, zipfile.ZipFile(file, "w") as archive:
                for name, part in parts.items():
                    archive.write(part, f"{name}.npy")
    return results
