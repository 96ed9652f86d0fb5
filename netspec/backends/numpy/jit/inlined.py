"""What kernels share that apply a chain of stages to their own results before they store them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.backends.numpy.jit.chains import Chain, Strided, strided


def indent(depth: int, lines: Sequence[str]) -> list[str]:
    """The lines further in."""
    return ["    " * depth + line for line in lines]


def head(kinds: str) -> str:
    """The parameters of the operands: address, strides of rows and columns."""
    return "".join(f", p{i}, p{i}_h, p{i}_w" for i in range(len(kinds)))


def addresses(kinds: str) -> list[str]:
    """Where the operands of row r begin."""
    return [f"q{i} = p{i} + r * p{i}_h" for i in range(len(kinds))]


def operands(chain: Chain | None) -> list[Strided]:
    """The operands as kernels see them."""
    return [] if chain is None else [strided(x) for x in chain.arrays]


NONE = np.zeros(1, np.float32)


def arguments(
    given: Sequence[Strided], chain: Chain | None, image: int, plane: int | None = None
) -> list[int]:
    """The arguments for `head` and the constants, for one image [and plane]."""
    found: list[int] = []
    for x in given:
        offset = image * x.strides[0] + (0 if plane is None else plane * x.strides[2])
        found += [x.address + offset, *x.strides[-2:]]
    constants = NONE if chain is None else chain.constants
    return [*found, constants.__array_interface__["data"][0]]
