"""Initial values of parameters: torch.nn.init's methods, and torch's default of each module.

Values are drawn in float64 by NumPy's PCG64, so they have torch's distribution, not torch's numbers;
the seed and the parameter's own key fix them, whatever else the network holds.
Source: https://pytorch.org/docs/stable/nn.init.html
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from netspec.layers.parameters import Literal, _numbers, describe, is_number, literal_shape, wrong_type

__all__ = ["METHODS", "Init", "InitMethod", "Literal", "draw"]


@dataclass(frozen=True)
class InitMethod:
    """One of torch.nn.init's methods with its arguments."""

    method: str
    arguments: tuple[tuple[str, Any], ...] = ()

    def __call__(self, rng: Any, shape: tuple[int, ...]) -> Any:
        """Draw a float64 array of this shape."""
        return METHODS[self.method].draw(rng, shape, **dict(self.arguments))


@dataclass(frozen=True)
class _Method:
    draw: Callable[..., Any]
    defaults: dict[str, Any]
    rank: tuple[int, int | None] = (0, None)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """fan_in, fan_out of a weight, as torch counts them: axis 1 in, axis 0 out, times the kernel."""
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _gain(nonlinearity: str, a: float) -> float:
    gains = {"tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75, "leaky_relu": math.sqrt(2 / (1 + a * a))}
    return gains.get(nonlinearity, 1.0)


def _uniform(rng: Any, shape: tuple[int, ...], a: float, b: float) -> Any:
    return rng.uniform(a, b, shape)


def _normal(rng: Any, shape: tuple[int, ...], mean: float, std: float) -> Any:
    return rng.normal(mean, std, shape)


def _constant(rng: Any, shape: tuple[int, ...], val: float) -> Any:
    import numpy as np

    return np.full(shape, float(val))


def _xavier(rng: Any, shape: tuple[int, ...], gain: float, normal: bool) -> Any:
    std = gain * math.sqrt(2 / max(sum(fans(shape)), 1))
    return (
        rng.normal(0, std, shape) if normal else rng.uniform(-std * math.sqrt(3), std * math.sqrt(3), shape)
    )


def _kaiming(rng: Any, shape: tuple[int, ...], a: float, mode: str, nonlinearity: str, normal: bool) -> Any:
    fan = fans(shape)[0 if mode == "fan_in" else 1]
    std = _gain(nonlinearity, a) / math.sqrt(max(fan, 1))
    return (
        rng.normal(0, std, shape) if normal else rng.uniform(-std * math.sqrt(3), std * math.sqrt(3), shape)
    )


def _trunc_normal(rng: Any, shape: tuple[int, ...], mean: float, std: float, a: float, b: float) -> Any:
    import numpy as np

    values = rng.normal(mean, std, shape)
    for _ in range(1000):
        outside = (values < a) | (values > b)
        count = int(np.count_nonzero(outside))
        if not count:
            return values
        values[outside] = rng.normal(mean, std, count)
    return np.clip(values, a, b)


def _eye(rng: Any, shape: tuple[int, ...]) -> Any:
    import numpy as np

    rows, columns = shape
    return np.eye(rows, columns)


def _dirac(rng: Any, shape: tuple[int, ...], groups: int) -> Any:
    import numpy as np

    values = np.zeros(shape)
    per_group = shape[0] // groups
    for group in range(groups):
        for i in range(min(per_group, shape[1])):
            values[(group * per_group + i, i, *(k // 2 for k in shape[2:]))] = 1
    return values


def _orthogonal(rng: Any, shape: tuple[int, ...], gain: float) -> Any:
    import numpy as np

    rows, columns = shape[0], math.prod(shape[1:])
    flat = rng.normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(flat)
    q = q * np.sign(np.diag(r))
    return gain * (q if rows >= columns else q.T).reshape(shape)


def _sparse(rng: Any, shape: tuple[int, ...], sparsity: float, std: float) -> Any:
    values = rng.normal(0, std, shape)
    zeros = math.ceil(sparsity * shape[0])
    for column in range(shape[1]):
        values[rng.permutation(shape[0])[:zeros], column] = 0
    return values


METHODS: dict[str, _Method] = {
    "uniform": _Method(_uniform, {"a": 0.0, "b": 1.0}),
    "normal": _Method(_normal, {"mean": 0.0, "std": 1.0}),
    "constant": _Method(_constant, {"val": None}),
    "ones": _Method(lambda rng, shape: _constant(rng, shape, 1.0), {}),
    "zeros": _Method(lambda rng, shape: _constant(rng, shape, 0.0), {}),
    "eye": _Method(_eye, {}, (2, 2)),
    "dirac": _Method(_dirac, {"groups": 1}, (3, 5)),
    "xavier_uniform": _Method(lambda r, s, gain: _xavier(r, s, gain, False), {"gain": 1.0}, (2, None)),
    "xavier_normal": _Method(lambda r, s, gain: _xavier(r, s, gain, True), {"gain": 1.0}, (2, None)),
    "kaiming_uniform": _Method(
        lambda r, s, a, mode, nonlinearity: _kaiming(r, s, a, mode, nonlinearity, False),
        {"a": 0.0, "mode": "fan_in", "nonlinearity": "leaky_relu"},
        (2, None),
    ),
    "kaiming_normal": _Method(
        lambda r, s, a, mode, nonlinearity: _kaiming(r, s, a, mode, nonlinearity, True),
        {"a": 0.0, "mode": "fan_in", "nonlinearity": "leaky_relu"},
        (2, None),
    ),
    "trunc_normal": _Method(_trunc_normal, {"mean": 0.0, "std": 1.0, "a": -2.0, "b": 2.0}),
    "orthogonal": _Method(_orthogonal, {"gain": 1.0}, (2, None)),
    "sparse": _Method(_sparse, {"sparsity": None, "std": 0.01}, (2, 2)),
}
_WORDS = {
    "mode": ("fan_in", "fan_out"),
    "nonlinearity": (
        "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
        "sigmoid", "tanh", "relu", "leaky_relu", "selu",
    ),
}  # fmt: skip


def _method(value: dict[Any, Any]) -> InitMethod:
    name = value.get("method")
    if not isinstance(name, str):
        raise PydanticCustomError(
            "missing-key",
            "an initialisation is a number, a nested list, or has a method",
            {"help": "for example {method: xavier_normal, gain: 1.0}"},
        )
    if name not in METHODS:
        context = {
            "got": describe(name),
            "word": name.rstrip("_"),
            "options": list(METHODS),
            "field": "method",
        }
        raise PydanticCustomError("unknown-value", "torch.nn.init has no method {got}", context)
    arguments = dict(METHODS[name].defaults)
    for key, argument in value.items():
        if key == "method":
            continue
        if key not in arguments:
            raise PydanticCustomError(
                "unknown-key",
                "{method} has no argument {key}",
                {"method": name, "key": str(key), "word": str(key), "options": list(arguments)},
            )
        if key in _WORDS:
            if argument not in _WORDS[key]:
                raise PydanticCustomError(
                    "unknown-value",
                    "{key}: expected one of {words}, got {got}",
                    {"key": key, "words": ", ".join(_WORDS[key]), "got": describe(argument),
                     "word": str(argument), "options": list(_WORDS[key])},
                )  # fmt: skip
        elif not is_number(argument):
            raise wrong_type(f"a number for {key}", argument)
        arguments[key] = argument
    for key, argument in arguments.items():
        if argument is None:
            raise PydanticCustomError("missing-key", "{method} needs {key}", {"method": name, "key": key})
    return InitMethod(name, tuple(arguments.items()))


def _init(value: Any) -> Any:
    return _method(value) if isinstance(value, dict) else _numbers(value)


_METHOD_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["method"],
    "properties": {
        "method": {"enum": list(METHODS)},
        **{k: {"enum": list(v)} for k, v in _WORDS.items()},
        **{k: {"type": "number"} for k in ("a", "b", "mean", "std", "val", "gain", "sparsity", "groups")},
    },
    "additionalProperties": False,
}
Init = Annotated[
    Any,
    PlainValidator(_init),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "array"}, _METHOD_SCHEMA]}),
]
"""A number, a nested list of literal values, or {method: ..., arguments}."""


