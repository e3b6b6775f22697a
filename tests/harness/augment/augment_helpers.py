"""Images, draws and checks that the tests of the augmentations share."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torchvision.transforms.v2.functional as TF
from scipy.stats import chisquare
from sklearn.datasets import load_sample_images
from torch import Tensor

from harness.augment.operation import GlobalBatch, Operation


@cache
def noise(num_images: int, height: int, width: int) -> Tensor:
    """Images as the loader gives them: uint8, in channels_last memory format."""
    generator = torch.Generator().manual_seed(1)
    shape = (num_images, 3, height, width)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return images.to(memory_format=torch.channels_last)


@cache
def photographs(num_images: int, height: int, width: int) -> Tensor:
    """Parts of two photographs, like `noise`: smooth, with flat areas."""
    generator = torch.Generator().manual_seed(2)
    whole = [torch.tensor(image).permute(2, 0, 1) for image in load_sample_images().images]
    parts = []
    for index in range(num_images):
        photograph = whole[index % len(whole)]
        side = int(torch.randint(max(height, width), 400, (), generator=generator))
        top = int(torch.randint(photograph.shape[1] - side, (), generator=generator))
        left = int(torch.randint(photograph.shape[2] - side, (), generator=generator))
        part = TF.crop(photograph, top, left, side, side)
        parts.append(TF.resize(part, [height, width], antialias=True))
    return torch.stack(parts).to(memory_format=torch.channels_last)


IMAGES = {"noise": noise, "photographs": photographs}


def draw(operation: Operation, num_images: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return operation.draw(GlobalBatch(torch.arange(num_images), 0, generator))


def differing(images: Tensor, expected: Tensor, tolerance: int = 0) -> float:
    """Share of the values that are not equal; none may differ by more than `tolerance` grey levels."""
    assert images.shape == expected.shape
    assert images.dtype == expected.dtype == torch.uint8
    difference = (images.int() - expected.int()).abs()
    assert difference.max() <= tolerance, f"{(difference > tolerance).sum()} of {images.numel()} values"
    return float((difference > 0).float().mean())


def fits(counts: Any, probabilities: Any = None) -> bool:
    """Whether counts of draws agree with probabilities in proportion, by default equal ones."""
    counts = torch.as_tensor(counts).double().flatten()
    share = torch.ones_like(counts) if probabilities is None else torch.as_tensor(probabilities).flatten()
    expected = counts.sum() * share / share.sum()
    assert expected.min() > 5  # fewer do not follow the distribution that the test assumes
    return bool(chisquare(counts.numpy(), expected.numpy()).pvalue > 1e-3)


def check_images(operation: Operation) -> None:
    """Type, shape and memory format; the input is left alone; plain images and parts come out alike."""
    images = noise(24, 32, 40)
    before = images.clone()
    parameters = draw(operation, len(images))
    augmented = operation.apply(images, parameters)
    assert augmented.dtype == torch.uint8
    assert augmented.shape == images.shape
    assert augmented.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(augmented, images)
    assert torch.equal(images, before)
    assert torch.equal(operation.apply(images.contiguous(), parameters), augmented)
    assert torch.equal(images, before)
    parts = [slice(0, 1), slice(1, 8), slice(8, 24)]
    in_parts = torch.cat([operation.apply(images[part], parameters[part]) for part in parts])
    assert torch.equal(in_parts, augmented)


def check_draws(operation: Operation) -> None:
    """One row of float32 or int64 for each image, which follows from the generator alone."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    drawn = draw(operation, 100, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert drawn.dtype in (torch.float32, torch.int64)
    assert drawn.ndim == 2
    assert len(drawn) == 100
    torch.manual_seed(1)
    assert torch.equal(draw(operation, 100, seed=3), drawn)
    assert not torch.equal(draw(operation, 100, seed=4), drawn)


def check_on_cuda(operation: Operation) -> None:
    """No step waits for the device, and the images are those of the CPU but for rounding."""
    images = photographs(200, 32, 32)
    parameters = draw(operation, len(images))
    on_cuda, drawn = images.cuda(), parameters.cuda()
    batch = GlobalBatch(torch.arange(200), 0, torch.Generator("cuda"))
    operation.apply(on_cuda, operation.draw(batch))  # fills the tables
    torch.cuda.set_sync_debug_mode("error")
    try:
        operation.draw(batch)
        augmented = operation.apply(on_cuda, drawn)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert augmented.is_contiguous(memory_format=torch.channels_last)
    expected = operation.apply(images, parameters)
    assert differing(augmented.cpu(), expected, tolerance=255) < 0.01
