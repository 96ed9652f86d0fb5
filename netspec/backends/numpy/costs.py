"""How long the forms of a convolution take: the model that chooses between them.

Seconds on one core, from three measured rates; only their ratios matter for the choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from netspec.backends.numpy.winograd import Tiling
from netspec.operations import Convolution

PRODUCT_RATE = 75e9
"""Multiply-adds a second of a large float32 matrix product."""

FEW_ROWS = 12
"""Rows at which a product runs at half its rate."""

COPY = 0.25e-9
"""Seconds for one element gathered in runs of channels."""

STREAM = 0.3e-9
"""Seconds for one weight that is not in the cache."""


def product_cost(rows: float, depth: float, columns: float, times: float = 1) -> float:
    """(rows, depth) @ (depth, columns), so many times; the right operand comes from memory once."""
    slower = 1 + FEW_ROWS / rows + FEW_ROWS / columns + 4 / depth
    return times * (rows * depth * columns * slower / PRODUCT_RATE + depth * columns * STREAM)


def unfolded_cost(op: Convolution, weight: Sequence[int], out: Sequence[int]) -> float:
    """Gather k*c numbers for each place, then one product."""
    places = out[0] * math.prod(out[2:])
    depth = math.prod(weight[1:])
    gathered = 0 if math.prod(weight[2:]) == 1 and set(op.stride) == {1} else places * depth * op.groups
    return gathered * COPY + product_cost(places, depth, weight[0] / op.groups, op.groups)


def winograd_cost(how: Tiling, weight: Sequence[int], out: Sequence[int]) -> float:
    """Gather, carry over, one product a point, carry back, write."""
    features, channels = weight[:2]
    kernel, depth = (weight[2], out[2]) if len(weight) == 5 else (1, 1)
    points, outputs = math.prod(how.sizes), math.prod(how.outputs)
    tiles = out[0] * depth * math.prod(how.tiles)
    block = min(tiles / depth, 256.0)
    blocks = tiles / block
    carried = tiles * channels * points * (COPY + points / PRODUCT_RATE)
    returned = tiles * features * outputs * (COPY + points / PRODUCT_RATE)
    products = product_cost(block, channels, features, points * kernel) * blocks
    added = tiles * points * features * (kernel - 1) * COPY
    return carried + products + added + returned
