"""RGB to hue, saturation and value and back, for a batch.

Smith 1978, "Color Gamut Transform Pairs".
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_hsv(unit_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue, saturation and value, [B, H, W] each, all from 0 to 1, of values from 0 to 1."""
    red, green, blue = unit_BCHW.unbind(1)
    value = unit_BCHW.amax(1)
    chroma = value - unit_BCHW.amin(1)
    divisor = torch.where(chroma > 0, chroma, 1)
    from_red, from_green, from_blue = (green - blue, blue - red, red - green)
    sixths = torch.where(value == green, from_green / divisor + 2, from_red / divisor)
    sixths = torch.where(value == blue, from_blue / divisor + 4, sixths)
    hue = torch.where(chroma > 0, (sixths / 6) % 1, 0)
    return hue, chroma / torch.where(value > 0, value, 1), value


def from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """[B, 3, H, W] from 0 to 1."""
    sector = (hue * 6).floor()
    into = hue * 6 - sector
    lowest = value * (1 - saturation)
    falling = value * (1 - into * saturation)
    rising = value * (1 - (1 - into) * saturation)
    ways = torch.stack((value, falling, lowest, rising))
    # Which of the four a channel shows in sectors 0 to 5.
    table = torch.tensor([[0, 1, 2, 2, 3, 0], [3, 0, 0, 1, 2, 2], [2, 2, 3, 0, 0, 1]], device=value.device)
    which_3BHW = table[:, sector.long() % 6]
    return ways.gather(0, which_3BHW).movedim(0, 1)
