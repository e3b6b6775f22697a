"""Which runs may be compared: cells of one league on the same data, the seeds of each cell pooled.

for peers in peer_groups(load_table(Path("runs"), PEER_COLUMNS)):
    peers.means("total_train_pflop")    # [M], of the seeds of each cell
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.columns import COLUMNS
from results.index.run_table import RunTable, TextColumn, Texts

GROUP_COLUMNS = ("dataset", "data_fingerprint", "test_fingerprint", "league")
"""Runs that differ in one of these never share a view."""

SAME_CELL_COLUMNS = (
    *(
        column.name
        for column in COLUMNS
        if column.path.split(".")[0] in ("cell", "recipe") and column.name != "seed"
    ),
    "weights_sha256",
    "used_accumulation_steps",
    "device",
)
"""Runs that agree in all of these, and in the data, are seeds of one cell on one kind of device."""

PEER_COLUMNS = tuple(
    dict.fromkeys(
        (
            *GROUP_COLUMNS,
            *SAME_CELL_COLUMNS,
            "cell_id",
            "status",
            "official",
            "num_test_images",
            "test_accuracy_percent",
            "clears_vendor_bar",
        )
    )
)
"""What `peer_groups` reads of a table."""


@dataclass(frozen=True, eq=False)
class Peers:
    """The M finished cells of one league on one data set, in the order of their first runs."""

    table: RunTable
    dataset: str
    league: str
    data_fingerprint: str
    is_official: bool
    num_test_images: int
    first_rows: NDArray[np.int64]
    """[M], the row of the table that stands for each cell: the first of its seeds."""

    num_seeds: NDArray[np.int64]
    """[M]."""

    rows: NDArray[np.int64]
    """[R], the row of every run of the group."""

    places: NDArray[np.int64]
    """[R], the cell that each of them belongs to, from 0 to M - 1."""

    def __len__(self) -> int:
        return len(self.first_rows)

    def means(self, column: str) -> NDArray[np.float64]:
        """The mean of a column over the seeds that have a value, [M]; NaN where none has."""
        values = self.table.numbers(column)[self.rows]
        known = ~np.isnan(values)
        counts = np.bincount(self.places[known], minlength=len(self))
        sums = np.bincount(self.places[known], weights=values[known], minlength=len(self))
        means = np.full(len(self), np.nan)
        means[counts > 0] = sums[counts > 0] / counts[counts > 0]
        return means

    def texts(self, column: str) -> Texts:
        """What a text column says of each cell's first run, [M]."""
        return self.table.texts(column)[self.first_rows]

    @property
    def errors_percent(self) -> NDArray[np.float64]:
        """Test error, the mean over the seeds, [M]."""
        return 100 - self.means("test_accuracy_percent")

    @property
    def clears_bar(self) -> NDArray[np.bool_]:
        """Whether every seed clears the vendor's bar (`results/score.py`), [M]."""
        clears: NDArray[np.bool_] = self.means("clears_vendor_bar") == 1
        return clears


def peer_groups(table: RunTable, league: str | None = None) -> tuple[Peers, ...]:
    """Split the finished runs of `table` into those that may be compared, the largest group first.

    Args:
        table: with at least `PEER_COLUMNS`.
        league: only this one.
    """
    finished = np.flatnonzero(table.is_finished)
    if league is not None:
        finished = finished[table.texts("league")[finished] == league]
    groups = _codes(table, GROUP_COLUMNS, finished)
    found = [_peers(table, finished[groups == group]) for group in range(groups.max(initial=-1) + 1)]
    return tuple(sorted(found, key=lambda peers: (-len(peers), int(peers.first_rows[0]))))


def _peers(table: RunTable, rows: NDArray[np.int64]) -> Peers:
    cells = _codes(table, SAME_CELL_COLUMNS, rows)
    _, firsts, places, num_seeds = np.unique(
        cells, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(firsts)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    first = int(rows[0])
    return Peers(
        table=table,
        dataset=table.texts("dataset")[first],
        league=table.texts("league")[first],
        data_fingerprint=table.texts("data_fingerprint")[first],
        is_official=bool(table.numbers("official")[first] == 1),
        num_test_images=int(table.numbers("num_test_images")[first]),
        first_rows=rows[firsts[order]],
        num_seeds=num_seeds[order],
        rows=rows,
        places=rank[places],
    )


def _codes(table: RunTable, columns: tuple[str, ...], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each of `rows`, equal where all `columns` are; from 0 without gaps."""
    codes = np.zeros(len(rows), dtype=np.int64)
    for name in columns:
        column = table.columns[name]
        values = column.codes[rows] if isinstance(column, TextColumn) else column[rows]
        distinct, places = np.unique(values, return_inverse=True)
        if len(distinct) > 1:
            _, codes = np.unique(codes * len(distinct) + places, return_inverse=True)
    return codes
