"""Pieces of the pages on the console; words are shown through `Text`, so that rich reads no markup in them.

print_lines([("build", "fast_cnn/flip_crop: 92.00%")], console)
console.print(fitting_table(("pair", "points", "p"), rows, ["points"], console))
"""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text


def print_title(title: str, console: Console) -> None:
    """The title of a section, below an empty line."""
    console.print()
    console.print(Text(title, style="bold"))


def print_lines(lines: Sequence[tuple[str, str]], console: Console, label_width: int, gap: int = 2) -> None:
    """Labels and what there is to say to each.

    Args:
        lines: label and words.
        console: where to.
        label_width: columns for the labels.
        gap: columns between the two.
    """
    grid = Table.grid(padding=(0, gap, 0, 0))
    grid.add_column(min_width=label_width, no_wrap=True)
    grid.add_column(overflow="fold")
    for label, words in lines:
        grid.add_row(Text(label, style="dim"), Text(words))
    console.print(grid)


def empty_table(first: str, *others: str) -> Table:
    """A table without rows: the first column to the left, the others, of numbers, to the right."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    table.add_column(first, no_wrap=True)
    for header in others:
        table.add_column(header, justify="right", no_wrap=True)
    return table


Row = tuple[Sequence[RenderableType], str]
"""The cells of a row, one for each column, and its style."""


def fitting_table(
    headers: Sequence[str], rows: Sequence[Row], dispensable: Sequence[str], console: Console
) -> tuple[Table, tuple[str, ...]]:
    """A table that is as wide as the console at most: whole columns are left out rather than numbers cut.

    Args:
        headers: of all columns.
        rows: cells and style of each.
        dispensable: headers of columns that may be left out, the least important first.
        console: that it has to fit on.

    Returns:
        The table, and the headers that were left out.
    """
    for num_dropped in range(len(dispensable) + 1):
        dropped = tuple(dispensable[:num_dropped])
        kept = [place for place, header in enumerate(headers) if header not in dropped]
        table = empty_table(*(headers[place] for place in kept))
        for cells, style in rows:
            table.add_row(*(cells[place] for place in kept), style=style)
        if console.measure(table, options=console.options.update(max_width=10_000)).maximum <= console.width:
            break
    return table, dropped
