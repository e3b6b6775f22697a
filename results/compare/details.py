"""Where two systems differ: on which classes, and on which images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from results.compare.holm import holm
from results.compare.paired import mcnemar_exact
from results.compare.power import ALPHA
from results.compare.same_images import check_same_images
from results.metrics import Array
from results.predictions import PredictionSet


@dataclass(frozen=True)
class ClassComparison:
    """Two systems on the images of one class."""

    name: str
    num_images: int
    correct_a: int
    correct_b: int
    only_a: int
    only_b: int
    difference_points: float | None
    """Recall of a minus recall of b, percentage points; None where there is no image of the class."""

    p_value: float
    """Of the exact two-sided McNemar test on the images of the class."""

    p_holm: float
    """Adjusted for testing every class."""

    @property
    def resolved(self) -> bool:
        """Whether the difference is significant at 5%, over all classes."""
        return self.p_holm <= ALPHA


@dataclass(frozen=True)
class DiscordantImage:
    """One image that exactly one of the two got right."""

    index: int
    """Place in the test set, from 0."""

    right: str
    """`a` or `b`."""

    label: int
    class_a: int
    class_b: int
    confidence_a: float | None
    """Probability that a gave to its answer; None where only classes are known."""

    confidence_b: float | None


def compare_classes(a: PredictionSet, b: PredictionSet) -> tuple[ClassComparison, ...]:
    """Compare two systems on the images of each class, in the order of the classes.

    Raises:
        DataError: they were not asked about the same images in the same order.
    """
    check_same_images(a, b)
    names = names_of_classes(a, b)
    right_a, right_b = a.classes == a.labels, b.classes == b.labels
    outcomes = (np.ones_like(right_a), right_a, right_b, right_a & ~right_b, right_b & ~right_a)
    counts = np.stack([np.bincount(a.labels[chosen], minlength=len(names)) for chosen in outcomes], axis=1)
    rows: list[list[int]] = counts.tolist()
    p_values = [mcnemar_exact(only_a, only_b) for *_, only_a, only_b in rows]
    return tuple(
        ClassComparison(
            name=name,
            num_images=num_images,
            correct_a=correct_a,
            correct_b=correct_b,
            only_a=only_a,
            only_b=only_b,
            difference_points=100 * (only_a - only_b) / num_images if num_images else None,
            p_value=p,
            p_holm=p_holm,
        )
        for name, (num_images, correct_a, correct_b, only_a, only_b), p, p_holm in zip(
            names, rows, p_values, holm(p_values), strict=True
        )
    )


def discordant_images(a: PredictionSet, b: PredictionSet) -> tuple[DiscordantImage, ...]:
    """Every image that exactly one of the two got right, by place in the test set.

    Raises:
        DataError: they were not asked about the same images in the same order.
    """
    check_same_images(a, b)
    right_a = a.classes == a.labels
    indices = np.flatnonzero(right_a != (b.classes == b.labels))
    confidences_a, confidences_b = _confidences(a), _confidences(b)
    return tuple(
        DiscordantImage(
            index=index,
            right="a" if right_a[index] else "b",
            label=int(a.labels[index]),
            class_a=int(a.classes[index]),
            class_b=int(b.classes[index]),
            confidence_a=None if confidences_a is None else float(confidences_a[index]),
            confidence_b=None if confidences_b is None else float(confidences_b[index]),
        )
        for index in indices.tolist()
    )


def surest_mistakes_first(images: tuple[DiscordantImage, ...]) -> list[DiscordantImage]:
    """By the confidence of the one who is wrong, largest first; by place where it is not known."""

    def key(image: DiscordantImage) -> tuple[float, int]:
        wrong = image.confidence_b if image.right == "a" else image.confidence_a
        return (0.0 if wrong is None else -wrong, image.index)

    return sorted(images, key=key)


def names_of_classes(a: PredictionSet, b: PredictionSet) -> tuple[str, ...]:
    """Names of all classes that either knows of, from the one that knows their names."""
    longest = max(a.class_names, b.class_names, key=len)
    named = next((each.class_names for each in (a, b) if each.has_class_names), longest)
    return named + longest[len(named) :]


def _confidences(found: PredictionSet) -> Array | None:
    given = found.distributions()
    return None if given is None else given.probs.max(axis=1)
