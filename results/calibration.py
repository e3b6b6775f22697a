"""Whether confidences can be believed: proper scores, calibration errors, and one temperature to mend them.

    given = from_logits(test_logits)
    before = calibration(given, predicted == test_labels, test_labels)
    fit = fit_temperature(val_logits, val_labels)
    after = calibration(from_logits(test_logits / fit.temperature), predicted == test_labels, test_labels)

Everything is computed in float64. Confidence is the largest probability of an image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from results.metrics import Array, check_scores

NUM_BINS = 15
"""Of every calibration error, as in Guo et al. 2017, section 5."""

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
"""The fit stays within these: where every validation image is right the best temperature is 0."""

_MAX_STEPS = 100
_RELATIVE_STEP = 1e-7
"""Of the last step; that of Newton leaves an error of about its square."""


@dataclass(frozen=True)
class Distributions:
    """One probability distribution over the classes for each image, float64."""

    probs: Array
    """[N, C]."""

    log_probs: Array
    """[N, C], natural logarithms; more exact than those of `probs`; -inf where a probability is 0."""


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose confidence is above `low` and at most `high`."""

    low: float
    high: float
    num_images: int
    mean_confidence: float | None
    accuracy: float | None
    """Share from 0 to 1; both are None where the bin is empty."""


@dataclass(frozen=True)
class Calibration:
    """How good the probabilities of a set of images are."""

    nll: float | None
    """Mean negative log-likelihood in nats; None where the true class of an image got probability 0."""

    brier: float
    """From 0 to 2; see `brier_score`."""

    ece_percent: float
    """Expected calibration error over bins of equal width."""

    ece_equal_mass_percent: float
    mce_percent: float
    """Maximum calibration error over bins of equal width; one image alone in a bin may set it."""

    reliability: tuple[ReliabilityBin, ...]
    """Bins of equal width."""


@dataclass(frozen=True)
class TemperatureFit:
    """The temperature that logits are divided by; above 1 where a model is too sure of itself."""

    temperature: float
    at_bound: bool
    """Whether the best temperature lies beyond the bounds of the fit."""


