from __future__ import annotations

import pytest
import torch

from harness.corruptions import noise
from harness.corruptions.draws import Draws
from harness.corruptions.registry import corrupt

INDICES = torch.arange(50)


def flat(level: int) -> torch.Tensor:
    return torch.full((50, 3, 32, 32), level, dtype=torch.uint8)


def draws() -> Draws:
    return Draws(0, INDICES, torch.device("cpu"))


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("level", [0, 60, 255])
def test_gaussian_noise_has_one_strength_everywhere(level: int, severity: int) -> None:
    added = noise.gaussian_noise(flat(level), severity, draws()) - level
    assert float(added.mean()) == pytest.approx(0, abs=0.3)
    assert float(added.std()) == pytest.approx(255 * noise.GAUSSIAN_STD[severity - 1], rel=0.01)


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("level", [60, 140])
def test_the_variance_of_shot_noise_is_that_of_counts(level: int, severity: int) -> None:
    count = noise.SHOT_COUNT[severity - 1]
    levels = noise.shot_noise(flat(level), severity, draws())
    assert float(levels.mean()) == pytest.approx(level, rel=0.01)
    assert float(levels.var()) == pytest.approx(255 * level / count, rel=0.03)
    assert torch.allclose(levels * count / 255, (levels * count / 255).round())


def test_there_is_no_shot_noise_in_the_dark() -> None:
    assert torch.equal(corrupt(flat(0), "shot_noise", 5, INDICES), flat(0))


@pytest.mark.parametrize("severity", range(1, 6))
def test_impulses_are_black_and_white_in_equal_parts_and_the_rest_is_as_before(severity: int) -> None:
    levels = noise.impulse_noise(flat(100), severity, draws())
    values, counts = torch.unique(levels, return_counts=True)
    share = noise.IMPULSE_SHARE[severity - 1] / 2
    assert values.tolist() == [0, 100, 255]
    assert counts[[0, 2]].tolist() == pytest.approx([share * levels.numel()] * 2, rel=0.1)


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("level", [0, 40, 120])
def test_speckle_noise_grows_with_the_light(level: int, severity: int) -> None:
    levels = noise.speckle_noise(flat(level), severity, draws())
    assert float(levels.mean()) == pytest.approx(level, rel=0.01)
    assert float(levels.std()) == pytest.approx(level * noise.SPECKLE_STD[severity - 1], rel=0.01)
