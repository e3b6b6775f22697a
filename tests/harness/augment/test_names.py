from __future__ import annotations

import pytest

from harness.augment.names import AUGMENTATIONS, MIXING, OPERATIONS, operations_of, shortest_name
from harness.errors import UsageError


def test_a_name_stands_for_its_operations() -> None:
    assert operations_of("cutout") == ("flip", "crop", "cutout")
    assert operations_of("none") == ()


def test_operations_are_put_together_with_plus_signs() -> None:
    assert operations_of("crop+mixup") == ("crop", "mixup")
    assert operations_of("crop+flip+cutout") == ("crop", "flip", "cutout")
    assert operations_of("crop") == ("crop",)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_named_augmentation_is_made_of_known_operations(name: str) -> None:
    operations = operations_of(name)
    assert operations == AUGMENTATIONS[name]
    assert set(operations) <= {*OPERATIONS, *MIXING}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_operations_that_have_a_name_are_known_by_it(name: str) -> None:
    assert shortest_name("+".join(AUGMENTATIONS[name]) or "none") == name
    assert shortest_name(name) == name


def test_operations_without_a_name_stay_as_they_are() -> None:
    assert shortest_name("crop+flip") == "crop+flip"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flip_crop+cutmix", "unknown augmentation 'flip_crop': "),
        ("flip_krop", "unknown augmentation 'flip_krop': did you mean flip_crop"),
        ("flip+kutout", "unknown augmentation 'kutout': did you mean .*cutout"),
        ("", "unknown augmentation ''"),
        ("flip+", "unknown augmentation ''"),
        ("mixup+flip", "augmentation 'mixup\\+flip': 'mixup' mixes images: put it last"),
        ("mixup+cutmix", "augmentation 'mixup\\+cutmix': 'mixup' mixes images"),
    ],
)
def test_a_bad_composition_is_one_line(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        operations_of(name)
