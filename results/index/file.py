"""The file of an index: a zip archive of plain columns, each with its checksum, replaced as a whole.

    write_index(path, version, Index(names, stamps, columns))
    stored = open_index(path, version)              # None where there is none that can be used
    stored.read(["model", "seed"])

Reading some columns of many runs takes only as long as these columns do.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from harness.errors import StorageError
from harness.files import atomic_write
from results.columns import ALL_COLUMNS, COLUMN_BY_NAME
from results.index.run_table import Columns, Numbers, TextColumn, take

if TYPE_CHECKING:
    from results.index.rows import RunRow

WARNING = "warning"
"""Why a run is left out; a column of the index, not of tables."""

RUN_DIR = "\0"
"""Stands for the path of the run's folder in a warning: the next command may name it in another way."""

INDEX_COLUMNS = (*(column.name for column in ALL_COLUMNS), WARNING)

_DTYPES = {"stamps": "<i8", "numbers": "<f8", "codes": "<i4"}


class UnusableIndexError(Exception):
    """The file is damaged; whoever meets it goes on without."""


@dataclass(frozen=True, eq=False)
class Index:
    """Rows of N run folders, by column."""

    names: tuple[str, ...]
    stamps: NDArray[np.int64]
    """[N, S], what tells the files of a run from others."""

    columns: Columns
    """Those of `ALL_COLUMNS`, and `WARNING`."""

    def take(self, rows: NDArray[np.int64]) -> Index:
        """Some of the rows."""
        names = tuple(self.names[row] for row in rows.tolist())
        return Index(names, self.stamps[rows], take(self.columns, rows))


class StoredIndex:
    """An index on disk; columns are read when they are asked for, from one state of the file."""

    def __init__(self, archive: zipfile.ZipFile, num_stamps: int) -> None:
        self._archive = archive
        self.names: tuple[str, ...] = tuple(json.loads(archive.read("names")))
        stamps = self._array("stamps", "stamps").reshape(-1, num_stamps)
        self.stamps: NDArray[np.int64] = self._checked(stamps)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()

    def read(self, columns: Iterable[str]) -> Index:
        """All rows, with some of the columns.

        Raises:
            UnusableIndexError: the file is damaged.
        """
        try:
            return Index(self.names, self.stamps, {name: self._column(name) for name in columns})
        except Exception as error:
            # zipfile, json and numpy meet damaged bytes with a dozen unrelated types of error.
            raise UnusableIndexError from error

    def _column(self, name: str) -> Numbers | TextColumn:
        if not is_text(name):
            return self._checked(self._array(name, "numbers"))
        codes = self._checked(self._array(name, "codes"))
        values = tuple(json.loads(self._archive.read(f"{name}.values")))
        if len(codes) and not 0 <= codes.min() <= codes.max() < len(values):
            raise UnusableIndexError
        return TextColumn(codes, values)

    def _checked(self, array: NDArray[Any]) -> NDArray[Any]:
        if len(array) != len(self.names):
            raise UnusableIndexError
        return array

    def _array(self, name: str, kind: str) -> NDArray[Any]:
        return np.frombuffer(self._archive.read(name), dtype=_DTYPES[kind])


class IndexBuilder:
    """Rows that are added one by one, kept small."""

    def __init__(self, num_stamps: int) -> None:
        self._names: list[str] = []
        self._stamps: list[NDArray[np.int64]] = []
        self._num_stamps = num_stamps
        self._numbers = {name: array("d") for name in INDEX_COLUMNS if not is_text(name)}
        self._codes = {name: array("i") for name in INDEX_COLUMNS if is_text(name)}
        self._places: dict[str, dict[str, int]] = {name: {} for name in self._codes}

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: str, stamps: NDArray[np.int64], row: RunRow) -> None:
        """Add the row of a folder; nothing where there is nothing to keep of it."""
        if row.values is None and not row.warning:
            return
        self._names.append(name)
        self._stamps.append(stamps)
        values = (None,) * len(ALL_COLUMNS) if row.values is None else row.values
        for column, value in zip(INDEX_COLUMNS, (*values, row.warning), strict=True):
            if column in self._numbers:
                self._numbers[column].append(np.nan if value is None else float(value))
            else:
                places = self._places[column]
                self._codes[column].append(places.setdefault(str(value or ""), len(places)))

    def index(self) -> Index:
        """What was added."""
        columns: dict[str, Numbers | TextColumn] = {}
        for name in INDEX_COLUMNS:
            if name in self._numbers:
                columns[name] = np.array(self._numbers[name], dtype=np.float64)
            else:
                codes = np.array(self._codes[name], dtype=np.int32)
                columns[name] = TextColumn(codes, tuple(self._places[name]))
        stamps = np.array(self._stamps, dtype=np.int64).reshape(-1, self._num_stamps)
        return Index(tuple(self._names), stamps, columns)


def open_index(path: Path, version: str, num_stamps: int) -> StoredIndex | None:
    """The index in `path`; None where there is none, or only a damaged one or one of another version."""
    archive = None
    try:
        archive = zipfile.ZipFile(path)
        if archive.read("version").decode() == version:
            return StoredIndex(archive, num_stamps)
    except Exception:  # noqa: BLE001  # see `StoredIndex.read`; without an index everything is read again
        pass
    if archive is not None:
        archive.close()
    return None


def write_index(path: Path, version: str, index: Index) -> None:
    """Write the index, atomically; where that cannot be done there is none."""
    with contextlib.suppress(StorageError), atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("version", version)
        archive.writestr("names", json.dumps(index.names))
        archive.writestr("stamps", _bytes(index.stamps, "stamps"))
        for name, column in index.columns.items():
            if isinstance(column, TextColumn):
                archive.writestr(name, _bytes(column.codes, "codes"))
                archive.writestr(f"{name}.values", json.dumps(column.values))
            else:
                archive.writestr(name, _bytes(column, "numbers"))


def joined(parts: list[Index]) -> Index:
    """The rows of several indexes, sorted by name."""
    names = [name for part in parts for name in part.names]
    order = np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)
    columns = {
        name: _joined_columns([part.columns[name] for part in parts], order) for name in parts[0].columns
    }
    stamps = np.concatenate([part.stamps for part in parts])[order]
    return Index(tuple(names[place] for place in order.tolist()), stamps, columns)


def is_text(name: str) -> bool:
    """Whether a column of the index holds text."""
    return name == WARNING or COLUMN_BY_NAME[name].kind == "text"


def _joined_columns(columns: list[Numbers | TextColumn], order: NDArray[np.int64]) -> Numbers | TextColumn:
    places: dict[str, int] = {}
    arrays: list[NDArray[Any]] = []
    for column in columns:
        if not isinstance(column, TextColumn):
            arrays.append(column)
            continue
        used, codes = np.unique(column.codes, return_inverse=True)
        texts = (column.values[code] for code in used.tolist())
        new = np.array([places.setdefault(text, len(places)) for text in texts], dtype=np.int32)
        arrays.append(new[codes])
    array = np.concatenate(arrays)[order]
    return TextColumn(array, tuple(places)) if isinstance(columns[0], TextColumn) else array


def _bytes(array: NDArray[Any], kind: str) -> bytes:
    return np.ascontiguousarray(array, dtype=_DTYPES[kind]).tobytes()
