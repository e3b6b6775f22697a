"""VGG nets with BatchNorm and a single linear layer: Simonyan & Zisserman 2015, arXiv 1409.1556, table 1.

`vgg11` is configuration A, `vgg16` configuration D. At 32x32 the fifth pooling leaves one pixel, so
one linear layer takes the place of three: 9.23M and 14.73M parameters at 10 classes. The convolutions
have biases, as published, although BatchNorm makes them idle.
"""

from __future__ import annotations

from torch import nn

from models.blocks import ConvNet, he_normal

WIDTHS = (64, 128, 256, 512, 512)


def vgg11(num_classes: int, image_size: int) -> ConvNet:
    """VGG-11: eight convolutions; any image size from 32 pixels."""
    del image_size  # global pooling
    return _vgg((1, 1, 2, 2, 2), num_classes)


def vgg16(num_classes: int, image_size: int) -> ConvNet:
    """VGG-16: thirteen convolutions; any image size from 32 pixels."""
    del image_size
    return _vgg((2, 2, 3, 3, 3), num_classes)


def _vgg(counts: tuple[int, ...], num_classes: int) -> ConvNet:
    layers: list[nn.Module] = []
    num_in = 3
    for width, count in zip(WIDTHS, counts, strict=True):
        for _ in range(count):
            layers.append(_layer(num_in, width))
            num_in = width
        layers.append(nn.MaxPool2d(2))
    return he_normal(ConvNet(layers[0], layers[1:], num_in, num_classes))


def _layer(num_in: int, num_out: int) -> nn.Module:
    convolution = nn.Conv2d(num_in, num_out, kernel_size=3, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(num_out), nn.ReLU(inplace=True))
