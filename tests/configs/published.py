"""torchvision's classifiers in configs/, which come without weights: those of filling.py are used.

generate.py (needs torch) writes torch's state-dict keys as keys/NAME.txt and its logits as
published/NAME.npz; test_published.py compares.
"""

from __future__ import annotations

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


def picture() -> NDArray[np.float32]:
    """Two normalised pictures."""
    return np.random.RandomState(1).standard_normal(SHAPE).astype(np.float32)
