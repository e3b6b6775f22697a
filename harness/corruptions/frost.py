"""Pictures of frost: the photographs that made CIFAR-10-C where they are installed, otherwise made ones.

The photographs come with the package `imagecorruptions` on PyPI, whose files are read; its code, which
needs old libraries, is not run. The record of a result should say which ones it used: `frost_source()`.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from harness.seeding import derive_seed

PHOTOGRAPHS = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
"""There is a sixth, which the original code never draws."""

STRIDE = 5
"""The original shrinks the photographs to a fifth, bilinearly: exactly every fifth pixel, from the third."""

MADE_HEIGHT, MADE_WIDTH = 495, 660


@dataclass(frozen=True)
class _Look:
    """Mean and standard deviation of the red, green and blue of a photograph of frost."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_LOOKS = (
    _Look((77.5, 149.0, 165.7), (26.8, 16.4, 15.3)),
    _Look((200.8, 205.4, 214.5), (21.4, 22.1, 22.6)),
    _Look((200.8, 205.4, 214.5), (21.4, 22.1, 22.6)),
    _Look((138.0, 153.2, 165.6), (29.0, 29.0, 30.2)),
    _Look((112.3, 123.3, 134.7), (44.3, 43.2, 41.6)),
)
"""Measured on `PHOTOGRAPHS`, in this order."""

_GRAIN = ((1, 0.42), (2, 0.08), (4, 0.1), (8, 0.12), (16, 0.14), (32, 0.14))
"""Share of the variance by size in pixels after the stride, as in the photographs."""


def frost_source() -> str:
    """Which pictures of frost are used: "photographs" or "procedural"."""
    return "photographs" if _photograph_paths() else "procedural"


def frost_crops(uniform_B3: Tensor, height: int, width: int) -> Tensor:
    """uint8 [B, 3, height, width] on the CPU: parts of the pictures.

    Images that the pictures are too small for are shown less reduced parts of them, and at last enlarged
    ones.

    Args:
        uniform_B3: which picture, how far down, how far right, each from 0 to 1.
        height: of an image, in pixels.
        width: likewise.
    """
    pictures = [_reduced(picture, height, width) for picture in _pictures()]
    crops = torch.empty(len(uniform_B3), 3, height, width, dtype=torch.uint8)
    for crop, (which, down, right) in zip(crops, uniform_B3.tolist(), strict=True):
        picture = pictures[int(which * len(pictures))]
        top = int(down * (picture.shape[1] - height))
        left = int(right * (picture.shape[2] - width))
        crop.copy_(picture[:, top : top + height, left : left + width])
    return crops


def _reduced(picture: Tensor, height: int, width: int) -> Tensor:
    stride = min(STRIDE, picture.shape[1] // (height + 1), picture.shape[2] // (width + 1))
    if stride == 0:
        size = max(height, picture.shape[1]), max(width, picture.shape[2])
        return F.interpolate(picture[None].float(), size=size, mode="bilinear")[0].round().to(torch.uint8)
    reduced_height, reduced_width = (round(size / stride) for size in picture.shape[1:])
    return picture[:, stride // 2 :: stride, stride // 2 :: stride][:, :reduced_height, :reduced_width]


def _photograph_paths() -> list[Path]:
    """Where the photographs are; empty if one is missing."""
    spec = importlib.util.find_spec("imagecorruptions")
    for folder in (spec and spec.submodule_search_locations) or ():
        paths = [Path(folder) / "frost" / name for name in PHOTOGRAPHS]
        if all(path.is_file() for path in paths):
            return paths
    return []


@cache
def _pictures() -> list[Tensor]:
    """uint8 [3, H, W] each."""
    if paths := _photograph_paths():
        arrays = [np.array(Image.open(path).convert("RGB")) for path in paths]
        return [torch.from_numpy(array).permute(2, 0, 1) for array in arrays]
    return [_make(number, look) for number, look in enumerate(_LOOKS)]


def _make(number: int, look: _Look) -> Tensor:
    """A made picture: noise of many sizes, in the colours of a photograph."""
    generator = np.random.Generator(np.random.Philox(key=derive_seed(0, "frost", number)))
    total = torch.zeros(MADE_HEIGHT, MADE_WIDTH, dtype=torch.float64)
    for pixels, share in _GRAIN:
        size = MADE_HEIGHT // (STRIDE * pixels) + 2, MADE_WIDTH // (STRIDE * pixels) + 2
        grid = torch.from_numpy(generator.standard_normal(size))[None, None]
        layer = F.interpolate(grid, size=(MADE_HEIGHT, MADE_WIDTH), mode="bilinear")[0, 0]
        total += share**0.5 * (layer - layer.mean()) / layer.std()
    levels = [mean + std * total for mean, std in zip(look.mean, look.std, strict=True)]
    return torch.stack(levels).clamp_(0, 255).round_().to(torch.uint8)
