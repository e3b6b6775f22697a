"""Figures from answers written by hand, small enough to count."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from harness.corruptions.names import MAIN
from harness.errors import DataError
from harness.files import write_arrays
from harness.record import ROBUSTNESS_FILE, Record, read_record
from results.robustness import Robustness, read_robustness, robustness_table
from tests.results.conftest import RunFactory

LABELS = np.array([0, 1, 2, 0])


def wrong_at(*places: int) -> np.ndarray[Any, Any]:
    """Answers that are wrong at these of the four images, and right elsewhere."""
    predicted = LABELS.astype(np.uint8)
    predicted[list(places)] = (predicted[list(places)] + 1) % 3
    return predicted


def answers(name: str, predicted: Any, confidence: float = 0.5) -> dict[str, np.ndarray[Any, Any]]:
    array = np.array(predicted, np.uint8)
    return {f"{name}_predicted": array, f"{name}_confidence": np.full(array.shape, confidence, np.float16)}


def measured(**changes: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Clean 75%; fog 50% and 25%, snow 75% and 50%, spatter (extra) 0%."""
    corrupted = answers(
        "corrupted",
        [
            [wrong_at(0, 1), wrong_at(0, 1, 2)],
            [wrong_at(0), wrong_at(0, 1)],
            [wrong_at(0, 1, 2, 3), wrong_at(0, 1, 2, 3)],
        ],
    )
    corrupted["corrupted_confidence"][0, 1] = [0.75, 0.5, 0.25, 1]  # three wrong answers of eight
    arrays: dict[str, Any] = {
        "format": np.array(1),
        "level": np.array("quick"),
        "test_fingerprint": np.array("fedcba9876543210" * 4),
        "num_test_images": np.array(200),
        "indices": np.array([0, 50, 100, 150]),
        "labels": LABELS,
        "corruption_names": np.array(["fog", "snow", "spatter"]),
        "corruption_is_main": np.array([True, True, False]),
        "severities": np.array([1, 5]),
        "frost_source": np.array("procedural"),
        "change_names": np.array(["shift +1 +0", "shift +0 +1", "flip", "brightness 0.5"]),
        "attacked_indices": np.array([0, 100]),
        "attacked_labels": np.array([0, 2]),
        **answers("clean", wrong_at(3)),
        **corrupted,
        **answers("changed", [wrong_at(3), wrong_at(), wrong_at(3, 0), wrong_at(0, 1, 2)]),
        **answers("attacked_clean", [0, 2]),
        **answers("attacked_fgsm", [0, 1]),
        **answers("attacked_pgd", [1, 1]),
    }
    arrays |= changes
    return {name: array for name, array in arrays.items() if array is not None}


@pytest.fixture
def run_dir(make_run: RunFactory) -> Path:
    return make_run()


def record_of(run_dir: Path) -> Record:
    record = read_record(run_dir)
    assert record is not None
    return record


def read(run_dir: Path, **changes: Any) -> Robustness:
    write_arrays(run_dir / ROBUSTNESS_FILE, measured(**changes))
    robustness = read_robustness(run_dir, record_of(run_dir))
    assert robustness is not None
    return robustness


def test_a_run_that_was_not_measured_has_no_robustness(run_dir: Path) -> None:
    assert read_robustness(run_dir, record_of(run_dir)) is None


def test_accuracy_is_by_corruption_and_severity(run_dir: Path) -> None:
    robustness = read(run_dir)
    assert robustness.accuracy.tolist() == [[0.5, 0.25], [0.75, 0.5], [0, 0]]
    assert robustness.num_images == 4
    assert robustness.clean_accuracy == 0.75


def test_the_mean_is_over_severities_then_over_the_main_corruptions(run_dir: Path) -> None:
    scores = read(run_dir).scores
    assert scores.mean_corruption_accuracy_percent == pytest.approx(50)
    assert scores.relative_robustness_percent == pytest.approx(100 * 50 / 75)


def test_the_worst_corruption_is_one_of_the_main_ones(run_dir: Path) -> None:
    scores = read(run_dir).scores
    assert scores.worst_corruption == "fog"
    assert scores.worst_corruption_accuracy_percent == pytest.approx(37.5)


def test_confidence_when_wrong_is_over_wrong_answers_about_the_main_corruptions(run_dir: Path) -> None:
    # fog: two of 0.5, then 0.75, 0.5, 0.25; snow: three of 0.5
    assert read(run_dir).scores.confidence_when_wrong_percent == pytest.approx(100 * (6 * 0.5 + 1) / 8)


def test_attacks_have_their_own_images_and_intervals(run_dir: Path) -> None:
    scores = read(run_dir).scores
    assert (scores.fgsm_accuracy_percent, scores.pgd_accuracy_percent) == (50, 0)
    assert scores.attacked_images == 2
    assert scores.attacks_unavailable is None


