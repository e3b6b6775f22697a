"""Whether a model is unsure where people are, given how many people named which class for each image.

    counts = read_human_counts(Path("cifar10h_counts.npy"), labels, num_classes=10)
    human_figures(predicted, labels, counts, from_logits(test_logits)).kl_divergence

The counts are those of CIFAR-10H: Peterson, Battleday, Griffiths and Russakovsky 2019, "Human uncertainty
makes classification more robust", section 3. What they say of an image, divided by their sum, is
the human distribution over the classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from results.calibration import Distributions
from results.metrics import Array, Share, share_of


@dataclass(frozen=True)
class HumanFigures:
    """People, and a model beside them; divergences are means over the images, in nats."""

    judgements: Share
    """Single judgements that name the label."""

    majority: Share
    """Images whose label is the class named most often; of equally many, the lowest class index."""

    disputed: Share
    """Images on which not all judgements agree: what to compare the next with."""

    errors_disputed: Share | None
    """The model's errors that are on such images; None where it makes no error."""

    errors_misjudged: Share | None
    """Its errors on images where also the majority of people names another class than the label."""

    errors_seen_by_people: Share | None
    """Its errors where at least one person names the very class that the model does."""

    human_entropy: float
    """Of the human distribution: the cross-entropy that cannot be undercut."""

    cross_entropy: float | None
    """Of the model's distribution under the human one."""

    kl_divergence: float | None
    """From the model's distribution to the human one: cross-entropy less entropy."""

    js_divergence: float | None
    """Jensen-Shannon divergence, from 0 to ln 2."""

    confidence_agreement_correlation: float | None
    """Spearman's, of the model's confidence and the share of judgements for the class named most often."""

    reasons: dict[str, str]
    """Why a figure is None, by its name."""


def human_figures(
    classes: Array, labels: Array, counts: Array, given: Distributions | None = None
) -> HumanFigures:
    """Compare a model's predictions with people's judgements of the same images.

    Args:
        classes: [N], the predicted class indices.
        labels: [N], the true ones.
        counts: [N, C], judgements by image and class.
        given: the model's distributions; None where only its classes are known.

    Raises:
        ValueError: shapes that do not fit, counts that are no counts, or an image that nobody judged.
    """
    check_counts(counts, len(labels))
    rows = np.arange(len(labels))
    totals = counts.sum(axis=1)
    wrong = classes != labels
    num_wrong = int(np.count_nonzero(wrong))
    disputed = counts.max(axis=1) < totals
    majority_right = counts.argmax(axis=1) == labels
    reasons = (
        {}
        if num_wrong
        else dict.fromkeys(
            ("errors_disputed", "errors_misjudged", "errors_seen_by_people"), "the model makes no error"
        )
    )

    def of_errors(flags: Array) -> Share | None:
        return share_of(int(np.count_nonzero(flags & wrong)), num_wrong) if num_wrong else None

    human = counts / totals[:, None]
    entropy = _mean_information(human, _logarithm(human))
    soft = _soft_figures(human, entropy, given)
    reasons |= soft.reasons
    return HumanFigures(
        judgements=share_of(round(float(counts[rows, labels].sum())), round(float(totals.sum()))),
        majority=share_of(int(np.count_nonzero(majority_right)), len(labels)),
        disputed=share_of(int(np.count_nonzero(disputed)), len(labels)),
        errors_disputed=of_errors(disputed),
        errors_misjudged=of_errors(~majority_right),
        errors_seen_by_people=of_errors(counts[rows, classes] > 0),
        human_entropy=entropy,
        cross_entropy=soft.cross_entropy,
        kl_divergence=soft.kl_divergence,
        js_divergence=soft.js_divergence,
        confidence_agreement_correlation=soft.correlation,
        reasons=reasons,
    )


def check_counts(counts: Array, num_images: int) -> None:
    """Refuse what cannot be numbers of judgements, [N, C].

    Raises:
        ValueError: a wrong shape, values that are no whole numbers from 0 on, or an image without any.
    """
    if counts.ndim != 2 or len(counts) != num_images or counts.dtype.kind not in "iuf":
        raise ValueError(f"counts of {counts.dtype} {counts.shape} do not fit {num_images} images")
    if not (np.isfinite(counts).all() and (counts >= 0).all() and (counts == np.round(counts)).all()):
        raise ValueError("counts are not whole numbers from 0 on")
    if not (counts.sum(axis=1) > 0).all():
        raise ValueError("there is an image that nobody judged")


def spearman_correlation(first: Array, second: Array) -> float | None:
    """Pearson's correlation of the ranks, equal values sharing the mean of theirs.

    Spearman 1904, "The proof and measurement of association between two things".

    Args:
        first: [N].
        second: [N].

    Returns:
        None where all values of one of them are equal.
    """
    ranks = np.stack([_ranks(first), _ranks(second)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    scale = math.sqrt(float(np.dot(ranks[0], ranks[0])) * float(np.dot(ranks[1], ranks[1])))
    return float(np.dot(ranks[0], ranks[1])) / scale if scale else None


@dataclass(frozen=True)
class _Soft:
    """The figures that need the model's probabilities."""

    cross_entropy: float | None
    kl_divergence: float | None
    js_divergence: float | None
    correlation: float | None
    reasons: dict[str, str]


_SOFT_NAMES = ("cross_entropy", "kl_divergence", "js_divergence", "confidence_agreement_correlation")


def _soft_figures(human: Array, entropy: float, given: Distributions | None) -> _Soft:
    if given is None:
        return _Soft(None, None, None, None, dict.fromkeys(_SOFT_NAMES, "only the classes are known"))
    if given.probs.shape != human.shape:
        raise ValueError(f"{given.probs.shape} probabilities for {human.shape} human ones")
    reasons: dict[str, str] = {}
    cross_entropy: float | None = _mean_information(human, given.log_probs)
    if cross_entropy == math.inf:
        cross_entropy = None
        reasons |= dict.fromkeys(_SOFT_NAMES[:2], "a class that a person named got probability 0")
    middle = _logarithm((human + given.probs) / 2)
    js_divergence = _mean_information(human, middle) - entropy
    js_divergence += _mean_information(given.probs, middle) - _mean_information(given.probs, given.log_probs)
    correlation = spearman_correlation(given.probs.max(axis=1), human.max(axis=1))
    if correlation is None:
        reasons["confidence_agreement_correlation"] = "the model or people are equally sure of every image"
    return _Soft(
        cross_entropy,
        None if cross_entropy is None else cross_entropy - entropy,
        js_divergence / 2,
        correlation,
        reasons,
    )


def _mean_information(weights: Array, log_probs: Array) -> float:
    """Mean over the images of -sum_c weight * log probability, where 0 times anything is 0."""
    products = np.zeros_like(weights)
    np.multiply(weights, log_probs, out=products, where=weights > 0)
    return float(-products.sum(axis=1).mean())


def _logarithm(probs: Array) -> Array:
    with np.errstate(divide="ignore"):  # the logarithm of 0 is meant to be -inf
        return np.log(probs)


def _ranks(values: Array) -> Array:
    _, positions, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Array = (last - (counts - 1) / 2)[positions]
    return ranks
