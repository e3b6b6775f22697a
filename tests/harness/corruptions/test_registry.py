from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from harness.corruptions.frost import frost_source
from harness.corruptions.registry import CORRUPTIONS, corrupt
from harness.errors import UsageError
from tests.harness.augment.augment_helpers import differing, noise, photographs
from tests.harness.corruptions.corruption_helpers import mean_rmse, reference_rmse

NAMES = list(CORRUPTIONS)
WITHOUT_DRAW = {
    *("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"),
    *("gaussian_blur", "saturate"),
}
SHEET = Path(__file__).with_name("reference_pixels.png")
"""Rows: corruptions. Columns: severities 3 and 5. The original code made these pixels (its origin is told in
`reference_rmse.json`) of the photograph of the same number as the row, with the random numbers that
`Draws` gives for that index in place of its own."""


@pytest.mark.parametrize("name", NAMES)
def test_the_pixels_are_those_of_the_original_code_given_the_same_draws(name: str) -> None:
    if name == "frost" and frost_source() != "photographs":
        pytest.skip("needs the photographs of the package imagecorruptions")
    row = NAMES.index(name)
    image, index = photographs(20, 32, 32)[row : row + 1], torch.tensor([row])
    sheet = torch.from_numpy(np.array(Image.open(SHEET))).permute(2, 0, 1)
    for column, severity in enumerate((3, 5)):
        expected = sheet[None, :, 32 * row : 32 * (row + 1), 32 * column : 32 * (column + 1)]
        # A last bit that differs between processors may decide what a value is cut to.
        assert differing(corrupt(image, name, severity, index), expected, tolerance=1) < 0.005


@pytest.mark.parametrize("name", NAMES)
def test_images_are_as_far_from_clean_ones_as_the_original_makes_them(name: str) -> None:
    images, indices = photographs(100, 32, 32), torch.arange(100)
    expected = reference_rmse("photographs", name)
    rmse = [mean_rmse(corrupt(images, name, severity, indices), images) for severity in range(1, 6)]
    # Draws differ: a mean over 100 images has so much spread.
    assert rmse == pytest.approx(expected, 0.005 if name in WITHOUT_DRAW else 0.12)
    clearly_worse = [
        severity for severity in range(1, 5) if expected[severity] > 1.1 * expected[severity - 1]
    ]
    assert clearly_worse or name == "elastic_transform"
    assert all(rmse[severity] > rmse[severity - 1] for severity in clearly_worse)


@pytest.mark.slow
def test_cifar10_is_corrupted_as_much_as_by_the_original(shared_data: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, shared_data / "make_cifar10.py", tmp_path, "--fold"], check=True)
    with (tmp_path / "cifar-10-batches-py" / "test_batch").open("rb") as file:
        data = np.array(pickle.load(file, encoding="bytes")[b"data"][:600])
    images, indices = torch.from_numpy(data).view(-1, 3, 32, 32), torch.arange(600)
    for name in NAMES:
        tolerance = 0.005 if name in WITHOUT_DRAW else 0.05
        corrupted = (corrupt(images, name, severity, indices) for severity in range(1, 6))
        rmse = [mean_rmse(images, others) for others in corrupted]
        assert rmse == pytest.approx(reference_rmse("cifar10", name), tolerance), name


@pytest.mark.parametrize("name", NAMES)
def test_the_result_depends_on_image_and_index_alone(name: str) -> None:
    images, indices = photographs(20, 32, 32), torch.arange(20) + 1234
    whole = corrupt(images, name, 3, indices)
    assert torch.equal(corrupt(images, name, 3, indices), whole)
    parts = [slice(0, 1), slice(1, 8), slice(8, 20)]
    assert torch.equal(torch.cat([corrupt(images[part], name, 3, indices[part]) for part in parts]), whole)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    assert torch.equal(corrupt(images[order], name, 3, indices[order]), whole[order])


@pytest.mark.parametrize("name", NAMES)
def test_each_image_has_a_draw_of_its_own(name: str) -> None:
    image = photographs(20, 32, 32)[7:8].expand(4, -1, -1, -1)
    corrupted = corrupt(image, name, 4, torch.tensor([0, 1, 9999, 2**40]))
    num_different = len(torch.unique(corrupted, dim=0))
    assert num_different == (1 if name in WITHOUT_DRAW else 4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_images_are_new_ones_in_the_same_memory_format(
    memory_format: torch.memory_format, name: str
) -> None:
    images = photographs(20, 32, 32)[:4].contiguous(memory_format=memory_format)
    before = images.clone()
    corrupted = corrupt(images, name, 5, torch.arange(4))
    assert corrupted.dtype == torch.uint8
    assert corrupted.shape == images.shape
    assert corrupted.is_contiguous(memory_format=memory_format)
    assert torch.equal(images, before)
    assert not torch.equal(corrupted, images)
    assert torch.equal(corrupted, corrupt(images.contiguous(), name, 5, torch.arange(4)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 8), (20, 28), (70, 50)])
@pytest.mark.parametrize("make", [noise, lambda *shape: torch.zeros(shape[0], 3, *shape[1:]).byte()])
def test_other_sizes_work(make: object, size: tuple[int, int], name: str) -> None:
    assert callable(make)
    images: Tensor = make(3, *size)
    for severity in (1, 3, 5):
        assert corrupt(images, name, severity, torch.arange(3)).shape == images.shape


@pytest.mark.parametrize("name", NAMES)
def test_no_images_give_no_images(name: str) -> None:
    images = torch.zeros(0, 3, 32, 32, dtype=torch.uint8)
    assert corrupt(images, name, 1, torch.arange(0)).shape == images.shape


def test_levels_are_cut_to_whole_numbers_as_in_the_published_files() -> None:
    images = torch.full((1, 3, 2, 2), 100, dtype=torch.uint8)
    brighter = corrupt(images, "brightness", 1, torch.arange(1))  # 100 + 12.75
    assert torch.unique(brighter).tolist() == [112]


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    with pytest.raises(UsageError, match="unknown corruption 'fogg': did you mean fog"):
        corrupt(noise(1, 32, 32), "fogg", 1, torch.arange(1))


@pytest.mark.parametrize("severity", [0, 6, -1])
def test_a_severity_is_one_to_five(severity: int) -> None:
    with pytest.raises(UsageError, match=f"severity {severity}: valid: 1 to 5"):
        corrupt(noise(1, 32, 32), "fog", severity, torch.arange(1))


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_cuda_gives_the_images_of_the_cpu(name: str) -> None:
    images, indices = photographs(100, 32, 32), torch.arange(100)
    for severity in (2, 5):
        on_cuda = corrupt(images.cuda(), name, severity, indices.cuda())
        assert on_cuda.is_cuda
        expected = corrupt(images, name, severity, indices)
        assert differing(on_cuda.cpu(), expected, tolerance=255) < 0.01
