from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.datasets.decode import decode_image, resize_blocks
from harness.errors import DataError
from tests.harness.datasets.dataset_helpers import write_image

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def decode(path: Path, image_size: int) -> Pixels:
    """The decoded image as [H, W, 3]."""
    image, _ = decode_image(path, image_size)
    assert image.shape == (3, image_size, image_size)
    assert image.dtype == np.uint8
    return image.transpose(1, 2, 0)


def random_pixels(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp", "jpg", "gif"])
def test_an_image_of_the_right_size_has_the_pixels_that_pillow_reads(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    write_image(path, seed=0, size=(16, 16))
    with Image.open(path) as image:
        wanted = np.asarray(image.convert("RGB"))
    assert np.array_equal(decode(path, 16), wanted)


@pytest.mark.parametrize(
    ("size", "square"),
    [
        ((40, 20), np.s_[:, 10:30]),
        ((20, 41), np.s_[10:30, :]),
        ((64, 64), np.s_[:, :]),
        ((11, 8), np.s_[:, 1:9]),
    ],
)
def test_the_central_square_is_resized_as_pillow_does(
    tmp_path: Path, size: tuple[int, int], square: Any
) -> None:
    path = tmp_path / "a.png"
    pixels = write_image(path, seed=0, size=size)
    centre = Image.fromarray(np.ascontiguousarray(pixels[square]))
    wanted = centre.resize((16, 16), Image.Resampling.BILINEAR)
    image, is_square = decode_image(path, 16)
    assert np.array_equal(image.transpose(1, 2, 0), np.asarray(wanted))
    assert is_square == (size == (64, 64))


def test_shrinking_averages_over_all_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    checkerboard = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checkerboard).save(path)
    inner = decode(path, 8)[1:-1, 1:-1].astype(int)
    assert np.all(np.abs(inner - 127) <= 2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    # How the stored pixels must be turned, from the EXIF standard's table of orientations.
    turns: dict[int, Callable[[Pixels], Pixels]] = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, -1),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p, 1),
    }
    pixels = random_pixels(16, 16, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(decode(tmp_path / "a.png", 16), turns[orientation](pixels))


def test_grey_images_have_three_equal_channels(tmp_path: Path) -> None:
    grey = random_pixels(16, 16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png", 16), np.dstack([grey] * 3))


def test_palette_images_have_the_colours_of_their_palette(tmp_path: Path) -> None:
    indices = random_pixels(16, 16) % 4
    palette = random_pixels(4, 3)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png", 16), palette[indices])


def test_transparent_pixels_lie_over_white(tmp_path: Path) -> None:
    pixels = random_pixels(16, 16, 4)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    colour, alpha = pixels[..., :3].astype(float), pixels[..., 3:] / 255
    wanted = colour * alpha + 255 * (1 - alpha)
    assert np.abs(decode(tmp_path / "a.png", 16) - wanted).max() <= 1


def test_a_transparent_colour_of_a_palette_is_white(tmp_path: Path) -> None:
    indices = random_pixels(16, 16) % 2
    image = Image.fromarray(indices)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "a.png", transparency=1)
    wanted = np.array([[10, 20, 30], [255, 255, 255]])[indices]
    assert np.array_equal(decode(tmp_path / "a.png", 16), wanted)


def test_the_upper_byte_of_16_bit_grey_counts(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (16, 16), dtype=np.uint16)
    for suffix in ("png", "tiff"):
        Image.fromarray(values).save(tmp_path / f"a.{suffix}")
        assert np.array_equal(decode(tmp_path / f"a.{suffix}", 16)[..., 0], values >> 8)


@pytest.mark.parametrize("mode", ["1", "CMYK", "LA", "L", "P"])
def test_every_common_mode_is_read(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(random_pixels(16, 16, 3)).convert(mode)
    image.save(tmp_path / "a.tiff")
    assert np.array_equal(decode(tmp_path / "a.tiff", 16), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((16, 16), 0.5, np.float32), "floating-point pixels have no agreed range"),
        (np.full((16, 16), 70_000, np.int32), "32-bit pixels have no agreed range"),
    ],
)
def test_pixels_without_an_agreed_range_are_refused(
    tmp_path: Path, values: np.ndarray[Any, Any], reason: str
) -> None:
    Image.fromarray(values).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match=rf"a\.tiff: cannot be read as an image \({reason}"):
        decode_image(tmp_path / "a.tiff", 16)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif"])
def test_a_truncated_image_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    write_image(path, seed=0, size=(64, 64))
    content = path.read_bytes()
    for share in (0.3, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(DataError, match=rf"a\.{suffix}: .*repair or remove it"):
            decode_image(path, 16)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: .*repair or remove it"):
        decode_image(tmp_path / "a.png", 16)


def test_a_missing_file_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png: cannot be read as an image \(No such file or directory\)"):
        decode_image(tmp_path / "a.png", 16)


def test_arrays_of_the_right_size_are_handed_on_untouched() -> None:
    images = random_pixels(300, 3, 8, 8)
    blocks = list(resize_blocks(images, 8))
    assert len(blocks) == 3
    assert np.array_equal(np.concatenate(blocks), images)


def test_arrays_are_resized_as_files_are(tmp_path: Path) -> None:
    images = random_pixels(3, 3, 20, 20)
    (resized,) = resize_blocks(images, 8)
    for index, image in enumerate(images):
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(tmp_path / f"{index}.png")
        assert np.array_equal(resized[index].transpose(1, 2, 0), decode(tmp_path / f"{index}.png", 8))
