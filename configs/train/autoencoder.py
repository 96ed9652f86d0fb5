"""Trains configs/autoencoder.yaml and writes its weights.

    python configs/train/autoencoder.py

A development tool: needs torch and scikit-learn. Prints the mean squared error of a pixel (0 to 1) over the
450 held-out digits, and beside it that of a black picture and of the mean training picture.
"""

from __future__ import annotations

import torch
from digits import load_split
from fitting import CONFIGS, distorted, fit, start, write_weights
from models import Autoencoder
from torch import Tensor


def main() -> None:
    """Train, report, write."""
    start(0)
    # torch calls max unpooling nondeterministic; with windows that do not overlap no index is met twice.
    torch.use_deterministic_algorithms(False)
    (images, _), (held_images, _) = load_split()
    x, held_out = torch.from_numpy(images), torch.from_numpy(held_images)
    model = Autoencoder()

    def loss(rows: Tensor) -> Tensor:
        return model(distorted(x[rows]))["error"].mean()

    fit(model, loss, len(x), epochs=25, rate=1e-2)
    with torch.no_grad():
        error = model(held_out)["error"].mean().item()
    print(f"held-out error: {error:.5f}")
    print(f"a black picture: {held_out.square().mean().item():.5f}")
    print(f"the mean picture: {(held_out - x.mean(0)).square().mean().item():.5f}")
    write_weights(model, CONFIGS / "autoencoder.safetensors")


if __name__ == "__main__":
    main()
