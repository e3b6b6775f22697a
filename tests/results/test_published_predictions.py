"""The figures of published models, against computations of another kind: loops, fractions, bisection."""

from __future__ import annotations

import bisect
import math
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from results.figures import Figures, figures_of
from results.predictions import read_prediction_set

MODELS_WITH_LOGITS = ["vgg_15_BN_64", "resnet_basic_110"]


@pytest.fixture(params=MODELS_WITH_LOGITS)
def path(request: pytest.FixtureRequest, shared_data: Path) -> Path:
    return shared_data / "predictions" / f"{request.param}.npz"


@cache
def _figures(path: Path) -> Figures:
    return figures_of(read_prediction_set(path))


@cache
def _rows(path: Path) -> tuple[list[list[float]], list[int]]:
    """Probabilities of every image, by a softmax of its own, and labels."""
    with np.load(path) as arrays:
        logits, labels = arrays["logits"].tolist(), arrays["labels"].tolist()
    rows = []
    for row in logits:
        weights = [math.exp(value - max(row)) for value in row]
        rows.append([weight / math.fsum(weights) for weight in weights])
    return rows, labels


def _sure_and_right(path: Path) -> list[tuple[float, bool]]:
    rows, labels = _rows(path)
    return [(max(row), row.index(max(row)) == label) for row, label in zip(rows, labels, strict=True)]


@pytest.mark.parametrize(
    ("name", "num_correct"),
    [
        ("alexnet_tf_ben.json", 8198),
        ("cudaconvnet.json", 8854),
        ("densenet_BC_100_12.json", 9554),
        ("random_features_32k_no_aug.json", 8331),
        ("resnet_basic_32.json", 9252),
        ("wrn_28_10.json", 9593),
        ("vgg_15_BN_64.npz", 9318),
        ("resnet_basic_110.npz", 9406),
    ],
)
def test_accuracy_is_exact_to_the_image(shared_data: Path, name: str, num_correct: int) -> None:
    folder = shared_data / "predictions"

    figures = figures_of(read_prediction_set(folder / name, folder / "cifar10_test_labels.npy"))

    assert (figures.accuracy.count, figures.accuracy.n) == (num_correct, 10_000)
    assert int(np.trace(figures.confusion)) == num_correct


def test_log_likelihood_and_brier_are_those_of_a_loop(path: Path) -> None:
    rows, labels = _rows(path)
    nll = math.fsum(-math.log(row[label]) for row, label in zip(rows, labels, strict=True)) / len(rows)
    brier = math.fsum(
        (p - (index == label)) ** 2
        for row, label in zip(rows, labels, strict=True)
        for index, p in enumerate(row)
    ) / len(rows)

    found = _figures(path).calibration

    assert found is not None
    assert found.nll == pytest.approx(nll, abs=1e-6)
    assert found.brier == pytest.approx(brier, abs=1e-6)


def test_calibration_errors_are_those_of_exact_fractions(path: Path) -> None:
    images = _sure_and_right(path)
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(15)]
    for confidence, right in images:
        # ceil(15 c) - 1, exactly: the bin is open below and closed above.
        bins[max(0, math.ceil(15 * Fraction(confidence)) - 1)].append((confidence, right))

    found = _figures(path).calibration

    assert found is not None
    assert [entry.num_images for entry in found.reliability] == [len(members) for members in bins]
    assert found.ece_percent / 100 == pytest.approx(_gap_sum(bins) / len(images), abs=1e-6)
    largest = max(_gap_sum([members]) / len(members) for members in bins if members)
    assert found.mce_percent / 100 == pytest.approx(largest, abs=1e-6)


def test_the_error_of_equal_mass_is_that_of_bisected_quantiles(path: Path) -> None:
    images = _sure_and_right(path)
    confidences = sorted(confidence for confidence, _ in images)
    highs = [confidences[math.ceil(Fraction(len(images) * k, 15)) - 1] for k in range(1, 16)]
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(15)]
    for image in images:
        bins[bisect.bisect_left(highs, image[0])].append(image)

    found = _figures(path).calibration

    assert found is not None
    # Which of two almost equal confidences is larger may differ by rounding, a ten-thousandth of the error.
    assert found.ece_equal_mass_percent / 100 == pytest.approx(_gap_sum(bins) / len(images), abs=1e-6)


def test_the_area_under_risk_and_coverage_is_that_of_a_loop(path: Path) -> None:
    images = sorted(_sure_and_right(path), reverse=True)
    ascending = [-confidence for confidence, _ in images]
    wrong_so_far = [0]
    for _, right in images:
        wrong_so_far.append(wrong_so_far[-1] + (not right))
    answered = [bisect.bisect_right(ascending, -confidence) for confidence, _ in images]
    area = math.fsum(wrong_so_far[count] / count for count in answered) / len(images)

    assert _figures(path).aurc == pytest.approx(area, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "num_answered", "num_right"), [("vgg_15_BN_64", 7641, 7565), ("resnet_basic_110", 8073, 7993)]
)
def test_the_best_coverage_at_99_percent(
    shared_data: Path, name: str, num_answered: int, num_right: int
) -> None:
    path = shared_data / "predictions" / f"{name}.npz"
    point = _figures(path).coverage_at_99_oracle
    assert point is not None
    assert point.accuracy is not None
    assert (point.coverage.count, point.accuracy.count) == (num_answered, num_right)

    images = sorted(_sure_and_right(path), reverse=True)
    largest, num_wrong = 0, 0
    for index, (_, right) in enumerate(images):
        num_wrong += not right
        next_differs = index + 1 == len(images) or images[index + 1][0] != images[index][0]
        if next_differs and 100 * num_wrong <= index + 1:
            largest = index + 1
    assert largest == num_answered


def test_without_validation_images_nothing_is_picked_on_the_test_images(path: Path) -> None:
    figures = _figures(path)

    assert (figures.temperature, figures.calibration_after, figures.coverage_at_99) == (None, None, None)
    assert "validation" in figures.reasons["temperature"]
    assert "validation" in figures.reasons["coverage_at_99"]


def _gap_sum(bins: list[list[tuple[float, bool]]]) -> float:
    """Sum over the bins of |images right - sum of their confidences|, rounded only once."""
    total = Fraction(0)
    for members in bins:
        confidences = sum((Fraction(confidence) for confidence, _ in members), Fraction(0))
        total += abs(confidences - sum(right for _, right in members))
    return float(total)
