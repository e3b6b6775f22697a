from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from results.economics import uncertainty
from results.economics.assumptions import Assumption, Assumptions, load_assumptions
from results.economics.cash_flow import difference_usd
from results.economics.decide import appraise
from results.economics.facts import BuildFacts, BuyFacts
from results.economics.keys import BUILD_ACCURACY, BUY_ACCURACY, KEYS
from results.economics.uncertainty import central_values, draw, draw_values, monte_carlo
from tests.results.economics.conftest import make_build

LINEAR = ("vendor_usd_per_1000_images", "audit_usd_per_year", "label_usd", "cost_per_error_usd")
"""Of each of which alone the difference is a straight line, and of no two a product."""


def entry(distribution: str, low: float, value: float, high: float) -> Assumption:
    return Assumption.model_validate(
        {
            "distribution": distribution,
            "low": low,
            "value": value,
            "high": high,
            "unit": "USD",
            "as_of": None,
            "assumption": "-",
        }
    )


def reference(distribution: str, low: float, value: float, high: float) -> stats.rv_continuous:
    """The same distribution of scipy's."""
    width = high - low
    if distribution == "triangular":
        return stats.triang((value - low) / width, low, width)
    if distribution == "uniform":
        return stats.uniform(low, width)
    if distribution == "pert":
        return stats.beta(1 + 4 * (value - low) / width, 1 + 4 * (high - value) / width, low, width)
    return stats.lognorm(math.log(high / low) / (2 * stats.norm.ppf(0.95)), scale=value)


@pytest.mark.parametrize("distribution", ["triangular", "uniform", "pert", "lognormal"])
def test_draws_follow_the_distribution(distribution: str) -> None:
    shape = (distribution, 1.0, 3.0, 9.0)
    drawn = draw(entry(*shape), 0, 1e9, np.random.default_rng(0), 20_000)
    assert stats.kstest(drawn, reference(*shape).cdf).pvalue > 0.01


def test_low_and_high_of_a_lognormal_figure_hold_nine_tenths() -> None:
    drawn = draw(entry("lognormal", 1.0, 3.0, 9.0), 0, 1e9, np.random.default_rng(0), 100_000)
    assert np.mean(drawn < 1.0) == pytest.approx(0.05, abs=0.003)
    assert np.mean(drawn > 9.0) == pytest.approx(0.05, abs=0.003)


@pytest.mark.parametrize(
    "shape", [(1.0, 3.0, 9.0), (0.012, 0.036, 0.12), (1.0, 2.0, 100.0), (1.0, 90.0, 100.0)]
)
def test_a_lognormal_figure_has_its_three_points_where_it_says(shape: tuple[float, float, float]) -> None:
    drawn = draw(entry("lognormal", *shape), 0, 1e9, np.random.default_rng(0), 200_000)
    shares = [np.mean(drawn < point) for point in shape]
    assert shares == pytest.approx([0.05, 0.5, 0.95], abs=0.003)
    low, value, high = shape
    for end in (low, high):  # each side is that of the lognormal distribution through its end
        side = stats.lognorm(abs(math.log(end / value)) / stats.norm.ppf(0.95), scale=value)
        half = drawn[(drawn < value) == (end < value)]
        expected = side.ppf([0.1, 0.3] if end < value else [0.7, 0.9])
        assert np.quantile(half, [0.2, 0.6] if end < value else [0.4, 0.8]) == pytest.approx(
            expected, rel=0.03
        )


def test_a_lognormal_figure_that_draws_beyond_all_numbers_is_cut_to_its_maximum() -> None:
    drawn = draw(entry("lognormal", 1e-300, 1e-299, 1e13), 0, 1e13, np.random.default_rng(0), 10_000)
    assert np.isfinite(drawn).all()
    assert drawn.max() == 1e13


