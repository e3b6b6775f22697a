"""Filters on whole batches that the corruptions are made of, each image apart from the others.

Sums are taken tap by tap: a convolution of a library may add in another order for another size of
batch, and a corrupted image is cut to whole grey levels, where the last bit counts. A border repeats as
often as a kernel needs it, so images may be smaller than the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Literal

import torch
from torch import Tensor

Border = Literal["nearest", "symmetric", "mirror"]
"""How a row abcd goes on: abcd|dddd, abcd|dcba, abcd|cbab."""


def inside(places: Tensor, size: int, border: Border) -> Tensor:
    """The places from 0 to size - 1 that stand for places that may be outside; int64."""
    if border == "nearest":
        return places.clamp(0, size - 1)
    if border == "symmetric":
        places = places % (2 * size)
        return torch.where(places < size, places, 2 * size - 1 - places)
    period = max(2 * size - 2, 1)
    places = places % period
    return torch.where(places < size, places, period - places)


def pad(images_BCHW: Tensor, reach: int, border: Border) -> Tensor:
    """Images with `reach` more pixels on each side."""
    for dim in (2, 3):
        images_BCHW = _pad_dim(images_BCHW, dim, reach, border)
    return images_BCHW


def correlate(images_BCHW: Tensor, kernel: Sequence[Sequence[float]], border: Border) -> Tensor:
    """Weight the surroundings of each pixel with an odd square kernel."""
    height, width = images_BCHW.shape[2:]
    padded = pad(images_BCHW, len(kernel) // 2, border)
    total = torch.zeros_like(images_BCHW)
    for top, row in enumerate(kernel):
        for left, weight in enumerate(row):
            if weight:
                total += weight * padded[:, :, top : top + height, left : left + width]
    return total


def gaussian(images_BCHW: Tensor, sigma: float, border: Border = "nearest", truncate: float = 4) -> Tensor:
    """Blur with a Gaussian that ends `truncate` standard deviations from its centre; 0 changes nothing."""
    reach = int(truncate * sigma + 0.5)
    if reach == 0:
        return images_BCHW
    falling = [math.exp(-0.5 * (place / sigma) ** 2) for place in range(reach + 1)]
    norm = 2 * sum(falling) - falling[0]
    weights = [value / norm for value in falling]
    for dim in (2, 3):
        size = images_BCHW.shape[dim]
        padded = _pad_dim(images_BCHW, dim, reach, border)
        total = padded.narrow(dim, reach, size) * weights[0]
        for place in range(reach, 0, -1):  # from afar, as scipy adds
            pair = padded.narrow(dim, reach - place, size) + padded.narrow(dim, reach + place, size)
            total += pair.mul_(weights[place])
        images_BCHW = total
    return images_BCHW


def zoom(images_HWN: Tensor, factor: float) -> Tensor:
    """Enlarge the middle of images by a factor from 1, bilinearly, and cut them to the old size.

    The values of one place are side by side, which makes this several times faster.
    """
    for dim in (0, 1):
        low, high, share = _zoom_places(images_HWN.shape[dim], factor, images_HWN.dtype, images_HWN.device)
        lower, higher = images_HWN.index_select(dim, low), images_HWN.index_select(dim, high)
        images_HWN = torch.lerp(lower, higher, share if dim == 0 else share[:, :, 0])
    return images_HWN


def look_up(images_BCHW: Tensor, rows_BHW: Tensor, columns_BHW: Tensor) -> Tensor:
    """The value of each pixel from another place of its image; int64 places, all inside."""
    batch, channels, height, width = images_BCHW.shape
    places = (rows_BHW * width + columns_BHW).view(batch, 1, -1).expand(-1, channels, -1)
    return images_BCHW.reshape(batch, channels, -1).gather(2, places).view(batch, channels, height, width)


def look_up_between(images_BCHW: Tensor, rows_BHW: Tensor, columns_BHW: Tensor, border: Border) -> Tensor:
    """The value at places between pixels, bilinearly; float places, also outside."""
    height, width = images_BCHW.shape[2:]
    tops, lefts = rows_BHW.floor(), columns_BHW.floor()
    down = (rows_BHW - tops)[:, None].to(images_BCHW.dtype)
    right = (columns_BHW - lefts)[:, None].to(images_BCHW.dtype)
    tops, lefts = tops.long(), lefts.long()
    total = torch.zeros_like(images_BCHW)
    for row, row_share in ((tops, 1 - down), (tops + 1, down)):
        for column, column_share in ((lefts, 1 - right), (lefts + 1, right)):
            values = look_up(images_BCHW, inside(row, height, border), inside(column, width, border))
            total += values * (row_share * column_share)
    return total


@cache
def _zoom_places(
    size: int, factor: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Between which two old places each new one lies, and how near to the second, [size, 1, 1]."""
    part = math.ceil(size / factor)
    enlarged = round(part * factor)
    start = (size - part) // 2
    places = torch.arange(size, dtype=torch.float64) + (enlarged - size) // 2
    places = (places * (part - 1) / max(enlarged - 1, 1)).clamp(max=part - 1)  # corners on corners
    low = places.floor().long()
    share = (places - low).to(dtype)[:, None, None]
    high = (low + 1).clamp(max=part - 1)
    return (start + low).to(device), (start + high).to(device), share.to(device)


def _pad_dim(images_BCHW: Tensor, dim: int, reach: int, border: Border) -> Tensor:
    size = images_BCHW.shape[dim]
    places = torch.arange(-reach, size + reach, device=images_BCHW.device)
    return images_BCHW.index_select(dim, inside(places, size, border))
