"""What a leaderboard shows, before it has a form: its tables, their rows and marks.

board = make_board(Path("runs"), BoardOptions(top=30))
board.sections[0].rows.texts("model")
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError, unknown_name
from results.index.load import load_table
from results.index.run_table import RunTable
from results.leaderboard.columns import EXPORTED_COLUMNS, SHOWN_COLUMNS
from results.leaderboard.filter import check_column, filtered, parse_condition
from results.leaderboard.ranking import RANKING_COLUMNS, grouped, order_of, pareto_marks
from results.leaderboard.seeds import SPREAD_COLUMNS, pooled
from results.leaderboard.ties import tie_letters

DEFAULT_TOP = 30
"""Rows of a table on a screen."""

ON_FRONT = "◆"
LEAGUES = ("from scratch", "pre-trained")
By = Literal["seed", "cell"]

_TITLE_COLUMNS = (
    "data_notes",
    "data_kind",
    "dataset",
    "device",
    "failure_kind",
    "failure_message",
    "full_fingerprint",
    "image_shape",
    "label",
    "league",
    "num_train_images",
    "seedless_id",
    "share_of_gpipe_accuracy_percent",
    "test_correct",
)


@dataclass(frozen=True)
class BoardOptions:
    """What was asked for."""

    league: str | None = None
    by: By = "seed"
    sorts: tuple[str, ...] = ()
    """Columns, the most important first, a leading `-` for falling values."""

    filters: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    """Of `results.csv`, instead of the usual ones."""

    top: int | None = DEFAULT_TOP
    """Rows of each table; None: all."""

    num_workers: int = 1
    """Processes that read the runs, where many are new."""


@dataclass(frozen=True, eq=False)
class Section:
    """One table: runs on the same data and of the same league, R of them shown, in their order."""

    rows: RunTable
    num_more: int
    """Runs that are left out at the end."""

    on_front: NDArray[np.bool_]
    """[R], see `pareto_marks`; among all runs of the group."""

    letters: list[str]
    """[R], see `tie_letters`; empty where seeds are pooled."""

    @property
    def marks(self) -> list[str]:
        """[R], the letters and the mark of each row, as they stand in a column."""
        width = max(len(letters) for letters in self.letters)
        marks = [f" {ON_FRONT}" if is_on_front else "" for is_on_front in self.on_front.tolist()]
        rows = zip(self.letters, marks, strict=True)
        return [f"{letters:{width}}{mark}".rstrip() if width else mark.strip() for letters, mark in rows]


@dataclass(frozen=True, eq=False)
class Board:
    """All there is to show of a folder."""

    options: BoardOptions
    sections: list[Section]
    failed: RunTable
    num_filtered: int
    """Finished runs that the filters or the league leave out."""

    num_unfinished: int
    warnings: list[str]


def make_board(folder: Path, options: BoardOptions) -> Board:
    """Rank the runs of a folder.

    Raises:
        UsageError: the folder cannot be read or holds no run, or an option names what there is not.
    """
    conditions = [parse_condition(text) for text in options.filters]
    further = SPREAD_COLUMNS if options.by == "cell" else ()
    for name in (*(sort.removeprefix("-") for sort in options.sorts), *options.columns):
        check_column(name, further)
    if options.top is not None and options.top < 1:
        raise UsageError(f"top {options.top}: a table has one row or more")
    league = None if options.league is None else _league(options.league)
    names = [sort.removeprefix("-") for sort in options.sorts] + [each.column for each in conditions]
    names += [*options.columns, *RANKING_COLUMNS, *_TITLE_COLUMNS, *SHOWN_COLUMNS, *EXPORTED_COLUMNS]
    table = load_table(folder, [name for name in names if name not in SPREAD_COLUMNS], options.num_workers)
    chosen = filtered(table, conditions)
    if league is not None:
        chosen = chosen.select(chosen.texts("league") == league)
    return Board(
        options=options,
        sections=[_section(group, options) for group in grouped(chosen)],
        failed=chosen.select(~chosen.is_finished),
        num_filtered=int(table.is_finished.sum() - chosen.is_finished.sum()),
        num_unfinished=table.num_unfinished,
        warnings=table.warnings,
    )


def _league(text: str) -> str:
    league = text.replace("from-scratch", LEAGUES[0]).replace("pretrained", LEAGUES[1])
    if league not in LEAGUES:
        raise unknown_name("league", text, LEAGUES)
    return league


def _section(group: RunTable, options: BoardOptions) -> Section:
    rows = pooled(group) if options.by == "cell" else group
    shown = order_of(rows, options.sorts)[: options.top]
    head = rows.select(shown)
    return Section(
        rows=head,
        num_more=len(rows) - len(head),
        on_front=pareto_marks(rows)[shown],
        letters=tie_letters(head) if options.by == "seed" else [""] * len(head),
    )
