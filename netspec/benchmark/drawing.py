"""Inputs and, where a network has none, weights to measure with."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from netspec.diagnostics import InputError
from netspec.graph.infer import run_dtype
from netspec.layers.base import State
from netspec.network import InputSpec


def weights(states: Mapping[str, State], dtype: str, seed: int) -> dict[str, Any]:
    """Arrays by state-dict key, with which signals keep their size through many layers.

    Default initialisations let them shrink layer by layer, until a comparison of outputs sees the last bias
    only. Kernels and matrices are uniform with He's variance, 2 / fan_in; variances are from 0.5 to 1.5, the
    scales of normalisations from 0.8 to 1.2; everything else is from -0.1 to 0.1, other weights from 0.1 to
    0.5 (PReLU's slopes).
    """
    import numpy as np

    normalised = {key.rpartition(".")[0] for key in states if key.endswith("running_var")}
    arrays: dict[str, Any] = {}
    for key, state in states.items():
        layer, _, kind = key.rpartition(".")
        rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
        if (state.dtype or dtype).startswith(("int", "uint", "bool")):
            arrays[key] = np.zeros(state.shape, state.dtype or dtype)
            continue
        if len(state.shape) > 1 and 0 not in state.shape:
            bound = math.sqrt(6 / math.prod(state.shape[1:]))
            low, high = -bound, bound
        elif kind == "running_var":
            low, high = 0.5, 1.5
        elif kind == "weight":
            low, high = (0.8, 1.2) if layer in normalised else (0.1, 0.5)
        else:
            low, high = -0.1, 0.1
        array = rng.random(state.shape, np.float32)
        arrays[key] = (array * np.float32(high - low) + np.float32(low)).astype(state.dtype or dtype)
    return arrays


def sizes(
    inputs: Mapping[str, InputSpec | None], given: Mapping[str, Sequence[int]]
) -> dict[str, tuple[int, ...]]:
    """A shape for every input: as given, else as declared, one row where the first axis is a symbol.

    Height and width of a picture input come from its `picture`. Raises `InputError` where a size is open.
    """
    known: dict[str, int] = {}
    for name, shape in given.items():
        for size, dim in zip(shape, _declared(inputs[name]), strict=False):
            if isinstance(dim, str):
                known[dim] = size
    found: dict[str, tuple[int, ...]] = {}
    for name, spec in inputs.items():
        if name in given:
            found[name] = tuple(given[name])
            continue
        declared = _declared(spec)
        local = {**_batch(declared), **_picture(spec), **known}
        missing = [dim for dim in declared if isinstance(dim, str) and dim not in local]
        if missing:
            example = ",".join(str(local.get(d, 64)) if isinstance(d, str) else str(d) for d in declared)
            names = " and ".join(dict.fromkeys(missing))
            raise InputError(
                f"input {name}: give {names} a size, such as --input "
                + (f"{name}={example}" if len(inputs) > 1 else example)
            )
        found[name] = tuple(local[d] if isinstance(d, str) else d for d in declared)
    return found


def _declared(spec: InputSpec | None) -> tuple[int | str, ...]:
    assert spec is not None
    return tuple(spec.shape)


def _batch(shape: Sequence[int | str]) -> dict[str, int]:
    return {shape[0]: 1} if shape and isinstance(shape[0], str) else {}


def _picture(spec: InputSpec | None) -> dict[str, int]:
    """Sizes of the axes of a picture that is cropped or resized to a fixed size."""
    picture = getattr(spec, "picture", None)
    size = (picture.crop or picture.resize) if picture is not None else None
    if size is None:
        return {}
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    axes = zip(_declared(spec)[-2:], (height, width), strict=False)
    return {dim: length for dim, length in axes if isinstance(dim, str)}


def arrays(
    inputs: Mapping[str, InputSpec | None], shapes: Mapping[str, Sequence[int]], dtype: str, seed: int
) -> dict[str, Any]:
    """Arrays of these shapes: floats from 0 to 1, integers and truth values 0 or 1."""
    import numpy as np

    found: dict[str, Any] = {}
    for name, shape in shapes.items():
        spec = inputs[name]
        assert spec is not None
        kind = run_dtype(spec.dtype, dtype)
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        if kind.startswith(("int", "uint", "bool")):
            found[name] = rng.integers(0, 2, tuple(shape)).astype(kind)
        else:
            found[name] = rng.random(tuple(shape), np.float32).astype(kind)
    return found
