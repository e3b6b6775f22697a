from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from results.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    Calibration,
    ReliabilityBin,
    brier_score,
    calibration,
    expected_calibration_error,
    fit_temperature,
    from_logits,
    from_probabilities,
    maximum_calibration_error,
    negative_log_likelihood,
    reliability_table,
)
from results.metrics import Array


def _noisy_logits(
    seed: int, num_images: int = 400, num_classes: int = 5, scale: float = 3
) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    labels = random.integers(num_classes, size=num_images)
    logits = scale * (np.eye(num_classes)[labels] + random.normal(size=(num_images, num_classes)))
    return logits.astype(np.float32), labels


def _all_figures(logits: Array, labels: Array) -> Calibration:
    return calibration(from_logits(logits), logits.argmax(axis=1) == labels, labels)


def test_softmax_is_that_of_scipy() -> None:
    logits, _ = _noisy_logits(0)

    given_probs = from_logits(logits)

    assert given_probs.probs == pytest.approx(softmax(logits.astype(float), axis=1), rel=1e-13)
    assert given_probs.log_probs == pytest.approx(log_softmax(logits.astype(float), axis=1), rel=1e-13)
    assert given_probs.probs.dtype == given_probs.log_probs.dtype == np.float64


def test_softmax_neither_overflows_nor_loses_small_probabilities() -> None:
    far_apart = from_logits(np.array([[3e38, 0.0], [1000.0, 0.0], [-1000.0, 0.0]], np.float32))

    assert far_apart.log_probs[1].tolist() == [0.0, -1000.0]
    assert far_apart.log_probs[2].tolist() == [-1000.0, 0.0]
    assert np.isfinite(far_apart.log_probs).all()


@pytest.mark.parametrize("num_classes", range(2, 40))
def test_equal_logits_are_exactly_equal_probabilities(num_classes: int) -> None:
    assert from_logits(np.full((1, num_classes), 0.7)).probs.tolist() == [[1 / num_classes] * num_classes]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "figure", [lambda logits, _: from_logits(logits), fit_temperature], ids=["softmax", "temperature"]
)
def test_logits_that_are_not_finite_give_no_figure(
    bad: float, figure: Callable[[Array, Array], object]
) -> None:
    with pytest.raises(ValueError, match="not finite"):
        figure(np.array([[0.0, 1.0], [bad, 0.0]]), np.array([1, 1]))


@pytest.mark.parametrize("row", [[-0.1, 1.1], [np.nan, 1.0], [np.inf, 1.0], [0.0, 0.0]])
def test_what_is_no_distribution_is_refused(row: list[float]) -> None:
    with pytest.raises(ValueError, match="probabilities are negative, not finite, or all 0"):
        from_probabilities(np.array([row]))


def test_log_likelihood_is_the_log_loss_of_scikit_learn() -> None:
    logits, labels = _noisy_logits(1)
    distributions = from_logits(logits)

    assert negative_log_likelihood(distributions, labels) == pytest.approx(
        log_loss(labels, distributions.probs)
    )


def test_the_true_class_with_probability_0_is_infinitely_unlikely() -> None:
    probs = np.array([[1.0, 0.0], [0.5, 0.5]])
    labels = np.array([1, 0])
    given_probs = from_probabilities(probs)

    assert negative_log_likelihood(given_probs, labels) == math.inf
    assert calibration(given_probs, probs.argmax(axis=1) == labels, labels).nll is None


def test_brier_is_the_sum_over_all_classes() -> None:
    logits, labels = _noisy_logits(2)
    distributions = from_logits(logits)

    squares = [
        sum((p - (index == label)) ** 2 for index, p in enumerate(row))
        for row, label in zip(distributions.probs.tolist(), labels.tolist(), strict=True)
    ]

    assert brier_score(distributions, labels) == pytest.approx(sum(squares) / len(squares))
    assert brier_score(from_probabilities(np.array([[1.0, 0.0]])), np.array([1])) == 2
    assert brier_score(from_probabilities(np.array([[1.0, 0.0]])), np.array([0])) == 0


