from __future__ import annotations

import colorsys
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from harness.corruptions import digital
from harness.corruptions.registry import corrupt
from tests.harness.augment.augment_helpers import differing, noise, photographs

SIZES = [(32, 32), (8, 8), (20, 28), (70, 50)]


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("size", SIZES)
def test_pixelate_gives_pillows_pixels(size: tuple[int, int], severity: int) -> None:
    images = noise(3, *size)
    share = digital.PIXELATE_SIZE[severity - 1]
    expected = []
    for image in images:
        whole = Image.fromarray(image.permute(1, 2, 0).numpy())
        small = whole.resize((int(whole.width * share), int(whole.height * share)), Image.Resampling.BOX)
        expected.append(np.array(small.resize(whole.size, Image.Resampling.BOX)))
    pixelated = corrupt(images, "pixelate", severity, torch.arange(3))
    assert np.array_equal(pixelated.permute(0, 2, 3, 1).numpy(), np.stack(expected))


@pytest.mark.parametrize("severity", range(1, 6))
def test_jpeg_has_pillows_quality_scale_and_half_the_colour(severity: int) -> None:
    images = photographs(3, 32, 32)
    expected = []
    for image in images:
        buffer = BytesIO()
        quality = digital.JPEG_QUALITY[severity - 1]
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(
            buffer, "JPEG", quality=quality, subsampling="4:2:0"
        )
        expected.append(np.array(Image.open(buffer)))
    compressed = corrupt(images, "jpeg_compression", severity, torch.arange(3))
    assert np.array_equal(compressed.permute(0, 2, 3, 1).numpy(), np.stack(expected))


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("make", [noise, photographs])
def test_brightness_and_saturation_change_value_and_saturation_of_hsv(make: object, severity: int) -> None:
    assert callable(make)
    images = make(4, 12, 12)
    more = digital.BRIGHTNESS[severity - 1]
    factor, offset = digital.SATURATION_FACTOR_AND_OFFSET[severity - 1]
    brighter, coloured = [], []
    for red, green, blue in (images.permute(0, 2, 3, 1).reshape(-1, 3).double() / 255).tolist():
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        brighter.append(colorsys.hsv_to_rgb(hue, saturation, min(value + more, 1)))
        coloured.append(colorsys.hsv_to_rgb(hue, min(max(saturation * factor + offset, 0), 1), value))
    for name, pixels in (("brightness", brighter), ("saturate", coloured)):
        expected = (255 * torch.tensor(pixels, dtype=torch.float64)).to(torch.uint8)
        expected = expected.view(4, 12, 12, 3).permute(0, 3, 1, 2)
        assert differing(corrupt(images, name, severity, torch.arange(4)), expected, tolerance=1) < 0.02


@pytest.mark.parametrize("severity", range(1, 6))
def test_contrast_shrinks_the_distance_from_the_mean_of_each_channel(severity: int) -> None:
    images = photographs(4, 32, 32)
    unit = images.numpy() / 255
    mean = unit.mean(axis=(2, 3), keepdims=True)
    expected = torch.from_numpy(255 * ((unit - mean) * digital.CONTRAST[severity - 1] + mean)).to(torch.uint8)
    assert differing(corrupt(images, "contrast", severity, torch.arange(4)), expected, tolerance=1) < 0.001
