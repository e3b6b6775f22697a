"""Whether two systems were asked about the same images in the same order."""

from __future__ import annotations

import numpy as np

from harness.errors import DataError
from results.predictions import PredictionSet
from results.store import one_line

_SHOWN_DIGITS = 12
"""Of a fingerprint."""

_NAME_LENGTH = 40


def check_same_images(a: PredictionSet, b: PredictionSet) -> None:
    """Refuse to set answers to different questions against each other.

    Files carry no fingerprint of their images; their labels have to agree, image by image.

    Raises:
        DataError: the fingerprints, the number of images, the classes or the labels differ.
    """
    problem = _problem(a, b)
    if problem:
        raise DataError(f"'{a.name}' and '{b.name}' cannot be compared: {problem}")


def _problem(a: PredictionSet, b: PredictionSet) -> str | None:
    if len(a.labels) != len(b.labels):
        return (
            f"one is about {len(a.labels):,} test images, the other about {len(b.labels):,}: "
            "score both on the same test set"
        )
    if a.fingerprint is not None and b.fingerprint is not None and a.fingerprint != b.fingerprint:
        return (
            f"their test images differ (fingerprints {a.fingerprint[:_SHOWN_DIGITS]} and "
            f"{b.fingerprint[:_SHOWN_DIGITS]}): run both cells on the same data"
        )
    if a.has_class_names and b.has_class_names and a.class_names != b.class_names:
        return f"their classes differ ({_first_difference(a.class_names, b.class_names)}): use the same data"
    num_different = int(np.count_nonzero(a.labels != b.labels))
    if num_different == 0:
        return None
    first = int(np.argmax(a.labels != b.labels))
    words = f"their true classes differ at {num_different:,} of {len(a.labels):,} images, first at {first}"
    same_counts = np.array_equal(np.sort(a.labels), np.sort(b.labels))
    if same_counts:
        return f"{words}, though each class has as many: give both in the same order of images"
    return f"{words}: they are about different test images"


def _first_difference(names_a: tuple[str, ...], names_b: tuple[str, ...]) -> str:
    if len(names_a) != len(names_b):
        return f"{len(names_a)} and {len(names_b)} of them"
    index = next(index for index, pair in enumerate(zip(names_a, names_b, strict=True)) if pair[0] != pair[1])
    shown_a, shown_b = (one_line(names[index], _NAME_LENGTH) for names in (names_a, names_b))
    return f"class {index} is '{shown_a}' and '{shown_b}'"
