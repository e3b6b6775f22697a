"""A small matrix of real cells on a cluster, one of which is killed on its way."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from harness.live import read_live
from harness.record import Record, read_record
from launch.claim import Claims
from launch.job import Ended, Executor, Job
from launch.pending import Plain
from launch.scheduler import Policy, Scheduler
from launch.summary import Summary
from tests.launch.jobs import tiny_cell


class Killer:
    """A watcher that kills the first cell it sees in training."""

    def __init__(self) -> None:
        self.killed: Job | None = None
        self.ends: list[Ended] = []

    def event(self, text: str) -> None:
        pass

    def tick(self, scheduler: Scheduler) -> None:
        for job in scheduler.executor.running() if self.killed is None else ():
            live = read_live(job.run_dir)
            if live is not None and live.phase == "train":
                os.kill(live.pid, signal.SIGKILL)
                self.killed = job
                return

    def ended(self, ended: Ended) -> None:
        self.ends.append(ended)


def run_matrix_with_a_kill(out: Path, executor: Executor) -> Summary:
    """Run three cells; one is killed, tried again, and all finish."""
    killer = Killer()
    queue = Plain(out, [tiny_cell(seed=seed, fields={"epochs": 20}) for seed in range(3)])
    summary = Scheduler(out, queue, executor, Claims(out), killer, lambda job: "a command", Policy()).run()
    assert killer.killed is not None
    assert sorted(ended.kind for ended in killer.ends) == ["finished", "finished", "finished", "killed"]
    (killed,) = [ended for ended in killer.ends if ended.kind == "killed"]
    assert killed.job == killer.killed
    attempt = Record.model_validate_json((killed.job.run_dir / "attempts" / "001.json").read_text())
    assert attempt.failure is not None
    assert (attempt.failure.kind, attempt.failure.message) == ("killed", "killed by SIGKILL")
    accuracies = set()
    for ended in killer.ends:
        record = read_record(ended.job.run_dir)
        assert record is not None
        assert record.status == "finished"
        accuracies.add(record.history[-1].val_accuracy)
    assert min(value or 0 for value in accuracies) > 0.9
    return summary