def test_consistency_is_the_share_of_answers_that_stay_whether_right_or_wrong(run_dir: Path) -> None:
    scores = read(run_dir).scores
    assert scores.shift_consistency_percent == pytest.approx(100 * (4 + 3) / 8)
    assert scores.flip_consistency_percent == pytest.approx(75)
    assert scores.brightness_consistency_percent == pytest.approx(0)


def test_attacks_that_were_not_possible_have_a_reason_and_no_figures(run_dir: Path) -> None:
    gone = {name: None for name in measured() if name.startswith("attacked_")}
    robustness = read(run_dir, attacks_unavailable=np.array("weights in parts"), **gone)
    scores = robustness.scores
    assert (scores.fgsm_accuracy_percent, scores.pgd_accuracy_percent) == (None, None)
    assert scores.attacked_images is None
    assert scores.attacks_unavailable == "weights in parts"
    assert "no attacks: weights in parts" in shown(robustness)


def test_a_model_that_is_never_right_has_no_relative_robustness(run_dir: Path) -> None:
    scores = read(run_dir, **answers("clean", wrong_at(0, 1, 2, 3))).scores
    assert scores.relative_robustness_percent is None


def test_published_images_count_where_all_main_corruptions_are_there(run_dir: Path) -> None:
    published = {
        "cifar10_c_names": np.array([*MAIN, "spatter"]),
        "cifar10_c_is_main": np.array([True] * 15 + [False]),
        "cifar10_c_severities": np.array([1, 3]),
        "cifar10_c_labels": LABELS,
        **answers("cifar10_c", [[wrong_at(), wrong_at(0)]] * 15 + [[wrong_at(0, 1, 2, 3)] * 2]),
        "cifar10_1_version": np.array("v6"),
        "cifar10_1_labels": LABELS,
        **answers("cifar10_1", wrong_at(0, 1, 2)),
    }
    robustness = read(run_dir, **published)
    assert robustness.scores.cifar10_c_accuracy_percent == pytest.approx(87.5)
    assert robustness.scores.cifar10_1_accuracy_percent == pytest.approx(25)
    assert "CIFAR-10.1: 25.00%" in shown(robustness)
    fewer = published | {"cifar10_c_is_main": np.array([True] * 14 + [False] * 2)}
    assert read(run_dir, **fewer).scores.cifar10_c_accuracy_percent is None


def shown(robustness: Robustness) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(robustness_table(robustness))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_has_a_row_for_each_corruption_and_a_column_for_each_severity(run_dir: Path) -> None:
    lines = [line.split() for line in shown(read(run_dir)).splitlines()]
    assert ["fog", "50.00", "25.00", "37.50"] in lines
    assert ["spatter", "(in", "no", "mean)", "0.00", "0.00", "0.00"] in lines
    assert ["mean", "62.50", "37.50", "50.00"] in lines
    assert ["none", "75.00"] in lines


def test_the_table_says_on_how_many_images(run_dir: Path) -> None:
    text = shown(read(run_dir))
    assert "4 test images, level quick" in text
    assert "under PGD: 0.00% (95%: 0.00 to 65.76, n = 2)" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": np.array(2)}, "not a file that this version"),
        ({"format": None}, "not a file that this version"),
        ({"labels": None}, "there is no array 'labels'"),
        ({"level": np.array("vast")}, "level 'vast'"),
        ({"test_fingerprint": np.array("0" * 64)}, "other test images than the record"),
        ({"clean_predicted": np.zeros(3, np.uint8)}, "clean_predicted has the shape"),
        ({"clean_predicted": np.full(4, 3, np.uint8)}, "clean_predicted holds classes outside of 0 to 2"),
        ({"clean_confidence": np.full(4, np.nan)}, "clean_confidence holds values that are no probabil"),
        ({"corrupted_confidence": None}, "there is no array 'corrupted_confidence'"),
        ({"attacked_pgd_predicted": None}, "there is no array 'attacked_pgd_predicted'"),
        ({"change_names": np.array(["a", "b", "c", "d"])}, "lacks some of shift"),
        ({"corruption_is_main": np.zeros(3, bool)}, "none of the main corruptions"),
        ({"severities": np.zeros(0, np.int64)}, "holds nothing"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(run_dir: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(run_dir, **changes)


def test_a_damaged_file_is_named(run_dir: Path) -> None:
    (run_dir / ROBUSTNESS_FILE).write_bytes(b"PK nothing")
    with pytest.raises(DataError, match=r"robustness.npz: cannot be read"):
        read_robustness(run_dir, record_of(run_dir))
