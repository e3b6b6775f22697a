"""What every augmentation is made of: draw for a global batch, apply to the rows that are here.

An operation draws for the whole global batch and applies to the rows that one process or micro-batch
holds, so the images are the same however the batch is divided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class GlobalBatch:
    """What an operation draws for: all images of one optimizer step."""

    indices: Tensor
    """int64 [B]: which training images they are."""

    epoch: int
    """From 0."""

    generator: Generator
    """Seeded for this step; on the device where the parameters are wanted."""

    def __len__(self) -> int:
        return len(self.indices)

    def uniform(self, *shape: int) -> Tensor:
        """float32 [B, *shape], uniform in [0, 1)."""
        return torch.rand(len(self), *shape, generator=self.generator, device=self.generator.device)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """int64 [B, *shape], uniform from low to high - 1."""
        size = (len(self), *shape)
        return torch.randint(low, high, size, generator=self.generator, device=self.generator.device)


class Operation(Protocol):
    """One step of an augmentation."""

    def draw(self, batch: GlobalBatch) -> Tensor:
        """Random parameters, one row for each image, on the generator's device."""

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """New uint8 images in channels_last format, for parameters of as many rows."""
