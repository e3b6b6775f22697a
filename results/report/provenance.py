"""Where every figure comes from: the folder of each run in the report, and hashes of what is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from results.index.run_table import RunTable
from results.report.values import UNKNOWN, Chart, Table
from results.store import one_line

_PIECE = 2**20


@dataclass(frozen=True)
class Origin:
    """What one run's figures are derived from."""

    cell_id: str
    run_dir: str
    """The folder below the one that was read."""

    record_sha256: str
    predictions_sha256: str
    """A dash where there is no such file: a failed run leaves no predictions."""

    git_commit: str
    started_at: str


COLUMNS = ("cell_id", "git_commit", "started_at")
"""Of results.csv, that `origins` reads."""


def origins(table: RunTable, cell_ids: Iterable[str]) -> tuple[Origin, ...]:
    """Hash the files of these runs, in the order of the table; ids that are not in it are left out."""
    wanted = set(cell_ids)
    names = table.texts("cell_id")
    chosen = np.array([index for index, name in enumerate(names) if name in wanted], dtype=np.int64)
    rows = table.select(chosen)
    columns = [rows.texts(name).tolist() for name in COLUMNS]
    return tuple(
        Origin(
            cell_id,
            cell_id,
            _sha256(table.folder / cell_id / "record.json"),
            _sha256(table.folder / cell_id / "predictions.npz"),
            one_line(commit, 40) or UNKNOWN,
            one_line(started, 40),
        )
        for cell_id, commit, started in zip(*columns, strict=True)
    )


def cells_of(parts: Iterable[Table | Chart | None]) -> set[str]:
    """Every cell id that tables and charts name."""
    found: set[str] = set()
    for part in parts:
        if isinstance(part, Chart):
            found |= set(part.cell_ids)
            part = part.table
        if part is None:
            continue
        found |= set(part.cell_ids)
        places = [place for place, column in enumerate(part.columns) if column.kind == "cell"]
        found |= {row[place].text for row in part.rows for place in places} - {UNKNOWN}
    return found


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    except FileNotFoundError:
        return UNKNOWN
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return digest.hexdigest()
