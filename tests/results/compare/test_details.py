from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from results.compare.details import (
    compare_classes,
    discordant_images,
    names_of_classes,
    surest_mistakes_first,
)
from results.predictions import PredictionSet

MakeSet = Callable[..., PredictionSet]


def test_classes_agree_with_statsmodels_on_the_images_of_each(make_set: MakeSet) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, size=600)
    first = np.where(random.random(600) < 0.8, labels, random.integers(0, 5, size=600))
    second = np.where(random.random(600) < 0.6, labels, random.integers(0, 5, size=600))

    found = compare_classes(make_set(first, labels), make_set(second, labels))

    p_values = []
    for index, each in enumerate(found):
        right_a, right_b = first[labels == index] == index, second[labels == index] == index
        table = [[(x & y).sum() for y in (right_b, ~right_b)] for x in (right_a, ~right_a)]
        p_values.append(mcnemar(table, exact=True).pvalue)
        assert each.num_images == len(right_a)
        assert (each.correct_a, each.correct_b) == (right_a.sum(), right_b.sum())
        assert (each.only_a, each.only_b) == (table[0][1], table[1][0])
        assert each.difference_points == pytest.approx(100 * (right_a.mean() - right_b.mean()))
    assert [each.p_value for each in found] == pytest.approx(p_values)
    assert [each.p_holm for each in found] == pytest.approx(
        multipletests(p_values, method="holm")[1].tolist()
    )
    assert any(each.resolved for each in found)


def test_a_class_without_images_has_no_difference(make_set: MakeSet) -> None:
    found = compare_classes(make_set([0, 2], [0, 0]), make_set([0, 0], [0, 0]))

    assert [each.difference_points for each in found] == [-50, None, None]
    assert found[1].p_value == 1


def test_images_are_those_that_one_alone_got_right(make_set: MakeSet) -> None:
    found = discordant_images(make_set([0, 1, 1, 0], [0, 1, 0, 1]), make_set([0, 0, 0, 0], [0, 1, 0, 1]))

    assert [(image.index, image.right) for image in found] == [(1, "a"), (2, "b")]
    assert [(image.label, image.class_a, image.class_b) for image in found] == [(1, 1, 0), (0, 1, 0)]
    assert found[0].confidence_a is None


def test_the_surest_mistake_comes_first(make_set: MakeSet) -> None:
    labels = [0, 0, 0]
    sure = np.array([[0.4, 0.6], [0.1, 0.9], [0.3, 0.7]])
    a = make_set([1, 1, 1], labels, known="probabilities", scores=sure)

    images = discordant_images(a, make_set([0, 0, 0], labels, class_names=("0", "1")))

    assert [image.index for image in surest_mistakes_first(images)] == [1, 2, 0]
    assert images[1].confidence_a == pytest.approx(0.9)


def test_mistakes_of_unknown_confidence_stay_in_order(make_set: MakeSet) -> None:
    images = discordant_images(make_set([1, 1], [0, 0]), make_set([0, 0], [0, 0]))

    assert [image.index for image in surest_mistakes_first(images)] == [0, 1]


def test_names_come_from_the_one_that_knows_them(make_set: MakeSet) -> None:
    named = make_set([0, 1], [0, 1], class_names=("cat", "dog"))
    numbered = make_set([0, 2], [0, 1])

    assert names_of_classes(numbered, named) == ("cat", "dog", "2")
    assert names_of_classes(named, numbered) == ("cat", "dog", "2")
    assert names_of_classes(numbered, numbered) == ("0", "1", "2")
