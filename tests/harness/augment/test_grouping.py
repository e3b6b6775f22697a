from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.augment.colour import brightness, equalize, posterize
from harness.augment.grouping import Adjust, adjust_all, adjust_groups, apply_by_kind, channels_last
from tests.harness.augment.augment_helpers import noise

ADJUSTMENTS: list[Adjust] = [brightness, posterize, lambda images, _: equalize(images)]
IMAGES = noise(30, 16, 16).contiguous()
STRENGTHS = torch.linspace(0, 8, 30)


@pytest.mark.parametrize("apply", [apply_by_kind, adjust_groups, adjust_all])
@pytest.mark.parametrize("kind", [torch.arange(30) % 4, torch.zeros(30).long(), torch.full((30,), 3)])
def test_each_image_gets_the_adjustment_of_its_kind_with_its_own_strength(
    apply: Adjust, kind: Tensor
) -> None:
    before = IMAGES.clone()
    adjusted = apply(IMAGES, kind, STRENGTHS, ADJUSTMENTS)  # type: ignore[call-arg]  # one of the three
    for index, which in enumerate(kind.tolist()):
        row = slice(index, index + 1)
        expected = ADJUSTMENTS[which - 1](IMAGES[row], STRENGTHS[row]) if which else IMAGES[row]
        assert torch.equal(adjusted[row], expected)
    assert torch.equal(IMAGES, before)
    assert adjusted.data_ptr() != IMAGES.data_ptr()


def test_channels_last_changes_the_memory_format_alone() -> None:
    converted = channels_last(IMAGES)
    assert torch.equal(converted, IMAGES)
    assert converted.is_contiguous(memory_format=torch.channels_last)
