from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from results.value.bootstrap import bootstrap_interval


def test_an_end_of_the_interval_is_the_outer_one_of_percentile_and_t_interval() -> None:
    resampled = np.linspace(1, 3, 2_001).tolist()
    # Their median lies 2 above the estimate of 0, which is therefore taken to be 2 too high.
    low, high = bootstrap_interval(0.0, resampled, freedom=4)
    one_sigma = 2 - (1 + 2 * stats.norm.cdf(-1))
    assert low == pytest.approx(-2 - stats.t.ppf(0.975, 4) * one_sigma, abs=0.01)
    assert high == pytest.approx(2.95, abs=0.01)


def test_an_interval_without_a_finite_end_has_none() -> None:
    resampled = [*np.linspace(1, 3, 70).tolist(), *[math.inf] * 30]
    low, high = bootstrap_interval(math.inf, resampled, freedom=4)
    assert low == pytest.approx(1, abs=0.1)
    assert high is None
