"""Flips, crops, cutout and random erasing on whole uint8 batches, with an independent draw per image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.augment.operation import GlobalBatch

ERASING_SCALE = (0.02, 0.33)
ERASING_RATIO = (0.3, 3.3)
ERASING_TRIES = 10


@dataclass(frozen=True)
class Flip:
    """Mirror left and right with probability one half."""

    def draw(self, batch: GlobalBatch) -> Tensor:
        """Bool [B]: which images are mirrored."""
        return batch.uniform() < 0.5

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """Mirror the images that were drawn."""
        return torch.where(parameters[:, None, None, None], images_BCHW.flip(3), images_BCHW)


@dataclass(frozen=True)
class AlternatingFlip:
    """Mirror an image in every second epoch: at random which epochs, then always in turn.

    Jordan 2024, arXiv 2404.00498, section 3.6: two epochs see both sides of every image.
    """

    odd: Tensor
    """Bool [N] on the device: which training images are mirrored in odd epochs, from 0."""

    def draw(self, batch: GlobalBatch) -> Tensor:
        """Bool [B]: which images are mirrored."""
        return self.odd[batch.indices.to(self.odd.device)] ^ (batch.epoch % 2 == 0)

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """Mirror the images whose turn it is."""
        return Flip().apply(images_BCHW, parameters)


@dataclass(frozen=True)
class Crop:
    """Shift by up to `padding` pixels each way; what comes into view is the mirrored border or black.

    The same as padding every side by `padding` pixels and cropping at random.
    """

    padding: int
    """Pixels at 32x32; in proportion at other sizes."""

    reflect: bool
    """Mirror the border, which is not repeated; otherwise what comes into view is 0."""

    def draw(self, batch: GlobalBatch) -> Tensor:
        """float32 [B, 2]: where the view lies among the possible shifts, down and right, from 0 to 1."""
        return batch.uniform(2)

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """Gather each image at its shifted rows and columns."""
        num_images, _, height, width = images_BCHW.shape
        reach = round(self.padding * height / 32)
        shifts = (parameters * (2 * reach + 1)).long() - reach
        rows = torch.arange(height, device=images_BCHW.device) + shifts[:, :1]
        columns = torch.arange(width, device=images_BCHW.device) + shifts[:, 1:]
        image = torch.arange(num_images, device=images_BCHW.device)[:, None, None]
        inside = _gather(images_BCHW, image, _reflect(rows, height), _reflect(columns, width))
        if self.reflect:
            return inside
        seen = _is_index(rows, height)[:, None, :, None] & _is_index(columns, width)[:, None, None, :]
        return inside.mul_(seen)


@dataclass(frozen=True)
class Cutout:
    """Paint a square with its centre anywhere in the image, clipped at the borders.

    DeVries & Taylor 2017, arXiv 1708.04552, section 3: half the image size on CIFAR-10, filled with
    what normalises to zero.
    """

    fill: Tensor
    """The colour painted, uint8 [3] on the device: the mean of the training images."""

    def draw(self, batch: GlobalBatch) -> Tensor:
        """float32 [B, 2]: row and column of the centre, from 0 to 1."""
        return batch.uniform(2)

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """Paint the squares."""
        height, width = images_BCHW.shape[2:]
        top = (parameters[:, 0] * height).long() - height // 2 // 2
        left = (parameters[:, 1] * width).long() - width // 2 // 2
        box = boxes(top, left, top + height // 2, left + width // 2, height, width)
        return torch.where(box, self.fill.view(1, 3, 1, 1), images_BCHW)


@dataclass(frozen=True)
class RandomErasing:
    """Paint, in every second image, a rectangle of 2 to 33% of the area wholly inside the image.

    Zhong et al. 2020, arXiv 1708.04896, algorithm 1, with torchvision's ratios and ten tries at a
    rectangle that fits.
    """

    fill: Tensor
    """The colour painted, uint8 [3] on the device: the mean of the training images."""

    def draw(self, batch: GlobalBatch) -> Tensor:
        """float32 [B, 23]: whether, area and ratio of ten rectangles, where; from 0 to 1."""
        return batch.uniform(1 + 2 * ERASING_TRIES + 2)

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """Paint the rectangles."""
        height, width = images_BCHW.shape[2:]
        area_draw, ratio_draw = parameters[:, 1:-2].view(-1, ERASING_TRIES, 2).unbind(2)
        area = height * width * _between(area_draw, *ERASING_SCALE)
        ratio = _between(ratio_draw, *(math.log(bound) for bound in ERASING_RATIO)).exp()
        heights, widths = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
        fits = (heights < height) & (widths < width)
        first = fits.long().argmax(dim=1, keepdim=True)
        side_h, side_w = heights.gather(1, first)[:, 0], widths.gather(1, first)[:, 0]
        top = (parameters[:, -2] * (height - side_h + 1)).long()
        left = (parameters[:, -1] * (width - side_w + 1)).long()
        painted = (parameters[:, 0] < 0.5) & fits.any(dim=1)
        box = boxes(top, left, top + side_h, left + side_w, height, width) & painted.view(-1, 1, 1, 1)
        return torch.where(box, self.fill.view(1, 3, 1, 1), images_BCHW)


def boxes(top: Tensor, left: Tensor, bottom: Tensor, right: Tensor, height: int, width: int) -> Tensor:
    """Bool [B, 1, height, width]: the inside of a box in each image; ends are not inside."""
    row = torch.arange(height, device=top.device)
    column = torch.arange(width, device=top.device)
    in_rows = (row >= top[:, None]) & (row < bottom[:, None])
    in_columns = (column >= left[:, None]) & (column < right[:, None])
    return in_rows[:, None, :, None] & in_columns[:, None, None, :]


def _gather(images_BCHW: Tensor, image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    images_BHWC = images_BCHW.permute(0, 2, 3, 1)
    return images_BHWC[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _reflect(index: Tensor, size: int) -> Tensor:
    """Fold indices from -size+1 to 2*size-2 back into 0 to size-1, the border not repeated."""
    last = size - 1
    return last - (last - index.abs()).abs()


def _is_index(index: Tensor, size: int) -> Tensor:
    return (index >= 0) & (index < size)


def _between(share: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * share
