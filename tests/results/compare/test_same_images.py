from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.errors import DataError
from results.compare.paired import compare_pair
from results.compare.same_images import check_same_images
from results.predictions import PredictionSet

MakeSet = Callable[..., PredictionSet]

LABELS = [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"fingerprint": "b" * 64}, "test images differ .fingerprints aaaaaaaaaaaa and bbbbbbbbbbbb"),
        ({"class_names": ("cat", "dog", "bird")}, "class 2 is 'ship' and 'bird'"),
        ({"class_names": ("cat", "dog", "ship", "deer")}, "3 and 4 of them"),
    ],
)
def test_systems_of_other_images_are_refused(make_set: MakeSet, values: dict[str, Any], words: str) -> None:
    ours: dict[str, Any] = {"fingerprint": "a" * 64, "class_names": ("cat", "dog", "ship"), "name": "ours"}
    a = make_set(LABELS, LABELS, **ours)
    b = make_set(LABELS, LABELS, **(ours | {"name": "theirs"} | values))

    with pytest.raises(DataError, match=f"'ours' and 'theirs' cannot be compared: .*{words}"):
        compare_pair(a, b)


def test_another_number_of_images_is_refused(make_set: MakeSet) -> None:
    with pytest.raises(DataError, match="6 test images, the other about 5: score both"):
        check_same_images(make_set(LABELS, LABELS), make_set(LABELS[:5], LABELS[:5]))


def test_another_order_is_told_from_other_images(make_set: MakeSet) -> None:
    a = make_set(LABELS, LABELS)

    with pytest.raises(DataError, match=r"differ at 4 of 6 images, first at 1, .* same order of images"):
        check_same_images(a, make_set(LABELS, [0, 2, 1, 0, 2, 1]))
    with pytest.raises(DataError, match=r"differ at 1 of 6 images, first at 5: .* different test images"):
        check_same_images(a, make_set(LABELS, [0, 1, 2, 0, 1, 1]))


def test_what_a_file_does_not_say_is_no_contradiction(make_set: MakeSet) -> None:
    ours = make_set(LABELS, LABELS, fingerprint="a" * 64, class_names=("cat", "dog", "ship"))

    check_same_images(ours, make_set(LABELS, LABELS))
    check_same_images(make_set(LABELS, LABELS), ours)


def test_hostile_class_names_are_quoted_on_one_short_line(make_set: MakeSet) -> None:
    a = make_set([0, 1], [0, 1], class_names=("cat", "dog"))
    b = make_set([0, 1], [0, 1], class_names=("c\n\x1b[31m" + "x" * 5000, "dog"))

    with pytest.raises(DataError) as caught:
        check_same_images(a, b)

    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()
