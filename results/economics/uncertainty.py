"""How sure the difference is: Monte Carlo over every assumption and both accuracies.

Each assumption is drawn on its own. An accuracy that was measured is drawn from its posterior, Beta(correct
+ 1/2, wrong + 1/2) after Jeffreys' prior (Brown, Cai and DasGupta 2001, "Interval Estimation for a Binomial
Proportion", section 3.1). A claim has no counts, so that nothing is drawn for it: its error is unknown,
not zero. Both accuracies are drawn on their own, which is careful: on the same images they vary together, and
their gap less.

A lognormal figure has one spread of its logarithm below the median and another above, so that `low`, `value`
and `high` are its 5%, 50% and 95% points, wherever between the ends the median lies: half of the
draws come from either side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from results.economics.assumptions import Assumption, Assumptions
from results.economics.cash_flow import difference_usd
from results.economics.compute_cost import Array
from results.economics.facts import BuildFacts, BuyFacts
from results.economics.keys import BUILD_ACCURACY, BUY_ACCURACY, KEYS

NUM_DRAWS = 10_000
NUM_BINS = 40

_Z_95 = NormalDist().inv_cdf(0.95)
_PERT_WEIGHT = 4.0
"""Of the most likely value against each end (Malcolm et al. 1959, "Application of a Technique for Research
and Development Program Evaluation", Operations Research 7)."""


@dataclass(frozen=True)
class MonteCarlo:
    """What the difference (buying less building, in USD) may be."""

    num_draws: int
    seed: int
    mean_usd: float
    median_usd: float
    low_usd: float
    high_usd: float
    """Central 95% of the draws."""

    probability_build_cheaper: float
    standard_error: float
    """Of that probability, from the number of draws."""

    bin_edges_usd: tuple[float, ...]
    bin_counts: tuple[int, ...]
    """A histogram of the central 98%; the outermost bins do not hold what lies beyond."""


def central_values(build: BuildFacts, buy: BuyFacts, assumptions: Assumptions) -> dict[str, Array]:
    """Every assumption at its central value, and both accuracies, [1] each."""
    values = {key: np.array([entry.value]) for key, entry in assumptions.items()}
    values[BUILD_ACCURACY] = np.array([build.accuracy_percent])
    values[BUY_ACCURACY] = np.array([buy.accuracy_percent])
    return values


def draw_values(
    build: BuildFacts, buy: BuyFacts, assumptions: Assumptions, num_draws: int, seed: int
) -> dict[str, Array]:
    """Draws of every assumption and both accuracies, [num_draws] each; what is known is [1]."""
    # One stream for each key, so that a figure which becomes known leaves the other draws as they were.
    streams = np.random.SeedSequence(seed).spawn(len(KEYS) + 2)
    rngs = [np.random.default_rng(stream) for stream in streams]
    values = {
        key: draw(assumptions[key], KEYS[key].minimum, KEYS[key].maximum, rng, num_draws)
        for key, rng in zip(KEYS, rngs, strict=False)
    }
    values[BUILD_ACCURACY] = _posterior(build.num_correct, build.num_images, rngs[-2], num_draws)
    if buy.num_correct is not None and buy.num_images is not None:
        values[BUY_ACCURACY] = _posterior(buy.num_correct, buy.num_images, rngs[-1], num_draws)
    else:
        values[BUY_ACCURACY] = np.array([buy.accuracy_percent])
    return values


def draw(
    entry: Assumption, minimum: float, maximum: float, rng: np.random.Generator, num_draws: int
) -> Array:
    """Draws of one assumption, [num_draws], cut to what it can be; [1] where it is known."""
    if entry.is_known:
        return np.array([entry.value])
    low, value, high = entry.low, entry.value, entry.high
    if entry.distribution == "triangular":
        drawn = rng.triangular(low, value, high, num_draws)
    elif entry.distribution == "uniform":
        drawn = rng.uniform(low, high, num_draws)
    elif entry.distribution == "pert":
        before = 1 + _PERT_WEIGHT * (value - low) / (high - low)
        after = 1 + _PERT_WEIGHT * (high - value) / (high - low)
        drawn = low + (high - low) * rng.beta(before, after, num_draws)
    else:
        normal = rng.standard_normal(num_draws)
        spread = np.where(normal < 0, math.log(value / low), math.log(high / value)) / _Z_95
        with np.errstate(over="ignore"):  # what is infinite is cut to the maximum below
            drawn = value * np.exp(spread * normal)
    cut: Array = np.clip(drawn, minimum, maximum)
    return cut


def monte_carlo(build: BuildFacts, values: Mapping[str, Array], num_draws: int, seed: int) -> MonteCarlo:
    """Summarise the difference over the draws.

    Args:
        build: what compute is counted from.
        values: as `draw_values` gives them.
        num_draws: of those that are drawn.
        seed: they were drawn with, for the record.
    """
    drawn = np.broadcast_to(difference_usd(build, values), (num_draws,))
    low, median, high = (float(value) for value in np.percentile(drawn, (2.5, 50, 97.5)))
    probability = float(np.count_nonzero(drawn > 0)) / num_draws
    counts, edges = np.histogram(drawn, NUM_BINS, _histogram_range(drawn))
    return MonteCarlo(
        num_draws=num_draws,
        seed=seed,
        mean_usd=float(drawn.mean()),
        median_usd=median,
        low_usd=low,
        high_usd=high,
        probability_build_cheaper=probability,
        standard_error=math.sqrt(probability * (1 - probability) / num_draws),
        bin_edges_usd=tuple(edges.tolist()),
        bin_counts=tuple(counts.tolist()),
    )


def _histogram_range(drawn: Array) -> tuple[float, float]:
    """The central 98%, widened where numbers between its ends are too few for the edges of the bins."""
    low, high = (float(end) for end in np.percentile(drawn, (1, 99)))
    least = 4 * NUM_BINS * float(np.spacing(max(abs(low), abs(high))))
    if high - low >= least:
        return low, high
    half = max(0.5, least)
    return low - half, high + half


def _posterior(num_correct: int, num_images: int, rng: np.random.Generator, num_draws: int) -> Array:
    drawn: Array = 100 * rng.beta(num_correct + 0.5, num_images - num_correct + 0.5, num_draws)
    return drawn
