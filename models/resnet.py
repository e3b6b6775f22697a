"""Residual networks for small images: He et al. 2016, arXiv 1512.03385.

`resnet20` is the thin net of section 4.2 with parameter-free shortcuts (option A), 0.27M parameters.
`resnet18` is table 1's ImageNet net with a 3x3 stem and no max-pooling, as is usual at 32x32
(11.17M parameters at 10 classes).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def resnet20(num_classes: int, image_size: int) -> nn.Module:
    """ResNet-20: three stages of three blocks, 16, 32 and 64 channels."""
    del image_size  # global pooling: any size fits
    return ResNet((16, 32, 64), blocks_per_stage=3, num_classes=num_classes, projection=False)


def resnet18(num_classes: int, image_size: int) -> nn.Module:
    """ResNet-18 with a stem for small images: four stages of two blocks, 64 to 512 channels."""
    del image_size
    return ResNet((64, 128, 256, 512), blocks_per_stage=2, num_classes=num_classes, projection=True)


class ResNet(nn.Module):
    """A 3x3 stem, stages of basic blocks of which each but the first halves the size, a linear head."""

    def __init__(
        self, widths: tuple[int, ...], blocks_per_stage: int, num_classes: int, projection: bool
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv3x3(3, widths[0], 1), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
        blocks: list[nn.Module] = []
        num_in = widths[0]
        for stage, width in enumerate(widths):
            for block in range(blocks_per_stage):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(BasicBlock(num_in, width, stride, projection))
                num_in = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(num_in, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits [B, num_classes] of float images [B, 3, H, W]."""
        features: Tensor = self.blocks(self.stem(images_BCHW))
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (figure 2 of the paper)."""

    def __init__(self, num_in: int, num_out: int, stride: int, projection: bool) -> None:
        super().__init__()
        self.conv1 = _conv3x3(num_in, num_out, stride)
        self.norm1 = nn.BatchNorm2d(num_out)
        self.conv2 = _conv3x3(num_out, num_out, 1)
        self.norm2 = nn.BatchNorm2d(num_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or num_in != num_out:
            self.shortcut = (
                _projection(num_in, num_out, stride) if projection else PadShortcut(stride, num_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, num_in, H, W] to [B, num_out, H / stride, W / stride]."""
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = self.norm2(self.conv2(out))
        return F.relu(out + self.shortcut(x), inplace=True)


class PadShortcut(nn.Module):
    """Option A of section 3.3: every `stride`-th pixel, and zeros for the new channels."""

    def __init__(self, stride: int, num_out: int) -> None:
        super().__init__()
        self.stride = stride
        self.num_out = num_out

    def forward(self, x: Tensor) -> Tensor:
        """Subsample and pad [B, C, H, W] to [B, num_out, H / stride, W / stride]."""
        x = x[:, :, :: self.stride, :: self.stride]
        extra = self.num_out - x.shape[1]
        return F.pad(x, (0, 0, 0, 0, extra // 2, extra - extra // 2))


def _conv3x3(num_in: int, num_out: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(num_in, num_out, kernel_size=3, stride=stride, padding=1, bias=False)


def _projection(num_in: int, num_out: int, stride: int) -> nn.Module:
    conv = nn.Conv2d(num_in, num_out, kernel_size=1, stride=stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(num_out))
