"""`fast_cnn` and `fast_cnn_large`: convolutional nets that reach 93% and more on CIFAR-10 in little time.

In the spirit of airbench94 and airbench96 (Jordan 2024, arXiv 2404.00498, sections 3 and 4): a fixed
whitening layer on 2x2 patches, three stages of two or three 3x3 convolutions that start near the
identity, BatchNorm without a scale, and logits scaled down. `init_from_images` must see training images
before the first step.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STAGE_WIDTHS = (64, 256, 256)
LARGE_WIDTHS = (128, 320, 384)
PROXY_WIDTHS = (32, 64, 64)
LOGIT_SCALE = 1 / 9
WHITEN_EPSILON = 5e-4


def fast_cnn(num_classes: int, image_size: int) -> nn.Module:
    """The net at its published widths: 64, 256 and 256 channels."""
    del image_size  # global pooling: any size from 16 pixels fits
    return FastCNN(STAGE_WIDTHS, num_classes)


def fast_cnn_large(num_classes: int, image_size: int) -> nn.Module:
    """A wider net with a third convolution in each stage, and a shortcut over the last two."""
    del image_size
    return FastCNN(LARGE_WIDTHS, num_classes, stage=ResidualStage)


def proxy_cnn(num_classes: int) -> FastCNN:
    """A net so small that its loss on an image costs next to nothing (see `harness/selection.py`)."""
    return FastCNN(PROXY_WIDTHS, num_classes)


class FastCNN(nn.Module):
    """Whitening, three stages, global max-pooling, a linear head."""

    def __init__(self, widths: tuple[int, ...], num_classes: int, stage: type[Stage] | None = None) -> None:
        super().__init__()
        # no bias, and not trained: the gradient of its output would cost 5% of a step
        self.whiten = nn.Conv2d(3, 24, kernel_size=2, bias=False).requires_grad_(False)
        stages: list[nn.Module] = []
        num_in = self.whiten.out_channels
        for width in widths:
            stages.append((stage or Stage)(num_in, width))
            num_in = width
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(num_in, num_classes, bias=False)

    def init_from_images(self, images_BCHW: Tensor) -> None:
        """Set the first layer to whiten 2x2 patches of these normalised training images.

        The 12 principal directions of the patches, each scaled to unit variance, and their
        negatives: 24 filters (section 3.2 of the paper).
        """
        values, vectors = torch.linalg.eigh(_patch_covariance(images_BCHW))
        filters = (vectors / torch.sqrt(values + WHITEN_EPSILON)).T.reshape(12, 3, 2, 2)
        with torch.no_grad():
            self.whiten.weight.copy_(torch.cat((filters, -filters)))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits [B, num_classes] of float images [B, 3, H, W]."""
        features: Tensor = self.stages(F.gelu(self.whiten(images_BCHW)))
        logits: Tensor = self.head(features.amax(dim=(2, 3)))
        return logits * LOGIT_SCALE


class Stage(nn.Module):
    """Convolution, 2x2 max-pooling, norm, GELU; convolution, norm, GELU."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.conv1 = _identity_conv(num_in, num_out)
        self.norm1 = _shift_norm(num_out)
        self.conv2 = _identity_conv(num_out, num_out)
        self.norm2 = _shift_norm(num_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, num_in, H, W] to [B, num_out, H // 2, W // 2]."""
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class ResidualStage(Stage):
    """Convolution, 2x2 max-pooling, norm, GELU; two convolutions with norms, and a shortcut over both."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__(num_in, num_out)
        self.conv3 = _identity_conv(num_out, num_out)
        self.norm3 = _shift_norm(num_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, num_in, H, W] to [B, num_out, H // 2, W // 2]."""
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        residual = self.norm3(self.conv3(F.gelu(self.norm2(self.conv2(x)))))
        return F.gelu(x + residual)


def _patch_covariance(images_BCHW: Tensor) -> Tensor:
    """Covariance, [12, 12] in float64, of all 2x2 patches; a few images at a time, to save memory."""
    count, total, products = 0, torch.zeros(()), torch.zeros(())
    for block in images_BCHW.split(100):  # type: ignore[no-untyped-call]  # torch's
        patches = F.unfold(block.float(), kernel_size=2).transpose(1, 2).flatten(0, 1).double()
        count += len(patches)
        total = total.to(patches) + patches.sum(dim=0)
        products = products.to(patches) + patches.T @ patches
    return (products - torch.outer(total, total) / count) / (count - 1)


def _identity_conv(num_in: int, num_out: int) -> nn.Conv2d:
    """A 3x3 convolution whose first `num_in` output channels copy the input at the start."""
    conv = nn.Conv2d(num_in, num_out, kernel_size=3, padding=1, bias=False)
    nn.init.dirac_(conv.weight.data[:num_in])
    return conv


def _shift_norm(num_channels: int) -> nn.BatchNorm2d:
    """BatchNorm with a trained shift, a fixed scale of 1, and quick running statistics."""
    norm = nn.BatchNorm2d(num_channels, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm
