"""The leaderboard as text: for the screen, for programs, for papers.

write_board(board, "latex", Path("table.tex"))
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console

from harness.files import atomic_write
from results.leaderboard.board import Board, Section
from results.leaderboard.columns import LeaderboardColumn, columns_of, shown_references
from results.leaderboard.export import csv_lines, json_lines
from results.leaderboard.rows import rows_of
from results.leaderboard.table import print_board
from results.leaderboard.words import BELOW_BAR, more_line, unranked_lines, warning_lines, words_of
from results.markdown import as_text
from results.store import one_line

_ON_PAPER = 9
"""Importance of the columns that papers and pages have."""

Format = Literal["table", "csv", "json", "markdown", "latex"]


def write_board(board: Board, form: Format, output: Path | None) -> None:
    """Write a board to a file, atomically, or to the screen; in formats for programs warnings go to stderr.

    Raises:
        StorageError: the file cannot be written.
    """
    if form in ("csv", "json"):
        for line in warning_lines(board):
            print(line, file=sys.stderr)
    if form == "table" and output is None:
        print_board(board, Console())
    elif output is None:
        _print_lines(FORMATS[form](board))
    else:
        with atomic_write(output) as file:
            for text in FORMATS[form](board):
                file.write(text.encode())


def _print_lines(lines: Iterator[str]) -> None:
    try:
        for text in lines:
            sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads on, as in `| head`; at its end Python would complain about what is left in the buffer.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def table_lines(board: Board) -> Iterator[str]:
    """What stands on the screen, as wide as it is."""
    file = io.StringIO()
    print_board(board, Console(file=file, width=Console().width))
    yield file.getvalue()


def markdown_lines(board: Board) -> Iterator[str]:
    """A heading, a table and its caption for each section."""
    for section in board.sections:
        rows = rows_of(section.rows, section.marks)
        words, columns = words_of(section, rows, board), _columns(board)
        yield f"## {as_text(words.title)}\n\n"
        yield _markdown_row(["rank", *(_header(column) for column in columns)])
        yield _markdown_row(
            ["---:", *(":---" if column.align == "left" else "---:" for column in columns)], raw=True
        )
        for texts in _printed(section, board):
            yield _markdown_row(texts)
        yield "\n"
        for text in (more_line(section), *words.caption, words.summary):
            yield f"{as_text(text)}\n\n" if text else ""
    for line in (*unranked_lines(board), *warning_lines(board)):
        yield f"- {as_text(line.strip())}\n"


def latex_lines(board: Board) -> Iterator[str]:
    """A `table` with a booktabs `tabular` for each section."""
    yield "% needs \\usepackage{booktabs}\n"
    for section in board.sections:
        words, columns = words_of(section, rows_of(section.rows, section.marks), board), _columns(board)
        aligned = "".join("l" if column.align == "left" else "r" for column in columns)
        yield f"\\begin{{table}}\n\\centering\n\\begin{{tabular}}{{r{aligned}}}\n\\toprule\n"
        yield _latex_row(["rank", *(_header(column) for column in columns)])
        yield "\\midrule\n"
        lines = list(_printed(section, board))
        for line in lines[: len(section.rows)]:
            yield _latex_row(line)
        yield "\\midrule\n"
        for line in lines[len(section.rows) :]:
            yield _latex_row(line)
        caption = " ".join(
            _latex(_sentence(text)) for text in (words.title, more_line(section), *words.caption) if text
        )
        yield f"\\bottomrule\n\\end{{tabular}}\n\\caption{{{caption}}}\n\\end{{table}}\n\n"


FORMATS: dict[str, Callable[[Board], Iterator[str]]] = {
    "table": table_lines,
    "csv": csv_lines,
    "json": json_lines,
    "markdown": markdown_lines,
    "latex": latex_lines,
}


def _columns(board: Board) -> Sequence[LeaderboardColumn]:
    columns = columns_of(board.options.columns, pooled=board.options.by == "cell")
    # A page is about as wide as the narrowest screen.
    return columns if board.options.columns else [each for each in columns if each.importance <= _ON_PAPER]


def _printed(section: Section, board: Board) -> Iterator[list[str]]:
    """The texts of each row and of the references, as on the screen."""
    columns = _columns(board)
    for rank, row in enumerate(rows_of(section.rows, section.marks), start=1):
        below = BELOW_BAR if row.number("clears_vendor_bar") != 1 else ""
        yield [f"{rank}{below}", *(one_line(column.of_row(row)) for column in columns)]
    for entry in shown_references(columns):
        yield ["claim", *(one_line(column.of_reference(entry)) for column in columns)]


def _header(column: LeaderboardColumn) -> str:
    lines = column.header.strip().split("\n")
    return "".join(lines) if lines[0].endswith("_") else " ".join(lines)


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


_LATEX_SPECIAL = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "—": "---",
        "×": r"$\times$",
        "±": r"$\pm$",
        "†": r"$\dagger$",
        "◆": r"$\diamond$",
    }
)


def _markdown_row(texts: Sequence[str], raw: bool = False) -> str:
    return "| " + " | ".join(text if raw else as_text(text) for text in texts) + " |\n"


def _latex(text: str) -> str:
    return text.translate(_LATEX_SPECIAL)


def _latex_row(texts: Sequence[str]) -> str:
    return " & ".join(_latex(text) for text in texts) + r" \\" + "\n"
