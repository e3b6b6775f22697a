"""Pieces of the pages; names of systems and classes are shown through `Text`, which reads no markup."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.store import one_line

_LABEL_WIDTH = 14
_SYSTEM_LENGTH = 80
_CLASS_LENGTH = 24


def print_sentence(words: str, console: Console) -> None:
    """The verdict, on top of a page."""
    console.print(Text(words, style="bold"))


def print_title(title: str, console: Console) -> None:
    """The title of a section, below an empty line."""
    console.print()
    console.print(Text(title, style="bold"))


def print_lines(lines: Sequence[tuple[str, str]], console: Console) -> None:
    """Labels and what there is to say to each."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(min_width=_LABEL_WIDTH, no_wrap=True)
    grid.add_column(overflow="fold")
    for label, words in lines:
        grid.add_row(Text(label, style="dim"), Text(words))
    console.print(grid)


def print_notes(notes: Sequence[str], console: Console) -> None:
    """What limits the figures above."""
    print_lines([("" if index else "notes", words) for index, words in enumerate(notes)], console)


def table(first: str, *others: str) -> Table:
    """An empty table: the first column to the left, the others to the right."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    shown.add_column(first, no_wrap=True)
    for header in others:
        shown.add_column(header, justify="right", no_wrap=True)
    return shown


def system_name(words: str) -> Text:
    """The name of a system, which takes several lines where there is no room for it."""
    return Text(one_line(words, _SYSTEM_LENGTH), overflow="fold")


def class_name(words: str) -> Text:
    """The name of a class, cut to the width of a column."""
    return Text(one_line(words, _CLASS_LENGTH))
