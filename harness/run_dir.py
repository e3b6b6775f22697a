"""The folder of one run: opened before the work, filled after it, so that nothing is lost or half there."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from harness.cell import CellSpec
from harness.errors import StorageError, VerdictError
from harness.files import clear_temporaries, reserve_space, storage_error, write_arrays
from harness.out_of_memory import is_out_of_memory
from harness.progress import CellProgress
from harness.record import (
    LOG_TAIL_LINES,
    RESERVES,
    ROBUSTNESS_FILE,
    Failure,
    Record,
    is_finished,
    read_record,
    record_path,
    write_cell,
    write_record,
)
from harness.tether import SWITCH

if TYPE_CHECKING:
    from torch import nn

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # of a file system
_RESERVE, _WEIGHTS_RESERVE = RESERVES
_OF_AN_EARLIER_ATTEMPT = ("model.safetensors", ROBUSTNESS_FILE, "robustness.partial.npz")
"""What must not be taken for this one's."""

_RECORD_BYTES = 2**20  # record, log and steps of a long run


def now() -> str:
    """The time as records keep it: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def claim(run_dir: Path) -> Iterator[bool]:
    """Hold the run's folder during the block; False when another process on this machine holds it.

    The operating system lets go of it when the process dies.

    Raises:
        StorageError: the folder cannot be written.
    """
    lock = FileLock(run_dir / ".claim")
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except OSError as error:
        if error.errno not in _NO_LOCKS or SWITCH not in os.environ:
            raise storage_error(run_dir, error) from error
        yield True  # the launcher has claimed the cell without locks
        return
    try:
        yield True
    finally:
        lock.release()


def pending_cells(out: Path, cells: list[CellSpec]) -> list[CellSpec]:
    """The cells that are not finished; those that failed before come last."""
    unfinished = [cell for cell in cells if not is_finished(out / cell.cell_id)]
    return sorted(unfinished, key=lambda cell: read_record(out / cell.cell_id) is not None)


def untested(out: Path, cells: list[CellSpec]) -> list[Path]:
    """The folders of finished runs whose robustness was not measured."""
    folders = [out / cell.cell_id for cell in cells]
    return [folder for folder in folders if is_finished(folder) and not (folder / ROBUSTNESS_FILE).exists()]


def open_run_dir(run_dir: Path, cell: CellSpec, num_test: int, num_val: int, num_classes: int) -> None:
    """Make the folder, move an earlier failure aside, and set aside the disk space for the results.

    Raises:
        StorageError: the folder cannot be written, or the disk has no room for the results: better
            now than after hours of training.
    """
    previous = read_record(run_dir)
    assert previous is None or previous.status == "failed", "a finished run is never moved aside"
    if previous is not None:
        attempts = run_dir / "attempts"
        number = len(list(attempts.glob("*.json"))) + 1
        attempts.mkdir(exist_ok=True)
        record_path(run_dir).replace(attempts / f"{number:03d}.json")
    clear_temporaries(run_dir, min_age_s=0)
    for name in _OF_AN_EARLIER_ATTEMPT:
        (run_dir / name).unlink(missing_ok=True)
    write_cell(run_dir, cell)
    num_bytes = num_test * (8 * num_classes + 8) + num_val * (4 * num_classes + 16) + _RECORD_BYTES
    reserve_space(run_dir / _RESERVE, num_bytes)


def reserve_for_weights(run_dir: Path, model: nn.Module) -> None:
    """Set aside the disk space for the trained weights as well.

    Raises:
        StorageError: the disk has no room for them.
    """
    num_values = sum(tensor.numel() for tensor in model.state_dict().values())
    reserve_space(run_dir / _WEIGHTS_RESERVE, 4 * num_values + _RECORD_BYTES)


def write_results(
    run_dir: Path, predictions: dict[str, np.ndarray[Any, Any]], losses: list[float], times_s: list[float]
) -> None:
    """Write the predictions and the raw steps into the space that was set aside for them."""
    (run_dir / _RESERVE).unlink(missing_ok=True)
    write_arrays(run_dir / "predictions.npz", predictions)
    steps = {"loss": np.array(losses, np.float32), "time_s": np.array(times_s, np.float32)}
    write_arrays(run_dir / "steps.npz", steps)


def record_failure(
    run_dir: Path, record: Record, error: Exception, burnt_s: float, progress: CellProgress
) -> None:
    """Keep why a run failed: its kind by the error's type, its message, the end of its log."""
    give_up_reserve(run_dir)  # first: a full disk has no room for the log and the record
    if isinstance(error, VerdictError):
        kind, message = error.kind, str(error)
    else:
        kind = "out_of_memory" if is_out_of_memory(error) else "crashed"
        message = f"{type(error).__name__}: {error}".partition("\n")[0]
        progress.keep("".join(traceback.format_exception(error)))
    progress.line(f"error: {message}")
    if isinstance(error, StorageError):
        return  # a record would meet the same full disk; the run counts as unfinished
    if record_path(run_dir).exists():
        return  # another process of this run has said why it failed; the rest is a consequence
    log = (run_dir / "log.txt").read_text(encoding="utf-8").splitlines()
    failure = Failure(kind=kind, message=message, log_tail="\n".join(log[-LOG_TAIL_LINES:]), burnt_s=burnt_s)
    write_record(run_dir, record.model_copy(update={"failure": failure}))


def give_up_reserve(run_dir: Path) -> None:
    """Free the space that was set aside for the results."""
    for name in RESERVES:
        (run_dir / name).unlink(missing_ok=True)
