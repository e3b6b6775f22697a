from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from results.metrics import accuracy_count, wilson_interval


def test_counts_the_images_whose_largest_logit_is_their_label() -> None:
    logits = np.array([[0.1, 2.0, 0.3], [5.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-3.0, -2.0, -1.0]], np.float32)

    assert accuracy_count(logits, np.array([1, 2, 2, 2])) == 2


def test_of_equal_logits_the_first_class_counts() -> None:
    tied = np.array([[1.0, 1.0, 0.0]], np.float32)

    assert accuracy_count(tied, np.array([0])) == 1
    assert accuracy_count(tied, np.array([1])) == 0


@pytest.mark.parametrize(
    ("name", "num_correct"),
    [
        ("alexnet_tf_ben", 8198),
        ("cudaconvnet", 8854),
        ("densenet_BC_100_12", 9554),
        ("random_features_32k_no_aug", 8331),
        ("resnet_basic_32", 9252),
        ("wrn_28_10", 9593),
    ],
)
def test_published_predicted_classes_score_exactly_as_published(
    shared_data: Path, name: str, num_correct: int
) -> None:
    labels = np.load(shared_data / "predictions" / "cifar10_test_labels.npy")
    classes = json.loads((shared_data / "predictions" / f"{name}.json").read_text())

    assert accuracy_count(np.eye(10)[classes], labels) == num_correct


@pytest.mark.parametrize(("name", "num_correct"), [("vgg_15_BN_64", 9318), ("resnet_basic_110", 9406)])
def test_published_logits_score_exactly_as_published(shared_data: Path, name: str, num_correct: int) -> None:
    arrays = np.load(shared_data / "predictions" / f"{name}.npz")

    assert accuracy_count(arrays["logits"], arrays["labels"]) == num_correct


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
@pytest.mark.parametrize(
    ("num_correct", "n"), [(0, 1), (1, 1), (0, 10), (10, 10), (7, 10), (350, 360), (9190, 10_000)]
)
def test_wilson_interval_is_that_of_scipy(num_correct: int, n: int, confidence: float) -> None:
    expected = binomtest(num_correct, n).proportion_ci(confidence, method="wilson")

    interval = wilson_interval(num_correct, n, confidence)

    assert interval == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= interval[0] < interval[1] <= 1


@pytest.mark.parametrize(("percent", "low", "high"), [(70, 69.09, 70.89), (99, 98.79, 99.18)])
def test_wilson_interval_at_ten_thousand_images(percent: int, low: float, high: float) -> None:
    interval = wilson_interval(percent * 100, 10_000)

    assert [round(100 * end, 2) for end in interval] == [low, high]


@pytest.mark.parametrize(
    ("num_correct", "n", "confidence"), [(0, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 0.0), (1, 5, 1.0)]
)
def test_no_interval_for_impossible_counts(num_correct: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="no interval"):
        wilson_interval(num_correct, n, confidence)
