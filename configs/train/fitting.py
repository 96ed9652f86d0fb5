"""What the training scripts share: the seed, one loop, distortions, and writing weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netspec.interop.safetensors import write_safetensors

CONFIGS = Path(__file__).resolve().parent.parent
SAMPLES = CONFIGS / "samples"


def start(seed: int) -> None:
    """Fix everything that is drawn."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)


def fit(
    model: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    rows: int,
    *,
    epochs: int,
    rate: float,
    batch: int = 64,
) -> None:
    """AdamW under a one-cycle rate. loss_of: the loss for the rows (indices) of one batch."""
    steps = -(-rows // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs=epochs, steps_per_epoch=steps)
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for indices in torch.randperm(rows).split(batch):
            optimizer.zero_grad()
            loss = loss_of(indices)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(indices)
        if epoch % 5 == 4 or epoch == epochs - 1:
            print(f"epoch {epoch + 1}: loss {total / rows:.4f}", flush=True)
    model.eval()


def distorted(pictures: Tensor, degrees: float = 12, shift: float = 0.1) -> Tensor:
    """Each picture (N, 1, H, W) turned, moved and scaled a little, at random: smaller rather than larger."""
    n = len(pictures)
    angle = (torch.rand(n) * 2 - 1) * degrees * torch.pi / 180
    scale = 0.95 + torch.rand(n) * 0.4
    place = (torch.rand(n, 2, 1) * 2 - 1) * 2 * shift
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    turn = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    grid = F.affine_grid(torch.cat([turn, place], 2), list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, align_corners=False)


def accuracy(predicted: Tensor, truth: Tensor) -> str:
    """`97.6 % (439 of 450)`."""
    right = int((predicted == truth).sum())
    return f"{100 * right / truth.numel():.1f} % ({right} of {truth.numel()})"


def write_weights(model: nn.Module, path: Path) -> None:
    """The state dict as safetensors."""
    write_safetensors(path, {name: value.numpy() for name, value in model.state_dict().items()})
    print(f"wrote {path.relative_to(CONFIGS.parent)}: {path.stat().st_size:,} bytes")
