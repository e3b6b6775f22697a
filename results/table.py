"""One row for each run: `results.csv`, rebuilt from the records and predictions at any time.

write_csv(Path("runs"))    # runs/results.csv

Finished and failed runs are rows; a value that is missing is an empty cell, never 0.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from harness.files import as_cell, atomic_write
from results.columns import COLUMNS
from results.index.load import load_table
from results.index.run_table import RunTable, TextColumn

_ROWS_AT_ONCE = 2000
"""As text, all rows of a large folder would take gigabytes."""


def write_csv(folder: Path, num_workers: int = 1, show_progress: bool = False) -> list[str]:
    """Rebuild `results.csv` in `folder` from its runs, atomically, oldest run first.

    Any number of launchers may call it at any time: the file is always whole, though it may lack a run
    that another launcher finished in the same moment, until the next rebuild.

    Args:
        folder: holds one folder for each run.
        num_workers: processes that read the runs, where many are new.
        show_progress: whether to show a bar on a terminal meanwhile.

    Returns:
        One warning for each run that was left out.

    Raises:
        UsageError: `folder` cannot be read or holds no run.
        StorageError: the file cannot be written.
    """
    names = [column.name for column in COLUMNS]
    table = load_table(folder, names, num_workers, show_progress)
    order = np.lexsort((table.ranks("cell_id"), table.ranks("started_at")))
    table = with_safe_texts(table)
    with atomic_write(folder / "results.csv") as file:
        file.write(csv_text([names]).encode())
        for start in range(0, len(table), _ROWS_AT_ONCE):
            rows = table.select(order[start : start + _ROWS_AT_ONCE])
            file.write(csv_text(zip(*(rows.texts(name) for name in names), strict=True)).encode())
    return table.warnings


def with_safe_texts(table: RunTable) -> RunTable:
    """The same runs, with texts that no spreadsheet runs as formulas; numbers may start with a minus sign."""
    return table.with_columns(
        {
            name: TextColumn(column.codes, tuple(as_cell(text) for text in column.values))
            for name, column in table.columns.items()
            if isinstance(column, TextColumn)
        }
    )


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Lines of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def columns_markdown() -> str:
    """The columns as a Markdown table."""
    lines = ["| column | unit | description |", "|---|---|---|"]
    lines += [f"| `{column.name}` | {column.unit} | {column.description} |" for column in COLUMNS]
    return "\n".join(lines)


def columns_text() -> str:
    """The columns as aligned plain text."""
    name_width = max(len(column.name) for column in COLUMNS)
    unit_width = max(len(column.unit) for column in COLUMNS)
    return "\n".join(
        f"{column.name:{name_width}}  {column.unit:{unit_width}}  {column.description}" for column in COLUMNS
    )
