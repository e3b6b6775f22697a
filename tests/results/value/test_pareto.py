from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.value.pareto import pareto_front

# Few distinct values, so that ties of every kind are common.
VALUES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.5, np.inf, np.nan])


def brute_force(costs: list[float], errors: list[float]) -> list[bool]:
    def dominates(i: int, j: int) -> bool:
        no_worse = costs[i] <= costs[j] and errors[i] <= errors[j]
        return no_worse and (costs[i] < costs[j] or errors[i] < errors[j])

    places = range(len(costs))
    return [
        not (np.isnan(costs[j]) or np.isnan(errors[j])) and not any(dominates(i, j) for i in places)
        for j in places
    ]


@given(st.lists(st.tuples(VALUES, VALUES), max_size=12))
def test_it_is_what_comparing_every_pair_gives(points: list[tuple[float, float]]) -> None:
    costs, errors = [cost for cost, _ in points], [error for _, error in points]
    assert pareto_front(costs, errors).tolist() == brute_force(costs, errors)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1)), min_size=1, max_size=30))
def test_every_point_is_beaten_or_equalled_by_one_on_the_front(points: list[tuple[float, float]]) -> None:
    costs, errors = np.array(points).T
    front = pareto_front(costs, errors)
    for cost, error in points:
        assert ((costs[front] <= cost) & (errors[front] <= error)).any()


def test_equal_points_are_all_on_the_front() -> None:
    assert pareto_front([1, 1, 1, 2], [3, 3, 4, 3]).tolist() == [True, True, False, False]


def test_no_points_have_no_front() -> None:
    assert pareto_front([], []).tolist() == []


def test_a_million_points_take_no_pairs() -> None:
    random = np.random.default_rng(0)
    assert pareto_front(random.random(1_000_000), random.random(1_000_000)).any()


@pytest.mark.parametrize(("costs", "errors"), [([1], [1, 2]), ([[1]], [[1]])])
def test_points_of_unequal_length_are_refused(costs: list[float], errors: list[float]) -> None:
    with pytest.raises(ValueError, match="not of one length"):
        pareto_front(costs, errors)
