"""Writes golden/*.npz: what torch gives for each network of configs/ on the inputs of cases.py.

And keys/*.txt and published/*.npz, the names and logits of the published networks (torch_models.py).

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
from tests.configs import filling, published, torch_models_dense  # noqa: E402
from tests.configs.cases import CONFIGS, DENSE, DENSE_LOGITS, GOLDEN, LOGITS, PARAMETERS, SHAPES, inputs_of  # noqa: E402
from tests.configs.torch_models import PUBLISHED  # noqa: E402

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


def write_published() -> None:
    """Names and logits of each published network, with the same weights in netspec and torch."""
    assert PUBLISHED.keys() == published.PARAMETERS.keys()
    published.KEYS.mkdir(exist_ok=True)
    published.LOGITS.mkdir(exist_ok=True)
    for name, module in PUBLISHED.items():
        model = module().eval()
        assert sum(p.numel() for p in model.parameters()) == published.PARAMETERS[name]
        shapes = {key: tuple(array.shape) for key, array in model.state_dict().items()}
        lines = [f"{key} {list(shape)}\n" for key, shape in shapes.items()]
        (published.KEYS / f"{name}.txt").write_text("".join(lines))

        net = netspec.load(CONFIGS / f"{name}.yaml", weights=filling.weights_of(shapes))
        model.load_state_dict({k: torch.from_numpy(v) for k, v in net.state_dict().items()}, strict=True)
        net.load_state_dict({k: v.numpy() for k, v in model.state_dict().items()}, strict=True)

        image = published.picture()
        with torch.no_grad():
            expected = model(torch.from_numpy(image)).numpy()
        found = net.run({"image": image})["logits"]
        path = published.LOGITS / f"{name}.npz"
        np.savez_compressed(path, logits=expected)
        distance, largest = np.abs(found - expected).max(), np.abs(expected).max()
        print(f"{name}: {path.stat().st_size:,} bytes, netspec differs by {distance:.1e} of {largest:.3g}")


def write_dense() -> None:
    """Outputs of each network of torch_models_dense.py, with the weights of filling.py in netspec and torch."""
    assert torch_models_dense.MODULES.keys() == DENSE.keys()
    filling.DENSE_GOLDEN.mkdir(exist_ok=True)
    for name, module in torch_models_dense.MODULES.items():
        model = module().eval()
        assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
        weights = filling.weights_of(filling.shapes_of(CONFIGS / f"{name}.yaml"))
        model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=True)
        arrays = inputs_of(name)
        with torch.no_grad():
            outputs = model(**{k: torch.from_numpy(v) for k, v in arrays.items()})
        expected = {k: v.numpy() for k, v in outputs.items()}
        net = netspec.load(CONFIGS / f"{name}.yaml", weights=weights)
        found = net.run(arrays, taps=[DENSE_LOGITS[name]] if name in DENSE_LOGITS else [])
        assert found.keys() == expected.keys()
        path = filling.DENSE_GOLDEN / f"{name}.npz"
        np.savez_compressed(path, **filling.golden(expected))
        distance = max(filling.distance(found[k], expected[k]) for k in expected)
        print(f"{name}: {path.stat().st_size:,} bytes, netspec differs by {distance:.1e} of the largest")


if __name__ == "__main__":
    main()
    write_dense()
    write_published()
