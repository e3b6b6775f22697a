"""Runs as they are published: everything that figures are derived from, and nothing else.

    publish_run(Path("runs/3f1c09a2b7de"), Path("results/published/epyc-2-cores/runs"), "epyc-2-cores")

The cell, the record without hostname and paths, the predictions and the answers to changed images, both
compressed without loss, and the records of attempts that failed. Weights, logs and raw steps stay behind.
Paths within the cell (of an image folder, of weights) stay as they are: its id is a hash of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import DataError
from harness.files import write_arrays, write_text
from harness.record import PRUNED, ROBUSTNESS_FILE, Record, record_path, write_cell
from results.publish.private import Private
from results.store import load_run


def publish_run(run_dir: Path, target: Path, machine: str) -> bool:
    """Write one run into the folder `target`, its record last; False where there is no record yet.

    Raises:
        DataError: its record or its predictions cannot be trusted.
        StorageError: a file cannot be written.
    """
    loaded = load_run(run_dir)
    if loaded is None:
        return False
    record = loaded[0].record
    folder = target / run_dir.name
    write_cell(folder, record.cell)
    for number, attempt in enumerate(failed_attempts(run_dir), start=1):
        _write_record(folder / "attempts" / f"{number:03d}.json", attempt, machine)
    if record.status == "finished":
        for name in ("predictions.npz", ROBUSTNESS_FILE):
            if (run_dir / name).exists():
                _compress(run_dir / name, folder / name)
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


def _write_record(path: Path, record: Record, machine: str) -> None:
    hostname = None if record.environment is None else record.environment.hostname
    public: dict[str, Any] = Private(hostname, machine).removed(record.model_dump(mode="json"))
    write_text(path, json.dumps(public, indent=1) + "\n")


def _compress(source: Path, target: Path) -> None:
    with np.load(source, allow_pickle=False) as arrays:
        write_arrays(target, dict(arrays), compress=True)
