"""Noise on single values: Gaussian, shot, impulse, speckle.

The constants of this and the other modules, for severities 1 to 5, are those that made CIFAR-10-C:
`ImageNet-C/create_c/make_cifar_c.py` of https://github.com/hendrycks/robustness. Every function takes
uint8 images [B, 3, H, W] and returns grey levels, which `corrupt` cuts to the range 0 to 255 and to whole
numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.corruptions.draws import Draws

GAUSSIAN_STD = (0.04, 0.06, 0.08, 0.09, 0.10)
SHOT_COUNT = (500, 250, 100, 75, 50)
"""Photons that make a value of 255."""

IMPULSE_SHARE = (0.01, 0.02, 0.03, 0.05, 0.07)
"""Of the values that become 0 or 255, half of them each."""

SPECKLE_STD = (0.06, 0.10, 0.12, 0.16, 0.20)


def gaussian_noise(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Add noise of one strength everywhere, as in poor light."""
    noise = GAUSSIAN_STD[severity - 1] * draws.normal(*images_BCHW.shape[1:]).double()
    return (images_BCHW.double() / 255).add_(noise).mul_(255)


def shot_noise(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Count photons: noise that grows with the square root of the light."""
    count = SHOT_COUNT[severity - 1]
    return draws.poisson(images_BCHW.double() / 255 * count).div_(count).clamp_(max=1).mul_(255)


def impulse_noise(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Set some values to 0 and as many to 255: salt and pepper, in each channel apart."""
    share = IMPULSE_SHARE[severity - 1]
    lot = draws.uniform(*images_BCHW.shape[1:])
    salted = images_BCHW.masked_fill(lot >= 1 - share / 2, 255)
    return salted.masked_fill_(lot < share / 2, 0)


def speckle_noise(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Multiply by noise: it grows with the light."""
    unit = images_BCHW.double() / 255
    noise = SPECKLE_STD[severity - 1] * draws.normal(*images_BCHW.shape[1:]).double()
    return torch.addcmul(unit, unit, noise).mul_(255)
