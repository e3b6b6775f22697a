from __future__ import annotations

import colorsys

import torch

from harness.corruptions.hsv import from_hsv, to_hsv

LEVELS = torch.linspace(0, 1, 6, dtype=torch.float64)
COLOURS = torch.cartesian_prod(LEVELS, LEVELS, LEVELS).T[None, :, :, None]


def test_planes_are_those_of_the_standard_library() -> None:
    planes = torch.stack(to_hsv(COLOURS))[:, 0, :, 0].T
    expected = [colorsys.rgb_to_hsv(*colour) for colour in COLOURS[0, :, :, 0].T.tolist()]
    assert torch.allclose(planes, torch.tensor(expected, dtype=torch.float64))


def test_there_and_back_is_the_same() -> None:
    assert torch.allclose(from_hsv(*to_hsv(COLOURS)), COLOURS)
