from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from harness import fold
from harness.console import EXIT_BAD_INPUT, run_command
from harness.datasets import cifar10
from harness.datasets.cifar10 import load_cifar10
from harness.errors import DataError, UsageError
from tests.harness.datasets.dataset_helpers import md5s, write_cifar


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with five small batches that count as the published ones."""
    folder = write_cifar(tmp_path / "data", num_batches=5)
    monkeypatch.setattr(cifar10, "OFFICIAL_MD5", md5s(folder))
    monkeypatch.setenv("VERDICT_CACHE", str(tmp_path / "cache"))
    return folder


def run_fold(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["fold", *map(str, arguments)])
    return run_command(fold.app, prog_name="fold")


def test_the_fold_trains_on_four_batches_and_is_tested_on_the_fifth(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_fold("--data-dir", official.parent, tmp_path / "fold", monkeypatch=monkeypatch) == 0
    whole = load_cifar10(official.parent, allow_unofficial=False, quiet=True)
    made = load_cifar10(tmp_path / "fold", allow_unofficial=True, quiet=True)
    count = len(whole.train.labels) * 4 // 5
    np.testing.assert_array_equal(made.train.images, whole.train.images[:count])
    np.testing.assert_array_equal(made.test.images, whole.train.images[count:])
    np.testing.assert_array_equal(made.test.labels, whole.train.labels[count:])
    assert not made.provenance.official


def test_a_batch_that_is_not_the_published_one_is_named_and_nothing_written(
    official: Path, tmp_path: Path
) -> None:
    (official / "data_batch_5").write_bytes(b"other")
    with pytest.raises(DataError, match="data_batch_5 is not the published file"):
        fold.make_fold(official, tmp_path / "fold")
    assert not (tmp_path / "fold").exists()


def test_a_missing_batch_is_named(official: Path, tmp_path: Path) -> None:
    (official / "data_batch_3").unlink()
    with pytest.raises(DataError, match="data_batch_3 is missing"):
        fold.make_fold(official, tmp_path / "fold")


def test_the_fold_does_not_take_the_place_of_the_data(
    official: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = md5s(official)
    for target in (official.parent, official):
        code = run_fold("--data-dir", official.parent, target, monkeypatch=monkeypatch)
        assert code == EXIT_BAD_INPUT
    assert "holds CIFAR-10 itself" in capsys.readouterr().err
    assert md5s(official) == before


def test_the_fold_does_not_take_the_place_of_data_behind_other_names(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder of the batches may itself be named, and the target may lead to it by a link."""
    before = md5s(official)
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / official.name).symlink_to(official)
    for data_dir, target in ((official, official.parent), (official.parent, linked)):
        assert run_fold("--data-dir", data_dir, target, monkeypatch=monkeypatch) == EXIT_BAD_INPUT
        assert "holds CIFAR-10 itself" in capsys.readouterr().err
    assert md5s(official) == before


def test_a_folder_with_other_batches_is_left_as_it_is(official: Path, tmp_path: Path) -> None:
    """A fifth batch that stays would put the test images among the training images."""
    for parent in (tmp_path / "other" / official.name, tmp_path / "other"):
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        shutil.copytree(official, parent)
        before = md5s(parent)
        with pytest.raises(UsageError, match="is no part of the fold: name an empty folder"):
            fold.make_fold(official, tmp_path / "other")
        assert md5s(parent) == before


def test_the_same_fold_can_be_made_again(official: Path, tmp_path: Path) -> None:
    fold.make_fold(official, tmp_path / "fold")
    before = md5s(tmp_path / "fold" / official.name)
    (tmp_path / "fold" / official.name / "data_batch_2").unlink()  # as if killed in between
    fold.make_fold(official, tmp_path / "fold")
    assert md5s(tmp_path / "fold" / official.name) == before
