"""Parquet files with tensor columns, as Arrow and Ray write them, and nothing unpickled on the way.

A column is one input or output: a row of it is one row of the tensor. Read are Arrow's canonical
`arrow.fixed_shape_tensor`, Ray's `ray.data.arrow_tensor` and `_v2` (with the shape as JSON, which Ray has
written since 2.55; before, it was a pickle, and that is refused), lists of numbers of one length, and plain
numbers. Written is `arrow.fixed_shape_tensor`, and plain columns for outputs with one number a row.
https://arrow.apache.org/docs/format/CanonicalExtensions.html#fixed-shape-tensor
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from netspec.diagnostics import DeviceError, InputError, did_you_mean

RAY_TENSORS = ("ray.data.arrow_tensor", "ray.data.arrow_tensor_v2")
NAME, METADATA = b"ARROW:extension:name", b"ARROW:extension:metadata"
ROWS_READ = 256
"""Rows of a row group that are decoded at a time."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that can be a tensor: the shape of one row (None: as long as its first list) and the dtype."""

    shape: tuple[int, ...] | None
    dtype: str


def pyarrow() -> Any:
    """The library. Raises `DeviceError` where it is not installed."""
    try:
        import_module("pyarrow.parquet")
        return import_module("pyarrow")
    except ImportError:
        raise DeviceError("Parquet files need pyarrow: pip install 'netspec-runner[parquet]'") from None


# --- reading ----------------------------------------------------------------------------------------


def open_file(path: Path) -> Any:
    """A `pyarrow.parquet.ParquetFile`. Raises `InputError`."""
    pa = pyarrow()
    try:
        return pa.parquet.ParquetFile(path, memory_map=False, pre_buffer=False, buffer_size=1 << 20)
    except PermissionError:
        raise InputError(f"{path}: no permission to read it") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path}: not a Parquet file that can be read ({_line(error)})") from None


def columns_of(path: Path, file: Any) -> dict[str, Column | None]:
    """The columns of an open file by name; None for what can be no tensor (texts, dates, structures)."""
    return {field.name: _column(path, field) for field in file.schema_arrow}


def _column(path: Path, field: Any) -> Column | None:
    pa = pyarrow()
    kind = field.type
    name = _extension(field)
    storage = getattr(kind, "storage_type", kind)
    if name == "arrow.fixed_shape_tensor":
        order = kind.permutation
        if order is not None and list(order) != list(range(len(order))):
            raise InputError(f"{path}: column {field.name} is stored with permuted axes, which is not read")
        return Column(tuple(kind.shape), _dtype(kind.value_type))
    if name in RAY_TENSORS:
        return Column(_ray_shape(path, field), _dtype(storage.value_type))
    if name is not None:
        return None
    if pa.types.is_fixed_size_list(kind) and _is_number(kind.value_type):
        return Column((kind.list_size,), _dtype(kind.value_type))
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_number(kind.value_type):
        return Column(None, _dtype(kind.value_type))
    return Column((), _dtype(kind)) if _is_number(kind) else None


def _extension(field: Any) -> str | None:
    """The name of an extension type, also of one that is not registered in this process."""
    name = getattr(field.type, "extension_name", None)
    if name is None and field.metadata and NAME in field.metadata:
        name = field.metadata[NAME].decode("utf-8", "replace")
    return name


def _ray_shape(path: Path, field: Any) -> tuple[int, ...]:
    shape = getattr(field.type, "shape", None)
    if shape is None:
        try:
            shape = json.loads((field.metadata or {})[METADATA])
        except (KeyError, ValueError):
            raise InputError(
                f"{path}: column {field.name} keeps its shape as a pickle (Ray 2.49 to 2.54), which is never "
                "loaded; write the file again with a newer Ray"
            ) from None
    if not isinstance(shape, list | tuple) or not all(type(d) is int and d >= 0 for d in shape):
        raise InputError(f"{path}: column {field.name} has the shape {shape!r}, expected a list of sizes")
    return tuple(shape)


def _is_number(kind: Any) -> bool:
    types = pyarrow().types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _dtype(kind: Any) -> str:
    import numpy as np

    return str(np.dtype(kind.to_pandas_dtype()))


def pick(path: Path, columns: Mapping[str, Column | None], name: str, alone: bool) -> str:
    """The column of input `name`: the one of its name or, where it is asked for `alone`, the only tensor."""
    if columns.get(name) is not None:
        return name
    tensors = [c for c, column in columns.items() if column is not None and column.shape != ()]
    if alone and len(tensors) == 1 and name not in columns:
        return tensors[0]
    if name in columns:
        raise InputError(f"{path}: column {name} holds no numbers")
    advice = did_you_mean(name, list(columns)) or f"it has {', '.join(columns) or 'none'}"
    raise InputError(f"{path}: has no column {name}; {advice}")


