"""`netspec weights inspect`, `check` and `convert`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from netspec.analysis import analyse_file
from netspec.diagnostics import SpecError, WeightsError, escape
from netspec.graph.infer import states_of
from netspec.interop.checkpoints import Checkpoint, open_checkpoint
from netspec.interop.fitting import Fit, fit
from netspec.interop.matching import Rename, propose
from netspec.layers.base import State
from netspec.report.tables import Table, format_bytes
from netspec.runtime.weights import Difference, compare

# --- inspect ----------------------------------------------------------------------------------------


def run_inspect(path: Path, format: str, stats: bool) -> None:
    """Print every array's name, shape and dtype, with `stats` its range and mean, and the totals."""
    checkpoint = open_checkpoint(path)
    entries = [_entry(checkpoint, name, stats) for name in checkpoint.arrays]
    elements = sum(math.prod(entry["shape"]) for entry in entries)
    size = sum(entry["bytes"] for entry in entries)
    if format == "json":
        report = {
            "path": str(path),
            "notes": list(checkpoint.notes),
            "tensors": entries,
            "total": {"tensors": len(entries), "elements": elements, "bytes": size},
        }
        print(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
        return
    columns = ("name", "shape", "dtype", *(("min", "max", "mean") if stats else ()))
    table = Table(columns, "lll" + "rrr" * stats)
    for entry in entries:
        numbers = [_number(entry[key]) for key in ("min", "max", "mean")] if stats else []
        if stats and entry["not_finite"]:
            numbers[-1] += f" ({entry['not_finite']:,} not finite)"
        table.add(escape(entry["name"]), _shape(entry["shape"]), entry["dtype"], *numbers)
    print(table.text())
    print(f"\n{_count(len(entries), 'tensor')}, {elements:,} elements, {format_bytes(size)}")
    for note in checkpoint.notes:
        print(f"note: {note}")


def _entry(checkpoint: Checkpoint, name: str, stats: bool) -> dict[str, Any]:
    array = checkpoint.arrays[name]
    width = 2 if checkpoint.stored.get(name) == "bfloat16" else array.dtype.itemsize
    entry = {
        "name": name,
        "shape": list(array.shape),
        "dtype": checkpoint.dtype(name),
        "bytes": array.size * width,
    }
    return entry | _statistics(array) if stats else entry


def _statistics(array: Any) -> dict[str, Any]:
    """Least, greatest and mean of the finite values; None where there are none, or for complex ones."""
    import numpy as np

    found: dict[str, Any] = {"min": None, "max": None, "mean": None, "not_finite": 0}
    if array.dtype.kind not in "biuf":
        return found
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        found["not_finite"] = int(array.size - np.count_nonzero(finite))
        if found["not_finite"]:
            array = array[finite]
    if array.size:
        low, high = array.min().item(), array.max().item()
        mean = float(array.mean(dtype=np.float64))
        found |= {"min": low, "max": high, "mean": mean if math.isfinite(mean) else None}
    return found


# --- check ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison:
    """A checkpoint held against a network."""

    expected: dict[str, State]
    checkpoint: Checkpoint
    fit: Fit
    difference: Difference
    renames: tuple[Rename, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found where, and what was undone."""
        return (*self.checkpoint.notes, *self.fit.notes)


def compare_files(net: Path, path: Path) -> Comparison:
    """Raises `SpecError` for a wrong network, `WeightsError` for a checkpoint that cannot be read."""
    analysis = analyse_file(net)
    if not analysis.valid or analysis.shaped is None or analysis.graph is None:
        raise SpecError(analysis.diagnostics)
    expected = states_of(analysis.shaped)
    checkpoint = open_checkpoint(path)
    try:
        found = fit(expected, checkpoint.arrays, analysis.graph)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    difference = compare(expected, found.arrays)
    renames = propose(
        {name: expected[name].shape for name in expected if name not in found.arrays},
        {name: tuple(found.arrays[name].shape) for name in difference.unexpected},
    )
    return Comparison(expected, checkpoint, found, difference, tuple(renames))


def run_check(net: Path, path: Path, format: str) -> int:
    """Print how the checkpoint differs from what the network expects; 1 if it does."""
    found = compare_files(net, path)
    if format == "json":
        print(json.dumps(_report(net, path, found), indent=2, ensure_ascii=False))
    elif found.difference:
        print(_explain(net, path, found), file=sys.stderr)
    else:
        for note in found.notes:
            print(f"note: {note}")
        print(f"{path} fits {net} ({_count(len(found.fit.arrays), 'array')})")
    return int(bool(found.difference))


def _report(net: Path, path: Path, found: Comparison) -> dict[str, Any]:
    arrays = found.fit.arrays
    return {
        "fits": not found.difference,
        "network": str(net),
        "checkpoint": str(path),
        "missing": [
            {"name": name, "shape": list(found.expected[name].shape)} for name in found.difference.missing
        ],
        "unexpected": [
            {"name": name, "shape": list(arrays[name].shape), "dtype": str(arrays[name].dtype.name)}
            for name in found.difference.unexpected
        ],
        "wrong": [
            {
                "name": name,
                "expected": list(found.expected[name].shape),
                "found": list(arrays[name].shape),
                "message": reason,
            }
            for name, reason in found.difference.wrong
        ],
        "renames": [{"from": r.old, "to": r.new, "shape": list(r.shape), "by": r.by} for r in found.renames],
        "notes": list(found.notes),
    }


def _explain(net: Path, path: Path, found: Comparison) -> str:
    difference, arrays = found.difference, found.fit.arrays
    table = Table(("", "name", "network", "checkpoint"), "llll")
    for name in difference.missing:
        table.add("missing", escape(name), _shape(found.expected[name].shape), "")
    for name in difference.unexpected:
        table.add("unexpected", escape(name), "", _shape(arrays[name].shape))
    for name, reason in difference.wrong:
        shapes = (found.expected[name].shape, arrays[name].shape)
        same = tuple(shapes[0]) == tuple(shapes[1])
        table.add("wrong", escape(name), _shape(shapes[0]), reason if same else _shape(shapes[1]))
    fits = len([name for name in found.expected if name in arrays]) - len(difference.wrong)
    lines = [f"{path} does not fit {net}", "", table.text(), ""]
    if found.renames:
        proposed = Table(("probably", "", "the network's", "shape", "by"), "lllll")
        for rename in found.renames:
            proposed.add(escape(rename.old), "->", escape(rename.new), _shape(rename.shape), rename.by)
        lines += [proposed.text(), ""]
    lines += [f"note: {note}" for note in found.notes]
    lines.append(
        f"{fits} of {len(found.expected)} fit; {len(difference.missing)} missing, "
        f"{len(difference.unexpected)} unexpected, {len(difference.wrong)} wrong"
    )
    if found.renames and not compare(found.expected, _renamed(found)):
        lines.append(f"help: netspec weights convert {path} OUT.safetensors --for {net} makes these renames")
    return "\n".join(lines)


# --- convert ----------------------------------------------------------------------------------------


def run_convert(path: Path, target: Path, net: Path | None) -> int:
    """Write the arrays as .safetensors or .npz, under the names that the network expects."""
    if target.suffix.lower() not in (".safetensors", ".npz"):
        raise typer.BadParameter(f"expected a .safetensors or .npz file, got {target}", param_hint="OUT")
    if target.is_dir():
        raise WeightsError(f"{target} is a folder")
    if not target.parent.is_dir():
        raise WeightsError(f"the folder {target.parent} does not exist")
    if net is None:
        checkpoint = open_checkpoint(path)
        arrays, notes = dict(checkpoint.arrays), list(checkpoint.notes)
    else:
        found = compare_files(net, path)
        renamed = _renamed(found)
        if compare(found.expected, renamed):
            print(_explain(net, path, found), file=sys.stderr)
            return 1
        arrays, notes, checkpoint = renamed, list(found.notes), found.checkpoint
        if found.renames:
            _print_renames(found)
    if checkpoint.stored:
        notes.append(f"{_count(len(checkpoint.stored), 'bfloat16 array')} written as float32")
    _write(target, arrays)
    for note in notes:
        print(f"note: {note}")
    size = format_bytes(target.stat().st_size)
    print(f"wrote {target} ({_count(len(arrays), 'array')}, {size})")
    return 0


def _renamed(found: Comparison) -> dict[str, Any]:
    """The arrays with the proposed renames made, in the network's order."""
    names = {rename.old: rename.new for rename in found.renames}
    arrays = {names.get(name, name): array for name, array in found.fit.arrays.items()}
    return {name: arrays[name] for name in (*found.expected, *arrays) if name in arrays}


def _print_renames(found: Comparison) -> None:
    table = Table(("renamed", "", "to", "shape", "by"), "lllll")
    for rename in found.renames:
        table.add(escape(rename.old), "->", escape(rename.new), _shape(rename.shape), rename.by)
    print(table.text())
    if any(rename.by == "order" for rename in found.renames):
        print(
            "note: names paired by order are a guess from equal shapes; compare outputs before you rely on it"
        )


def _write(target: Path, arrays: Mapping[str, Any]) -> None:
    try:
        if target.suffix.lower() == ".npz":
            from netspec.interop.files import write_npz

            write_npz(target, dict(arrays))
        else:
            from netspec.interop.safetensors import write_safetensors

            write_safetensors(target, arrays)
    except OSError as error:
        raise WeightsError(f"cannot write {target}: {error.strerror or error}") from None


# --- texts ------------------------------------------------------------------------------------------


def _shape(shape: Any) -> str:
    return str(list(shape))


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
