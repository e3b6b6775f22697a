from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from results.audit.claim import check_claim, weak_classes
from results.figures import figures_of
from results.metrics import share_of
from results.predictions import PredictionSet


@pytest.mark.parametrize(
    ("count", "n", "claim", "direction"),
    [
        (7000, 10_000, 70.0, "as claimed"),
        (6911, 10_000, 70.0, "as claimed"),
        (6900, 10_000, 70.0, "worse than claimed"),
        (7100, 10_000, 70.0, "better than claimed"),
        (10, 10, 100.0, "as claimed"),
        (9, 10, 100.0, "worse than claimed"),
        (1, 10, 0.0, "better than claimed"),
    ],
)
def test_a_claim_is_tested_exactly(count: int, n: int, claim: float, direction: str) -> None:
    found = check_claim(share_of(count, n), claim)
    assert found.direction == direction
    assert found.consistent == (direction == "as claimed")
    assert found.p_value == pytest.approx(binomtest(count, n, claim / 100).pvalue, rel=1e-9)


def test_weak_classes_are_those_that_statsmodels_finds() -> None:
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 8, 4000)
    labels[labels == 7] = 6  # a class without images
    recall = np.array([0.95, 0.93, 0.9, 0.88, 0.85, 0.8, 0.93, 0.5])
    right = generator.random(4000) < recall[labels]
    classes = np.where(right, labels, (labels + 1) % 8)
    names = tuple("abcdefgh")
    figures = figures_of(PredictionSet("v", None, "classes", classes, labels, names, None))

    found = weak_classes(figures)

    overall = right.mean()
    p_values = [
        binomtest(int(right[labels == c].sum()), int((labels == c).sum()), overall, alternative="less").pvalue
        for c in range(7)
    ]
    rejected, adjusted, *_ = multipletests(p_values, method="holm")
    assert {weak.name for weak in found} == {names[c] for c in range(7) if rejected[c]} != set()
    for weak in found:
        index = names.index(weak.name)
        assert weak.p_value == pytest.approx(adjusted[index])
        assert weak.recall.count == right[labels == index].sum()
    recalls = [weak.recall.percent for weak in found]
    assert recalls == sorted(recalls)


@pytest.mark.parametrize("right", [True, False])
def test_no_class_is_weak_where_all_are_alike(right: bool) -> None:
    labels = np.arange(30) % 3
    classes = labels if right else (labels + 1) % 3
    figures = figures_of(PredictionSet("v", None, "classes", classes, labels, ("a", "b", "c"), None))
    assert weak_classes(figures) == ()
