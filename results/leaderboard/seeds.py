"""Runs of one cell with several seeds as one row: their mean, and how far they lie apart.

pooled(group).numbers("test_accuracy_sd_percent")
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from results.columns import COLUMN_BY_NAME
from results.index.run_table import Numbers, RunTable, TextColumn, text_column

SPREAD_COLUMNS = (
    "num_seeds",
    "test_accuracy_sd_percent",
    "test_accuracy_min_percent",
    "test_accuracy_max_percent",
)
"""What a row of several seeds has besides; the standard deviation is that of a sample, missing for one."""

VARIES = "(varies)"

_T = TypeVar("_T", bound=np.generic)


def pooled(group: RunTable) -> RunTable:
    """One row for each cell of a group, whatever its seed.

    A number is the mean over the seeds, missing where any seed lacks it; a flag is true where it is for every
    seed; a text that is not the same for all is `VARIES`. What was measured on different devices has no mean.

    Args:
        group: N runs of one data set and league, with `seedless_id`, `device` and `test_accuracy_percent`.
    """
    ids = group.ranks("seedless_id")
    order = np.argsort(ids, kind="stable")
    starts = np.flatnonzero(np.diff(ids[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    by_cell = group.select(order)
    device = by_cell.columns["device"]
    assert isinstance(device, TextColumn)
    is_one_device = _lowest(device.codes, starts) == _highest(device.codes, starts)
    columns: dict[str, Numbers | TextColumn] = {}
    for name, column in by_cell.columns.items():
        if isinstance(column, TextColumn):
            columns[name] = _common(column, starts)
            continue
        known = COLUMN_BY_NAME[name]
        mean = _mean(column, starts, sizes, known.kind == "flag")
        is_measured = known.path.startswith("measurements.")
        columns[name] = np.where(is_one_device, mean, np.nan) if is_measured else mean
    columns |= _spread(by_cell.numbers("test_accuracy_percent"), starts, sizes)
    return RunTable(group.folder, columns, group.warnings, group.num_unfinished)


def _spread(accuracies: Numbers, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> dict[str, Numbers]:
    mean = np.repeat(np.add.reduceat(accuracies, starts) / sizes, sizes)
    squares = np.add.reduceat((accuracies - mean) ** 2, starts)
    deviation = np.sqrt(squares / np.maximum(sizes - 1, 1))
    values = (
        sizes.astype(np.float64),
        np.where(sizes > 1, deviation, np.nan),
        _lowest(accuracies, starts),
        _highest(accuracies, starts),
    )
    return dict(zip(SPREAD_COLUMNS, values, strict=True))


def _mean(values: Numbers, starts: NDArray[np.int64], sizes: NDArray[np.int64], is_flag: bool) -> Numbers:
    lowest = _lowest(values, starts)
    if is_flag:
        return lowest
    # Of equal values the mean is that value, which a rounded sum over their number may miss.
    is_equal = lowest == _highest(values, starts)
    return np.where(is_equal, lowest, np.add.reduceat(values, starts) / sizes)


def _common(column: TextColumn, starts: NDArray[np.int64]) -> TextColumn:
    lowest, highest = _lowest(column.codes, starts), _highest(column.codes, starts)
    is_common = (lowest == highest).tolist()
    return text_column(
        column.values[code] if same else VARIES for code, same in zip(lowest.tolist(), is_common, strict=True)
    )


def _lowest(values: NDArray[_T], starts: NDArray[np.int64]) -> NDArray[_T]:
    lowest: NDArray[_T] = np.minimum.reduceat(values, starts)
    return lowest


def _highest(values: NDArray[_T], starts: NDArray[np.int64]) -> NDArray[_T]:
    highest: NDArray[_T] = np.maximum.reduceat(values, starts)
    return highest
