"""ShuffleNetV2 at width 1 for small images: Ma et al. 2018, arXiv 1807.11164, table 5.

At 32x32 the stem keeps the size (on ImageNet it divides it by four, with a pooling), so that the last
maps are 4x4. 1.26M parameters at 10 classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.blocks import ConvNet, conv_norm, he_normal, stage

STEM_WIDTH = 24
STAGES = ((116, 4), (232, 8), (464, 4))  # channels, units
NUM_FEATURES = 1024


def shufflenet_v2(num_classes: int, image_size: int) -> ConvNet:
    """ShuffleNetV2 1.0x: three stages, each of which halves the size."""
    del image_size  # global pooling: any size fits
    stem = conv_norm(3, STEM_WIDTH, 3, activation=nn.ReLU)
    blocks: list[nn.Module] = []
    num_in = STEM_WIDTH
    for width, count in STAGES:
        blocks += stage(ShuffleUnit, num_in, width, count, stride=2)
        num_in = width
    blocks.append(conv_norm(num_in, NUM_FEATURES, 1, activation=nn.ReLU))
    return he_normal(ConvNet(stem, blocks, NUM_FEATURES, num_classes))


class ShuffleUnit(nn.Module):
    """Two branches whose channels are interleaved (figure 3c of the paper; with stride 2, 3d).

    With stride 1 one half of the channels passes as it is.
    """

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.splits = stride == 1
        half = num_out // 2
        num_entering = half if self.splits else num_in
        self.short: nn.Module = nn.Identity()
        if not self.splits:
            self.short = nn.Sequential(
                conv_norm(num_in, num_in, 3, stride, groups=num_in),
                conv_norm(num_in, half, 1, activation=nn.ReLU),
            )
        self.long = nn.Sequential(
            conv_norm(num_entering, half, 1, activation=nn.ReLU),
            conv_norm(half, half, 3, stride, groups=half),
            conv_norm(half, half, 1, activation=nn.ReLU),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, num_in, H, W] to [B, num_out, H / stride, W / stride]."""
        left, right = x.chunk(2, dim=1) if self.splits else (x, x)
        return _interleave(self.short(left), self.long(right))


def _interleave(left: Tensor, right: Tensor) -> Tensor:
    """The channels of two [B, C, H, W] in turns, [B, 2 C, H, W]; the result is channels_last."""
    channels_last = [half.movedim(1, -1) for half in (left, right)]
    return torch.stack(channels_last, dim=-1).flatten(-2).movedim(-1, 1)
