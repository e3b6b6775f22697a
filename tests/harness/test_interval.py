from __future__ import annotations

import pytest
from scipy.stats import binomtest

from harness.interval import wilson_interval


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
@pytest.mark.parametrize(
    ("num_correct", "n"), [(0, 1), (1, 1), (0, 10), (10, 10), (7, 10), (350, 360), (9190, 10_000)]
)
def test_wilson_interval_is_that_of_scipy(num_correct: int, n: int, confidence: float) -> None:
    expected = binomtest(num_correct, n).proportion_ci(confidence, method="wilson")

    interval = wilson_interval(num_correct, n, confidence)

    assert interval == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= interval[0] < interval[1] <= 1


@pytest.mark.parametrize(("percent", "low", "high"), [(70, 69.09, 70.89), (99, 98.79, 99.18)])
def test_wilson_interval_at_ten_thousand_images(percent: int, low: float, high: float) -> None:
    interval = wilson_interval(percent * 100, 10_000)

    assert [round(100 * end, 2) for end in interval] == [low, high]


@pytest.mark.parametrize(
    ("num_correct", "n", "confidence"), [(0, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 0.0), (1, 5, 1.0)]
)
def test_no_interval_for_impossible_counts(num_correct: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="no interval"):
        wilson_interval(num_correct, n, confidence)
