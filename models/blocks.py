"""What the convolutional nets share: their frame, their stages, their convolutions and first weights.

    images [B, 3, H, W] -> stem -> blocks -> mean over the map -> head -> logits [B, num_classes]

The nets are built for 32x32 images, without dropout and stochastic depth: what keeps a model from
overfitting belongs to the recipe and the augmentation of a cell, not to its architecture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

MakeBlock = Callable[[int, int, int], nn.Module]
"""Makes a block from the number of channels that enter and leave it, and its stride."""


class ConvNet(nn.Module):
    """A stem, blocks one after the other, global average pooling, a linear head: for any image size."""

    def __init__(
        self, stem: nn.Module, blocks: Iterable[nn.Module], num_features: int, num_classes: int
    ) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(num_features, num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits [B, num_classes] of float images [B, 3, H, W]."""
        features: Tensor = self.blocks(self.stem(images_BCHW))
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


def stage(make_block: MakeBlock, num_in: int, num_out: int, count: int, stride: int) -> list[nn.Module]:
    """`count` blocks, of which the first takes `num_in` channels and divides the size by `stride`."""
    first = make_block(num_in, num_out, stride)
    return [first, *(make_block(num_out, num_out, 1) for _ in range(count - 1))]


def conv(num_in: int, num_out: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias, for a norm to follow; it divides the size by `stride`."""
    return nn.Conv2d(num_in, num_out, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)


def conv_norm(
    num_in: int,
    num_out: int,
    kernel_size: int,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = None,
) -> nn.Sequential:
    """A convolution, BatchNorm, and an activation that works in place."""
    layers = [conv(num_in, num_out, kernel_size, stride, groups), nn.BatchNorm2d(num_out)]
    return nn.Sequential(*layers, *([] if activation is None else [activation(inplace=True)]))


def he_normal(net: ConvNet) -> ConvNet:
    """The net with fresh weights in its convolutions; its head keeps torch's.

    Normal with variance 2 / fan-out, zero biases (He et al. 2015, arXiv 1502.01852, section 2.2). The
    fan-out of a grouped convolution is that of one group, where torch takes all groups together.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            with torch.no_grad():
                module.weight.mul_(math.sqrt(module.groups))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net
