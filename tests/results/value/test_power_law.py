from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import curve_fit

from results.value.power_law import Law, PowerLaw, fit_power_law

COMPUTES = np.logspace(-3, 1, 12)


def fitted(found: PowerLaw | str) -> PowerLaw:
    assert isinstance(found, PowerLaw), found
    return found


def noisy(
    a: float, b: float, c: float, noise: float = 0.02, seed: int = 0
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    factors = np.exp(noise * np.random.default_rng(seed).normal(size=len(COMPUTES)))
    return (a * COMPUTES**-b + c) * factors


@pytest.mark.parametrize("floor", [0.0, 0.5, 4.0])
def test_a_law_without_noise_is_found_again(floor: float) -> None:
    law = fitted(fit_power_law(COMPUTES, 20 * COMPUTES**-0.3 + floor)).law
    assert (law.a, law.b, law.c) == pytest.approx((20, 0.3, floor), rel=1e-5, abs=1e-6)


def test_without_a_floor_it_is_the_line_through_the_logarithms() -> None:
    errors = noisy(20, 0.3, 0)
    found = fitted(fit_power_law(COMPUTES, errors))
    slope, intercept = np.polyfit(np.log(COMPUTES), np.log(errors), 1)
    assert found.law.c == 0
    assert found.law.b == pytest.approx(-slope)
    assert found.law.a == pytest.approx(math.exp(intercept))
    assert found.r_squared == pytest.approx(np.corrcoef(np.log(COMPUTES), np.log(errors))[0, 1] ** 2)


def test_with_a_floor_it_agrees_with_scipy() -> None:
    errors = noisy(20, 0.5, 4, noise=0.005)
    law = fitted(fit_power_law(COMPUTES, errors)).law

    def log_error(x: np.ndarray, log_a: float, b: float, c: float) -> np.ndarray:
        return np.log(np.exp(log_a - b * x) + c)

    (log_a, b, c), _ = curve_fit(log_error, np.log(COMPUTES), np.log(errors), p0=(3, 0.5, 3))
    assert law.a == pytest.approx(math.exp(log_a), rel=0.02)
    assert law.b == pytest.approx(b, rel=0.02)
    assert law.c == pytest.approx(c, rel=0.02)


def test_only_the_front_is_fitted() -> None:
    best = 20 * COMPUTES**-0.3
    computes, errors = np.concatenate([COMPUTES, 2 * COMPUTES]), np.concatenate([best, 2 * best])
    found = fitted(fit_power_law(computes, errors))
    assert found.num_cells == len(COMPUTES)
    assert found.law.b == pytest.approx(0.3)


def test_the_target_is_where_the_law_gets_there_and_says_how_far_that_is() -> None:
    target = fitted(fit_power_law(COMPUTES, 20 * COMPUTES**-0.5, target_accuracy_percent=99)).target
    assert target.pflop == pytest.approx(400)  # 20 / sqrt(400) = 1
    assert target.decades_beyond == pytest.approx(math.log10(400 / 10))


def test_an_extrapolation_is_warned_about_with_its_distance() -> None:
    found = fitted(fit_power_law(COMPUTES, 20 * COMPUTES**-0.5))
    assert found.warning.startswith("Warning: an extrapolation 1.6 decades of compute beyond")


def test_within_the_cells_no_warning_is_due() -> None:
    found = fitted(fit_power_law(COMPUTES, 2 * COMPUTES**-0.5))
    assert found.target.decades_beyond is not None
    assert found.target.decades_beyond < 0
    assert "within" in found.warning


def test_a_floor_above_the_target_is_never_passed() -> None:
    found = fitted(fit_power_law(COMPUTES, 20 * COMPUTES**-0.5 + 4))
    assert found.target.pflop is None
    assert found.target.decades_beyond is None
    assert found.target.never_percent == 100
    assert found.warning.startswith(
        "Warning: this law never reaches 99%. The intervals are somewhat too narrow"
    )


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(20):
        found = fitted(fit_power_law(COMPUTES, noisy(20, 0.3, 0, seed=seed)))
        assert found.b_low is not None
        assert found.b_high is not None
        assert found.b_low <= found.law.b <= found.b_high
        hits += found.b_low <= 0.3 <= found.b_high
    assert hits >= 14  # of 20; resampling 12 cells is known to give intervals that are too narrow


def test_the_same_seed_gives_the_same_interval() -> None:
    errors = noisy(20, 0.3, 0)
    assert fit_power_law(COMPUTES, errors, seed=3) == fit_power_law(COMPUTES, errors, seed=3)


def test_the_unit_of_compute_changes_nothing_but_the_unit() -> None:
    errors = noisy(20, 0.3, 0)
    peta, giga = fitted(fit_power_law(COMPUTES, errors)), fitted(fit_power_law(1e6 * COMPUTES, errors))
    assert giga.law.b == pytest.approx(peta.law.b)
    assert peta.target.pflop is not None
    assert giga.target.pflop == pytest.approx(1e6 * peta.target.pflop)
    assert giga.target.decades_beyond == pytest.approx(peta.target.decades_beyond)


@pytest.mark.parametrize(
    ("computes", "errors", "count"),
    [
        ([1, 2, 3], [9, 8, 7], 3),
        ([1, 1, 1, 1, 2], [9, 9, 9, 9, 8], 2),
        ([1, 2, 3, 4], [9, 9, 9, 9], 1),
        ([1, 2, 3, 4], [9, 8, 7, 0], 3),
        ([1, 2, 3, 0], [9, 8, 7, 6], 3),
        ([1, 2, np.nan, 4], [9, 8, 7, 6], 3),
        ([], [], 0),
    ],
)
def test_too_few_distinct_computes_are_refused(
    computes: list[float], errors: list[float], count: int
) -> None:
    found = fit_power_law(np.array(computes, dtype=float), np.array(errors, dtype=float))
    assert found == f"a law needs 4 cells of distinct compute on the front, and there are {count}"


@pytest.mark.parametrize("num_cells", [4, 5])
def test_few_cells_give_a_law_without_an_interval(num_cells: int) -> None:
    found = fitted(fit_power_law(np.arange(1.0, num_cells + 1), np.array([9.0, 8, 7, 6, 5][:num_cells])))
    assert found.b_low is None
    assert found.target.low_pflop is None
    assert found.warning.endswith("Too few cells for an interval.")


def test_six_cells_give_an_interval() -> None:
    found = fitted(fit_power_law(COMPUTES[::2], noisy(20, 0.3, 0)[::2]))
    assert found.num_cells == 6
    assert found.b_low is not None


def test_a_law_gives_back_the_compute_of_its_error() -> None:
    law = Law(a=20, b=0.3, c=0.5)
    assert law.pflop_for(law.error_percent(7.0)) == pytest.approx(7)
    assert law.pflop_for(0.5) == math.inf
    assert Law(a=20, b=-0.1, c=0).pflop_for(1) == math.inf
