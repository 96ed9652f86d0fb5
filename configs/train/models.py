"""The networks of configs/*.yaml as torch modules, written out layer by layer.

The training scripts fit them, and tests/configs/generate.py takes its golden outputs from them: their
state-dict keys are those of the YAML. Each returns its outputs by the YAML's names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Outputs = dict[str, Tensor]


class LeNet5(nn.Module):
    """configs/lenet5.yaml."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def logits(self, image: Tensor) -> Tensor:
        """Scores before the softmax."""
        x = F.avg_pool2d(torch.tanh(self.conv1(image)), 2)
        x = F.avg_pool2d(torch.tanh(self.conv2(x)), 2)
        x = torch.tanh(self.fc1(x.flatten(1)))
        return self.fc3(torch.tanh(self.fc2(x)))

    def forward(self, image: Tensor) -> Outputs:
        """image: (N, 1, 28, 28)."""
        return {"probabilities": self.logits(image).softmax(1)}


class Autoencoder(nn.Module):
    """configs/autoencoder.yaml."""

    def __init__(self) -> None:
        super().__init__()
        self.encode1 = nn.Conv2d(1, 8, 3, padding=1)
        self.pool1 = nn.MaxPool2d(2, return_indices=True)
        self.encode2 = nn.Conv2d(8, 16, 3, padding=1)
        self.pool2 = nn.MaxPool2d(2, return_indices=True)
        self.encode3 = nn.Conv2d(16, 4, 3, padding=1)
        self.decode3 = nn.ConvTranspose2d(4, 16, 3, padding=1)
        self.unpool2 = nn.MaxUnpool2d(2)
        self.decode2 = nn.ConvTranspose2d(16, 8, 3, padding=1)
        self.unpool1 = nn.MaxUnpool2d(2)
        self.decode1 = nn.ConvTranspose2d(8, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Outputs:
        """image: (N, 1, 28, 28)."""
        x, indices1 = self.pool1(torch.relu(self.encode1(image)))
        x, indices2 = self.pool2(torch.relu(self.encode2(x)))
        code = torch.relu(self.encode3(x))
        x = self.unpool2(torch.relu(self.decode3(code)), indices2)
        x = self.unpool1(torch.relu(self.decode2(x)), indices1)
        reconstruction = torch.sigmoid(self.decode1(x))
        error = F.mse_loss(reconstruction, image, reduction="none").mean((1, 2, 3))
        return {"reconstruction": reconstruction, "code": code, "error": error}


class Audio1d(nn.Module):
    """configs/audio1d.yaml."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, 8, 80, stride=4, bias=False)
        self.bn1 = nn.BatchNorm1d(8)
        self.pool1 = nn.MaxPool1d(4)
        self.conv2 = nn.Conv1d(8, 16, 3, bias=False)
        self.bn2 = nn.BatchNorm1d(16)
        self.pool2 = nn.MaxPool1d(4)
        self.conv3 = nn.Conv1d(16, 32, 3, bias=False)
        self.bn3 = nn.BatchNorm1d(32)
        self.pool3 = nn.AdaptiveAvgPool1d(1)
        self.fc = nn.Linear(32, 5)

    def logits(self, sound: Tensor) -> Tensor:
        """Scores before the softmax."""
        x = self.pool1(torch.relu(self.bn1(self.conv1(sound))))
        x = self.pool2(torch.relu(self.bn2(self.conv2(x))))
        x = self.pool3(torch.relu(self.bn3(self.conv3(x))))
        return self.fc(x.flatten(1))

    def forward(self, sound: Tensor) -> Outputs:
        """sound: (N, 1, L)."""
        return {"probabilities": self.logits(sound).softmax(1)}


class Volume3d(nn.Module):
    """configs/volume3d.yaml."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(1, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(8)
        self.pool1 = nn.MaxPool3d(2)
        self.conv2 = nn.Conv3d(8, 16, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(16)
        self.pool2 = nn.MaxPool3d(2)
        self.conv3 = nn.Conv3d(16, 24, 3, padding=1)
        self.pool3 = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(24, 4)

    def logits(self, volume: Tensor) -> Tensor:
        """Scores before the softmax."""
        x = self.pool1(torch.relu(self.bn1(self.conv1(volume))))
        x = self.pool2(torch.relu(self.bn2(self.conv2(x))))
        x = self.pool3(F.leaky_relu(self.conv3(x), 0.1))
        return self.fc(x.flatten(1))

    def forward(self, volume: Tensor) -> Outputs:
        """volume: (N, 1, D, H, W)."""
        return {"probabilities": self.logits(volume).softmax(1)}


class Siamese(nn.Module):
    """configs/siamese.yaml."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Conv2d(1, 8, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(256, 32),
            nn.Sigmoid(),
        )
        self.score = nn.Linear(32, 1)

    def forward(self, left: Tensor, right: Tensor, target: Tensor) -> Outputs:
        """left, right: (N, 1, 28, 28); target: (N, 1), 1 where both show the same digit."""
        distance = (self.embed(left) - self.embed(right)).abs()
        probability = torch.sigmoid(self.score(distance))
        return {"probability": probability, "loss": F.binary_cross_entropy(probability, target)}


class Segmentation(nn.Module):
    """configs/segmentation.yaml."""

    WIDTHS = (8, 12, 16, 24, 32)
    """Channels at full size, a half, ..., a sixteenth of it."""

    def __init__(self) -> None:
        super().__init__()
        widths = self.WIDTHS
        before = (1, *widths)
        for level in range(5):
            self.add_module(f"down{level}", self._step(before[level], widths[level]))
        for level in (3, 2, 1, 0):
            self.add_module(f"grow{level}", nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2))
            self.add_module(f"up{level}", self._step(2 * widths[level], widths[level]))
        self.head = nn.Conv2d(widths[0], 2, 1)

    @staticmethod
    def _step(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
        )

    def logits(self, image: Tensor) -> Tensor:
        """Scores of background and digit for each pixel."""
        skips = []
        x = image
        for level in range(4):
            x = self.get_submodule(f"down{level}")(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.get_submodule("down4")(x)
        for level in (3, 2, 1, 0):
            x = torch.cat([skips[level], self.get_submodule(f"grow{level}")(x)], 1)
            x = self.get_submodule(f"up{level}")(x)
        return self.head(x)

    def forward(self, image: Tensor) -> Outputs:
        """image: (N, 1, H, W)."""
        logits = self.logits(image)
        return {"probabilities": logits.softmax(1), "mask": logits.argmax(1)}
