"""Which runs may share a table, and in which order they stand in it.

    for group in grouped(table):        # one data set and league each
        best = group.select(order_of(group, [])[:10])       # by value; see `results/score.py`
        on_front = pareto_marks(group)

Everything works on whole columns: a hundred thousand runs take a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from results.index.run_table import Numbers, RunTable, kind_of
from results.value.pareto import pareto_front

RANKING_COLUMNS = (
    "accuracy_per_pflop",
    "cell_id",
    "clears_vendor_bar",
    "data_kind",
    "full_fingerprint",
    "league",
    "num_test_images",
    "official",
    "status",
    "test_accuracy_percent",
    "total_train_pflop",
)
"""What these functions need of a table."""


def grouped(table: RunTable) -> list[RunTable]:
    """The finished runs, those on the same data and of one league together.

    Of one data set the official data come first, then the larger test set.
    """
    finished = np.flatnonzero(table.is_finished)
    keys = (
        table.ranks("league")[finished],
        table.ranks("full_fingerprint")[finished],
        -table.numbers("num_test_images")[finished],
        -table.numbers("official")[finished],
        table.ranks("data_kind")[finished],
    )
    order = np.lexsort(keys)
    if not len(order):
        return []
    sorted_keys = np.stack([key[order] for key in keys])
    starts = np.flatnonzero((sorted_keys[:, 1:] != sorted_keys[:, :-1]).any(axis=0)) + 1
    return [table.select(np.sort(finished[rows])) for rows in np.split(order, starts)]


def order_of(group: RunTable, sorts: Sequence[str]) -> NDArray[np.int64]:
    """The places of the runs of a group, best first, [N].

    Args:
        group: N runs of one data set and league.
        sorts: columns, the most important first, a leading `-` for falling values; what is missing comes
            last. What they leave open, and all where there are none, follows `results/score.py`.
    """
    keys: list[NDArray[np.float64] | NDArray[np.int64]] = [
        group.ranks("cell_id"),
        -group.numbers("accuracy_per_pflop"),
        group.numbers("clears_vendor_bar") != 1,
    ]
    keys += [_sort_key(group, sort) for sort in reversed(sorts)]
    order: NDArray[np.int64] = np.lexsort(keys)
    return order


def _sort_key(group: RunTable, sort: str) -> Numbers:
    """Numbers that rise as the runs are to stand; infinite where the value is missing."""
    name = sort.removeprefix("-")
    if kind_of(name) == "text":
        is_missing = group.texts(name) == ""
        values = group.ranks(name).astype(np.float64)
    else:
        values = group.numbers(name)
        is_missing = np.isnan(values)
    return np.where(is_missing, np.inf, -values if sort.startswith("-") else values)


def pareto_marks(group: RunTable) -> NDArray[np.bool_]:
    """Whether no other run of the group has both less error and less training compute, [N]."""
    return pareto_front(group.numbers("total_train_pflop"), 100 - group.numbers("test_accuracy_percent"))
