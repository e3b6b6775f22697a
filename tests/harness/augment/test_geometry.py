from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as TF
from scipy.stats import chisquare, ks_2samp
from torch import Tensor
from torchvision.transforms import v2

from harness.augment.geometry import AlternatingFlip, Crop, Cutout, Flip, RandomErasing
from harness.augment.operation import GlobalBatch, Operation

GREY = torch.tensor((10, 128, 250), dtype=torch.uint8)
REFLECTING, BLACK = Crop(4, reflect=True), Crop(4, reflect=False)
OPERATIONS = [Flip(), REFLECTING, BLACK, Cutout(GREY), RandomErasing(GREY)]


def noise(num_images: int, image_size: int) -> Tensor:
    """Images as the loader gives them: uint8, in channels_last memory format."""
    shape = (num_images, 3, image_size, image_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return images.to(memory_format=torch.channels_last)


def draw(operation: Operation, num_images: int, seed: int = 0, epoch: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return operation.draw(GlobalBatch(torch.arange(num_images), epoch, generator))


def position(index: Tensor, count: int) -> Tensor:
    """The draw, from 0 to 1, that means `index` of `count` equally likely ones."""
    return (index + 0.5) / count


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


@pytest.mark.parametrize(("image_size", "padding", "reach"), [(32, 4, 4), (8, 4, 1), (9, 8, 2), (64, 2, 4)])
@pytest.mark.parametrize("reflect", [True, False])
def test_crop_at_every_shift_is_torchvisions_pad_and_crop(
    image_size: int, padding: int, reach: int, reflect: bool
) -> None:
    shifts = grid(range(-reach, reach + 1))
    images = noise(len(shifts), image_size)
    expected = []
    for image, (down, right) in zip(images, shifts.tolist(), strict=True):
        padded = TF.pad(image, [reach] * 4, padding_mode="reflect" if reflect else "constant")
        expected.append(TF.crop(padded, reach + down, reach + right, image_size, image_size))
    drawn = position(shifts + reach, 2 * reach + 1)
    assert torch.equal(Crop(padding, reflect).apply(images, drawn), torch.stack(expected))


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
    drawn = position(centres, image_size)
    assert torch.equal(Cutout(GREY).apply(images, drawn), torch.stack(expected))


@pytest.mark.parametrize("image_size", [8, 32, 33])
def test_random_erasing_paints_what_the_first_rectangle_that_fits_covers(image_size: int) -> None:
    images, drawn = noise(300, image_size), draw(RandomErasing(GREY), 300)
    expected = []
    for image, (painted, *sides, down, right) in zip(images, drawn.double().tolist(), strict=True):
        for area_draw, ratio_draw in zip(sides[::2], sides[1::2], strict=True):
            area = image_size**2 * (0.02 + 0.31 * area_draw)
            ratio = math.exp(math.log(0.3) + (math.log(3.3) - math.log(0.3)) * ratio_draw)
            height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if height < image_size and width < image_size:
                break
        top, left = int(down * (image_size - height + 1)), int(right * (image_size - width + 1))
        erased = TF.erase(image, top, left, height, width, GREY[:, None, None])
        expected.append(erased if painted < 0.5 else image)
    assert torch.equal(RandomErasing(GREY).apply(images, drawn), torch.stack(expected))


def test_random_erasing_paints_areas_as_torchvision_draws_them() -> None:
    torch.manual_seed(0)
    images = torch.zeros(4000, 3, 32, 32, dtype=torch.uint8)
    ours = RandomErasing(GREY).apply(images, draw(RandomErasing(GREY), 4000))[:, 2] > 0
    theirs = torch.stack([v2.RandomErasing(value=1)(image) for image in images])[:, 2] > 0
    assert ks_2samp(ours.sum((1, 2)).numpy(), theirs.sum((1, 2)).numpy()).pvalue > 1e-3
    assert ks_2samp(ours.any(2).sum(1).numpy(), theirs.any(2).sum(1).numpy()).pvalue > 1e-3  # heights
    torch.testing.assert_close(ours.double().mean(0), theirs.double().mean(0), rtol=0, atol=0.05)


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


@pytest.mark.parametrize("operation", [REFLECTING, Cutout(GREY)])
def test_places_are_uniform_and_independent_in_both_directions_and_from_image_to_image(
    operation: Operation,
) -> None:
    down, right = (9 * draw(operation, 100_000)).long().T
    assert is_uniform(torch.bincount(9 * down + right, minlength=81))
    first, second = down.view(-1, 2).T
    assert is_uniform(torch.bincount(9 * first + second, minlength=81))


def test_alternating_flip_mirrors_each_image_in_every_second_epoch_from_a_random_first_one() -> None:
    odd = torch.rand(1000, generator=torch.Generator().manual_seed(0)) < 0.5
    batch = torch.randperm(1000)[:200]
    generator = torch.Generator()
    by_epoch = [AlternatingFlip(odd).draw(GlobalBatch(batch, epoch, generator)) for epoch in range(4)]
    assert torch.equal(by_epoch[1], odd[batch])
    assert torch.equal(by_epoch[0], ~by_epoch[1])
    assert torch.equal(by_epoch[2], by_epoch[0])
    assert torch.equal(by_epoch[3], by_epoch[1])
    images = noise(200, 8)
    mirrored = AlternatingFlip(odd).apply(images, by_epoch[1])
    assert torch.equal(mirrored, Flip().apply(images, odd[batch]))


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
