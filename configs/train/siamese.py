"""Trains configs/siamese.yaml and writes its weights.

    python configs/train/siamese.py

A development tool: needs torch and scikit-learn. Pairs are drawn from the training digits, half of them of
the same digit; prints how many of 2000 pairs of held-out digits are told right.
"""

from __future__ import annotations

import numpy as np
import torch
from digits import Array, load_split
from fitting import CONFIGS, SAMPLES, accuracy, distorted, fit, start, write_weights
from models import Siamese
from torch import Tensor
from torch.nn import functional as F


def draw_pairs(digits: Array, count: int, rng: np.random.RandomState) -> tuple[Tensor, Tensor, Tensor]:
    """(left, right, target) of `count` pairs: row numbers, and 1.0 (count, 1) where the digits are equal."""
    left = rng.randint(len(digits), size=count)
    same = rng.rand(count) < 0.5
    right = np.empty(count, np.int64)
    for i in range(count):
        fitting = np.flatnonzero((digits == digits[left[i]]) == same[i])
        right[i] = rng.choice(fitting[fitting != left[i]])
    return torch.from_numpy(left), torch.from_numpy(right), torch.from_numpy(same.astype(np.float32)[:, None])


def main() -> None:
    """Train, report, write."""
    start(0)
    rng = np.random.RandomState(0)
    (images, digits), (held_images, held_digits) = load_split()
    x, held_out = torch.from_numpy(images), torch.from_numpy(held_images)
    model = Siamese()

    left, right, target = draw_pairs(digits, 4000, rng)

    def loss(rows: Tensor) -> Tensor:
        found = model(distorted(x[left[rows]], 6, 0.05), distorted(x[right[rows]], 6, 0.05), target[rows])
        return found["loss"]

    fit(model, loss, len(target), epochs=30, rate=4e-3)
    left, right, target = draw_pairs(held_digits, 2000, rng)
    with torch.no_grad():
        probability = model(held_out[left], held_out[right], target)["probability"]
    print("held-out pairs:", accuracy(probability > 0.5, target > 0.5), end=", ")
    print(f"loss {F.binary_cross_entropy(probability, target).item():.4f}")
    write_weights(model, CONFIGS / "siamese.safetensors")
    np.save(SAMPLES / "same.npy", np.ones((1, 1), np.float32))


if __name__ == "__main__":
    main()
