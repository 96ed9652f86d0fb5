"""The seeded inputs on which each network of configs/ is run and compared with torch.

generate.py (needs torch) writes torch's outputs for them as golden/NAME.npz; test_configs.py compares.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
GOLDEN = Path(__file__).resolve().parent / "golden"

SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "lenet5": {"image": (3, 1, 28, 28)},
    "autoencoder": {"image": (2, 1, 28, 28)},
    "audio1d": {"sound": (2, 1, 777)},
    "volume3d": {"volume": (2, 1, 9, 12, 7)},
    "siamese": {"left": (3, 1, 28, 28), "right": (3, 1, 28, 28), "target": (3, 1)},
    "segmentation": {"image": (2, 1, 16, 48)},
}
"""Shape of each input of each network: odd sizes where the network takes them."""

LOGITS = {"lenet5": "fc3", "audio1d": "fc", "volume3d": "fc", "segmentation": "head"}
"""The layer before the softmax, also compared: a softmax near 0 or 1 would hide differences."""

PUBLISHED: dict[str, dict[str, tuple[int, ...]]] = {
    "unet": {"image": (1, 3, 16, 48)},
    "segnet": {"image": (1, 3, 43, 38)},
    "dcgan_generator": {"z": (2, 100, 1, 1)},
    "m5_audio": {"sound": (2, 1, 8000)},
    "c3d": {"clip": (1, 3, 16, 112, 112)},
    "mtcnn_pnet": {"image": (1, 3, 61, 48)},
    "mtcnn_rnet": {"image": (3, 3, 24, 24)},
    "mtcnn_onet": {"image": (3, 3, 48, 48)},
    "crepe_tiny": {"frames": (3, 1024)},
}
"""The networks of others, without their weights: the same, and filling.py gives the weights."""

PARAMETERS: dict[str, int] = {
}
"""How many parameters each of them has."""


def inputs_of(name: str) -> dict[str, Any]:
    """The network's inputs: float32 numbers from 0 to 1, the same on every machine; targets are 0 or 1."""
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    arrays = {key: rng.random_sample(shape).astype(np.float32) for key, shape in (SHAPES | PUBLISHED)[name].items()}
    if "target" in arrays:
        arrays["target"] = np.rint(arrays["target"])
    return arrays
