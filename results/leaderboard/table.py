"""The leaderboard: one table for each set of data and league; below them, what could not be ranked.

print_leaderboard(Path("runs"), Console())

Runs on data with different fingerprints never share a table, nor do models trained from scratch and
models that started from weights. Whatever comes from a record is shown
through `Text`, so that rich reads no markup in it.
"""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.leaderboard.board import Board, BoardOptions, Section, make_board
from results.leaderboard.columns import LeaderboardColumn, columns_of, shown_references
from results.leaderboard.rows import Row, rows_of
from results.leaderboard.words import (
    BELOW_BAR,
    more_line,
    unranked_lines,
    warning_lines,
    words_of,
)
from results.references import leaderboard_references
from results.store import one_line

_GAP = 2
"""Spaces between two columns of the table."""


def print_leaderboard(folder: Path, console: Console, options: BoardOptions | None = None) -> None:
    """Print the leaderboard of the runs in `folder`.

    Raises:
        UsageError: `folder` cannot be read or holds no run, or an option names what there is not.
    """
    print_board(make_board(folder, options or BoardOptions()), console)


def print_board(board: Board, console: Console) -> None:
    """Print every table of a board, then the runs that are in none."""
    for section in board.sections:
        _print_section(section, board, console)
    if not board.sections:
        console.print(
            "No finished run to rank yet." if not board.num_filtered else "No run meets the filters."
        )
    for line in unranked_lines(board):
        console.print(Text(line, style="bold" if line.startswith("Failed") else ""), soft_wrap=True)
    for line in warning_lines(board):
        console.print(Text(line, style="yellow"), soft_wrap=True)


def _print_section(section: Section, board: Board, console: Console) -> None:
    rows = rows_of(section.rows, section.marks)
    words = words_of(section, rows, board)
    console.print(Text(words.title, style="bold"))
    console.print()
    console.print(_table(rows, board, console.width))
    if section.num_more:
        console.print(Text(more_line(section), style="dim"))
    console.print()
    console.print(Text("\n".join(words.caption), style="dim"))
    console.print()
    if words.summary:
        console.print(Text(words.summary, style="bold"))
        console.print()


def _table(rows: list[Row], board: Board, width: int) -> Table:
    columns = columns_of(board.options.columns, pooled=board.options.by == "cell")
    cells = {column: [one_line(column.of_row(row)) for row in rows] for column in columns}
    rank_width = max(len("claim"), len(f"{len(rows)}{BELOW_BAR}"))
    # Columns that were asked for are all shown, and broken where they do not fit.
    shown = columns if board.options.columns else _fitting(cells, width - rank_width)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("\nrank", justify="right", no_wrap=True)
    for column in shown:
        # Only the names of references, which may wrap, are longer than the column is planned for.
        may_wrap = column is columns[0] or bool(board.options.columns)
        table.add_column(Text(column.header), justify=column.align, no_wrap=not may_wrap, overflow="fold")
    is_below = [row.number("clears_vendor_bar") != 1 for row in rows]
    # In order of value the rows below the bar come last.
    last_above = 0 if board.options.sorts else is_below.count(False)
    for index, below in enumerate(is_below):
        table.add_row(
            f"{index + 1}{BELOW_BAR if below else ' '}",
            *(Text(cells[column][index]) for column in shown),
            style="yellow" if below else "",
            end_section=index + 1 in (last_above, len(rows)),
        )
    for entry in shown_references(shown):
        table.add_row("claim", *(Text(column.of_reference(entry)) for column in shown), style="dim")
    return table


def _fitting(cells: dict[LeaderboardColumn, list[str]], width: int) -> list[LeaderboardColumn]:
    """The most important columns that fit into `width`, in the order in which they are shown."""
    used = 0
    shown = set()
    for column in sorted(cells, key=lambda column: column.importance):
        reference_words = [
            word for entry in leaderboard_references() for word in column.of_reference(entry).split()
        ]
        texts = [*column.header.split("\n"), *cells[column], *reference_words]
        used += _GAP + max(cell_len(text) for text in texts)
        if used > width:
            break
        shown.add(column)
    return [column for column in cells if column in shown]
