from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.errors import DataError, UsageError
from results.compare.several import compare_systems
from results.predictions import PredictionSet, read_prediction_set

MakeSet = Callable[..., PredictionSet]


def test_the_eight_published_models_are_compared_together(shared_data: Path) -> None:
    folder = shared_data / "predictions"
    labels = folder / "cifar10_test_labels.npy"
    paths = [path for path in sorted(folder.iterdir()) if path.suffix in (".json", ".npz")]
    given = [read_prediction_set(path, labels) for path in paths]

    found = compare_systems(given)

    assert len(found.systems) == 8
    assert [system.name for system in found.systems[:2]] == ["wrn_28_10.json", "densenet_BC_100_12.json"]
    assert found.tie_groups[0] == (0, 1)
    assert len(found.tie_groups) == 7
    rights = [given[index].classes == given[index].labels for index in found.order]
    p_values = []
    for first, second in combinations(range(8), 2):
        only_a = int((rights[first] & ~rights[second]).sum())
        discordant = int((rights[first] != rights[second]).sum())
        p_values.append(stats.binomtest(only_a, discordant).pvalue)
    adjusted = multipletests(p_values, method="holm")[1]
    assert [pair.p_holm for pair in found.pairs] == pytest.approx(adjusted.tolist(), rel=1e-6, abs=1e-300)
    assert [(pair.first, pair.second) for pair in found.pairs if not pair.resolved] == [(0, 1)]


def test_the_better_one_comes_first_in_every_pair(make_set: MakeSet) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, size=200)
    given = [
        make_set(np.where(random.random(200) < share, labels, 0), labels, name=f"{share}")
        for share in (0.2, 0.9, 0.5, 0.7)
    ]

    found = compare_systems(given)

    assert [system.name for system in found.systems] == ["0.9", "0.7", "0.5", "0.2"]
    assert found.order == (1, 3, 2, 0)
    assert all(pair.comparison.difference_points >= 0 for pair in found.pairs)
    assert [pair.comparison.name_b for pair in found.pairs if pair.first == 0] == ["0.7", "0.5", "0.2"]


def test_a_correction_for_many_can_unmake_a_difference(make_set: MakeSet) -> None:
    labels = [0] * 100
    good, less, same = [0] * 100, [1] * 6 + [0] * 94, [0] * 99 + [1]

    alone = compare_systems([make_set(good, labels), make_set(less, labels)])
    among = compare_systems([make_set(each, labels) for each in (good, less, same)])

    assert alone.pairs[0].resolved
    assert not any(pair.resolved for pair in among.pairs)
    assert among.tie_groups == ((0, 1, 2),)


def test_two_runs_on_different_images_are_refused_though_a_file_comes_first(make_set: MakeSet) -> None:
    labels = [0, 1]
    runs = [make_set(labels, labels, fingerprint=letter * 64) for letter in "ab"]

    with pytest.raises(DataError, match="fingerprints"):
        compare_systems([make_set(labels, labels), *runs])


def test_one_system_is_no_comparison(make_set: MakeSet) -> None:
    with pytest.raises(UsageError, match="at least two"):
        compare_systems([make_set([0], [0])])
