from __future__ import annotations

import math
from pathlib import Path

import pytest
from statsmodels.stats.weightstats import DescrStatsW

from harness.errors import UsageError
from results.compare.again import compare_again, prediction_interval
from tests.results.conftest import RunFactory


def copied(run_dir: Path, folder: Path) -> Path:
    """The run in another folder of runs."""
    target = folder / run_dir.name
    target.parent.mkdir(parents=True, exist_ok=True)
    run_dir.rename(target)
    return target


def test_the_prediction_interval_is_that_of_a_textbook() -> None:
    # Hahn & Meeker 1991, section 4.7, by hand: mean 50.10, s 1.31, n 5, t(0.975, 4) = 2.776
    low, high = prediction_interval([51.4, 49.5, 48.7, 49.3, 51.6])
    assert (low, high) == pytest.approx((46.1, 54.1), abs=0.06)


def test_the_prediction_interval_is_wider_than_that_of_the_mean_by_the_known_factor() -> None:
    values = [90.1, 90.4, 89.8]
    low, high = prediction_interval(values)
    mean_low, mean_high = DescrStatsW(values).tconfint_mean()
    assert (high - low) / (mean_high - mean_low) == pytest.approx(math.sqrt(1 + 3))


@pytest.mark.parametrize(("num_correct", "agrees"), [(180, True), (183, True), (120, False)])
def test_a_new_run_is_held_against_the_spread_of_the_seeds(
    make_run: RunFactory, tmp_path: Path, num_correct: int, agrees: bool
) -> None:
    again = copied(make_run(num_correct), tmp_path / "again")
    published = make_run(180)
    make_run(184, cell={"seed": 1})
    make_run(178, cell={"seed": 2})
    make_run(20, cell={"seed": 3, "model": "mlp"})  # another cell
    found = compare_again(published, again)
    assert found.basis == "seeds"
    assert sorted(found.seeds_percent) == [89.0, 90.0, 92.0]
    assert found.agrees is agrees


def test_seeds_that_leave_every_accuracy_open_are_no_agreement(make_run: RunFactory, tmp_path: Path) -> None:
    again = copied(make_run(100), tmp_path / "again")
    published = make_run(180)
    make_run(100, cell={"seed": 1})
    found = compare_again(published, again)
    assert (found.low_percent, found.high_percent) == (0.0, 100.0)
    assert not found.can_tell
    assert not found.agrees


def test_seeds_that_cannot_be_trusted_are_named(make_run: RunFactory, tmp_path: Path) -> None:
    again = copied(make_run(180), tmp_path / "again")
    published = make_run(180)
    damaged = make_run(184, cell={"seed": 1})
    (damaged / "predictions.npz").write_bytes(b"PK")
    found = compare_again(published, again)
    assert found.basis == "images"
    assert damaged.name in " ".join(found.warnings)


@pytest.mark.parametrize(("num_correct", "agrees"), [(180, True), (176, True), (150, False)])
def test_one_seed_is_compared_image_by_image(
    make_run: RunFactory, tmp_path: Path, num_correct: int, agrees: bool
) -> None:
    again = copied(make_run(num_correct), tmp_path / "again")
    found = compare_again(make_run(180), again)
    assert found.basis == "images"
    assert found.seeds_percent == (90.0,)
    assert found.published_percent == 90.0
    assert found.low_percent <= 90.0 <= found.high_percent
    assert found.agrees is agrees


def test_what_is_no_run_is_a_users_error(make_run: RunFactory, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        compare_again(make_run(), tmp_path / "nothing")
