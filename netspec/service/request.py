"""An inference request: JSON, and after it the tensors that were sent in binary.

Nothing is allocated for a tensor before its shape, its datatype and its number of bytes agree, and binary
tensors are not copied: they are views of the body.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from netspec.service import datatypes
from netspec.service.datatypes import shown
from netspec.service.errors import Refused
from netspec.service.signature import Port, Signature

LARGEST_SIZE = 2**31 - 1
LONGEST_KEPT = 2048
"""Bytes of a JSON part that is remembered."""
HEADS_KEPT = 256
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output as the client wants it. classes: instead of the values, the best so many; 0: the values."""

    name: str
    binary: bool
    classes: int = 0


@dataclass(frozen=True, slots=True)
class Slot:
    """An input that was declared: `size` bytes after the JSON part, or `data` in it."""

    port: Port
    shape: tuple[int, ...]
    datatype: str
    size: int
    data: Any = None


@dataclass(frozen=True, slots=True)
class Head:
    """What a request's JSON part says, checked. Requests of one `key` differ in their values and rows only.

    needed: inputs that the outputs depend on; rows: size of the first axis, if all of those have the same,
    else 0; timeout: seconds, None without.
    """

    id: str | None
    slots: tuple[Slot, ...]
    outputs: tuple[Wanted, ...]
    names: tuple[str, ...]
    needed: tuple[str, ...]
    key: Hashable
    rows: int
    timeout: float | None


def header_length(headers: dict[bytes, bytes]) -> int | None:
    """Bytes of the JSON part, from `Inference-Header-Content-Length`; None: all of the body."""
    text = headers.get(b"inference-header-content-length")
    if text is None:
        return None
    if not text.isdigit() or len(text) > 15:
        raise Refused(400, "Inference-Header-Content-Length: expected a number of bytes")
    return int(text)


class Parser:
    """Reads the requests to one network. The JSON parts of requests with binary tensors are few: kept."""

    def __init__(self, signature: Signature, max_json: int, max_tensor: int) -> None:
        """max_json: most bytes of a JSON part; max_tensor: of one tensor, sizes of 0 counted as 1."""
        self.signature, self._max_json, self._max_tensor = signature, max_json, max_tensor
        self._heads: dict[bytes, Head] = {}

    def parse(self, body: bytes, json_size: int | None) -> tuple[Head, dict[str, Any]]:
        """The request in a body, and the inputs that it needs by name. Raises `Refused` (400, 413).

        json_size: bytes of its JSON part, None for all.
        """
        size = len(body) if json_size is None else json_size
        if size > len(body):
            raise Refused(400, f"Inference-Header-Content-Length is {size}, the body has {len(body)} bytes")
        text = body[:size] if size < len(body) else body
        head = self._heads.get(text)
        if head is None:
            head = self.head(text)
            if len(text) <= LONGEST_KEPT and all(slot.data is None for slot in head.slots):
                if len(self._heads) >= HEADS_KEPT:
                    self._heads.clear()
                self._heads[bytes(text)] = head
        return head, _tensors(head, body, size)

    def head(self, text: bytes) -> Head:
        """A JSON part, checked. Raises `Refused` (400, 413)."""
        document = load_object(text, self._max_json)
        parameters = _mapping(document, "parameters")
        slots = self._slots(_list(document, "inputs"))
        outputs = _outputs(document, parameters, self.signature)
        names = tuple(output.name for output in outputs)
        needed = self.signature.wanted(names)[1]
        given = {slot.port.name: slot for slot in slots}
        missing = [name for name in needed if name not in given]
        if missing:
            raise Refused(400, f"input{'s' * (len(missing) > 1)} {', '.join(missing)}: missing")
        identity = document.get("id")
        if identity is not None and not isinstance(identity, str):
            raise Refused(400, f"id: expected a text, got {shown(identity)}")
        key = (names, tuple((name, given[name].datatype, given[name].shape[1:]) for name in needed))
        rows = {given[name].shape[0] if given[name].shape else 0 for name in needed}
        return Head(identity, slots, outputs, names, needed, key, rows.pop() if len(rows) == 1 else 0,
                    _timeout(parameters))  # fmt: skip

    def _slots(self, entries: list[Any]) -> tuple[Slot, ...]:
        slots: dict[str, Slot] = {}
        for entry in entries:
            if not isinstance(entry, dict):
                raise Refused(400, f"inputs: expected objects, got {shown(entry)}")
            port = self.signature.input(entry.get("name"))
            if port.name in slots:
                raise Refused(400, f"input {port.name}: given twice")
            slots[port.name] = self._slot(entry, port)
        self.signature.check_sizes({name: slot.shape for name, slot in slots.items()})
        return tuple(slots.values())

    def _slot(self, entry: Json, port: Port) -> Slot:
        where = f"input {port.name}"
        shape = _shape(where, entry.get("shape"))
        datatype = datatypes.check_datatype(where, entry.get("datatype"), port.datatype)
        width = datatypes.item_size(datatype)
        if width * math.prod(max(size, 1) for size in shape) > self._max_tensor:
            raise Refused(413, f"{where}: {datatype} {list(shape)} is larger than {self._max_tensor} bytes")
        parameters = _mapping(entry, "parameters", where)
        if any(key.startswith("shared_memory") for key in parameters):
            raise Refused(400, f"{where}: shared memory is not supported; send the data")
        size = parameters.get("binary_data_size")
        if size is None:
            if entry.get("data") is None:
                raise Refused(400, f"{where}: needs `data` or the parameter binary_data_size")
            return Slot(port, shape, datatype, 0, entry["data"])
        if "data" in entry:
            raise Refused(400, f"{where}: has both `data` and binary_data_size")
        expected = width * math.prod(shape)
        if type(size) is not int or size != expected:
            raise Refused(
                400,
                f"{where}: {datatype} {list(shape)} has {expected} bytes, binary_data_size is {shown(size)}",
            )
        return Slot(port, shape, datatype, size)


