from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.augment.pipeline import Augmentation
from harness.batches import Inputs, training_batch
from harness.cell import CellSpec, make_cell
from harness.datasets.base import ImageSet
from harness.datasets.device_loader import DeviceImages, Normalizer
from harness.recipes import recipe_for

CPU = torch.device("cpu")
RandomImages = Callable[[int, int], ImageSet]


def cell(augmentation: str = "none", image_size: int = 32, **recipe: Any) -> CellSpec:
    return make_cell(
        dataset="digits",
        model="mlp",
        augmentation=augmentation,
        recipe=recipe_for("mlp", "fast", recipe),
        precision="fp32",
        image_size=image_size,
    )


def inputs(images: ImageSet, augmentation: str) -> Inputs:
    loaded = DeviceImages(images, None, CPU)
    return Inputs(
        fit=loaded,
        val=None,
        test=loaded,
        augmentation=Augmentation(cell(augmentation), len(images.labels), (128, 128, 128), CPU),
        normalize=Normalizer((0.5,) * 3, (0.25,) * 3, 32, CPU),
        num_classes=10,
    )


def make_batch(inputs: Inputs, batch: Tensor, rows: range, image_size: int = 32) -> tuple[Tensor, Tensor]:
    drawn = inputs.augmentation.draw(epoch=1, step=2, indices=batch)
    return training_batch(inputs, batch, drawn, rows, image_size)


def test_without_augmentation_images_and_labels_are_the_normalised_ones(random_images: RandomImages) -> None:
    images = random_images(20, 32)
    batch = torch.randperm(20)[:8]
    batch_images, labels = make_batch(inputs(images, "none"), batch, range(2, 6))
    expected = torch.from_numpy(images.images)[batch[2:6]].float() / 255
    torch.testing.assert_close(batch_images, (expected - 0.5) / 0.25)
    assert torch.equal(labels, torch.from_numpy(images.labels)[batch[2:6]])


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixed_rows_are_the_same_however_the_batch_is_divided(random_images: RandomImages, name: str) -> None:
    whole_inputs = inputs(random_images(20, 32), name)
    batch = torch.randperm(20)[:12]
    images, targets = make_batch(whole_inputs, batch, range(12))
    parts = [make_batch(whole_inputs, batch, range(start, start + 4)) for start in (0, 4, 8)]
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), images)
    torch.testing.assert_close(torch.cat([part[1] for part in parts]), targets)


def test_mixup_mixes_each_image_and_its_label_with_the_row_before(random_images: RandomImages) -> None:
    mixing = inputs(random_images(20, 32), "mixup")
    plain = inputs(random_images(20, 32), "flip_crop")  # whose draws come first, so they are the same
    batch = torch.randperm(20)[:8]
    images, labels = make_batch(plain, batch, range(8))
    mixed, targets = make_batch(mixing, batch, range(8))
    share = mixing.augmentation.draw(1, 2, batch)[-1]
    expected = share.view(-1, 1, 1, 1) * images + (1 - share.view(-1, 1, 1, 1)) * images.roll(1, 0)
    torch.testing.assert_close(mixed, expected)
    expected_targets = torch.zeros(8, 10)
    for row in range(8):
        expected_targets[row, labels[row]] += share[row]
        expected_targets[row, labels[row - 1]] += 1 - share[row]
    torch.testing.assert_close(targets, expected_targets)


def test_images_come_in_the_size_that_is_asked_for(random_images: RandomImages) -> None:
    images, _ = make_batch(inputs(random_images(20, 32), "cutmix"), torch.arange(6), range(6), image_size=20)
    assert images.shape == (6, 3, 20, 20)
