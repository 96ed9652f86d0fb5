"""Pickles and torch archives put together by hand: what an attacker would write."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping

MARK, TUPLE, REDUCE, STOP, POP = b"(", b"t", b"R", b".", b"0"


def text(value: str) -> bytes:
    """BINUNICODE."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value: int) -> bytes:
    """LONG1: an int of any sign and size."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def name(module: str, attribute: str) -> bytes:
    """GLOBAL."""
    return f"c{module}\n{attribute}\n".encode()


def row(*items: bytes) -> bytes:
    """A tuple."""
    return MARK + b"".join(items) + TUPLE


def call(function: bytes, *arguments: bytes) -> bytes:
    """REDUCE."""
    return function + row(*arguments) + REDUCE


def mapping(items: Mapping[str, bytes]) -> bytes:
    """A dict."""
    return b"}" + MARK + b"".join(text(key) + value for key, value in items.items()) + b"u"


def pickle(body: bytes) -> bytes:
    """Protocol 2."""
    return b"\x80\x02" + body + STOP


def storage(kind: str = "FloatStorage", key: str = "0", numel: int = 4) -> bytes:
    """A storage, by its persistent id."""
    return row(text("storage"), name("torch", kind), text(key), text("cpu"), integer(numel)) + b"Q"


def tensor(
    store: bytes, offset: int = 0, shape: tuple[int, ...] = (4,), strides: tuple[int, ...] = (1,)
) -> bytes:
    """A tensor, as torch writes it."""
    hooks = call(name("collections", "OrderedDict"))
    return call(
        name("torch._utils", "_rebuild_tensor_v2"), store, integer(offset),
        row(*map(integer, shape)), row(*map(integer, strides)), b"\x89", hooks,
    )  # fmt: skip


def archive(
    body: bytes,
    storages: Mapping[str, bytes] | None = None,
    *,
    folder: str = "archive/",
    order: bytes = b"little",
) -> bytes:
    """A zip file as torch.save lays it out."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(f"{folder}data.pkl", body)
        file.writestr(f"{folder}byteorder", order)
        for key, data in ({"0": bytes(16)} if storages is None else storages).items():
            file.writestr(f"{folder}data/{key}", data)
        file.writestr(f"{folder}version", "3\n")
    return out.getvalue()


LEGACY = pickle(integer(0x1950A86A20F9469CFC6C)) + pickle(integer(1001)) + pickle(b"}")
"""What stands before the object in the legacy format."""


def legacy(body: bytes, storages: Mapping[str, bytes] | None = None, unit: int = 4) -> bytes:
    """The legacy format, storages by key as raw bytes."""
    given = {"0": bytes(16)} if storages is None else storages
    keys = pickle(b"]" + MARK + b"".join(map(text, given)) + b"e")
    raw = b"".join(struct.pack("<q", len(data) // unit) + data for data in given.values())
    return LEGACY + body + keys + raw
