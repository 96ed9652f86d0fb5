"""Trains configs/volume3d.yaml on solids made by formula, and writes its weights.

    python configs/train/volume3d.py

A development tool: needs torch. Prints the accuracy on 400 fresh solids.
"""

from __future__ import annotations

import numpy as np
import torch
from digits import Array
from fitting import CONFIGS, SAMPLES, accuracy, fit, start, write_weights
from models import Volume3d
from torch.nn import functional as F

KINDS = ("ball", "box", "cylinder", "torus")
SIZE = 20
"""Voxels along each axis."""


def make_solid(kind: str, rng: np.random.RandomState) -> Array:
    """One solid of random size, place and axis in a noisy volume of SIZE^3, values about 0 and 1."""
    radius = rng.uniform(4.5, 7.5)
    centre = (SIZE - 1) / 2 + rng.uniform(-1.5, 1.5, (3, 1, 1, 1))
    a, b, c = (np.indices((SIZE,) * 3) - centre)[rng.permutation(3)]
    ring = np.hypot(a, b)
    inside = {
        "ball": lambda: ring**2 + c**2 <= radius**2,
        "box": lambda: np.maximum(np.maximum(abs(a), abs(b)), abs(c)) <= radius * 0.8,
        "cylinder": lambda: (ring <= radius * 0.6) & (abs(c) <= radius),
        "torus": lambda: (ring - radius * 0.7) ** 2 + c**2 <= (radius * 0.3) ** 2,
    }[kind]()
    return (inside + 0.1 * rng.randn(SIZE, SIZE, SIZE)).astype(np.float32)


def make_solids(count: int, rng: np.random.RandomState) -> tuple[torch.Tensor, torch.Tensor]:
    """(count, 1, SIZE, SIZE, SIZE) and the numbers of their kinds, all kinds equally often."""
    kinds = np.arange(count) % len(KINDS)
    solids = np.stack([make_solid(KINDS[k], rng) for k in kinds])
    return torch.from_numpy(solids[:, None]), torch.from_numpy(kinds)


def main() -> None:
    """Train, report, write."""
    start(0)
    rng = np.random.RandomState(0)
    x, y = make_solids(800, rng)
    model = Volume3d()
    fit(model, lambda rows: F.cross_entropy(model.logits(x[rows]), y[rows]), len(x), epochs=10, rate=1e-2)
    held_out, kinds = make_solids(400, rng)
    with torch.no_grad():
        print("held-out accuracy:", accuracy(model.logits(held_out).argmax(1), kinds))
    write_weights(model, CONFIGS / "volume3d.safetensors")
    np.save(SAMPLES / "torus.npy", make_solid("torus", rng)[None, None].astype(np.float16))


if __name__ == "__main__":
    main()
