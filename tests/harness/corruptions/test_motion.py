from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.corruptions.motion import smear


def ray_by_ray(levels: np.ndarray, radius: int, sigma: float, degrees: float) -> np.ndarray:
    """One channel, pixel by pixel."""
    height, width = levels.shape
    steps = range(2 * radius + 1)
    weights = np.exp([-(step**2) / (2 * sigma**2) for step in steps])
    weights /= weights.sum()
    new = np.zeros_like(levels)
    for row in range(height):
        for column in range(width):
            for step, weight in zip(steps, weights, strict=True):
                down = math.ceil(step * math.sin(math.radians(degrees)) - 0.5)
                right = math.ceil(step * math.cos(math.radians(degrees)) - 0.5)
                there = min(max(row + down, 0), height - 1), min(max(column + right, 0), width - 1)
                new[row, column] += weight * levels[there]
    return np.floor(np.floor(257 * new + 0.5) / 257)


@pytest.mark.parametrize(("radius", "sigma"), [(6, 1.0), (9, 2.5), (14, 12.0)])
def test_each_image_is_smeared_along_its_own_ray(radius: int, sigma: float) -> None:
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 256, (4, 2, 10, 13), generator=generator).float()
    degrees = torch.tensor([-130.0, -44.5, 0.0, 31.7], dtype=torch.float64)
    smeared = smear(levels, radius, sigma, degrees)
    for number in range(4):
        for channel in range(2):
            plane = levels[number, channel].double().numpy()
            expected = ray_by_ray(plane, radius, sigma, float(degrees[number]))
            # Rounding in float32 may take a value across a whole number.
            difference = np.abs(smeared[number, channel].numpy() - expected)
            assert difference.max() <= 1
            assert (difference > 0).mean() < 0.01


def test_flat_images_stay_as_they_are() -> None:
    levels = torch.arange(256.0).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    degrees = torch.linspace(-45, 45, 256, dtype=torch.float64)
    assert torch.equal(smear(levels, 6, 2.0, degrees), levels)


def test_light_comes_from_the_right_at_no_angle() -> None:
    levels = torch.zeros(1, 1, 5, 5)
    levels[0, 0, 2, 2] = 255
    smeared = smear(levels, 6, 2.0, torch.zeros(1, dtype=torch.float64))[0, 0]
    assert smeared[2, 2] > smeared[2, 1] > smeared[2, 0] > 0
    assert smeared.count_nonzero() == 3
