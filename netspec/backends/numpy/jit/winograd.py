"""Winograd's transforms on both sides of its products, each in one pass from memory to memory.

Tiles are read where they lie in the channels-last input (those at the border from a small padded copy),
carried over along both axes in registers and stored by points; on the way out the sums get the stages of a
chain before they are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import scratch
from netspec.backends.numpy.jit import direct
from netspec.backends.numpy.jit.chains import Chain, fits, strided
from netspec.backends.numpy.jit.compiler import kernel
from netspec.backends.numpy.jit.inlined import arguments, indent, operands
from netspec.backends.numpy.jit.linear import Lines, product

WIDTH = 16
Matrices = tuple[Array, ...]
"""One matrix for each of the two axes; of a single axis the first is (1, 1)."""


def applies(source: Array, target: Array) -> bool:
    """source (b, [d,] *s, c), target (b, [d',] *s', o): channels side by side, at least one vector."""
    return all(fits(x) and x.strides[-1] == 4 and x.shape[-1] >= WIDTH for x in (source, target))


def multiplies() -> bool:
    """Whether the products are compiled too."""
    return direct.wide_registers()


def weights(
    context: Context, weight: Array, form: str, shape: Sequence[int], rows: int, fill: Callable[[Array], Any]
) -> tuple[Array, list[Kernel], int, int]:
    """Transformed weights in panels, what refreshes them, the vectors of a panel, its channels.

    `fill` writes (1, u, c, o).
    """
    _, points, _, features = shape
    array, refresh, tile = direct.product_weights(
        context, weight, form, points, rows, features, lambda plain: fill(plain[None])
    )
    return array, refresh, tile.vectors, tile.vectors * WIDTH


products = direct.products


def _pairs(matrices: Sequence[Array]) -> Matrices:
    return tuple(matrices) if len(matrices) == 2 else (np.ones((1, 1)), *matrices)


def _two(values: Sequence[int], other: int) -> tuple[int, int]:
    return (values[0], values[1]) if len(values) == 2 else (other, values[0])


def carry(
    data: Sequence[Array],
    outputs: Sequence[int],
    source: Array,
    padding: Sequence[int],
    tiles: Sequence[int],
    rows: slice,
    into: Array,
    context: Context,
) -> Kernel:
    """source (b, *s, c), tile rows of `rows`, through B^T (`data`) into (u, t, c)."""
    matrices = _pairs(data)
    sizes = tuple(len(m) for m in matrices)
    moves = _two(outputs, 1)
    function = kernel(_carry_text(matrices, moves), "carry", 18)
    edge = scratch(context, "winograd edge", (*sizes, source.shape[-1]), source.dtype)
    s = strided(source)
    step = _two(s.strides[1:-1], 0)
    first = rows.start if len(tiles) == 2 else 0
    last = rows.stop if len(tiles) == 2 else 1
    across = slice(0, tiles[-1]) if len(tiles) == 2 else rows
    call = partial(
        function,
        *(s.address, s.strides[0], *step, *_two(source.shape[1:-1], 1), len(source), source.shape[-1]),
        *(first, last, across.start, across.stop, *_two(padding, 0)),
        *(into.__array_interface__["data"][0], into.strides[0], into.strides[1]),
        edge.__array_interface__["data"][0],
    )
    call.keep = (source, into, edge)  # type: ignore[attr-defined]
    return call


def give_back(
    back: Sequence[Array],
    product_: Array,
    target: Array,
    tiles: Sequence[int],
    rows: slice,
    chain: Chain | None,
    at: tuple[int, int, int | None],
) -> Kernel:
    """Products (u, t, o) through A^T (`back`) and the chain's stages into target (b, *s', o).

    at: the first image and channel of `target` among the operands', and the plane if there is depth.
    """
    matrices = _pairs(back)
    kinds = "" if chain is None else chain.kinds(1)
    assert kinds is not None
    function = kernel(_back_text(matrices, chain, kinds), "give_back", 15 + 4 * len(kinds) + 1)
    t = strided(target)
    first = rows.start if len(tiles) == 2 else 0
    last = rows.stop if len(tiles) == 2 else 1
    across = slice(0, tiles[-1]) if len(tiles) == 2 else rows
    given = operands(chain)
    found: list[int] = []
    for x in given:
        offset = sum(i * step for i, step in zip(at, x.strides, strict=False) if i)
        space = x.strides[2:] if at[2] is None else x.strides[3:]
        found += [x.address + offset, x.strides[0], *_two(space, 0)]
    call = partial(
        function,
        *(product_.__array_interface__["data"][0], product_.strides[0], product_.strides[1]),
        *(t.address, t.strides[0], *_two(t.strides[1:-1], 0), *_two(target.shape[1:-1], 1)),
        *(len(target), target.shape[-1], first, last, across.start, across.stop),
        *found,
        arguments([], chain, 0)[0],
    )
    call.keep = (product_, target, chain)  # type: ignore[attr-defined]
    return call


def _carry_text(matrices: Matrices, moves: tuple[int, int]) -> str:
    (m, n), (high, wide) = moves, (len(matrices[0]), len(matrices[1]))
    names = [[f"d{i}_{j}" for j in range(wide)] for i in range(high)]
    body = [
        f"{names[i][j]} = load(base + {i} * down + {j} * right)" for j in range(wide) for i in range(high)
    ]
    results = _both_axes(matrices, names)
    body += results[0]
    body += [
        f"store(o + {i * wide + j} * point, {results[1][i][j]})" for i in range(high) for j in range(wide)
    ]
    lines = [
        "def carry(x, xb, xh, xw, height, width, images, channels, r0, r1, u0, u1, ph, pw, "
        "out, point, tile, edge):",
        "    end = 4 * channels - 64",
        "    for b in range(images):",
        "        for r in range(r0, r1):",
        f"            top = r * {m} - ph",
        "            for q in range(u0, u1):",
        f"                left = q * {n} - pw",
        f"                if top >= 0 and left >= 0 and top + {high} <= height and left + {wide} <= width:",
        "                    corner, down, right = x + b * xb + top * xh + left * xw, xh, xw",
        "                else:",
        f"                    corner, down, right = edge, {4 * wide} * channels, 4 * channels",
        f"                    for i in range({high}):",
        f"                        for j in range({wide}):",
        "                            at = edge + (i * down + j * right)",
        "                            here = x + b * xb + (top + i) * xh + (left + j) * xw",
        "                            c = 0",
        "                            if 0 <= top + i < height and 0 <= left + j < width:",
        "                                while c <= end:",
        "                                    store(at + c, load(here + c))",
        "                                    c = c + 64 if c == end else min(c + 64, end)",
        "                            else:",
        "                                while c <= end:",
        "                                    store(at + c, splat(FLOAT(0.0)))",
        "                                    c = c + 64 if c == end else min(c + 64, end)",
        "                c = 0",
        "                while c <= end:",
        "                    base, o = corner + c, out + c",
        *indent(5, body),
        "                    c = c + 64 if c == end else min(c + 64, end)",
        "                out += tile",
    ]
    return "\n".join(lines) + "\n"


def _back_text(matrices: Matrices, chain: Chain | None, kinds: str) -> str:
    (m, high), (n, wide) = (matrix.shape for matrix in matrices)
    names = [[f"d{i}_{j}" for j in range(wide)] for i in range(high)]
    body = [f"{names[i][j]} = load(base + {i * wide + j} * point)" for j in range(wide) for i in range(high)]
    results = _both_axes(matrices, names)
    body += results[0]
    for i in range(m):
        body.append(f"if top + {i} < height:")
        for j in range(n):
            body += [f"    if left + {j} < width:", f"        v = {results[1][i][j]}"]
            for k, kind in enumerate(kinds):
                at = f"q{k} + {i} * p{k}_h + {j} * p{k}_w"
                body.append(
                    f"        x{k} = load({at} + c)" if kind == "1" else f"        x{k} = everywhere({at})"
                )
            body += indent(2, [*(chain.lines if chain else []), f"store(o + {i} * oh + {j} * ow + c, v)"])
    more = "".join(f", p{i}, p{i}_b, p{i}_h, p{i}_w" for i in range(len(kinds)))
    lines = [
        f"def give_back(x, point, tile, out, ob, oh, ow, height, width, images, channels, r0, r1, u0, u1{more}, "
        "constants):",
        *indent(1, chain.constant_lines() if chain else []),
        "    end = 4 * channels - 64",
        "    for b in range(images):",
        "        for r in range(r0, r1):",
        f"            top = r * {m}",
        "            for q in range(u0, u1):",
        f"                left = q * {n}",
        "                o = out + b * ob + top * oh + left * ow",
        *indent(
            4,
            [f"q{i} = p{i} + b * p{i}_b + top * p{i}_h + left * p{i}_w" for i in range(len(kinds))],
        ),
        "                c = 0",
        "                while c <= end:",
        "                    base = x + c",
        *indent(5, body),
        "                    c = c + 64 if c == end else min(c + 64, end)",
        "                x += tile",
    ]
    return "\n".join(lines) + "\n"


def _both_axes(matrices: Matrices, names: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """The statements of first @ names @ second.T, and the names of the result."""
    first, second = matrices
    lines = Lines()
    columns = list(zip(*names, strict=True))
    if first.shape != (1, 1):
        columns = [tuple(product(lines, first, column)) for column in columns]
    rows = [product(lines, second, row) for row in zip(*columns, strict=True)]
    return lines.text, rows
