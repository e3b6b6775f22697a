"""The 95% interval of an estimate whose resamples are biased and whose data are few.

bootstrap_interval(law.b, [each.b for each in resampled], freedom=10)

The bare percentiles of the bootstrap are too narrow for a law that is fitted to a front: a front has few
cells, and those of resamples lie above it. Each end is therefore the outer one of two: that percentile, and
the end of a t interval about the estimate less its bootstrap bias (Efron and Tibshirani 1993, "An
Introduction to the Bootstrap", sections 10.2 and 12.4), whose standard error is read off the percentiles, for
some resamples are infinite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

CENTRAL_PERCENT = 95

_ONE_SIGMA_PERCENT = (15.87, 50, 84.13)
"""Percentiles of a normal distribution one standard deviation below its mean, there, and above."""


def bootstrap_interval(
    estimate: float, resampled: Sequence[float], freedom: int
) -> tuple[float | None, float | None]:
    """The ends of the interval; one that is not finite is None.

    Args:
        estimate: from the data themselves.
        resampled: the same from each resample; may be infinite.
        freedom: data less parameters.
    """
    from scipy.special import stdtrit

    tail = (100 - CENTRAL_PERCENT) / 2
    # Order statistics, for between a number and infinity nothing can be interpolated.
    points = [tail, *_ONE_SIGMA_PERCENT, 100 - tail]
    low, below, median, above, high = np.percentile(resampled, points, method="closest_observation").tolist()
    if math.isfinite(estimate) and math.isfinite(median):
        reach, unbiased = float(stdtrit(freedom, 1 - tail / 100)), 2 * estimate - median
        low = min(low, unbiased - reach * (median - below))
        high = max(high, unbiased + reach * (above - median))
    return (low if math.isfinite(low) else None), (high if math.isfinite(high) else None)
