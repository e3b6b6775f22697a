"""Elastic transform: a random affine map, then a smooth random displacement of every pixel.

After Simard et al. 2003, "Best Practices for Convolutional Neural Networks Applied to Visual Document
Analysis", in the version that made CIFAR-10-C.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.corruptions.draws import Draws
from harness.corruptions.filters import gaussian, look_up_between

ELASTIC = ((0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03))
"""Strength and sigma of the displacement, reach of the affine map: parts of the image's side."""

_SUBPIXELS = 32
"""OpenCV rounds the places that `warpAffine` reads to such parts of a pixel."""

_FIXED_POINT = 1024


def elastic_transform(images_BCHW: Tensor, severity: int, draws: Draws) -> Tensor:
    """Map affinely, then displace pixels smoothly."""
    height, width = images_BCHW.shape[2:]
    strength, sigma, reach = (min(height, width) * part for part in ELASTIC[severity - 1])
    moves_B32 = (2 * draws.uniform(3, 2) - 1) * reach
    fields_B2HW = 2 * draws.uniform(2, height, width) - 1
    unit = warp(images_BCHW.float() / 255, moves_B32)
    moved_B2HW = gaussian(fields_B2HW, sigma, "symmetric", truncate=3).mul_(strength).float()
    right_BHW, down_BHW = moved_B2HW.double().unbind(1)
    rows_BHW = torch.arange(height, device=unit.device)[:, None] + down_BHW
    columns_BHW = torch.arange(width, device=unit.device) + right_BHW
    return look_up_between(unit, rows_BHW, columns_BHW, "symmetric").mul_(255)


def warp(unit_BCHW: Tensor, moves_B32: Tensor) -> Tensor:
    """Map each image affinely so that three corners of a square in its middle move; bilinear, mirrored.

    Args:
        unit_BCHW: float32.
        moves_B32: how far the lower right, the upper right and the upper left corner move, right and down,
            in pixels.
    """
    height, width = unit_BCHW.shape[2:]
    half = max(min(height, width) // 3, 1)
    centre = torch.tensor([width // 2, height // 2], dtype=torch.float64, device=unit_BCHW.device)
    corners_32 = centre + half * torch.tensor([[1, 1], [1, -1], [-1, -1]], device=unit_BCHW.device)
    low_right, top_right, top_left = (corners_32.float() + moves_B32.float()).double().unbind(1)
    # Old places to new ones: columns of the matrix, then the offset.
    along_x, along_y = (top_right - top_left) / (2 * half), (low_right - top_right) / (2 * half)
    offset = top_left - along_x * corners_32[2, 0] - along_y * corners_32[2, 1]
    (xx, yx), (xy, yy), (x0, y0) = (part.unbind(1) for part in (along_x, along_y, offset))
    # New places to old ones.
    determinant = xx * yy - xy * yx
    inverse = (yy / determinant, -xy / determinant, -yx / determinant, xx / determinant)
    xx, xy, yx, yy = inverse
    columns_BHW = _places(xx, xy, -xx * x0 - xy * y0, height, width)
    rows_BHW = _places(yx, yy, -yx * x0 - yy * y0, height, width)
    return look_up_between(unit_BCHW, rows_BHW, columns_BHW, "mirror")


def _places(by_x: Tensor, by_y: Tensor, offset: Tensor, height: int, width: int) -> Tensor:
    """[B, H, W]: where to read, rounded as OpenCV's `warpAffine` rounds, in two steps."""
    x = torch.arange(width, device=by_x.device)
    y = torch.arange(height, device=by_x.device)[:, None]
    by_x, by_y, offset = (part.view(-1, 1, 1) for part in (by_x, by_y, offset))
    fixed = (by_x * x * _FIXED_POINT).round() + ((by_y * y + offset) * _FIXED_POINT).round()
    return (fixed * (_SUBPIXELS / _FIXED_POINT) + 0.5).floor() / _SUBPIXELS
