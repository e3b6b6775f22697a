"""Every run of a folder, checked and scored once, and again only where its files have changed.

    table = load_table(Path("runs"))                             # all columns
    table = load_table(Path("runs"), ["model", "seed"])          # some

What was found is kept in `runs/.table.zip`, with the size and the times of the three files that it comes
from. It is a shortcut: it may be deleted at any time, and where it is damaged, of another version or
cannot be written everything is read again. It takes no locks, which network file systems keep badly: it is
only ever replaced as a whole, so that a reader has one state of it. Of two processes that replace it at
once the later one wins; rows that are lost by that are read again by the next.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.errors import unknown_name
from harness.record import ROBUSTNESS_FILE
from results.columns import ALL_COLUMNS, COLUMN_BY_NAME
from results.index.file import (
    INDEX_COLUMNS,
    RUN_DIR,
    WARNING,
    Index,
    IndexBuilder,
    StoredIndex,
    UnusableIndexError,
    joined,
    open_index,
    write_index,
)
from results.index.run_table import RunTable, TextColumn, take
from results.references import load_references
from results.store import MAX_LINE_LENGTH, no_runs, one_line, unreadable_folder

if TYPE_CHECKING:
    from results.index.rows import RunRow

INDEX_NAME = ".table.zip"

_SETTLED_NS = 2_000_000_000
"""A file that changed so recently may change again without its times showing it: it is not kept yet."""

_FILES = ("record.json", "predictions.npz", ROBUSTNESS_FILE)
_ABSENT = (-1, -1, -1)
_UNKNOWN = (-2, -2, -2)
"""Instead of the size of a file, the time of its content, and that of its last change of any kind."""

_PART = 1000
_LEAST_SHARED = 20_000
"""Folders: starting processes takes as long as looking at a few thousand."""

_NUM_STAMPS = len(_FILES) * len(_ABSENT)
ROOT = Path(__file__).resolve().parents[2]
_SOURCES = (
    "harness/augment/names.py",
    "harness/cell.py",
    "harness/corruptions/names.py",
    "harness/datasets/base.py",
    "harness/datasets/names.py",
    "harness/errors.py",
    "harness/files.py",
    "harness/interval.py",
    "harness/measurements.py",
    "harness/recipe.py",
    "harness/record.py",
    "harness/settings.py",
    "models/errors.py",
    "models/external.py",
    "models/registry.py",
    *(
        f"results/{name}.py"
        for name in (
            "calibration",
            "columns",
            "derived",
            "figures",
            "human",
            "index/file",
            "index/load",
            "index/rows",
            "index/run_table",
            "metrics",
            "prediction_files",
            "predictions",
            "references",
            "robustness",
            "robustness_file",
            "score",
            "selective",
            "store",
        )
    ),
)
"""The code that a row comes from."""


def load_table(
    folder: Path, columns: Sequence[str] | None = None, num_workers: int = 1, show_progress: bool = True
) -> RunTable:
    """The runs of `folder`, finished and failed; those that cannot be trusted are left out with a warning.

    Args:
        folder: holds one folder for each run.
        columns: names of `results/columns.py`, besides `cell_id` and `status`; None: all.
        num_workers: processes that look at the runs where there are many; more than one only for a program
            without threads, of which they are copies.
        show_progress: whether to show a bar on a terminal meanwhile.

    Raises:
        UsageError: `folder` cannot be read or holds no run, or there is no such column.
    """
    asked = [column.name for column in ALL_COLUMNS] if columns is None else columns
    wanted = list(dict.fromkeys(["cell_id", "status", *asked]))
    for name in wanted:
        if name not in COLUMN_BY_NAME:
            raise unknown_name("column", name, COLUMN_BY_NAME)
    found = _scan(folder, num_workers)
    read = partial(_read_rows, found, num_workers=num_workers, show_progress=show_progress)
    stored = open_index(folder / INDEX_NAME, _version(), _NUM_STAMPS)
    if stored is not None:
        try:
            with stored:
                return _table(found, _up_to_date(found, stored, wanted, read), wanted)
        except UnusableIndexError:
            pass  # it is rebuilt below
    return _table(found, _up_to_date(found, None, wanted, read), wanted)


_Read = Callable[[list[int]], Iterator[tuple[int, "RunRow"]]]


@dataclass(frozen=True, eq=False)
class _Found:
    """The N folders that hold a record, sorted by name."""

    folder: Path
    names: list[str]
    stamps: NDArray[np.int64]
    """[N, S]."""

    is_settled: NDArray[np.bool_]
    """[N], whether a change after this would show in the stamps."""

    num_unfinished: int


def usable_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _scan(folder: Path, num_workers: int) -> _Found:
    """List the runs and look at the times of their files, which is all that is done for most of them."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError as error:
        raise unreadable_folder(folder, error) from None
    parts = [(folder, listed[start : start + _PART]) for start in range(0, len(listed), _PART)]
    # Threads would fight for the interpreter: with eight of them it takes three times as long as with one.
    if num_workers > 1 and len(listed) >= _LEAST_SHARED and sys.platform == "linux":
        with ProcessPoolExecutor(num_workers, get_context("fork")) as pool:
            found = list(pool.map(_scan_part, parts))
    else:
        found = [_scan_part(part) for part in parts]
    names = [name for part in found for name in part[0]]
    num_unfinished = sum(part[2] for part in found)
    if not (names or num_unfinished):
        raise no_runs(folder)
    stamps = np.concatenate([np.array(part[1], dtype=np.int64) for part in found]).reshape(-1, _NUM_STAMPS)
    changed_ns = stamps[:, 2::3]
    is_settled: NDArray[np.bool_] = np.all(np.abs(time.time_ns() - changed_ns) > _SETTLED_NS, axis=1)
    return _Found(folder, names, stamps, is_settled, num_unfinished)


