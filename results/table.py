"""One row for each run: `results.csv`, rebuilt from the records and predictions at any time.

write_csv(Path("runs"))    # runs/results.csv

Finished and failed runs are rows; a value that is missing is an empty cell, never 0.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import SimpleNamespace

from harness.files import as_cell, write_text
from harness.record import Record
from results.columns import COLUMNS, Column
from results.derived import Derived, kept_scores
from results.score import score_run
from results.store import Run, load_runs, one_line


def row(run: Run) -> dict[str, str]:
    """The cells of one run by the name of their column, as they stand in the file."""
    sources = _sources(run)
    return {column.name: _text(_find(sources, column))[: column.max_length] for column in COLUMNS}


def write_csv(folder: Path) -> list[str]:
    """Rebuild `results.csv` in `folder` from its runs, atomically, oldest run first.

    Any number of launchers may call it at any time: the file is always whole, though it may lack a run
    that another launcher finished in the same moment, until the next rebuild.

    Returns:
        One warning for each run that was left out.

    Raises:
        UsageError: `folder` cannot be read or holds no run.
        StorageError: the file cannot be written.
    """
    stored = load_runs(folder)
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        row(run) for run in sorted(stored.runs, key=lambda run: (run.record.started_at, run.run_dir.name))
    )
    write_text(folder / "results.csv", text.getvalue())
    return stored.warnings


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


def _sources(run: Run) -> dict[str, object]:
    record = run.record
    derived = None if run.scores is None else kept_scores(run)
    return {
        "record": record,
        "cell": record.cell,
        "recipe": record.cell.recipe,
        "data": record.data,
        "model": record.model,
        "measurements": record.measurements,
        "in_effect": record.in_effect,
        "reasons": _reasons(record, derived),
        "environment": record.environment,
        "failure": record.failure,
        "scores": run.scores,
        "score": None if run.scores is None else score_run(run),
        "derived": None if derived is None else derived.scores,
        "robustness": None if derived is None else derived.robustness,
    }


def _reasons(record: Record, derived: Derived | None) -> SimpleNamespace:
    """Why figures are missing, whatever they come from."""
    further = {} if derived is None else derived.scores.reasons | derived.reasons
    return SimpleNamespace(unavailable=record.unavailable | further)


def _find(sources: dict[str, object], column: Column) -> object:
    """The value of the column, or None where the run has nothing of the kind."""
    owner, field = column.path.split(".")
    return None if sources[owner] is None else getattr(sources[owner], field)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        value = "; ".join(str(item) for item in value)
    if isinstance(value, dict):
        value = "; ".join(f"{key}: {reason}" for key, reason in value.items())
    if not isinstance(value, str):
        return str(value)
    return as_cell(one_line(value))
