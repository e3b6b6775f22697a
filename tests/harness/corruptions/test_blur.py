from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from harness.corruptions import blur
from harness.corruptions.registry import corrupt
from tests.harness.augment.augment_helpers import differing, photographs
from tests.harness.corruptions.corruption_helpers import GivenDraws, no_draws

IMAGES = photographs(8, 20, 24)
INDICES = torch.arange(8)


def cut(levels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(levels.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("severity", range(1, 6))
def test_a_gaussian_blur_is_scipys(severity: int) -> None:
    sigma = blur.GAUSSIAN_SIGMA[severity - 1]
    expected = ndimage.gaussian_filter(IMAGES.numpy() / 255, (0, 0, sigma, sigma), mode="nearest")
    assert differing(corrupt(IMAGES, "gaussian_blur", severity, INDICES), cut(255 * expected), 1) < 0.01


@pytest.mark.parametrize("severity", range(1, 6))
def test_a_point_out_of_focus_is_a_symmetric_disk(severity: int) -> None:
    images = torch.zeros(1, 3, 9, 9, dtype=torch.uint8)
    images[:, :, 4, 4] = 255
    spread = blur.defocus_blur(images, severity, no_draws())[0, 0]
    assert float(spread.sum()) == pytest.approx(255, rel=1e-6)
    assert torch.allclose(spread, spread.T)
    assert torch.allclose(spread, spread.flip(0))
    assert float(spread[:, :2].sum()) == 0
    assert spread[4, 4] >= spread[4, 5] * (1 - 1e-6)
    assert spread[4, 5] >= spread[5, 5] * (1 - 1e-6)


def test_the_widest_disk_is_nine_equal_pixels() -> None:
    expected = ndimage.uniform_filter(IMAGES.numpy() / 255, (1, 1, 3, 3), mode="mirror")
    assert differing(corrupt(IMAGES, "defocus_blur", 5, INDICES), cut(255 * expected), 1) < 0.1


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_glass_moves_pixels_as_one_by_one_from_the_lower_right(severity: int) -> None:
    sigma, rounds = blur.GLASS_SIGMA_AND_ROUNDS[severity - 1]
    generator = torch.Generator().manual_seed(severity)
    moves = [torch.randint(-1, 1, (8, 20, 24, 2), generator=generator) for _ in range(rounds)]
    blurred = ndimage.gaussian_filter(IMAGES.numpy() / 255, (0, 0, sigma, sigma), mode="nearest")
    expected = (255 * blurred).astype(np.uint8)
    for moves_BHW2 in moves:
        for number in range(8):
            for row in range(19, 1, -1):
                for column in range(23, 1, -1):
                    down, right = moves_BHW2[number, row, column].tolist()
                    expected[number, :, row, column] = expected[number, :, row + down, column + right]
    again = ndimage.gaussian_filter(expected / 255, (0, 0, sigma, sigma), mode="nearest")
    levels = blur.glass_blur(IMAGES, severity, GivenDraws(*moves)).floor().to(torch.uint8)
    assert differing(levels, cut(255 * again), 1) < 0.01


@pytest.mark.parametrize("severity", range(1, 6))
def test_a_zoom_blur_brightens_nothing_and_keeps_the_middle(severity: int) -> None:
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    images[:, :, 12:20, 12:20] = 200
    levels = corrupt(images, "zoom_blur", severity, torch.arange(1))
    assert levels.max() <= 200
    assert levels[0, 0, 15, 15] >= 199
    assert levels.count_nonzero() >= images.count_nonzero()


def test_the_motion_is_drawn_within_45_degrees() -> None:
    images = torch.zeros(3, 3, 21, 21, dtype=torch.uint8)
    images[:, :, 10, 10] = 255
    draw = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    up, level, down = blur.motion_blur(images, 5, GivenDraws(draw))[:, 0]
    assert level[10, :10].sum() == level.sum() - level[10, 10]
    assert torch.equal(up, down.flip(0))
    assert up[12, 8] > 0
