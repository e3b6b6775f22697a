"""What the index keeps of one run: its values by column, or why it is left out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.errors import DataError
from harness.record import Record
from results.columns import ALL_COLUMNS, Column
from results.derived import Derived, derive, may_pass
from results.index.file import RUN_DIR
from results.score import score_run
from results.store import Predictions, Run, load_run, one_line

_MAX_EXACT = 2**53
"""Above it a float64 skips whole numbers."""

_PLACES = tuple((column, *column.path.partition(".")[::2]) for column in ALL_COLUMNS)
"""Each column, the part of the run that it is from, and its field there."""


@dataclass(frozen=True)
class RunRow:
    """What there is to keep of one folder."""

    values: tuple[float | str | None, ...] | None
    """In the order of `ALL_COLUMNS`; None where the run is left out."""

    warning: str
    """Why it is left out; empty where it is not."""

    is_final: bool
    """Whether the same files would give the same again."""


def read_row(run_dir: Path) -> RunRow:
    """Read the run in `run_dir`, check it, and derive its figures."""
    try:
        loaded = load_run(run_dir)
        if loaded is None:  # deleted since it was listed
            return RunRow(None, "", is_final=False)
        return RunRow(_values(*loaded), "", is_final=True)
    except DataError as error:
        warning = str(error).replace(RUN_DIR, "?").replace(str(run_dir), RUN_DIR)
        return RunRow(None, warning, is_final=not may_pass(error))
    except Exception as error:  # noqa: BLE001  # one run must not keep the others from being shown
        reason = f"{type(error).__name__}: {error}".replace(RUN_DIR, "?")
        return RunRow(None, f"{RUN_DIR}: cannot be read: {reason}", is_final=False)


def _values(run: Run, predictions: Predictions | None) -> tuple[float | str | None, ...]:
    """The values of every column.

    Raises:
        DataError: a number is larger than anything that can be counted.
    """
    try:
        sources = _sources(run, predictions)
        return tuple(_value(_find(sources, owner, field), column) for column, owner, field in _PLACES)
    except OverflowError as error:
        raise DataError(f"{run.run_dir}/record.json: a number is too large to be true: {error}") from None


def _value(found: Any, column: Column) -> float | str | None:
    if found is None:
        return "" if column.kind == "text" else None
    if column.kind == "text":
        return _text(found)[: column.max_length]
    if abs(found) > _MAX_EXACT and isinstance(found, int):
        raise OverflowError(f"{column.name} is above 2**53")
    return float(found)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        value = "; ".join(str(item) for item in value)
    if isinstance(value, dict):
        value = "; ".join(f"{key}: {reason}" for key, reason in value.items())
    return one_line(str(value))


def _find(sources: dict[str, object], owner: str, field: str) -> object:
    """The value of a column, or None where the run has nothing of the kind."""
    return None if sources[owner] is None else getattr(sources[owner], field)


def _sources(run: Run, predictions: Predictions | None) -> dict[str, object]:
    record = run.record
    derived = None if predictions is None else derive(run, predictions)
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
        "facts": _facts(record),
    }


def _reasons(record: Record, derived: Derived | None) -> SimpleNamespace:
    """Why figures are missing, whatever they come from."""
    further = {} if derived is None else derived.scores.reasons | derived.reasons
    return SimpleNamespace(unavailable=record.unavailable | further)


def _facts(record: Record) -> SimpleNamespace:
    cell, data = record.cell, record.data
    return SimpleNamespace(
        label=cell.label(),
        seedless_id=cell.model_copy(update={"seed": 0}).cell_id,
        data_kind=data and data.dataset,
        full_fingerprint=data and data.fingerprint,
        full_test_fingerprint=data and data.test_fingerprint,
        num_train_images=data and data.num_train_images,
        image_shape=data and data.image_shape,
        data_notes=data and json.dumps(data.notes),
    )
