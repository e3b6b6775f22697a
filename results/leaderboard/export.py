"""The leaderboard for programs: CSV and JSON, with the columns of `results.csv`.

    text = "".join(json_lines(board))

What is missing is an empty cell or null.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from harness.files import as_cell
from results.index.run_table import RunTable, kind_of
from results.leaderboard.board import Board, Section
from results.leaderboard.columns import EXPORTED_COLUMNS, ONLY_OF_A_SEED
from results.leaderboard.rows import rows_of
from results.leaderboard.seeds import SPREAD_COLUMNS
from results.leaderboard.words import words_of
from results.references import Reference, leaderboard_references
from results.table import csv_text, with_safe_texts

_ROWS_AT_ONCE = 2000


def csv_lines(board: Board) -> Iterator[str]:
    """One table for all sections; references at the foot, with `claim` for a rank, where models are named."""
    names = _exported(board)
    yield csv_text([["rank", "tie", "pareto", *names]])
    for section in board.sections:
        for rows, start in _parts(with_safe_texts(section.rows)):
            stop = start + len(rows)
            marks = [
                [str(rank) for rank in range(start + 1, stop + 1)],
                section.letters[start:stop],
                ["true" if mark else "false" for mark in section.on_front[start:stop].tolist()],
            ]
            yield csv_text(zip(*marks, *(rows.texts(name) for name in names), strict=True))
    for entry in leaderboard_references() if "model" in names else ():
        facts = _claim(entry)
        claim = [as_cell(str(facts[name])) if facts.get(name) is not None else "" for name in names]
        yield csv_text([["claim", "", "", *claim]])


def json_lines(board: Board) -> Iterator[str]:
    """An object with `tables`, each with its `rows`, then `claims` and what could not be ranked."""
    names = _exported(board)
    yield '{"tables": ['
    for place, section in enumerate(board.sections):
        words = words_of(section, rows_of(_part(section.rows, 0, 1), [""]), board)
        head = {"title": words.title, "caption": words.caption, "num_more": section.num_more}
        yield f"{',' if place else ''}\n{json.dumps(head)[:-1]}, " + '"rows": ['
        for rows, start in _parts(section.rows):
            yield "".join(
                f"{',' if rank > 1 else ''}\n{json.dumps(row, allow_nan=False)}"
                for rank, row in enumerate(_objects(section, rows, start, names), start=start + 1)
            )
        yield "]}"
    rest = {
        "claims": [_claim(entry) for entry in leaderboard_references()],
        "num_failed": len(board.failed),
        "num_filtered": board.num_filtered,
        "num_unfinished": board.num_unfinished,
        "warnings": board.warnings,
    }
    yield f"],\n{json.dumps(rest)[1:]}\n"


def _exported(board: Board) -> Sequence[str]:
    if board.options.columns:
        return board.options.columns
    if board.options.by == "seed":
        return EXPORTED_COLUMNS
    places: dict[str, tuple[str, ...]] = {
        name: (name,) for name in EXPORTED_COLUMNS if name not in ONLY_OF_A_SEED
    }
    places["seed"] = SPREAD_COLUMNS
    return [each for name in EXPORTED_COLUMNS for each in places.get(name, ())]


def _parts(rows: RunTable) -> Iterator[tuple[RunTable, int]]:
    """The rows, some thousand at a time, and how many came before."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        yield _part(rows, start, start + _ROWS_AT_ONCE), start


def _part(rows: RunTable, start: int, stop: int) -> RunTable:
    return rows.select(np.arange(start, min(stop, len(rows))))


def _objects(section: Section, rows: RunTable, start: int, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    columns = [_values(rows, name) for name in names]
    for place, values in enumerate(zip(*columns, strict=True)):
        marks = {
            "tie": section.letters[start + place] or None,
            "pareto": bool(section.on_front[start + place]),
        }
        yield {"rank": start + place + 1, **marks, **dict(zip(names, values, strict=True))}


def _values(rows: RunTable, name: str) -> list[Any]:
    """The values of a column as JSON has them."""
    kind = kind_of(name)
    if kind == "text":
        return [text or None for text in rows.texts(name).tolist()]
    values = rows.numbers(name).tolist()
    if kind == "flag":
        return [None if value != value else bool(value) for value in values]
    return [
        None if value != value else int(value) if value == int(value) and kind == "integer" else value
        for value in values
    ]


def _claim(entry: Reference) -> dict[str, Any]:
    """What is known of a reference, under the names of the columns where they fit."""
    return {
        "model": entry.name,
        "kind": entry.kind,
        "dataset": entry.dataset,
        "num_test_images": entry.num_test_images,
        "test_accuracy_percent": entry.accuracy_percent,
        "num_params": entry.num_params,
        "source": entry.source,
    }
