from __future__ import annotations

from typing import Any

import pytest

from harness.interval import wilson_interval
from harness.record import EpochRow, Record, read_record
from results.value.crossing import Crossing, crossing_of
from tests.results.conftest import RunFactory

NUM_VAL = 1000


def record_of(make_run: RunFactory, accuracies: list[float | None], **changes: Any) -> Record:
    history = tuple(
        EpochRow(epoch=epoch, train_loss=1, val_loss=1, val_accuracy=accuracy, lr=0.1, train_time_s=1)
        for epoch, accuracy in enumerate(accuracies, start=1)
    )
    run_dir = make_run(
        record={"history": history, "num_val_images": NUM_VAL} | changes.pop("record", {}), **changes
    )
    record = read_record(run_dir)
    assert record is not None
    return record


def test_the_first_epoch_whose_lower_bound_passes_counts(make_run: RunFactory) -> None:
    # 72% of 1,000 is above 70%, yet its interval is not; that of 73% is.
    assert 100 * wilson_interval(720, NUM_VAL)[0] < 70 < 100 * wilson_interval(730, NUM_VAL)[0]
    record = record_of(make_run, [0.6, 0.72, 0.73, 0.9, 0.5, 0.9, 0.9, 0.9])

    found = crossing_of(record, 70)

    assert isinstance(found, Crossing)
    assert found.epoch == 3
    assert found.val_low_percent == 100 * wilson_interval(730, NUM_VAL)[0]
    assert found.pflop == pytest.approx(0.18 * 3 / 8)  # 8 epochs, 180 TFLOP in all
    assert not found.is_upper_bound


def test_smaller_early_images_make_it_an_upper_bound(make_run: RunFactory) -> None:
    recipe = record_of(make_run, []).cell.recipe.model_dump() | {"start_scale": 0.5}
    found = crossing_of(record_of(make_run, [0.9], cell={"recipe": recipe}), 70)
    assert isinstance(found, Crossing)
    assert found.is_upper_bound


def test_features_that_are_computed_once_are_paid_before_the_first_epoch(make_run: RunFactory) -> None:
    record = record_of(make_run, [0.9])
    recipe = record.cell.recipe.model_copy(update={"tuning": "head"})
    record = record.model_copy(update={"cell": record.cell.model_copy(update={"recipe": recipe})})
    found = crossing_of(record, 70)
    assert isinstance(found, Crossing)
    assert record.num_fit_images is not None
    features = record.num_fit_images * 150e6
    assert found.pflop * 1e15 == pytest.approx(features + (180e12 - features) / 8)


@pytest.mark.parametrize(
    ("accuracies", "num_val", "reason"),
    [
        ([0.6, 0.7], NUM_VAL, "after no epoch did the interval lie above 70%"),
        ([None], 0, "no validation images were held out"),
        ([], NUM_VAL, "the record has no history"),
    ],
)
def test_without_a_crossing_there_is_a_reason(
    make_run: RunFactory, accuracies: list[float | None], num_val: int, reason: str
) -> None:
    record = record_of(make_run, accuracies, record={"num_val_images": num_val})
    assert crossing_of(record, 70) == reason
