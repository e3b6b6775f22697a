from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from results.value.sensitivity import Sensitivity, sensitivity_of

TABLES = arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(2, 4)),
    elements=st.sampled_from([1.0, 2, 3, 5, 8, 13]),
)


def found_of(values: np.ndarray, weights: list[float] | None = None) -> Sensitivity:
    names = tuple(f"c{k}" for k in range(values.shape[1]))
    found = sensitivity_of(names, values, None if weights is None else np.array(weights))
    assert isinstance(found, Sensitivity), found
    return found


def test_two_candidates_of_opposite_virtues_come_to_their_closed_form() -> None:
    # Half the error at eight times the cost: level where w ln 2 = (1 - w) ln 8, at w = 3/4.
    found = found_of(np.array([[1.0, 8], [2, 1]]))
    assert found.winner == 1
    assert found.runner_up == 0
    assert found.margin_factor == pytest.approx((8 / 2) ** 0.5)
    assert found.scores.tolist() == pytest.approx([-np.log(8) / 2, -np.log(2) / 2])
    assert [change.new_weight for change in found.changes] == pytest.approx([0.75, 0.25])
    assert [change.new_winner for change in found.changes] == [0, 0]
    assert found.win_percent.tolist() == pytest.approx([25, 75], abs=1.5)


def winner_at(values: np.ndarray, weights: np.ndarray, k: int, weight: float) -> set[int]:
    moved = weights * (1 - weight) / (1 - weights[k])
    moved[k] = weight
    losses = np.log(values) @ moved
    return set(np.flatnonzero(losses <= losses.min() + 1e-9).tolist())


@settings(max_examples=60)
@given(TABLES)
def test_no_nearer_weight_changes_the_winner_and_the_one_named_does(values: np.ndarray) -> None:
    found = found_of(values)
    for k, change in enumerate(found.changes):
        for weight in np.linspace(0, 0.999, 41):
            near = change.new_weight is None or abs(weight - change.weight) < abs(
                change.new_weight - change.weight
            )
            if near:
                assert found.winner in winner_at(values, found.weights, k, weight)
        if change.new_weight is not None and change.new_weight < 1:
            level = winner_at(values, found.weights, k, change.new_weight)
            assert {found.winner, change.new_winner} <= level


@settings(max_examples=40)
@given(TABLES)
def test_shares_of_the_weights_are_those_of_trying_every_candidate(values: np.ndarray) -> None:
    found = found_of(values)
    samples = np.random.default_rng(0).dirichlet(np.ones(values.shape[1]), size=found.num_samples)
    losses = np.log(values / values.min(axis=0))
    winners = np.argmin(samples @ losses.T, axis=1)
    expected = 100 * np.bincount(winners, minlength=len(values)) / found.num_samples
    assert found.win_percent.sum() == pytest.approx(100)
    # Equal candidates may be taken for each other where a product is rounded in another order.
    assert sorted(found.win_percent) == pytest.approx(sorted(expected), abs=0.1) or len(
        np.unique(values, axis=0)
    ) < len(values)


def test_units_do_not_matter() -> None:
    values = np.exp(np.random.default_rng(0).normal(size=(5, 3)))
    one, other = found_of(values), found_of(values * [1e9, 1e-3, 7])
    assert one.scores == pytest.approx(other.scores)
    assert one.win_percent.tolist() == other.win_percent.tolist()
    assert [change.new_weight for change in one.changes] == pytest.approx(
        [change.new_weight for change in other.changes], nan_ok=True
    )


def test_the_best_in_everything_wins_under_all_weights() -> None:
    found = found_of(np.array([[2.0, 2], [1, 1]]))
    assert found.win_percent.tolist() == [0, 100]
    assert all(change.new_weight is None and change.new_winner is None for change in found.changes)


def test_one_candidate_has_no_rival() -> None:
    found = found_of(np.array([[2.0, 2]]))
    assert found.runner_up is None
    assert found.margin_factor is None


def test_weights_are_scaled_and_all_of_it_may_be_on_one() -> None:
    found = found_of(np.array([[1.0, 8], [2, 1]]), weights=[5, 0])
    assert found.weights.tolist() == [1, 0]
    assert found.winner == 0
    assert found.changes[0].new_weight == pytest.approx(0.75)
    assert found.changes[1].new_weight == pytest.approx(0.25)


@pytest.mark.parametrize("weights", [[-1, 2], [0, 0], [1], [np.nan, 1]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        sensitivity_of(("a", "b"), np.ones((2, 2)), np.array(weights))


@pytest.mark.parametrize("values", [[[0.0, 1]], [[np.nan, 1]], [[np.inf, 1]]])
def test_values_without_a_logarithm_give_a_reason(values: list[list[float]]) -> None:
    found = sensitivity_of(("a", "b"), np.array(values))
    assert found == "a criterion is 0 or unknown for a candidate, which has no logarithm"


def test_a_weighting_needs_two_criteria() -> None:
    assert isinstance(sensitivity_of(("a",), np.ones((2, 1))), str)
    with pytest.raises(ValueError, match="criteria"):
        sensitivity_of(("a",), np.ones((2, 2)))
