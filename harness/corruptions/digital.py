"""What processing does to an image: brightness, contrast, saturation, fewer pixels, JPEG."""

from __future__ import annotations

from functools import cache
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness.corruptions.draws import Draws
from harness.corruptions.hsv import from_hsv, to_hsv

BRIGHTNESS = (0.05, 0.10, 0.15, 0.20, 0.30)
CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)
SATURATION_FACTOR_AND_OFFSET = ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2))
PIXELATE_SIZE = (0.95, 0.9, 0.85, 0.75, 0.65)
"""Of the original size."""

JPEG_QUALITY = (80, 65, 58, 50, 40)

_FIXED_POINT_BITS = 22
"""Of the weights in Pillow's resizing of uint8."""


def brightness(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Raise the value of HSV."""
    del draws
    hue, saturation, value = to_hsv(images_BCHW.double() / 255)
    return from_hsv(hue, saturation, (value + BRIGHTNESS[severity - 1]).clamp(max=1)).mul_(255)


def contrast(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Move the values of each channel towards their mean."""
    del draws
    unit = images_BCHW.double() / 255
    num_pixels = images_BCHW.shape[2] * images_BCHW.shape[3]
    # A sum of whole numbers is the same in any order.
    mean = images_BCHW.long().sum(dim=(2, 3), keepdim=True).double() / (255 * num_pixels)
    return unit.sub_(mean).mul_(CONTRAST[severity - 1]).add_(mean).mul_(255)


def saturate(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Change the saturation of HSV: two severities take colour, three add it."""
    del draws
    factor, offset = SATURATION_FACTOR_AND_OFFSET[severity - 1]
    hue, saturation, value = to_hsv(images_BCHW.double() / 255)
    return from_hsv(hue, (saturation * factor + offset).clamp(0, 1), value).mul_(255)


def pixelate(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Shrink with a box filter and enlarge again, pixel for pixel as Pillow does."""
    del draws
    height, width = images_BCHW.shape[2:]
    share = PIXELATE_SIZE[severity - 1]
    images = images_BCHW.int()
    for dim, size in ((3, width), (2, height)):
        images = _resize(images, dim, max(int(size * share), 1))
    for dim, size in ((3, width), (2, height)):
        images = _resize(images, dim, size)
    return images.to(torch.uint8)


def jpeg_compression(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Compress as JPEG, with Pillow's quality scale and 4:2:0 chroma, and read it again; on the CPU."""
    del draws
    arrays = images_BCHW.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    read = np.empty_like(arrays)
    for row, array in enumerate(arrays):
        buffer = BytesIO()
        Image.fromarray(array).save(buffer, "JPEG", quality=JPEG_QUALITY[severity - 1])
        read[row] = np.asarray(Image.open(buffer))
    return torch.from_numpy(read).permute(0, 3, 1, 2).to(images_BCHW.device)


def _resize(images_BCHW: Tensor, dim: int, size: int) -> Tensor:
    """Resize one dimension of int32 images; each new pixel is the mean of those whose centres it covers."""
    total = torch.full_like(images_BCHW[:1, :1, :1, :1], 2 ** (_FIXED_POINT_BITS - 1))
    for places, weights in _taps(images_BCHW.shape[dim], size):
        weights = weights.view((-1,) if dim == 3 else (-1, 1)).to(images_BCHW.device)
        total = total + images_BCHW.index_select(dim, places.to(images_BCHW.device)) * weights
    return total >> _FIXED_POINT_BITS


@cache
def _taps(old_size: int, size: int) -> list[tuple[Tensor, Tensor]]:
    """For the first, second ... old pixel of every new one: which it is, and its weight in fixed point."""
    scale = old_size / size
    reach = 0.5 * max(scale, 1)
    rows = []
    for place in range(size):
        centre = (place + 0.5) * scale
        # A centre on the border belongs to one side only.
        rows.append([old for old in range(old_size) if -reach < old + 0.5 - centre <= reach])
    taps = []
    for tap in range(max(map(len, rows))):
        places = [row[min(tap, len(row) - 1)] for row in rows]
        weights = [int(0.5 + 2**_FIXED_POINT_BITS / len(row)) if tap < len(row) else 0 for row in rows]
        taps.append((torch.tensor(places), torch.tensor(weights, dtype=torch.int32)))
    return taps
