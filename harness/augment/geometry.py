"""Flip, crop and cutout on whole uint8 batches, with an independent draw for every image.

An operation draws for the whole global batch and applies to the rows that one process or
micro-batch holds, so the images are the same however the batch is divided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor


class Operation(Protocol):
    """One step of an augmentation."""

    def draw(self, num_images: int, image_size: int, generator: Generator) -> Tensor:
        """Random parameters, one row for each image, on the generator's device."""

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """Augmented uint8 images, for parameters of as many rows."""


@dataclass(frozen=True)
class Flip:
    """Mirror left and right with probability one half."""

    def draw(self, num_images: int, image_size: int, generator: Generator) -> Tensor:
        """Bool [B]: which images are mirrored."""
        del image_size
        return torch.rand(num_images, generator=generator, device=generator.device) < 0.5

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """Mirror the images that were drawn."""
        return torch.where(parameters[:, None, None, None], images_BCHW.flip(3), images_BCHW)


@dataclass(frozen=True)
class Crop:
    """Shift by up to `padding` pixels each way; what comes into view is the mirrored border.

    The same as reflecting `padding` pixels on every side and cropping at random.
    """

    padding: int

    def draw(self, num_images: int, image_size: int, generator: Generator) -> Tensor:
        """int64 [B, 2]: how far the view moves down and right, each from -padding to padding."""
        del image_size
        low, high = -self.padding, self.padding + 1
        return torch.randint(low, high, (num_images, 2), generator=generator, device=generator.device)

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """Gather each image at its shifted, reflected rows and columns."""
        num_images, _, height, width = images_BCHW.shape
        rows = _reflect(torch.arange(height, device=images_BCHW.device) + parameters[:, :1], height)
        columns = _reflect(torch.arange(width, device=images_BCHW.device) + parameters[:, 1:], width)
        image = torch.arange(num_images, device=images_BCHW.device)[:, None, None]
        images_BHWC = images_BCHW.permute(0, 2, 3, 1)
        return images_BHWC[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Cutout:
    """Paint a square with its centre anywhere in the image, clipped at the borders.

    DeVries & Taylor 2017, arXiv 1708.04552, section 3: half the image size on CIFAR-10, filled with
    what normalises to zero.
    """

    fill: Tensor
    """The colour painted, uint8 [3] on the device: the mean of the training images."""

    def draw(self, num_images: int, image_size: int, generator: Generator) -> Tensor:
        """int64 [B, 2]: row and column of the centre."""
        return torch.randint(0, image_size, (num_images, 2), generator=generator, device=generator.device)

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """Paint the squares."""
        height, width = images_BCHW.shape[2:]
        in_rows = _within(parameters[:, :1], height)
        in_columns = _within(parameters[:, 1:], width)
        square = in_rows[:, None, :, None] & in_columns[:, None, None, :]
        return torch.where(square, self.fill.view(1, 3, 1, 1), images_BCHW)


def _reflect(index: Tensor, size: int) -> Tensor:
    """Fold indices from -size+1 to 2*size-2 back into 0 to size-1, the border not repeated."""
    last = size - 1
    return last - (last - index.abs()).abs()


def _within(centre: Tensor, size: int) -> Tensor:
    """Bool [B, size]: positions inside the square of side size // 2 around each centre."""
    side = size // 2
    first = centre - side // 2
    position = torch.arange(size, device=centre.device)
    return (position >= first) & (position < first + side)
