"""ConvMixer-256/8 with patches of 2x2 and 5x5 kernels: Trockman & Kolter 2022, arXiv 2201.09792.

Section 2 of the paper; the size is that of the authors' script for CIFAR-10
(github.com/locuslab/convmixer-cifar10). 0.59M parameters; torch's own first weights, as there.
"""

from __future__ import annotations

from torch import Tensor, nn

from models.blocks import ConvNet

WIDTH = 256
DEPTH = 8
KERNEL_SIZE = 5
PATCH_SIZE = 2


def convmixer(num_classes: int, image_size: int) -> ConvNet:
    """ConvMixer-256/8; the image size is a multiple of the patch size."""
    del image_size  # global pooling
    stem = _layer(nn.Conv2d(3, WIDTH, kernel_size=PATCH_SIZE, stride=PATCH_SIZE))
    return ConvNet(stem, [MixerBlock() for _ in range(DEPTH)], WIDTH, num_classes)


class MixerBlock(nn.Module):
    """Mix the places of each channel around a shortcut, then the channels of each place."""

    def __init__(self) -> None:
        super().__init__()
        self.places = _layer(nn.Conv2d(WIDTH, WIDTH, KERNEL_SIZE, padding=KERNEL_SIZE // 2, groups=WIDTH))
        self.channels = _layer(nn.Conv2d(WIDTH, WIDTH, kernel_size=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, WIDTH, H, W] to the same shape."""
        out: Tensor = self.channels(x + self.places(x))
        return out


def _layer(convolution: nn.Module) -> nn.Module:
    return nn.Sequential(convolution, nn.GELU(), nn.BatchNorm2d(WIDTH))
