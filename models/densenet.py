"""DenseNet-BC for small images: Huang et al. 2017, arXiv 1608.06993, section 3.

`densenet_bc_100_12`: 100 layers, growth rate 12, bottlenecks and half the channels kept between dense
blocks; 0.8M parameters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ConvNet, conv, he_normal

GROWTH = 12
LAYERS_PER_BLOCK = 16  # (100 - 4) / 3 dense blocks / 2 convolutions


def densenet_bc_100_12(num_classes: int, image_size: int) -> ConvNet:
    """DenseNet-BC (L = 100, k = 12): three dense blocks at full, half and quarter size."""
    del image_size  # global pooling: any size fits
    num_in = 2 * GROWTH
    stem = conv(3, num_in, 3)
    blocks: list[nn.Module] = []
    for _ in range(3):
        if blocks:
            blocks.append(_transition(num_in))
            num_in //= 2
        blocks += [DenseLayer(num_in + GROWTH * layer) for layer in range(LAYERS_PER_BLOCK)]
        num_in += GROWTH * LAYERS_PER_BLOCK
    blocks += [nn.BatchNorm2d(num_in), nn.ReLU(inplace=True)]
    return he_normal(ConvNet(stem, blocks, num_in, num_classes))


class DenseLayer(nn.Module):
    """A 1x1 bottleneck and a 3x3 convolution, whose output joins the input (section 3, "DenseNet-B")."""

    def __init__(self, num_in: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(num_in)
        self.conv1 = conv(num_in, 4 * GROWTH, 1)
        self.norm2 = nn.BatchNorm2d(4 * GROWTH)
        self.conv2 = conv(4 * GROWTH, GROWTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, num_in, H, W] to [B, num_in + GROWTH, H, W]."""
        out = self.conv1(F.relu(self.norm1(x), inplace=True))
        out = self.conv2(F.relu(self.norm2(out), inplace=True))
        return torch.cat((x, out), dim=1)


def _transition(num_in: int) -> nn.Module:
    """Half the channels at half the size (section 3, "Pooling layers" and "Compression")."""
    return nn.Sequential(
        nn.BatchNorm2d(num_in), nn.ReLU(inplace=True), conv(num_in, num_in // 2, 1), nn.AvgPool2d(2)
    )