def load_object(text: bytes, limit: int) -> Json:
    """The JSON object in some bytes. Raises `Refused` (400, 413)."""
    if len(text) > limit:
        raise Refused(
            413, f"the JSON part has {len(text)} bytes, at most {limit} are taken: send tensors in binary"
        )
    try:
        document = json.loads(str(text, "utf-8"))
    except RecursionError:
        raise Refused(400, "the JSON part is nested too deep") from None
    except ValueError as error:  # not UTF-8, not JSON, or a number of thousands of digits
        raise Refused(400, f"the request is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise Refused(400, f"the request is no JSON object, but {shown(document)}")
    return document


# --- tensors ----------------------------------------------------------------------------------------


def _tensors(head: Head, body: bytes, offset: int) -> dict[str, Any]:
    """The inputs that are needed: binary ones follow one another after the JSON part."""
    declared = sum(slot.size for slot in head.slots)
    if offset + declared != len(body):
        raise Refused(
            400,
            f"the inputs have {declared} bytes (binary_data_size), the body {len(body) - offset} after its JSON",
        )
    found = {}
    for slot in head.slots:
        if slot.data is not None:
            found[slot.port.name] = from_json(f"input {slot.port.name}", slot.data, slot.shape, slot.datatype)
        else:
            found[slot.port.name] = datatypes.from_bytes(body, offset, slot.shape, slot.datatype)
            offset += slot.size
    return {name: found[name] for name in head.needed} if len(found) > len(head.needed) else found


def _shape(where: str, given: Any) -> tuple[int, ...]:
    if not isinstance(given, list) or len(given) > 64:
        raise Refused(400, f"{where}: expected `shape`, a list of at most 64 sizes, got {shown(given)}")
    for size in given:
        if type(size) is not int or not 0 <= size <= LARGEST_SIZE:
            raise Refused(400, f"{where}: a size is an integer from 0 to {LARGEST_SIZE}, got {shown(size)}")
    return tuple(given)


_TAKEN: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}}
_EXPECTED = {"b": "true or false", "i": "integers", "u": "integers", "f": "numbers"}


