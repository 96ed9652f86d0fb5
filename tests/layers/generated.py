"""Calls of layers that nobody wrote down: the tables' cases with other parameters and other sizes."""

from __future__ import annotations

import random
import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from netspec.graph.infer import run_dtype
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

DTYPES = (
    "float64", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64", "complex128",
)  # fmt: skip
NUMBERS = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3, 0, -2, 1e-3, 0.99, 1.5, 2.5, 20.0, -1e30)
"""What a number may become."""


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
    absurd = wild and rng.random() < 0.3
    parameters = {key: _vary(rng, key, value, absurd) for key, value in case.parameters.items()}
    for field in REGISTRY[type_name].own_parameters():
        if field in ("stride", "padding", "dilation", "ceil_mode", "output_padding") and rng.random() < (
            0.1 if wild else 0.4
        ):
            parameters.setdefault(field, rng.random() < 0.5 if field == "ceil_mode" else rng.randint(0, 3))
    case = replace(case, parameters=parameters, inputs=inputs, label=f"generated {seed}")
    return _wild(rng, case) if wild else case


def _wild(rng: random.Random, case: Case) -> Case:
    """The case with other dtypes, ranks, empty axes and parameters, each now and then."""
    schema = REGISTRY[case.type].model_json_schema()
    parameters = dict(case.parameters)
    rarely = rng.choice((0.0, 0.3, 1.0))
    for key in REGISTRY[case.type].own_parameters():
        chance = rng.random()
        if key in (*CHANNELS, "init", "output_size") or (key in ("other", "exponent") and case.inputs[1:]):
            continue
        if key in parameters and chance < 0.08 and key not in schema.get("required", ()):
            del parameters[key]
        elif chance > 1 - rarely * (0.1 if key in parameters else 0.25):
            value = _any_value(rng, schema["properties"][key])
            if value is not None:
                parameters[key] = value
    inputs = tuple(_wild_arg(rng, arg, case) for arg in case.inputs)
    dtype = case.dtype
    if rng.random() < 0.15:
        old, dtype = dtype, rng.choice(("float64", "float64", "float16", "complex64", "complex128"))
        inputs = tuple(_cast(arg, dtype) if arg.dtype == old else arg for arg in inputs)
    # A network has one width of floats, which its inputs take.
    inputs = tuple(_cast(arg, run_dtype(arg.dtype, dtype)) for arg in inputs)
    if dtype == "float16":
        return replace(case, parameters=parameters, inputs=inputs, dtype=dtype, tolerance=1e-2)
    return replace(case, parameters=parameters, inputs=inputs, dtype=dtype)


def _cast(arg: Arg, dtype: str) -> Arg:
    if arg.values is not None:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of imaginary parts that are dropped
            return replace(arg, dtype=dtype, values=np.asarray(arg.values, arg.dtype).astype(dtype))
    return replace(arg, dtype=dtype)


def _wild_arg(rng: random.Random, arg: Arg, case: Case) -> Arg:
    if rng.random() < 0.1:
        arg = _cast(arg, rng.choice(DTYPES))
    if arg.values is not None or rng.random() < 0.75:
        return arg
    shape = list(arg.shape)
    match rng.choice(("empty", "empty", "drop", "first", "last", "one", "other")):
        case "empty" if shape:
            shape[rng.randrange(len(shape))] = 0
        case "drop" if shape:
            del shape[0]
        case "first":
            shape.insert(0, rng.randint(1, 3))
        case "last":
            shape.append(rng.randint(1, 3))
        case "one" if shape:
            shape[rng.randrange(len(shape))] = 1
        case "other":
            shape = [rng.randint(0, 4) for _ in range(rng.randint(0, 5))]
        case _:
            pass
    return replace(arg, shape=tuple(shape))


def _any_value(rng: random.Random, schema: dict[str, Any]) -> Any:
    """A value of the kind that a parameter's JSON Schema asks for, in its range or not."""
    schema = rng.choice([s for s in schema.get("anyOf", [schema]) if s.get("type") != "null"])
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kinds = schema.get("type")
    match rng.choice(kinds) if isinstance(kinds, list) else kinds:
        case "boolean":
            return rng.random() < 0.5
        case "integer":
            return rng.randint(-3, 4)
        case "number":
            return rng.choice(NUMBERS)
        case "array":
            item = schema.get("items")
            if item is None:
                return None
            return [_any_value(rng, item) for _ in range(rng.choice((1, 1, 2, 2, 3, 4)))]
    return None


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
