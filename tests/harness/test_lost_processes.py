"""Processes that die or hang while others wait for them: named, and restarted by the launcher."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.harness.test_resume import CELL, OFTEN, SCRIPT, finish, newest_step, start

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ACCELERATE = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2",
    "--num_machines=1", "--main_process_port=0", "--mixed_precision=no", "--dynamo_backend=no",
]  # fmt: skip
PATIENCE_S = 120


def workers_of(child: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that train, in no order; fewer while they are being started."""
    try:
        return [p for p in psutil.Process(child.pid).children(recursive=True) if SCRIPT in p.cmdline()]
    except psutil.NoSuchProcess:
        return []


def wait_for_step(child: subprocess.Popen[str], folder: Path, step: int) -> bool:
    """Whether a checkpoint after that step or a later one came to be while the child ran."""
    end = time.monotonic() + PATIENCE_S
    while child.poll() is None and newest_step(folder) <= step:
        assert time.monotonic() < end, "no new checkpoint"
        time.sleep(0.02)
    return child.poll() is None


def rank_of(worker: psutil.Process) -> int:
    return int(worker.environ()["RANK"])


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_process_that_hangs_is_named_and_ended(tmp_path: Path, rank: int) -> None:
    child = start([*TORCHRUN, SCRIPT, *CELL, *OFTEN, "--timeout", "10"], tmp_path)
    assert wait_for_step(child, tmp_path, 0)
    (lost,) = (worker for worker in workers_of(child) if rank_of(worker) == rank)
    lost.send_signal(signal.SIGSTOP)
    output, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode != 0
    assert f"error: no answer from process {rank} (pid {lost.pid} on " in output
    assert "The same command goes on from the last checkpoint" in output
    assert not lost.is_running()


@pytest.mark.parametrize(
    ("launcher", "num_kills"),
    [
        pytest.param("torchrun", 1, id="torchrun"),
        pytest.param("torchrun", 20, id="torchrun, twenty times", marks=pytest.mark.slow),
        pytest.param("accelerate", 2, id="accelerate", marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(1200)
def test_workers_that_die_are_restarted_and_training_goes_on(
    tmp_path: Path, launcher: str, num_kills: int
) -> None:
    options = [SCRIPT, *CELL, *OFTEN, "--timeout", "20"]
    _, expected = finish([*TORCHRUN, *options], tmp_path / "whole")
    folder = tmp_path / "killed"
    folder.mkdir()
    start_line = {
        "torchrun": [*TORCHRUN, "--max-restarts=40"],
        "accelerate": [*ACCELERATE, "--max_restarts=40"],
    }
    child = start([*start_line[launcher], *options], folder)
    for kill in range(num_kills):
        if not wait_for_step(child, folder, newest_step(folder)):
            pytest.fail(f"ended after {kill} kills: {child.communicate()[0]}")
        workers = workers_of(child)
        workers[kill % len(workers)].kill()
        wait_until_gone(workers)
    output, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0, output
    record, found = finish([*TORCHRUN, *options], folder)  # only reads what is there
    assert record.measurements is not None
    assert record.measurements.num_resumes >= 1
    assert found == expected


def wait_until_gone(workers: list[psutil.Process]) -> None:
    gone, left = psutil.wait_procs(workers, timeout=PATIENCE_S)
    assert not left, f"{len(gone)} have ended, {left} not"
