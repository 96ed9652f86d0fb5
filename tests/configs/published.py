"""The published networks of configs/, which come without weights: their sizes, and weights made up for tests.

generate.py (needs torch) writes torch's state-dict keys as keys/NAME.txt and its logits as
published/NAME.npz; test_published.py compares.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

KEYS = Path(__file__).resolve().parent / "keys"
LOGITS = Path(__file__).resolve().parent / "published"

PARAMETERS = {
    "alexnet": 61_100_840,
    "vgg16": 138_357_544,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "mobilenet_v2": 3_504_872,
    "squeezenet1_1": 1_235_496,
    "densenet121": 7_978_856,
    "googlenet": 6_624_904,
}
"""num_params of torchvision's model pages; googlenet as they have it, without the auxiliary classifiers."""

SHAPE = (2, 3, 65, 84)
"""Of the pictures: two sides, neither a multiple of 32, so that every pooling rounds."""
_PERIOD = 100_003
"""Prime, so that no filter of a layer is like another."""


def picture() -> NDArray[np.float32]:
    """Two normalised pictures."""
    return np.random.RandomState(1).standard_normal(SHAPE).astype(np.float32)


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.generic]]:
    """Arrays under a state dict's keys, by a rule that is quick for 138 million numbers.

    A weight is a piece of one random vector that repeats, the place where it starts made of the key, scaled so
    that activations keep their size; what BatchNorm divides by is from 0.5 to 1.5, everything else is small.
    """
    vector = np.random.RandomState(0).standard_normal(_PERIOD).astype(np.float32)
    result: dict[str, NDArray[np.generic]] = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            result[key] = np.zeros(shape, np.int64)
            continue
        start = zlib.crc32(key.encode()) % _PERIOD
        array = np.resize(np.roll(vector, -start), shape)
        if len(shape) > 1:
            array *= np.float32(np.sqrt(2 / np.prod(shape[1:])))
        elif key.endswith(("weight", "running_var")):
            array = (0.5 + 1 / (1 + np.exp(-array))).astype(np.float32)
        else:
            array *= np.float32(0.1)
        result[key] = array
    return result
