"""`python -m launch reproduce`: a real training on the digits, published, and trained again."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.console import EXIT_BAD_INPUT, EXIT_INTERRUPTED
from harness.live import read_live
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
    renamed, damaged, copied = (
        tmp_path / name for name in ("best", f"damaged/{published.name}", f"copied/{published.name}")
    )
    for folder in (renamed, damaged, copied):
        shutil.copytree(published, folder)
    (damaged / "predictions.npz").write_bytes(b"PK")
    for words, message in (
        ((tmp_path,), "holds no run"),
        ((published, "--out", published.parent), "holds the published run itself"),
        ((published / "record.json",), "holds no run"),
        ((renamed,), f"its record is of cell {published.name}"),
        ((damaged,), "its predictions cannot be read; get them again"),
        ((published, "--out", copied.parent), "is the run that was published: choose another --out"),
    ):
        done = run("-m", "launch", "reproduce", *words)
        assert done.returncode == EXIT_BAD_INPUT
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_training_that_is_stopped_saves_and_goes_on(published: Path, tmp_path: Path) -> None:
    """By SIGTERM, as a batch system sends it, to the command alone."""
    long = tmp_path / "long"
    train = (*TRAIN, "--precision", "fp32", "--seed", "1", "--checkpoint-epochs", "1")
    done = run(*train, "--epochs", "60", "--out", long)
    assert done.returncode == 0, done.stderr
    [run_dir] = [path for path in long.iterdir() if path.is_dir()]
    words = [
        "-m",
        "launch",
        "reproduce",
        str(run_dir),
        "--out",
        str(tmp_path / "again"),
        "--threads",
        "1",
        "--cpu",
    ]
    child = subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    folder = tmp_path / "again" / run_dir.name
    while child.poll() is None and ((live := read_live(folder)) is None or not 1 <= live.epoch < 50):
        time.sleep(0.01)
    child.terminate()
    _, errors = child.communicate(timeout=120)
    assert child.returncode == EXIT_INTERRUPTED, errors
    assert list(folder.glob("checkpoint/step-*/manifest.json"))
    finished = run(*words)
    assert finished.returncode == 0, finished.stderr
    assert "it agrees" in finished.stdout


def test_other_data_is_refused_and_said_by_the_run_itself(published: Path, tmp_path: Path) -> None:
    other = tmp_path / published.name
    shutil.copytree(published, other)
    text = (other / "record.json").read_text()
    (other / "record.json").write_text(text.replace('"dataset": "digits"', '"dataset": "nothing"', 1))
    done = run("-m", "launch", "reproduce", other, "--out", tmp_path / "again")
    assert done.returncode == EXIT_BAD_INPUT
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "again").exists()
