from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.errors import UsageError
from results.compare.targets import read_targets

RunFactory = Callable[..., Path]


def _classes(path: Path, classes: list[int]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(classes))
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    np.save(tmp_path / "labels.npy", np.arange(200) % 3)
    return tmp_path / "labels.npy"


def test_runs_audits_and_files_are_read_together(make_run: RunFactory, tmp_path: Path, labels: Path) -> None:
    audit = tmp_path / "detectocorp"
    audit.mkdir()
    (audit / "audit.json").write_text("{}")
    np.savez(audit / "predictions.npz", classes=np.zeros(200, np.int64), labels=np.arange(200) % 3)
    file = _classes(tmp_path / "theirs.json", [0, 1] * 100)

    found = read_targets([make_run(), audit, file], labels)

    assert [each.name for each in found][1:] == ["detectocorp", "theirs.json"]
    assert found[0].fingerprint is not None
    assert found[0].league == "from scratch"
    assert found[1].fingerprint is None


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
