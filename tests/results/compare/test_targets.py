from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError, UsageError
from results.audit.result import StoredAudit
from results.compare.targets import read_targets

RunFactory = Callable[..., Path]


def _audit(folder: Path, vendor: str = "Detectocorp") -> Path:
    """The audit of a vendor that says class 0 of each of 200 images."""
    folder.mkdir()
    stored = StoredAudit(
        vendor=vendor,
        claim_percent=None,
        claim_source="none",
        kind="file",
        source="answers.csv",
        source_sha256="0" * 64,
        images="labels.npy",
        test_fingerprint=None,
        labels_sha256="1" * 64,
        num_images=200,
        num_correct=67,
        price_per_1000_images_usd=None,
        endpoint=None,
        cheapest_better=None,
        cheapest_better_reason="none",
        num_runs_compared=0,
        num_runs_on_other_images=0,
        same_images_by=None,
        notes=(),
        audited_at="2026-11-20T10:00:00+00:00",
    )
    (folder / "audit.json").write_text(stored.model_dump_json())
    np.savez(folder / "predictions.npz", classes=np.zeros(200, np.int64), labels=np.arange(200) % 3)
    return folder


def _classes(path: Path, classes: list[int]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(classes))
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    np.save(tmp_path / "labels.npy", np.arange(200) % 3)
    return tmp_path / "labels.npy"


def test_runs_audits_and_files_are_read_together(make_run: RunFactory, tmp_path: Path, labels: Path) -> None:
    audit = _audit(tmp_path / "a")
    file = _classes(tmp_path / "theirs.json", [0, 1] * 100)

    found = read_targets([make_run(), audit, file], labels)

    assert [each.name for each in found][1:] == ["Detectocorp", "theirs.json"]
    assert found[0].fingerprint is not None
    assert found[0].league == "from scratch"
    assert found[1].fingerprint is None


@pytest.mark.parametrize("file", ["", "audit.json", "predictions.npz"])
def test_an_audit_goes_by_its_vendor_whichever_of_its_files_is_named(
    make_run: RunFactory, tmp_path: Path, file: str
) -> None:
    audit = _audit(tmp_path / "folder", "Evil\x1b[2J\nInc.")

    found = read_targets([make_run(), audit / file], None)

    assert found[1].name == "Evil?[2J Inc."
    with pytest.raises(UsageError, match="given 2 times"):
        read_targets([audit, audit / file], None)


def test_two_audits_of_one_vendor_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    audits = [_audit(tmp_path / name) for name in ("may", "june")]

    assert [each.name for each in read_targets(audits, None)] == [str(path) for path in audits]


def test_an_audit_that_is_damaged_is_refused(make_run: RunFactory, tmp_path: Path) -> None:
    audit = _audit(tmp_path / "folder")
    (audit / "audit.json").write_text("{}")

    with pytest.raises(DataError, match="audit the vendor again"):
        read_targets([make_run(), audit], None)


def test_two_seeds_of_a_cell_have_names_of_their_own(make_run: RunFactory) -> None:
    first, second = read_targets([make_run(cell={"seed": seed}) for seed in (0, 1)], None)

    assert "seed 0" in first.name
    assert "seed 1" in second.name


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, labels: Path) -> None:
    paths = [_classes(tmp_path / folder / "p.json", [0] * 200) for folder in ("one", "two")]

    assert [each.name for each in read_targets(paths, labels)] == [str(path) for path in paths]


def test_one_system_given_twice_is_refused(make_run: RunFactory, tmp_path: Path, labels: Path) -> None:
    run = make_run()
    file = _classes(tmp_path / "p.json", [0] * 200)

    with pytest.raises(UsageError, match="given 2 times"):
        read_targets([run, run / "predictions.npz"], None)
    with pytest.raises(UsageError, match=r"'p\.json' is given 2 times"):
        read_targets([file, run, tmp_path / "." / "p.json"], labels)


def test_one_system_is_no_comparison(make_run: RunFactory) -> None:
    with pytest.raises(UsageError, match="at least two"):
        read_targets([make_run()], None)


def test_labels_for_runs_alone_are_in_vain(make_run: RunFactory, labels: Path) -> None:
    with pytest.raises(UsageError, match="leave out --labels"):
        read_targets([make_run(), make_run(cell={"seed": 1})], labels)


def test_a_file_without_labels_needs_them(make_run: RunFactory, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--labels"):
        read_targets([make_run(), _classes(tmp_path / "p.json", [0] * 200)], None)
