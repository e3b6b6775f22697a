"""Weather: snow, frost, fog; brightness, which the paper counts as weather too, is in `digital.py`."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.corruptions.draws import Draws
from harness.corruptions.filters import zoom
from harness.corruptions.frost import frost_crops
from harness.corruptions.motion import smear

SNOW = (
    (0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.95),
    (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.9),
    (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.9),
    (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.85),
    (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.8),
)
"""Mean and standard deviation of the noise, zoom, threshold, radius and sigma of the motion, share
of the image."""

FROST_WEIGHTS = ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))
"""Of the image and of the frost."""

FOG_WEIGHT_AND_DECAY = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))


def snow(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Whiten the image, and add flakes that fall steeply and the same flakes upside down."""
    mean, std, factor, threshold, radius, sigma, share = SNOW[severity - 1]
    height, width = images_BCHW.shape[2:]
    noise_HWB = draws.normal(height, width).permute(1, 2, 0).double()
    flakes_B1HW = zoom(mean + std * noise_HWB, factor).permute(2, 0, 1)[:, None]
    flakes_B1HW = torch.where(flakes_B1HW < threshold, 0, flakes_B1HW.clamp(max=1))
    degrees_B = draws.uniform() * 90 - 135
    flakes_B1HW = smear(flakes_B1HW.mul_(255).floor_().float(), radius, sigma, degrees_B).double() / 255
    unit = images_BCHW.float() / 255
    red, green, blue = unit[:, :1], unit[:, 1:2], unit[:, 2:]
    grey_B1HW = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
    white = share * unit + (1 - share) * torch.maximum(unit, grey_B1HW * 1.5 + 0.5)
    return (white + flakes_B1HW + flakes_B1HW.flip(2, 3)).mul_(255)


def frost(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Add a random part of a picture of frost."""
    of_image, of_frost = FROST_WEIGHTS[severity - 1]
    height, width = images_BCHW.shape[2:]
    crops = frost_crops(draws.uniform(3), height, width).to(images_BCHW.device)
    return of_image * images_BCHW.double() + of_frost * crops.double()


def fog(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Add a cloud, and darken as far as keeps the brightest value."""
    weight, decay = FOG_WEIGHT_AND_DECAY[severity - 1]
    height, width = images_BCHW.shape[2:]
    side = 1 << (max(height, width) - 1).bit_length()
    cloud_B1HW = clouds(draws.uniform(side, side), decay)[:, None, :height, :width]
    unit = images_BCHW.double() / 255
    brightest = unit.amax(dim=(1, 2, 3), keepdim=True)
    return (unit + weight * cloud_B1HW).mul_(brightest).div_(brightest + weight).mul_(255)


def clouds(uniform_BSS: Tensor, decay: float) -> Tensor:
    """Fractal clouds [B, S, S] from 0 to 1, by the diamond-square algorithm on a torus.

    Miller 1986, "The definition and rendering of terrain maps". A wobble of the square of 100 at first
    falls by the square of `decay` a level.

    Args:
        uniform_BSS: a draw for each pixel, from 0 to 1; S is a power of two.
        decay: above 1.
    """
    side = uniform_BSS.shape[1]
    wobble_BSS = 2 * uniform_BSS - 1
    heights = torch.zeros_like(uniform_BSS)
    step, reach = side, 100.0
    while step > 1:
        half = step // 2
        even, odd = slice(0, side, step), slice(half, side, step)
        corners = heights[:, even, even]
        pairs = corners + corners.roll(-1, 1)
        squares = pairs + pairs.roll(-1, 2)
        heights[:, odd, odd] = squares / 4 + reach**2 * wobble_BSS[:, odd, odd]
        centres = heights[:, odd, odd]
        beside = centres + centres.roll(1, 1) + corners + corners.roll(-1, 2)
        above = centres + centres.roll(1, 2) + corners + corners.roll(-1, 1)
        heights[:, even, odd] = beside / 4 + reach**2 * wobble_BSS[:, even, odd]
        heights[:, odd, even] = above / 4 + reach**2 * wobble_BSS[:, odd, even]
        step, reach = half, reach / decay
    heights -= heights.amin(dim=(1, 2), keepdim=True)
    return heights.div_(heights.amax(dim=(1, 2), keepdim=True).clamp(min=1e-9))  # one pixel: 0
