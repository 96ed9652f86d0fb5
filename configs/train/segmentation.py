"""Trains configs/segmentation.yaml and writes its weights and a sample picture.

    python configs/train/segmentation.py

A development tool: needs torch and scikit-learn. Each scene is a digit at a random place of a grey, noisy
and striped ground of 48x48; prints the overlap (intersection over union) of the digits' pixels for held-out
digits on fresh grounds of 64x80, a size that was not trained on.
"""

from __future__ import annotations

import numpy as np
import torch
from digits import Array, load_split
from fitting import CONFIGS, SAMPLES, accuracy, fit, start, write_weights
from models import Segmentation
from PIL import Image
from torch.nn import functional as F


def make_scene(picture: Array, height: int, width: int, rng: np.random.RandomState) -> tuple[Array, Array]:
    """A digit (28, 28) on a ground: float32 (1, height, width), and where the digit is."""
    rows, columns = np.indices((height, width))
    direction = rng.uniform(0, np.pi)
    stripes = np.sin((rows * np.cos(direction) + columns * np.sin(direction)) * rng.uniform(0.2, 1.2))
    ground = 0.25 + 0.15 * rng.rand() * stripes + 0.08 * rng.randn(height, width)
    digit = np.zeros((height, width))
    top, left = rng.randint(height - 27), rng.randint(width - 27)
    digit[top : top + 28, left : left + 28] = picture
    scene = ground * (1 - digit) + rng.uniform(0.6, 1.0) * digit
    rounded = np.rint(np.clip(scene, 0, 1) * 255) / 255  # as a stored picture has it
    return rounded.astype(np.float32)[None], (digit > 0.5).astype(np.int64)


def make_scenes(
    pictures: Array, height: int, width: int, rng: np.random.RandomState
) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 1, height, width) and masks (n, height, width)."""
    scenes, masks = zip(*(make_scene(p[0], height, width, rng) for p in pictures), strict=True)
    return torch.from_numpy(np.stack(scenes)), torch.from_numpy(np.stack(masks))


def main() -> None:
    """Train, report, write."""
    start(0)
    rng = np.random.RandomState(0)
    (images, _), (held_images, held_digits) = load_split()
    x, y = make_scenes(images, 48, 48, rng)
    model = Segmentation()
    fit(model, lambda rows: F.cross_entropy(model.logits(x[rows]), y[rows]), len(x), epochs=10, rate=1e-2)
    scenes, masks = make_scenes(held_images, 64, 80, rng)
    with torch.no_grad():
        found = torch.cat([model(part)["mask"] for part in scenes.split(64)])
    both, either = ((found & masks) > 0).sum(), ((found | masks) > 0).sum()
    print("held-out pixels:", accuracy(found, masks), f"overlap {both / either:.3f}")
    write_weights(model, CONFIGS / "segmentation.safetensors")
    scene = scenes[int((held_digits == 5).argmax()), 0].numpy()
    Image.fromarray((scene * 255).round().astype("uint8")).save(SAMPLES / "scene.png")


if __name__ == "__main__":
    main()
