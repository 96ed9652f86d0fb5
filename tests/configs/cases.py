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

DENSE: dict[str, dict[str, tuple[int, ...]]] = {
    "unet": {"image": (1, 3, 16, 48)},
    "segnet": {"image": (1, 3, 63, 38)},
    "dcgan_generator": {"z": (2, 100, 1, 1)},
    "m5_audio": {"sound": (2, 1, 20011)},
    "crepe_tiny": {"frames": (3, 1024)},
    "c3d": {"clip": (1, 3, 16, 112, 112)},
    "mtcnn_pnet": {"image": (1, 3, 61, 48)},
    "mtcnn_rnet": {"image": (3, 3, 24, 24)},
    "mtcnn_onet": {"image": (3, 3, 48, 48)},
}
"""Published networks with dense or several outputs, which come without weights: those of filling.py."""

DENSE_LOGITS = {"c3d": "fc8"}
"""As LOGITS."""

SEEDS = {"segnet": 1555}
"""Seeds of the inputs, where not the name's own. SegNet's poolings say where they took each maximum from, and
rounding, which no two machines do alike, may choose between two numbers nearly as large: on this picture no
window has such two (test_dense.py)."""

PARAMETERS = {
    "unet": 31_037_698,
    "segnet": 29_449_932,
    "dcgan_generator": 3_576_704,
    "m5_audio": 26_915,
    "crepe_tiny": 486_552,
    "c3d": 79_991_015,
    "mtcnn_pnet": 6_632,
    "mtcnn_rnet": 100_178,
    "mtcnn_onet": 389_040,
}
"""Parameters of the torch modules, buffers not counted. The tutorial prints m5_audio's, and Pytorch-UNet's
released unet has 31,037,698."""


def inputs_of(name: str) -> dict[str, Any]:
    """The network's inputs: float32 numbers from 0 to 1, the same on every machine; targets are 0 or 1."""
    rng = np.random.RandomState(SEEDS.get(name, zlib.crc32(name.encode())))
    shapes = (SHAPES | DENSE)[name]
    arrays = {key: rng.random_sample(shape).astype(np.float32) for key, shape in shapes.items()}
    if "target" in arrays:
        arrays["target"] = np.rint(arrays["target"])
    return arrays
