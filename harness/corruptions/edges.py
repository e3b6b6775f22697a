"""Edges of drops and the distance from them, for a batch, as OpenCV finds them for one image.

Canny 1986, "A Computational Approach to Edge Detection"; Borgefors 1986, "Distance transformations in
digital images", for the chamfer distance of a 5x5 neighbourhood.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.corruptions.filters import correlate

_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
_SLOPE = 13573
"""The tangent of 22.5 degrees times 2**15, rounded."""

_MOVES = (
    *(((0, 1), 1.0), ((1, 0), 1.0), ((1, 1), 1.4), ((1, -1), 1.4)),
    *(((1, 2), 2.1969), ((1, -2), 2.1969), ((2, 1), 2.1969), ((2, -1), 2.1969)),
)
"""Half of the moves, down and right in pixels, and their lengths; the others are opposite."""


def canny(levels_B1HW: Tensor, low: int, high: int) -> Tensor:
    """Edges, bool [B, 1, H, W]: thin lines of gradients above `low` that reach one above `high`.

    Gradients are sums of absolute values of Sobel filters.
    """
    levels = levels_B1HW.double()
    by_x = correlate(levels, _SOBEL, "nearest").long()
    by_y = correlate(levels, tuple(zip(*_SOBEL, strict=True)), "nearest").long()
    size = by_x.abs() + by_y.abs()
    around = F.pad(size, (1, 1, 1, 1))

    def beside(down: int, right: int) -> Tensor:
        height, width = size.shape[2:]
        return around[:, :, 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    steep, flat = by_y.abs() << 15, by_x.abs() * _SLOPE
    is_flat, is_steep = steep < flat, steep > flat + (by_x.abs() << 16)
    across = (size > beside(0, -1)) & (size >= beside(0, 1))
    along = (size > beside(-1, 0)) & (size >= beside(1, 0))
    falling = (size > beside(-1, -1)) & (size > beside(1, 1))
    rising = (size > beside(-1, 1)) & (size > beside(1, -1))
    diagonal = torch.where((by_x ^ by_y) < 0, rising, falling)
    is_ridge = torch.where(is_flat, across, torch.where(is_steep, along, diagonal))
    weak = is_ridge & (size > low)
    edges = weak & (size > high)
    while True:
        grown = F.max_pool2d(edges.float(), 3, stride=1, padding=1).bool() & weak
        if torch.equal(grown, edges):
            return edges
        edges = grown


def distance_to(marked_B1HW: Tensor) -> Tensor:
    """float32 [B, 1, H, W]: length of the shortest way to a marked pixel; large where there is none.

    A step to a neighbour has length 1, a diagonal one 1.4, a knight's move 2.1969.
    """
    height, width = marked_B1HW.shape[2:]
    distance = torch.where(marked_B1HW, 0.0, float(4 * (height + width)))
    while True:
        # Outside the image is far away.
        padded = F.pad(distance, (2, 2, 2, 2), value=float(4 * (height + width)))
        nearer = distance
        for (down, right), length in _MOVES:
            for sign in (-1, 1):
                top, left = 2 + sign * down, 2 + sign * right
                nearer = torch.minimum(nearer, padded[:, :, top : top + height, left : left + width] + length)
        if torch.equal(nearer, distance):
            return distance
        distance = nearer
