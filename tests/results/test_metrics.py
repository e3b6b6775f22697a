from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix
from sklearn.metrics import precision_recall_fscore_support, top_k_accuracy_score

from harness.interval import wilson_interval
from results.metrics import (
    Array,
    accuracy_count,
    check_scores,
    class_figures,
    confusion_matrix,
    macro_average,
    share_of,
    top_k_count,
)


def test_counts_the_images_whose_largest_logit_is_their_label() -> None:
    logits = np.array([[0.1, 2.0, 0.3], [5.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-3.0, -2.0, -1.0]], np.float32)

    assert accuracy_count(logits, np.array([1, 2, 2, 2])) == 2


def test_of_equal_logits_the_first_class_counts() -> None:
    tied = np.array([[1.0, 1.0, 0.0]], np.float32)

    assert accuracy_count(tied, np.array([0])) == 1
    assert accuracy_count(tied, np.array([1])) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_give_no_figure(bad: float) -> None:
    logits = np.array([[0.0, 1.0], [bad, 0.0]])

    with pytest.raises(ValueError, match="not finite"):
        accuracy_count(logits, np.array([1, 1]))
    with pytest.raises(ValueError, match="not finite"):
        top_k_count(logits, np.array([1, 1]), 2)


@pytest.mark.parametrize("k", [1, 2, 5, 7])
def test_top_k_is_that_of_scikit_learn(k: int) -> None:
    random = np.random.default_rng(k)
    logits, labels = random.normal(size=(300, 7)), random.integers(7, size=300)

    # scikit-learn warns that all of seven classes are no achievement.
    expected = 300 if k == 7 else top_k_accuracy_score(labels, logits, k=k, normalize=False, labels=range(7))

    assert top_k_count(logits, labels, k) == expected


@settings(deadline=None)
@given(data=st.data(), num_classes=st.integers(2, 6), k=st.integers(1, 6))
def test_top_k_prefers_the_lower_class_of_equal_scores(data: st.DataObject, num_classes: int, k: int) -> None:
    k = min(k, num_classes)
    scores = data.draw(st.lists(st.integers(0, 2), min_size=num_classes, max_size=num_classes))
    largest = sorted(range(num_classes), key=lambda index: (-scores[index], index))[:k]

    for label in range(num_classes):
        found = top_k_count(np.array([scores], float), np.array([label]), k)
        assert found == (label in largest)
        if k == 1:
            assert found == accuracy_count(np.array([scores], float), np.array([label]))


@pytest.mark.parametrize("k", [0, 4])
def test_there_are_not_more_top_classes_than_classes(k: int) -> None:
    with pytest.raises(ValueError, match=f"no top {k} of 3 classes"):
        top_k_count(np.zeros((1, 3)), np.array([0]), k)


def test_confusions_and_class_figures_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(6, size=500)
    # Class 4 is never predicted; class 5 is neither predicted nor there.
    labels = np.where(labels == 5, 0, labels)
    classes = np.where(random.random(500) < 0.7, labels, random.integers(6, size=500)) % 4

    confusion = confusion_matrix(classes, labels, 6)
    figures = class_figures(confusion)

    assert np.array_equal(confusion, sklearn_confusion_matrix(labels, classes, labels=range(6)))
    expected = precision_recall_fscore_support(labels, classes, labels=range(6), zero_division=np.nan)
    for values, of_class in zip(expected, ("precision", "recall", "f1", "num_images"), strict=True):
        ours = [getattr(each, of_class) for each in figures]
        assert [np.nan if value is None else value for value in ours] == pytest.approx(values, nan_ok=True)
    assert (figures[4].precision, figures[4].recall, figures[4].f1) == (None, 0, 0)
    assert (figures[5].precision, figures[5].recall, figures[5].f1) == (None, None, None)
    assert macro_average(each.precision for each in figures) == pytest.approx(np.nanmean(expected[0]))


def test_rows_of_the_confusions_are_the_true_classes() -> None:
    assert confusion_matrix(np.array([1, 1, 0]), np.array([0, 0, 0]), 2).tolist() == [[1, 2], [0, 0]]


def test_the_mean_of_nothing_is_undefined() -> None:
    assert macro_average([None, None]) is None


@pytest.mark.parametrize(
    ("classes", "labels"),
    [([0, 3], [0, 1]), ([0, -1], [0, 1]), ([0, 1], [0, 3]), ([0], [0, 1]), ([0.0, 1.0], [0, 1])],
)
def test_what_is_no_class_is_not_counted(classes: list[float], labels: list[float]) -> None:
    with pytest.raises(ValueError, match="class"):
        confusion_matrix(np.array(classes), np.array(labels), 3)


@pytest.mark.parametrize(
    ("scores", "labels"),
    [(np.zeros((0, 3)), []), (np.zeros(3), [0, 0, 0]), (np.zeros((2, 3)), [0]), (np.zeros((2, 3)), [0, 3])],
)
def test_scores_that_do_not_fit_their_labels_are_refused(scores: Array, labels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"fit labels|outside of 0 to 2"):
        check_scores(scores, np.array(labels, np.int64))


def test_a_share_carries_its_interval() -> None:
    share = share_of(9190, 10_000)

    assert (share.count, share.n) == (9190, 10_000)
    assert share.percent == pytest.approx(91.9)
    assert (share.low_percent / 100, share.high_percent / 100) == pytest.approx(wilson_interval(9190, 10_000))
