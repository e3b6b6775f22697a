"""The augmentations that a cell can name, each a sequence of operations. No torch here.

`pipeline.py` holds the operations; names and operations are apart so that a matrix can be checked
without loading torch.
"""

from __future__ import annotations

AUGMENTATIONS: dict[str, tuple[str, ...]] = {
    "none": (),
    "flip_crop": ("flip", "crop"),
    "cutout": ("flip", "crop", "cutout"),
}
