from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from results.compare.intervals import bootstrap_interval, newcombe_interval

COUNTS = st.tuples(*[st.integers(0, 60)] * 4).filter(any)


def _own_newcombe(both: int, only_a: int, only_b: int, neither: int) -> tuple[float, float]:
    """Method 10 again: Wilson's ends as roots of a quadratic, phi from the correlation of two columns."""
    n = both + only_a + only_b + neither

    def roots(share: float) -> tuple[float, float]:
        z2 = stats.norm.ppf(0.975) ** 2
        # (share - p)^2 = z^2 p (1 - p) / n, solved for p
        low, high = sorted(np.roots([1 + z2 / n, -2 * share - z2 / n, share**2]).real)
        return float(low), float(high)

    p_a, p_b = (both + only_a) / n, (both + only_b) / n
    (low_a, high_a), (low_b, high_b) = roots(p_a), roots(p_b)
    scale = n * math.sqrt(p_a * (1 - p_a) * p_b * (1 - p_b))
    covariance = both - n * p_a * p_b
    phi = 0.0
    if scale > 1e-9:
        phi = (covariance if covariance <= 1e-9 else max(0.0, covariance - 0.5)) / scale
    left = (p_a - low_a) ** 2 - 2 * phi * (p_a - low_a) * (high_b - p_b) + (high_b - p_b) ** 2
    right = (high_a - p_a) ** 2 - 2 * phi * (high_a - p_a) * (p_b - low_b) + (p_b - low_b) ** 2
    return p_a - p_b - math.sqrt(max(left, 0)), p_a - p_b + math.sqrt(max(right, 0))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # Fagerland, Lydersen and Laake 2017, "Statistical Analysis of Contingency Tables", chapter 8:
        # response before and after consolidation therapy (Cavo et al. 2012).
        ((59, 6, 16, 80), (-0.1186, -0.0046)),
        # Altman et al. 2000, "Statistics with Confidence", table 6.2.
        ((14, 5, 0, 22), (0.0115, 0.2265)),
    ],
)
def test_newcombe_gives_published_figures(
    counts: tuple[int, int, int, int], expected: tuple[float, float]
) -> None:
    assert newcombe_interval(*counts) == pytest.approx(expected, abs=5.1e-5)


@given(COUNTS)
@settings(deadline=None)
def test_newcombe_agrees_with_another_way_to_compute_it(counts: tuple[int, int, int, int]) -> None:
    assert newcombe_interval(*counts) == pytest.approx(_own_newcombe(*counts), abs=1e-6)


@given(COUNTS)
@settings(deadline=None)
def test_newcombe_holds_the_difference_and_swaps_with_the_systems(counts: tuple[int, int, int, int]) -> None:
    both, only_a, only_b, neither = counts
    low, high = newcombe_interval(*counts)

    assert -1 <= low <= (only_a - only_b) / sum(counts) <= high <= 1
    assert newcombe_interval(both, only_b, only_a, neither) == pytest.approx((-high, -low), abs=1e-12)


@pytest.mark.parametrize(
    "shares", [(0.90, 0.05, 0.03, 0.02), (0.5, 0.2, 0.1, 0.2), (0.93, 0.021, 0.017, 0.032)]
)
def test_newcombe_covers_the_true_difference(shares: tuple[float, ...]) -> None:
    random = np.random.default_rng(0)
    true = shares[1] - shares[2]

    draws = random.multinomial(300, shares, size=4000)
    intervals = [newcombe_interval(*draw) for draw in draws.tolist()]

    # Four standard errors of a share of 0.95 in 4,000 draws are 0.014.
    assert np.mean([low <= true <= high for low, high in intervals]) == pytest.approx(0.955, abs=0.02)


@pytest.mark.parametrize("counts", [(3, 1, 6), (40, 10, 150), (5, 9, 30), (209, 170, 621)])
def test_bootstrap_agrees_with_resampling_the_images(counts: tuple[int, int, int]) -> None:
    only_a, only_b, _ = counts
    n = sum(counts)
    random = np.random.default_rng(0)
    right_a = np.repeat([1, 0, 0], counts)
    right_b = np.repeat([0, 1, 0], counts)

    differences = []
    for _ in range(4000):
        chosen = random.integers(0, n, size=n)
        differences.append(right_a[chosen].mean() - right_b[chosen].mean())

    low, high = bootstrap_interval(only_a, only_b, n)
    # The quantiles of 4,000 resamples are those at 0.025 give or take three of its standard errors.
    (at_least, at_most), (from_, to) = (
        np.quantile(differences, each) for each in ((0.017, 0.033), (0.967, 0.983))
    )
    assert at_least - 1e-9 <= low <= at_most + 1e-9
    assert from_ - 1e-9 <= high <= to + 1e-9


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
@settings(deadline=None)
def test_bootstrap_is_the_exact_quantile_of_the_multinomial(only_a: int, only_b: int, level: int) -> None:
    n = only_a + only_b + level
    if n == 0:
        return
    one_draw = np.array([only_b, level, only_a]) / n
    shares = np.array([1.0])
    for _ in range(n):
        shares = np.convolve(shares, one_draw)
    low, high = bootstrap_interval(only_a, only_b, n)

    below, above = np.cumsum(shares), np.cumsum(shares[::-1])[::-1]
    first, last = round(low * n) + n, round(high * n) + n
    assert below[first] >= 0.025 - 1e-12
    assert first == 0 or below[first - 1] < 0.025 + 1e-12
    assert above[last] >= 0.025 - 1e-12
    assert last == 2 * n or above[last + 1] < 0.025 + 1e-12


def test_bootstrap_swaps_with_the_systems() -> None:
    low, high = bootstrap_interval(30, 17, 200)

    assert bootstrap_interval(17, 30, 200) == (-high, -low)


def test_bootstrap_of_systems_that_agree_everywhere_is_0() -> None:
    assert bootstrap_interval(0, 0, 50) == (0, 0)


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (-1, 2, 3, 4)])
def test_newcombe_refuses_what_are_no_counts(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="no interval"):
        newcombe_interval(*counts)


@pytest.mark.parametrize("counts", [(0, 0, 0), (-1, 2, 3), (2, 2, 3)])
def test_bootstrap_refuses_what_are_no_counts(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no interval"):
        bootstrap_interval(*counts)
