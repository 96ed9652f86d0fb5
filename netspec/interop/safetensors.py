"""The safetensors format: a length, a JSON header, raw little-endian arrays.

Read through a memory map, so that a tensor costs memory only when it is used. bfloat16, which NumPy does
not have, is widened to float32. Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from netspec.diagnostics import WeightsError, escape
from netspec.interop.files import write_beside

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1", "C64": "<c8",
}  # fmt: skip
_NAMES = {value: key for key, value in _DTYPES.items()}
_LARGEST_HEADER = 100_000_000


def read_safetensors(path: Path) -> dict[str, Any]:
    """Arrays by name. Raises `WeightsError` for a file that is not whole or not safetensors."""
    return load_safetensors(path)[0]


def load_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Arrays by name, and the stored dtypes of those that were widened. Raises `WeightsError`."""
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or length > min(size - 8, _LARGEST_HEADER):
            raise WeightsError(f"{path}: not a safetensors file (its header's length does not fit the file)")
        try:
            header = json.loads(file.read(length), object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
            raise WeightsError(f"{path}: not a safetensors file (its header is not JSON: {reason})") from None
    if not isinstance(header, dict):
        raise WeightsError(f"{path}: not a safetensors file (its header is not a mapping)")
    header.pop("__metadata__", None)
    start = 8 + length
    data = np.memmap(path, np.uint8, "r", offset=start) if size > start else np.zeros(0, np.uint8)
    arrays = {name: _array(path, name, entry, data) for name, entry in header.items()}
    _check_places(path, header, len(data))
    return arrays, {name: "bfloat16" for name, entry in header.items() if entry["dtype"] == "BF16"}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, in which no key may come twice: readers differ in which of them they take."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"`{escape(key[:80])}` comes twice")
        found[key] = value
    return found


def _check_places(path: Path, header: dict[str, Any], size: int) -> None:
    """Tensors follow one another without overlaps or gaps, up to the end, as the format says."""
    end, before = 0, "the header"
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        if begin != end:
            what = "overlaps" if begin < end else "leaves a gap after"
            raise WeightsError(f"{path}: tensor {escape(name)} {what} {before}")
        end, before = stop, escape(name)
    if end != size:
        raise WeightsError(f"{path}: {size - end:,} bytes after the last tensor belong to none")


def _array(path: Path, name: str, entry: Any, data: Any) -> Any:
    shown = escape(name)
    try:
        kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        numbers = [*shape, begin, end]
        if not all(type(n) is int and n >= 0 for n in numbers) or not isinstance(kind, str):
            raise ValueError("sizes are not integers >= 0")
    except (TypeError, KeyError, ValueError) as error:
        raise WeightsError(f"{path}: tensor {shown} is badly described ({error})") from None
    brain = kind == "BF16"
    if not brain and kind not in _DTYPES:
        raise WeightsError(f"{path}: tensor {shown} has dtype {escape(kind[:40])}, which is not supported")
    dtype = np.dtype("<u2" if brain else _DTYPES[kind])
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise WeightsError(f"{path}: tensor {shown} has {end - begin} bytes, its shape {list(shape)} needs "
                           f"{math.prod(shape) * dtype.itemsize}")  # fmt: skip
    if end > len(data):
        raise WeightsError(f"{path}: the file is truncated: tensor {shown} ends at byte {end} of {len(data)}")
    try:
        array = data[begin:end].view(dtype).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise WeightsError(f"{path}: tensor {shown} is badly described ({error})") from None
    return (array.astype("<u4") << 16).view("<f4") if brain else array


def write_safetensors(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays, sorted as given, beside `path` and rename; complex128 has no place in the format."""
    header: dict[str, Any] = {}
    offset = 0
    ready: list[Any] = []
    for name, value in arrays.items():
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        little = array.dtype.newbyteorder("<").str if array.dtype.itemsize > 1 else array.dtype.str
        if little not in _NAMES:
            raise WeightsError(f"{path}: {name} has dtype {array.dtype}, which safetensors cannot hold")
        header[name] = {
            "dtype": _NAMES[little],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
        ready.append(array.astype(little, copy=False))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with write_beside(path) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for array in ready:
            file.write(array.tobytes())
        file.flush()
        os.fsync(file.fileno())
