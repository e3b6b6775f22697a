from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.shifts import BRIGHTNESS_FACTORS, CHANGES, DIRECTIONS, DISTANCES, brighten, flip, shift


@pytest.fixture
def images() -> torch.Tensor:
    generator = np.random.default_rng(0)
    return torch.from_numpy(generator.integers(0, 256, (3, 3, 9, 11), dtype=np.uint8))


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_shift_is_that_of_numpys_reflected_border(
    images: torch.Tensor, distance: int, direction: tuple[int, int]
) -> None:
    down, right = (distance * step for step in direction)
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (distance,) * 2, (distance,) * 2), mode="reflect")
    top, left = distance - down, distance - right
    expected = padded[:, :, top : top + 9, left : left + 11]
    np.testing.assert_array_equal(shift(images, down, right).numpy(), expected)


def test_down_and_right_are_down_and_right() -> None:
    image = torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    image[0, 0, 2, 2] = 9
    assert shift(image, 1, 0)[0, 0, 3, 2] == 9
    assert shift(image, 0, 1)[0, 0, 2, 3] == 9


def test_a_shift_further_than_the_image_is_wide_is_a_bug(images: torch.Tensor) -> None:
    with pytest.raises(AssertionError, match="reflection"):
        shift(images, 9, 0)


def test_a_flip_is_undone_by_another(images: torch.Tensor) -> None:
    assert torch.equal(flip(images)[..., 0], images[..., -1])
    assert torch.equal(flip(flip(images)), images)


@pytest.mark.parametrize("factor", BRIGHTNESS_FACTORS)
def test_brightness_is_a_factor_on_every_value_up_to_white(images: torch.Tensor, factor: float) -> None:
    expected = np.minimum(np.round(images.numpy().astype(np.float64) * factor), 255).astype(np.uint8)
    np.testing.assert_array_equal(brighten(images, factor).numpy(), expected)


def test_every_change_is_another_and_keeps_type_and_shape(images: torch.Tensor) -> None:
    changed = {name: change(images) for name, change in CHANGES.items()}
    assert all(image.dtype == torch.uint8 and image.shape == images.shape for image in changed.values())
    assert len({image.numpy().tobytes() for image in changed.values()} | {images.numpy().tobytes()}) == (
        len(DISTANCES) * len(DIRECTIONS) + 1 + len(BRIGHTNESS_FACTORS) + 1
    )


def test_a_change_leaves_the_images_that_it_is_given(images: torch.Tensor) -> None:
    before = images.clone()
    for change in CHANGES.values():
        change(images)
    assert torch.equal(images, before)
