"""Changes that leave what is seen as it was: does the model say the same about an image moved a little?

    for name, change in CHANGES.items():
        changed = change(images)          # uint8 [N, 3, H, W] to the same

Azulay & Weiss 2019, "Why do deep convolutional networks generalize so poorly to small image
transformations?", arXiv 1805.12177, count how often the answer changes when an image moves by a pixel.
Here it moves by 1 to 4 pixels in 8 directions, is mirrored, or becomes darker or brighter; what moves in
at the border is the mirror image of what is there, so that no black bar appears.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

Change = Callable[[Tensor], Tensor]

DISTANCES = (1, 2, 3, 4)
"""Pixels."""

DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""Down and right, in units of the distance: a diagonal shift moves as far along both axes."""

BRIGHTNESS_FACTORS = (0.5, 0.75, 1.25, 1.5)


def shift(images_NCHW: Tensor, down: int, right: int) -> Tensor:
    """Images [N, C, H, W] of any type moved by so many pixels, the border filled by reflection."""
    rows = _reflected(images_NCHW.shape[2], down, images_NCHW.device)
    columns = _reflected(images_NCHW.shape[3], right, images_NCHW.device)
    return images_NCHW[:, :, rows][:, :, :, columns]


def flip(images_NCHW: Tensor) -> Tensor:
    """The mirror images, [N, C, H, W] of any type."""
    return images_NCHW.flip(3)


def brighten(images_NCHW: Tensor, factor: float) -> Tensor:
    """uint8 images [N, C, H, W] with every value times `factor`, rounded and kept within 0..255."""
    return (images_NCHW.float() * factor).round_().clamp_(0, 255).to(torch.uint8)


def _reflected(size: int, offset: int, device: torch.device) -> Tensor:
    """int64 [size]: where each place of an axis comes from when all moves by `offset` towards its end."""
    assert abs(offset) < size, "a reflection cannot fill more than there is"
    source = (torch.arange(size, device=device) - offset).abs()
    return (size - 1) - ((size - 1) - source).abs()


def _changes() -> dict[str, Change]:
    changes: dict[str, Change] = {}
    for distance in DISTANCES:
        for down, right in DIRECTIONS:
            name = f"shift {distance * down:+d} {distance * right:+d}"
            changes[name] = partial(shift, down=distance * down, right=distance * right)
    changes["flip"] = flip
    for factor in BRIGHTNESS_FACTORS:
        changes[f"brightness {factor}"] = partial(brighten, factor=factor)
    return changes


CHANGES = _changes()
"""Every change by its name; the first word is the group that it is averaged in."""
