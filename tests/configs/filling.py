"""Weights for networks whose trained ones are not kept here: fast, and the same on every machine.

Each array is a window of one fixed vector of random numbers, whose length is a prime so that no layer's rows
repeat in step with it; where the window starts depends on the array's name.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from netspec.analysis import analyse_file
from netspec.graph.infer import states_of

DENSE_GOLDEN = Path(__file__).resolve().parent / "dense"
PRIME = 1_000_003
SAMPLES = 2_000
"""How many numbers of an output a golden file keeps, at most."""


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes by state-dict name for the network in a file, without drawing its initial weights."""
    shaped = analyse_file(path).shaped
    assert shaped is not None
    return {name: state.shape for name, state in states_of(shaped).items()}


def weights_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Arrays by state-dict name: float32, counters int64.

    Kernels and matrices are uniform with He's variance, 2 / fan_in, so that signals neither vanish nor grow
    over many ReLUs. Batch normalisation scales by 0.8 to 1.2 and has variances from 0.5 to 1.5; other
    vectors named weight (PReLU's slopes, ...) go from 0.1 to 0.5, everything else from -0.1 to 0.1.
    """
    normalised = {name.rpartition(".")[0] for name in shapes if name.endswith("running_var")}
    arrays: dict[str, Any] = {}
    for name, shape in shapes.items():
        layer, _, kind = name.rpartition(".")
        if kind == "num_batches_tracked":
            arrays[name] = np.zeros(shape, np.int64)
        elif len(shape) > 1:
            bound = math.sqrt(6 / math.prod(shape[1:]))
            arrays[name] = between(name, shape, -bound, bound)
        elif kind == "running_var":
            arrays[name] = between(name, shape, 0.5, 1.5)
        elif kind == "weight":
            arrays[name] = between(name, shape, *((0.8, 1.2) if layer in normalised else (0.1, 0.5)))
        else:
            arrays[name] = between(name, shape, -0.1, 0.1)
    return arrays


@cache
def _numbers() -> Any:
    """The vector, twice in a row."""
    once = np.random.RandomState(0).random_sample(PRIME).astype(np.float32)
    return np.concatenate([once, once])


def between(name: str, shape: tuple[int, ...], low: float, high: float) -> Any:
    """float32 numbers from low to high, by the name."""
    start, size = zlib.crc32(name.encode()) % PRIME, math.prod(shape)
    numbers = _numbers()
    if size <= PRIME:
        window = numbers[start : start + size].reshape(shape).copy()
    else:
        window = np.resize(numbers[start : start + PRIME], shape)
    window *= np.float32(high - low)
    window += np.float32(low)
    return window


def thinned(array: Any) -> Any:
    """At most SAMPLES numbers of an output, evenly over it, with an odd step so that every column is met."""
    return array.reshape(-1)[:: (-(-array.size // SAMPLES)) | 1].copy()


def golden(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a golden file keeps of outputs: their shapes, and numbers of each."""
    kept: dict[str, Any] = {}
    for name, array in outputs.items():
        kept[name] = thinned(array)
        kept[f"{name}.shape"] = np.array(array.shape)
    return kept


def distance(found: Any, expected: Any) -> float:
    """Largest difference, as a part of the largest expected number."""
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))


def compared(names: Iterable[str]) -> list[str]:
    """The outputs that a golden file's arrays belong to."""
    return [name for name in names if not name.endswith(".shape")]
