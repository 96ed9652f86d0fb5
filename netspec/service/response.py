"""The answer to an inference request: JSON, and after it the outputs that were asked for in binary."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from netspec.service import datatypes
from netspec.service.request import Head
from netspec.service.signature import Port, Signature

_PIECE = 8192
"""Numbers that are put into text at a time, so that other threads get their turn between."""


def encode(
    model: str, version: str, head: Head, results: Mapping[str, Any], signature: Signature
) -> tuple[bytes, int | None]:
    """The body, and the bytes of its JSON part where tensors follow it."""
    entries: list[str] = []
    tensors: list[bytes] = []
    for output in head.outputs:
        array = results[output.name]
        port = signature.outputs[output.name]
        datatype = datatypes.BYTES if output.classes else datatypes.NAMES[array.dtype]
        if output.classes:
            array = classes_of(array, output.classes, port)
        entry = f'{{"name": {quoted(output.name)}, "datatype": "{datatype}", "shape": {list(array.shape)}'
        if output.binary:
            data = _texts(array) if output.classes else datatypes.to_bytes(array)
            tensors.append(data)
            entries.append(f'{entry}, "parameters": {{"binary_data_size": {len(data)}}}}}')
        else:
            text, unlike = _numbers(array)
            note = f', "parameters": {{"not_finite": {unlike}}}' if unlike else ""
            entries.append(f'{entry}{note}, "data": [{text}]}}')
    identity = f', "id": {json.dumps(head.id)}' if head.id is not None else ""
    header = (
        f'{{"model_name": {quoted(model)}, "model_version": "{version}"{identity}, '
        f'"outputs": [{", ".join(entries)}]}}'
    ).encode()
    if not tensors:
        return header, None
    return b"".join((header, *tensors)), len(header)


@lru_cache(maxsize=1024)
def quoted(name: str) -> str:
    """A name of a model or tensor in JSON."""
    return json.dumps(name)


def _numbers(array: Any) -> tuple[str, int]:
    """The elements as JSON, and how many of them JSON has no word for (NaN, infinities), which are null."""
    flat = array.reshape(-1)
    unlike = 0
    if flat.dtype.kind == "f":
        finite = np.isfinite(flat)
        unlike = int(flat.size - np.count_nonzero(finite))
        if unlike:
            flat = flat.astype(object)
            flat[~finite] = None
    pieces = [json.dumps(flat[i : i + _PIECE].tolist())[1:-1] for i in range(0, flat.size, _PIECE)]
    return ", ".join(pieces), unlike


def classes_of(array: Any, count: int, port: Port) -> Any:
    """For each row of the last axis the best classes, as texts `value:index:label`.

    https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md
    """
    size = array.shape[-1]
    rows = array.reshape(-1, size) if array.size else array.reshape(0, size)
    best = min(count, size)
    found = np.empty((len(rows), best), object)
    for row, texts in zip(rows, found, strict=True):
        order = (-row.astype("f8")).argsort(kind="stable")[:best]
        for place, index in enumerate(order):
            label = f":{port.labels[index]}" if index < len(port.labels) else ""
            texts[place] = f"{float(row[index]):f}:{index}{label}"
    return found.reshape(*array.shape[:-1], best)


def _texts(array: Any) -> bytes:
    """BYTES: each element its length (4 bytes, little-endian) and its UTF-8."""
    parts: list[bytes] = []
    for text in array.reshape(-1):
        data = str(text).encode()
        parts += [struct.pack("<I", len(data)), data]
    return b"".join(parts)