@pytest.mark.parametrize("num_bins", [1, 7, 15])
def test_bins_of_equal_width_are_those_of_scikit_learn(num_bins: int) -> None:
    random = np.random.default_rng(3)
    confidences = random.random(2000)
    correct = random.random(2000) < confidences

    table = [each for each in reliability_table(confidences, correct, num_bins) if each.num_images]
    accuracy, confidence = calibration_curve(correct, confidences, n_bins=num_bins)

    assert [each.accuracy for each in table] == pytest.approx(accuracy)
    assert [each.mean_confidence for each in table] == pytest.approx(confidence)


@pytest.mark.parametrize("num_bins", [1, 4, 15])
def test_bins_of_equal_mass_hold_equally_many_different_confidences(num_bins: int) -> None:
    confidences = np.random.default_rng(4).permutation(np.linspace(0.3, 1, 10 * num_bins))
    correct = np.ones(10 * num_bins, bool)

    table = reliability_table(confidences, correct, num_bins, equal_mass=True)

    assert [each.num_images for each in table] == [10] * num_bins
    assert table[-1].high == 1


@pytest.mark.parametrize("num_bins", [3, 10, 15, 49, 100])
def test_a_confidence_at_an_edge_falls_into_the_bin_below_it(num_bins: int) -> None:
    edges = np.array([index / num_bins for index in range(1, num_bins + 1)])

    table = reliability_table(edges, np.ones(num_bins, bool), num_bins)

    assert [each.num_images for each in table] == [1] * num_bins
    assert [each.mean_confidence for each in table] == edges.tolist()


def test_the_lowest_confidence_falls_into_the_first_bin_and_the_highest_into_the_last() -> None:
    table = reliability_table(np.array([0.0, 1.0]), np.array([False, True]))

    assert (table[0].num_images, table[-1].num_images) == (1, 1)
    assert expected_calibration_error(table) == 0


def test_images_of_equal_confidence_share_a_bin_of_equal_mass() -> None:
    confidences = np.array([0.5] * 7 + [0.9])

    table = reliability_table(confidences, np.ones(8, bool), 4, equal_mass=True)

    assert [each.num_images for each in table] == [7, 0, 0, 1]
    assert (table[1].accuracy, table[1].mean_confidence) == (None, None)


def test_calibration_errors_are_the_mean_and_the_largest_gap() -> None:
    table = (
        ReliabilityBin(0, 0.5, 1, mean_confidence=0.4, accuracy=1.0),
        ReliabilityBin(0.5, 0.75, 0, mean_confidence=None, accuracy=None),
        ReliabilityBin(0.75, 1, 3, mean_confidence=0.8, accuracy=2 / 3),
    )

    assert expected_calibration_error(table) == pytest.approx((0.6 + 3 * (0.8 - 2 / 3)) / 4)
    assert maximum_calibration_error(table) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("confidences", "num_correct", "num_bins"), [([], 0, 5), ([0.5], 2, 5), ([0.5], 1, 0), ([1.1], 1, 5)]
)
def test_no_table_of_what_are_no_confidences(
    confidences: list[float], num_correct: int, num_bins: int
) -> None:
    with pytest.raises(ValueError, match="confidences"):
        reliability_table(np.array(confidences), np.ones(num_correct, bool), num_bins)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), shift=st.integers(-500, 500))
def test_neither_a_shift_of_the_logits_nor_the_order_of_the_images_matters(seed: int, shift: int) -> None:
    random = np.random.default_rng(seed)
    # Multiples of 1/64, so that the shift itself is exact; few of them, so that confidences are tied.
    logits, labels = random.integers(-128, 128, size=(60, 3)) / 64, random.integers(3, size=60)
    order = random.permutation(60)
    expected, fit = _all_figures(logits, labels), fit_temperature(logits, labels)

    shifted = _all_figures(logits + shift, labels)
    permuted = _all_figures(logits[order], labels[order])

    assert shifted == expected
    for name in ("nll", "brier", "ece_percent", "ece_equal_mass_percent", "mce_percent"):
        assert getattr(permuted, name) == pytest.approx(getattr(expected, name), abs=1e-9)
    assert fit is not None
    for other in (fit_temperature(logits + shift, labels), fit_temperature(logits[order], labels[order])):
        assert other is not None
        assert other.temperature == pytest.approx(fit.temperature, rel=1e-7)


