"""MixUp and CutMix: each image of a batch is mixed with its neighbour, by a share of its own.

The neighbour of row i is row i - 1 of the global batch, as `roll(1)` gives it; an epoch's order is
random, so the neighbour is a random image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from harness.augment.geometry import boxes
from harness.augment.operation import GlobalBatch


class Mixing(Protocol):
    """The last step of an augmentation: two images and two labels become one."""

    def draw(self, batch: GlobalBatch) -> Tensor:
        """Random parameters, one row for each image, on the generator's device."""

    def apply(
        self, images_BCHW: Tensor, neighbours_BCHW: Tensor, parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mixed float images, and float32 [B]: the share of the label that is the image's own."""


@dataclass(frozen=True)
class MixUp:
    """A weighted mean of two images: Zhang et al. 2018, arXiv 1710.09412, section 3.2, alpha 1."""

    def draw(self, batch: GlobalBatch) -> Tensor:
        """float32 [B]: the weight of the image itself, uniform, which is Beta(1, 1)."""
        return batch.uniform()

    def apply(
        self, images_BCHW: Tensor, neighbours_BCHW: Tensor, parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mixed images and the weights."""
        return torch.lerp(neighbours_BCHW, images_BCHW, parameters.view(-1, 1, 1, 1)), parameters


@dataclass(frozen=True)
class CutMix:
    """A rectangle of the neighbour in the image: Yun et al. 2019, arXiv 1905.04899, section 3.1, alpha 1.

    The rectangle is clipped at the border, and the labels are weighted by the area that remains.
    """

    def draw(self, batch: GlobalBatch) -> Tensor:
        """float32 [B, 3]: share of the image's own area before clipping; centre down and right."""
        return batch.uniform(3)

    def apply(
        self, images_BCHW: Tensor, neighbours_BCHW: Tensor, parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mixed images and their own share of the area."""
        height, width = images_BCHW.shape[2:]
        reach = 0.5 * torch.sqrt(1 - parameters[:, 0])
        top, bottom = _side(parameters[:, 1], reach, height)
        left, right = _side(parameters[:, 2], reach, width)
        box = boxes(top, left, bottom, right, height, width)
        share = 1 - (bottom - top) * (right - left) / (height * width)
        return torch.where(box, neighbours_BCHW, images_BCHW), share


def _side(centre: Tensor, reach: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First and last pixel (exclusive) of the rectangle in one direction; both given as shares of `size`."""
    centre, reach = (centre * size).floor(), (reach * size).floor()
    return (centre - reach).clamp(min=0), (centre + reach).clamp(max=size)
