"""A model's requests and answers as JSON Schema (2020-12): names, datatypes, sizes and ranges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.service.datatypes import BF16, NUMPY
from netspec.service.request import LARGEST_SIZE
from netspec.service.signature import Port, Signature

Json = dict[str, Any]

_LARGEST_EXAMPLE = 1024
"""Numbers of the largest input that an example is shown of."""


def object_of(required: Json, **optional: Any) -> Json:
    """An object with these members, and others that are not described."""
    return {"type": "object", "required": list(required), "properties": {**required, **optional}}


def parameters_of(**members: Json) -> Json:
    """The protocol's `parameters`: all optional, and others are passed over."""
    return {"type": ["object", "null"], "properties": members}


def array_of(items: Json, **limits: Any) -> Json:
    """An array."""
    return {"type": "array", "items": items, **limits}


TEXT: Json = {"type": "string"}
FLAG: Json = {"type": "boolean"}
COUNT: Json = {"type": "integer", "minimum": 0}
_SIZE: Json = {"type": "integer", "minimum": 0, "maximum": LARGEST_SIZE}


def request(signature: Signature) -> Json:
    """The body of an inference request in JSON."""
    fewest = min(len(signature.wanted((name,))[1]) for name in signature.outputs)
    inputs = [_input(port) for port in signature.inputs.values()]
    classes = {**_SIZE, "description": "Instead of the values the best so many classes; 0: the values."}
    wanted = object_of(
        {"name": {"enum": list(signature.outputs)}},
        parameters=parameters_of(binary_data=FLAG, classification=classes),
    )
    timeout = {
        "type": ["integer", "null"], "minimum": 0, "maximum": 2**63 - 1,
        "description": "Microseconds; 0: as long as the service lets a request take.",
    }  # fmt: skip
    outputs = {"type": ["array", "null"], "items": wanted, "maxItems": len(signature.outputs),
               "description": "Default: all."}  # fmt: skip
    return object_of(
        {"inputs": array_of(_any(inputs), minItems=fewest, maxItems=len(inputs))},
        id={"type": ["string", "null"]},
        parameters=parameters_of(binary_data_output=FLAG, timeout=timeout),
        outputs=outputs,
    )


def example(signature: Signature) -> Json | None:
    """A request of zeros, a size that varies being 1; None where it would be long."""
    shapes = {name: [max(size, 1) if size < 0 else size for size in port.shape]
              for name, port in signature.inputs.items()}  # fmt: skip
    if sum(math.prod(shape) for shape in shapes.values()) > _LARGEST_EXAMPLE:
        return None
    return {"inputs": [
        {"name": name, "shape": shapes[name], "datatype": port.datatype,
         "data": np.zeros(math.prod(shapes[name]), port.dtype).tolist()}
        for name, port in signature.inputs.items()
    ]}  # fmt: skip


def response(name: str, version: Json, signature: Signature) -> Json:
    """An answer in JSON."""
    outputs = [form for port in signature.outputs.values() for form in _output_forms(port)]
    return object_of(
        {
            "model_name": {"const": name},
            "model_version": version,
            "outputs": array_of(_any(outputs), minItems=1, maxItems=len(signature.outputs)),
        },
        id=TEXT,
    )


def _any(schemas: Sequence[Json]) -> Json:
    return dict(schemas[0]) if len(schemas) == 1 else {"anyOf": list(schemas)}


def _input(port: Port) -> Json:
    kinds = _kinds(port.datatype)
    number = _number(port.datatype)
    return {
        "title": port.name,
        **object_of(
            {
                "name": {"const": port.name},
                "shape": _shape(port),
                "datatype": {"enum": kinds} if len(kinds) > 1 else {"const": kinds[0]},
                "data": _data(port, number),
            },
            parameters=parameters_of(),
        ),
    }


def _kinds(datatype: str) -> list[str]:
    """The datatypes that are taken for one: its own first, then those that are cast."""
    groups = {"b": "b", "i": "iu", "u": "iu", "f": "f"}
    group = groups[NUMPY[datatype].kind]
    others = [name for name, dtype in NUMPY.items() if dtype.kind in group and name != datatype]
    return [datatype, *others, *([BF16] if group == "f" else [])]


def _number(datatype: str) -> Json:
    kind = NUMPY[datatype].kind
    if kind == "b":
        return FLAG
    if kind == "f":
        return {"type": "number"}
    limits = np.iinfo(NUMPY[datatype])
    return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}


def _shape(port: Port) -> Json:
    rank = len(port.shape)
    sizes = [
        {"const": size} if size >= 0 else {**_SIZE, "description": str(name)}
        for size, name in zip(port.shape, port.written, strict=True)
    ]
    written = f"[{', '.join(map(str, port.written))}]"
    found: Json = {"type": "array", "minItems": rank, "maxItems": rank, "description": written}
    return {**found, "prefixItems": sizes} if sizes else found


def _data(port: Port, number: Json) -> Json:
    if port.shape == ():
        return {"anyOf": [number, array_of(number, minItems=1, maxItems=1)]}
    flat = array_of(number)
    if all(size >= 0 for size in port.shape):
        count = math.prod(port.shape)
        flat |= {"minItems": count, "maxItems": count}
    if len(port.shape) == 1:
        return flat
    nested = number
    for size in reversed(port.shape):
        nested = array_of(nested, **({"minItems": size, "maxItems": size} if size >= 0 else {}))
    return {"description": "Row by row; flat, or nested as the shape says.", "anyOf": [flat, nested]}


def _output_forms(port: Port) -> list[Json]:
    """As values, and where it can be asked for as classes."""
    number = _number(port.datatype)
    if NUMPY[port.datatype].kind == "f":
        number = {"type": ["number", "null"]}
    data = array_of(number)
    if all(size >= 0 for size in port.shape):
        data |= {"minItems": math.prod(port.shape), "maxItems": math.prod(port.shape)}
    not_finite = {**COUNT, "description": "How many values are null: NaN and infinities, which JSON has not."}
    values = object_of(
        {"name": {"const": port.name}, "shape": _shape(port), "datatype": {"const": port.datatype}, "data": data},
        parameters=parameters_of(not_finite=not_finite),
    )  # fmt: skip
    forms: list[Json] = [{"title": port.name, **values}]
    if port.shape:
        texts = array_of({"type": "string", "description": "value:index:label"})
        shape = array_of(_SIZE, minItems=len(port.shape), maxItems=len(port.shape))
        classes = {
            "name": {"const": port.name},
            "shape": shape,
            "datatype": {"const": "BYTES"},
            "data": texts,
        }
        forms.append({"title": f"{port.name}, its best classes", **object_of(classes)})
    return forms