def from_logits(logits: Array) -> Distributions:
    """The softmax of `logits`, and its logarithm, without overflow.

    Args:
        logits: [N, C].

    Raises:
        ValueError: a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise ValueError("logits are not finite (NaN or infinite)")
    shifted = _shifted(logits)
    probs = np.exp(shifted)
    sums = probs.sum(axis=0)
    # A quotient, not the exponential of the logarithm: n equal logits must come out as exactly 1/n.
    probs /= sums
    return Distributions(probs.T, (shifted - np.log(sums)).T)


def from_probabilities(probs: Array) -> Distributions:
    """Given probabilities, divided by their sum over the classes to undo rounding.

    Args:
        probs: [N, C], not negative.

    Raises:
        ValueError: a value is negative or not finite, or those of an image are all 0.
    """
    exact = probs.astype(np.float64)
    if not (np.isfinite(exact).all() and (exact >= 0).all() and (exact.sum(axis=1) > 0).all()):
        raise ValueError("probabilities are negative, not finite, or all 0")
    exact /= exact.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):  # the logarithm of 0 is meant to be -inf
        return Distributions(exact, np.log(exact))


def calibration(given: Distributions, correct: Array, labels: Array) -> Calibration:
    """Every calibration figure of a set of images.

    Args:
        given: what the model said about N images.
        correct: bool [N], whether the predicted class is that of the label.
        labels: [N], class indices.

    Raises:
        ValueError: shapes that do not fit, no image, or labels that are no classes.
    """
    nll = negative_log_likelihood(given, labels)
    confidences = given.probs.max(axis=1)
    reliability = reliability_table(confidences, correct)
    return Calibration(
        nll=nll if math.isfinite(nll) else None,
        brier=brier_score(given, labels),
        ece_percent=100 * expected_calibration_error(reliability),
        ece_equal_mass_percent=100
        * expected_calibration_error(reliability_table(confidences, correct, equal_mass=True)),
        mce_percent=100 * maximum_calibration_error(reliability),
        reliability=reliability,
    )


def negative_log_likelihood(given: Distributions, labels: Array) -> float:
    """Mean over the images of -ln(probability of the true class), in nats.

    Infinite where the true class of an image got probability 0. Good 1952, "Rational decisions".

    Args:
        given: what the model said about N images.
        labels: [N], class indices.

    Raises:
        ValueError: shapes that do not fit, no image, or labels that are no classes.
    """
    check_scores(given.probs, labels)
    return float(-given.log_probs[np.arange(len(labels)), labels].mean())


def brier_score(given: Distributions, labels: Array) -> float:
    """Mean over the images of the squared distance to the true class, summed over all classes.

    From 0 (sure and right) to 2 (sure and wrong). Brier 1950, "Verification of forecasts expressed in
    terms of probability", equation 2. Others halve it, or divide it by the number of classes.

    Args:
        given: what the model said about N images.
        labels: [N], class indices.

    Raises:
        ValueError: shapes that do not fit, no image, or labels that are no classes.
    """
    check_scores(given.probs, labels)
    # sum_c (p_c - y_c)^2 = sum_c p_c^2 - 2 p_y + 1, without an array of ones and zeros.
    squares = (given.probs * given.probs).sum(axis=1)
    return float((squares - 2 * given.probs[np.arange(len(labels)), labels] + 1).mean())


def reliability_table(
    confidences: Array, correct: Array, num_bins: int = NUM_BINS, equal_mass: bool = False
) -> tuple[ReliabilityBin, ...]:
    """Confidence against accuracy, by bins of confidence that are open below and closed above.

    Bins of equal width are those of Guo et al. 2017, section 2. Bins of equal mass end at the
    quantiles of the confidences, so that each holds about the same number of images (Nguyen and
    O'Connor 2015, "Posterior calibration and exploratory analysis for natural language processing
    models"); images of equal confidence stay together, so that their order does not matter and
    a bin may be empty.

    Args:
        confidences: [N], shares from 0 to 1; 0 itself falls into the first bin.
        correct: bool [N].
        num_bins: at least 1.
        equal_mass: quantiles in place of equal widths.

    Raises:
        ValueError: no image, lengths that differ, confidences outside of 0 to 1, or no bin.
    """
    if confidences.ndim != 1 or confidences.shape != correct.shape or not confidences.size or num_bins < 1:
        raise ValueError(f"no {num_bins} bins of {confidences.shape} confidences, {correct.shape} results")
    if not ((confidences >= 0) & (confidences <= 1)).all():
        raise ValueError("confidences outside of 0 to 1")
    if equal_mass:
        counts_below = -(-np.arange(1, num_bins + 1) * len(confidences) // num_bins)
        highs = np.sort(confidences)[counts_below - 1]
    else:
        # Divided one by one: multiples of 1/num_bins are not always the nearest number to k/num_bins.
        highs = np.arange(1, num_bins + 1) / num_bins
    bins = np.searchsorted(highs, confidences, side="left")
    counts = np.bincount(bins, minlength=num_bins)
    confidence_sums = np.bincount(bins, weights=confidences, minlength=num_bins)
    correct_counts = np.bincount(bins, weights=correct, minlength=num_bins)
    lows = np.concatenate([[0.0], highs[:-1]])
    return tuple(
        ReliabilityBin(
            low=float(lows[index]),
            high=float(highs[index]),
            num_images=int(count),
            mean_confidence=float(confidence_sums[index] / count) if count else None,
            accuracy=float(correct_counts[index] / count) if count else None,
        )
        for index, count in enumerate(counts)
    )


def expected_calibration_error(table: tuple[ReliabilityBin, ...]) -> float:
    """Mean over the images of the gap between accuracy and confidence of their bin, from 0 to 1.

    Guo et al. 2017, "On calibration of modern neural networks", equation 3.
    """
    num_images = sum(entry.num_images for entry in table)
    return math.fsum(entry.num_images * _gap(entry) for entry in table) / num_images


def maximum_calibration_error(table: tuple[ReliabilityBin, ...]) -> float:
    """The largest gap between accuracy and confidence of any bin with images; Guo et al. 2017, equation 5."""
    return max(_gap(entry) for entry in table)


def fit_temperature(logits: Array, labels: Array) -> TemperatureFit | None:
    """The temperature that minimizes the negative log-likelihood of softmax(logits / temperature).

    Guo et al. 2017, section 4.2. The likelihood is convex in 1 / temperature, so its derivative is
    searched for its only zero: by Newton's steps, and by halving where one would leave the bracket.

    Args:
        logits: [N, C], of images that the model was not trained on and that are not tested on.
        labels: [N], class indices.

    Returns:
        None where the logits of every image are all equal, so that no temperature changes anything.

    Raises:
        ValueError: no image, shapes that do not fit, logits that are not finite, labels that are no classes.
    """
    check_scores(logits, labels)
    shifted = _shifted(logits)
    if not shifted.any():
        return None
    mean_of_label = float(shifted[labels, np.arange(len(labels))].mean())
    if mean_of_label == 0:  # no label is below the largest logit: the colder, the better
        return TemperatureFit(MIN_TEMPERATURE, at_bound=True)
    if float(shifted.mean()) >= mean_of_label:  # worse than knowing nothing: the hotter, the better
        return TemperatureFit(MAX_TEMPERATURE, at_bound=True)
    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    inverse, last_step = 1.0, math.inf
    for _ in range(_MAX_STEPS):
        slope, curvature = _derivatives(shifted, mean_of_label, inverse)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        step = -slope / curvature if curvature > 0 else math.inf
        # A step that is not much shorter than the last one may go back and forth for ever.
        if not low <= inverse + step <= high or abs(step) > last_step / 2:
            step = math.sqrt(low * high) - inverse
        inverse, last_step = inverse + step, abs(step)
        if last_step <= _RELATIVE_STEP * inverse:
            break
    # Halving never reaches an end of the bracket that is not a zero, but it comes close.
    for bound in (MIN_TEMPERATURE, MAX_TEMPERATURE):
        if math.isclose(1 / inverse, bound, rel_tol=100 * _RELATIVE_STEP):
            return TemperatureFit(bound, at_bound=True)
    return TemperatureFit(1 / inverse, at_bound=False)


def _shifted(logits: Array) -> Array:
    """[C, N], less the largest of each image; sums over few long rows are far faster than over many short."""
    shifted_CN = np.array(logits.T, np.float64, order="C")
    shifted_CN -= shifted_CN.max(axis=0)
    return shifted_CN


def _derivatives(shifted_CN: Array, mean_of_label: float, inverse: float) -> tuple[float, float]:
    """First and second derivative of the negative log-likelihood with respect to 1 / temperature.

    They are the mean of E[logit] - logit of the label, and of Var[logit], under the model's softmax.
    """
    weights = np.exp(inverse * shifted_CN)
    weights /= weights.sum(axis=0)
    weights *= shifted_CN
    means = weights.sum(axis=0)
    weights *= shifted_CN
    variances = weights.sum(axis=0) - means * means
    return float(means.mean()) - mean_of_label, float(variances.mean())


def _gap(entry: ReliabilityBin) -> float:
    if entry.accuracy is None or entry.mean_confidence is None:
        return 0.0
    return abs(entry.accuracy - entry.mean_confidence)
