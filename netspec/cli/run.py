"""`netspec run`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from netspec.api import load
from netspec.cli.run_inputs import input_arrays, input_rows
from netspec.diagnostics import InputError
from netspec.interop.files import write_npy, write_npz
from netspec.interop.pictures import check_pillow
from netspec.report.maps import write_map
from netspec.report.ranges import Range, range_of
from netspec.report.tables import Table
from netspec.runtime.batches import batch_ranges, run_batches
from netspec.runtime.network import Network
from netspec.runtime.profile import Profile, read_profile

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
    autotune: bool | None
    jit: bool | None
    mode: str
    seed: int
    runner: Path | None


def run_network(options: Options) -> None:
    """Load, run, print, write."""
    from netspec.cli.run_folder import folder_of, run_folder, run_on_engine

    profile = read_profile(options.runner) if options.runner else Profile(runner=1)
    folder = folder_of(options.output)
    with _notes_on_stderr():
        net = load(
            options.file,
            weights=options.weights,
            # the workers of a cluster have the device, this machine need not
            device="cpu" if profile.engine.kind == "ray" else options.device,
            dtype=options.dtype,
            precision=options.precision,
            threads=options.threads,
            seed=options.seed,
            mode=options.mode,
            runner=options.runner,
            autotune=options.autotune,
            jit=options.jit,
        )
        wanted = net.wanted(options.taps, options.only or None)
        if folder is not None:
            run_folder(options, net, wanted, profile, *folder)
            return
        target = _target(options.output, list(wanted), options.taps)
        screen = sys.stderr if options.output == "-" else sys.stdout
        batch_size = options.batch_size or net.batch_size
        if profile.engine.kind == "ray":
            results, written = run_on_engine(options, net, wanted, profile, target)
        elif batch_size is not None:
            arrays = input_rows(options.inputs, net, wanted)
            ranges = batch_ranges(net, arrays, wanted, batch_size)
            with progress("batches", len(ranges)) as advance:
                results, written = run_batches(net, arrays, wanted, ranges, target, advance)
        else:
            results, written = net.compute(input_arrays(options.inputs, net, wanted), wanted), False
        print(describe(results), file=screen)
        for text in best_classes(net, results):
            print(text, file=screen)
        if not written:
            _write(target, results, options)
        if target is not None:
            print(f"wrote {target}", file=screen)


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
        raise typer.BadParameter(
            f"expected a .npy, .npz or .png file, or a folder ({path}/), got {path}", param_hint="--output"
        )
    if path.suffix == ".png":
        shown = _shown(names, taps)
        if len(shown) > 1:
            raise typer.BadParameter(
                f"{path} shows one tensor, there are {len(shown)} ({', '.join(shown)}): "
                + ("tap one of them" if taps else "choose one with --tap"),
                param_hint="--output",
            )
        check_pillow(path)
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
    return output_table((n, array.shape, str(array.dtype), range_of(array)) for n, array in results.items())


def output_table(rows: Iterable[tuple[str, Sequence[int], str, Range]]) -> str:
    """The table of outputs, from name, shape, dtype and range of each."""
    table = Table(("output", "shape", "dtype", "min", "max"), "lllrr")
    for name, shape, dtype, found in rows:
        table.add(name, str(list(shape)), dtype, *found.cells())
    return table.text()


def best_classes(net: Network, results: Mapping[str, Any], more: int = 0) -> Iterator[str]:
    """For outputs with labels: the best five of the first rows; `more` rows are not in `results`."""
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
        left = len(rows) + more * (len(rows) // max(len(array), 1)) - ROWS_SHOWN
        if left > 0:
            yield f"{name}: {left} more rows"


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
def progress(what: str, total: int, done: int = 0) -> Iterator[Callable[[], None]]:
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

    with Progress(console=Console(stderr=True), redirect_stdout=False) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda: bar.advance(task)
