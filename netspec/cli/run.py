"""`netspec run`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from netspec.api import load
from netspec.diagnostics import InputError, did_you_mean
from netspec.graph import TensorRef, select
from netspec.interop.arrays import read_input, read_named
from netspec.interop.files import write_npy, write_npz
from netspec.interop.pictures import check_pillow
from netspec.report.maps import write_map
from netspec.report.tables import Table
from netspec.runtime.batches import batch_ranges, run_batches
from netspec.runtime.network import Network

ROWS_SHOWN = 10
"""Rows of a labelled output whose best classes are printed."""


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of the command."""

    file: Path
    inputs: tuple[str, ...]
    weights: Path | None
    output: str | None
    taps: tuple[str, ...]
    only: tuple[str, ...]
    device: str | None
    dtype: str | None
    precision: str | None
    batch_size: int | None
    threads: int | None
    mode: str
    seed: int
    runner: Path | None


def run_network(options: Options) -> None:
    """Load, run, print, write."""
    with _notes_on_stderr():
        net = load(
            options.file,
            weights=options.weights,
            device=options.device,
            dtype=options.dtype,
            precision=options.precision,
            threads=options.threads,
            seed=options.seed,
            mode=options.mode,
            runner=options.runner,
        )
        wanted = net.wanted(options.taps, options.only or None)
        target = _target(options.output, list(wanted), options.taps)
        arrays = _inputs(options.inputs, net, wanted)
        batch_size = options.batch_size or net.batch_size
        screen = sys.stderr if options.output == "-" else sys.stdout
        if batch_size is not None:
            ranges = batch_ranges(net, arrays, wanted, batch_size)
            with _progress(len(ranges)) as advance:
                results, written = run_batches(net, arrays, wanted, ranges, target, advance)
        else:
            results, written = net.compute(arrays, wanted), False
        print(describe(results), file=screen)
        for text in best_classes(net, results):
            print(text, file=screen)
        if not written:
            _write(target, results, options)
        if target is not None:
            print(f"wrote {target}", file=screen)


# --- inputs -----------------------------------------------------------------------------------------


def _inputs(texts: Sequence[str], net: Network, wanted: Mapping[str, TensorRef]) -> dict[str, Any]:
    """The arrays of all `--input` options; without a name it is the only input that is needed."""
    _, needed = select(net._graph, wanted)
    arrays: dict[str, Any] = {}
    for text in texts:
        for name, array in _named(text, net, needed or tuple(net._graph.inputs)).items():
            if name in arrays:
                raise InputError(f"--input {text}: input {name} is given twice")
            arrays[name] = array
    return arrays


def _named(text: str, net: Network, needed: Sequence[str]) -> dict[str, Any]:
    """The arrays of one option: several where an .npz holds them under the inputs' names."""
    names = list(net._graph.inputs)
    head, equals, rest = text.partition("=")
    name, path = (head, rest) if equals and head in names else (None, text)
    if not path:
        raise InputError(f"--input {text}: no path is given")
    if name is None and equals and head.isidentifier() and not Path(text).exists():
        advice = did_you_mean(head, names) or f"the inputs are {', '.join(names)}"
        raise InputError(f"--input {text}: the network has no input `{head}`; {advice}")
    if name is None and len(needed) > 1:
        if path.endswith(".npz") and Path(path).is_file():
            return read_named(Path(path), names)
        choices = ", ".join(f"{n}={text}" for n in needed)
        raise InputError(f"--input {text}: say which input it is: {choices}")
    name = name or needed[0]
    spec = net._graph.inputs[name]
    assert spec is not None
    return {name: read_input(path, spec.shape, name, spec.picture)}


# --- outputs ----------------------------------------------------------------------------------------


