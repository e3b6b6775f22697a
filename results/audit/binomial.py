"""Exact binomial tests: is a count what a given share of right answers would leave?

two_sided_p(7050, 10_000, 0.7)      # is 70% consistent with 7,050 of 10,000?
at_most_p(231, 300, 0.85)           # how often would 85% get no more than 231 of 300 right?
"""

from __future__ import annotations

import numpy as np

from results.metrics import Array

_ROUNDING = 1e-7
"""Outcomes whose probabilities differ by less, relatively, count as equally likely."""


def two_sided_p(count: int, n: int, share: float) -> float:
    """Two-sided p-value of the exact test that the true share is `share`.

    The method of small p-values: the probability of every outcome that is no likelier than the observed
    one (Clopper & Pearson 1934 gives the distribution; `binom.test` of R and scipy's `binomtest` do the
    same).

    Raises:
        ValueError: `count` is not from 0 to `n`, `n` is 0, or `share` is not from 0 to 1.
    """
    probabilities = _probabilities(count, n, share)
    as_rare = probabilities <= probabilities[count] * (1 + _ROUNDING)
    return min(1.0, float(probabilities[as_rare].sum()))


def at_most_p(count: int, n: int, share: float) -> float:
    """One-sided p-value: the probability of `count` or less.

    Raises:
        ValueError: as `two_sided_p`.
    """
    return min(1.0, float(_probabilities(count, n, share)[: count + 1].sum()))


def _probabilities(count: int, n: int, share: float) -> Array:
    """Of 0, 1, ..., n right answers, float64 [n + 1]."""
    if not (n > 0 and 0 <= count <= n and 0 <= share <= 1):
        raise ValueError(f"no binomial test of {count} of {n} against {share}")
    if share in (0, 1):
        certain: Array = (np.arange(n + 1) == n * share).astype(np.float64)
        return certain
    steps = np.arange(n, dtype=np.float64)
    # The ratio of each probability to the one before it; factorials would lose digits.
    logs = np.concatenate(([0.0], np.cumsum(np.log((n - steps) / (steps + 1)) + np.log(share / (1 - share)))))
    weights: Array = np.exp(logs - logs.max())
    weights /= weights.sum()
    return weights
