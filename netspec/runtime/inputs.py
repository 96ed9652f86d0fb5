"""Arrays that are given to a network, checked against what it declares before any work."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from netspec.backends.base import is_on_device
from netspec.diagnostics import InputError, did_you_mean
from netspec.graph import Graph
from netspec.graph.infer import run_dtype
from netspec.layers.tensor import format_shape
from netspec.network import InputSpec

log = logging.getLogger("netspec")

_KINDS = {"b": "bool", "i": "integer", "u": "integer", "f": "floating", "c": "complex"}


def by_name(graph: Graph, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Positional, keyword or one dict of inputs as a dict, names checked."""
    names = list(graph.inputs)
    if len(args) == 1 and isinstance(args[0], Mapping) and not kwargs:
        given = dict(args[0])
    else:
        if len(args) > len(names):
            raise InputError(f"the network has {len(names)} inputs ({', '.join(names)}), got {len(args)}")
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name in given:
                raise InputError(f"input {name} was given twice")
            given[name] = value
    for name in given:
        if name not in graph.inputs:
            advice = did_you_mean(str(name), names) or f"the inputs are {', '.join(names)}"
            raise InputError(f"the network has no input `{name}`; {advice}")
    return given


def check_arrays(graph: Graph, given: Mapping[str, Any], needed: Sequence[str], dtype: str) -> dict[str, Any]:
    """The needed inputs as arrays of the right dtype; their sizes are checked by `check_sizes`."""
    missing = [name for name in needed if name not in given]
    if missing:
        raise InputError(
            f"input{'s' * (len(missing) > 1)} {', '.join(missing)} {'are' if len(missing) > 1 else 'is'} missing: "
            + "; ".join(f"{n} has shape {_declared(graph.inputs[n])}" for n in missing)
        )
    return {name: _array(name, given[name], graph.inputs[name], dtype) for name in needed}


def check_sizes(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The value of every symbol; raises `InputError` where ranks, fixed sizes or symbols do not fit."""
    symbols: dict[str, tuple[int, str]] = {}
    for name, shape in shapes.items():
        spec = graph.inputs[name]
        assert spec is not None
        if len(shape) != len(spec.shape):
            raise InputError(
                f"input {name}: expected {len(spec.shape)} axes {_declared(spec)}, got {len(shape)}: {list(shape)}"
                + _rank_advice(spec, shape)
            )
        for axis, (size, dim) in enumerate(zip(shape, spec.shape, strict=True)):
            if isinstance(dim, int):
                if size != dim:
                    raise InputError(
                        f"input {name}: axis {axis} is {dim} in {_declared(spec)}, got {size}: {list(shape)}"
                    )
            elif dim in symbols and symbols[dim][0] != size:
                raise InputError(
                    f"input {name}: {dim} is {size} on axis {axis}, but {symbols[dim][0]} in {symbols[dim][1]}"
                )
            else:
                symbols.setdefault(dim, (size, f"input {name}, axis {axis}"))
    return {symbol: size for symbol, (size, _) in symbols.items()}


def _declared(spec: InputSpec | None) -> str:
    return format_shape(spec.shape) if spec is not None else "?"  # type: ignore[arg-type]


def _rank_advice(spec: InputSpec, shape: tuple[int, ...]) -> str:
    if len(shape) + 1 == len(spec.shape) and isinstance(spec.shape[0], str):
        return f"; add a batch axis: array[None] has shape {[1, *shape]}"
    return ""


def _array(name: str, value: Any, spec: InputSpec | None, dtype: str) -> Any:
    import numpy as np

    assert spec is not None
    if type(value) is np.ndarray and value.dtype == spec.dtype == dtype:  # the common case, first
        return value
    if not hasattr(value, "__array_interface__") and not is_on_device(value):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise InputError(f"input {name}: not an array: {error}") from None
        if value.dtype == np.float64:  # Python numbers have no width of their own
            value = value.astype(run_dtype("float32", dtype) if np.dtype(dtype).kind == "f" else "float32")
    wanted = run_dtype(spec.dtype, dtype)
    got, want = value.dtype, np.dtype(wanted)
    if got == want:
        return value
    if got.kind not in _KINDS:
        raise InputError(f"input {name}: expected {wanted}, got an array of {got}")
    same = _KINDS[got.kind] == _KINDS[want.kind] or (got.kind == "f" and want.kind == "c")
    if not same:
        raise InputError(
            f"input {name}: expected {wanted}, got {got} (another kind of number is not cast; "
            f"use array.astype({wanted!r}) if that is meant)"
        )
    if want.kind in "iu" and value.size:
        limits = np.iinfo(want)
        if int(value.min()) < limits.min or int(value.max()) > limits.max:
            raise InputError(f"input {name}: {got} values do not fit {wanted}")
    if got.kind in "fc":
        log.info("input %s: %s is cast to %s", name, got, wanted)
    with np.errstate(over="ignore"):
        return value.astype(wanted)
