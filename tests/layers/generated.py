"""Calls of layers that nobody wrote down: the tables' cases with other parameters and other sizes."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from netspec.layers import REGISTRY
from tests.layers.oracle import Arg, Case, families

CASES: dict[str, list[Case]] = {}
for _module in families().values():
    for _case in _module.CASES:
        CASES.setdefault(_case.type, []).append(_case)

CHANNELS = (
    "in_channels", "in_features", "num_features", "num_channels", "num_parameters", "normalized_shape", "weight",
    "pos_weight",
)  # fmt: skip
"""Parameters that a size of the input must equal."""


def generate(type_name: str, seed: int, wild: bool = False) -> Case:
    """A variation of one of the type's cases. wild: also numbers that are out of range everywhere."""
    rng = random.Random(f"{type_name} {seed}")
    case = rng.choice([c for c in CASES[type_name] if c.dtype == "float32"] or CASES[type_name])
    keep = _numbers(value for key, value in case.parameters.items() if key in CHANNELS)
    mapped: dict[int, int] = {}

    def size(old: int) -> int:
        if old in keep and rng.random() < 0.9:
            return old
        if old not in mapped:
            mapped[old] = old if rng.random() < 0.4 else rng.randint(1, 9)
        return mapped[old]

    inputs = tuple(
        arg if arg.values is not None else replace(arg, shape=tuple(size(s) if s else s for s in arg.shape))
        for arg in case.inputs
    )
    parameters = {key: _vary(rng, key, value, wild) for key, value in case.parameters.items()}
    for field in REGISTRY[type_name].own_parameters():
        if field in ("stride", "padding", "dilation", "ceil_mode", "output_padding") and rng.random() < 0.4:
            parameters.setdefault(field, rng.random() < 0.5 if field == "ceil_mode" else rng.randint(0, 3))
    return replace(case, parameters=parameters, inputs=inputs, label=f"generated {seed}")


def _numbers(values: Any) -> set[int]:
    found: set[int] = set()
    for value in values:
        if isinstance(value, list | tuple):
            found |= _numbers(value)
            found.add(len(value))
        elif isinstance(value, int):
            found.add(value)
    return found


def _vary(rng: random.Random, key: str, value: Any, wild: bool) -> Any:
    if key in CHANNELS or rng.random() < 0.5:
        return value
    if isinstance(value, bool):
        return rng.random() < 0.5
    if isinstance(value, int):
        low = -2 if wild or value < 0 else 0
        return rng.randint(low, max(4, value))
    if isinstance(value, list) and all(isinstance(v, int) and not isinstance(v, bool) for v in value):
        return [_vary(rng, "", v, wild) for v in value]
    return value


__all__ = ["CASES", "Arg", "generate"]
