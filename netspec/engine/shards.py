"""One shard: its batches computed, its file written beside and renamed."""

from __future__ import annotations

import glob as globbing
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from netspec.diagnostics import InputError
from netspec.engine import parquet
from netspec.engine.job import Job, Shard
from netspec.interop.files import temporary_beside
from netspec.report.ranges import Range, range_of
from netspec.runtime.network import Network
from netspec.runtime.streaming import NpyWriter, release

ATTEMPTS = 3
"""How often a shard is begun before it is given up: something in it kills the process that computes it."""


@dataclass(slots=True)
class Done:
    """A shard that is finished, with the ranges of its outputs; or the reason why it is not."""

    index: int
    rows: int
    ranges: dict[str, Range] = field(default_factory=dict)
    error: str | None = None
    restarted: bool = False

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Done:
        """Back from JSON values."""
        ranges = {name: Range(**r) for name, r in value["ranges"].items()}
        return cls(**{**value, "ranges": ranges})


def compute_shard(net: Network, job: Job, shard: Shard) -> Done:
    """Compute a shard and put its file into the folder; a wrong input is told in `error`, not raised."""
    begun = unfinished(job.folder, shard.file)
    if len(begun) >= ATTEMPTS:
        remove(begun)
        reason = "not enough memory? a smaller batch_size or fewer workers need less"
        return Done(shard.index, 0, error=f"{ATTEMPTS} workers died while they computed it ({reason})")
    target = job.folder / shard.file
    part = Path(temporary_beside(target))
    try:
        ranges = _write(net, job, shard, part)
        os.replace(part, target)
    except InputError as error:
        return Done(shard.index, 0, error=str(error))
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    remove(begun)
    return Done(shard.index, shard.stop - shard.start, ranges)


def _write(net: Network, job: Job, shard: Shard, part: Path) -> dict[str, Range]:
    """All batches of a shard into a file; the ranges of the outputs."""
    ranges = {name: Range() for name in job.outputs}
    with part.open("r+b") as file:
        with ExitStack() as stack:
            writer = _WRITERS[job.format](file, job, shard, stack)
            for start, stop in job.batches(shard):
                found = _batch(net, job, start, stop)
                for name, rows in found.items():
                    ranges[name].add(rows)
                writer.write(found, start, stop)
            writer.close()
        file.flush()
        os.fsync(file.fileno())  # a name that is there after a power cut has to mean a whole file
    return ranges


def remove(files: Iterable[Path]) -> None:
    """Files that may be gone already."""
    for file in files:
        file.unlink(missing_ok=True)


def _batch(net: Network, job: Job, start: int, stop: int) -> dict[str, Any]:
    inputs = {name: source[start:stop] for name, source in job.sources.items()}
    found = net.compute(inputs, job.wanted)
    for source in job.sources.values():
        release(source)
    return found


def unfinished(folder: Path, file: str = "part-*") -> list[Path]:
    """What shards that were begun and never finished have left in the folder."""
    name = file if file == "part-*" else globbing.escape(file)
    return list(folder.glob(f".{name}.*.part"))


# --- formats ----------------------------------------------------------------------------------------


class _Writer(Protocol):
    def write(self, found: Mapping[str, Any], start: int, stop: int) -> None:
        """The outputs of rows start..stop."""

    def close(self) -> None:
        """After the last batch."""


class _Npy:
    def __init__(self, file: IO[bytes], job: Job, shard: Shard, stack: ExitStack) -> None:
        self.writer = NpyWriter(file, shard.stop - shard.start)

    def write(self, found: Mapping[str, Any], start: int, stop: int) -> None:
        (rows,) = found.values()
        self.writer.write(rows)

    def close(self) -> None:
        pass


class _Npz:
    """Outputs come a batch at a time, an archive wants one array after the other: a shard's are kept."""

    def __init__(self, file: IO[bytes], job: Job, shard: Shard, stack: ExitStack) -> None:
        self.archive = stack.enter_context(zipfile.ZipFile(file, "w"))
        self.parts: dict[str, list[Any]] = {name: [] for name in job.outputs}

    def write(self, found: Mapping[str, Any], start: int, stop: int) -> None:
        for name, rows in found.items():
            self.parts[name].append(rows)

    def close(self) -> None:
        for name, parts in self.parts.items():
            with self.archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                writer = NpyWriter(entry, sum(map(len, parts)))
                for rows in parts:
                    writer.write(rows)


class _Parquet:
    """A row group for each batch: the columns that are kept, then the outputs."""

    def __init__(self, file: IO[bytes], job: Job, shard: Shard, stack: ExitStack) -> None:
        self.pa, self.source = parquet.pyarrow(), job.id_source
        self.fields = {n: parquet.output_field(n, o.shape, o.dtype) for n, o in job.outputs.items()}
        self.file, self.stack = file, stack
        self.writer: Any = None

    def write(self, found: Mapping[str, Any], start: int, stop: int) -> None:
        table = self.source.id_columns(start, stop)
        for name, rows in found.items():
            field = self.fields[name]
            table = table.append_column(field, parquet.output_column(field, rows))
        if self.writer is None:
            self.writer = self.stack.enter_context(parquet.open_writer(self.file, table.schema))
        self.writer.write_table(table)

    def close(self) -> None:
        pass


_WRITERS: dict[str, type[_Npy] | type[_Npz] | type[_Parquet]] = {
    "npy": _Npy,
    "npz": _Npz,
    "parquet": _Parquet,
}


# --- reading back -----------------------------------------------------------------------------------


def read_shard(job: Job, shard: Shard) -> Iterator[dict[str, Any]]:
    """The outputs of a finished shard, a block at a time. Raises `InputError` for a damaged file."""
    import numpy as np

    path = job.folder / shard.file
    try:
        if job.format == "parquet":
            yield from parquet.read_outputs(path, list(job.outputs))
        elif job.format == "npy":
            yield {name: np.load(path, mmap_mode="r", allow_pickle=False) for name in job.outputs}
        else:
            with np.load(path, allow_pickle=False) as archive:
                yield {name: archive[name] for name in job.outputs}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: the shard is damaged ({error})") from None


def look_at_shard(job: Job, shard: Shard) -> Done:
    """A shard that was finished by an earlier run, as if it had just been; `error` says what is wrong with it."""
    done = Done(shard.index, shard.stop - shard.start, {name: Range() for name in job.outputs})
    rows = dict.fromkeys(job.outputs, 0)
    try:
        for found in read_shard(job, shard):
            for name, array in found.items():
                expected = job.outputs[name]
                if array.shape[1:] != expected.shape or str(array.dtype) != expected.dtype:
                    raise InputError(
                        f"{shard.file}: {name} has rows of {list(array.shape[1:])}, {array.dtype}"
                    )
                rows[name] += len(array)
                done.ranges[name].merge(range_of(array))
        if set(rows.values()) != {done.rows}:
            raise InputError(f"{shard.file}: has {rows} rows, expected {done.rows}")
    except InputError as error:
        done.error = str(error)
    return done
