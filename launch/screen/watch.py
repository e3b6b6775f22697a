"""From the scheduler to a person's eyes: the screen, `results.csv`, what other shells see. No torch here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from rich.console import Console

from harness.cell import CellSpec
from harness.errors import VerdictError
from launch.job import Ended
from launch.plan.plan import Plan
from launch.plan.states import scan_runs
from launch.plan.time_left import TimeLeft
from launch.scheduler import Scheduler
from launch.screen.running import attempt_shown
from launch.screen.snapshot import Announcement, Snapshot
from launch.screen.text import duration
from launch.screen.top import Top
from launch.screen.view import View
from launch.summary import Summary, failure_line
from results.leaderboard.table import print_leaderboard
from results.table import write_csv

NUM_NEXT, NUM_TOP = 5, 5
CSV_SHARE = 0.005
"""Of the time, at most, for rebuilding the table: with thousands of runs that takes seconds."""


class Watch:
    """See `launch.scheduler.Watcher`; to be used in a `with` block.

    Args:
        out: folder of the runs.
        plan: of all cells.
        todo: those that are to be run.
        console: where to print.
    """

    def __init__(self, out: Path, plan: Plan, todo: list[CellSpec], console: Console) -> None:
        self._out = out
        self._console = console
        self._view = View(console)
        self._announcement = Announcement(out)
        self._time_left = TimeLeft(plan, {cell.cell_id for cell in todo})
        self._num_before = plan.totals.num_by_state["finished"]
        self._unreadable = [cell.cell.label() for cell in plan.cells if cell.state == "unreadable"]
        self._is_deaf = False
        """Nobody can be told any more: the terminal is closed, or the disk with the log is full."""

        self._table_is_old = False
        self._top = Top()
        self._csv_due = 0.0
        self._begun = time.monotonic()
        self._top.add_known(out, scan_runs(out).values())
        states = ", ".join(
            f"{number} {state}" for state, number in plan.totals.num_by_state.items() if number
        )
        self._title = f"{len(plan.cells)} cells: {states}"

    def __enter__(self) -> Self:
        self._view.__enter__()
        self.event(self._title)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._announcement.close()
        with self._as_long_as_heard():
            self._view.__exit__(kind, error, trace)

    def event(self, text: str) -> None:
        """See `launch.scheduler.Watcher.event`."""
        with self._as_long_as_heard():
            self._view.event(text)

    def tick(self, scheduler: Scheduler) -> None:
        """See `launch.scheduler.Watcher.tick`."""
        if self._table_is_old and time.monotonic() >= self._csv_due:
            self.write_table()
        if not self._view.is_due():
            return
        snapshot = self._snapshot(scheduler)
        self._announcement.update(snapshot)
        with self._as_long_as_heard():
            self._view.update(snapshot)

    def ended(self, ended: Ended) -> None:
        """See `launch.scheduler.Watcher.ended`."""
        cell = ended.job.cell
        if ended.kind == "finished":
            self._time_left.ended(cell, ended.seconds)
            self._top.add(ended.job.run_dir)
            self.event(f"finished {cell.label()} in {duration(ended.seconds)}")
        elif ended.kind in ("paused", "interrupted"):
            self.event(f"{ended.kind} {cell.label()} after {duration(ended.seconds)}")
        else:
            self._time_left.drop(cell)
            self.event(failure_line(ended))
        self._table_is_old = True

    def write_table(self) -> None:
        """Rebuild `results.csv`, and let some time pass before the next time."""
        begun = time.monotonic()
        self._table_is_old = False
        with suppress(VerdictError):  # no run yet, or the disk is full
            write_csv(self._out)
        now = time.monotonic()
        self._csv_due = now + (now - begun) / CSV_SHARE

    def conclude(self, summary: Summary) -> None:
        """Print what became of everything, and the leaderboard."""
        self.write_table()
        with self._as_long_as_heard(), suppress(VerdictError):
            print_leaderboard(self._out, self._console)
        for label in self._unreadable:
            self._line(f"not run: {label}: it has a record that cannot be read; `plan` says why")
        counts = {
            "finished": len(summary.finished),
            "finished before": self._num_before,
            "finished by other launchers": len(summary.elsewhere),
            "unreadable": len(self._unreadable),
            "pruned": len(summary.pruned),
            "failed": len(summary.failed),
            "not run": summary.unfinished - len(summary.pruned),
        }
        said = ", ".join(f"{number} {words}" for words, number in counts.items() if number > 0)
        self._line(f"{said or 'nothing to run'}; {duration(time.monotonic() - self._begun)}")
        self._line(f"runs: {self._out.resolve()}   table: {self._out.resolve() / 'results.csv'}")

    def _line(self, text: str) -> None:
        with self._as_long_as_heard():
            self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

    @contextmanager
    def _as_long_as_heard(self) -> Iterator[None]:
        """Print in the block; that nobody can read it must not end the matrix."""
        if self._is_deaf:
            self._console.quiet = True
        try:
            yield
        except (OSError, SystemExit):  # which rich raises for a broken pipe
            self._is_deaf = True

    def _snapshot(self, scheduler: Scheduler) -> Snapshot:
        summary, now = scheduler.summary, time.monotonic()
        place = scheduler.executor.place
        running = [attempt_shown(job, place(job), now - begun) for job, begun in scheduler.started.items()]
        times = {cell.cell_id: (cell.elapsed_s or 0.0, cell.share) for cell in running}
        return Snapshot(
            running=running,
            queued=scheduler.queue.labels(NUM_NEXT),
            num_queued=len(scheduler.queue),
            finished=self._num_before + len(summary.finished) + len(summary.elsewhere),
            failed=dict(summary.failures()),
            time_left_s=self._time_left.estimate_s(times),
            top=self._top.rows(NUM_TOP),
        )
