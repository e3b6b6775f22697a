"""A queue that spends a budget on the cells that are worth it, by `launch.pruning`. No torch here.

An attempt trains a cell to its next rung and pauses; its validation accuracy there decides whether it goes
on. What is stopped early keeps its checkpoint and says so in a record of kind `pruned`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from harness.cell import CellSpec
from harness.errors import DataError, UsageError
from harness.live import read_live
from harness.record import PRUNED, Record, read_record
from launch.budget import Spending, flops_of_epochs
from launch.job import Ended, Job
from launch.pruning import Halving


class HalvingQueue:
    """Cells by successive halving until a budget is spent. See `launch.pending.Queue`.

    Args:
        out: folder of the runs.
        cells: those of the matrix, the finished ones too: others are compared with them.
        spending: of the budget.
        flops_of: training FLOPs of each cell, by its id, as far as they are known.

    Raises:
        UsageError: the budget is one of compute, and that of a cell is not known.
    """

    def __init__(
        self, out: Path, cells: list[CellSpec], spending: Spending, flops_of: Mapping[str, float | None]
    ) -> None:
        unknown = [cell.label() for cell in cells if flops_of.get(cell.cell_id) is None]
        if spending.budget.kind == "flops" and unknown:
            raise UsageError(
                f"a budget of compute needs that of every cell, and nothing is known of {unknown[0]}: "
                "use a budget of time, such as 2h (`plan` says why)"
            )
        self._out = out
        self._spending = spending
        self._flops_of = flops_of
        self._begun: dict[str, int] = {}
        """Epochs that a cell had completed when its attempt began."""

        self._waiting: list[tuple[Job, float]] = []
        self._given_out: set[str] = set()
        self._burnt_s: defaultdict[str, float] = defaultdict(float)
        self._halving = Halving(cells, known=_known(out, cells))

    def __len__(self) -> int:
        return len(self._halving) - len(self._given_out)

    def next(self, has_room: Callable[[Job], bool]) -> Job | None:
        """See `Queue.next`: another attempt of what failed first, then what halving says."""
        now = time.monotonic()
        for place, (job, not_before) in enumerate(self._waiting):
            if not_before <= now and has_room(job):
                del self._waiting[place]
                return self._give_out(job)
        again = [job.cell.cell_id for job, _ in self._waiting]
        found = self._halving.next_job(skip=again) or self._halving.fill(skip=again)
        if found is None:
            return None
        cell, epoch = found
        cell_id = cell.cell_id
        job = Job(cell, self._out / cell_id, 1, epoch if epoch < cell.recipe.epochs else None)
        if not has_room(job):
            self._halving.put_back(cell_id)
            return None
        return self._give_out(job)

    def labels(self, limit: int) -> list[str]:
        """See `Queue.labels`: nobody knows what comes next."""
        del limit
        return []

    def add(self, cell: CellSpec) -> None:
        """See `Queue.add`."""
        self._given_out.discard(cell.cell_id)
        for known in _known(self._out, [cell]):
            self._halving.report(*known)
        self._halving.put_back(cell.cell_id)

    def again(self, job: Job, wait_s: float) -> None:
        """See `Queue.again`."""
        self._charge(job.cell, _epochs_done(job))
        self._waiting.append((replace(job, attempt=job.attempt + 1), time.monotonic() + wait_s))

    def finished(self, ended: Ended) -> None:
        """See `Queue.finished`."""
        self._charge(ended.job.cell, ended.job.cell.recipe.epochs)
        self.settled(ended.job.cell)

    def failed(self, ended: Ended) -> None:
        """See `Queue.failed`."""
        self._charge(ended.job.cell, _epochs_done(ended.job))
        self._halving.failed(ended.job.cell.cell_id)

    def paused(self, ended: Ended) -> None:
        """See `Queue.paused`: at a rung, or because somebody said so."""
        cell, cell_id = ended.job.cell, ended.job.cell.cell_id
        self._burnt_s[cell_id] += ended.seconds
        self._charge(cell, _epochs_done(ended.job))
        live = read_live(ended.job.run_dir)
        if ended.kind == "paused" and live is not None and live.val_accuracy is not None:
            self._halving.report(cell_id, live.epoch, live.val_accuracy)
        else:
            self._halving.put_back(cell_id)

    def settled(self, cell: CellSpec) -> None:
        """See `Queue.settled`."""
        record = _record(self._out, cell)
        failure = None if record is None else record.failure
        if failure is None or failure.kind == PRUNED:
            self.add(cell)
        else:
            self._given_out.discard(cell.cell_id)
            self._halving.failed(cell.cell_id)

    def over(self) -> str | None:
        """See `Queue.over`."""
        return self._spending.over()

    def pruned(self) -> list[Ended]:
        """The cells that were stopped early, each with the reason."""
        return [
            Ended(
                Job(waiting.cell, self._out / waiting.cell.cell_id),
                "pruned",
                waiting.why,
                self._burnt_s[waiting.cell.cell_id],
            )
            for waiting in self._halving.waiting()
        ]

    def _give_out(self, job: Job) -> Job:
        self._given_out.add(job.cell.cell_id)
        self._begun[job.cell.cell_id] = _epochs_done(job)
        return job

    def _charge(self, cell: CellSpec, end: int) -> None:
        self._given_out.discard(cell.cell_id)
        begin = self._begun.pop(cell.cell_id, 0)
        total = self._flops_of.get(cell.cell_id)
        if total is not None and end > begin:
            self._spending.charge(flops_of_epochs(total, begin, end, cell.recipe.epochs))


def _epochs_done(job: Job) -> int:
    live = read_live(job.run_dir)
    return 0 if live is None else live.epoch


def _known(out: Path, cells: Iterable[CellSpec]) -> Iterable[tuple[str, int, float]]:
    """Cell id, epochs completed and validation accuracy then, of what was trained before."""
    for cell in cells:
        record, live = _record(out, cell), read_live(out / cell.cell_id)
        if record is not None and record.status == "finished":
            scores = [(row.epoch, row.val_accuracy) for row in record.history]
        else:
            last = cell.recipe.epochs - 1  # trained to its end, and not finished: it has to be scored still
            scores = [] if live is None else [(min(live.epoch, last), live.val_accuracy)]
        for epoch, score in scores:
            if score is not None and epoch > 0:
                yield cell.cell_id, epoch, score


def _record(out: Path, cell: CellSpec) -> Record | None:
    try:
        return read_record(out / cell.cell_id)
    except DataError:
        return None
