from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, spearmanr

from results.calibration import from_logits, from_probabilities
from results.human import human_figures, spearman_correlation
from results.metrics import Array

LABELS = np.array([0, 0, 1, 1, 2])
CLASSES = np.array([0, 1, 2, 0, 2])
COUNTS = np.array([[50, 0, 0], [40, 10, 0], [10, 39, 1], [30, 20, 0], [0, 0, 51]], float)
"""The third image is an error that one person made too; on the fourth the majority is wrong."""


def _probs(seed: int = 0) -> Array:
    return np.random.default_rng(seed).dirichlet([1, 1, 1], size=5)


def test_people_are_counted_by_judgement_and_by_majority() -> None:
    figures = human_figures(CLASSES, LABELS, COUNTS)

    assert (figures.judgements.count, figures.judgements.n) == (50 + 40 + 39 + 20 + 51, 251)
    assert (figures.majority.count, figures.majority.n) == (4, 5)
    assert (figures.disputed.count, figures.disputed.n) == (3, 5)


def test_errors_are_set_against_what_people_said_of_the_same_images() -> None:
    figures = human_figures(CLASSES, LABELS, COUNTS)

    for share, count in (
        (figures.errors_disputed, 3),
        (figures.errors_misjudged, 1),
        (figures.errors_seen_by_people, 3),
    ):
        assert share is not None
        assert (share.count, share.n) == (count, 3)


def test_a_class_that_nobody_named_is_not_shared_with_people() -> None:
    figures = human_figures(np.array([2]), np.array([0]), np.array([[50, 1, 0]]))

    assert figures.errors_seen_by_people is not None
    assert figures.errors_seen_by_people.count == 0


def test_divergences_are_those_of_scipy() -> None:
    human, probs = COUNTS / COUNTS.sum(axis=1, keepdims=True), _probs()

    figures = human_figures(CLASSES, LABELS, COUNTS, from_probabilities(probs))

    kl_divergence = np.mean([entropy(p, q) for p, q in zip(human, probs, strict=True)])
    human_entropy = np.mean([entropy(p) for p in human])
    assert figures.human_entropy == pytest.approx(human_entropy)
    assert figures.kl_divergence == pytest.approx(kl_divergence)
    assert figures.cross_entropy == pytest.approx(kl_divergence + human_entropy)
    assert figures.js_divergence == pytest.approx(np.mean(jensenshannon(human, probs, axis=1) ** 2))
    assert figures.confidence_agreement_correlation == pytest.approx(
        spearmanr(probs.max(axis=1), human.max(axis=1)).statistic
    )
    assert figures.reasons == {}


def test_a_model_that_answers_as_people_do_diverges_by_nothing() -> None:
    human = from_probabilities(COUNTS)

    figures = human_figures(CLASSES, LABELS, COUNTS, human)

    assert figures.kl_divergence == pytest.approx(0, abs=1e-12)
    assert figures.js_divergence == pytest.approx(0, abs=1e-12)
    assert figures.confidence_agreement_correlation == pytest.approx(1)


def test_a_probability_of_0_for_what_a_person_named_leaves_only_the_bounded_divergence() -> None:
    probs = _probs()
    probs[1] = [1, 0, 0]

    figures = human_figures(CLASSES, LABELS, COUNTS, from_probabilities(probs))

    assert (figures.cross_entropy, figures.kl_divergence) == (None, None)
    assert set(figures.reasons) == {"cross_entropy", "kl_divergence"}
    assert figures.js_divergence is not None
    assert np.isfinite(figures.js_divergence)


def test_classes_alone_say_why_there_is_no_divergence() -> None:
    figures = human_figures(CLASSES, LABELS, COUNTS)

    assert figures.cross_entropy is figures.js_divergence is figures.confidence_agreement_correlation is None
    assert set(figures.reasons.values()) == {"only the classes are known"}


def test_equally_sure_of_every_image_is_no_correlation() -> None:
    figures = human_figures(CLASSES, LABELS, COUNTS, from_logits(np.zeros((5, 3))))

    assert figures.confidence_agreement_correlation is None
    assert "confidence_agreement_correlation" in figures.reasons


def test_no_share_of_no_errors() -> None:
    figures = human_figures(LABELS, LABELS, COUNTS, from_probabilities(_probs()))

    assert figures.errors_disputed is figures.errors_misjudged is figures.errors_seen_by_people is None
    assert set(figures.reasons) == {"errors_disputed", "errors_misjudged", "errors_seen_by_people"}


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=20))
def test_correlation_is_that_of_scipy_with_ties(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, float).T

    correlation = spearman_correlation(first, second)

    if len(set(first)) == 1 or len(set(second)) == 1:
        assert correlation is None
    else:
        assert correlation == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (COUNTS[:4], "do not fit 5 images"),
        (COUNTS[:, 0], "do not fit 5 images"),
        (COUNTS / 3, "whole numbers"),
        (COUNTS - 1, "whole numbers"),
        (np.where(COUNTS == 50, np.nan, COUNTS), "whole numbers"),
        (COUNTS * np.array([[0], [1], [1], [1], [1]]), "nobody judged"),
    ],
)
def test_what_are_no_judgements_is_refused(counts: Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        human_figures(CLASSES, LABELS, counts)


def test_probabilities_of_other_classes_than_people_were_asked_for_are_refused() -> None:
    with pytest.raises(ValueError, match="human ones"):
        human_figures(CLASSES, LABELS, COUNTS, from_logits(np.zeros((5, 4))))


def test_published_judgements_score_as_published(shared_data: Path) -> None:
    labels = np.load(shared_data / "predictions" / "cifar10_test_labels.npy")
    counts = np.load(shared_data / "predictions" / "cifar10h_counts.npy")

    figures = human_figures(labels, labels, counts)

    assert (figures.judgements.count, figures.judgements.n) == (486_656, 511_000)
    assert round(figures.judgements.percent, 2) == 95.24
    assert figures.majority.count == 9921
