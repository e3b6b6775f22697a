"""`slurm.json`: which Slurm job runs a cell, for the launcher that comes after this one. No torch here.

It is written before Slurm knows of the job, under a name that no other job has, and again when the job has
its number: whenever a launcher is killed, the next one finds the job.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.files import write_text


@dataclass(frozen=True)
class Ticket:
    """Which Slurm job runs a cell: `slurm.json` in its folder."""

    name: str
    """Of the job, used once."""

    index: int
    """In the array."""

    job_id: str | None
    """None: Slurm has not said it yet."""

    folder: str
    """Of submitit's files."""

    launcher: str
    """Who waits for the job."""

    until_epoch: int | None = None
    """As `Job` has it."""


_TICKET = TypeAdapter(Ticket)


def ticket_path(run_dir: Path) -> Path:
    """Where the ticket of a run is kept."""
    return run_dir / "slurm.json"


def write_ticket(run_dir: Path, ticket: Ticket) -> None:
    """Keep the ticket.

    Raises:
        StorageError: it cannot be written.
    """
    write_text(ticket_path(run_dir), json.dumps(asdict(ticket), indent=1) + "\n")


def read_ticket(run_dir: Path) -> Ticket | None:
    """The ticket of a run; None where there is none that can be read."""
    try:
        return _TICKET.validate_json(ticket_path(run_dir).read_bytes())
    except (OSError, ValidationError):
        return None


def index_of(job_id: str) -> int:
    """The place in its array of a job such as `17_3`; 0 for one that is no array's."""
    return int(job_id.partition("_")[2] or 0)
