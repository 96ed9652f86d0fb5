"""Running a large input in batches along a first axis that all inputs and outputs share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from netspec.diagnostics import InputError
from netspec.graph import TensorRef, select
from netspec.interop.files import temporary_beside
from netspec.program.batching import mixing_layer
from netspec.program.compile import compile
from netspec.runtime.inputs import check_sizes
from netspec.runtime.network import Network
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
    """All batches' outputs, one after the other, and whether they already lie in `target`: a single output
    goes to a mapped file beside it as it is computed, so that memory does not grow with the batches."""
    _, needed = select(net._graph, wanted)
    total = ranges[-1][1]
    results: dict[str, Any] = {}
    part: str | None = None
    try:
        for start, stop in ranges:
            found = net.compute({name: arrays[name][start:stop] for name in needed}, wanted)
            for name, rows in found.items():
                if name not in results:
                    shape = (total, *rows.shape[1:])
                    single = target is not None and target.suffix == ".npy" and len(found) == 1
                    if single and target is not None and 0 not in shape:  # nothing cannot be mapped
                        part, results[name] = _mapped(target, rows.dtype, shape)
                    else:
                        results[name] = _empty(shape, rows.dtype)
                results[name][start:stop] = rows
            advance()
        if part is not None and target is not None:
            next(iter(results.values())).flush()
            os.replace(part, target)
    except BaseException:
        if part is not None:
            with suppress(OSError):
                os.unlink(part)
        raise
    return results, part is not None


def _mapped(target: Path, dtype: Any, shape: tuple[int, ...]) -> tuple[str, Any]:
    import numpy as np

    name = temporary_beside(target)
    return name, np.lib.format.open_memmap(name, "w+", dtype, shape)


def _empty(shape: tuple[int, ...], dtype: Any) -> Any:
    import numpy as np

    return np.empty(shape, dtype)
