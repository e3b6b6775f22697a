"""Residual networks for small images: He et al. 2016, arXiv 1512.03385; Xie et al. 2017, arXiv 1611.05431.

`resnet20`, `resnet32` and `resnet56` are the thin nets of He et al., section 4.2, with shortcuts that
have no parameters (option A). `resnet18`, `resnet34` and `resnet50` are the ImageNet nets of table 1
with a 3x3 stem and no max-pooling, as is usual at 32x32. `resnext29` is the CIFAR net of Xie et al.,
section 5.3.
"""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ConvNet, MakeBlock, conv, conv_norm, he_normal, stage

THIN_WIDTHS = (16, 32, 64)
IMAGENET_WIDTHS = (64, 128, 256, 512)


def resnet20(num_classes: int, image_size: int) -> ConvNet:
    """ResNet-20: 0.27M parameters."""
    del image_size  # global pooling: any size fits
    return _resnet(partial(BasicBlock, projection=False), THIN_WIDTHS, (3, 3, 3), num_classes)


def resnet32(num_classes: int, image_size: int) -> ConvNet:
    """ResNet-32: 0.46M parameters."""
    del image_size
    return _resnet(partial(BasicBlock, projection=False), THIN_WIDTHS, (5, 5, 5), num_classes)


def resnet56(num_classes: int, image_size: int) -> ConvNet:
    """ResNet-56: 0.85M parameters."""
    del image_size
    return _resnet(partial(BasicBlock, projection=False), THIN_WIDTHS, (9, 9, 9), num_classes)


def resnet18(num_classes: int, image_size: int) -> ConvNet:
    """ResNet-18: 11.17M parameters at 10 classes."""
    del image_size
    return _resnet(partial(BasicBlock, projection=True), IMAGENET_WIDTHS, (2, 2, 2, 2), num_classes)


def resnet34(num_classes: int, image_size: int) -> ConvNet:
    """ResNet-34: 21.28M parameters at 10 classes."""
    del image_size
    return _resnet(partial(BasicBlock, projection=True), IMAGENET_WIDTHS, (3, 4, 6, 3), num_classes)


def resnet50(num_classes: int, image_size: int) -> ConvNet:
    """ResNet-50: 23.52M parameters at 10 classes."""
    del image_size
    return _resnet(_bottleneck, (256, 512, 1024, 2048), (3, 4, 6, 3), num_classes, stem_width=64)


def resnext29(num_classes: int, image_size: int) -> ConvNet:
    """ResNeXt-29, 8x64d: 34.43M parameters at 10 classes.

    The bottleneck is that of ResNet-50 with groups (figure 3c of the paper); the authors' code finds it
    more accurate than the pre-activated one of their table.
    """
    del image_size
    return _resnet(_resnext_bottleneck, (256, 512, 1024), (3, 3, 3), num_classes, stem_width=64)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al., figure 2)."""

    def __init__(self, num_in: int, num_out: int, stride: int, projection: bool) -> None:
        super().__init__()
        self.conv1 = conv(num_in, num_out, 3, stride)
        self.norm1 = nn.BatchNorm2d(num_out)
        self.conv2 = conv(num_out, num_out, 3)
        self.norm2 = nn.BatchNorm2d(num_out)
        self.shortcut = _shortcut(num_in, num_out, stride, projection)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, num_in, H, W] to [B, num_out, H / stride, W / stride]."""
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = self.norm2(self.conv2(out))
        return F.relu(out + self.shortcut(x), inplace=True)


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, around a shortcut (He et al., figure 5 right).

    The 3x3 convolution takes the stride, not the first one as in the paper: no pixel goes unseen
    (Goyal et al. 2017, arXiv 1706.02677, section 5.1).
    """

    def __init__(self, num_in: int, num_out: int, stride: int, num_inner: int, groups: int) -> None:
        super().__init__()
        self.conv1 = conv(num_in, num_inner, 1)
        self.norm1 = nn.BatchNorm2d(num_inner)
        self.conv2 = conv(num_inner, num_inner, 3, stride, groups)
        self.norm2 = nn.BatchNorm2d(num_inner)
        self.conv3 = conv(num_inner, num_out, 1)
        self.norm3 = nn.BatchNorm2d(num_out)
        self.shortcut = _shortcut(num_in, num_out, stride, projection=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, num_in, H, W] to [B, num_out, H / stride, W / stride]."""
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = F.relu(self.norm2(self.conv2(out)), inplace=True)
        out = self.norm3(self.conv3(out))
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


def _resnet(
    make_block: MakeBlock,
    widths: tuple[int, ...],
    counts: tuple[int, ...],
    num_classes: int,
    stem_width: int | None = None,
) -> ConvNet:
    """A 3x3 stem and stages of `counts` blocks, of which each but the first halves the size."""
    num_in = stem_width or widths[0]
    stem = conv_norm(3, num_in, 3, activation=nn.ReLU)
    blocks: list[nn.Module] = []
    for width, count in zip(widths, counts, strict=True):
        blocks += stage(make_block, num_in, width, count, stride=2 if blocks else 1)
        num_in = width
    return he_normal(ConvNet(stem, blocks, num_in, num_classes))


def _bottleneck(num_in: int, num_out: int, stride: int) -> nn.Module:
    return Bottleneck(num_in, num_out, stride, num_inner=num_out // 4, groups=1)


def _resnext_bottleneck(num_in: int, num_out: int, stride: int) -> nn.Module:
    return Bottleneck(num_in, num_out, stride, num_inner=2 * num_out, groups=8)  # 8 x 64 of 256 at first


def _shortcut(num_in: int, num_out: int, stride: int, projection: bool) -> nn.Module:
    if stride == 1 and num_in == num_out:
        return nn.Identity()
    return conv_norm(num_in, num_out, 1, stride) if projection else PadShortcut(stride, num_out)
