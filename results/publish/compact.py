"""Runs as they are published: everything that figures are derived from, and nothing else.

    publish_run(Path("runs/3f1c09a2b7de"), Path("results/published/epyc-2-cores/runs"), "epyc-2-cores")

The cell, the record without hostname and paths, the predictions and the answers to changed images, both
compressed without loss, and the records of attempts that failed. Weights, logs and raw steps stay behind.
Paths within the cell (of an image folder, of weights) stay as they are: its id is a hash of them.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import DataError
from harness.files import write_arrays, write_text
from harness.record import (
    PRUNED,
    ROBUSTNESS_FILE,
    Record,
    is_finished,
    read_record,
    record_path,
    write_cell,
)
from results.publish.private import Private
from results.robustness_file import Arrays, read_arrays
from results.store import load_run


def publish_run(run_dir: Path, target: Path, machine: str) -> bool:
    """Write one run into the folder `target`, its record last; False where there is no record yet.

    Raises:
        DataError: its record or answers cannot be trusted, or it failed and is published as finished.
        StorageError: a file cannot be written.
    """
    loaded = load_run(run_dir)
    if loaded is None:
        return False
    record = loaded[0].record
    folder = target / run_dir.name
    if record.status == "failed" and is_finished(folder):
        raise DataError(f"{run_dir} has failed, and is published as finished: that is kept")
    attempts = failed_attempts(run_dir)
    answers = _answers(run_dir, record) if record.status == "finished" else {}
    for number, attempt in enumerate(attempts, start=1):
        _write_record(folder / "attempts" / f"{number:03d}.json", attempt, machine)
    for name, arrays in answers.items():
        write_arrays(folder / name, arrays, compress=True)
    if ROBUSTNESS_FILE not in answers and _is_of_another_training(folder, record):
        (folder / ROBUSTNESS_FILE).unlink(missing_ok=True)
    write_cell(folder, record.cell)
    _write_record(record_path(folder), record, machine)
    return True


def failed_attempts(run_dir: Path) -> list[Record]:
    """Records of earlier attempts whose work was lost, oldest first.

    Raises:
        DataError: one cannot be read.
    """
    found = []
    for path in sorted((run_dir / "attempts").glob("*.json")):
        try:
            record = Record.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read as a record: {error}") from None
        if record.failure is not None and record.failure.kind != PRUNED:
            found.append(record)
    return found


def _answers(run_dir: Path, record: Record) -> dict[str, Arrays]:
    """By file: what the model answered to test and validation images, and to changed ones."""
    with np.load(run_dir / "predictions.npz", allow_pickle=False) as stored:
        answers: dict[str, Arrays] = {"predictions.npz": dict(stored)}
    robustness = read_arrays(run_dir / ROBUSTNESS_FILE, record)
    return answers if robustness is None else answers | {ROBUSTNESS_FILE: robustness}


def _is_of_another_training(folder: Path, record: Record) -> bool:
    """Whether a run of the same cell was published before, whose answers are not those of this one."""
    published = read_record(folder) if folder.is_dir() else None
    return published is not None and published.started_at != record.started_at


def _write_record(path: Path, record: Record, machine: str) -> None:
    public: dict[str, Any] = Private(_hostnames(record), machine).removed(record.model_dump(mode="json"))
    write_text(path, json.dumps(public, indent=1) + "\n")


def _hostnames(record: Record) -> tuple[str, ...]:
    """Of the machines that the run was made on; of this one where the record does not know."""
    devices = () if record.in_effect is None else record.in_effect.devices
    own = socket.gethostname() if record.environment is None else record.environment.hostname
    return tuple(dict.fromkeys([own, *(device.partition(" ")[0] for device in devices)]))
