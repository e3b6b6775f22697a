"""The augmentations that a cell can name: sequences of operations. No torch here.

    operations_of("cutout")           # a name: ('flip', 'crop', 'cutout')
    operations_of("crop+cutout")      # any operations, in that order: ('crop', 'cutout')

`pipeline.py` holds the operations; names and operations are apart so that a matrix can be checked
without loading torch.
"""

from __future__ import annotations

from harness.errors import UsageError, unknown_name

OPERATIONS = (
    "flip",
    "alternating_flip",
    "crop",
    "crop_zero",
    "cutout",
    "erasing",
    "color_jitter",
    "grayscale",
    "randaugment",
    "trivialaugment",
    "autoaugment",
    "augmix",
)
MIXING = ("mixup", "cutmix")
"""Operations on two images; only the last one of an augmentation can be one of these."""

AUGMENTATIONS: dict[str, tuple[str, ...]] = {
    "none": (),
    "flip_crop": ("flip", "crop"),
    "airbench": ("alternating_flip", "crop"),
    "cutout": ("flip", "crop", "cutout"),
    "erasing": ("flip", "crop", "erasing"),
    "color_jitter": ("flip", "crop", "color_jitter"),
    "grayscale": ("flip", "crop", "grayscale"),
    "randaugment": ("flip", "crop", "randaugment"),
    "trivialaugment": ("flip", "crop", "trivialaugment"),
    "autoaugment": ("flip", "crop", "autoaugment", "cutout"),
    "augmix": ("flip", "crop", "augmix"),
    "mixup": ("flip", "crop", "mixup"),
    "cutmix": ("flip", "crop", "cutmix"),
    "strong": ("flip", "crop", "trivialaugment", "cutmix"),
}


def operations_of(augmentation: str) -> tuple[str, ...]:
    """The operations of an augmentation, in order: of a name, or of operations joined by plus signs.

    Raises:
        UsageError: a part is neither a name nor an operation, or an operation on two images is not last.
    """
    if augmentation in AUGMENTATIONS:
        return AUGMENTATIONS[augmentation]
    operations = tuple(augmentation.split("+"))
    for operation in operations:
        if operation not in OPERATIONS + MIXING:
            valid = OPERATIONS + MIXING if len(operations) > 1 else {*AUGMENTATIONS, *OPERATIONS}
            raise unknown_name("augmentation", operation, valid)
    for operation in operations[:-1]:
        if operation in MIXING:
            raise UsageError(f"augmentation '{augmentation}': '{operation}' mixes images: put it last")
    return operations


def shortest_name(augmentation: str) -> str:
    """The name of an augmentation, where its operations have one: `flip_crop` for `flip+crop`.

    Raises:
        UsageError: see `operations_of`.
    """
    operations = operations_of(augmentation)
    return next((name for name, named in AUGMENTATIONS.items() if named == operations), augmentation)
