from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from harness.corruptions.filters import Border, correlate, gaussian, inside, look_up, look_up_between, zoom

# The same borders in the words of numpy and of scipy.
BORDERS: list[tuple[Border, Any, str]] = [
    ("nearest", "edge", "nearest"),
    ("symmetric", "symmetric", "reflect"),
    ("mirror", "reflect", "mirror"),
]
IMAGES = torch.rand(4, 3, 12, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("border", "numpy_mode", "_"), BORDERS)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_border_goes_on_as_often_as_needed(size: int, border: Border, numpy_mode: Any, _: str) -> None:
    places = inside(torch.arange(-20, size + 20), size, border)
    assert np.array_equal(places.numpy(), np.pad(np.arange(size), 20, mode=numpy_mode))


@pytest.mark.parametrize(("border", "_", "scipy_mode"), BORDERS)
@pytest.mark.parametrize(("sigma", "truncate"), [(0, 4), (0.05, 4), (0.4, 4), (1, 4), (1.92, 3), (6.4, 3)])
def test_the_gaussian_is_scipys(
    sigma: float, truncate: float, border: Border, _: str, scipy_mode: str
) -> None:
    expected = ndimage.gaussian_filter(
        IMAGES.numpy(), (0, 0, sigma, sigma), mode=scipy_mode, truncate=truncate
    )
    assert np.allclose(gaussian(IMAGES, sigma, border, truncate).numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("border", "_", "scipy_mode"), BORDERS)
def test_a_correlation_is_scipys(border: Border, _: str, scipy_mode: str) -> None:
    kernel = [[1.0, 2.0, 0.0], [-1.0, 0.5, 3.0], [0.0, 4.0, -2.0]]
    expected = ndimage.correlate(IMAGES.numpy(), np.array(kernel)[None, None], mode=scipy_mode)
    assert np.allclose(correlate(IMAGES, kernel, border).numpy(), expected)


@pytest.mark.parametrize("factor", [1, 1.01, 1.06, 1.11, 1.2, 1.25, 1.75, 2.25])
def test_a_zoom_is_the_middle_of_scipys(factor: float) -> None:
    images = torch.rand(32, 32, 5, dtype=torch.float64)
    part = int(np.ceil(32 / factor))
    top = (32 - part) // 2
    large = ndimage.zoom(
        images.numpy()[top : top + part, top : top + part], (factor, factor, 1), order=1, mode="nearest"
    )
    top = (len(large) - 32) // 2
    assert np.allclose(zoom(images, factor).numpy(), large[top : top + 32, top : top + 32])


@pytest.mark.parametrize(("border", "_", "scipy_mode"), BORDERS)
def test_values_between_pixels_are_scipys(border: Border, _: str, scipy_mode: str) -> None:
    generator = torch.Generator().manual_seed(1)
    rows = 30 * torch.rand(4, 12, 9, dtype=torch.float64, generator=generator) - 10
    columns = 30 * torch.rand(4, 12, 9, dtype=torch.float64, generator=generator) - 10
    found = look_up_between(IMAGES, rows, columns, border)
    for number in range(4):
        for channel in range(3):
            places = (rows[number].numpy(), columns[number].numpy())
            expected = ndimage.map_coordinates(
                IMAGES[number, channel].numpy(), places, order=1, mode=scipy_mode
            )
            assert np.allclose(found[number, channel].numpy(), expected)


def test_a_look_up_moves_values_within_their_image_and_channel() -> None:
    rows = torch.arange(12)[:, None].expand(4, 12, 9)
    columns = torch.arange(9).expand(4, 12, 9)
    assert torch.equal(look_up(IMAGES, 11 - rows, 8 - columns), IMAGES.flip(2, 3))