def from_json(where: str, data: Any, shape: tuple[int, ...], datatype: str) -> Any:
    """The array of a `data` list, flat or nested as the shape says. Raises `Refused` (400)."""
    flat = _flat(where, data, shape)
    dtype = np.dtype("<f4") if datatype == datatypes.BF16 else datatypes.NUMPY[datatype]
    kinds = set(map(type, flat))
    if not kinds <= _TAKEN[dtype.kind]:
        wrong = next(value for value in flat if type(value) not in _TAKEN[dtype.kind])
        raise Refused(400, f"{where}: expected {_EXPECTED[dtype.kind]} for {datatype}, got {shown(wrong)}")
    try:
        with np.errstate(over="ignore"):  # a float beyond the range is infinite, as in torch.tensor
            return np.array(flat, dtype).reshape(shape)
    except OverflowError:
        raise Refused(400, f"{where}: a number does not fit {datatype}") from None


def _flat(where: str, data: Any, shape: tuple[int, ...]) -> list[Any]:
    count = math.prod(shape)
    if not isinstance(data, list):
        if shape == () and not isinstance(data, dict):
            return [data]
        raise Refused(400, f"{where}: expected `data`, a list, got {shown(data)}")
    items = data
    if items and isinstance(items[0], list):
        for axis in range(len(shape)):
            if len(items) != math.prod(shape[: axis + 1]):
                raise Refused(400, f"{where}: `data` does not have the shape {list(shape)}")
            if axis + 1 < len(shape):
                if set(map(type, items)) - {list} or set(map(len, items)) - {shape[axis + 1]}:
                    raise Refused(
                        400, f"{where}: `data` does not have the shape {list(shape)} (axis {axis + 1})"
                    )
                items = list(chain.from_iterable(items))
    if len(items) != count:
        raise Refused(400, f"{where}: shape {list(shape)} has {count} elements, `data` has {len(items)}")
    return items


# --- outputs and parameters -------------------------------------------------------------------------


def _outputs(document: Json, parameters: Json, signature: Signature) -> tuple[Wanted, ...]:
    default = _flag(parameters, "binary_data_output", False, "parameters")
    entries = document.get("outputs")
    if entries is None or entries == []:
        return tuple(Wanted(name, default) for name in signature.outputs)
    found: dict[str, Wanted] = {}
    for entry in _list(document, "outputs"):
        if not isinstance(entry, dict):
            raise Refused(400, f"outputs: expected objects, got {shown(entry)}")
        port = signature.output(entry.get("name"))
        where = f"output {port.name}"
        if port.name in found:
            raise Refused(400, f"{where}: asked for twice")
        own = _mapping(entry, "parameters", where)
        if any(key.startswith("shared_memory") for key in own):
            raise Refused(400, f"{where}: shared memory is not supported")
        classes = own.get("classification", 0)
        if type(classes) is not int or not 0 <= classes <= LARGEST_SIZE:
            raise Refused(400, f"{where}: classification: expected a number of classes, got {shown(classes)}")
        if classes and port.shape == ():
            raise Refused(400, f"{where}: classification: the output is a single number")
        found[port.name] = Wanted(port.name, _flag(own, "binary_data", default, where), classes)
    return tuple(found.values())


def _timeout(parameters: Json) -> float | None:
    """Seconds; the protocol's `timeout` is in microseconds."""
    value = parameters.get("timeout")
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < 2**63:
        raise Refused(400, f"parameters: timeout: expected microseconds, an integer, got {shown(value)}")
    return value / 1e6 or None


def _flag(parameters: Json, key: str, default: bool, where: str) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise Refused(400, f"{where}: {key}: expected true or false, got {shown(value)}")
    return value


def _list(document: Json, key: str) -> list[Any]:
    value = document.get(key)
    if not isinstance(value, list):
        raise Refused(400, f"{key}: expected a list, got {shown(value)}")
    return value


def _mapping(document: Json, key: str, where: str = "") -> Json:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused(400, f"{where + ': ' if where else ''}{key}: expected an object, got {shown(value)}")
    return value
