"""Wide residual networks: Zagoruyko & Komodakis 2016, arXiv 1605.07146, table 1 with blocks B(3, 3).

`wrn_16_4` has 2.7M parameters, `wrn_28_10` 36.5M; both without dropout.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ConvNet, conv, he_normal, stage


def wrn_16_4(num_classes: int, image_size: int) -> ConvNet:
    """WRN-16-4: three stages of two blocks, four times as wide as a thin ResNet."""
    del image_size  # global pooling: any size fits
    return _wide_resnet(blocks_per_stage=2, widening=4, num_classes=num_classes)


def wrn_28_10(num_classes: int, image_size: int) -> ConvNet:
    """WRN-28-10: three stages of four blocks, ten times as wide as a thin ResNet."""
    del image_size
    return _wide_resnet(blocks_per_stage=4, widening=10, num_classes=num_classes)


class PreactivationBlock(nn.Module):
    """Norm and ReLU before each of two 3x3 convolutions (He et al. 2016, arXiv 1603.05027, figure 1b)."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(num_in)
        self.conv1 = conv(num_in, num_out, 3, stride)
        self.norm2 = nn.BatchNorm2d(num_out)
        self.conv2 = conv(num_out, num_out, 3)
        self.projection = None if num_in == num_out else conv(num_in, num_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, num_in, H, W] to [B, num_out, H / stride, W / stride]."""
        activated = F.relu(self.norm1(x), inplace=True)
        out = F.relu(self.norm2(self.conv1(activated)), inplace=True)
        shortcut = x if self.projection is None else self.projection(activated)
        total: Tensor = shortcut + self.conv2(out)
        return total


def _wide_resnet(blocks_per_stage: int, widening: int, num_classes: int) -> ConvNet:
    blocks: list[nn.Module] = []
    num_in = 16
    for width in (16 * widening, 32 * widening, 64 * widening):
        blocks += stage(PreactivationBlock, num_in, width, blocks_per_stage, stride=2 if blocks else 1)
        num_in = width
    blocks += [nn.BatchNorm2d(num_in), nn.ReLU(inplace=True)]
    return he_normal(ConvNet(conv(3, 16, 3), blocks, num_in, num_classes))
