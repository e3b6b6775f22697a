"""Blurs: out of focus, through frosted glass, of a moving and of an approaching camera, Gaussian."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.corruptions.draws import Draws
from harness.corruptions.filters import correlate, gaussian, look_up, zoom
from harness.corruptions.motion import smear

DEFOCUS_RADIUS_AND_BLUR = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))
GLASS_SIGMA_AND_ROUNDS = ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))
"""All with a reach of one pixel."""

MOTION_RADIUS_AND_SIGMA = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))
MOTION_DEGREES = 45
ZOOM_END = (1.06, 1.11, 1.16, 1.21, 1.26)
GAUSSIAN_SIGMA = (0.4, 0.6, 0.7, 0.8, 1.0)


def defocus_blur(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Spread every point over a small disk with soft edges."""
    del draws
    kernel = _soft_disk(*DEFOCUS_RADIUS_AND_BLUR[severity - 1])
    return correlate(images_BCHW.double() / 255, kernel.tolist(), "mirror").mul_(255)


def glass_blur(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Blur, move pixels about by one pixel, blur again."""
    sigma, rounds = GLASS_SIGMA_AND_ROUNDS[severity - 1]
    # Through int16: four times faster on the CPU.
    images = gaussian(images_BCHW.double() / 255, sigma).mul_(255).to(torch.int16).to(torch.uint8)
    for _ in range(rounds):
        images = _move_about(images, draws)
    return gaussian(images.double() / 255, sigma).mul_(255)


def motion_blur(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Smear to the right, up to 45 degrees up or down."""
    degrees_B = (2 * draws.uniform() - 1) * MOTION_DEGREES
    return smear(images_BCHW.float(), *MOTION_RADIUS_AND_SIGMA[severity - 1], degrees_B)


def zoom_blur(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Take the mean of the image, counted twice, and ever larger ones."""
    del draws
    batch, channels, height, width = images_BCHW.shape
    unit_HWN = images_BCHW.permute(2, 3, 0, 1).flatten(2).float() / 255
    # numpy's own range: rounding lets one step more through at some severities, also in the original.
    factors = np.arange(1, ZOOM_END[severity - 1], 0.01).tolist()
    total_HWN = torch.zeros_like(unit_HWN)
    for factor in factors:
        total_HWN += zoom(unit_HWN, factor)
    total_HWN.add_(unit_HWN).div_(len(factors) + 1).mul_(255)
    return total_HWN.view(height, width, batch, channels).permute(2, 3, 0, 1)


def gaussian_blur(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Blur with a Gaussian."""
    del draws
    return gaussian(images_BCHW.double() / 255, GAUSSIAN_SIGMA[severity - 1]).mul_(255)


def _soft_disk(radius: float, sigma: float) -> Tensor:
    """float32 [K, K], of sum 1: a disk of whole pixels, blurred with a Gaussian of three taps each way.

    The original kernel is float32 too; its rounding decides which whole number flat areas are cut to.
    """
    reach = math.floor(radius)
    place = torch.arange(-reach, reach + 1)
    disk = ((place**2 + place[:, None] ** 2) <= radius**2).float()
    disk = F.pad(disk / disk.sum(), (1, 1, 1, 1))
    side = math.exp(-0.5 / sigma**2)
    outer, inner = torch.tensor([side / (1 + 2 * side), 1 / (1 + 2 * side)])
    for dim in (1, 0):
        disk = inner * disk + outer * (disk.roll(1, dim) + disk.roll(-1, dim))
    # Taps that change no grey level cost as much as others.
    return torch.where(disk > 1e-9, disk, 0)


def _move_about(images_BCHW: Tensor, draws: Draws) -> Tensor:
    """Give each pixel but the first two rows and columns the value of itself or one above or to the left.

    The original code means to swap the two, pixel by pixel from the lower right, but its swap of two
    numpy views copies one onto the other. So no value that has changed is ever read, and all pixels
    can be done at once.
    """
    height, width = images_BCHW.shape[2:]
    rows = torch.arange(height, device=images_BCHW.device)[:, None]
    columns = torch.arange(width, device=images_BCHW.device)
    moves_BHW2 = draws.integers(-1, 1, height, width, 2)
    moves_BHW2 = moves_BHW2 * ((rows > 1) & (columns > 1))[None, :, :, None]
    return look_up(images_BCHW, rows + moves_BHW2[..., 0], columns + moves_BHW2[..., 1])
