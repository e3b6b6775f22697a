from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from results.compare.holm import holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(P_VALUES)
@settings(deadline=None, max_examples=15)  # statsmodels takes a quarter of a second
def test_agrees_with_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1]

    assert holm(p_values) == pytest.approx(expected.tolist(), rel=1e-12, abs=1e-300)


@given(P_VALUES, st.randoms())
@settings(deadline=None)
def test_order_of_the_tests_does_not_matter(p_values: list[float], random: np.random.Generator) -> None:
    order = list(range(len(p_values)))
    random.shuffle(order)

    assert holm([p_values[index] for index in order]) == [holm(p_values)[index] for index in order]


def test_hand_calculation() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_one_test_is_left_as_it_is_and_no_test_is_no_problem() -> None:
    assert holm([0.3]) == [0.3]
    assert holm([]) == []


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not from 0 to 1"):
        holm([0.5, bad])
