"""A different adjustment for each image of a batch.

    apply_by_kind(images_BCHW, kind_B, strength_B, (brightness, contrast))    # kinds 1 and 2; 0 is none

On the CPU the images are sorted by kind, adjusted a kind at a time and sorted back. On CUDA the host
would have to wait for the numbers of each kind, so every adjustment is made of all images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

BLOCK_VALUES = 2**18
"""What the CPU adjusts at once: the floats of so many values stay in its cache."""

Adjust = Callable[[Tensor, Tensor], Tensor]
"""Makes new uint8 images [B, 3, H, W] of such images and one row of parameters for each."""


def apply_by_kind(
    images_BCHW: Tensor, kind_B: Tensor, parameters: Tensor, adjustments: Sequence[Adjust]
) -> Tensor:
    """Apply to each image the adjustment of its kind, with its row of the parameters.

    No host synchronisation on CUDA.

    Args:
        images_BCHW: uint8, contiguous.
        kind_B: int64; 0 leaves an image as it is, k applies `adjustments[k - 1]`.
        parameters: [B, ...].
        adjustments: they see the images of other kinds too on CUDA, and must not fail on these.

    Returns:
        New uint8 images [B, 3, H, W], contiguous.
    """
    apply = adjust_all if images_BCHW.is_cuda else adjust_groups
    return apply(images_BCHW, kind_B, parameters, adjustments)


def adjust_groups(
    images_BCHW: Tensor, kind_B: Tensor, parameters: Tensor, adjustments: Sequence[Adjust]
) -> Tensor:
    """`apply_by_kind`, each adjustment of the images of its kind alone."""
    order = kind_B.argsort()
    ends = kind_B.bincount(minlength=len(adjustments) + 1).cumsum(0).tolist()
    images_BCHW, parameters = images_BCHW.index_select(0, order), parameters.index_select(0, order)
    block = max(1, BLOCK_VALUES // images_BCHW[0].numel())
    for adjust, (start, end) in zip(adjustments, pairwise(ends), strict=True):
        for first in range(start, end, block):
            rows = slice(first, min(first + block, end))
            images_BCHW[rows] = adjust(images_BCHW[rows], parameters[rows])
    return images_BCHW.index_select(0, order.argsort())


def adjust_all(
    images_BCHW: Tensor, kind_B: Tensor, parameters: Tensor, adjustments: Sequence[Adjust]
) -> Tensor:
    """`apply_by_kind`, each adjustment of all images, of which those of its kind are kept."""
    adjusted = images_BCHW.clone()
    for kind, adjust in enumerate(adjustments, start=1):
        chosen = (kind_B == kind).view(-1, 1, 1, 1)
        adjusted = torch.where(chosen, adjust(images_BCHW, parameters), adjusted)
    return adjusted


def channels_last(images_BCHW: Tensor) -> Tensor:
    """The same images in channels_last memory format; faster than `contiguous` from plain ones."""
    return torch.stack(images_BCHW.unbind(1), dim=3).permute(0, 3, 1, 2)
