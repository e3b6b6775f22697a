"""The cells of a matrix, from the queue through an executor to their ends. No torch here.

    summary = Scheduler(queue, executor, claims, watcher, policy).run()

One loop, a few times a second: see what ended, keep what it left, start what there is room for. Nothing
that counts is only in memory: a launcher that is killed leaves records, checkpoints and claims that die
with it, and the same command goes on from them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.cell import CellSpec
from harness.errors import VerdictError
from launch.claim import Claims
from launch.job import RETRIED, Ended, Executor, Job
from launch.outcome import Seen, keep_failure, known_kind, look
from launch.pending import Queue
from launch.stop_requests import Requests
from launch.summary import Summary
from results.store import one_line

TICK_S = 0.2
LOOK_ELSEWHERE_S = 5.0
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 5.0, 300.0
TAKEN_FOR_S = 60.0
"""Until a cell that some other process was at is tried again."""

MOST_REFUSED = 3
"""Starts that fail one after the other: then it is not about a cell."""

_STOPPING = {"interrupted", "paused"}


@dataclass(frozen=True)
class Policy:
    """What is done about failures."""

    retries: int = 1
    """Further attempts of a cell whose end another one can cure."""

    fail_fast: bool = False
    """Stop all at the first failure."""


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
        self._elsewhere: dict[str, tuple[CellSpec, float]] = {}
        """Cells that others have, and when to look again."""

        self._looked_elsewhere = 0.0
        self._begun_at = time.time()
        self._requests = Requests()
        self._trouble: VerdictError | None = None
        """What ends this launcher once all that runs has saved."""

        self._num_refused = 0
        """Starts that failed, one after the other."""

        self.is_stopping = False

    def run(self) -> Summary:
        """Run everything; what became of it.

        Raises:
            StorageError: the folder of the runs cannot be written any more; what runs is stopped before.
        """
        with self._requests:
            try:
                while self._has_work():
                    self._tick()
                    time.sleep(TICK_S)
            finally:
                self.executor.close()
                self._claims.release_all()
        self.summary.unfinished = len(self.queue) + len(self._elsewhere)
        self.summary.was_interrupted = self._requests.num > 0
        if self._trouble is not None:
            raise self._trouble
        return self.summary

    def stop(self, why: str) -> None:
        """Start nothing more, and let what runs save a checkpoint and stop."""
        if not self.is_stopping:
            self.is_stopping = True
            self.executor.stop(hard=False)  # first: nobody may be there to be told
            self._watcher.event(why)

    def _give_up(self, error: VerdictError) -> None:
        """Stop because of what concerns all cells; it is raised when those that run have saved."""
        self._trouble = self._trouble or error
        self.stop(f"stopping: running cells save a checkpoint: {error}")

    def _has_work(self) -> bool:
        if self.executor.running():
            return True
        return not self.is_stopping and bool(len(self.queue) or self._elsewhere)

    def _tick(self) -> None:
        self._heed_requests()
        try:
            for ended in self.executor.poll():
                self._settle(ended)
            self._heed_lost_claims()
        except VerdictError as error:  # the folder of the runs cannot be written for now
            self._give_up(error)
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
            try:
                self._start(job)
                self._num_refused = 0
            except VerdictError as error:
                self._num_refused += 1
                if self._num_refused == MOST_REFUSED:
                    self._give_up(error)
                self._refused(job, error)
            if self.is_stopping:
                return

    def _start(self, job: Job) -> None:
        """Start an attempt, unless another launcher has the cell or has settled it since this one began."""
        cell_id = job.cell.cell_id
        if not self._claims.try_claim(cell_id):
            self._elsewhere[cell_id] = job.cell, 0.0
            return
        seen = look(self._out, job.cell)
        if seen is not None and (seen.is_finished or (job.attempt == 1 and seen.at > self._begun_at)):
            self._claims.release(cell_id)
            self._settled_elsewhere(job.cell, seen)
            return
        self.executor.start(job)
        self.started[job] = time.monotonic()
        self._watcher.event(f"start {job.cell.label()}{_again(job)} on {self.executor.place(job)}")

    def _refused(self, job: Job, error: VerdictError) -> None:
        """An attempt could not be started: that of this cell failed, the others may go well."""
        ended = Ended(job, known_kind(error.kind), str(error), 0.0)
        self.summary.failed[job.cell.cell_id] = ended
        self.queue.failed(ended)
        with suppress(VerdictError):
            self._claims.release(job.cell.cell_id)
        self._watcher.ended(ended)

    def _settle(self, ended: Ended) -> None:
        """Keep what an attempt left, and decide whether it is tried again."""
        job, cell_id = ended.job, ended.job.cell.cell_id
        self.started.pop(job, None)
        if ended.kind == "taken":
            self._claims.release(cell_id)
            self._elsewhere[cell_id] = job.cell, time.monotonic() + TAKEN_FOR_S
            return
        if ended.kind == "finished":
            self.summary.finished.append(cell_id)
            self.queue.finished(ended)
        elif ended.kind in _STOPPING:
            self.queue.paused(ended)
        else:
            self._after_failure(ended)
            keep_failure(ended, self._command_of(job))
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
        for cell_id, (cell, not_before) in list(self._elsewhere.items()):
            seen = look(self._out, cell)
            if seen is not None and not seen.is_finished and seen.at <= self._begun_at:
                seen = None  # how an attempt before our time ended
            if seen is not None:
                will_retry = seen.kind in RETRIED and time.time() - seen.at < LONGEST_BACKOFF_S
                if seen.is_finished or not will_retry:
                    del self._elsewhere[cell_id]
                    self._settled_elsewhere(cell, seen)
            elif now >= not_before and self._claims.holder(cell_id) is None:
                del self._elsewhere[cell_id]
                self.queue.add(cell)

    def _settled_elsewhere(self, cell: CellSpec, seen: Seen) -> None:
        """Another launcher has finished the cell, or given it up."""
        if seen.is_finished:
            self.summary.elsewhere.append(cell.cell_id)
        elif seen.kind != "pruned":
            job = Job(cell, self._out / cell.cell_id)
            self.summary.failed[cell.cell_id] = Ended(job, known_kind(seen.kind), seen.message, seen.seconds)
        self.queue.settled(cell)

    def _heed_requests(self) -> None:
        num = self._requests.new()
        if num == 1:
            self.stop("stopping: running cells save a checkpoint (once more: kill them)")
        elif num > 1:
            self.is_stopping = True
            self.executor.stop(hard=True)
            self._watcher.event("killing what runs; it goes on from earlier checkpoints")


def _again(job: Job) -> str:
    return f", attempt {job.attempt}" if job.attempt > 1 else ""
