"""Trains configs/audio1d.yaml on tones and noise made by formula, and writes its weights.

    python configs/train/audio1d.py

A development tool: needs torch. Prints the accuracy on 500 fresh sounds of a length that was not trained on.
"""

from __future__ import annotations

import numpy as np
import torch
from digits import Array
from fitting import CONFIGS, SAMPLES, accuracy, fit, start, write_weights
from models import Audio1d
from torch.nn import functional as F

RATE = 8000
"""Samples a second."""
KINDS = ("sine", "square", "sawtooth", "chirp", "noise")


def make_sound(kind: str, length: int, rng: np.random.RandomState) -> Array:
    """One sound of 100 to 400 Hz between -1 and 1, with a little noise; a chirp climbs by three octaves."""
    time = np.arange(length) / RATE
    low, phase = rng.uniform(100, 400), rng.rand()
    if kind == "chirp":
        rise = 3 / time[-1]
        turns = low * (2 ** (rise * time) - 1) / (rise * np.log(2)) + phase
    else:
        turns = low * time + phase
    wave = {
        "sine": lambda: np.sin(2 * np.pi * turns),
        "chirp": lambda: np.sin(2 * np.pi * turns),
        "square": lambda: np.sign(np.sin(2 * np.pi * turns)),
        "sawtooth": lambda: 2 * (turns % 1) - 1,
        "noise": lambda: rng.uniform(-1, 1, length),
    }[kind]()
    return (rng.uniform(0.3, 0.9) * wave + 0.02 * rng.randn(length)).astype(np.float32)


def make_sounds(count: int, length: int, rng: np.random.RandomState) -> tuple[torch.Tensor, torch.Tensor]:
    """(count, 1, length) and the numbers of their kinds, all kinds equally often."""
    kinds = np.arange(count) % len(KINDS)
    sounds = np.stack([make_sound(KINDS[k], length, rng) for k in kinds])
    return torch.from_numpy(sounds[:, None]), torch.from_numpy(kinds)


def main() -> None:
    """Train, report, write."""
    start(0)
    rng = np.random.RandomState(0)
    x, y = make_sounds(1500, 4000, rng)
    model = Audio1d()
    fit(model, lambda rows: F.cross_entropy(model.logits(x[rows]), y[rows]), len(x), epochs=15, rate=1e-2)
    held_out, kinds = make_sounds(500, 6000, rng)
    with torch.no_grad():
        print("held-out accuracy:", accuracy(model.logits(held_out).argmax(1), kinds))
    write_weights(model, CONFIGS / "audio1d.safetensors")
    np.save(SAMPLES / "chirp.npy", make_sound("chirp", 4000, rng)[None, None])


if __name__ == "__main__":
    main()
