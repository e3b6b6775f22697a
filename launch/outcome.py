"""How an attempt ended, by what it left, never by guessing from its text. No torch here.

ended = judge(job, returncode=-9, seconds=31.2)    # kind 'killed'
keep_failure(ended, command)                        # a record, where the attempt could not write its own
"""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.cell import CellSpec
from harness.errors import DataError
from harness.live import delete_live
from harness.record import (
    LOG_TAIL_LINES,
    PRUNED,
    RESERVES,
    Failure,
    Record,
    read_record,
    record_path,
    write_record,
)
from launch.command import outcome_path, output_path
from launch.job import Ended, Job, Kind

_TAIL_BYTES = 16_384
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Seen:
    """What a cell's record says, and since when."""

    is_finished: bool
    kind: str
    message: str
    seconds: float
    at: float
    """Time of the file, in seconds since 1970."""


def look(out: Path, cell: CellSpec) -> Seen | None:
    """What is there of a cell; None where there is no record that can be read."""
    run_dir = out / cell.cell_id
    try:
        record = read_record(run_dir)
        at = record_path(run_dir).stat().st_mtime
    except (DataError, OSError):
        return None
    if record is None:
        return None
    failure = record.failure
    if failure is None:
        return Seen(record.status == "finished", record.status, "", 0.0, at)
    return Seen(False, failure.kind, failure.message, failure.burnt_s, at)


def judge(job: Job, returncode: int, seconds: float, reason: tuple[Kind, str] | None = None) -> Ended:
    """How the attempt ended.

    Args:
        job: the attempt.
        returncode: of its first process; negative for a signal.
        seconds: that it took.
        reason: why the launcher ended it, if it did; what the attempt had finished before counts more.
    """
    record = _record_of(job)
    if record is not None and record.status == "finished":
        return Ended(job, "finished", "", seconds)
    said = _said(job)
    if said is not None and said[0] == "paused":
        return Ended(job, "paused", said[1], seconds)
    if reason is not None:
        return Ended(job, *reason, seconds)
    if record is not None and record.failure is not None and record.failure.kind != PRUNED:
        return Ended(job, known_kind(record.failure.kind), record.failure.message, seconds)
    if said is not None and said[0] != "interrupted":
        return Ended(job, known_kind(said[0]), said[1], seconds)
    return Ended(job, *_of_code(returncode, said is not None), seconds)


def keep_failure(ended: Ended, command: str) -> None:
    """Write the record of an attempt that failed, where it has not done so itself.

    Raises:
        StorageError: the record cannot be written.
    """
    job = ended.job
    if record_path(job.run_dir).exists():  # also where this version cannot read it
        return
    for name in RESERVES:  # disk space for results that will not come
        (job.run_dir / name).unlink(missing_ok=True)
    if ended.kind != "pruned":  # whose accuracy is in it
        delete_live(job.run_dir)
    end = datetime.now(UTC)
    begin = end - timedelta(seconds=ended.seconds)
    record = Record(
        status="failed",
        cell_id=job.cell.cell_id,
        cell=job.cell,
        command=command,
        started_at=begin.isoformat(timespec="seconds"),
        ended_at=end.isoformat(timespec="seconds"),
        environment=None,
        failure=Failure(
            kind=ended.kind, message=ended.message, log_tail=log_tail(job), burnt_s=ended.seconds
        ),
    )
    write_record(job.run_dir, record)


def log_tail(job: Job) -> str:
    """The last lines that the attempt printed."""
    try:
        with output_path(job).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])


def clear_outcome(job: Job) -> None:
    """Forget how an earlier attempt ended: its record goes to the others, which are kept."""
    outcome_path(job).unlink(missing_ok=True)
    try:
        previous = read_record(job.run_dir)
    except DataError:
        return  # the attempt will say so
    if previous is not None and previous.status == "failed":
        attempts = job.run_dir / "attempts"
        attempts.mkdir(exist_ok=True)
        number = len(list(attempts.glob("*.json"))) + 1
        record_path(job.run_dir).replace(attempts / f"{number:03d}.json")


def _record_of(job: Job) -> Record | None:
    try:
        return read_record(job.run_dir)
    except DataError:
        return None


def _said(job: Job) -> tuple[str, str] | None:
    """Kind and message that the attempt left about its end."""
    try:
        values = json.loads(outcome_path(job).read_text(encoding="utf-8"))
        return str(values["kind"]), str(values["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def known_kind(kind: str) -> Kind:
    """The kind of that name; what is not known is a crash."""
    kinds: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]  # of a Literal
    return next((known for known in kinds if known == kind), "crashed")


def _of_code(returncode: int, was_interrupted: bool) -> tuple[Kind, str]:
    """What the exit code alone says."""
    number = -returncode if returncode < 0 else returncode - 128
    if was_interrupted or returncode == EXIT_INTERRUPTED:
        return "killed", "a signal from outside asked it to stop; it goes on from its checkpoint"
    if number in set(signal.Signals):
        return "killed", f"killed by {signal.Signals(number).name}"
    if returncode == 0:
        return "taken", "left to another process on this folder"
    return "crashed", f"ended with exit code {returncode} and without a word: see the end of its output"
