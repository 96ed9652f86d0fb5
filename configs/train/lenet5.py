"""Trains configs/lenet5.yaml and writes its weights and sample pictures.

    python configs/train/lenet5.py

A development tool: needs torch and scikit-learn. Prints the accuracy on the 450 held-out digits; the
samples are held-out digits too, the first of each kind.
"""

from __future__ import annotations

import torch
from digits import load_split
from fitting import CONFIGS, SAMPLES, accuracy, distorted, fit, start, write_weights
from models import LeNet5
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

SHOWN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""File names of the sample pictures."""


def main() -> None:
    """Train, report, write."""
    start(0)
    (images, digits), (held_images, held_digits) = load_split()
    x, y = torch.from_numpy(images), torch.from_numpy(digits)
    model = LeNet5()

    def loss(rows: Tensor) -> Tensor:
        return F.cross_entropy(model.logits(distorted(x[rows])), y[rows])

    fit(model, loss, len(x), epochs=60, rate=4e-3)
    with torch.no_grad():
        predicted = model.logits(torch.from_numpy(held_images)).argmax(1)
    print("held-out accuracy:", accuracy(predicted, torch.from_numpy(held_digits)))
    write_weights(model, CONFIGS / "lenet5.safetensors")

    SAMPLES.mkdir(exist_ok=True)
    pictures = (held_images[:, 0] * 255).round().astype("uint8")
    for digit, name in enumerate(SHOWN):
        first = int((held_digits == digit).argmax())
        Image.fromarray(pictures[first]).save(SAMPLES / f"{name}.png")


if __name__ == "__main__":
    main()
