from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from results.compare.paired import (
    compare_counts,
    compare_pair,
    mcnemar_exact,
    resolvable_count,
)
from results.predictions import PredictionSet, read_prediction_set

MakeSet = Callable[..., PredictionSet]

COUNTS = st.tuples(st.integers(0, 200), st.integers(0, 200))


@given(COUNTS)
@settings(deadline=None)
def test_mcnemar_agrees_with_scipy_and_statsmodels(counts: tuple[int, int]) -> None:
    only_a, only_b = counts
    p = mcnemar_exact(only_a, only_b)

    assert p == pytest.approx(mcnemar([[7, only_a], [only_b, 5]], exact=True).pvalue, rel=1e-9)
    if only_a + only_b:
        assert p == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue, rel=1e-9)


@pytest.mark.parametrize("counts", [(20_000, 19_500), (3, 900), (50_000, 50_001), (5_000, 4_600)])
def test_mcnemar_of_many_images_agrees_with_scipy(counts: tuple[int, int]) -> None:
    expected = 2 * stats.binom.cdf(min(counts), sum(counts), 0.5)

    assert mcnemar_exact(*counts) == pytest.approx(min(1, expected), rel=1e-8)


@given(COUNTS)
@settings(deadline=None)
def test_mcnemar_is_the_same_from_both_sides(counts: tuple[int, int]) -> None:
    assert mcnemar_exact(*counts) == mcnemar_exact(*reversed(counts))
    assert 0 < mcnemar_exact(*counts) <= 1


def test_mcnemar_without_discordant_images_says_nothing() -> None:
    assert mcnemar_exact(0, 0) == 1


def test_mcnemar_underflows_to_0_and_not_to_an_error() -> None:
    assert mcnemar_exact(0, 5_000) == 0


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="negative"):
        mcnemar_exact(-1, 5)


@pytest.mark.parametrize("discordant", [*range(60), 379, 1000])
def test_resolvable_is_the_smallest_significant_difference(discordant: int) -> None:
    significant = [
        discordant - 2 * fewer
        for fewer in range(discordant // 2 + 1)
        if mcnemar_exact(fewer, discordant - fewer) <= 0.05
    ]

    assert resolvable_count(discordant) == (min(significant) if significant else 6)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
@settings(deadline=None)
def test_a_swap_of_the_systems_changes_signs_only(both: int, only_a: int, only_b: int, neither: int) -> None:
    n = both + only_a + only_b + neither
    if n == 0:
        return
    found = compare_counts("a", "b", both=both, only_a=only_a, only_b=only_b, n=n)
    swapped = compare_counts("b", "a", both=both, only_a=only_b, only_b=only_a, n=n)

    assert swapped.difference_points == -found.difference_points
    for low, high in (("low_points", "high_points"), ("bootstrap_low_points", "bootstrap_high_points")):
        assert getattr(swapped, low) == pytest.approx(-getattr(found, high), abs=1e-9)
        assert getattr(swapped, high) == pytest.approx(-getattr(found, low), abs=1e-9)
    for same in ("p_value", "resolvable_points", "images_for_power", "n"):
        assert getattr(swapped, same) == getattr(found, same)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 40))
@settings(deadline=None)
def test_a_difference_is_resolved_exactly_from_the_resolvable_one_on(
    only_a: int, only_b: int, both: int
) -> None:
    found = compare_counts("a", "b", both=both, only_a=only_a, only_b=only_b, n=both + only_a + only_b)

    assert found.resolved == (abs(found.difference_points) >= found.resolvable_points - 1e-9)


def test_counts_are_those_of_a_hand_count(make_set: MakeSet) -> None:
    a = make_set([0, 1, 1, 1, 0, 0], [0, 1, 1, 0, 1, 0], name="a")
    b = make_set([0, 1, 0, 0, 1, 1], [0, 1, 1, 0, 1, 0], name="b")

    found = compare_pair(a, b)

    assert (found.name_a, found.name_b, found.n) == ("a", "b", 6)
    assert (found.correct_a, found.correct_b, found.only_a, found.only_b) == (4, 4, 2, 2)
    assert found.difference_points == 0
    assert found.images_for_power is None


def test_wrn_and_densenet_are_not_resolved_on_the_test_set(shared_data: Path) -> None:
    folder = shared_data / "predictions"
    labels = folder / "cifar10_test_labels.npy"
    wrn = read_prediction_set(folder / "wrn_28_10.json", labels)
    densenet = read_prediction_set(folder / "densenet_BC_100_12.json", labels)

    found = compare_pair(wrn, densenet)

    assert (found.correct_a, found.correct_b) == (9593, 9554)
    assert found.difference_points == pytest.approx(0.39)
    assert found.p_value == pytest.approx(stats.binomtest(170, 379).pvalue)
    assert round(found.p_value, 3) == 0.051
    assert found.resolvable_points == pytest.approx(0.41)
    assert not found.resolved


def test_random_systems_agree_with_a_loop_over_images(make_set: MakeSet) -> None:
    random = np.random.default_rng(0)
    labels, first, second = (random.integers(0, 4, size=300) for _ in range(3))

    found = compare_pair(make_set(first, labels), make_set(second, labels))

    rights = [(x == z, y == z) for x, y, z in zip(first, second, labels, strict=True)]
    assert found.only_a == rights.count((True, False))
    assert found.only_b == rights.count((False, True))
    assert found.correct_a == sum(a for a, _ in rights)
    assert {field.name for field in fields(found)} >= {"low_points", "high_points", "p_value"}
