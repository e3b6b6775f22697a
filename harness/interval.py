"""How sure a share of right answers makes us. No torch here.

low, high = wilson_interval(num_correct, len(labels))
"""

from __future__ import annotations

import math
from statistics import NormalDist

CONFIDENCE = 0.95
"""Level of every interval that is shown without naming another."""


def wilson_interval(num_correct: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The score interval, low and high as shares from 0 to 1, of a share seen as `num_correct` of `n`.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference", without
    continuity correction. Unlike the normal approximation it stays within 0 and 1, and it has a
    width even when every image is right.
    """
    if not (n > 0 and 0 <= num_correct <= n and 0 < confidence < 1):
        raise ValueError(f"no interval for {num_correct} of {n} at confidence {confidence}")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = num_correct / n
    centre = share + z * z / (2 * n)
    half_width = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    scale = 1 + z * z / n
    # Rounding may carry the ends a hair past the values that a share can take.
    return max(0.0, (centre - half_width) / scale), min(1.0, (centre + half_width) / scale)
