from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.derived import derive, derived_scores
from results.metrics import Array
from results.store import Run, load_runs

RunFactory = Callable[..., Path]


def _logits(seed: int, labels: Array, num_classes: int = 3) -> Array:
    random = np.random.default_rng(seed)
    logits = np.eye(num_classes)[labels] * 2 + random.normal(size=(len(labels), num_classes))
    return (3 * logits).astype(np.float32)


def _run(make_run: RunFactory, **changes: Any) -> Run:
    arrays = {"test_logits": _logits(0, np.arange(200) % 3), "val_logits": _logits(1, np.arange(40) % 3)}
    run_dir = make_run(arrays=arrays | changes)
    (run,) = load_runs(run_dir.parent).runs
    return run


def test_the_scores_of_a_run_need_no_reason(make_run: RunFactory) -> None:
    scores = derived_scores(_run(make_run).predictions)

    missing = {name for name, value in vars(scores).items() if value is None}
    assert missing == set(scores.reasons) == {"top5_accuracy_percent"}
    assert scores.reasons["top5_accuracy_percent"] == "there are only 3 classes"


def test_the_worst_class_is_the_first_of_lowest_recall(make_run: RunFactory) -> None:
    labels = np.arange(200) % 3
    logits = np.eye(3, dtype=np.float32)[np.where(np.arange(200) < 6, 0, labels)]

    scores = derived_scores(_run(make_run, test_logits=logits).predictions)

    assert scores.worst_class == "[bold]ship[/bold]"
    assert scores.worst_class_recall_percent == pytest.approx(100 * 64 / 66)


def test_threshold_and_temperature_come_from_the_validation_images(make_run: RunFactory) -> None:
    run = _run(make_run)
    scores = derived_scores(run.predictions)
    other = derived_scores(_run(make_run, val_logits=2 * run.predictions.val_logits).predictions)

    assert scores.temperature is not None
    assert other.temperature == pytest.approx(2 * scores.temperature, rel=1e-6)
    assert other.nll == scores.nll
    assert other.nll_after_temperature != scores.nll_after_temperature
    assert other.aurc == scores.aurc


def test_without_validation_images_there_is_a_reason(make_run: RunFactory) -> None:
    run_dir = make_run(
        record={"num_val_images": 0},
        arrays={
            "val_logits": np.zeros((0, 3), np.float32),
            "val_labels": np.zeros(0, np.int64),
            "val_indices": np.zeros(0, np.int64),
        },
    )
    (run,) = load_runs(run_dir.parent).runs

    scores = derived_scores(run.predictions)

    assert scores.temperature is scores.nll_after_temperature is scores.coverage_at_99_percent is None
    assert {"temperature", "coverage_at_99_percent"} <= set(scores.reasons)


def test_a_temperature_at_the_bound_says_so(make_run: RunFactory) -> None:
    labels = np.arange(40) % 3

    scores = derived_scores(_run(make_run, val_logits=np.eye(3, dtype=np.float32)[labels]).predictions)

    assert scores.temperature == 0.01
    assert "at the bound" in scores.reasons["temperature"]


def test_top_5_is_given_from_six_classes_on(make_run: RunFactory) -> None:
    names = tuple("abcdef")
    labels, val_labels = np.arange(200) % 6, np.arange(40) % 6
    run_dir = make_run(
        data={"class_names": names},
        arrays={"test_logits": _logits(0, labels, 6), "val_logits": _logits(1, val_labels, 6)},
    )
    (run,) = load_runs(run_dir.parent).runs

    expected = np.mean(
        [label in row.argsort()[1:] for row, label in zip(_logits(0, labels, 6), labels, strict=True)]
    )

    assert derived_scores(run.predictions).top5_accuracy_percent == pytest.approx(100 * expected)


def test_robustness_that_cannot_be_read_is_missing_with_its_reason(make_run: RunFactory) -> None:
    run = _run(make_run)
    assert "not measured" in derive(run, run.predictions).reasons["robustness"]

    (run.run_dir / "robustness.npz").write_bytes(b"damaged")

    derived = derive(run, run.predictions)
    assert derived.robustness is None
    assert derived.scores == derived_scores(run.predictions)
    assert "robustness.npz: cannot be read" in derived.reasons["robustness"]
