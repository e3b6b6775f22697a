"""Real processes that are stopped or killed within a cell, and started again by the same command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness.record import Record, read_record

SCRIPT = str(Path(__file__).resolve().parents[2] / "harness" / "run.py")
ONE = [sys.executable, SCRIPT, "--cpu"]
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", SCRIPT]
OPTIONS = "--dataset digits --model resnet20 --image-size 8 --set ema_decay=0.99 --recipe demo --epochs 6"
CELL = [*OPTIONS.split(), "--precision", "fp32", "--threads", "1"]
OFTEN = ["--checkpoint-minutes", "0.002"]
COMMANDS = {"one process": [*ONE, *CELL, *OFTEN], "two processes": [*TWO, *CELL, *OFTEN]}


def start(command: list[str], folder: Path, **variables: str) -> subprocess.Popen[str]:
    environment = os.environ | {"ACCELERATE_USE_CPU": "true"} | variables
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(command: list[str], folder: Path) -> tuple[Record, dict[str, bytes]]:
    """Run to the end; the record, and the bytes of the losses and predictions."""
    folder.mkdir(exist_ok=True)
    child = start(command, folder)
    output, _ = child.communicate(timeout=250)
    assert child.returncode == 0, output
    (path,) = (folder / "runs").glob("*/record.json")
    record = read_record(path.parent)
    assert record is not None
    arrays = {"loss": np.load(path.with_name("steps.npz"))["loss"]} | dict(
        np.load(path.with_name("predictions.npz"))
    )
    return record, {name: array.tobytes() for name, array in arrays.items()}


def newest_step(folder: Path) -> int:
    """Steps in the newest checkpoint; 0 where there is none."""
    found = (folder / "runs").glob("*/checkpoint/step-*/manifest.json")
    return max((int(path.parent.name.removeprefix("step-")) for path in found), default=0)


def wait_for_progress(child: subprocess.Popen[str], folder: Path) -> None:
    """Return when a checkpoint is there that was not there before, or the child has ended."""
    before = newest_step(folder)
    while child.poll() is None and newest_step(folder) <= before:
        time.sleep(0.01)


def kill_all(child: subprocess.Popen[str]) -> None:
    """Kill the launcher and its workers, which have sessions of their own."""
    launcher = psutil.Process(child.pid)
    for process in [launcher, *launcher.children(recursive=True)]:
        process.kill()
    child.communicate()


@pytest.mark.parametrize("kind", ["one process", pytest.param("two processes", marks=pytest.mark.slow)])
def test_killed_cells_go_on_to_the_same_bits(tmp_path: Path, kind: str) -> None:
    command = COMMANDS[kind]
    _, expected = finish(command, tmp_path / "whole")
    (tmp_path / "killed").mkdir()
    child = start(command, tmp_path / "killed")
    wait_for_progress(child, tmp_path / "killed")
    kill_all(child)
    record, found = finish(command, tmp_path / "killed")
    assert record.measurements is not None
    assert record.measurements.num_resumes == 1
    assert found == expected


def test_a_signal_to_one_of_two_processes_stops_both_after_the_same_step(tmp_path: Path) -> None:
    command = [*TWO, *CELL, "--checkpoint-epochs", "1"]
    _, expected = finish(command, tmp_path / "whole")
    folder = tmp_path / "stopped"
    folder.mkdir()
    child = start(command, folder)
    wait_for_progress(child, folder)
    workers = [process for process in psutil.Process(child.pid).children() if SCRIPT in process.cmdline()]
    assert len(workers) == 2
    workers[-1].send_signal(signal.SIGTERM)
    output, _ = child.communicate(timeout=60)
    assert "  stopped in epoch" in output
    assert newest_step(folder) > 0
    record, found = finish(command, folder)
    assert record.measurements is not None
    assert record.measurements.num_resumes == 1
    assert found == expected


@pytest.mark.parametrize(
    "start_line",
    [pytest.param(ONE, id="one process"), pytest.param(TWO, id="two processes", marks=pytest.mark.slow)],
)
def test_paused_cells_go_on_to_the_same_bits(tmp_path: Path, start_line: list[str]) -> None:
    command = [*start_line, *CELL, "--checkpoint-minutes", "0"]
    _, expected = finish(command, tmp_path / "whole")
    folder, outcome = tmp_path / "paused", tmp_path / "outcome.json"
    folder.mkdir()
    for attempt in range(2):  # the second one has nothing to do
        launched = [*command, "--until-epoch", "1", "--no-table"]
        child = start(launched, folder, VERDICT_OUTCOME_FILE=str(outcome))
        output, _ = child.communicate(timeout=120)
        assert child.returncode == 0, output
        assert output.rstrip().endswith("  paused after epoch 1")
        assert ("epoch   1/6" in output) == (attempt == 0)
        assert json.loads(outcome.read_text())["kind"] == "paused"
        outcome.unlink()
    (live,) = folder.glob("runs/*/live.json")
    assert json.loads(live.read_text())["epoch"] == 1
    assert not (folder / "runs" / "results.csv").exists()
    assert not live.with_name("record.json").exists()
    _, found = finish(command, folder)
    assert found == expected
    assert not live.exists()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_processes_killed_at_fifty_moments_end_in_the_same_bits(tmp_path: Path) -> None:
    """Moments spread over start, training and scoring; nothing but the same command goes on."""
    command = COMMANDS["two processes"]
    _, expected = finish(command, tmp_path / "whole")
    (tmp_path / "killed").mkdir()
    for pause_s in np.random.default_rng(0).uniform(3, 14, 50):
        child = start(command, tmp_path / "killed")
        try:
            child.communicate(timeout=pause_s)
        except subprocess.TimeoutExpired:
            kill_all(child)
    _, found = finish(command, tmp_path / "killed")
    assert found == expected
