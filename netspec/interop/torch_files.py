"""`.pt` and `.pth`: what `torch.save` writes, in both its formats, without PyTorch and without running it.

    zip     a folder of any name with data.pkl, byteorder, and one stored entry per storage in data/
    legacy  five pickles (magic number, protocol, system, object, storage keys), then the raw storages
    tar     of 2016; refused

Tensors are views into the mapped file; bfloat16, which NumPy does not have, is widened to float32. Source:
https://pytorch.org/docs/stable/notes/serialization.html and torch/serialization.py
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np

from netspec.diagnostics import WeightsError, escape
from netspec.interop.archive import Archive, growth_limit, map_file
from netspec.interop.torch_pickle import (
    LARGEST_PICKLE,
    PickleError,
    Tensor,
    Unsupported,
    load_pickle,
)

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params",
    "params_ema", "ema_state_dict", "model_ema", "ema",
)  # fmt: skip
"""Keys under which training scripts keep the state dict, the likeliest first."""

_NUMPY = {
    "float64": "f8", "float32": "f4", "float16": "f2", "bfloat16": "u2", "complex128": "c16",
    "complex64": "c8", "bool": "u1", "int64": "i8", "int32": "i4", "int16": "i2", "int8": "i1",
    "uint64": "u8", "uint32": "u4", "uint16": "u2", "uint8": "u1",
}  # fmt: skip
_UNITS = {name: np.dtype(code).itemsize for name, code in _NUMPY.items()} | {
    "qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1,
}  # fmt: skip
"""Bytes of one element of a storage."""
_DEEPEST_WRAPPER = 3


@dataclass(frozen=True, slots=True)
class TorchCheckpoint:
    """Arrays by name; the stored dtype where NumPy has none such; and what was passed over, in words."""

    arrays: dict[str, Any]
    stored: dict[str, str]
    notes: tuple[str, ...]


def read_torch(path: Path) -> TorchCheckpoint:
    """The state dict of a `.pt` file. Raises `WeightsError`, and never runs pickled code."""
    data = map_file(path)
    try:
        if data[:4] == b"PK\x03\x04":
            source: _Source = _read_zip(path)
        elif data[257:262] == b"ustar":
            raise WeightsError(
                f"{path}: is in PyTorch's tar format of 2016, which is not supported; load it with PyTorch "
                "and save it again"
            )
        else:
            source = _read_legacy(path, data)
    except PickleError as error:
        raise WeightsError(f"{path}: {error}") from None
    found, notes = _state_dict(path, source.root)
    arrays, stored = source.arrays(found)
    return TorchCheckpoint(arrays, stored, tuple(notes))


# --- the two formats --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Source:
    """The object of a file, and how to come by its storages."""

    path: Path
    root: Any
    size: int
    order: Literal["<", ">"] = "<"
    buffers: dict[str, Any] = field(default_factory=dict)
    converted: dict[tuple[str, str], Any] = field(default_factory=dict)

    def buffer(self, key: str) -> Any:
        """The bytes of a storage."""
        if key not in self.buffers:
            self.refuse(f"the storage {escape(key[:80])} is missing")
        return self.buffers[key]

    def refuse(self, what: str) -> NoReturn:
        raise WeightsError(f"{self.path}: {what}")

    def arrays(self, found: dict[str, Tensor | Unsupported]) -> tuple[dict[str, Any], dict[str, str]]:
        """Tensors as arrays, and the dtypes that were widened."""
        arrays: dict[str, Any] = {}
        stored: dict[str, str] = {}
        claimed = 0
        for name, tensor in found.items():
            if isinstance(tensor, Unsupported):
                raise WeightsError(
                    f"{self.path}: tensor {escape(name)} {tensor.reason}, which is not supported"
                )
            arrays[name] = self.array(name, tensor)
            claimed += arrays[name].nbytes
            if tensor.dtype == "bfloat16":
                stored[name] = "bfloat16"
        if claimed > growth_limit(self.size):
            self.refuse(f"its tensors claim {claimed:,} bytes, the file has {self.size:,}")
        return arrays, stored

    def array(self, name: str, tensor: Tensor) -> Any:
        """One tensor, as a view of its storage where its dtype allows that."""
        place = f"{self.path}: tensor {escape(name)}"
        if tensor.dtype not in _NUMPY:
            raise WeightsError(f"{place} has dtype {tensor.dtype}, which is not supported")
        shape, strides, first = tensor.shape, tensor.strides, tensor.offset
        if len(shape) != len(strides) or min((0, first, *shape, *strides)) < 0:
            raise WeightsError(f"{place} is badly described (shape, stride or offset)")
        try:
            if 0 in shape:
                return np.empty(
                    shape, {"bfloat16": "f4", "bool": "?"}.get(tensor.dtype, _NUMPY[tensor.dtype])
                )
            numbers = self.numbers(place, tensor)
            needed = first + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
            if needed > len(numbers):
                raise WeightsError(
                    f"{place} reaches to element {needed} of a storage that has {len(numbers)}"
                )
            size = numbers.dtype.itemsize
            steps = tuple(stride * size for stride in strides)
            array: Any = np.ndarray(shape, numbers.dtype, numbers, first * size, steps)
        except (ValueError, OverflowError, MemoryError) as error:
            raise WeightsError(f"{place} is badly described ({error})") from None
        if tensor.conjugate:
            array = self.copied(place, array, np.conjugate)
        return self.copied(place, array, np.negative) if tensor.negative else array

    def copied(self, place: str, array: Any, function: Any) -> Any:
        """A conjugated or negated tensor: the only kinds that must be computed."""
        if array.nbytes > growth_limit(self.size):
            raise WeightsError(f"{place} claims {array.nbytes:,} bytes, the file has {self.size:,}")
        return function(array)

    def numbers(self, place: str, tensor: Tensor) -> Any:
        """The tensor's storage as a flat array; bfloat16 and bool are converted, once for each storage."""
        storage = tensor.storage
        data = self.buffer(storage.key)
        if storage.dtype not in _NUMPY:
            raise WeightsError(f"{place} has dtype {storage.dtype}, which is not supported")
        unit = _UNITS[storage.dtype]
        if storage.numel * unit > len(data):
            raise WeightsError(
                f"{place}: its storage claims {storage.numel * unit:,} bytes, "
                f"the file has {len(data):,} for it"
            )
        first, count = storage.view or (0, storage.numel)
        if first + count > storage.numel:
            raise WeightsError(f"{place}: its storage lies outside the one it is a part of")
        dtype = np.dtype(_NUMPY[tensor.dtype]).newbyteorder(self.order)
        flat: Any = np.ndarray((count * unit // dtype.itemsize,), dtype, data, first * unit)
        if tensor.dtype not in ("bfloat16", "bool"):
            return flat
        key = (f"{storage.key}:{first}:{count}", tensor.dtype)
        if key not in self.converted:
            wide = flat != 0 if tensor.dtype == "bool" else (flat.astype("<u4") << 16).view("<f4")
            self.converted[key] = wide
        return self.converted[key]


@dataclass(slots=True)
class _Archived(_Source):
    """Storages are entries of a zip archive."""

    archive: Archive | None = None
    folder: str = ""

    def buffer(self, key: str) -> Any:
        assert self.archive is not None
        if key not in self.buffers:
            name = f"{self.folder}data/{key}"
            if name not in self.archive:
                self.refuse(f"the storage {escape(name[:200])} is missing from the archive")
            self.buffers[key] = self.archive.view(name)
        return self.buffers[key]


def _read_zip(path: Path) -> _Source:
    archive = Archive(path)
    roots = [n for n in archive.names if n == "data.pkl" or n.endswith("/data.pkl")]
    if any(n.split("/")[-1] == "constants.pkl" for n in archive.names):
        raise WeightsError(
            f"{path}: is a TorchScript archive (torch.jit.save), not a checkpoint: "
            "save model.state_dict() instead"
        )
    if not roots:
        raise WeightsError(f"{path}: is a zip archive without a data.pkl: torch.save did not write it")
    if len(roots) > 1:
        raise WeightsError(f"{path}: the archive holds {len(roots)} data.pkl, torch.save writes one")
    folder = roots[0].removesuffix("data.pkl")
    order = bytes(archive.view(folder + "byteorder")[:16]) if folder + "byteorder" in archive else b"little"
    if order not in (b"little", b"big"):
        raise WeightsError(f"{path}: the archive's byteorder is {order!r}, neither little nor big")
    if archive.size(roots[0]) > LARGEST_PICKLE:
        raise WeightsError(f"{path}: the pickle in it is longer than {LARGEST_PICKLE >> 20} MiB")
    root = load_pickle(bytes(archive.view(roots[0]))).value
    return _Archived(
        path, root, len(archive.data), "<" if order == b"little" else ">", archive=archive, folder=folder
    )


def _read_legacy(path: Path, data: mmap.mmap) -> _Source:
    magic = load_pickle(data)
    if type(magic.value) is not int or magic.value != MAGIC:
        raise WeightsError(f"{path}: is a pickle, but torch.save did not write it; it is not loaded")
    protocol = load_pickle(data, magic.end)
    if protocol.value != PROTOCOL:
        raise WeightsError(f"{path}: the legacy format's protocol is not {PROTOCOL}: the file is damaged")
    system = load_pickle(data, protocol.end)  # torch writes the numbers little-endian on every machine
    root = load_pickle(data, system.end)
    keys = load_pickle(data, root.end)
    if type(keys.value) is not list or not all(type(key) is str for key in keys.value):
        raise WeightsError(f"{path}: the list of storages is damaged")
    source = _Source(path, root.value, len(data))
    view, at = memoryview(data), keys.end
    for key in keys.value:
        if key not in root.storages:
            raise WeightsError(f"{path}: no tensor uses the storage {escape(key[:80])}, its size is unknown")
        count = int.from_bytes(data[at : at + 8], "little", signed=True)
        size = count * _UNITS[root.storages[key]]
        at += 8
        if count < 0 or at + size > len(data):
            raise WeightsError(
                f"{path}: the file is truncated: a storage claims {size:,} bytes, "
                f"{max(len(data) - at, 0):,} are left"
            )
        source.buffers[key] = view[at : at + size]
        at += size
    return source


# --- the state dict ---------------------------------------------------------------------------------


def _state_dict(path: Path, root: Any) -> tuple[dict[str, Tensor | Unsupported], list[str]]:
    """The mapping of names to tensors that is meant, and notes on where it was and what is passed over."""
    if type(root) in (Tensor, Unsupported):
        raise WeightsError(f"{path}: holds one tensor, not a state dict; save a mapping of names to tensors")
    if type(root) is not dict:
        raise WeightsError(f"{path}: holds no state dict (a mapping of names to tensors)")
    found = list(_mappings(root))
    if not found:
        if not root:
            return {}, []
        raise WeightsError(f"{path}: there is no state dict in it (no mapping of names to tensors)")
    usual = [entry for entry in found if all(key in WRAPPERS for key in entry[0])]
    where, mapping = max(
        usual or found, key=lambda entry: (_tensors(entry[1]), -len(entry[0]), -_rank(entry[0]))
    )
    notes = []
    if where:
        others = [escape(str(key)[:40]) for key in root if key != where[0] and isinstance(key, str | int)]
        beside = (
            f" (beside it: {', '.join(others[:8])}{', ...' if len(others) > 8 else ''})" if others else ""
        )
        notes.append(f"the weights are those under `{'.'.join(map(escape, where))}`{beside}")
    skipped = [name for name, value in mapping.items() if type(value) not in (Tensor, Unsupported)]
    if skipped:
        shown = ", ".join(escape(str(name)[:40]) if isinstance(name, str) else "?" for name in skipped[:8])
        notes.append(f"not tensors, and passed over: {shown}{', ...' if len(skipped) > 8 else ''}")
    return {
        n: v for n, v in mapping.items() if isinstance(n, str) and isinstance(v, Tensor | Unsupported)
    }, notes


def _mappings(root: dict[Any, Any]) -> Iterator[tuple[tuple[str, ...], dict[Any, Any]]]:
    """Mappings with tensors in them, from the outside in."""
    level: list[tuple[tuple[str, ...], dict[Any, Any]]] = [((), root)]
    seen = {id(root)}
    for _ in range(_DEEPEST_WRAPPER):
        inner = []
        for where, mapping in level:
            if _tensors(mapping):
                yield where, mapping
            for key, value in mapping.items():
                if type(key) is str and type(value) is dict and id(value) not in seen and "optim" not in key:
                    seen.add(id(value))
                    inner.append(((*where, key), value))
        level = inner


def _tensors(mapping: dict[Any, Any]) -> int:
    return sum(type(n) is str and type(v) in (Tensor, Unsupported) for n, v in mapping.items())


def _rank(where: tuple[str, ...]) -> int:
    return sum(WRAPPERS.index(key) if key in WRAPPERS else len(WRAPPERS) for key in where)