def _scan_part(part: tuple[Path, list[str]]) -> tuple[list[str], array[int], int]:
    """Those of some folders that hold a record, their stamps in a row, and how many hold only a cell."""
    folder, listed = part
    names: list[str] = []
    stamps = array("q")
    num_unfinished = 0
    for name in listed:
        prefix = f"{folder}/{name}/"
        record = _stamp(prefix + _FILES[0])
        if record == _ABSENT:
            num_unfinished += _stamp(f"{prefix}cell.json") != _ABSENT
            continue
        names.append(name)
        stamps.extend(record)
        for file in _FILES[1:]:
            stamps.extend(_stamp(prefix + file))
    return names, stamps, num_unfinished


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 - a hundred thousand Paths take a second
    except (FileNotFoundError, NotADirectoryError):
        return _ABSENT
    except OSError:
        return _UNKNOWN
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _up_to_date(found: _Found, stored: StoredIndex | None, wanted: list[str], read: _Read) -> Index:
    """What was found, with `WARNING` and at least the wanted columns; what is new is read and kept.

    Raises:
        UnusableIndexError: the stored index is damaged.
    """
    known = _known_places(found, stored)
    is_new = known < 0
    if stored is not None and not is_new.any():
        index = stored.read([WARNING, *wanted])
        return index if len(known) == len(index.names) else index.take(known)
    known_rows = [] if stored is None else [stored.read(INDEX_COLUMNS).take(known[~is_new])]
    kept, passing = IndexBuilder(_NUM_STAMPS), IndexBuilder(_NUM_STAMPS)
    try:
        for place, row in read(np.flatnonzero(is_new).tolist()):
            builder = kept if row.is_final and found.is_settled[place] else passing
            builder.add(found.names[place], found.stamps[place], row)
    finally:  # what was read until an interruption is kept too
        index = joined([*known_rows, kept.index()])
        if len(kept):
            write_index(found.folder / INDEX_NAME, _version(), index)
    return joined([index, passing.index()]) if len(passing) else index


def _read_rows(
    found: _Found, places: list[int], num_workers: int, show_progress: bool
) -> Iterator[tuple[int, RunRow]]:
    from results.index.reading import read_rows  # which loads all that figures are computed with

    run_dirs = [found.folder / found.names[place] for place in places]
    return zip(places, read_rows(run_dirs, num_workers, show_progress), strict=True)


def _known_places(found: _Found, stored: StoredIndex | None) -> NDArray[np.int64]:
    """For each run its place in the index, or -1 where it is not there as it is now; [N]."""
    places = np.full(len(found.names), -1, dtype=np.int64)
    if stored is None or not stored.names:
        return places
    by_name = {name: place for place, name in enumerate(stored.names)}
    places[:] = [by_name.get(name, -1) for name in found.names]
    is_same = (stored.stamps[places] == found.stamps).all(axis=1)
    return np.where(is_same, places, -1)


def _table(found: _Found, index: Index, wanted: list[str]) -> RunTable:
    """The runs that can be trusted, and a warning for each other one."""
    warning = index.columns[WARNING]
    assert isinstance(warning, TextColumn)
    texts = warning.texts()
    is_trusted = texts == ""
    warnings = [
        # A damaged record may be quoted whole in the message.
        one_line(texts[place].replace(RUN_DIR, str(found.folder / index.names[place])), MAX_LINE_LENGTH)
        for place in np.flatnonzero(~is_trusted).tolist()
    ]
    columns = {name: index.columns[name] for name in wanted}
    columns = columns if is_trusted.all() else take(columns, is_trusted)
    return RunTable(found.folder, columns, warnings, found.num_unfinished)


@cache
def _version() -> str:
    """Changes with all that a row depends on besides the files of its run: the code, and two references."""
    digest = hashlib.sha256()
    for name in _SOURCES:
        content = (ROOT / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    for key in ("detectocorp", "gpipe"):
        digest.update(load_references()[key].model_dump_json().encode())
    return digest.hexdigest()
