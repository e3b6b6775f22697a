"""What a model is worth if it may say "I do not know": accuracy on the images that it is surest of.

    curve = risk_coverage(confidences, correct)
    area_under(curve)                                    # AURC
    oracle_point(curve)                                  # largest coverage that reaches 99%, known afterwards
    threshold = threshold_for(val_curve)                 # honest: picked on validation images ...
    point_at(threshold, confidences, correct)            # ... and tried on test images

Coverage is the share of the images that are answered, risk the share of wrong answers among them.
Images of equal confidence are answered or refused together, so that their order does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from results.metrics import Array, Share, share_of

TARGET_ACCURACY = 0.99


@dataclass(frozen=True)
class RiskCoverage:
    """The curve: one point for each distinct confidence, the highest first."""

    thresholds: Array
    """[M], confidences; an image is answered where its own is at least that."""

    num_answered: Array
    """int64 [M]; the last is the number of all images."""

    num_wrong: Array
    """int64 [M], wrong ones among the answered."""

    @property
    def coverage(self) -> Array:
        """[M], share of the images that are answered."""
        coverage: Array = self.num_answered / self.num_answered[-1]
        return coverage

    @property
    def risk(self) -> Array:
        """[M], share of wrong ones among the answered."""
        risk: Array = self.num_wrong / self.num_answered
        return risk


@dataclass(frozen=True)
class SelectivePoint:
    """What one threshold comes to on a set of images."""

    threshold: float
    coverage: Share
    accuracy: Share | None
    """Of the answered images; None where there are none."""


def risk_coverage(confidences: Array, correct: Array) -> RiskCoverage:
    """How risk grows with coverage when images are answered in order of confidence, the surest first.

    El-Yaniv and Wiener 2010, "On the foundations of noise-free selective classification"; with the
    largest softmax probability as confidence: Geifman and El-Yaniv 2017, "Selective classification for
    deep neural networks".

    Args:
        confidences: [N].
        correct: bool [N], whether the predicted class is that of the label.

    Raises:
        ValueError: no image, lengths that differ, or a confidence that is not finite.
    """
    if confidences.ndim != 1 or confidences.shape != correct.shape or not confidences.size:
        raise ValueError(f"no curve of {confidences.shape} confidences and {correct.shape} results")
    if not np.isfinite(confidences).all():
        raise ValueError("confidences are not finite (NaN or infinite)")
    order = np.argsort(-confidences)
    descending = confidences[order]
    # The last image of each run of equal confidences.
    ends = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))
    return RiskCoverage(descending[ends], ends + 1, np.cumsum(~correct[order].astype(bool))[ends])


def area_under(curve: RiskCoverage) -> float:
    """Area under the risk-coverage curve (AURC): the mean over all images of the risk at their confidence.

    Geifman, Uziel and El-Yaniv 2019, "Bias-reduced uncertainty estimation for deep neural classifiers",
    section 3. 0 is best; a confidence that says nothing gives the error rate.
    """
    num_tied = np.diff(curve.num_answered, prepend=0)
    return float(np.dot(num_tied, curve.risk) / curve.num_answered[-1])


def threshold_for(curve: RiskCoverage, target: float = TARGET_ACCURACY) -> float | None:
    """The threshold of largest coverage at which the answered images reach the target accuracy.

    Args:
        curve: of the images that the threshold may be picked on.
        target: accuracy, a share from 0 to 1.

    Returns:
        None where no coverage reaches it.
    """
    num_right = curve.num_answered - curve.num_wrong
    reached = np.flatnonzero(num_right / curve.num_answered >= target)
    return float(curve.thresholds[reached[-1]]) if reached.size else None


def point_at(threshold: float, confidences: Array, correct: Array) -> SelectivePoint:
    """Coverage and accuracy of answering exactly the images whose confidence is at least `threshold`.

    Args:
        threshold: a confidence.
        confidences: [N].
        correct: bool [N].

    Raises:
        ValueError: no image, or lengths that differ.
    """
    if confidences.shape != correct.shape or not confidences.size:
        raise ValueError(f"no point of {confidences.shape} confidences and {correct.shape} results")
    answered = confidences >= threshold
    num_answered = int(np.count_nonzero(answered))
    return SelectivePoint(
        threshold,
        share_of(num_answered, len(confidences)),
        share_of(int(np.count_nonzero(correct[answered])), num_answered) if num_answered else None,
    )


def oracle_point(curve: RiskCoverage, target: float = TARGET_ACCURACY) -> SelectivePoint | None:
    """The point of largest coverage that reaches the target on the very images of `curve`.

    It is known only once those images have been scored: it flatters the model, and nobody can set
    the threshold so in advance.

    Args:
        curve: of the images that are reported on.
        target: accuracy, a share from 0 to 1.

    Returns:
        None where no coverage reaches it.
    """
    threshold = threshold_for(curve, target)
    return None if threshold is None else _point(curve, int(np.flatnonzero(curve.thresholds == threshold)[0]))


def points_near(curve: RiskCoverage, coverages: tuple[float, ...]) -> tuple[SelectivePoint, ...]:
    """For each of `coverages`, the point of the curve with the smallest coverage that is no less.

    Points that several of them share stand once.
    """
    indices = np.searchsorted(curve.num_answered, np.asarray(coverages) * curve.num_answered[-1] - 1e-9)
    return tuple(_point(curve, int(index)) for index in dict.fromkeys(indices.tolist()))


def _point(curve: RiskCoverage, index: int) -> SelectivePoint:
    num_answered, num_wrong = int(curve.num_answered[index]), int(curve.num_wrong[index])
    return SelectivePoint(
        float(curve.thresholds[index]),
        share_of(num_answered, int(curve.num_answered[-1])),
        share_of(num_answered - num_wrong, num_answered),
    )
