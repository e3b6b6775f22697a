"""A vendor's predictions in a CSV file with a header.

    image,class              image,airplane,automobile,...         class
    0.png,cat                0.png,0.01,0.02,...                   3

| column                                                   | what it is                              |
|----------------------------------------------------------|-----------------------------------------|
| image, id, index, filename, file, name or image_id       | the image; without it: in order         |
| class, prediction, predicted, predicted_class or label   | the predicted class, a name or an index |
| the name or index of a class, perhaps after prob_ or p_  | its probability; all classes or none    |

Other columns are not used. Cells are text: none is ever a formula.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DataError
from results.audit.answers import Answers, ClassReader, shown
from results.audit.names import CLASS_COLUMNS, IMAGE_COLUMNS, PROBABILITY_PREFIXES
from results.audit.text import MAX_LINE_BYTES, bounded_lines
from results.prediction_files import MAX_CLASSES

_MAX_OTHER_COLUMNS = 100
_MAX_ROW_LENGTH = MAX_LINE_BYTES
"""In characters, over all lines of a row whose quoted cells hold line breaks."""

_NUMBER = re.compile(
    r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE
)


@dataclass(frozen=True)
class _Columns:
    """Where is what, counted from 0."""

    width: int
    image: int | None
    predicted: int | None
    probabilities: tuple[int, ...]
    """In the order of the classes; empty where there are none."""

    not_used: tuple[str, ...]


def read_csv_file(path: Path, class_names: tuple[str, ...], answers: Answers) -> tuple[str, ...]:
    """Add every answer of a CSV file; the names of the columns that were not used.

    Raises:
        UsageError: there is no such file.
        DataError: no CSV, no usable header, or answers that are unclear or impossible; the line is named.
    """
    rows = _rows(path)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path}: is empty: it needs a header and one row for each image")
    line, header = first
    columns = _columns(f"{path}:{line}", [name.strip() for name in header], class_names)
    for line, row in rows:
        where = f"{path}:{line}"
        if len(row) != columns.width:
            raise DataError(f"{where}: {len(row):,} cells, but the header has {columns.width:,}")
        answers.add(
            where,
            None if columns.image is None else row[columns.image],
            predicted=None if columns.predicted is None else row[columns.predicted],
            probs=[_number(row[at], where) for at in columns.probabilities] or None,
        )
    return columns.not_used


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Every row with the number of its last line; empty lines may only stand at the end."""
    left = _MAX_ROW_LENGTH

    def texts() -> Iterator[str]:
        nonlocal left
        for number, text in bounded_lines(path):
            left -= len(text)
            if left < 0:
                raise DataError(f"{path}:{number}: the row is longer than {_MAX_ROW_LENGTH:,} characters")
            yield text

    reader = csv.reader(texts(), strict=True)
    empty = None
    while True:
        left = _MAX_ROW_LENGTH
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: is no CSV: {error}") from None
        if not any(cell.strip() for cell in row):
            empty = empty or reader.line_num
            continue
        if empty is not None:
            raise DataError(f"{path}:{empty}: the line is empty, though rows follow")
        yield reader.line_num, row


def _columns(where: str, header: Sequence[str], class_names: tuple[str, ...]) -> _Columns:
    if len(header) > MAX_CLASSES + _MAX_OTHER_COLUMNS:
        raise DataError(f"{where}: the header has {len(header):,} columns")
    double = next((name for name, count in Counter(header).items() if count > 1), None)
    if double is not None:
        raise DataError(f"{where}: two columns are called {shown(double)}")
    probabilities = _probability_columns(where, header, class_names)
    taken = set(probabilities)
    rest = [at for at in range(len(header)) if at not in taken]
    image = _only(where, header, rest, IMAGE_COLUMNS, "the image")
    predicted = _only(where, header, rest, CLASS_COLUMNS, "the predicted class")
    if predicted is None and not probabilities:
        separators = [mark for mark in (";", "\t") if mark in header[0]]
        hint = f" (its cells seem to be separated by {separators[0]!r}: use commas)" if separators else ""
        raise DataError(
            f"{where}: the header names no predictions{hint}: it needs a column '{CLASS_COLUMNS[0]}', or one "
            f"for each class such as {shown(class_names[0])}, but has {', '.join(map(shown, header[:12]))}"
        )
    not_used = tuple(header[at] for at in rest if at not in (image, predicted))
    return _Columns(len(header), image, predicted, probabilities, not_used)


def _probability_columns(where: str, header: Sequence[str], class_names: tuple[str, ...]) -> tuple[int, ...]:
    """The column of each class; empty where fewer than half of the classes have one."""
    at_name = {name: at for at, name in enumerate(header)}
    best: list[int | None] = []
    for prefix in PROBABILITY_PREFIXES:
        by_name, by_index = (
            [at_name.get(f"{prefix}{name}") for name in names]
            for names in (class_names, range(len(class_names)))
        )
        if by_name != by_index and None not in by_name + by_index:
            raise DataError(
                f"{where}: classes are called by numbers that are not their indices, so that it is not clear "
                f"which class column {shown(header[by_name[0] or 0])} is about: give a .npy file"
            )
        best = max(best, by_name, by_index, key=lambda found: sum(at is not None for at in found))
    missing = [name for name, at in zip(class_names, best, strict=False) if at is None]
    if best and missing and len(missing) <= len(class_names) // 2:
        spare = [name for at, name in enumerate(header) if at not in best and name not in IMAGE_COLUMNS]
        reader = ClassReader(class_names)
        if spare and spare[0] not in CLASS_COLUMNS:
            raise reader.unknown(spare[0], where)
        raise DataError(f"{where}: there is no column for class {shown(missing[0])}")
    return () if missing else tuple(at for at in best if at is not None)


def _only(
    where: str, header: Sequence[str], among: Sequence[int], names: tuple[str, ...], what: str
) -> int | None:
    found = [at for at in among if header[at].lower() in names]
    if len(found) > 1:
        raise DataError(
            f"{where}: both {shown(header[found[0]])} and {shown(header[found[1]])} could be {what}: "
            "leave one out"
        )
    return found[0] if found else None


def _number(cell: str, where: str) -> float:
    text = cell.strip()
    if not _NUMBER.fullmatch(text):
        raise DataError(f"{where}: {shown(cell)} is not a number")
    return float(text)
