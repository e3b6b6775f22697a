from __future__ import annotations

import pytest
import torch

from harness.corruptions import weather
from harness.corruptions.registry import corrupt
from tests.harness.augment.augment_helpers import photographs
from tests.harness.corruptions.corruption_helpers import GivenDraws


def cloud_point_by_point(wobble: torch.Tensor, decay: float) -> torch.Tensor:
    """A map whose edges meet: squares first, then diamonds, each the mean of four and a wobble."""
    side = len(wobble)
    heights = torch.zeros_like(wobble)
    step, reach = side, 100.0
    while step > 1:
        half = step // 2
        squares = [
            (half + step * i, half + step * j) for i in range(side // step) for j in range(side // step)
        ]
        diamonds = [(row - half, column) for row, column in squares]
        diamonds += [(row, column - half) for row, column in squares]
        for points, offsets in (
            (squares, [(-half, -half), (-half, half), (half, -half), (half, half)]),
            (diamonds, [(-half, 0), (half, 0), (0, -half), (0, half)]),
        ):
            for row, column in points:
                around = [heights[(row + down) % side, (column + right) % side] for down, right in offsets]
                heights[row, column] = torch.stack(around).mean() + reach**2 * wobble[row, column]
        step, reach = half, reach / decay
    heights = heights - heights.min()
    return heights / heights.max()


@pytest.mark.parametrize("decay", [3.0, 1.75])
def test_clouds_are_made_by_the_diamond_square_algorithm(decay: float) -> None:
    uniform = torch.rand(3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = [cloud_point_by_point(2 * draw - 1, decay) for draw in uniform]
    assert torch.allclose(weather.clouds(uniform, decay), torch.stack(expected))


@pytest.mark.parametrize("severity", range(1, 6))
def test_fog_never_exceeds_the_brightest_value(severity: int) -> None:
    images = photographs(20, 32, 32) // 2
    foggy = corrupt(images, "fog", severity, torch.arange(20))
    assert (foggy.amax(dim=(1, 2, 3)) <= images.amax(dim=(1, 2, 3))).all()


@pytest.mark.parametrize("severity", range(1, 6))
def test_snow_darkens_nothing_and_lies_also_upside_down(severity: int) -> None:
    images = photographs(20, 32, 32)
    snowy = corrupt(images, "snow", severity, torch.arange(20))
    assert (snowy.int() >= images.int() - 1).all()
    black = torch.zeros_like(images)
    flakes = corrupt(black, "snow", severity, torch.arange(20)).int()
    assert ((flakes - flakes.flip(2, 3)).abs() <= 1).all()
    assert len(torch.unique(flakes)) > 5


def test_without_flakes_snow_only_whitens() -> None:
    images = photographs(20, 32, 32)[:2]
    still = GivenDraws(torch.full((2, 32, 32), -9.0), torch.zeros(2, dtype=torch.float64))
    levels = weather.snow(images, 1, still)
    grey = (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    expected = 0.95 * images + 0.05 * torch.maximum(images.float(), grey * 1.5 + 127.5)
    assert torch.allclose(levels.float(), expected, atol=1e-3)
