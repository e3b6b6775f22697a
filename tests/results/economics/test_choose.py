"""Which run stands for building, and who for buying."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import UsageError
from results.economics.assumptions import load_assumptions
from results.economics.choose import CHOICE_COLUMNS, Candidate, choose_candidate, choose_vendor
from results.index.load import load_table
from tests.results.conftest import NUM_VAL, RunFactory
from tests.results.recommend.recommend_helpers import audit_of, classes_of


def chosen(runs: Path, cell: str | None = None, audit: Path | None = None) -> Candidate:
    return choose_candidate(load_table(runs, CHOICE_COLUMNS), cell, choose_vendor(audit), load_assumptions())


def validated(num_correct: int) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Validation logits of which the first `num_correct` are right."""
    labels = np.arange(NUM_VAL) % 3
    logits = np.zeros((NUM_VAL, 3), np.float32)
    logits[np.arange(NUM_VAL), (labels + (np.arange(NUM_VAL) >= num_correct)) % 3] = 1
    return {"val_logits": logits}


def test_validation_images_choose_and_not_the_test_images(runs: Path, make_run: RunFactory) -> None:
    make_run(199, arrays=validated(20))
    better = make_run(180, cell={"augmentation": "cutout"}, arrays=validated(39))
    assert chosen(runs).run.run_dir == better


def test_costs_choose_too(runs: Path, make_run: RunFactory) -> None:
    make_run(arrays=validated(37), model={"total_train_flops": 10**24}, measurements={"wall_time_s": 1e9})
    cheap = make_run(cell={"augmentation": "cutout"}, arrays=validated(36))
    assert chosen(runs).run.run_dir == cheap


def test_the_middle_seed_stands_for_its_cell(runs: Path, make_run: RunFactory) -> None:
    folders = [
        make_run(num_correct, cell={"seed": seed}, arrays=validated(num_val))
        for seed, (num_correct, num_val) in enumerate([(199, 30), (150, 20), (160, 25)])
    ]
    candidate = chosen(runs)
    assert candidate.run.run_dir == folders[2]
    assert {run.run_dir for run in candidate.seeds} == set(folders)
    assert any("the middle one by validation accuracy" in note for note in candidate.notes)


def test_a_named_run_is_taken(runs: Path, make_run: RunFactory) -> None:
    named = make_run(100)
    make_run(199, cell={"model": "resnet20"})
    candidate = chosen(runs, named.name[:8])
    assert candidate.run.run_dir == named
    assert "named with --cell" in candidate.notes[0]


@pytest.mark.parametrize("cell", ["", "zzz"])
def test_a_name_that_no_run_has_is_refused(runs: Path, make_run: RunFactory, cell: str) -> None:
    make_run()
    with pytest.raises(UsageError, match="unknown finished run"):
        chosen(runs, cell)


def test_failed_runs_stand_for_nothing(runs: Path, make_failed_run: RunFactory) -> None:
    make_failed_run()
    with pytest.raises(UsageError, match="no finished run"):
        chosen(runs)


def test_official_images_come_before_others(runs: Path, make_run: RunFactory) -> None:
    make_run(199, data={"official": False, "fingerprint": "0" * 64}, cell={"model": "resnet20"})
    official = make_run(150)
    candidate = chosen(runs)
    assert candidate.run.run_dir == official
    assert any("other images" in note for note in candidate.notes)


def test_the_data_of_a_claim_come_before_others(runs: Path, make_run: RunFactory) -> None:
    digits = {"dataset": "digits", "fingerprint": "0" * 64, "test_fingerprint": "0" * 64}
    make_run(199, data=digits, cell={"dataset": "digits"})
    ours = make_run(150, data={"official": False})
    assert chosen(runs).run.run_dir == ours


def test_an_audit_is_set_against_runs_on_its_images(runs: Path, make_run: RunFactory, tmp_path: Path) -> None:
    elsewhere = {"fingerprint": "0" * 64, "test_fingerprint": "0" * 64, "official": False}
    audited = make_run(150, data=elsewhere)
    audit = audit_of(audited, tmp_path / "audit", classes_of(audited, np.arange(20)))
    make_run(199, cell={"model": "resnet20"})
    assert chosen(runs, audit=audit).run.run_dir == audited


def test_an_audit_of_images_that_no_run_saw_is_refused(
    runs: Path, make_run: RunFactory, tmp_path: Path
) -> None:
    audited = make_run(150)
    audit = audit_of(audited, tmp_path / "audit", classes_of(audited, np.arange(20)))
    other = make_run(150, cell={"seed": 1}, data={"test_fingerprint": "0" * 64})
    audited.rename(tmp_path / audited.name)
    assert other.exists()
    with pytest.raises(UsageError, match="about other images than all runs"):
        chosen(runs, audit=audit)


def test_pretrained_weights_are_mentioned(runs: Path, make_run: RunFactory) -> None:
    make_run(cell={"model": "timm:resnet18", "pretrained": "hub"})
    candidate = chosen(runs)
    assert any("pre-trained weights" in note for note in candidate.notes)
    assert any("(pre-trained)" in note for note in candidate.notes)


def test_without_an_audit_the_vendor_is_detectocorps_claim() -> None:
    vendor = choose_vendor(None)
    assert (vendor.facts.name, vendor.facts.accuracy_percent, vendor.dataset) == (
        "Detectocorp",
        70.0,
        "cifar10",
    )
    assert not vendor.facts.is_measured


def test_a_folder_without_an_audit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no audit in"):
        choose_vendor(tmp_path)
