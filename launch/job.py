"""What the launcher hands out, and what can run it. No torch here.

An executor starts attempts of cells and says how they ended; it knows nothing of the queue, of retries or
of other launchers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from harness.cell import CellSpec

Kind = Literal[
    "finished",
    "paused",
    "usage",
    "data",
    "hardware",
    "storage",
    "diverged",
    "out_of_memory",
    "crashed",
    "lost_process",
    "killed",
    "timed_out",
    "hung",
    "interrupted",
    "pruned",
    "taken",
]
"""How an attempt ended. `taken`: another process on this folder is at the cell."""

RETRIED: tuple[Kind, ...] = ("killed", "lost_process", "hung")
"""What another attempt can cure: the rest would end in the same way again."""


@dataclass(frozen=True)
class Job:
    """One attempt of one cell."""

    cell: CellSpec
    run_dir: Path
    attempt: int = 1
    until_epoch: int | None = None
    """Save a checkpoint and stop after so many epochs; None: go on to the end."""


@dataclass(frozen=True)
class Ended:
    """How an attempt ended."""

    job: Job
    kind: Kind
    message: str
    """One line; empty for what finished."""

    seconds: float
    """From its start to its end."""


class Executor(Protocol):
    """Something that runs attempts: the processors of this machine, or a cluster."""

    def has_room(self, job: Job) -> bool:
        """Whether `start` may be called for it now."""

    def start(self, job: Job) -> None:
        """Begin an attempt; returns at once."""

    def running(self) -> list[Job]:
        """The attempts that have begun and not ended."""

    def place(self, job: Job) -> str:
        """Where a running attempt runs, for people: `cores 0-1`, `GPU 3`, `job 17 on node4`."""

    def poll(self) -> list[Ended]:
        """The attempts that ended since the last call; never waits."""

    def stop(self, hard: bool, job: Job | None = None) -> None:
        """Let one attempt, or all, save a checkpoint and stop; `hard`: kill at once."""

    def close(self) -> None:
        """Let go of everything."""
