"""Which cells of a runs folder are being worked on, by whomever. No torch here.

find_running(out, scan_runs(out))["be8502089858"].live.epoch    # epochs that it has completed
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StorageError
from harness.live import Live, live_path, read_live
from launch.claim import Claims, Holder
from launch.plan.facts import CellState

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


def _running(run_dir: Path, cell_id: str, claims: Claims) -> Running | None:
    try:
        holder = claims.holder(cell_id)
    except StorageError:
        holder = None  # nobody can be named
    try:
        silent_s = max(0.0, time.time() - live_path(run_dir).stat().st_mtime)
    except OSError:
        silent_s = None
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
