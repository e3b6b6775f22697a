from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.metrics import Array
from results.selective import (
    area_under,
    oracle_point,
    point_at,
    points_near,
    risk_coverage,
    threshold_for,
)

Images = list[tuple[int, bool]]
"""Confidence in eighths, and whether the prediction is right."""

images_of_any_kind = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=30)


def _arrays(images: Images) -> tuple[Array, Array]:
    return np.array([eighths / 8 for eighths, _ in images]), np.array([right for _, right in images])


def _answered(images: Images, eighths: int) -> Images:
    return [each for each in images if each[0] >= eighths]


@settings(deadline=None)
@given(images=images_of_any_kind)
def test_the_curve_is_that_of_trying_every_threshold(images: Images) -> None:
    curve = risk_coverage(*_arrays(images))

    expected = []
    for eighths in sorted({eighths for eighths, _ in images}, reverse=True):
        answered = _answered(images, eighths)
        expected.append((eighths / 8, len(answered), sum(not right for _, right in answered)))
    assert list(zip(curve.thresholds, curve.num_answered, curve.num_wrong, strict=True)) == expected
    assert curve.coverage.tolist() == [count / len(images) for _, count, _ in expected]
    assert curve.risk.tolist() == [wrong / count for _, count, wrong in expected]


@settings(deadline=None)
@given(images=images_of_any_kind)
def test_the_area_is_the_mean_risk_at_the_confidence_of_every_image(images: Images) -> None:
    risks = []
    for eighths, _ in images:
        answered = _answered(images, eighths)
        risks.append(Fraction(sum(not right for _, right in answered), len(answered)))

    assert area_under(risk_coverage(*_arrays(images))) == pytest.approx(float(sum(risks) / len(risks)))


@settings(deadline=None)
@given(images=images_of_any_kind, data=st.data())
def test_the_order_of_the_images_does_not_matter(images: Images, data: st.DataObject) -> None:
    expected = risk_coverage(*_arrays(images))

    curve = risk_coverage(*_arrays(data.draw(st.permutations(images))))

    assert curve.thresholds.tolist() == expected.thresholds.tolist()
    assert curve.num_wrong.tolist() == expected.num_wrong.tolist()
    assert area_under(curve) == area_under(expected)


def test_the_area_of_perfect_of_useless_and_of_misleading_confidence() -> None:
    correct = np.array([True, True, True, False])

    assert area_under(risk_coverage(np.array([4, 3, 2, 1]), correct)) == pytest.approx(1 / 16)
    assert area_under(risk_coverage(np.ones(4), correct)) == pytest.approx(1 / 4)
    assert area_under(risk_coverage(np.array([1, 2, 3, 4]), correct)) == pytest.approx(
        (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4
    )


@settings(deadline=None)
@given(images=images_of_any_kind, percent=st.integers(0, 100))
def test_the_oracle_has_the_largest_coverage_that_reaches_the_target(images: Images, percent: int) -> None:
    point = oracle_point(risk_coverage(*_arrays(images)), percent / 100)

    reaching = []
    for eighths, _ in images:
        answered = _answered(images, eighths)
        if Fraction(sum(right for _, right in answered), len(answered)) >= Fraction(percent, 100):
            reaching.append((len(answered), eighths / 8))
    if not reaching:
        assert point is None
        return
    assert point is not None
    assert (point.coverage.count, point.threshold) == max(reaching)
    assert point == point_at(point.threshold, *_arrays(images))


def test_exactly_99_of_100_is_99_percent() -> None:
    confidences, correct = np.linspace(1, 0.5, 200), np.arange(200) < 99
    correct[99:101] = [False, False]

    point = oracle_point(risk_coverage(confidences, correct))

    assert point is not None
    assert point.accuracy is not None
    assert (point.accuracy.count, point.accuracy.n) == (99, 100)


def test_a_larger_coverage_counts_though_a_smaller_one_fell_short() -> None:
    correct = np.array([False] + [True] * 150)

    point = oracle_point(risk_coverage(np.linspace(1, 0.5, 151), correct))

    assert point is not None
    assert point.coverage.percent == 100


def test_a_threshold_that_validation_images_picked_is_tried_on_test_images() -> None:
    val_confidences, val_correct = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, True])
    test_confidences, test_correct = np.array([0.95, 0.8, 0.79, 0.3]), np.array([True, False, True, True])

    threshold = threshold_for(risk_coverage(val_confidences, val_correct))
    assert threshold == 0.8
    point = point_at(threshold, test_confidences, test_correct)

    assert (point.coverage.count, point.coverage.n) == (2, 4)
    assert point.accuracy is not None
    assert (point.accuracy.count, point.accuracy.n) == (1, 2)
    assert point.accuracy.low_percent < 50 < point.accuracy.high_percent


def test_no_threshold_where_the_surest_images_are_wrong() -> None:
    curve = risk_coverage(np.array([0.9, 0.8]), np.array([False, True]))

    assert threshold_for(curve) is None
    assert oracle_point(curve) is None


def test_a_threshold_that_no_image_reaches_covers_nothing_and_has_no_accuracy() -> None:
    point = point_at(0.9, np.array([0.5, 0.6]), np.array([True, True]))

    assert point.coverage.count == 0
    assert point.accuracy is None


def test_points_near_coverages_answer_at_least_as_much_and_stand_once() -> None:
    confidences = np.array([0.9, 0.8, 0.8, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])

    points = points_near(risk_coverage(confidences, np.ones(10, bool)), (0.1, 0.2, 0.3, 0.5, 1.0))

    assert [point.coverage.count for point in points] == [1, 4, 5, 10]


@pytest.mark.parametrize(("confidences", "num_correct"), [([], 0), ([0.5], 2), ([np.nan], 1), ([np.inf], 1)])
def test_no_curve_of_what_are_no_confidences(confidences: list[float], num_correct: int) -> None:
    with pytest.raises(ValueError, match="confidences"):
        risk_coverage(np.array(confidences), np.ones(num_correct, bool))