@pytest.mark.parametrize("scale", [0.1, 0.5, 2, 8, 30])
@pytest.mark.parametrize("seed", range(4))
def test_temperature_is_where_scipy_finds_the_least_log_likelihood(seed: int, scale: float) -> None:
    logits, labels = _noisy_logits(seed, scale=scale)

    fit = fit_temperature(logits, labels)

    def loss(log_inverse: float) -> float:
        log_probs = log_softmax(math.exp(log_inverse) * logits.astype(float), axis=1)
        return float(-log_probs[np.arange(len(labels)), labels].mean())

    expected = minimize_scalar(loss, bounds=(math.log(0.01), math.log(100)), options={"xatol": 1e-9})
    assert fit is not None
    assert not fit.at_bound
    assert fit.temperature == pytest.approx(math.exp(-expected.x), rel=1e-4)
    assert loss(-math.log(fit.temperature)) <= expected.fun + 1e-13


@settings(max_examples=60, deadline=None)
@given(
    logits=st.lists(st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), min_size=2, max_size=8),
    data=st.data(),
)
def test_no_other_temperature_within_the_bounds_is_better(
    logits: list[list[float]], data: st.DataObject
) -> None:
    labels = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(logits), max_size=len(logits))))
    scores = np.array(logits)
    fit = fit_temperature(scores, labels)
    if fit is None:
        assert (scores == scores[:, :1]).all()
        return

    def loss(temperature: float) -> float:
        return negative_log_likelihood(from_logits(scores / temperature), labels)

    best = loss(fit.temperature)
    assert MIN_TEMPERATURE <= fit.temperature <= MAX_TEMPERATURE
    for temperature in np.geomspace(MIN_TEMPERATURE, MAX_TEMPERATURE, 60):
        assert best <= loss(float(temperature)) * (1 + 1e-9) + 1e-12


def test_a_known_temperature_is_found_again() -> None:
    random = np.random.default_rng(5)
    logits = random.normal(size=(40_000, 4)) * 2
    labels = (random.random((40_000, 1)) > np.cumsum(softmax(logits, axis=1), axis=1)).sum(axis=1)

    fit = fit_temperature(3 * logits, labels)

    assert fit is not None
    assert fit.temperature == pytest.approx(3, rel=0.02)


def test_separable_images_stop_at_the_lower_bound() -> None:
    fit = fit_temperature(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([0, 1]))

    assert fit is not None
    assert (fit.temperature, fit.at_bound) == (MIN_TEMPERATURE, True)


def test_a_best_temperature_just_below_the_bounds_is_reported_as_the_bound() -> None:
    logits = np.array([[1e-5, 0.0]] * 1000)
    labels = np.array([1] + [0] * 999)

    fit = fit_temperature(logits, labels)

    assert fit is not None
    assert (fit.temperature, fit.at_bound) == (MIN_TEMPERATURE, True)


def test_a_best_temperature_just_above_the_bounds_is_reported_as_the_bound() -> None:
    logits = np.array([[1000.0, 0.0]] * 100)
    labels = np.array([0] * 51 + [1] * 49)

    fit = fit_temperature(logits, labels)

    assert fit is not None
    assert (fit.temperature, fit.at_bound) == (MAX_TEMPERATURE, True)


def test_logits_worse_than_none_stop_at_the_upper_bound() -> None:
    fit = fit_temperature(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([1, 0]))

    assert fit is not None
    assert (fit.temperature, fit.at_bound) == (MAX_TEMPERATURE, True)


def test_equal_logits_have_no_best_temperature() -> None:
    assert fit_temperature(np.full((4, 3), 7.0), np.array([0, 1, 2, 0])) is None
