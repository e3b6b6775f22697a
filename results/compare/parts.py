"""Pieces of the pages; names of systems and classes are shown through `Text`, which reads no markup."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from results import console_parts
from results.store import one_line

_LABEL_WIDTH = 14
_SYSTEM_LENGTH = 80
_CLASS_LENGTH = 24


def print_sentence(words: str, console: Console) -> None:
    """The verdict, on top of a page."""
    console.print(Text(words, style="bold"))


def print_lines(lines: Sequence[tuple[str, str]], console: Console) -> None:
    """Labels and what there is to say to each."""
    console_parts.print_lines(lines, console, _LABEL_WIDTH)


def print_notes(notes: Sequence[str], console: Console) -> None:
    """What limits the figures above."""
    print_lines([("" if index else "notes", words) for index, words in enumerate(notes)], console)


def print_dropped(headers: Sequence[str], console: Console) -> None:
    """Name the columns that the console is too narrow for."""
    if headers:
        words = f"too narrow for {', '.join(repr(header) for header in headers)} (--json has all)"
        console.print(Text(words, style="dim"))


def system_name(words: str) -> Text:
    """The name of a system, which takes several lines where there is no room for it."""
    return Text(one_line(words, _SYSTEM_LENGTH), overflow="fold")


def class_name(words: str) -> Text:
    """The name of a class, cut to the width of a column."""
    return Text(one_line(words, _CLASS_LENGTH))
