from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode

from harness.augment.affine import AFFINE, affine, matrices
from tests.harness.augment.augment_helpers import IMAGES, differing, noise

STRENGTHS = {
    "ShearX": torch.linspace(-0.99, 0.99, 61),
    "ShearY": torch.linspace(-0.99, 0.99, 61),
    "TranslateX": torch.arange(-33, 34),
    "TranslateY": torch.arange(-33, 34),
    "Rotate": torch.linspace(-135, 135, 61),
}


def warp(image: Tensor, mode: InterpolationMode, **changes: object) -> Tensor:
    still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0], "interpolation": mode}
    warped: Tensor = TF.affine(image, **(still | changes))
    return warped


def degrees(slope: float) -> float:
    return math.degrees(math.atan(slope))


REFERENCES: dict[str, Callable[[Tensor, float, InterpolationMode], Tensor]] = {
    "ShearX": lambda image, slope, mode: warp(image, mode, shear=[degrees(slope), 0.0], center=[0, 0]),
    "ShearY": lambda image, slope, mode: warp(image, mode, shear=[0.0, degrees(slope)], center=[0, 0]),
    "TranslateX": lambda image, pixels, mode: warp(image, mode, translate=[int(pixels), 0]),
    "TranslateY": lambda image, pixels, mode: warp(image, mode, translate=[0, int(pixels)]),
    "Rotate": TF.rotate,
}


def apply(name: str, images: Tensor, strengths: Tensor, interpolation: str) -> Tensor:
    strengths_B5 = torch.zeros(len(images), len(AFFINE), dtype=torch.float64)
    strengths_B5[:, AFFINE.index(name)] = strengths
    height, width = images.shape[2:]
    return affine(images, matrices(strengths_B5, height, width), interpolation)


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 33), (28, 44)])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("name", AFFINE)
def test_every_strength_gives_torchvisions_pixels(
    name: str, interpolation: str, height: int, width: int, kind: str
) -> None:
    strengths = STRENGTHS[name].double()
    images = IMAGES[kind](len(strengths), height, width)
    mode = InterpolationMode(interpolation)
    pairs = zip(images, strengths.tolist(), strict=True)
    expected = torch.stack([REFERENCES[name](image, strength, mode) for image, strength in pairs])
    augmented = apply(name, images, strengths, interpolation)
    # A place midway between two pixels is that of either, and a mean midway between two levels either.
    tolerance = 255 if interpolation == "nearest" else 1
    assert differing(augmented, expected, tolerance) < 1e-3


def test_a_matrix_of_no_strength_leaves_the_images_alone() -> None:
    images = noise(4, 31, 46)
    for interpolation in ("nearest", "bilinear"):
        assert torch.equal(apply("Rotate", images, torch.zeros(4), interpolation), images)


def test_translation_is_to_the_right_and_down_and_uncovers_black() -> None:
    images = noise(2, 9, 9)
    right = apply("TranslateX", images, torch.tensor([3.0, -2.0]), "nearest")
    assert torch.equal(right[0, :, :, 3:], images[0, :, :, :-3])
    assert not right[0, :, :, :3].any()
    assert torch.equal(right[1, :, :, :-2], images[1, :, :, 2:])
    down = apply("TranslateY", images, torch.tensor([3.0, 9.0]), "nearest")
    assert torch.equal(down[0, :, 3:], images[0, :, :-3])
    assert not down[0, :, :3].any()
    assert not down[1].any()


def test_rotation_is_counter_clockwise_about_the_centre() -> None:
    images = noise(2, 8, 8)
    turned = apply("Rotate", images, torch.tensor([90.0, -90.0]), "nearest")
    assert torch.equal(turned[0], images[0].rot90(1, (1, 2)))
    assert torch.equal(turned[1], images[1].rot90(-1, (1, 2)))
