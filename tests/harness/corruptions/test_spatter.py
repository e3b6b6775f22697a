from __future__ import annotations

import pytest
import torch

from harness.corruptions.registry import corrupt
from harness.corruptions.spatter import MUD_RGB, spatter
from tests.harness.augment.augment_helpers import photographs
from tests.harness.corruptions.corruption_helpers import GivenDraws

IMAGES = photographs(20, 32, 32)
INDICES = torch.arange(20)


@pytest.mark.parametrize("severity", [1, 2, 3])
def test_water_adds_pale_turquoise_light(severity: int) -> None:
    black = torch.zeros_like(IMAGES)
    levels = corrupt(black, "spatter", severity, INDICES).int()
    red, green, blue = levels.unbind(1)
    assert torch.equal(green, blue)
    assert ((red - green * 175 / 238).abs() <= 1).all()
    assert 110 < levels.max() <= 119  # half of 238
    assert (corrupt(IMAGES, "spatter", severity, INDICES) >= IMAGES).all()


@pytest.mark.parametrize("severity", [4, 5])
def test_mud_covers_the_image(severity: int) -> None:
    white = torch.full_like(IMAGES, 255)
    levels = corrupt(white, "spatter", severity, INDICES)
    covered = (levels < 255).all(dim=1)
    assert 0.01 < float(covered.float().mean()) < 0.2
    darkest = levels.amin(dim=(0, 2, 3)).tolist()
    assert all(mud <= level <= mud + 10 for level, mud in zip(darkest, MUD_RGB, strict=True))


@pytest.mark.parametrize("severity", range(1, 6))
def test_without_drops_the_image_stays(severity: int) -> None:
    dry = GivenDraws(torch.full((20, 1, 32, 32), -3.0))
    assert torch.equal(spatter(IMAGES, severity, dry).round().to(torch.uint8), IMAGES)
