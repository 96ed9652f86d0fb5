"""Published networks that give pictures, scores of frames or of windows, as torch modules.

Written out by hand from the papers and the public code that each YAML's head note names; only generate.py
takes its golden outputs from them. State-dict keys are those of the public code, and so of the YAML. Each
returns its outputs by the YAML's names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Outputs = dict[str, Tensor]


# --- U-Net ------------------------------------------------------------------------------------------


class DoubleConv(nn.Module):
    """Twice: convolution, batch normalisation, ReLU."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (before, after):
            layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.double_conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)


class Down(nn.Module):
    """Half the size, more channels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(before, after))

    def forward(self, x: Tensor) -> Tensor:
        return self.maxpool_conv(x)


class Up(nn.Module):
    """Twice the size beside the features of that size, padded to it as the original does."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(before, before // 2, 2, stride=2)
        self.conv = DoubleConv(before, after)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(x)
        rows, columns = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
        x = F.pad(x, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
        return self.conv(torch.cat([skip, x], 1))


class OutConv(nn.Module):
    """Scores of the classes."""

    def __init__(self, before: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class UNet(nn.Module):
    """configs/unet.yaml."""

    def __init__(self) -> None:
        super().__init__()
        self.inc = DoubleConv(3, 64)
        self.down1, self.down2 = Down(64, 128), Down(128, 256)
        self.down3, self.down4 = Down(256, 512), Down(512, 1024)
        self.up1, self.up2 = Up(1024, 512), Up(512, 256)
        self.up3, self.up4 = Up(256, 128), Up(128, 64)
        self.outc = OutConv(64, 2)

    def forward(self, image: Tensor) -> Outputs:
        """image: (N, 3, H, W)."""
        a = self.inc(image)
        b = self.down1(a)
        c = self.down2(b)
        d = self.down3(c)
        x = self.up1(self.down4(d), d)
        logits = self.outc(self.up4(self.up3(self.up2(x, c), b), a))
        return {"logits": logits, "mask": logits.argmax(1)}


# --- SegNet -----------------------------------------------------------------------------------------


class SegNet(nn.Module):
    """configs/segnet.yaml: unpooled to the size before the pooling, as its `output_size` says."""

    STAGES = (
        (3, (64, 64)),
        (64, (128, 128)),
        (128, (256, 256, 256)),
        (256, (512, 512, 512)),
        (512, (512, 512, 512)),
    )
    """Channels before each stage, and after each of its convolutions."""

    def __init__(self) -> None:
        super().__init__()
        for stage, (before, widths) in enumerate(self.STAGES, 1):
            for step, (i, o) in enumerate(zip((before, *widths), widths, strict=False), 1):
                self._add(f"{stage}{step}", i, o)
        for stage, (before, widths) in reversed(list(enumerate(self.STAGES, 1))):
            for step in range(len(widths), 1, -1):
                self._add(f"{stage}{step}d", widths[0], widths[0])
            if stage > 1:
                self._add(f"{stage}1d", widths[0], before)
        self.conv11d = nn.Conv2d(64, 12, 3, padding=1)

    def _add(self, tag: str, before: int, after: int) -> None:
        self.add_module(f"conv{tag}", nn.Conv2d(before, after, 3, padding=1))
        self.add_module(f"bn{tag}", nn.BatchNorm2d(after))

    def _step(self, tag: str, x: Tensor) -> Tensor:
        return F.relu(self.get_submodule(f"bn{tag}")(self.get_submodule(f"conv{tag}")(x)))

    def forward(self, image: Tensor) -> Outputs:
        """image: (N, 3, H, W), both sizes at least 32."""
        x, places = image, []
        for stage, (_, widths) in enumerate(self.STAGES, 1):
            for step in range(1, len(widths) + 1):
                x = self._step(f"{stage}{step}", x)
            size = x.shape[2:]
            x, indices = F.max_pool2d(x, 2, return_indices=True)
            places.append((indices, size))
        for stage in (5, 4, 3, 2, 1):
            indices, size = places[stage - 1]
            x = F.max_unpool2d(x, indices, 2, output_size=size)
            for step in range(len(self.STAGES[stage - 1][1]), 1 if stage == 1 else 0, -1):
                x = self._step(f"{stage}{step}d", x)
        logits = self.conv11d(x)
        return {"logits": logits, "mask": logits.argmax(1)}


# --- DCGAN ------------------------------------------------------------------------------------------


class Generator(nn.Module):
    """configs/dcgan_generator.yaml."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 100
        for after in (512, 256, 128, 64):
            stride, padding = (1, 0) if before == 100 else (2, 1)
            layers += [
                nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
            before = after
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, z: Tensor) -> Outputs:
        """z: (N, 100, 1, 1)."""
        return {"picture": self.main(z)}


# --- sounds -----------------------------------------------------------------------------------------


class M5(nn.Module):
    """configs/m5_audio.yaml."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(1, 32, 80, stride=16), nn.BatchNorm1d(32)
        self.conv2, self.bn2 = nn.Conv1d(32, 32, 3), nn.BatchNorm1d(32)
        self.conv3, self.bn3 = nn.Conv1d(32, 64, 3), nn.BatchNorm1d(64)
        self.conv4, self.bn4 = nn.Conv1d(64, 64, 3), nn.BatchNorm1d(64)
        self.fc1 = nn.Linear(64, 35)

    def forward(self, sound: Tensor) -> Outputs:
        """sound: (N, 1, L)."""
        x = F.max_pool1d(F.relu(self.bn1(self.conv1(sound))), 4)
        x = F.max_pool1d(F.relu(self.bn2(self.conv2(x))), 4)
        x = F.max_pool1d(F.relu(self.bn3(self.conv3(x))), 4)
        x = F.max_pool1d(F.relu(self.bn4(self.conv4(x))), 4)
        x = F.avg_pool1d(x, x.shape[-1]).permute(0, 2, 1)
        return {"log_probabilities": F.log_softmax(self.fc1(x), 2)}


class Crepe(nn.Module):
    """configs/crepe_tiny.yaml."""

    CHANNELS = (1, 128, 16, 16, 16, 32, 64)

    def __init__(self) -> None:
        super().__init__()
        for i in range(1, 7):
            before, after = self.CHANNELS[i - 1 : i + 1]
            kernel, stride = ((512, 1), (4, 1)) if i == 1 else ((64, 1), (1, 1))
            self.add_module(f"conv{i}", nn.Conv2d(before, after, kernel, stride))
            self.add_module(f"conv{i}_BN", nn.BatchNorm2d(after, eps=0.0010000000474974513, momentum=0.0))
        self.classifier = nn.Linear(256, 360)

    def forward(self, frames: Tensor) -> Outputs:
        """frames: (N, 1024)."""
        x = frames[:, None, :, None]
        for i in range(1, 7):
            x = F.pad(x, (0, 0, 254, 254) if i == 1 else (0, 0, 31, 32))
            x = self.get_submodule(f"conv{i}_BN")(F.relu(self.get_submodule(f"conv{i}")(x)))
            x = F.max_pool2d(x, (2, 1), (2, 1))
        pitches = torch.sigmoid(self.classifier(x.permute(0, 2, 1, 3).reshape(-1, 256)))
        return {"pitches": pitches, "best": pitches.argmax(1)}


# --- videos -----------------------------------------------------------------------------------------


class C3D(nn.Module):
    """configs/c3d.yaml."""

    CHANNELS = {
        "1": (3, 64),
        "2": (64, 128),
        "3a": (128, 256),
        "3b": (256, 256),
        "4a": (256, 512),
        "4b": (512, 512),
        "5a": (512, 512),
        "5b": (512, 512),
    }

    def __init__(self) -> None:
        super().__init__()
        for name, (before, after) in self.CHANNELS.items():
            self.add_module(f"conv{name}", nn.Conv3d(before, after, 3, padding=1))
        self.fc6 = nn.Linear(8192, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, 487)
        self.dropout = nn.Dropout(0.5)

    def _step(self, name: str, x: Tensor) -> Tensor:
        return F.relu(self.get_submodule(f"conv{name}")(x))

    def forward(self, clip: Tensor) -> Outputs:
        """clip: (N, 3, 16, 112, 112)."""
        x = F.max_pool3d(self._step("1", clip), (1, 2, 2))
        x = F.max_pool3d(self._step("2", x), 2)
        x = F.max_pool3d(self._step("3b", self._step("3a", x)), 2)
        x = F.max_pool3d(self._step("4b", self._step("4a", x)), 2)
        x = F.max_pool3d(self._step("5b", self._step("5a", x)), 2, padding=(0, 1, 1))
        x = self.dropout(F.relu(self.fc6(x.flatten(1))))
        x = self.dropout(F.relu(self.fc7(x)))
        logits = self.fc8(x)
        return {"probabilities": logits.softmax(1), "fc8": logits}


# --- MTCNN ------------------------------------------------------------------------------------------


class _Stage(nn.Module):
    """What MTCNN's three networks share: convolutions, each with a PReLU of its own slopes."""

    def _conv(self, number: int, before: int, after: int, kernel: int) -> None:
        self.add_module(f"conv{number}", nn.Conv2d(before, after, kernel))
        self.add_module(f"prelu{number}", nn.PReLU(after))

    def _step(self, number: int, x: Tensor) -> Tensor:
        return self.get_submodule(f"prelu{number}")(self.get_submodule(f"conv{number}")(x))


class PNet(_Stage):
    """configs/mtcnn_pnet.yaml."""

    def __init__(self) -> None:
        super().__init__()
        self._conv(1, 3, 10, 3)
        self._conv(2, 10, 16, 3)
        self._conv(3, 16, 32, 3)
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, image: Tensor) -> Outputs:
        """image: (N, 3, H, W)."""
        x = F.max_pool2d(self._step(1, image), 2, 2, ceil_mode=True)
        x = self._step(3, self._step(2, x))
        return {"regression": self.conv4_2(x), "probabilities": self.conv4_1(x).softmax(1)}


class RNet(_Stage):
    """configs/mtcnn_rnet.yaml."""

    def __init__(self) -> None:
        super().__init__()
        self._conv(1, 3, 28, 3)
        self._conv(2, 28, 48, 3)
        self._conv(3, 48, 64, 2)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, image: Tensor) -> Outputs:
        """image: (N, 3, 24, 24)."""
        x = F.max_pool2d(self._step(1, image), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self._step(2, x), 3, 2, ceil_mode=True)
        x = self._step(3, x).permute(0, 3, 2, 1).flatten(1)
        x = self.prelu4(self.dense4(x))
        return {"regression": self.dense5_2(x), "probabilities": self.dense5_1(x).softmax(1)}


class ONet(_Stage):
    """configs/mtcnn_onet.yaml."""

    def __init__(self) -> None:
        super().__init__()
        self._conv(1, 3, 32, 3)
        self._conv(2, 32, 64, 3)
        self._conv(3, 64, 64, 3)
        self._conv(4, 64, 128, 2)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2 = nn.Linear(256, 2), nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, image: Tensor) -> Outputs:
        """image: (N, 3, 48, 48)."""
        x = F.max_pool2d(self._step(1, image), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self._step(2, x), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self._step(3, x), 2, 2, ceil_mode=True)
        x = self._step(4, x).permute(0, 3, 2, 1).flatten(1)
        x = self.prelu5(self.dense5(x))
        return {
            "regression": self.dense6_2(x),
            "points": self.dense6_3(x),
            "probabilities": self.dense6_1(x).softmax(1),
        }


MODULES = {
    "unet": UNet,
    "segnet": SegNet,
    "dcgan_generator": Generator,
    "m5_audio": M5,
    "crepe_tiny": Crepe,
    "c3d": C3D,
    "mtcnn_pnet": PNet,
    "mtcnn_rnet": RNet,
    "mtcnn_onet": ONet,
}
"""The network that each file of configs/ describes."""
