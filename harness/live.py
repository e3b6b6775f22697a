"""What a run is doing now, for whoever watches it: `live.json` in its folder. No torch here.

    write_live(run_dir, live)    # a running cell: when its phase changes, and once a second in between
    read_live(run_dir)           # None where there is none, or a damaged one

The time of the file is the heartbeat. Signs of life come from the training, each step, and from the
scoring of images, each batch; a phase of another kind (start-up, compiling, a checkpoint) gives one at
its beginning. The file is deleted once the record is written: where there is a record, that counts.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pydantic import TypeAdapter, ValidationError

from harness.record import EpochRow

BEAT_EVERY_S = 1.0
PHASES_APART_S = 0.25
"""Short epochs change the phase many times a second: it is not written each time."""

_MIB = 2**20


@dataclass(frozen=True)
class Live:
    """Where a run stands."""

    phase: str
    """startup, data, compile, train, evaluate, checkpoint, write; paused: it waits to be started again."""

    epoch: int
    """Epochs completed."""

    epochs: int
    step: int
    """Optimizer steps taken in all."""

    steps: int
    """Of the whole training; 0 before that is known."""

    train_loss: float | None
    """Of the last completed epoch, like the next."""

    val_accuracy: float | None
    """Share from 0 to 1; None also where no images are held out."""

    images_per_s: float | None
    """Training images per second over all processes, in the last steps."""

    resident_mib: float | None
    """Memory of the main process on the host."""

    time: float
    """Seconds since 1970."""

    pid: int
    host: str


_LIVE = TypeAdapter(Live)


def live_path(run_dir: Path) -> Path:
    """Where a run says what it is doing."""
    return run_dir / "live.json"


def write_live(run_dir: Path, live: Live) -> None:
    """Replace the file, without waiting for the disk.

    Nothing depends on it: where it cannot be written, as on a full disk, only its time is renewed.
    """
    path = live_path(run_dir)
    temporary = path.with_name(f".{path.name}.tmp")  # always the same: a kill leaves one behind, not many
    try:
        temporary.write_text(json.dumps(vars(live)), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            os.utime(path)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_live(run_dir: Path) -> Live | None:
    """What the run in `run_dir` is doing, or None where it does not say, or not whole."""
    try:
        return _LIVE.validate_json(live_path(run_dir).read_bytes())
    except (OSError, ValidationError):
        return None


def delete_live(run_dir: Path) -> None:
    """Delete the file and what a kill may have left of it; to be called once there is a record."""
    path = live_path(run_dir)
    for each in (path, path.with_name(f".{path.name}.tmp")):
        with suppress(OSError):
            each.unlink(missing_ok=True)


class LiveFile:
    """Keeps the `live.json` of one run up to date, at the cost of a look at the clock each step."""

    def __init__(self, run_dir: Path, epochs: int, batch_size: int) -> None:
        self._run_dir = run_dir
        self._batch_size = batch_size
        self._process = psutil.Process()
        self._host = socket.gethostname()
        self._step = 0
        self._since = (0, 0.0)
        """Step and time from which the speed is counted."""

        self._written_at = float("-inf")
        self._phases: set[str] = set()
        self._values: dict[str, Any] = {
            "phase": "startup",
            "epoch": 0,
            "epochs": epochs,
            "steps": 0,
            "train_loss": None,
            "val_accuracy": None,
            "images_per_s": None,
        }

    def phase(self, name: str) -> None:
        """Another phase begins; written at once where it is the first of its name."""
        now = time.monotonic()
        self._values["phase"] = name
        self._since = (self._step, now)
        if name not in self._phases or now - self._written_at >= PHASES_APART_S:
            self._write()
        self._phases.add(name)

    def start(self, num_steps: int) -> None:
        """The training has `num_steps` optimizer steps in all."""
        self._values["steps"] = num_steps

    def beat(self) -> None:
        """The run is alive; written where the last time is a second ago."""
        if time.monotonic() - self._written_at >= BEAT_EVERY_S:
            self._write()

    def step(self) -> None:
        """One optimizer step was taken."""
        self._step += 1
        self.beat()

    def skip(self, num_steps: int, last: EpochRow | None) -> None:
        """So many steps were taken before; `last` is the last epoch that they completed."""
        self._step = num_steps
        self._since = (num_steps, time.monotonic())
        if last is not None:
            self._note(last)

    def epoch(self, row: EpochRow, images_per_s: float) -> None:
        """One epoch is complete; written with the next phase or beat."""
        self._note(row)
        self._values["images_per_s"] = images_per_s

    def _note(self, row: EpochRow) -> None:
        self._values |= {
            "epoch": row.epoch,
            "train_loss": row.train_loss,
            "val_accuracy": row.val_accuracy,
        }

    def _write(self) -> None:
        now = time.monotonic()
        step, since = self._since
        if self._step > step and now > since:
            self._values["images_per_s"] = (self._step - step) * self._batch_size / (now - since)
            self._since = (self._step, now)
        live = Live(
            **self._values,
            step=self._step,
            resident_mib=self._process.memory_info().rss / _MIB,
            time=time.time(),
            pid=self._process.pid,
            host=self._host,
        )
        write_live(self._run_dir, live)
        self._written_at = now
