"""Arrays (n, c, *s) as the kernels of kernels/planes.cuh take them: SPACE axes of space, missing ones in front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.backends.base import Array
from netspec.backends.cupy.arguments import SPACE
from netspec.backends.cupy.launching import described
from netspec.backends.strides import channels_inside

PACK_BYTES = 16
"""Most that a thread moves at once."""

PACK_CHANNELS = 8
"""Most channels that a thread takes at once."""


def spatial(values: Sequence[Any], missing: Any) -> list[Any]:
    """One value an axis of space."""
    return [missing] * (SPACE - len(values)) + list(values)


def in_space(x: Array) -> dict[str, Any]:
    """The `Array` struct of x (n, c, *s)."""
    n, c, *space = x.strides
    return described(x, [n, c, *spatial(space, 0)])


def along_channels(out: Array, x: Array) -> bool:
    """Whether threads should run along the channels: those of `out`, or of x where out has one place a plane."""
    return channels_inside(out) or (max(out.shape[2:]) == 1 and channels_inside(x))


def pack(*arrays: Array) -> int:
    """How many channels a thread can move at once: 1, or as many as the kernels' PACK."""
    item = int(arrays[0].itemsize)
    size = min(PACK_CHANNELS, PACK_BYTES // item)
    for x in arrays:
        others = (
            step for step, extent in zip(x.strides, x.shape, strict=True) if extent > 1 and step != item
        )
        whole = x.strides[1] == item and x.shape[1] % size == 0
        if not whole or any(place % (size * item) for place in (x.data.ptr, *others)):
            return 1
    return size
