from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.corruptions import frost
from harness.corruptions.registry import corrupt


@pytest.fixture(autouse=True)
def _no_pictures_left() -> Iterator[None]:
    frost._pictures.cache_clear()
    yield
    frost._pictures.cache_clear()


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frost, "_photograph_paths", list)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """A package with photographs, in place of the real one, whose code must not be run."""
    folder = tmp_path / "imagecorruptions" / "frost"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('was run')\n")
    generator = np.random.default_rng(0)
    photographs = []
    for number, name in enumerate(frost.PHOTOGRAPHS):
        pixels = generator.integers(0, 256, (200 + 10 * number, 301, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name, "PNG")
        photographs.append(pixels)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return photographs


def test_made_pictures_are_used_where_the_package_is_missing(no_package: None) -> None:
    assert frost.frost_source() == "procedural"
    draws = torch.rand(400, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    crops = frost.frost_crops(draws, 32, 32).double()
    means = torch.tensor([look.mean for look in frost._LOOKS]).mean(0)
    assert crops.mean(dim=(0, 2, 3)).tolist() == pytest.approx(means.tolist(), rel=0.05)
    assert 20 < float(crops.std(dim=(2, 3)).mean()) < 35
    beside = torch.corrcoef(torch.stack((crops[..., 1:].flatten(), crops[..., :-1].flatten())))[0, 1]
    assert beside > 0.6


def test_made_pictures_are_the_same_every_time(no_package: None) -> None:
    first = [picture.clone() for picture in frost._pictures()]
    frost._pictures.cache_clear()
    assert all(torch.equal(*pair) for pair in zip(first, frost._pictures(), strict=True))


def test_photographs_are_read_without_running_their_package(package: list[np.ndarray]) -> None:
    assert frost.frost_source() == "photographs"
    draws = torch.tensor([[0.0, 0.0, 0.0], [0.99, 0.0, 0.5]], dtype=torch.float64)
    crops = frost.frost_crops(draws, 16, 16).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(crops[0], package[0][2::5, 2::5][:16, :16])
    assert np.array_equal(crops[1], package[4][2::5, 2::5][:16, 22:38])


def test_an_incomplete_package_is_not_used(package: list[np.ndarray], tmp_path: Path) -> None:
    (tmp_path / "imagecorruptions" / "frost" / frost.PHOTOGRAPHS[2]).unlink()
    assert frost.frost_source() == "procedural"


@pytest.mark.parametrize("size", [(40, 60), (199, 290), (300, 500)])
def test_large_images_see_less_reduced_parts(package: list[np.ndarray], size: tuple[int, int]) -> None:
    draws = torch.full((5, 3), 0.999, dtype=torch.float64)
    draws[:, 0] = torch.arange(5) / 5 + 0.01
    assert frost.frost_crops(draws, *size).shape == (5, 3, *size)


@pytest.mark.parametrize("severity", range(1, 6))
def test_frost_is_added_to_a_part_of_the_image(no_package: None, severity: int) -> None:
    of_image, of_frost = ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))[severity - 1]
    grey = torch.full((3, 3, 32, 32), 80, dtype=torch.uint8)
    black = torch.zeros_like(grey)
    frosted = corrupt(grey, "frost", severity, torch.arange(3)).double()
    alone = corrupt(black, "frost", severity, torch.arange(3)).double()
    assert (frosted - alone - 80 * of_image).abs().max() <= 1
    assert alone.max() <= 255 * of_frost
