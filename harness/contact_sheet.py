"""Draw every corruption at every severity on one labelled sheet.

    python -m harness.contact_sheet --data-dir data --out sheet.png

A row is a corruption; its columns are the clean image and severities 1 to 5. The images are test images of
CIFAR-10, enlarged without smoothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from harness.corruptions.frost import frost_source
from harness.corruptions.names import GROUPS, SEVERITIES
from harness.corruptions.registry import corrupt
from harness.datasets.cifar10 import load_cifar10
from harness.errors import UsageError, VerdictError
from harness.files import atomic_write

SIDE = 64
"""Height and width of an image on the sheet, at least."""

GAP = 4
GROUP_GAP = 12
HEADER_HEIGHT = 30
LABEL_WIDTH = 160
FONT_SIZE, SMALL_FONT_SIZE = 16, 13
BACKGROUND, INK, FAINT_INK = (255, 255, 255), (20, 20, 20), (110, 110, 110)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 2 where the user has to change something."""
    parser = argparse.ArgumentParser(prog="python -m harness.contact_sheet", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder with CIFAR-10 (data)")
    parser.add_argument("--allow-unofficial-data", action="store_true", help="accept other CIFAR-10 files")
    parser.add_argument("--out", type=Path, default=Path("corruptions.png"), help="PNG (corruptions.png)")
    parser.add_argument("--images", type=int, default=1, help="images side by side in each cell (1)")
    parser.add_argument("--first", type=int, default=0, help="place of the first of them in the test set (0)")
    args = parser.parse_args(arguments)
    try:
        images = load_cifar10(args.data_dir, args.allow_unofficial_data, quiet=False).test.images
        if args.images < 1 or not 0 <= args.first <= len(images) - args.images:
            raise UsageError(f"--first {args.first} --images {args.images}: there are {len(images):,} images")
        indices = torch.arange(args.first, args.first + args.images)
        sheet = draw_sheet(torch.from_numpy(images[indices.numpy()]), indices)
        with atomic_write(args.out) as file:
            sheet.save(file, "PNG", optimize=True)
    except VerdictError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args.out}: {sheet.width}x{sheet.height} pixels, frost: {frost_source()}")
    return 0


def draw_sheet(images_KCHW: Tensor, indices: Tensor) -> Image.Image:
    """The sheet for some uint8 images, whose places in their set are the indices."""
    scale = -(-SIDE // images_KCHW.shape[2])
    height = scale * images_KCHW.shape[2]
    cell_width = len(images_KCHW) * (scale * images_KCHW.shape[3] + GAP) + GAP
    num_rows = sum(map(len, GROUPS.values()))
    size = (
        LABEL_WIDTH + (1 + len(SEVERITIES)) * cell_width,
        HEADER_HEIGHT + num_rows * (height + GAP) + (len(GROUPS) - 1) * GROUP_GAP + GAP,
    )
    sheet = Image.new("RGB", size, BACKGROUND)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_SIZE)
    small_font = ImageFont.load_default(SMALL_FONT_SIZE)
    for column, title in enumerate(("clean", *(f"severity {severity}" for severity in SEVERITIES))):
        pen.text((LABEL_WIDTH + column * cell_width, GAP), title, INK, small_font)
    top = HEADER_HEIGHT
    for group, names in GROUPS.items():
        for name in names:
            pen.text((GAP, top + height // 2 - FONT_SIZE), name.replace("_", " "), INK, font)
            pen.text((GAP, top + height // 2 + 2), group, FAINT_INK, small_font)
            corrupted = [corrupt(images_KCHW, name, severity, indices) for severity in SEVERITIES]
            for column, cell_KCHW in enumerate((images_KCHW, *corrupted)):
                _paste(sheet, cell_KCHW, scale, LABEL_WIDTH + column * cell_width, top)
            top += height + GAP
        top += GROUP_GAP
    return sheet


def _paste(sheet: Image.Image, images_KCHW: Tensor, scale: int, left: int, top: int) -> None:
    """Put enlarged images side by side."""
    for image_CHW in images_KCHW:
        image = Image.fromarray(image_CHW.permute(1, 2, 0).contiguous().numpy())
        image = image.resize((scale * image.width, scale * image.height), Image.Resampling.NEAREST)
        sheet.paste(image, (left, top))
        left += image.width + GAP


if __name__ == "__main__":
    sys.exit(main())
