"""The protocol's datatypes and NumPy's, which agree but for their names.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
(tensor data types). Elements are little-endian, row by row, without padding.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from netspec.service.errors import Refused

NUMPY: dict[str, Any] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""Datatypes that an array can have."""
NAMES = {dtype.newbyteorder("="): name for name, dtype in NUMPY.items()}
BF16 = "BF16"
"""Upper half of an FP32: widened as it is read, since NumPy has no such dtype."""
BYTES = "BYTES"
"""Texts: only what `classification` answers in."""
TRITON = {name: f"TYPE_{name}" for name in NUMPY}
"""Names in a model configuration."""
_KINDS = {"b": "BOOL", "i": "integer", "u": "integer", "f": "floating"}


def name_of(dtype: str) -> str | None:
    """The protocol's name of a network's dtype; None for complex numbers, which it has not."""
    return NAMES.get(np.dtype(dtype))


def item_size(datatype: str) -> int:
    """Bytes of one element."""
    return 2 if datatype == BF16 else int(NUMPY[datatype].itemsize)


def check_datatype(where: str, given: Any, wanted: str) -> str:
    """The datatype of a request's tensor, if the network can take it: the same kind of number.

    Raises `Refused` (400).
    """
    if given == BYTES:
        raise Refused(
            400, f"{where}: datatype BYTES is not taken, the network's inputs are numbers: send {wanted}"
        )
    if not isinstance(given, str) or (given not in NUMPY and given != BF16):
        known = ", ".join((*NUMPY, BF16))
        raise Refused(400, f"{where}: unknown datatype {shown(given)}; known: {known}")
    got = "f" if given == BF16 else NUMPY[given].kind
    want = NUMPY[wanted].kind
    if _KINDS[got] != _KINDS[want]:
        others = [n for n, d in NUMPY.items() if _KINDS[d.kind] == _KINDS[want] and n != wanted]
        advice = f" ({', '.join(others)} are cast)" if others else ""
        raise Refused(400, f"{where}: expected {wanted}{advice}, got {given}")
    return given


def from_bytes(body: bytes, offset: int, shape: tuple[int, ...], datatype: str) -> Any:
    """A tensor of the body, viewed where it lies; BF16 and odd BOOLs are converted."""
    count = math.prod(shape)
    if datatype == BF16:
        halves = np.frombuffer(body, "<u2", count, offset)
        return (halves.astype("<u4") << 16).view("<f4").reshape(shape)
    if datatype == "BOOL":
        octets = np.frombuffer(body, "u1", count, offset)
        # A byte other than 0 and 1 would be a bool that equals neither True nor False.
        return (octets.view("?") if count == 0 or octets.max() <= 1 else octets != 0).reshape(shape)
    return np.frombuffer(body, NUMPY[datatype], count, offset).reshape(shape)


def to_bytes(array: Any) -> bytes:
    """The elements as the protocol sends them."""
    return bytes(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())


def shown(value: Any) -> str:
    """What a client sent, short enough for a message."""
    text = repr(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."
