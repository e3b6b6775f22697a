from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from harness.corruptions.elastic import elastic_transform, warp
from tests.harness.augment.augment_helpers import photographs
from tests.harness.corruptions.corruption_helpers import GivenDraws

UNIT = photographs(20, 32, 32).contiguous()[:6].float() / 255


def test_corners_that_stay_change_nothing() -> None:
    assert torch.equal(warp(UNIT, torch.zeros(6, 3, 2)), UNIT)


def test_corners_that_move_together_shift_the_image() -> None:
    shifted = warp(UNIT, torch.tensor([3.0, -2.0]).expand(6, 3, 2))
    assert torch.allclose(shifted[:, :, :-2, 3:], UNIT[:, :, 2:, :-3])
    assert torch.allclose(shifted[:, :, :-2, 2], UNIT[:, :, 2:, 1])  # the mirrored border


def test_the_affine_map_takes_each_corner_where_it_was_drawn_to() -> None:
    moves = 5 * torch.rand(6, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 2.5
    old = np.array([[26, 26], [26, 6], [6, 6]], dtype=float)
    warped = warp(UNIT, moves)
    rows, columns = np.mgrid[:32, :32]
    places = np.stack((columns, rows, np.ones_like(rows))).reshape(3, -1)
    for number in range(6):
        new = old + moves[number].numpy()
        back = np.linalg.solve(np.column_stack((new, np.ones(3))), old).T @ places
        there = back[::-1].reshape(2, 32, 32)
        for channel in range(3):
            plane = UNIT[number, channel].numpy()
            expected = ndimage.map_coordinates(plane, there, order=1, mode="mirror")
            # Places are rounded to 1/32 of a pixel.
            assert np.abs(warped[number, channel].numpy() - expected).max() < 0.05


@pytest.mark.parametrize("severity", range(1, 6))
def test_no_draw_means_no_change(severity: int) -> None:
    middle = torch.full((6, 3, 2), 0.5, dtype=torch.float64), torch.full((6, 2, 32, 32), 0.5).double()
    images = photographs(20, 32, 32)[:6]
    assert torch.allclose(elastic_transform(images, severity, GivenDraws(*middle)), images.float(), atol=1e-3)


def test_the_mildest_severity_is_affine() -> None:
    images = photographs(20, 32, 32)[:6]
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(6, 3, 2, dtype=torch.float64, generator=generator)
    fields = torch.rand(6, 2, 32, 32, dtype=torch.float64, generator=generator)
    levels = elastic_transform(images, 1, GivenDraws(corners, fields))
    assert torch.allclose(levels, 255 * warp(images.float() / 255, (2 * corners - 1) * 32 * 0.08))
