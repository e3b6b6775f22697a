"""`python -m launch reproduce`: a real training on the digits, published, and trained again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.console import EXIT_BAD_INPUT
from launch.command import ROOT

TRAIN = [
    "harness/run.py",
    "--dataset",
    "digits",
    "--model",
    "mlp",
    "--epochs",
    "1",
    "--cpu",
    "--threads",
    "1",
]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=240
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The only run of a published folder."""
    folder = tmp_path_factory.mktemp("published")
    done = run(*TRAIN, "--precision", "fp32", "--seed", "0", "--out", folder / "runs")
    assert done.returncode == 0, done.stderr
    done = run("-m", "results", "publish", folder / "runs", folder / "two-cores")
    assert done.returncode == 0, done.stderr
    [run_dir] = [path for path in (folder / "two-cores" / "runs").iterdir() if path.is_dir()]
    return run_dir


def test_the_same_cell_agrees_with_itself_and_is_not_trained_twice(published: Path, tmp_path: Path) -> None:
    words = ("-m", "launch", "reproduce", published, "--out", tmp_path, "--threads", "1", "--cpu")
    first = run(*words)
    assert first.returncode == 0, first.stderr
    assert "it agrees" in first.stdout
    assert "training mlp" in first.stdout
    second = run(*words)
    assert second.returncode == 0
    assert "training mlp" not in second.stdout
    assert second.stdout.splitlines()[-4:] == first.stdout.splitlines()[-4:]


def test_bad_input_is_one_line(published: Path, tmp_path: Path) -> None:
    for words, message in (
        ((tmp_path,), "holds no run"),
        ((published, "--out", published.parent), "holds the published run itself"),
    ):
        done = run("-m", "launch", "reproduce", *words)
        assert done.returncode == EXIT_BAD_INPUT
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_other_data_is_refused_and_said_by_the_run_itself(published: Path, tmp_path: Path) -> None:
    other = tmp_path / published.name
    shutil.copytree(published, other)
    text = (other / "record.json").read_text()
    (other / "record.json").write_text(text.replace('"dataset": "digits"', '"dataset": "nothing"', 1))
    done = run("-m", "launch", "reproduce", other, "--out", tmp_path / "again")
    assert done.returncode == EXIT_BAD_INPUT
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "again").exists()
