"""What is still to be run, in which order, and when it is over. No torch here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from harness.cell import CellSpec
from launch.job import Ended, Job


class Queue(Protocol):
    """Where the scheduler takes attempts from."""

    def __len__(self) -> int:
        """How many cells are still to be run."""

    def next(self, has_room: Callable[[Job], bool]) -> Job | None:
        """Take out the next attempt that there is room for now; None: there is none."""

    def labels(self, limit: int) -> list[str]:
        """The next cells, for people."""

    def add(self, cell: CellSpec) -> None:
        """Run the cell after all."""

    def again(self, job: Job, wait_s: float) -> None:
        """Run it once more, not before so many seconds have passed."""

    def finished(self, ended: Ended) -> None:
        """The cell has come to its end."""

    def failed(self, ended: Ended) -> None:
        """The cell has failed for good."""

    def paused(self, ended: Ended) -> None:
        """The attempt has stopped at a checkpoint."""

    def settled(self, cell: CellSpec) -> None:
        """Another launcher has finished the cell, or given it up."""

    def over(self) -> str | None:
        """Why nothing more may be run; None: it may."""


class Plain:
    """Every cell to its end, in the given order, larger groups of processes first.

    Args:
        out: folder of the runs.
        cells: those to be run.
    """

    def __init__(self, out: Path, cells: list[CellSpec]) -> None:
        self._out = out
        # or a cell of all GPUs would wait until by chance all are free at once
        ordered = sorted(cells, key=lambda cell: -cell.num_processes)
        self._sizes = {cell.num_processes for cell in cells}
        self._waiting = [(Job(cell, out / cell.cell_id), 0.0) for cell in ordered]

    def __len__(self) -> int:
        return len(self._waiting)

    def next(self, has_room: Callable[[Job], bool]) -> Job | None:
        """See `Queue.next`; a cell that there is no room for lets smaller ones pass."""
        now = time.monotonic()
        no_room: set[int] = set()
        for place, (job, not_before) in enumerate(self._waiting):
            size = job.cell.num_processes
            if not_before > now or size in no_room:
                continue
            if has_room(job):
                del self._waiting[place]
                return job
            no_room.add(size)
            if no_room == self._sizes:
                return None
        return None

    def labels(self, limit: int) -> list[str]:
        """See `Queue.labels`."""
        return [job.cell.label() for job, _ in self._waiting[:limit]]

    def add(self, cell: CellSpec) -> None:
        """See `Queue.add`."""
        self._waiting.append((Job(cell, self._out / cell.cell_id), 0.0))

    def again(self, job: Job, wait_s: float) -> None:
        """See `Queue.again`."""
        self._waiting.append((replace(job, attempt=job.attempt + 1), time.monotonic() + wait_s))

    def finished(self, ended: Ended) -> None:
        """See `Queue.finished`."""

    def failed(self, ended: Ended) -> None:
        """See `Queue.failed`."""

    def paused(self, ended: Ended) -> None:
        """See `Queue.paused`: the cell stays to be run."""
        self._waiting.append((ended.job, 0.0))

    def settled(self, cell: CellSpec) -> None:
        """See `Queue.settled`."""

    def over(self) -> str | None:
        """See `Queue.over`."""
        return None
