"""The named adjustments that policies are made of, and steps: which of them, how strong, on each image.

    take_steps(images_BCHW, steps_BS3, strengths, "nearest")

A step is three whole numbers: the place of its adjustment in `ADJUSTMENTS`, the bin of its magnitude,
its sign. Names, magnitudes and their bins are those of torchvision's `transforms.v2`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor

from harness.augment.affine import AFFINE, affine, matrices
from harness.augment.colour import (
    autocontrast,
    brightness,
    contrast,
    equalize,
    invert,
    posterize,
    saturation,
    sharpness,
    solarize,
)
from harness.augment.grouping import Adjust, apply_by_kind
from harness.augment.operation import GlobalBatch

COLOUR: dict[str, Adjust] = {
    "Brightness": lambda images, magnitude: brightness(images, 1 + magnitude),
    "Color": lambda images, magnitude: saturation(images, 1 + magnitude),
    "Contrast": lambda images, magnitude: contrast(images, 1 + magnitude),
    "Sharpness": lambda images, magnitude: sharpness(images, 1 + magnitude),
    "Posterize": posterize,
    "Solarize": solarize,
    "AutoContrast": lambda images, _: autocontrast(images),
    "Equalize": lambda images, _: equalize(images),
    "Invert": lambda images, _: invert(images),
}

IDENTITY = 0
ADJUSTMENTS = ("Identity", *AFFINE, *COLOUR)
FIRST_UNSIGNED = ADJUSTMENTS.index("Posterize")
"""The adjustments before this one can be applied with either sign."""


@dataclass(frozen=True)
class Strengths:
    """The magnitude of each adjustment in the last bin; the bins lead to it in equal steps, from none."""

    num_bins: int
    shear: float
    """Slope."""

    translate: Callable[[int], float]
    """Pixels, for an image so many pixels high or wide."""

    rotate: float
    """Degrees."""

    enhance: float
    """Distance from 1 of the factor of brightness, colour, contrast and sharpness."""

    posterize: tuple[int, int]
    """Bits that are kept in the first bin and in the last."""


def draw_steps(batch: GlobalBatch, adjustments_BS: Tensor, bins_BS: Tensor) -> Tensor:
    """int64 [B, S, 3]: steps with the given adjustments and bins, and a fair sign where there is one."""
    signs_BS = 2 * batch.integers(0, 2, adjustments_BS.shape[1]) - 1
    signs_BS = torch.where(adjustments_BS < FIRST_UNSIGNED, signs_BS, 1)
    return torch.stack((adjustments_BS, bins_BS, signs_BS), dim=2)


def take_steps(images_BCHW: Tensor, steps_BS3: Tensor, strengths: Strengths, interpolation: str) -> Tensor:
    """New uint8 images [B, 3, H, W], contiguous: each after its S steps.

    No host synchronisation on CUDA, except in the first call for a size of image.

    Args:
        images_BCHW: uint8, in any memory format.
        steps_BS3: int64, as `draw_steps` makes them.
        strengths: what the bins mean.
        interpolation: of shears, shifts and rotations: "nearest" or "bilinear".
    """
    height, width = images_BCHW.shape[2:]
    table = magnitude_table(strengths, height, width, images_BCHW.device)

    def warp(images_BCHW: Tensor, magnitudes_B6: Tensor) -> Tensor:
        return affine(images_BCHW, matrices(magnitudes_B6[:, 1:], height, width), interpolation)

    adjustments: list[Adjust] = [warp, *(partial(_by_first_column, adjust) for adjust in COLOUR.values())]
    affine_places = torch.arange(1, 1 + len(AFFINE), device=images_BCHW.device)
    images_BCHW = images_BCHW.contiguous()
    for adjustment_B, bin_B, sign_B in steps_BS3.permute(1, 2, 0):
        magnitude_B1 = (sign_B * table[adjustment_B, bin_B])[:, None]
        is_affine_B5 = adjustment_B[:, None] == affine_places
        magnitudes_B6 = torch.cat((magnitude_B1, magnitude_B1 * is_affine_B5), dim=1)
        # One kind for all that is affine, so that it is done at once.
        colour_B = adjustment_B - len(AFFINE)
        kind_B = torch.where(colour_B > 0, 1 + colour_B, is_affine_B5.any(1).long())
        images_BCHW = apply_by_kind(images_BCHW, kind_B, magnitudes_B6, adjustments)
    return images_BCHW


def _by_first_column(adjust: Adjust, images_BCHW: Tensor, magnitudes_B6: Tensor) -> Tensor:
    return adjust(images_BCHW, magnitudes_B6[:, 0])


@cache
def magnitude_table(strengths: Strengths, height: int, width: int, device: torch.device) -> Tensor:
    """float64 [len(ADJUSTMENTS), num_bins]: magnitudes without sign; 0 for an adjustment that has none."""

    def rising_to(last: float) -> Tensor:
        return torch.linspace(0, last, strengths.num_bins)

    first_bits, last_bits = strengths.posterize
    bins_per_bit = (strengths.num_bins - 1) / (first_bits - last_bits)
    bits = first_bits - torch.arange(strengths.num_bins) / bins_per_bit
    magnitudes = {
        "ShearX": rising_to(strengths.shear),
        "ShearY": rising_to(strengths.shear),
        "TranslateX": rising_to(strengths.translate(width)).trunc(),
        "TranslateY": rising_to(strengths.translate(height)).trunc(),
        "Rotate": rising_to(strengths.rotate),
        **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), rising_to(strengths.enhance)),
        "Posterize": bits.round(),
        "Solarize": 255 * torch.linspace(1, 0, strengths.num_bins),
    }
    none = torch.zeros(strengths.num_bins)
    return torch.stack([magnitudes.get(name, none).double() for name in ADJUSTMENTS]).to(device)
