"""Input files as rows: nothing but headers is read until a batch asks for its rows."""

from __future__ import annotations

import glob as globbing
import os
import zipfile
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from netspec.diagnostics import InputError
from netspec.engine import parquet
from netspec.interop.arrays import ARRAYS, PICTURES, _natural, read_input
from netspec.network import InputSpec
from netspec.runtime.streaming import release

PARQUET = ".parquet"
ENDINGS = (*ARRAYS, *PICTURES, PARQUET)


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of a source: its rows, and what shows whether it was changed (bytes; nanoseconds)."""

    path: str
    rows: int
    size: int
    modified: int


@dataclass(frozen=True, eq=False)
class Source:
    """The rows of some files, one after the other: sliced like an array, read when it is sliced.

    column: of Parquet files; ids: their columns that are no input.
    """

    name: str
    spec: InputSpec
    files: tuple[InputFile, ...]
    row_shape: tuple[int, ...]
    dtype: Any
    column: str = ""
    ids: tuple[str, ...] = ()
    _starts: list[int] = field(default_factory=list)
    _last: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all rows together."""
        return (sum(file.rows for file in self.files), *self.row_shape)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": {}}  # a mapped file does not travel

    def __getitem__(self, rows: slice) -> Any:
        """The rows of a slice without step, as an array."""
        import numpy as np

        start, stop, _ = rows.indices(self.shape[0])
        parts = [self._read(file, a, b) for file, a, b in self.pieces(start, stop)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.zeros((0, *self.row_shape), self.dtype)

    def pieces(self, start: int, stop: int) -> list[tuple[InputFile, int, int]]:
        """The files that hold rows start..stop, with the first and last row of each that is meant."""
        if not self._starts:
            self._starts.extend(accumulate((file.rows for file in self.files), initial=0))
        found = []
        for index in range(max(bisect_right(self._starts, start) - 1, 0), len(self.files)):
            first = self._starts[index]
            if first >= stop:
                break
            a, b = max(start - first, 0), min(stop - first, self.files[index].rows)
            if a < b:
                found.append((self.files[index], a, b))
        return found

    def _read(self, file: InputFile, start: int, stop: int) -> Any:
        path = Path(file.path)
        if self.column:
            column = _columns(path)[self.column]
            assert column is not None
            table = parquet.read_rows(path, [self.column], start, stop)
            rows = parquet.to_array(path, self.column, column, table.column(self.column))
        else:
            rows = self._opened(path)[start:stop]
        if rows.shape != (stop - start, *self.row_shape):
            raise InputError(
                f"{path}: rows of {list(rows.shape[1:])}, expected {stop - start} rows of {list(self.row_shape)}"
            )
        return rows.astype(self.dtype, copy=False)

    def _opened(self, path: Path) -> Any:
        """The array of a file; that of the last file is kept, since batches ask for it in turn."""
        key = str(path)
        if key not in self._last:
            self._last.clear()
            self._last[key] = _with_rows(read_input(key, self.spec.shape, self.name, self.spec.picture), self)
        return self._last[key]

    def release(self) -> None:
        """Let go of the memory that mapped rows were read into."""
        for array in self._last.values():
            release(array)

    def id_columns(self, start: int, stop: int) -> Any:
        """The columns of rows start..stop that are no input: those of Parquet, or file and row."""
        pa = parquet.pyarrow()
        tables = []
        for file, a, b in self.pieces(start, stop):
            if self.column:
                table = parquet.read_rows(Path(file.path), self.ids, a, b)
            else:
                names = pa.array([file.path] * (b - a), pa.string())
                table = pa.table({"file": names, "row": pa.array(range(a, b), pa.int64())})
            tables.append(table)
        return pa.concat_tables(tables).combine_chunks()


def is_parquet(text: str) -> bool:
    """Whether an `--input` means Parquet files."""
    return any(file.suffix.lower() == PARQUET for file in list_files(text))


def list_files(text: str) -> list[Path]:
    """The files that a path, a folder or a glob means, in natural order. Raises `InputError`."""
    path = Path(text)
    if path.is_dir():
        files = [p for p in path.iterdir() if p.suffix.lower() in ENDINGS and not p.name.startswith(".")]
        if not files:
            raise InputError(f"{path}: the folder has no .npy, .npz, .parquet, .png or .jpg files")
        return sorted(files, key=_natural)
    if not path.exists() and any(c in text for c in "*?["):
        files = [Path(p) for p in globbing.glob(text, recursive=True)]
        if not files:
            raise InputError(f"{text}: no file matches")
        return sorted(files, key=_natural)
    return [path]


def open_source(
    files: Sequence[Path], name: str, spec: InputSpec, others: Sequence[str] = (), alone: bool = False
) -> Source:
    """The rows of input `name`. Raises `InputError` for files that cannot be its rows.

    others: columns of Parquet files that belong to other inputs; alone: no other input is needed.
    """
    import numpy as np

    columnar = files[0].suffix.lower() == PARQUET
    for file in files:
        if (file.suffix.lower() == PARQUET) != columnar:
            raise InputError(f"{file}: Parquet files and other files cannot be the rows of one input")
    if columnar:
        return _open_parquet(files, name, spec, others, alone)
    seen: list[InputFile] = []
    first: tuple[int, ...] | None = None
    dtype: Any = None
    for file in files:
        picture = file.suffix.lower() in PICTURES
        if picture and first is not None and file.exists():
            rows, shape, kind = 1, first, np.dtype("f4")  # whether it fits is seen when it is decoded
        else:
            rows, *rest, kind = _header(file, name, spec)
            shape = tuple(rest)
        first = shape if first is None else first
        if shape != first:
            raise InputError(
                f"{file} has rows of {list(shape)}, {files[0]} of {list(first)}: only the first axis may differ"
            )
        dtype = kind if dtype is None else np.promote_types(dtype, kind)
        seen.append(_stamped(file, rows))
    assert first is not None
    return Source(name, spec, tuple(seen), first, dtype)


def _open_parquet(
    files: Sequence[Path], name: str, spec: InputSpec, others: Sequence[str], alone: bool
) -> Source:
    import numpy as np

    seen: list[InputFile] = []
    column, ids, shape, dtype = "", None, None, None
    for path in files:
        with parquet.open_file(path) as file:
            columns = parquet.columns_of(path, file)
            rows = file.metadata.num_rows
        chosen = parquet.pick(path, columns, name, alone)
        rest = tuple(c for c in columns if c != chosen and c not in others)
        found = columns[chosen]
        assert found is not None
        own = found.shape
        if own is None:
            head = parquet.read_rows(path, [chosen], 0, min(rows, 1)).column(chosen)
            own = parquet.to_array(path, chosen, found, head).shape[1:]
        if ids is not None and (chosen, rest, own) != (column, ids, shape):
            raise InputError(f"{path}: its columns or the shape of {chosen} differ from those of {files[0]}")
        column, ids, shape = chosen, rest, own
        dtype = np.dtype(found.dtype) if dtype is None else np.promote_types(dtype, found.dtype)
        seen.append(_stamped(path, rows))
    assert shape is not None and ids is not None
    return Source(name, spec, tuple(seen), shape, dtype, column, ids)


def _columns(path: Path) -> dict[str, parquet.Column | None]:
    with parquet.open_file(path) as file:
        return parquet.columns_of(path, file)


def _stamped(path: Path, rows: int) -> InputFile:
    status = path.stat()
    return InputFile(os.path.abspath(path), rows, status.st_size, status.st_mtime_ns)


def _header(path: Path, name: str, spec: InputSpec) -> tuple[Any, ...]:
    """(rows, *row shape, dtype) of a file; of an archive without unpacking it."""
    if path.suffix.lower() == ".npz" and path.is_file():
        found = _archive_header(path, name)
        if found is not None:
            shape, dtype = found
            return (*((1,) if len(shape) == len(spec.shape) - 1 else ()), *shape, dtype)
    array = read_input(str(path), spec.shape, name, spec.picture)
    if array.ndim == len(spec.shape) - 1:
        array = array[None]
    if not array.ndim:
        raise InputError(f"{path}: holds a single number, no rows")
    return (*array.shape, array.dtype)


def _archive_header(path: Path, name: str) -> tuple[tuple[int, ...], Any] | None:
    """Shape and dtype of the array that input `name` is; None where the full reader has to say what is wrong."""
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.namelist()
            entry = f"{name}.npy" if f"{name}.npy" in entries else entries[0]
            if entry != f"{name}.npy" and len(entries) > 1:
                return None
            with archive.open(entry) as file:
                version = np.lib.format.read_magic(file)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(file)
                return (shape, dtype) if shape and dtype.kind in "biufc" else None
    except (OSError, ValueError, zipfile.BadZipFile, IndexError, NotImplementedError, RuntimeError):
        return None


def _with_rows(array: Any, source: Source) -> Any:
    return array[None] if array.ndim == len(source.row_shape) else array
