"""One row of a leaderboard, and how its figures read."""

from __future__ import annotations

from collections.abc import Sequence

from results.index.run_table import RunTable, kind_of

UNKNOWN = "—"
SMALLER_PARTS = "†"


class Row:
    """One run of a table, or one cell with its seeds pooled."""

    def __init__(self, values: dict[str, float | str]) -> None:
        self._values = values

    def text(self, column: str) -> str:
        """A text; "" where missing."""
        return str(self._values[column])

    def number(self, column: str) -> float | None:
        """A number; None where missing."""
        value = float(self._values[column])
        return None if value != value else value

    def known(self, column: str) -> float:
        """A number that every finished run has."""
        return float(self._values[column])

    def count(self, column: str) -> str:
        """A whole number as text."""
        value = self.number(column)
        return UNKNOWN if value is None else f"{value:g}"


def rows_of(table: RunTable, marks: Sequence[str]) -> list[Row]:
    """The rows of a small table, each with its marks."""
    columns: dict[str, list[float | str]] = {}
    for name in table.columns:
        found = table.texts(name) if kind_of(name) == "text" else table.numbers(name)
        columns[name] = found.tolist()
    columns["marks"] = list(marks)
    rows = zip(*columns.values(), strict=True)
    return [Row(dict(zip(columns, row, strict=True))) for row in rows]


def number_text(value: float | None) -> str:
    """Three significant digits, in thousands (k), millions (M) and so on."""
    if value is None:
        return UNKNOWN
    for suffix in ("", "k", "M", "G"):
        text = f"{value:#.3g}"
        if "e+" not in text:
            return text.rstrip(".") + suffix
        value /= 1000
    return f"{value:.3g}T"


ONE_SEED = "one seed"


def interval_text(row: Row) -> str:
    """The ends of the accuracy's interval."""
    return f"[{row.known('test_accuracy_low_percent'):.1f}, {row.known('test_accuracy_high_percent'):.1f}]"


def spread_text(row: Row) -> str:
    """How far the accuracies of several seeds lie apart; of one, the ends of its interval."""
    deviation = row.number("test_accuracy_sd_percent")
    if deviation is None:
        return f"{interval_text(row)} {ONE_SEED}"
    lowest, highest = row.known("test_accuracy_min_percent"), row.known("test_accuracy_max_percent")
    return f"±{deviation:.2f} [{lowest:.1f}, {highest:.1f}]"


def ran_out_of_memory(row: Row) -> bool:
    """Whether its batches were taken in more parts than the cell says."""
    used, asked = row.number("used_accumulation_steps"), row.number("accumulation_steps")
    return used is not None and asked is not None and used > asked
