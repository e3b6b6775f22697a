"""What a launcher is doing at one moment, as a plain value, for `view.py` and `status.py`. No torch here.

runs/.launchers/<host>-<pid>.json    the newest of each launcher, for other shells
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.live import Live

FRESH_S = 30.0
"""A launcher that has not written for so long is not believed to be there."""

_FOLDER = ".launchers"


@dataclass(frozen=True)
class RunningCell:
    """A cell that is being trained."""

    label: str
    place: str
    """Cores, GPUs or machine."""

    elapsed_s: float | None
    """Since this attempt began."""

    cell_id: str = ""
    phase: str = ""
    epoch: int = 0
    """Epochs completed."""

    epochs: int = 0
    """0: not known yet."""

    share: float | None = None
    """Of the training that is done, 0 to 1."""

    val_accuracy: float | None = None
    """Of the last completed epoch, 0 to 1."""

    images_per_s: float | None = None
    memory_mib: float | None = None
    silent_s: float | None = None
    """Since its last sign of life."""


@dataclass(frozen=True)
class TopRow:
    """A line of the leaderboard so far."""

    group: str
    """Data and league: rows of different groups are not comparable."""

    label: str
    accuracy_percent: float
    accuracy_low_percent: float
    accuracy_high_percent: float
    """Ends of the 95% Wilson interval."""

    train_pflop: float
    accuracy_per_pflop: float
    clears_bar: bool
    cell_id: str = ""


@dataclass(frozen=True)
class Snapshot:
    """One moment."""

    running: list[RunningCell]
    queued: list[str]
    """Labels of the next cells."""

    finished: int
    failed: dict[str, int]
    """How many by kind."""

    time_left_s: float | None = None
    top: list[TopRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    num_queued: int | None = None
    """All that wait; None: as many as `queued` names."""

    title: str = ""

    @property
    def num_waiting(self) -> int:
        """Cells that wait to be started."""
        return len(self.queued) if self.num_queued is None else self.num_queued

    @property
    def num_all(self) -> int:
        """All cells."""
        return self.finished + sum(self.failed.values()) + len(self.running) + self.num_waiting


def running_cell(
    label: str,
    place: str,
    live: Live | None,
    *,
    cell_id: str = "",
    elapsed_s: float | None = None,
    silent_s: float | None = None,
) -> RunningCell:
    """A running cell by what its `live.json` says; None: nothing yet."""
    if live is None:
        return RunningCell(label, place, elapsed_s, cell_id, phase="starting", silent_s=silent_s)
    return RunningCell(
        label=label,
        place=place,
        elapsed_s=elapsed_s,
        cell_id=cell_id,
        phase=live.phase,
        epoch=live.epoch,
        epochs=live.epochs,
        share=live.step / live.steps if live.steps > 0 else None,
        val_accuracy=live.val_accuracy,
        images_per_s=live.images_per_s,
        memory_mib=live.resident_mib,
        silent_s=silent_s,
    )


_SNAPSHOT = TypeAdapter(Snapshot)


class Announcement:
    """The file in which a launcher says what it is doing; one object for each launcher."""

    def __init__(self, out: Path, every_s: float = 5.0) -> None:
        self._path = out / _FOLDER / f"{socket.gethostname()}-{os.getpid()}.json"
        self._every_s = every_s
        self._written_at = float("-inf")

    def update(self, snapshot: Snapshot) -> None:
        """Write the snapshot, where the last one is a few seconds old.

        Nothing depends on the file: where it cannot be written, other shells see less.
        """
        now = time.monotonic()
        if now - self._written_at < self._every_s:
            return
        self._written_at = now
        temporary = self._path.with_suffix(".tmp")
        with suppress(OSError):
            self._path.parent.mkdir(exist_ok=True)
            temporary.write_text(json.dumps(asdict(snapshot)), encoding="utf-8")
            temporary.replace(self._path)

    def close(self) -> None:
        """The launcher ends."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def read_announcements(out: Path) -> dict[str, Snapshot]:
    """What the launchers at work on a folder have said last, by host and process number."""
    found = {}
    for path in sorted((out / _FOLDER).glob("*.json")):
        with suppress(OSError, ValidationError):  # gone, or of another version
            if time.time() - path.stat().st_mtime <= FRESH_S:
                found[path.stem] = _SNAPSHOT.validate_json(path.read_bytes())
    return found
