"""Figures derived from logits and labels: how many are right, and how sure that makes us.

num_correct = accuracy_count(logits, labels)
low, high = wilson_interval(num_correct, len(labels))
classes = class_figures(confusion_matrix(logits.argmax(axis=1), labels, num_classes=10))
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.interval import wilson_interval

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Share:
    """How many of how many, with the 95% Wilson interval of the share."""

    count: int
    n: int
    percent: float
    low_percent: float
    high_percent: float


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is told from the others; what would be 0/0 is None."""

    num_images: int
    """Images of the class."""

    num_predicted: int
    """Images taken for it."""

    num_correct: int
    precision: float | None
    """Share of the images taken for the class that are of it; None where none was taken for it."""

    recall: float | None
    """Share of the images of the class that were recognized; None where there is no such image."""

    f1: float | None
    """Harmonic mean of the two; None where the class is neither among the labels nor the predictions."""


def accuracy_count(logits: Array, labels: Array) -> int:
    """The number of images whose largest logit is that of their label.

    Of equal largest logits the one with the lowest class index counts.

    Args:
        logits: [N, C].
        labels: [N], class indices.

    Raises:
        ValueError: a logit is not finite.
    """
    _check_finite(logits)
    return int(np.count_nonzero(logits.argmax(axis=1) == labels))


def top_k_count(scores: Array, labels: Array, k: int) -> int:
    """The number of images whose label is among the `k` classes with the largest scores.

    Of equal scores the lower class index counts as larger, so that k = 1 is `accuracy_count`.

    Args:
        scores: [N, C], logits or probabilities.
        labels: [N], class indices.
        k: from 1 to C.

    Raises:
        ValueError: a value is not finite, a label is not a class, or there are no `k` classes.
    """
    check_scores(scores, labels)
    num_classes = scores.shape[1]
    if not 1 <= k <= num_classes:
        raise ValueError(f"no top {k} of {num_classes} classes")
    of_label = scores[np.arange(len(labels)), labels][:, None]
    before = (scores > of_label) | ((scores == of_label) & (np.arange(num_classes) < labels[:, None]))
    return int(np.count_nonzero(before.sum(axis=1) < k))


def share_of(count: int, n: int) -> Share:
    """`count` of `n` as a percentage with its interval.

    Raises:
        ValueError: `n` is 0, or `count` is not from 0 to `n`.
    """
    low, high = wilson_interval(count, n)
    return Share(count, n, 100 * count / n, 100 * low, 100 * high)


def confusion_matrix(classes: Array, labels: Array, num_classes: int) -> Array:
    """How many images of each class (row) were taken for each class (column), int64 [C, C].

    Args:
        classes: [N], the predicted class indices.
        labels: [N], the true ones.
        num_classes: C.

    Raises:
        ValueError: the lengths differ, or something is not a class.
    """
    if classes.shape != labels.shape or labels.ndim != 1:
        raise ValueError(f"{classes.shape} predicted classes for {labels.shape} labels")
    for indices in (classes, labels):
        _check_classes(indices, num_classes)
    cells = labels.astype(np.int64) * num_classes + classes
    return np.bincount(cells, minlength=num_classes * num_classes).reshape(num_classes, num_classes)


def class_figures(confusion: Array) -> tuple[ClassFigures, ...]:
    """Precision, recall and F1 of every class.

    van Rijsbergen 1979, "Information Retrieval", chapter 7; F1 = 2 TP / (2 TP + FP + FN).

    Args:
        confusion: [C, C], the true class in rows, as `confusion_matrix` returns it.
    """
    figures = []
    for index in range(len(confusion)):
        num_images, num_predicted = int(confusion[index].sum()), int(confusion[:, index].sum())
        num_correct = int(confusion[index, index])
        figures.append(
            ClassFigures(
                num_images,
                num_predicted,
                num_correct,
                precision=_ratio(num_correct, num_predicted),
                recall=_ratio(num_correct, num_images),
                f1=_ratio(2 * num_correct, num_images + num_predicted),
            )
        )
    return tuple(figures)


def macro_average(values: Iterable[float | None]) -> float | None:
    """The mean over the classes for which the value is defined; None where there is none."""
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


def check_scores(scores: Array, labels: Array) -> None:
    """Refuse what no figure should come from.

    Args:
        scores: [N, C], logits or probabilities.
        labels: [N], class indices.

    Raises:
        ValueError: a wrong shape, no image at all, a value that is not finite, a label that is no class.
    """
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or scores.size == 0:
        raise ValueError(f"scores of shape {scores.shape} do not fit labels of shape {labels.shape}")
    _check_finite(scores)
    _check_classes(labels, scores.shape[1])


def _check_finite(scores: Array) -> None:
    if not np.isfinite(scores).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(scores))} values are not finite (NaN or infinite)")


def _check_classes(indices: Array, num_classes: int) -> None:
    if indices.dtype.kind not in "iu":
        raise ValueError(f"class indices are {indices.dtype}, not integers")
    if indices.size and not (indices.min() >= 0 and indices.max() < num_classes):
        raise ValueError(f"class indices outside of 0 to {num_classes - 1}")


def _ratio(count: int, n: int) -> float | None:
    return count / n if n else None
