"""What became of each cell of a runs folder, read fast: thousands of records in a second. No torch here.

states = scan_runs(Path("runs"))
states["be8502089858"].status    # 'finished'

What was taken from a record is kept in `runs/.states.json` and used again for as long as the record is the
same file; that file is a shortcut, and can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from harness.errors import StorageError, UsageError
from harness.files import write_text
from launch.plan.facts import CellState, RunFacts
from launch.plan.records import KNOWN_SCHEMA, UnreadableError, state_of_record

INDEX_NAME = ".states.json"
_Key = tuple[int, int, int]
"""Time, size and inode of a record's file: another file under its name has another key."""


def scan_runs(out: Path) -> dict[str, CellState]:
    """The state of every cell that has a folder in `out`, by cell id; nothing where there is no `out`.

    Raises:
        UsageError: the folder is there and cannot be read.
    """
    index_path = out / INDEX_NAME
    index = _read_index(index_path)
    states: dict[str, CellState] = {}
    kept: dict[str, tuple[_Key, CellState]] = {}
    is_changed = False
    for cell_id, folder in _folders(out):
        key, state = _look(cell_id, folder, index.get(cell_id))
        if state is None:
            continue
        states[cell_id] = state
        if key is not None and state.status in ("finished", "failed"):
            kept[cell_id] = (key, state)
            is_changed = is_changed or kept[cell_id] != index.get(cell_id)
    if is_changed or len(kept) != len(index):
        with suppress(StorageError):  # a folder that can only be read has no shortcut
            _write_index(index_path, kept)
    return states


def read_state(run_dir: Path) -> CellState | None:
    """The state of the cell in one folder; None where there is neither a record nor a cell."""
    return _look(run_dir.name, str(run_dir), None)[1]


def _folders(out: Path) -> Iterator[tuple[str, str]]:
    try:
        with os.scandir(out) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_dir():
                    yield entry.name, entry.path
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"cannot read runs from '{out}': {error.strerror}") from None


def _look(
    cell_id: str, folder: str, known: tuple[_Key, CellState] | None
) -> tuple[_Key | None, CellState | None]:
    """The state of a cell, and what tells its file from others; `known`: those of an earlier scan."""
    path = f"{folder}/record.json"
    try:
        key = _key_of(path)
        if key is None:
            return None, _without_record(cell_id, folder)
        if known is not None and known[0] == key:
            return known
        with open(path, "rb") as file:  # noqa: PTH123
            return key, state_of_record(cell_id, file.read())
    except FileNotFoundError:  # moved aside since, for another attempt
        return None, _without_record(cell_id, folder)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except UnreadableError as error:
        reason = str(error)
    return None, CellState(cell_id, "unreadable", reason=f"{path} {reason}")


def _key_of(path: str) -> _Key | None:
    """None where there is no such file.

    Raises:
        OSError: whether there is one cannot be found out.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - ten thousand Paths take half a second
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _without_record(cell_id: str, folder: str) -> CellState | None:
    """A cell that is waiting, running or paused; None for a folder that is no cell's."""
    step = _checkpoint_step(folder)
    if step is not None:
        return CellState(cell_id, "paused", checkpoint_step=step)
    if _key_of(f"{folder}/cell.json") is None:
        return None
    return CellState(cell_id, "unfinished")


def _checkpoint_step(folder: str) -> int | None:
    """Optimizer steps up to the newest whole checkpoint."""
    try:
        names = os.listdir(f"{folder}/checkpoint")  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return None
    numbers = {name: name.removeprefix("step-") for name in names if name.startswith("step-")}
    steps = [
        int(number)
        for name, number in numbers.items()
        if number.isdecimal() and _key_of(f"{folder}/checkpoint/{name}/manifest.json") is not None
    ]
    return max(steps, default=None)


def _index_version() -> str:
    """Changes with the fields that are known and those that are kept."""
    content = json.dumps([KNOWN_SCHEMA, CellState._fields, RunFacts._fields])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _read_index(path: Path) -> dict[str, tuple[_Key, CellState]]:
    """What an earlier scan kept; nothing where it cannot be used."""
    try:
        stored = json.loads(path.read_bytes())
        if stored["version"] != _index_version():
            return {}
        return {
            row[0]: (
                (row[-3], row[-2], row[-1]),
                CellState._make([*row[:-4], None if row[-4] is None else RunFacts._make(row[-4])]),
            )
            for row in stored["rows"]
        }
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return {}


def _write_index(path: Path, kept: dict[str, tuple[_Key, CellState]]) -> None:
    rows = [[*state[:-1], state.facts, *key] for key, state in kept.values()]
    write_text(path, json.dumps({"version": _index_version(), "rows": rows}, separators=(",", ":")))