def refusal(init: Any, shape: tuple[int, ...]) -> str | None:
    """Why `init` cannot fill a parameter of this shape, or None."""
    if isinstance(init, InitMethod):
        lo, hi = METHODS[init.method].rank
        if len(shape) < lo or (hi is not None and len(shape) > hi):
            expected = f"{lo}" if lo == hi else f"{lo} or more" if hi is None else f"{lo} to {hi}"
            return f"{init.method} needs {expected} axes, the parameter has shape {list(shape)}"
        groups = dict(init.arguments).get("groups")
        if groups is not None and (groups < 1 or shape[0] % groups):
            return f"dirac's groups must divide the {shape[0]} output channels, got {groups}"
        return None
    found = literal_shape(init)
    if found and found != shape:
        return f"expected literal values of shape {list(shape)}, got {list(found)}"
    return None


def draw(init: Any, shape: tuple[int, ...], seed: int, key: str) -> Any:
    """The float64 values of parameter `key`: the same for the same seed and key."""
    import numpy as np

    if isinstance(init, InitMethod):
        return init(np.random.default_rng([seed, zlib.crc32(key.encode())]), shape)
    return np.broadcast_to(np.array(init, dtype=np.float64), shape).copy()


# --- torch's defaults -------------------------------------------------------------------------------

ZEROS = InitMethod("zeros")
ONES = InitMethod("ones")


def kaiming_default() -> InitMethod:
    """Weights of convolutions and linears: kaiming_uniform with a = sqrt(5)."""
    return InitMethod(
        "kaiming_uniform", (("a", math.sqrt(5)), ("mode", "fan_in"), ("nonlinearity", "leaky_relu"))
    )


def bias_default(weight_shape: tuple[int, ...]) -> InitMethod:
    """Their biases: uniform within 1/sqrt(fan_in)."""
    bound = 1 / math.sqrt(max(fans(weight_shape)[0], 1))
    return InitMethod("uniform", (("a", -bound), ("b", bound)))
