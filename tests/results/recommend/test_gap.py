"""By how much ours is better, and when that counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import UsageError
from harness.interval import wilson_interval
from results.audit.result import read_audit
from results.recommend.gap import OTHER_IMAGES_POINTS, Gap, gap_to_audit, gap_to_claim
from results.store import Run, load_run
from tests.results.conftest import RunFactory
from tests.results.recommend.recommend_helpers import audit_of, classes_of


def run_in(run_dir: Path) -> Run:
    found = load_run(run_dir)
    assert found is not None
    return found[0]


def test_against_a_claim_the_interval_is_that_of_our_accuracy(make_run: RunFactory) -> None:
    gap = gap_to_claim(run_in(make_run(9300, num_test=10_000)), 70.0)
    low, high = wilson_interval(9300, 10_000)
    assert gap.points == pytest.approx(23)
    assert (gap.low_points, gap.high_points) == pytest.approx((100 * low - 70, 100 * high - 70))
    assert gap.margin_points == 0
    assert gap.better == "ours"


@pytest.mark.parametrize(
    ("num_correct", "better"), [(8200, "ours"), (7900, None), (6200, None), (5800, "vendor")]
)
def test_against_a_claim_about_other_images_ten_points_more_are_asked_for(
    make_run: RunFactory, num_correct: int, better: str | None
) -> None:
    gap = gap_to_claim(run_in(make_run(num_correct, num_test=10_000, data={"official": False})), 70.0)
    assert gap.margin_points == OTHER_IMAGES_POINTS
    assert gap.better == better


def test_a_difference_within_the_interval_is_no_difference(make_run: RunFactory) -> None:
    assert gap_to_claim(run_in(make_run(7050, num_test=10_000)), 70.0).better is None


def test_against_an_audit_images_are_compared_one_by_one(make_run: RunFactory, tmp_path: Path) -> None:
    run_dir = make_run(180)
    wrong = np.arange(60) + 140  # 40 of them are right in our run
    audit = read_audit(audit_of(run_dir, tmp_path / "audit", classes_of(run_dir, wrong)))
    gap = gap_to_audit(run_in(run_dir), audit)
    assert gap.points == pytest.approx(100 * 40 / 200)
    assert gap.p_value == pytest.approx(2 / 2**40)
    assert gap.better == "ours"
    assert gap.margin_points == 0


def test_an_audit_that_is_as_good_cannot_be_told_apart(make_run: RunFactory, tmp_path: Path) -> None:
    run_dir = make_run(180)
    audit = read_audit(audit_of(run_dir, tmp_path / "audit", classes_of(run_dir, np.arange(20))))
    gap = gap_to_audit(run_in(run_dir), audit)
    assert (gap.points, gap.p_value, gap.better) == (0, 1, None)


def test_an_audit_of_other_images_is_refused(make_run: RunFactory, tmp_path: Path) -> None:
    audited = make_run(180)
    audit = read_audit(audit_of(audited, tmp_path / "audit", classes_of(audited, np.arange(20))))
    other = make_run(180, cell={"seed": 1}, data={"test_fingerprint": "0" * 64})
    with pytest.raises(UsageError, match="about other images than the run"):
        gap_to_audit(run_in(other), audit)


def test_standard_errors_are_counted_from_the_margin() -> None:
    gap = Gap(points=10, low_points=8, high_points=12, p_value=None, margin_points=10)
    assert gap.standard_errors == 0
    for points in (14, -14):
        beyond = Gap(points, points - 2, points + 2, None, 10)
        assert beyond.standard_errors == pytest.approx(4 / (2 / 1.959964), rel=1e-5)
