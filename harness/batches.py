"""From the indices of a batch to what a model is trained on: images of the right size, and targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.augment.pipeline import Augmentation

WHITENING_IMAGES = 5000  # of 32x32, as many as airbench94 looks at, arXiv 2404.00498 section 3.2


class Samples(Protocol):
    """A set of labelled images, or of what stands for them, on this process's device."""

    labels: Tensor
    """int64 [N]."""

    index_device: torch.device
    """Where indices are best made: others are copied for each batch."""

    def __len__(self) -> int: ...

    def gather(self, indices: Tensor) -> Tensor:
        """The samples at `indices`, int64 [B]."""

    def labels_of(self, indices: Tensor) -> Tensor:
        """Their labels, int64 [B]."""


class Preprocess(Protocol):
    """How samples become model input."""

    @property
    def image_size(self) -> int:
        """Height and width of the model input."""

    def __call__(self, images_BCHW: Tensor, image_size: int | None = None) -> Tensor:
        """Model input of `image_size`, or of the usual size."""


@dataclass(frozen=True)
class Inputs:
    """The images of a cell, and how they become model input."""

    fit: Samples
    """Training images without the held-out ones."""

    val: Samples | None
    """Held-out training images; None when the cell holds none out."""

    test: Samples
    augmentation: Augmentation
    normalize: Preprocess
    num_classes: int


def training_batch(
    inputs: Inputs, batch: Tensor, drawn: list[Tensor], rows: range, image_size: int
) -> tuple[Tensor, Tensor]:
    """Images and targets of some rows of a global batch.

    Args:
        inputs: where the images come from.
        batch: int64 [B], the training images of the global batch.
        drawn: what the augmentation drew for it.
        rows: which of them are wanted.
        image_size: height and width of the images wanted.

    Returns:
        float32 images [len(rows), 3, image_size, image_size], and labels, int64 [len(rows)], or where
        the augmentation mixes images the share of each class, float32 [len(rows), num_classes].
    """
    mixing = inputs.augmentation.mixing
    first = rows.start if mixing is None else rows.start - 1  # a neighbour is the row before
    indices = _rows(batch, first, rows.stop)
    drawn_here = [_rows(parameters, first, rows.stop) for parameters in drawn]
    images = inputs.augmentation.apply(inputs.fit.gather(indices), drawn_here)
    labels = inputs.fit.labels_of(indices)
    images = inputs.normalize(images, image_size)
    if mixing is None:
        return images, labels
    images, share = mixing.apply(images[1:], images[:-1], drawn_here[-1][1:])
    one_hot = F.one_hot(labels, inputs.num_classes).float()
    return images, torch.lerp(one_hot[:-1], one_hot[1:], share[:, None])


def show_images(model: nn.Module, inputs: Inputs) -> None:
    """Let a model that starts from the data, such as a whitening layer, see images of all classes."""
    init_from_images = getattr(model, "init_from_images", None)
    if init_from_images is not None:
        image_size = inputs.normalize.image_size
        num_images = min(max(1, WHITENING_IMAGES * 32**2 // image_size**2), len(inputs.fit))
        spread = torch.linspace(0, len(inputs.fit) - 1, num_images).long()  # folders are in order of class
        init_from_images(inputs.normalize(inputs.fit.gather(spread)))


def _rows(values: Tensor, first: int, stop: int) -> Tensor:
    """Rows `first` to `stop` - 1, where row -1 is the last one; no copy from the host to a GPU."""
    return values[first:stop] if first >= 0 else torch.cat((values[first:], values[:stop]))
