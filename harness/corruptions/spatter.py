"""Spatter: drops of water, or of mud, on the lens."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.corruptions.draws import Draws
from harness.corruptions.edges import canny, distance_to
from harness.corruptions.filters import correlate, gaussian

SPATTER = (
    (0.62, 0.1, 0.7, 0.7, 0.5, "water"),
    (0.65, 0.1, 0.8, 0.7, 0.5, "water"),
    (0.65, 0.3, 1.0, 0.69, 0.5, "water"),
    (0.65, 0.1, 0.7, 0.69, 0.6, "mud"),
    (0.65, 0.1, 0.5, 0.68, 0.6, "mud"),
)
"""Mean, standard deviation and blur of the liquid; threshold; strength of water or blur of mud; liquid."""

WATER_RGB = (175, 238, 238)
MUD_RGB = (63, 42, 20)
FARTHEST = 20
"""Distances from the edge of a drop count up to this many pixels."""

_LIGHT = ((-2.0, -1.0, 0.0), (-1.0, 1.0, 1.0), (0.0, 1.0, 2.0))
"""An emboss: drops are lit from the lower right."""

_BOX = ((1.0, 1.0, 1.0),) * 3


def spatter(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Put drops on the image: severities 1 to 3 water, 4 and 5 mud."""
    mean, std, sigma, threshold, last, kind = SPATTER[severity - 1]
    height, width = images_BCHW.shape[2:]
    liquid_B1HW = gaussian(mean + std * draws.normal(1, height, width).double(), sigma)
    liquid_B1HW = torch.where(liquid_B1HW < threshold, 0, liquid_B1HW)
    unit = images_BCHW.float() / 255
    if kind == "water":
        cover = last * _wetness(liquid_B1HW)
        return (unit + cover * _colour(WATER_RGB, unit)).mul_(255)
    cover = gaussian((liquid_B1HW > threshold).double(), last).float()
    cover = torch.where(cover < 0.8, 0, cover)
    return (unit * (1 - cover) + cover * _colour(MUD_RGB, unit)).mul_(255)


def _wetness(liquid_B1HW: Tensor) -> Tensor:
    """float32 [B, 1, H, W], at most 1: how much light the water of each pixel adds; 0 where there is none."""
    levels = (liquid_B1HW * 255).int().remainder_(256)  # values above 255 start again at 0
    distance = distance_to(canny(levels, 50, 150)).clamp_(max=FARTHEST)
    steps = (correlate(distance.double(), _BOX, "mirror") / 9).floor_()
    spread = _equalize(steps)
    lit = correlate(spread, _LIGHT, "mirror").clamp_(0, 255)
    smooth = (correlate(lit, _BOX, "mirror") / 9).round_()
    wet = levels * smooth
    return (wet / wet.amax(dim=(2, 3), keepdim=True).clamp(min=1)).float()


def _equalize(steps_B1HW: Tensor) -> Tensor:
    """Spread whole numbers up to `FARTHEST` over 0 to 255, so that each range holds as many pixels."""
    num_pixels = steps_B1HW[0].numel()
    levels = torch.arange(FARTHEST + 1, device=steps_B1HW.device).view(-1, 1, 1, 1)
    reached_LB111 = (steps_B1HW[None] <= levels[:, None]).sum(dim=(2, 3, 4))
    lowest_B = steps_B1HW.amin(dim=(1, 2, 3)).long()
    first_B = reached_LB111.gather(0, lowest_B[None])[0]
    scale_B = (255 / (num_pixels - first_B).clamp(min=1)).float()
    new_LB = ((reached_LB111 - first_B).float() * scale_B).round().clamp(min=0)
    # An image of a single level keeps it.
    new_LB = torch.where(first_B == num_pixels, lowest_B.float(), new_LB)
    spread = new_LB.gather(0, steps_B1HW.long().flatten(1).T).T
    return spread.reshape(steps_B1HW.shape).double()


def _colour(rgb: tuple[int, int, int], like: Tensor) -> Tensor:
    return torch.tensor(rgb, dtype=like.dtype, device=like.device).view(1, 3, 1, 1) / 255
