"""All runs of a folder as columns: what commands that look at every run work on.

    table = load_table(Path("runs"))                # results/index/load.py
    accuracies = table.numbers("test_accuracy_percent")
    best = table.select(accuracies > 94)
    best.texts("model")

The names of the columns are those of `results/columns.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import unknown_name
from results.columns import COLUMN_BY_NAME, Kind

Numbers = NDArray[np.float64]
Texts = NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class TextColumn:
    """Texts, each distinct one kept once."""

    codes: NDArray[np.int32]
    """[N], places in `values`."""

    values: tuple[str, ...]

    def texts(self) -> Texts:
        """[N]."""
        texts = np.empty(len(self.codes), dtype=object)
        texts[:] = [self.values[code] for code in self.codes.tolist()]
        return texts


Columns = Mapping[str, Numbers | TextColumn]


@dataclass(frozen=True, eq=False)
class RunTable:
    """N runs, finished and failed, in the order of the names of their folders."""

    folder: Path
    """A run's own folder in it is named like its `cell_id`."""

    columns: Columns
    """Those that were asked for."""

    warnings: list[str]
    """One line for each run that was left out, naming the file."""

    num_unfinished: int
    """Folders with a cell but no record yet."""

    def __len__(self) -> int:
        column = next(iter(self.columns.values()))
        return len(column.codes if isinstance(column, TextColumn) else column)

    def numbers(self, column: str) -> Numbers:
        """The values of a column of numbers, [N]; NaN where missing, 1 and 0 for true and false.

        Raises:
            UsageError: there is no such column.
            ValueError: it holds text.
        """
        found = self._column(column)
        if isinstance(found, TextColumn):
            raise ValueError(f"the column {column} holds text")
        return found

    def texts(self, column: str) -> Texts:
        """The texts of a column, [N], each on one line; "" where missing, numbers as in `results.csv`.

        Raises:
            UsageError: there is no such column.
        """
        found = self._column(column)
        if isinstance(found, TextColumn):
            return found.texts()
        texts = np.empty(len(found), dtype=object)
        texts[:] = number_cells(found, kind_of(column))
        return texts

    def ranks(self, column: str) -> NDArray[np.int64]:
        """The place of each text of a column among the sorted texts, [N]: sorts faster than the texts."""
        found = self._column(column)
        assert isinstance(found, TextColumn)
        ranks = np.empty(len(found.values), dtype=np.int64)
        ranks[sorted(range(len(found.values)), key=found.values.__getitem__)] = np.arange(len(ranks))
        return ranks[found.codes]

    def select(self, rows: NDArray[Any]) -> RunTable:
        """The runs at some places, or where a mask [N] is true."""
        return RunTable(self.folder, take(self.columns, rows), self.warnings, self.num_unfinished)

    def with_columns(self, columns: Columns) -> RunTable:
        """The same runs, with more columns or other values."""
        return RunTable(self.folder, {**self.columns, **columns}, self.warnings, self.num_unfinished)

    @cached_property
    def is_finished(self) -> NDArray[np.bool_]:
        """[N], whether a run finished; the others failed."""
        is_finished: NDArray[np.bool_] = self.texts("status") == "finished"
        return is_finished

    def _column(self, name: str) -> Numbers | TextColumn:
        if name not in self.columns:
            raise unknown_name("column", name, self.columns)
        return self.columns[name]


def take(columns: Columns, rows: NDArray[Any]) -> dict[str, Numbers | TextColumn]:
    """Some rows of each column, by their places or a mask."""
    return {
        name: TextColumn(column.codes[rows], column.values)
        if isinstance(column, TextColumn)
        else column[rows]
        for name, column in columns.items()
    }


def text_column(texts: Iterable[str]) -> TextColumn:
    """A column of `texts`."""
    places: dict[str, int] = {}
    codes = np.fromiter((places.setdefault(text, len(places)) for text in texts), dtype=np.int32)
    return TextColumn(codes, tuple(places))


def kind_of(column: str) -> Kind:
    """What a column holds, also one that is derived from several runs."""
    if column in COLUMN_BY_NAME:
        return COLUMN_BY_NAME[column].kind
    return "integer" if column.startswith("num_") else "number"


def number_cells(values: Numbers, kind: Kind) -> list[str]:
    """Numbers as they stand in `results.csv`; "" where missing."""
    listed = values.tolist()
    if kind == "flag":
        return ["" if value != value else "true" if value else "false" for value in listed]
    if kind == "integer":  # a mean of whole numbers may be none
        return [
            "" if value != value else str(int(value) if value == int(value) else value) for value in listed
        ]
    return ["" if value != value else str(value) for value in listed]
