"""Machine time of runs, spent and lost, from their records.

spent = time_spent(load_runs(folder))
spent.lost.hours, spent.lost.core_hours
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.record import PRUNED, Record
from results.publish.compact import failed_attempts
from results.store import Run

_SECONDS_PER_HOUR = 3600


@dataclass
class Share:
    """Some runs or attempts, and the time that they took."""

    count: int = 0
    hours: float = 0.0
    """Added up over cells, however many ran side by side."""

    core_hours: float = 0.0
    """These hours times the CPU threads of all processes, as far as records say how many."""

    gpu_hours: float = 0.0
    """These hours times the GPUs."""

    train_pflop: float = 0.0
    num_unknown: int = 0
    """Records that another process wrote, and that do not say what they ran on."""

    def add(self, record: Record, seconds: float) -> None:
        """Count one run or attempt."""
        hours, environment = seconds / _SECONDS_PER_HOUR, record.environment
        self.count += 1
        self.hours += hours
        if environment is None:
            self.num_unknown += 1
        else:
            self.core_hours += hours * environment.num_processes * environment.threads_per_process
            self.gpu_hours += hours * environment.num_processes * (environment.device_type == "cuda")
        if record.status == "finished" and record.model is not None:
            self.train_pflop += record.model.total_train_flops / 1e15


@dataclass(frozen=True)
class Spent:
    """Where the time of a folder of runs went."""

    finished: Share = field(default_factory=Share)
    """From the start of each process to its record; of a run that was stopped and went on, all attempts."""

    stopped: Share = field(default_factory=Share)
    """Runs that a budget stopped early, so far."""

    lost: Share = field(default_factory=Share)
    """Attempts that failed: of their own runs, and of runs that finished or were stopped later."""


def time_spent(runs: Iterable[Run]) -> Spent:
    """Add up the time of runs and of their earlier attempts.

    Raises:
        DataError: a record of an earlier attempt cannot be read.
    """
    spent = Spent()
    for run in runs:
        record = run.record
        if record.failure is not None:
            share = spent.stopped if record.failure.kind == PRUNED else spent.lost
            share.add(record, record.failure.burnt_s)
        else:
            measured = record.measurements
            assert measured is not None
            spent.finished.add(record, measured.wall_time_s + (measured.launch_time_s or 0.0))
        _add_attempts(spent.lost, run.run_dir)
    return spent


def _add_attempts(lost: Share, run_dir: Path) -> None:
    for attempt in failed_attempts(run_dir):
        assert attempt.failure is not None
        lost.add(attempt, attempt.failure.burnt_s)
