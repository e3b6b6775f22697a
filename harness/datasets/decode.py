"""Image files and arrays of images to [3, S, S] uint8 RGB, the same way everywhere.

An image is turned upright (EXIF), laid over white where it is transparent, cut to its central square and
resized with Pillow's bilinear filter, which averages over all source pixels when it shrinks (antialias).
Of 16-bit grey images the upper byte counts, as Pillow does it for 16-bit colour.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.datasets.base import Images
from harness.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

_BLOCK = 128


def decode_image(path: Path, image_size: int) -> tuple[Images, bool]:
    """Decode one file to uint8 [3, image_size, image_size]; also tell whether the image was square.

    Raises:
        DataError: the file is not a whole image that Pillow can read.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            ImageOps.exif_transpose(image, in_place=True)
            rgb = _to_rgb(image)
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image of a kind that Pillow knows: repair or remove it") from None
    except Exception as error:  # Pillow's readers raise nearly anything on a broken file
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read as an image ({reason}): repair or remove it") from error
    return np.asarray(_fit(rgb, image_size)).transpose(2, 0, 1), rgb.width == rgb.height


def resize_blocks(images: Images, image_size: int) -> Iterator[Images]:
    """Resize square images [N, 3, H, H] to `image_size`, block by block; unchanged where they fit."""
    from PIL import Image

    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK]
        if block.shape[-1] != image_size:
            pictures = (Image.fromarray(image) for image in np.ascontiguousarray(block.transpose(0, 2, 3, 1)))
            block = np.stack([np.asarray(_fit(picture, image_size)) for picture in pictures])
            block = block.transpose(0, 3, 1, 2)
        yield block


def _to_rgb(image: PillowImage) -> PillowImage:
    from PIL import Image

    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        image = _upper_byte(image)
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _upper_byte(image: PillowImage) -> PillowImage:
    from PIL import Image

    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("32-bit pixels have no agreed range; save it with 8 or 16 bits")
    return Image.fromarray((values >> 8).astype(np.uint8))


def _fit(image: PillowImage, image_size: int) -> PillowImage:
    from PIL import Image

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return square.resize((image_size, image_size), Image.Resampling.BILINEAR)