def read_rows(path: Path, names: Sequence[str], start: int, stop: int) -> Any:
    """Rows start..stop of some columns, as a `pyarrow.Table`; only the row groups that hold them are read."""
    pa = pyarrow()
    with open_file(path) as file:
        schema = pa.schema([file.schema_arrow.field(name) for name in names])
        pieces = list(_pieces(path, file, names, start, stop))
    return pa.Table.from_batches(pieces, schema=pieces[0].schema if pieces else schema)


def _pieces(path: Path, file: Any, names: Sequence[str], start: int, stop: int) -> Iterator[Any]:
    """Rows start..stop as record batches, in order."""
    pa = pyarrow()
    groups, before = _row_groups(file.metadata, start, stop)
    try:
        for batch in file.iter_batches(ROWS_READ, row_groups=groups, columns=list(names)):
            first, last = max(start - before, 0), min(stop - before, batch.num_rows)
            before += batch.num_rows
            if first < last:
                yield batch.slice(first, last - first).select(list(names))
            if before >= stop:
                break
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: the file is damaged ({_line(error)})") from None


def _row_groups(metadata: Any, start: int, stop: int) -> tuple[list[int], int]:
    """The row groups that hold rows start..stop, and the number of rows before them."""
    groups: list[int] = []
    first = before = 0
    for index in range(metadata.num_row_groups):
        after = first + metadata.row_group(index).num_rows
        if first < stop and after > start:
            before = before if groups else first
            groups.append(index)
        first = after
    return groups, before


def to_array(path: Path, name: str, column: Column, chunks: Any) -> Any:
    """A column of a table as an array (rows, *shape). Raises `InputError` for gaps and uneven lists."""
    import numpy as np

    parts = [_chunk(path, name, column, chunk) for chunk in chunks.chunks]
    if not parts:
        return np.zeros((0, *(column.shape or ())), column.dtype)
    if len({part.shape[1:] for part in parts}) > 1:
        raise InputError(f"{path}: column {name} has lists of different lengths")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _chunk(path: Path, name: str, column: Column, chunk: Any) -> Any:
    import numpy as np

    pa = pyarrow()
    storage = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
    nested = hasattr(storage.type, "value_type")
    values = storage.flatten() if nested else storage
    if storage.null_count or values.null_count:
        raise InputError(f"{path}: column {name} has empty cells")
    array = values.to_numpy(zero_copy_only=False).astype(column.dtype, copy=False)
    if not nested:
        return array
    rows = len(storage)
    if not pa.types.is_fixed_size_list(storage.type):
        lengths = np.unique(np.diff(storage.offsets.to_numpy(zero_copy_only=False)))
        if len(lengths) > 1:
            raise InputError(f"{path}: column {name} has lists of {lengths[0]} to {lengths[-1]} numbers")
    shape = column.shape if column.shape is not None else (len(array) // max(rows, 1),)
    if len(array) != rows * math.prod(shape):
        raise InputError(f"{path}: column {name} says its shape is {list(shape)}, its rows have "
                         f"{len(array) // max(rows, 1)} numbers")  # fmt: skip
    return array.reshape(rows, *shape)


# --- writing ----------------------------------------------------------------------------------------


def output_field(name: str, shape: Sequence[int], dtype: str) -> Any:
    """The field of an output whose rows have this shape. Raises `InputError` for what Parquet cannot hold."""
    import numpy as np

    pa = pyarrow()
    if np.dtype(dtype).kind == "c":
        raise InputError(
            f"output {name} is {dtype}, which Parquet cannot hold: write --output 'folder/*.npy'"
        )
    if 0 in shape:
        raise InputError(f"output {name} has rows of {list(shape)}, nothing that Parquet could hold")
    value = pa.from_numpy_dtype(np.dtype(dtype))
    return pa.field(name, pa.fixed_shape_tensor(value, list(shape)) if shape else value)


def output_column(field: Any, rows: Any) -> Any:
    """Rows of an output as the array of its field."""
    import numpy as np

    pa = pyarrow()
    flat = pa.array(np.ascontiguousarray(rows).reshape(-1))
    if not isinstance(field.type, pa.BaseExtensionType):
        return flat
    storage = pa.FixedSizeListArray.from_arrays(flat, math.prod(rows.shape[1:]))
    return pa.ExtensionArray.from_storage(field.type, storage)


def open_writer(file: IO[bytes], fields: Sequence[Any]) -> Any:
    """A `pyarrow.parquet.ParquetWriter` of these columns."""
    pa = pyarrow()
    return pa.parquet.ParquetWriter(file, pa.schema(fields))


def read_outputs(path: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The outputs of a file that was written here, a few rows at a time."""
    pa = pyarrow()
    with open_file(path) as file:
        columns = columns_of(path, file)
        for piece in _pieces(path, file, names, 0, file.metadata.num_rows):
            table = pa.Table.from_batches([piece])
            found = {name: columns[name] for name in names}
            yield {n: to_array(path, n, column, table.column(n)) for n, column in found.items() if column}


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
