"""The cells of a matrix, from the queue through an executor to their ends. No torch here.

    summary = Scheduler(queue, executor, claims, watcher, policy).run()

One loop, a few times a second: see what ended, keep what it left, start what there is room for. Nothing
that counts is only in memory: a launcher that is killed leaves records, checkpoints and claims that die
with it, and the same command goes on from them.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from harness.cell import CellSpec
from launch.claim import Claims
from launch.job import RETRIED, Ended, Executor, Job
from launch.outcome import keep_failure
from launch.pending import Queue, status_of
from results.store import one_line

TICK_S = 0.1
LOOK_ELSEWHERE_S = 5.0
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 5.0, 300.0
_STOPPING = {"interrupted", "paused"}


@dataclass(frozen=True)
class Policy:
    """What is done about failures."""

    retries: int = 1
    """Further attempts of a cell whose end another one can cure."""

    fail_fast: bool = False
    """Stop all at the first failure."""


@dataclass
class Summary:
    """What became of the cells."""

    finished: list[str] = field(default_factory=list)
    """Here, by this launcher; cell ids."""

    elsewhere: list[str] = field(default_factory=list)
    """Finished by others while this launcher ran."""

    failed: dict[str, Ended] = field(default_factory=dict)
    pruned: list[Ended] = field(default_factory=list)
    """Stopped early, as a budget has no room for all."""

    unfinished: int = 0
    """Stopped or never started, because of a signal, a budget or --fail-fast."""

    was_interrupted: bool = False

    def failures(self) -> Counter[str]:
        """How many failed in which way."""
        return Counter(ended.kind for ended in self.failed.values())


class Watcher(Protocol):
    """Who is told what happens."""

    def event(self, text: str) -> None:
        """Something that a person should read."""

    def tick(self, scheduler: Scheduler) -> None:
        """Time has passed."""

    def ended(self, ended: Ended) -> None:
        """An attempt has ended and what it left is kept."""


class Scheduler:
    """Runs the cells of a queue until none is left.

    Args:
        out: folder of the runs.
        queue: what is to be run, in which order.
        executor: what runs it.
        claims: who runs it, where several launchers work on one folder.
        watcher: who is told.
        command_of: what a person types to run an attempt alone.
        policy: about failures.
    """

    def __init__(
        self,
        out: Path,
        queue: Queue,
        executor: Executor,
        claims: Claims,
        watcher: Watcher,
        command_of: Callable[[Job], str],
        policy: Policy,
    ) -> None:
        self._out = out
        self.queue = queue
        self.executor = executor
        self.summary = Summary()
        self.started: dict[Job, float] = {}
        """When each running attempt began, by the monotonic clock."""

        self._claims = claims
        self._watcher = watcher
        self._command_of = command_of
        self._policy = policy
        self._elsewhere: dict[str, CellSpec] = {}
        self._looked_elsewhere = 0.0
        self._num_signals = 0
        self._handled_signals = 0
        self.is_stopping = False

    def run(self) -> Summary:
        """Run everything; what became of it.

        Raises:
            StorageError: the folder of the runs cannot be written any more; what runs is stopped before.
        """
        before = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            while self._has_work():
                self._tick()
                time.sleep(TICK_S)
        finally:
            self.executor.close()
            self._claims.release_all()
            for number, handler in before.items():
                signal.signal(number, handler)
        self.summary.unfinished = len(self.queue) + len(self._elsewhere)
        self.summary.was_interrupted = self._num_signals > 0
        return self.summary

    def stop(self, why: str) -> None:
        """Start nothing more, and let what runs save a checkpoint and stop."""
        if not self.is_stopping:
            self.is_stopping = True
            self._watcher.event(why)
            self.executor.stop(hard=False)

    def _has_work(self) -> bool:
        if self.executor.running():
            return True
        return not self.is_stopping and bool(len(self.queue) or self._elsewhere)

    def _tick(self) -> None:
        self._heed_signals()
        for ended in self.executor.poll():
            self._settle(ended)
        self._heed_lost_claims()
        if not self.is_stopping:
            over = self.queue.over()
            if over is not None:
                self.stop(over)
        if not self.is_stopping:
            self._look_elsewhere()
            self._fill()
        self._watcher.tick(self)

    def _fill(self) -> None:
        """Start attempts while there is room for the next."""
        while True:
            job = self.queue.next(self.executor.has_room)
            if job is None:
                return
            cell_id = job.cell.cell_id
            if not self._claims.try_claim(cell_id):
                self._elsewhere[cell_id] = job.cell
                continue
            if status_of(self._out, job.cell) == "finished":  # by another, between our look and our claim
                self._claims.release(cell_id)
                self.summary.elsewhere.append(cell_id)
                self.queue.settled(job.cell)
                continue
            self.executor.start(job)
            self.started[job] = time.monotonic()
            self._watcher.event(f"start {job.cell.label()}{_again(job)} on {self.executor.place(job)}")

    def _settle(self, ended: Ended) -> None:
        """Keep what an attempt left, and decide whether it is tried again."""
        job, cell_id = ended.job, ended.job.cell.cell_id
        self.started.pop(job, None)
        if ended.kind == "taken":
            self._claims.release(cell_id)
            self._elsewhere[cell_id] = job.cell
            return
        if ended.kind == "finished":
            self.summary.finished.append(cell_id)
            self.queue.finished(ended)
        elif ended.kind in _STOPPING:
            self.queue.paused(ended)
        else:
            keep_failure(ended, self._command_of(job))
            self._after_failure(ended)
        self._claims.release(cell_id)
        self._watcher.ended(ended)

    def _after_failure(self, ended: Ended) -> None:
        job = ended.job
        if ended.kind in RETRIED and job.attempt <= self._policy.retries and not self.is_stopping:
            wait_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** (job.attempt - 1))
            self.queue.again(job, wait_s)
            return
        self.summary.failed[job.cell.cell_id] = ended
        self.queue.failed(ended)
        if self._policy.fail_fast:
            self.stop(
                f"stopping all, as --fail-fast says: {job.cell.label()}: {one_line(ended.message, 120)}"
            )

    def _heed_lost_claims(self) -> None:
        lost = set(self._claims.refresh())
        for job in self.executor.running():
            if job.cell.cell_id in lost:
                self._watcher.event(f"{job.cell.label()}: another launcher took it over: stopped here")
                self.executor.stop(hard=True, job=job)

    def _look_elsewhere(self) -> None:
        """Take up what other launchers had and did not finish."""
        now = time.monotonic()
        if not self._elsewhere or now - self._looked_elsewhere < LOOK_ELSEWHERE_S:
            return
        self._looked_elsewhere = now
        for cell_id, cell in list(self._elsewhere.items()):
            state = status_of(self._out, cell)
            if state is not None:  # where it failed, that launcher has tried it as often as it helps
                del self._elsewhere[cell_id]
                self.queue.settled(cell)
                if state == "finished":
                    self.summary.elsewhere.append(cell_id)
            elif self._claims.holder(cell_id) is None:
                del self._elsewhere[cell_id]
                self.queue.add(cell)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._num_signals += 1

    def _heed_signals(self) -> None:
        if self._num_signals == self._handled_signals:
            return
        is_first = self._handled_signals == 0
        self._handled_signals = self._num_signals
        if is_first and self._num_signals == 1:
            self.stop("stopping: running cells save a checkpoint (once more: kill them)")
        else:
            self.is_stopping = True
            self._watcher.event("killing what runs; it goes on from earlier checkpoints")
            self.executor.stop(hard=True)


def _again(job: Job) -> str:
    return f", attempt {job.attempt}" if job.attempt > 1 else ""


def failure_line(ended: Ended) -> str:
    """One line about a failure: what, how, after how long, where to read more."""
    words = ended.kind.replace("_", " ")
    return (
        f"{words}: {ended.job.cell.label()} after {ended.seconds:,.0f} s: {one_line(ended.message, 300)} "
        f"(see {ended.job.run_dir / 'output.txt'})"
    )
