"""Which cells of a runs folder are being worked on, by whomever. No torch here.

find_running(out, scan_runs(out))["be8502089858"].live.epoch    # epochs that it has completed
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import StorageError
from harness.live import Live, live_path, read_live
from harness.record import record_path
from launch.claim import Claims, Holder
from launch.job import Job
from launch.plan.facts import CellState
from launch.screen.snapshot import RunningCell, running_cell

FRESH_S = 60.0
"""A sign of life counts for so long where no launcher has claimed the cell."""


@dataclass(frozen=True)
class Running:
    """A cell that somebody works on."""

    live: Live | None
    """None: it has not said anything yet."""

    silent_s: float | None
    """Seconds since its last sign of life."""

    holder: Holder | None
    """The launcher that has claimed it; None: it was started without one."""


def find_running(out: Path, states: Mapping[str, CellState]) -> dict[str, Running]:
    """The cells that are claimed or give signs of life, by cell id; finished ones are not among them."""
    claims = Claims(out)
    found = {}
    for cell_id, state in states.items():
        if state.status == "finished":
            continue
        running = _running(out / cell_id, cell_id, claims)
        if running is not None:
            found[cell_id] = running
    return found


def attempt_shown(job: Job, place: str, elapsed_s: float) -> RunningCell:
    """An attempt of this launcher that began `elapsed_s` ago and is not over."""
    live = read_live(job.run_dir)
    if live is not None and time.time() - live.time > elapsed_s:
        live = None  # of an earlier attempt
    silent_s = None if live is None else time.time() - live.time
    shown = running_cell(
        job.cell.label(), place, live, cell_id=job.cell.cell_id, elapsed_s=elapsed_s, silent_s=silent_s
    )
    record_age_s = _age_s(record_path(job.run_dir))
    if live is None and record_age_s is not None and record_age_s < elapsed_s:
        return replace(shown, phase="ending")  # its record is written, its process not over
    return shown


def _age_s(path: Path) -> float | None:
    """Seconds since the file was written; None: there is none."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return None


def _running(run_dir: Path, cell_id: str, claims: Claims) -> Running | None:
    try:
        holder = claims.holder(cell_id)
    except StorageError:
        holder = None  # nobody can be named
    silent_s = _age_s(live_path(run_dir))
    live = None if silent_s is None else read_live(run_dir)
    if holder is not None:
        return Running(live, silent_s, holder)
    if live is None or silent_s is None or silent_s > FRESH_S or live.phase == "paused" or _is_gone(live):
        return None
    return Running(live, silent_s, None)


def _is_gone(live: Live) -> bool:
    """Whether the process was one of this machine, and is no more."""
    if live.host != socket.gethostname():
        return False
    try:
        os.kill(live.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # another user's
    return False
