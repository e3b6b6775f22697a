from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as TF
from scipy.stats import chisquare
from torch import Tensor

from harness.augment.geometry import Crop, Cutout, Flip, Operation

GREY = torch.tensor((10, 128, 250), dtype=torch.uint8)
OPERATIONS = [Flip(), Crop(4), Cutout(GREY)]


def noise(num_images: int, image_size: int) -> Tensor:
    """Images as the loader gives them: uint8, in channels_last memory format."""
    shape = (num_images, 3, image_size, image_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return images.to(memory_format=torch.channels_last)


def draw(operation: Operation, num_images: int, image_size: int = 32, seed: int = 0) -> Tensor:
    return operation.draw(num_images, image_size, torch.Generator().manual_seed(seed))


def grid(values: range) -> Tensor:
    """Every pair of `values`, [N, 2]."""
    return torch.cartesian_prod(torch.tensor(values), torch.tensor(values))


def is_uniform(counts: Tensor) -> bool:
    return bool(chisquare(counts.flatten().numpy()).pvalue > 1e-3)


def test_flip_mirrors_the_drawn_images_as_torchvision_does() -> None:
    images, flipped = noise(8, 32), torch.tensor([True, False] * 4)
    expected = images.clone()
    for index in (0, 2, 4, 6):
        expected[index] = TF.horizontal_flip(images[index])
    assert torch.equal(Flip().apply(images, flipped), expected)


@pytest.mark.parametrize(("image_size", "padding"), [(32, 4), (8, 1), (9, 8)])
def test_crop_at_every_shift_is_torchvisions_reflecting_pad_and_crop(image_size: int, padding: int) -> None:
    shifts = grid(range(-padding, padding + 1))
    images = noise(len(shifts), image_size)
    expected = []
    for image, (down, right) in zip(images, shifts.tolist(), strict=True):
        padded = TF.pad(image, [padding] * 4, padding_mode="reflect")
        expected.append(TF.crop(padded, padding + down, padding + right, image_size, image_size))
    assert torch.equal(Crop(padding).apply(images, shifts), torch.stack(expected))


@pytest.mark.parametrize("image_size", [8, 11, 14, 32])
def test_cutout_at_every_centre_is_torchvisions_erase_of_half_the_image_size(image_size: int) -> None:
    centres = grid(range(image_size))
    images = noise(len(centres), image_size)
    side = image_size // 2
    fill = GREY[:, None, None]
    expected = []
    for image, centre in zip(images, centres.tolist(), strict=True):
        first = [max(0, position - side // 2) for position in centre]
        last = [min(image_size, position - side // 2 + side) for position in centre]
        height, width = last[0] - first[0], last[1] - first[1]
        expected.append(TF.erase(image, first[0], first[1], height, width, fill))
    assert torch.equal(Cutout(GREY).apply(images, centres), torch.stack(expected))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_images_keep_type_shape_and_memory_format_and_the_input_is_left_alone(operation: Operation) -> None:
    images = noise(6, 32)
    before = images.clone()
    augmented = operation.apply(images, draw(operation, 6))
    assert augmented.dtype == torch.uint8
    assert augmented.shape == images.shape
    assert augmented.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(augmented, images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_images_in_plain_memory_format_come_out_alike(operation: Operation) -> None:
    images, drawn = noise(6, 32), draw(operation, 6)
    assert torch.equal(operation.apply(images.contiguous(), drawn), operation.apply(images, drawn))


def test_flips_are_fair_and_independent_from_image_to_image() -> None:
    flipped = draw(Flip(), 100_000)
    pairs = flipped.view(-1, 2).long()
    assert is_uniform(torch.bincount(2 * pairs[:, 0] + pairs[:, 1], minlength=4))


def test_crop_shifts_are_uniform_up_to_the_padding_and_independent_down_and_right() -> None:
    shifts = draw(Crop(4), 100_000)
    assert (shifts.min().item(), shifts.max().item()) == (-4, 4)
    down, right = (shifts + 4).T
    assert is_uniform(torch.bincount(9 * down + right, minlength=81))


def test_crop_shifts_are_independent_from_image_to_image() -> None:
    first, second = (draw(Crop(1), 100_000)[:, 0] + 1).view(-1, 2).T
    assert is_uniform(torch.bincount(3 * first + second, minlength=9))


def test_cutout_centres_are_uniform_over_the_image() -> None:
    rows, columns = draw(Cutout(GREY), 100_000, image_size=16).T
    assert is_uniform(torch.bincount(16 * rows + columns, minlength=256))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_draws_follow_from_the_generator_alone(operation: Operation) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    drawn = draw(operation, 100, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    np.random.seed(1)
    assert torch.equal(draw(operation, 100, seed=3), drawn)
    assert not torch.equal(draw(operation, 100, seed=4), drawn)
