"""Writes golden/*.npz: what torch gives for each network of configs/ on the inputs of cases.py.

    python tests/configs/generate.py

A development tool: needs torch, and is not run by the tests. The torch modules are written out in
configs/train/models.py; they load the weights that netspec has loaded, with strict=True, so that a name or
shape that differs from torch's stops here. Says how far netspec is from torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "configs" / "train")]

import models  # noqa: E402

import netspec  # noqa: E402
from tests.configs.cases import CONFIGS, GOLDEN, LOGITS, SHAPES, inputs_of  # noqa: E402

MODULES = {
    "lenet5": models.LeNet5,
    "autoencoder": models.Autoencoder,
    "audio1d": models.Audio1d,
    "volume3d": models.Volume3d,
    "siamese": models.Siamese,
    "segmentation": models.Segmentation,
}


def main() -> None:
    """One file for each network."""
    assert MODULES.keys() == SHAPES.keys()
    GOLDEN.mkdir(exist_ok=True)
    for name, module in MODULES.items():
        net = netspec.load(CONFIGS / f"{name}.yaml", seed=0)
        model = module().eval()
        model.load_state_dict({k: torch.from_numpy(v) for k, v in net.state_dict().items()}, strict=True)
        arrays = inputs_of(name)
        with torch.no_grad():
            tensors = {k: torch.from_numpy(v) for k, v in arrays.items()}
            outputs = model(**tensors)
            if name in LOGITS:
                outputs[LOGITS[name]] = model.logits(**tensors)
        expected = {k: v.numpy() for k, v in outputs.items()}
        found = net.run(arrays, taps=[LOGITS[name]] if name in LOGITS else [])
        path = GOLDEN / f"{name}.npz"
        np.savez_compressed(path, **expected)
        distance = max(np.abs(found[k] - expected[k]).max() for k in expected)
        print(f"{name}: {path.stat().st_size:,} bytes, netspec differs by {distance:.1e}")


if __name__ == "__main__":
    main()
