from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from scipy.stats import kstest
from torch import Tensor
from torchvision.transforms import v2

from harness.augment.colour import (
    ColorJitter,
    Grayscale,
    autocontrast,
    brightness,
    contrast,
    equalize,
    greyscale,
    hue,
    invert,
    posterize,
    saturation,
    sharpness,
    solarize,
)
from harness.augment.operation import Operation
from tests.harness.augment.augment_helpers import (
    IMAGES,
    check_draws,
    check_images,
    check_on_cuda,
    differing,
    draw,
    fits,
    noise,
    photographs,
)

FACTORS = torch.cat((torch.tensor([0.0, 0.01, 0.5, 1.0, 1.5, 1.99, 2.0]), 2 * torch.arange(43) / 43))
WITH_FACTOR = [
    (brightness, TF.adjust_brightness),
    (contrast, TF.adjust_contrast),
    (saturation, TF.adjust_saturation),
    (sharpness, TF.adjust_sharpness),
]
WITHOUT_STRENGTH = [
    (invert, TF.invert),
    (autocontrast, TF.autocontrast),
    (equalize, TF.equalize),
    (greyscale, lambda image: TF.rgb_to_grayscale(image, 3)),
]
OPERATIONS: list[Operation] = [ColorJitter(), Grayscale()]


def one_by_one(function: Callable[[Tensor, float], Tensor], images: Tensor, strengths: Tensor) -> Tensor:
    pairs = zip(images, strengths.tolist(), strict=True)
    return torch.stack([function(image, strength) for image, strength in pairs])


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("factors", [FACTORS, FACTORS.double()], ids=["float32", "float64"])
@pytest.mark.parametrize(("adjust", "reference"), WITH_FACTOR)
def test_factors_give_torchvisions_pixels(
    adjust: Callable[[Tensor, Tensor], Tensor],
    reference: Callable[[Tensor, float], Tensor],
    factors: Tensor,
    kind: str,
) -> None:
    images = IMAGES[kind](len(factors), 24, 33)
    # Rounding differs where a CPU adds a product without rounding it first and another does not.
    assert differing(adjust(images, factors), one_by_one(reference, images, factors), tolerance=1) < 1e-3


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize(("adjust", "reference"), WITHOUT_STRENGTH)
def test_adjustments_without_strength_give_torchvisions_pixels(
    adjust: Callable[[Tensor], Tensor], reference: Callable[[Tensor], Tensor], kind: str
) -> None:
    images = IMAGES[kind](40, 24, 33)
    assert torch.equal(adjust(images), torch.stack([reference(image) for image in images]))


@pytest.mark.parametrize("kind", IMAGES)
def test_hue_gives_torchvisions_pixels_but_for_the_last_level(kind: str) -> None:
    shifts = torch.linspace(-0.5, 0.5, 61)
    images = IMAGES[kind](len(shifts), 32, 32)
    # Where the result is a whole number, the last bits decide between it and the one below.
    assert differing(hue(images, shifts), one_by_one(TF.adjust_hue, images, shifts), tolerance=1) < 1e-3


def test_a_hue_shift_of_zero_changes_no_colour() -> None:
    channel = torch.arange(0, 256, 5, dtype=torch.uint8)
    colours = torch.cartesian_prod(channel, channel, channel).T.reshape(1, 3, len(channel), -1)
    assert torch.equal(hue(colours, torch.zeros(1)), colours)


@pytest.mark.parametrize("kind", IMAGES)
def test_posterize_keeps_as_many_bits_as_torchvision(kind: str) -> None:
    bits = torch.arange(9)
    images = IMAGES[kind](9, 32, 32)
    assert torch.equal(posterize(images, bits), one_by_one(TF.posterize, images, bits))


@pytest.mark.parametrize("kind", IMAGES)
def test_solarize_inverts_from_the_threshold_as_torchvision_does(kind: str) -> None:
    thresholds = torch.cat(
        (torch.tensor([0, 0.5, 1, 127.999, 128, 254.1, 255]), 255 * torch.linspace(1, 0, 31))
    )
    images = IMAGES[kind](len(thresholds), 32, 32)
    for given in (thresholds, thresholds.double()):
        assert torch.equal(solarize(images, given), one_by_one(TF.solarize, images, given))


@pytest.mark.parametrize("size", [1, 2, 3, 8, 15, 16, 17])
@pytest.mark.parametrize("num_levels", [1, 2, 3, 40])
def test_flat_and_small_images_are_treated_as_by_torchvision(size: int, num_levels: int) -> None:
    images = 250 - noise(12, size, size) % num_levels
    half = torch.full((12,), 0.5)
    for adjust, reference in [(autocontrast, TF.autocontrast), (equalize, TF.equalize)]:
        assert torch.equal(adjust(images), torch.stack([reference(image) for image in images]))
    for adjust_by, reference_by in WITH_FACTOR:
        assert differing(adjust_by(images, half), one_by_one(reference_by, images, half), tolerance=1) < 0.1


def test_colour_jitter_adjusts_in_the_drawn_order_as_torchvision_does() -> None:
    images = photographs(96, 32, 32)
    parameters = draw(ColorJitter(), 96)
    parameters[:24, :4] = torch.tensor(list(permutations(range(4))))
    functions = [TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue]
    expected = []
    for image, row in zip(images, parameters.tolist(), strict=True):
        for adjustment in row[:4]:
            image = functions[int(adjustment)](image, row[4 + int(adjustment)])
        expected.append(image)
    assert differing(ColorJitter().apply(images, parameters), torch.stack(expected), tolerance=2) < 1e-3


def test_colour_jitter_draws_every_order_as_often() -> None:
    order = draw(ColorJitter(), 100_000)[:, :4].long()
    code = (order * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = code.bincount(minlength=256)
    assert fits(counts[counts > 0])
    assert (counts > 0).sum() == 24


def test_colour_jitter_draws_the_strengths_that_torchvision_draws() -> None:
    jitter = ColorJitter(0.4, 0.3, 0.2, 0.1)
    drawn = draw(jitter, 20_000)[:, 4:]
    reference = v2.ColorJitter(0.4, 0.3, 0.2, 0.1)
    ranges = [reference.brightness, reference.contrast, reference.saturation, reference.hue]
    for strength, (low, high) in zip(drawn.T, ranges, strict=True):
        assert kstest(strength.numpy(), "uniform", (low, high - low)).pvalue > 1e-3
    assert torch.corrcoef(drawn.T).triu(1).abs().max() < 0.03


def test_one_image_in_five_becomes_grey_and_the_others_stay() -> None:
    chosen = draw(Grayscale(), 100_000)[:, 0]
    assert fits(chosen.bincount(), torch.tensor([0.8, 0.2]))
    images = noise(40, 8, 8)
    augmented = Grayscale().apply(images, chosen[:40, None])
    for image, before, grey in zip(augmented, images, chosen.tolist(), strict=False):
        assert torch.equal(image, TF.rgb_to_grayscale(before, 3) if grey else before)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_images_keep_type_shape_and_format_and_do_not_depend_on_the_division(operation: Operation) -> None:
    check_images(operation)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_draws_follow_from_the_generator_alone(operation: Operation) -> None:
    check_draws(operation)


@pytest.mark.gpu
@pytest.mark.parametrize("operation", OPERATIONS)
def test_cuda_never_waits_and_agrees_with_the_cpu(operation: Operation) -> None:
    check_on_cuda(operation)
