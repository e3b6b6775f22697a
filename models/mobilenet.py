"""Nets of inverted residuals: MobileNetV2 (arXiv 1801.04381) and EfficientNet-B0 (arXiv 1905.11946).

On ImageNet both halve the size five times. Here the first two of those strides, of the stem and of the
stage with 24 channels, are 1, so that 32x32 images end as maps of 4x4. The parameters are those of the
papers' nets: 2.24M and 4.02M at 10 classes.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.blocks import ConvNet, conv_norm, he_normal, stage


class Stage(NamedTuple):
    """One line of the papers' tables."""

    expansion: int
    num_out: int
    repeats: int
    stride: int
    kernel_size: int


MOBILENET_V2 = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 1, 3),
    Stage(6, 32, 3, 2, 3),
    Stage(6, 64, 4, 2, 3),
    Stage(6, 96, 3, 1, 3),
    Stage(6, 160, 3, 2, 3),
    Stage(6, 320, 1, 1, 3),
)
EFFICIENTNET_B0 = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 1, 3),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2, 3),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1, 3),
)
STEM_WIDTH = 32
NUM_FEATURES = 1280


def mobilenet_v2(num_classes: int, image_size: int) -> ConvNet:
    """MobileNetV2 at width 1: Sandler et al. 2018, table 2."""
    del image_size  # global pooling: any size fits
    return _net(MOBILENET_V2, nn.ReLU6, squeezes=False, num_classes=num_classes)


def efficientnet_b0(num_classes: int, image_size: int) -> ConvNet:
    """EfficientNet-B0: Tan & Le 2019, table 1."""
    del image_size
    return _net(EFFICIENTNET_B0, nn.SiLU, squeezes=True, num_classes=num_classes)


class InvertedResidual(nn.Module):
    """Expand by a 1x1 convolution, filter each channel, project to few (MobileNetV2, figure 4d).

    `squeezes` weighs the channels before the projection (EfficientNet's MBConv).
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        stride: int,
        expansion: int,
        kernel_size: int,
        activation: type[nn.Module],
        squeezes: bool,
    ) -> None:
        super().__init__()
        num_inner = expansion * num_in
        layers: list[nn.Module] = []
        if expansion > 1:
            layers.append(conv_norm(num_in, num_inner, 1, activation=activation))
        layers.append(
            conv_norm(num_inner, num_inner, kernel_size, stride, groups=num_inner, activation=activation)
        )
        if squeezes:
            layers.append(SqueezeExcitation(num_inner, num_in // 4))
        layers.append(conv_norm(num_inner, num_out, 1))
        self.layers = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and num_in == num_out

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, num_in, H, W] to [B, num_out, H / stride, W / stride]."""
        out: Tensor = self.layers(x)
        return x + out if self.has_shortcut else out


class SqueezeExcitation(nn.Module):
    """Weigh each channel by what the means of all channels say (Hu et al. 2018, arXiv 1709.01507)."""

    def __init__(self, num_channels: int, num_squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(num_channels, num_squeezed, kernel_size=1)
        self.excite = nn.Conv2d(num_squeezed, num_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C, H, W]."""
        hidden = nn.functional.silu(self.squeeze(x.mean(dim=(2, 3), keepdim=True)))
        return x * torch.sigmoid(self.excite(hidden))


def _net(stages: tuple[Stage, ...], activation: type[nn.Module], squeezes: bool, num_classes: int) -> ConvNet:
    stem = conv_norm(3, STEM_WIDTH, 3, activation=activation)
    blocks: list[nn.Module] = []
    num_in = STEM_WIDTH
    for expansion, num_out, repeats, stride, kernel_size in stages:
        make_block = partial(
            InvertedResidual,
            expansion=expansion,
            kernel_size=kernel_size,
            activation=activation,
            squeezes=squeezes,
        )
        blocks += stage(make_block, num_in, num_out, repeats, stride)
        num_in = num_out
    blocks.append(conv_norm(num_in, NUM_FEATURES, 1, activation=activation))
    return he_normal(ConvNet(stem, blocks, NUM_FEATURES, num_classes))
