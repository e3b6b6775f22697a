"""Motion blur as ImageMagick makes it, for a batch, in a direction of its own for every image.

    smear(levels_BCHW, radius=6, sigma=2, degrees_B)

ImageMagick's `MotionBlurImage` looks from each pixel along a ray, one step a pixel, to the nearest pixels,
and weights them with one half of a Gaussian; at the border the last pixel goes on.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness.corruptions.filters import look_up

NEGLIGIBLE_WEIGHT = 1e-6
"""Weights below it are left out: all of them together move no value by a hundredth of a grey level."""


def smear(levels_BCHW: Tensor, radius: int, sigma: float, degrees_B: Tensor) -> Tensor:
    """Blurred images, float32, in whole grey levels.

    Args:
        levels_BCHW: float32, from 0 to 255.
        radius: the ray has twice as many steps.
        sigma: standard deviation of the weights, in steps.
        degrees_B: direction of the ray, clockwise from the right, float64.
    """
    height, width = levels_BCHW.shape[2:]
    rows = torch.arange(height, device=levels_BCHW.device)[:, None]
    columns = torch.arange(width, device=levels_BCHW.device)
    cos_B11 = degrees_B.deg2rad().cos().view(-1, 1, 1)
    sin_B11 = degrees_B.deg2rad().sin().view(-1, 1, 1)
    falling = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(2 * radius + 1)]
    weights = [value / sum(falling) for value in falling]
    total = levels_BCHW * weights[0]
    for step, weight in enumerate(weights[1:], start=1):
        if weight > NEGLIGIBLE_WEIGHT:
            down, right = (torch.ceil(step * part - 0.5).long() for part in (sin_B11, cos_B11))
            there = (rows + down).clamp_(0, height - 1), (columns + right).clamp_(0, width - 1)
            total += look_up(levels_BCHW, *there).mul_(weight)
    # ImageMagick rounds to 16 bits, then cuts to 8.
    return total.mul_(257).add_(0.5).floor_().div_(257).floor_()
