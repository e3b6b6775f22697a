from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as TF

from harness.datasets import device_loader
from harness.datasets.base import ImageSet
from harness.datasets.device_loader import DeviceImages, Normalizer, channel_statistics, epoch_order

CPU = torch.device("cpu")
RandomImages = Callable[[int, int], ImageSet]


@pytest.fixture
def mapped(random_images: RandomImages, tmp_path: Path) -> ImageSet:
    """Images in a file that is mapped into memory for reading only."""
    image_set = random_images(20, 8)
    np.save(tmp_path / "images.npy", image_set.images)
    np.save(tmp_path / "labels.npy", image_set.labels)
    return ImageSet(
        images=np.load(tmp_path / "images.npy", mmap_mode="r"),
        labels=np.load(tmp_path / "labels.npy", mmap_mode="r"),
    )


@pytest.mark.parametrize("resident", [True, False, None])
def test_gathering_is_indexing(random_images: RandomImages, resident: bool | None) -> None:
    image_set = random_images(20, 8)
    images = DeviceImages(image_set, None, CPU, resident)
    indices = torch.tensor([3, 19, 0, 3])
    batch = images.gather(indices)
    assert len(images) == 20
    assert torch.equal(batch, torch.from_numpy(image_set.images)[indices])
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images.labels, torch.from_numpy(image_set.labels))


@pytest.mark.parametrize("resident", [True, False])
def test_a_subset_is_indexed_in_its_own_order(random_images: RandomImages, resident: bool) -> None:
    image_set = random_images(20, 8)
    subset = np.array([7, 2, 11, 2])
    images = DeviceImages(image_set, subset, CPU, resident)
    assert len(images) == 4
    assert torch.equal(images.gather(torch.arange(4)), torch.from_numpy(image_set.images[subset]))
    assert torch.equal(images.gather(torch.tensor([2])), torch.from_numpy(image_set.images[[11]]))
    assert torch.equal(images.labels, torch.from_numpy(image_set.labels[subset]))


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("subset", [None, np.array([5, 1, 4])])
def test_a_file_mapped_for_reading_gives_batches_of_its_own(
    mapped: ImageSet, subset: np.ndarray[tuple[int], np.dtype[np.int64]] | None, resident: bool
) -> None:
    images = DeviceImages(mapped, subset, CPU, resident)
    expected = torch.tensor(mapped.images if subset is None else mapped.images[subset])[[0, 2]]
    batch = images.gather(torch.tensor([0, 2]))
    assert torch.equal(batch, expected)
    batch.zero_()  # a batch is a copy: the next one has the pixels again
    assert torch.equal(images.gather(torch.tensor([0, 2])), expected)


@pytest.mark.parametrize(("free_bytes", "is_resident"), [(0, False), (2**40, True)])
def test_images_stay_on_the_device_when_its_free_memory_allows(
    random_images: RandomImages, monkeypatch: pytest.MonkeyPatch, free_bytes: int, is_resident: bool
) -> None:
    monkeypatch.setattr(device_loader, "_free_bytes", lambda _: free_bytes)
    image_set = random_images(4, 8)
    images = DeviceImages(image_set, None, CPU)
    image_set.images[:] = 0  # what is resident does not see this
    assert bool(images.gather(torch.arange(4)).any()) == is_resident


def test_normalised_images_are_torchvisions(random_images: RandomImages) -> None:
    mean, std = (0.49, 0.48, 0.44), (0.25, 0.24, 0.26)
    batch = DeviceImages(random_images(5, 8), None, CPU).gather(torch.arange(5))
    before = batch.clone()
    normalised = Normalizer(mean, std, 8, CPU)(batch)
    expected = TF.normalize(TF.to_dtype(batch, torch.float32, scale=True), list(mean), list(std))
    torch.testing.assert_close(normalised, expected)
    assert normalised.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, before)


@pytest.mark.parametrize("image_size", [5, 8, 20])
def test_images_are_resized_as_torchvision_does_on_the_way(
    random_images: RandomImages, image_size: int
) -> None:
    batch = DeviceImages(random_images(5, 8), None, CPU).gather(torch.arange(5))
    resized = TF.resize(batch.float(), [image_size, image_size], antialias=True)
    expected = TF.normalize(resized / 255, [0.5] * 3, [0.25] * 3)
    normalize = Normalizer((0.5,) * 3, (0.25,) * 3, image_size, CPU)
    torch.testing.assert_close(normalize(batch), expected)
    other = Normalizer((0.5,) * 3, (0.25,) * 3, 99, CPU)
    torch.testing.assert_close(other(batch, image_size), expected)


def test_channel_statistics_are_numpys_in_double_precision(random_images: RandomImages) -> None:
    image_set = random_images(5000, 8)  # more than one block
    image_set.images[:, 1] //= 3
    image_set.images[:, 2] = np.maximum(image_set.images[:, 2], 200)
    mean, std = channel_statistics(image_set)
    scaled = image_set.images.astype(np.float64) / 255
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, scaled.std(axis=(0, 2, 3)), rtol=1e-9)


def test_images_normalised_by_their_own_statistics_have_zero_mean_and_unit_variance(
    random_images: RandomImages,
) -> None:
    image_set = random_images(50, 8)
    normalised = Normalizer(*channel_statistics(image_set), 8, CPU)(torch.from_numpy(image_set.images))
    torch.testing.assert_close(normalised.mean(dim=(0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(normalised.var(dim=(0, 2, 3)), torch.ones(3), rtol=1e-3, atol=0)


def test_a_channel_without_contrast_normalises_to_finite_numbers(random_images: RandomImages) -> None:
    image_set = random_images(5, 8)
    image_set.images[:, 0] = 77
    mean, std = channel_statistics(image_set)
    assert mean[0] == pytest.approx(77 / 255)
    assert std[0] > 0
    normalised = Normalizer(mean, std, 8, CPU)(torch.from_numpy(image_set.images))
    torch.testing.assert_close(normalised[:, 0], torch.zeros(5, 8, 8), rtol=0, atol=1e-3)


def test_an_epoch_visits_every_image_once_in_an_order_of_the_generator() -> None:
    first, again, other = (epoch_order(1000, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.sort().values, torch.arange(1000))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
