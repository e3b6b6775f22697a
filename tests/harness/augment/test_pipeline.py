from __future__ import annotations

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.augment.names import AUGMENTATIONS
from harness.augment.pipeline import Augmentation
from harness.cell import make_cell
from harness.recipes import recipe_for

GREY = (10, 128, 250)


def make(name: str, seed: int = 0, image_size: int = 32, crop_padding: int = 4) -> Augmentation:
    cell = make_cell(
        dataset="digits",
        model="mlp",
        augmentation=name,
        recipe=recipe_for("resnet20", "fast", {"crop_padding": crop_padding}),
        precision="fp32",
        seed=seed,
        image_size=image_size,
    )
    return Augmentation(cell, 1000, GREY, torch.device("cpu"))


def noise(num_images: int, image_size: int = 32) -> Tensor:
    shape = (num_images, 3, image_size, image_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return images.to(memory_format=torch.channels_last)


def augment(augmentation: Augmentation, images: Tensor, epoch: int = 0, step: int = 0) -> Tensor:
    rows = torch.arange(len(images))
    return augmentation.apply(images, augmentation.draw(epoch, step, rows))


def test_flip_crop_and_cutout_follow_each_other_as_in_torchvision_image_by_image() -> None:
    images, augmentation = noise(64), make("cutout")
    flips, shifts, centres = drawn = augmentation.draw(epoch=2, step=5, indices=torch.arange(64))
    fill = torch.tensor(GREY, dtype=torch.uint8)[:, None, None]
    expected = []
    places = zip((9 * shifts).long() - 4, (32 * centres).long(), strict=True)
    for image, flip, ((down, right), (row, column)) in zip(images, flips, places, strict=True):
        image = TF.horizontal_flip(image) if flip else image
        image = TF.crop(TF.pad(image, [4] * 4, padding_mode="reflect"), 4 + down, 4 + right, 32, 32)
        top, left = max(0, row - 8), max(0, column - 8)
        height, width = min(32, row + 8) - top, min(32, column + 8) - left
        expected.append(TF.erase(image, top, left, height, width, fill))
    assert torch.equal(augmentation.apply(images, drawn), torch.stack(expected))


def test_no_augmentation_leaves_the_images_as_they_are() -> None:
    images = noise(8)
    assert torch.equal(augment(make("none"), images), images)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_name_gives_uint8_images_of_the_same_shape_and_memory_format(name: str) -> None:
    images = noise(8)
    before = images.clone()
    augmented = augment(make(name), images)
    assert (augmented.dtype, augmented.shape) == (torch.uint8, images.shape)
    assert augmented.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(AUGMENTATIONS)),
    seed=st.integers(0, 2**31 - 1),
    epoch=st.integers(0, 500),
    step=st.integers(0, 10_000),
    part_size=st.integers(1, 5),
    num_parts=st.sampled_from([2, 4]),
)
def test_the_rows_of_a_batch_are_the_same_however_it_is_divided(
    name: str, seed: int, epoch: int, step: int, part_size: int, num_parts: int
) -> None:
    images = noise(part_size * num_parts, image_size=8)
    whole = augment(make(name, seed, image_size=8), images, epoch, step)
    parts = []
    for part in range(num_parts):
        one_process = make(name, seed, image_size=8)
        rows = torch.arange(part * part_size, (part + 1) * part_size)
        drawn = one_process.draw(epoch, step, torch.arange(len(images)))
        parts.append(one_process.apply(images[rows], [parameters[rows] for parameters in drawn]))
    assert torch.equal(torch.cat(parts), whole)


def test_the_same_seed_epoch_and_step_give_the_same_pixels_whatever_came_before() -> None:
    images, used = noise(16), make("cutout", seed=3)
    augment(used, images, epoch=0, step=0)
    torch.manual_seed(99)
    again = augment(used, images, epoch=1, step=2)
    assert torch.equal(again, augment(make("cutout", seed=3), images, epoch=1, step=2))


def test_another_seed_epoch_or_step_gives_other_pixels() -> None:
    images = noise(16)
    variants = [
        augment(make("cutout", seed), images, epoch, step)
        for seed, epoch, step in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    ]
    for number, variant in enumerate(variants):
        for other in variants[:number]:
            assert not torch.equal(variant, other)


def test_two_crops_of_one_image_in_a_batch_differ() -> None:
    image = noise(1).expand(64, -1, -1, -1)
    augmented = augment(make("flip_crop"), image)
    assert len({picture.numpy().tobytes() for picture in augmented}) > 40  # of 2 x 81 that there are


@pytest.mark.parametrize(
    ("crop_padding", "image_size", "largest_shift"),
    [(4, 32, 4), (4, 64, 8), (4, 8, 1), (2, 32, 2)],
)
def test_the_crop_padding_is_the_recipes_in_proportion_to_the_image_size(
    crop_padding: int, image_size: int, largest_shift: int
) -> None:
    augmentation = make("flip_crop", image_size=image_size, crop_padding=crop_padding)
    column = torch.arange(image_size, dtype=torch.uint8).expand(1000, 3, image_size, image_size)
    drawn = augmentation.draw(epoch=0, step=0, indices=torch.arange(1000))
    drawn[0] = torch.zeros(1000, dtype=torch.bool)  # no flips
    shifted = augmentation.apply(column, drawn)
    assert shifted[:, 0, 0, 0].max().item() == largest_shift
    assert shifted[:, 0, 0, -1].min().item() == image_size - 1 - largest_shift
