"""State of a network: drawn or loaded, and compared with what the network expects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netspec.diagnostics import WeightsError, escape, nearest
from netspec.layers.base import State
from netspec.layers.initialize import InitMethod, draw
from netspec.layers.tensor import ITEM_SIZE, is_complex

FIXED = ("zeros", "ones", "constant", "eye", "dirac")
"""Methods of torch.nn.init that draw nothing."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How given arrays differ from the expected ones."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong: tuple[tuple[str, str], ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.wrong)

    def text(self, source: str) -> str:
        """Several lines: what is missing, what is too much, what does not fit, and the nearest names."""
        return "\n".join([f"{source} does not fit the network", *(f"  {line}" for line in self.lines())])

    def lines(self) -> list[str]:
        """One line a difference."""
        lines = []
        for name in self.missing:
            near = nearest(name, self.unexpected)
            lines.append(f"missing     {escape(name)}" + (f" (is it {escape(near[0])}?)" if near else ""))
        lines += [f"unexpected  {escape(name)}" for name in self.unexpected]
        lines += [f"wrong shape {escape(name)}: {reason}" for name, reason in self.wrong]
        return lines


def compare(expected: Mapping[str, State], given: Mapping[str, Any]) -> Difference:
    """The difference between expected state and given arrays; optional buffers may be missing."""
    wrong = []
    for name, state in expected.items():
        if name not in given:
            continue
        array = given[name]
        if tuple(array.shape) != state.shape:
            wrong.append((name, f"expected {list(state.shape)}, got {list(array.shape)}"))
        elif array.dtype.kind not in "biufc":
            wrong.append((name, f"dtype {array.dtype} is not a number"))
    return Difference(
        tuple(n for n, s in expected.items() if n not in given and not s.optional),
        tuple(n for n in given if n not in expected),
        tuple(wrong),
    )


def total_bytes(expected: Mapping[str, State], dtype: str) -> int:
    """Memory that the state takes."""
    return sum(math.prod(s.shape) * ITEM_SIZE[s.dtype or dtype] for s in expected.values())


def initial(name: str, state: State, dtype: str, seed: int) -> Any:
    """The array that a layer starts with."""
    return draw(state.init, state.shape, seed, name).astype(state.dtype or dtype)


def is_random(state: State) -> bool:
    """Whether a layer starts with drawn numbers."""
    return (
        isinstance(state.init, InitMethod) and state.init.method not in FIXED and math.prod(state.shape) > 0
    )


def converted(name: str, state: State, array: Any, dtype: str) -> Any:
    """A given array as the network holds it: its own copy, in the network's dtype."""
    import numpy as np

    target = state.dtype or dtype
    if array.dtype.kind == "c" and not is_complex(target):
        raise WeightsError(f"{name} is complex, the network runs in {target}")
    with np.errstate(over="ignore"):
        return np.array(array, dtype=target, order="C").reshape(state.shape)
