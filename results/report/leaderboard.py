"""The leaderboard of the report: the best runs of a board, with the figures of results.csv."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.record import PRUNED
from results.index.run_table import RunTable
from results.references import Reference, leaderboard_references
from results.report.boards import Board
from results.report.text import duration, fixed, significant, whole
from results.report.values import UNKNOWN, Column, Entry, Table
from results.store import one_line

MAX_ROWS = 200
MAX_FAILURES = 50
_TEXT_LENGTH = 60


@dataclass(frozen=True)
class _Shown:
    """A column of results.csv, as it is shown."""

    header: str
    column: str
    text: Callable[[float], str] | None = None
    """None: a column of texts."""

    of_reference: Callable[[Reference], float | None] = lambda _: None
    kind: Literal["text", "number", "cell"] = "number"


_SHOWN = (
    _Shown("model", "model", kind="text"),
    _Shown("augmentation", "augmentation", kind="text"),
    _Shown("accuracy, %", "test_accuracy_percent", fixed, lambda entry: entry.accuracy_percent),
    _Shown("95% from", "test_accuracy_low_percent", fixed),
    _Shown("to", "test_accuracy_high_percent", fixed),
    _Shown("training PFLOP", "total_train_pflop", significant, lambda entry: entry.total_train_pflop),
    _Shown("accuracy per PFLOP", "accuracy_per_pflop", significant),
    _Shown("parameters", "num_params", significant, lambda entry: entry.num_params),
    _Shown("cell", "cell_id", kind="cell"),
    _Shown("precision", "precision", kind="text"),
    _Shown("epochs", "epochs", whole),
    _Shown("seed", "seed", whole),
    _Shown("% of GPipe's accuracy", "share_of_gpipe_accuracy_percent", lambda value: fixed(value, 1)),
    _Shown("% of GPipe's parameters", "share_of_gpipe_params_percent", significant),
    _Shown("training time", "train_time_s", duration),
    _Shown("images/s", "images_per_s", significant),
    _Shown("latency, ms", "latency_batch1_p50_ms", significant),
    _Shown("energy, J", "energy_j", significant),
    _Shown("calibration error, %", "ece_percent", fixed),
    _Shown("corrupted, %", "mean_corruption_accuracy_percent", lambda value: fixed(value, 1)),
)

COLUMNS = (
    *(shown.column for shown in _SHOWN),
    "status",
    "dataset",
    "data_fingerprint",
    "league",
    "official",
    "num_test_images",
    "clears_vendor_bar",
    "num_processes",
    "failure_kind",
    "failure_message",
    "burnt_s",
)
"""The columns of results.csv that this and `boards` read."""


def leaderboard_table(board: Board) -> Table:
    """The best runs of a board, and the claims at its foot."""
    table = board.table.select(np.arange(min(MAX_ROWS, len(board.table))))
    clears = table.numbers("clears_vendor_bar") == 1
    columns = [_entries(table, shown) for shown in _SHOWN]
    rows = tuple(
        (
            Entry(f"{index + 1}{'' if clears[index] else '*'}", str(index + 1)),
            *(column[index] for column in columns),
        )
        for index in range(len(table))
    )
    return Table(
        f"{board.key}-leaderboard",
        f"Best value first: {board.title}",
        (Column("rank", "number"), *(Column(shown.header, shown.kind, shown.column) for shown in _SHOWN)),
        rows,
        claims=tuple(_claim(entry) for entry in leaderboard_references()) if board.is_cifar10 else (),
        note=_note(board, bool(clears.all()), len(rows)),
        is_sortable=True,
    )


def failure_table(table: RunTable) -> Table | None:
    """The runs that failed, and those that a budget stopped, last; None where there are none."""
    is_pruned = table.texts("failure_kind") == PRUNED
    failed = np.flatnonzero(table.texts("status") == "failed")
    if not len(failed):
        return None
    failed = failed[np.argsort(is_pruned[failed], kind="stable")]
    num_pruned = int(is_pruned[failed].sum())
    shown = table.select(failed[:MAX_FAILURES])
    names = ("model", "augmentation", "failure_kind", "failure_message")
    texts = [shown.texts(name) for name in names]
    burnt = shown.numbers("burnt_s")
    rows = tuple(
        (
            *(Entry(one_line(str(column[index]), 200)) for column in texts),
            Entry(duration(float(burnt[index])), _value(float(burnt[index]))),
            Entry(str(shown.texts("cell_id")[index])),
        )
        for index in range(len(shown))
    )
    more = len(failed) - len(rows)
    return Table(
        "failures",
        f"Runs that failed: {len(failed) - num_pruned:,}; stopped early by a budget: {num_pruned:,}",
        (
            Column("model", "text", "model"),
            Column("augmentation", "text", "augmentation"),
            Column("kind", "text", "failure_kind"),
            Column("message", "text", "failure_message"),
            Column("time spent", "number", "burnt_s"),
            Column("cell", "cell", "cell_id"),
        ),
        rows,
        note=f"{more:,} more are in results.csv." if more else "",
    )


def _entries(table: RunTable, shown: _Shown) -> list[Entry]:
    if shown.text is None:
        length = None if shown.kind == "cell" else _TEXT_LENGTH
        return [Entry(one_line(str(text), length)) for text in table.texts(shown.column)]
    return [Entry(shown.text(value), _value(value)) for value in table.numbers(shown.column).tolist()]


def _claim(entry: Reference) -> tuple[Entry, ...]:
    cells = [Entry("claim"), Entry(entry.name)]
    for shown in _SHOWN[1:]:
        value = None if shown.text is None else shown.of_reference(entry)
        if value is None or shown.text is None:
            cells.append(Entry(UNKNOWN))
        else:
            cells.append(Entry(shown.text(value)))
    return tuple(cells)


def _value(value: float) -> str:
    return "" if np.isnan(value) else repr(value)


def _note(board: Board, all_clear: bool, num_rows: int) -> str:
    parts = []
    if num_rows < len(board.table):
        parts.append(
            f"The first {num_rows:,} of {len(board.table):,} runs; results.csv has every one, "
            "and python -m results leaderboard filters and sorts them."
        )
    if not all_clear:
        parts.append("*: the interval is not above the 70% that Detectocorp claims; such runs come last.")
    if board.league == "pre-trained":
        parts.append("These models started from weights; the compute that made those is not counted.")
    if board.is_cifar10 and not board.is_claimed_test_set:
        parts.append(
            "These runs were not measured on the 10,000 official test images that the claims are about."
        )
    parts.append(f"{UNKNOWN}: not measured or not stated; the column unavailable of results.csv says why.")
    return " ".join(parts)