@pytest.mark.parametrize("middle", [0.0, 3.0, 1e18, -1e300])
@pytest.mark.parametrize("steps", [0, 3, 100])
def test_draws_that_nearly_coincide_have_a_histogram(
    middle: float, steps: int, build: BuildFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = middle + np.arange(1_000) % (steps + 1) * np.spacing(abs(middle))
    monkeypatch.setattr(uncertainty, "difference_usd", lambda *_: drawn)
    found = monte_carlo(build, {}, 1_000, 0)
    assert sum(found.bin_counts) >= 980
    assert (np.diff(found.bin_edges_usd) > 0).all()


def test_draws_are_cut_to_what_the_figure_can_be() -> None:
    drawn = draw(entry("lognormal", 1.0, 30.0, 90.0), 0, 100, np.random.default_rng(0), 10_000)
    assert drawn.max() == 100


def test_what_is_known_is_not_drawn(build: BuildFacts, claim: BuyFacts) -> None:
    drawn = draw_values(build, claim, load_assumptions(None, ["label_usd=0.05"]), 100, seed=0)
    assert drawn["label_usd"].tolist() == [0.05]
    assert len(drawn["horizon_years"]) == 100


def test_a_figure_that_becomes_known_leaves_the_other_draws(build: BuildFacts, claim: BuyFacts) -> None:
    before = draw_values(build, claim, load_assumptions(), 100, seed=3)
    after = draw_values(build, claim, load_assumptions(None, ["images_per_year=5"]), 100, seed=3)
    assert all(np.array_equal(before[key], after[key]) for key in before if key != "images_per_year")


def test_a_measured_accuracy_is_drawn_from_its_posterior_and_a_claim_is_not(
    build: BuildFacts, claim: BuyFacts, shipped: Assumptions
) -> None:
    drawn = draw_values(build, claim, shipped, 20_000, seed=0)
    posterior = stats.beta(9_200.5, 800.5)
    assert stats.kstest(drawn[BUILD_ACCURACY] / 100, posterior.cdf).pvalue > 0.01
    assert drawn[BUY_ACCURACY].tolist() == [70.0]
    audited = BuyFacts("a vendor", 75.0, num_correct=750, num_images=1_000)
    drawn = draw_values(build, audited, shipped, 20_000, seed=0)
    assert stats.kstest(drawn[BUY_ACCURACY] / 100, stats.beta(750.5, 250.5).cdf).pvalue > 0.01


@pytest.mark.parametrize("key", LINEAR)
def test_the_mean_of_a_straight_line_is_at_the_central_figure(key: str, claim: BuyFacts) -> None:
    central = load_assumptions()[key].value
    settings = [f"{other}={entry.value}" for other, entry in load_assumptions().items() if other != key]
    settings += [f"{key}={central}", f"{key}.low={central / 2}", f"{key}.high={central * 1.5}"]
    figures = load_assumptions(None, [*settings, f"{key}.distribution=triangular"])
    build = make_build(num_correct=9_200_000_000, num_images=10_000_000_000)
    simulated = monte_carlo(build, draw_values(build, claim, figures, 10_000, 0), 10_000, 0)
    at_center = difference_usd(build, central_values(build, claim, figures))[0]
    width = simulated.high_usd - simulated.low_usd
    assert simulated.mean_usd == pytest.approx(at_center, abs=width / 100)
    assert simulated.median_usd == pytest.approx(at_center, abs=width / 50)


def test_the_probability_agrees_with_the_closed_form(claim: BuyFacts) -> None:
    settings = [f"{key}={entry.value}" for key, entry in load_assumptions().items()]
    ends = ["cost_per_error_usd=1", "cost_per_error_usd.low=0.5", "cost_per_error_usd.high=1.5"]
    figures = load_assumptions(None, [*settings, *ends, "cost_per_error_usd.distribution=uniform"])
    build = make_build(num_correct=9_200_000_000, num_images=10_000_000_000)
    appraisal = appraise(build, claim, figures)
    turn = appraisal.break_even_error_usd.value
    assert turn is not None
    simulated = appraisal.monte_carlo
    assert simulated.probability_build_cheaper == pytest.approx(1.5 - turn, abs=4 * simulated.standard_error)


def test_the_same_seed_gives_the_same_figures(
    build: BuildFacts, claim: BuyFacts, shipped: Assumptions
) -> None:
    assert (
        appraise(build, claim, shipped, seed=1).monte_carlo == appraise(build, claim, shipped, 1).monte_carlo
    )
    assert (
        appraise(build, claim, shipped, seed=2).monte_carlo != appraise(build, claim, shipped, 1).monte_carlo
    )


def test_taking_all_draws_together_equals_taking_them_one_by_one(
    build: BuildFacts, claim: BuyFacts, shipped: Assumptions
) -> None:
    drawn = draw_values(build, claim, shipped, 20, seed=0)
    together = difference_usd(build, drawn)
    for index in range(20):
        one = {key: values[index : index + 1] if len(values) > 1 else values for key, values in drawn.items()}
        assert difference_usd(build, one)[0] == pytest.approx(together[index], rel=1e-9)


def test_every_figure_has_a_central_value(build: BuildFacts, claim: BuyFacts, shipped: Assumptions) -> None:
    assert central_values(build, claim, shipped).keys() == {*KEYS, BUILD_ACCURACY, BUY_ACCURACY}
