from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from results.score import ranked, score_run
from results.store import load_runs

RunFactory = Callable[..., Path]

PFLOP = 10**15


def test_value_is_accuracy_over_training_compute(make_run: RunFactory, runs: Path) -> None:
    make_run(180, model={"total_train_flops": PFLOP // 5, "num_params": 5_570_000})

    score = score_run(load_runs(runs).runs[0])

    assert score.accuracy_percent == 90
    assert score.total_train_pflop == 0.2
    assert score.accuracy_per_pflop == pytest.approx(450)
    assert score.share_of_gpipe_accuracy_percent == pytest.approx(100 * 90 / 99)
    assert score.share_of_gpipe_params_percent == pytest.approx(1)


@pytest.mark.parametrize(
    ("num_correct", "clears"), [(7000, False), (7089, False), (7090, True), (9900, True)]
)
def test_a_cell_clears_the_bar_only_when_its_whole_interval_does(
    make_run: RunFactory, runs: Path, num_correct: int, clears: bool
) -> None:
    make_run(num_correct, num_test=10_000)

    score = score_run(load_runs(runs).runs[0])

    assert score.clears_vendor_bar is clears
    assert (score.accuracy_low_percent > 70) is clears


def test_cheap_models_that_are_not_worth_having_come_after_all_that_are(
    make_run: RunFactory, runs: Path
) -> None:
    make_run(180, cell={"model": "resnet18"}, model={"total_train_flops": 30 * PFLOP})
    make_run(180, cell={"model": "fast_cnn"}, model={"total_train_flops": PFLOP // 5})
    make_run(90, cell={"model": "mlp"}, model={"total_train_flops": PFLOP // 1000})
    make_run(80, cell={"model": "simple_cnn"}, model={"total_train_flops": PFLOP // 10_000})

    order = [run.record.cell.model for run, _ in ranked(load_runs(runs).runs)]

    assert order == ["fast_cnn", "resnet18", "simple_cnn", "mlp"]


def test_failed_runs_are_not_ranked(make_run: RunFactory, make_failed_run: RunFactory, runs: Path) -> None:
    make_run()
    make_failed_run(seed=1)

    assert len(ranked(load_runs(runs).runs)) == 1


def test_no_share_of_gpipe_accuracy_on_other_data(make_run: RunFactory, runs: Path) -> None:
    make_run(cell={"dataset": "digits"}, data={"dataset": "digits"})

    assert score_run(load_runs(runs).runs[0]).share_of_gpipe_accuracy_percent is None
