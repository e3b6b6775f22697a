"""Which weights decide who wins: how far each can move, and how often each cell wins over all of them.

    found = sensitivity_of(names=("error", "compute"), values=values_MK)

Score of a cell = -(sum over the criteria of weight * ln(value / best value)): with a weight of 1/2 each,
half the error is worth twice the compute. Values are better the lower they are; weights are not negative
and sum to 1. This is the weighted product model (Triantaphyllou 2000, "Multi-criteria decision making
methods"), whose ranking does not depend on the units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

NUM_SAMPLES = 10_000
_CHUNK = 2_000_000
"""Scores held at once."""

_NUM_DOMINATORS = 100


@dataclass(frozen=True)
class WeightChange:
    """How far one weight must move, the others keeping their proportions, for another cell to win."""

    criterion: str
    weight: float
    """As it is."""

    new_weight: float | None
    """The nearest at which another cell is level; None where no weight of it changes the winner."""

    new_winner: int | None
    """Its place among the candidates."""


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Who wins among M candidates under K weights, and what would change that."""

    criteria: tuple[str, ...]
    weights: Numbers
    """[K]."""

    scores: Numbers
    """[M], 0 or less; 0 is best in everything."""

    winner: int
    runner_up: int | None
    """None where there is one candidate."""

    margin_factor: float | None
    """By what factor the runner-up would have to improve in all criteria at once to be level."""

    changes: tuple[WeightChange, ...]
    """One for each criterion."""

    win_percent: Numbers
    """[M], share of all possible weights, equally likely, under which each candidate wins."""

    num_samples: int


def sensitivity_of(
    criteria: tuple[str, ...], values: Numbers, weights: Numbers | None = None, seed: int = 0
) -> Sensitivity | str:
    """Rank candidates by the weighted score, and find what changes the winner; or say why not.

    Args:
        criteria: K names.
        values: [M, K], each above 0 and better the lower it is; one that is not leaves no ranking.
        weights: [K], not negative; None: equal. They are scaled to sum to 1.
        seed: of the sampled weights.

    Raises:
        ValueError: shapes that do not fit, or weights that are negative or all 0.
    """
    num_cells, num_criteria = values.shape
    if len(criteria) != num_criteria:
        raise ValueError(f"{len(criteria)} criteria for values {values.shape}")
    if num_cells == 0 or num_criteria < 2:
        return "a weighting needs a candidate and two criteria that every candidate has"
    if not (np.isfinite(values).all() and (values > 0).all()):
        return "a criterion is 0 or unknown for a candidate, which has no logarithm"
    share = _normalised(np.ones(num_criteria) if weights is None else weights, num_criteria)
    losses = np.log(values / values.min(axis=0))
    scores = -(losses @ share)
    order = np.argsort(-scores, kind="stable")
    winner = int(order[0])
    runner_up = int(order[1]) if num_cells > 1 else None
    return Sensitivity(
        criteria=criteria,
        weights=share,
        scores=scores,
        winner=winner,
        runner_up=runner_up,
        margin_factor=None if runner_up is None else float(np.exp(scores[winner] - scores[runner_up])),
        changes=tuple(_change(criteria[k], k, share, losses, winner) for k in range(num_criteria)),
        win_percent=_win_percent(losses, seed),
        num_samples=NUM_SAMPLES,
    )


def _normalised(weights: Numbers, num_criteria: int) -> Numbers:
    if weights.shape != (num_criteria,) or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise ValueError(f"weights must be {num_criteria} numbers from 0 on, not all 0: {weights}")
    share: Numbers = weights / weights.sum()
    return share


def _change(name: str, k: int, weights: Numbers, losses: Numbers, winner: int) -> WeightChange:
    """Losses are linear in one weight, so that each rival is level with the winner at one value of it."""
    others = weights.copy()
    others[k] = 0
    # With the whole weight on one criterion, the others share what it gives up equally.
    others = others / others.sum() if others.sum() > 0 else np.where(np.arange(len(weights)) == k, 0, 1.0)
    others = others / others.sum()
    rest = losses @ others
    behind_at_0 = rest - rest[winner]
    behind_at_1 = losses[:, k] - losses[winner, k]
    rivals = np.flatnonzero((behind_at_0 < 0) != (behind_at_1 < 0))
    if len(rivals) == 0:
        return WeightChange(name, float(weights[k]), None, None)
    levels = behind_at_0[rivals] / (behind_at_0 - behind_at_1)[rivals]
    nearest = int(np.argmin(np.abs(levels - weights[k])))
    return WeightChange(name, float(weights[k]), float(levels[nearest]), int(rivals[nearest]))


def _win_percent(losses: Numbers, seed: int) -> Numbers:
    """Share of the weight simplex that each candidate wins, by samples from its uniform distribution."""
    num_cells, num_criteria = losses.shape
    samples = np.random.default_rng(seed).dirichlet(np.ones(num_criteria), size=NUM_SAMPLES)
    hopeful = _undominated(losses, samples[:_NUM_DOMINATORS])
    wins = np.zeros(len(hopeful), dtype=np.int64)
    step = max(1, _CHUNK // len(hopeful))
    for start in range(0, NUM_SAMPLES, step):
        best = np.argmin(samples[start : start + step] @ losses[hopeful].T, axis=1)
        wins += np.bincount(best, minlength=len(hopeful))
    percent = np.zeros(num_cells)
    percent[hopeful] = 100 * wins / NUM_SAMPLES
    return percent


def _undominated(losses: Numbers, samples: Numbers) -> NDArray[np.int64]:
    """The candidates that may win: all but those that a winner of `samples` beats in everything."""
    places = np.arange(len(losses))
    for winner in np.unique(np.argmin(samples @ losses.T, axis=1)).tolist():
        left = losses[places]
        beaten = (left >= losses[winner]).all(axis=1) & (left > losses[winner]).any(axis=1)
        places = places[~beaten]
    return places