def _target(output: str | None, names: Sequence[str], taps: Sequence[str]) -> Path | None:
    """The file to write, checked before any work; None: standard output."""
    if output == "-":
        return None
    path = Path(output) if output else Path("output.npz" if len(names) > 1 else "output.npy")
    if path.suffix == ".npy" and len(names) > 1:
        raise typer.BadParameter(
            f"{path} holds one array, there are {len(names)} ({', '.join(names)}): write to a .npz file",
            param_hint="--output",
        )
    if path.suffix not in (".npy", ".npz", ".png"):
        raise typer.BadParameter(f"expected a .npy, .npz or .png file, got {path}", param_hint="--output")
    if path.suffix == ".png":
        shown = _shown(names, taps)
        if len(shown) > 1:
            raise typer.BadParameter(
                f"{path} shows one tensor, there are {len(shown)} ({', '.join(shown)}): "
                + ("tap one of them" if taps else "choose one with --tap"),
                param_hint="--output",
            )
        check_pillow(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist")
    return path


def _shown(names: Sequence[str], taps: Sequence[str]) -> list[str]:
    """What a picture shows: the tapped tensors, without any the outputs."""
    return list(dict.fromkeys(taps or names))


def _write(target: Path | None, results: Mapping[str, Any], options: Options) -> None:
    try:
        if target is None:
            import io

            import numpy as np

            data = io.BytesIO()
            if len(results) > 1:
                np.savez(data, allow_pickle=False, **results)
            else:
                np.save(data, next(iter(results.values())), allow_pickle=False)
            sys.stdout.buffer.write(data.getvalue())
            sys.stdout.buffer.flush()
        elif target.suffix == ".png":
            name = _shown(list(results), options.taps)[0]
            write_map(target, name, results[name], bool(options.taps))
        elif target.suffix == ".npz":
            write_npz(target, dict(results))
        else:
            write_npy(target, next(iter(results.values())))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"cannot write {target or 'standard output'}: {error.strerror or error}") from None


def describe(results: Mapping[str, Any]) -> str:
    """A table: each output's name, shape, dtype and range."""
    import numpy as np

    table = Table(("output", "shape", "dtype", "min", "max"), "lllrr")
    for name, array in results.items():
        low = high = ""
        if array.size and array.dtype.kind != "c":
            numbers = array.astype("f8") if array.dtype.kind == "f" else array
            finite = numbers[~np.isnan(numbers)] if array.dtype.kind == "f" else numbers
            if finite.size:
                low, high = _number(finite.min()), _number(finite.max())
            if finite.size < array.size:
                high += f" ({array.size - finite.size} NaN)"
        table.add(name, str(list(array.shape)), str(array.dtype), low, high)
    return table.text()


def _number(value: Any) -> str:
    return f"{value:.6g}" if value.dtype.kind == "f" else str(value)


def best_classes(net: Network, results: Mapping[str, Any]) -> Iterator[str]:
    """For outputs with labels: the best five of the first rows."""
    declared = net.spec.outputs or {}
    for name, output in declared.items():
        if not output.labels or name not in results:
            continue
        array = results[name]
        labels = [str(label) for label in output.labels]
        if not array.shape or array.shape[-1] != len(labels):
            yield f"{name}: {len(labels)} labels do not fit the shape {list(array.shape)}"
            continue
        rows = array.reshape(-1, len(labels))
        for index, row in enumerate(rows[:ROWS_SHOWN]):
            order = (-row.astype("f8")).argsort(kind="stable")[:5]
            best = ", ".join(f"{labels[i]} {row[i]:.4g}" for i in order)
            yield f"{name}[{index}]: {best}"
        if len(rows) > ROWS_SHOWN:
            yield f"{name}: {len(rows) - ROWS_SHOWN} more rows"


# --- the terminal -----------------------------------------------------------------------------------


@contextmanager
def _notes_on_stderr() -> Iterator[None]:
    """The library's notes (casts, random weights) as lines on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("note: %(message)s"))
    log = logging.getLogger("netspec")
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty() or total < 2:
        yield lambda: None
        return
    try:  # rich comes with typer; without it there is just no bar
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield lambda: None
        return

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("batches", total=total)
        yield lambda: bar.advance(task)
