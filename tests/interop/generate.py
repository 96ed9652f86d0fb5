"""Writes golden/: checkpoints as PyTorch and safetensors write them, and what they hold.

python tests/interop/generate.py        needs PyTorch 2.13 (a development tool; the tests do not)
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent / "golden"
NETWORK = """\
netspec: 1
inputs: {x: [N, 1, 8, 8]}
layers:
  - {name: conv1, type: Conv2d, in_channels: 1, out_channels: 4, kernel_size: 3}
  - {name: bn, type: BatchNorm2d, num_features: 4}
  - {name: conv2, type: Conv2d, in_channels: 4, out_channels: 4, kernel_size: 3, padding: 1}
  - {name: again, use: conv2}
  - {type: Flatten}
  - {name: fc, type: Linear, out_features: 3}
"""


class Net(nn.Module):
    """The network above; `again` is `conv2`, so its state dict names two arrays twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.again = self.conv2
        self.fc = nn.Linear(144, 3)

    def forward(self, x: Any) -> Any:
        x = self.conv2(self.bn(self.conv1(x)))
        return self.fc(self.again(x).flatten(1))


def network() -> Net:
    """Always the same weights, with running statistics that are not the first ones."""
    torch.manual_seed(0)
    net = Net()
    net(torch.randn(8, 1, 8, 8))
    return net.eval()


def numpy(tensor: Any) -> Any:
    """The values, bfloat16 widened."""
    tensor = tensor.detach().resolve_conj().resolve_neg()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def kinds() -> dict[str, Any]:
    """Tensors of every dtype and layout."""
    torch.manual_seed(1)
    base = torch.arange(24.0)
    waves = torch.arange(6) * (1 + 2j)
    named = nn.Parameter(torch.ones(2))
    named.note = "an attribute"
    return {
        "float64": torch.randn(3).double(), "float16": torch.randn(3).half(),
        "bfloat16": torch.randn(3, 4).bfloat16(), "int64": torch.tensor([2**40, -1]),
        "int32": torch.tensor([2**30, -1], dtype=torch.int32), "int16": torch.tensor([-5], dtype=torch.int16),
        "int8": torch.tensor([-128], dtype=torch.int8), "uint8": torch.tensor([255], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]), "complex64": waves,
        "complex128": waves.to(torch.complex128),
        "scalar": torch.tensor(3), "scalar_bool": torch.tensor(True), "empty": torch.zeros(0, 4),
        "whole": base, "transposed": base.view(4, 6).t(), "part": base[5:9], "every_other": base[::2],
        "expanded": torch.tensor([[1.0, 2.0]]).expand(3, 2),
        "bfloat16_part": base.bfloat16().view(4, 6).t()[1:3],
        "conjugate": waves.conj(), "negative": waves.clone().conj().imag,
        "parameter": nn.Parameter(torch.ones(1)),
        "buffer": nn.Buffer(torch.ones(1)), "with_attribute": named,
    }  # fmt: skip


def main() -> None:
    """Write every file."""
    warnings.simplefilter("ignore")
    HERE.mkdir(exist_ok=True)
    for old in HERE.iterdir():
        old.unlink()
    net = network()
    state = net.state_dict()
    (HERE / "net.yaml").write_text(NETWORK)
    legacy: dict[str, Any] = {"_use_new_zipfile_serialization": False}

    def save(value: Any, name: str, **options: Any) -> None:
        torch.save(value, HERE / name, **options)

    x = torch.randn(2, 1, 8, 8)
    expected = {f"net.{k}": numpy(v) for k, v in state.items()}
    expected |= {"x": x.numpy(), "y": numpy(net(x))}
    save(state, "plain.pt")
    save(state, "legacy.pt", **legacy)
    save(state, "protocol5.pt", pickle_protocol=5)
    optimizer = torch.optim.Adam(net.parameters())
    net(x).sum().backward()
    before = {k: v.clone() for k, v in state.items()}
    optimizer.step()
    net.load_state_dict(before)
    save(
        {
            "epoch": 3, "best": np.float64(0.5), "model_state_dict": net.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(), "device": torch.device("cpu"), "size": x.size(),
        },
        "wrapped.pt",
    )  # fmt: skip
    save(torch.compile(net).state_dict(), "compiled.pt")
    save(nn.DataParallel(torch.compile(net)).state_dict(), "parallel.pt")
    save({"state_dict": {f"model.{k}": v for k, v in state.items()}, "global_step": 1}, "framework.ckpt")
    save(network().half().state_dict(), "half.pt")
    save(network().bfloat16().state_dict(), "bfloat16.pt")
    for name, apply in (
        ("weight_norm.pt", nn.utils.parametrizations.weight_norm),
        ("weight_norm_old.pt", nn.utils.weight_norm),
    ):
        normed = network()
        apply(normed.conv2)
        apply(normed.fc, dim=1)
        with torch.no_grad():
            for key, value in normed.named_parameters():
                if key.endswith(("original0", "weight_g")):
                    value.mul_(1.5)
        normed(x)
        expected |= {f"{name}.{part}": numpy(getattr(normed, part).weight) for part in ("conv2", "fc")}
        save(normed.state_dict(), name)

    different = {k: v.clone() for k, v in state.items()}
    different["again.weight"] += 1
    save(different, "untied.pt")

    expected |= {f"kinds.{k}": numpy(v) for k, v in kinds().items()}
    save(kinds(), "kinds.pt")
    save(kinds(), "kinds_legacy.pt", **legacy)
    expected["uint16"] = np.arange(3, dtype=np.uint16)
    save({"uint16": torch.arange(3).to(torch.uint16)}, "uint16.pt")

    small = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    save(small, "module.pt")
    save(small, "module_legacy.pt", **legacy)
    save({"model": network(), "epoch": 1}, "module_inside.pt")
    torch.jit.script(small).save(HERE / "script.pt")
    save({"q": torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8)}, "quantized.pt")
    save({"s": torch.eye(2).to_sparse()}, "sparse.pt")
    save({"m": torch.zeros(2, device="meta")}, "meta.pt")
    save({"f": torch.zeros(2).to(torch.float8_e4m3fn)}, "float8.pt")
    save({"c": torch.zeros(2, dtype=torch.complex32)}, "complex32.pt")
    save(torch.ones(2), "tensor.pt")
    save([torch.ones(2)], "list.pt")
    save({"epoch": 1}, "nothing.pt")

    simple = {k: v.contiguous().clone() for k, v in kinds().items()
              if k not in ("complex128", "conjugate", "negative")}  # fmt: skip
    save_file(simple, HERE / "kinds.safetensors", metadata={"format": "pt"})
    save_file({"f": torch.zeros(2).to(torch.float8_e5m2)}, HERE / "float8.safetensors")
    np.savez_compressed(HERE / "expected.npz", **expected)
    size = sum(p.stat().st_size for p in HERE.iterdir())
    print(f"{len(list(HERE.iterdir()))} files, {size:,} bytes")


if __name__ == "__main__":
    main()
