"""What is going on in a runs folder, seen from any shell. No torch here.

    print_status(Path("runs"), Console())
    print(status_json(Path("runs")))
    watch_status(Path("runs"), Console())     # until Ctrl-C

All of it is read from the folder: records, `live.json` of what runs, claims, and what launchers announce.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from harness.errors import UsageError, VerdictError
from launch.options import read_cell
from launch.plan.facts import CellState
from launch.plan.states import scan_runs
from launch.screen.running import Running, find_running
from launch.screen.screen import screen_lines
from launch.screen.snapshot import RunningCell, Snapshot, read_announcements, running_cell
from launch.screen.text import number
from launch.screen.top import Top
from results.store import MAX_LINE_LENGTH, one_line

JSON_SCHEMA = 1
_BEST = 3
_SHOWN_FAILURES = 5
_WATCH_S = 2.0


@dataclass(frozen=True)
class Status:
    """One look at a folder."""

    out: Path
    states: dict[str, CellState]
    running: dict[str, Running]
    snapshot: Snapshot
    launchers: dict[str, Snapshot]
    """What launchers have announced in the last seconds, by host and process number."""

    def of(self, *statuses: str) -> list[CellState]:
        """The cells with one of these statuses that nobody works on, the newest end first."""
        found = [
            state
            for cell_id, state in self.states.items()
            if state.status in statuses and cell_id not in self.running
        ]
        return sorted(found, key=lambda state: state.ended_at, reverse=True)


def read_status(out: Path) -> Status:
    """Look at a folder.

    Raises:
        UsageError: it cannot be read, or there is no run in it.
    """
    states = scan_runs(out)
    launchers = read_announcements(out)
    if not states and not launchers:
        raise UsageError(
            f"no runs in '{out}': name the folder that a matrix is run into, such as runs/, or run one first"
        )
    running = find_running(out, states)
    failed = Counter(
        state.kind or "?"
        for cell_id, state in states.items()
        if state.status == "failed" and cell_id not in running
    )
    longest = max(launchers.values(), key=lambda launcher: launcher.num_waiting, default=None)
    left_s = [launcher.time_left_s for launcher in launchers.values() if launcher.time_left_s is not None]
    top = Top()
    top.add_known(out, states.values())
    notes = [note for launcher in launchers.values() for note in launcher.notes]
    snapshot = Snapshot(
        running=[_shown(out, cell_id, each) for cell_id, each in sorted(running.items())],
        queued=[] if longest is None else longest.queued,
        finished=sum(state.status == "finished" for state in states.values()),
        failed=dict(failed),
        time_left_s=max(left_s, default=None),
        top=top.rows(_BEST),
        notes=notes,
        num_queued=0 if longest is None else longest.num_waiting,
        title="" if longest is None else longest.title,
    )
    return Status(out, states, running, snapshot, launchers)


def print_status(out: Path, console: Console) -> None:
    """Print what is going on in a folder.

    Raises:
        UsageError: it cannot be read, or there is no run in it.
    """
    for line in _lines(read_status(out), console.width, None):
        console.print(line, soft_wrap=True)


def watch_status(out: Path, console: Console, every_s: float = _WATCH_S) -> None:
    """Show it again and again, until Ctrl-C; without a terminal, once.

    Raises:
        UsageError: the folder cannot be read, or there is no run in it.
    """
    if not console.is_terminal or console.is_dumb_terminal:
        print_status(out, console)
        return
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                lines = _lines(read_status(out), console.width, console.height - 1)
                live.update(Group(*lines), refresh=True)
                time.sleep(every_s)
        except KeyboardInterrupt:
            return


def _lines(status: Status, width: int, height: int | None) -> list[Text]:
    """The screen of the launcher, and what only the folder knows."""
    more: list[Text] = []
    failures = status.of("failed")
    for state in failures[:_SHOWN_FAILURES]:
        kind = one_line((state.kind or "?").replace("_", " "), 40)
        where = status.out / state.cell_id
        text = f"{kind}: {state.label or state.cell_id} ({where}): {state.reason}"
        more.append(Text(f"  {one_line(text, MAX_LINE_LENGTH)}", style="red"))
    if len(failures) > _SHOWN_FAILURES:
        more.append(Text(f"  ... and {len(failures) - _SHOWN_FAILURES:,} more failures", style="red"))
    paused, unfinished = status.of("paused"), status.of("unfinished")
    if paused:
        more.append(Text(f"stopped: {number(len(paused), 'cell')} with a checkpoint to go on from"))
    if unfinished:
        more.append(Text(f"without a record or a checkpoint: {number(len(unfinished), 'cell')}"))
    more += [
        Text(f"cannot be read: {one_line(state.reason, MAX_LINE_LENGTH)}", style="yellow")
        for state in status.of("unreadable")[:_SHOWN_FAILURES]
    ]
    if not status.launchers and all(each.holder is None for each in status.running.values()):
        more.append(Text("no launcher is at work here now", style="dim"))
    room = None if height is None else max(8, height - len(more) - 1)
    lines = [*screen_lines(status.snapshot, width, room), Text(), *more]
    if height is not None:
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        lines = lines[:height]
    return lines


def _shown(out: Path, cell_id: str, running: Running) -> RunningCell:
    holder = running.holder
    host = None if holder is None else holder.host
    host = host if running.live is None else running.live.host
    return running_cell(
        _label(out / cell_id, cell_id),
        host or "?",
        running.live,
        cell_id=cell_id,
        elapsed_s=max(0.0, time.time() - holder.since) if holder is not None and holder.since else None,
        silent_s=running.silent_s,
    )


def _label(run_dir: Path, cell_id: str) -> str:
    try:
        return read_cell(run_dir / "cell.json").label()
    except VerdictError:
        return cell_id


def status_json(out: Path) -> str:
    """What is going on, as JSON. Times are in seconds, accuracies from 0 to 1, null is not known.

    - `schema_version`: 1; `out`: the folder; `time`: seconds since 1970
    - `num_finished`, `num_failed_by_kind` (an object), `num_running`, `num_paused` (with a checkpoint, and
      nobody at work), `num_unfinished` (without one), `num_unreadable`
    - `num_waiting`, `time_left_s`: as a launcher at work says; null where there is none
    - `launchers`: `launcher` (host and process number), `num_waiting`, `time_left_s`, `notes`
    - `running`: `cell_id`, `label`, `host`, `holder_host`, `holder_pid`, `phase`, `epoch` (completed),
      `epochs`, `share` (of the training), `val_accuracy`, `images_per_s`, `resident_mib`, `elapsed_s`,
      `silent_s` (since the last sign of life)
    - `failed`: `cell_id`, `label`, `kind`, `message`, `burnt_s`, `ended_at`; the newest first
    - `unreadable`: `cell_id`, `reason`
    - `best`: see `TopRow`; the first three of each group, chosen by validation accuracy among many
    """
    status = read_status(out)
    snapshot = status.snapshot
    content = {
        "schema_version": JSON_SCHEMA,
        "out": str(out),
        "time": time.time(),
        "num_finished": snapshot.finished,
        "num_failed_by_kind": snapshot.failed,
        "num_running": len(snapshot.running),
        "num_paused": len(status.of("paused")),
        "num_unfinished": len(status.of("unfinished")),
        "num_unreadable": len(status.of("unreadable")),
        "num_waiting": snapshot.num_waiting if status.launchers else None,
        "time_left_s": snapshot.time_left_s,
        "launchers": [
            {
                "launcher": name,
                "num_waiting": launcher.num_waiting,
                "time_left_s": launcher.time_left_s,
                "notes": launcher.notes,
            }
            for name, launcher in status.launchers.items()
        ],
        "running": [_running_values(cell, status.running[cell.cell_id]) for cell in snapshot.running],
        "failed": [
            {
                "cell_id": state.cell_id,
                "label": state.label,
                "kind": state.kind,
                "message": state.reason,
                "burnt_s": state.burnt_s,
                "ended_at": state.ended_at,
            }
            for state in status.of("failed")
        ],
        "unreadable": [
            {"cell_id": state.cell_id, "reason": state.reason} for state in status.of("unreadable")
        ],
        "best": [asdict(row) for row in snapshot.top],
    }
    return json.dumps(content, indent=1)


def _running_values(cell: RunningCell, running: Running) -> dict[str, Any]:
    holder = running.holder
    return {
        "cell_id": cell.cell_id,
        "label": cell.label,
        "host": cell.place,
        "holder_host": None if holder is None else holder.host,
        "holder_pid": None if holder is None else holder.pid,
        "phase": cell.phase,
        "epoch": cell.epoch,
        "epochs": cell.epochs,
        "share": cell.share,
        "val_accuracy": cell.val_accuracy,
        "images_per_s": cell.images_per_s,
        "resident_mib": cell.memory_mib,
        "elapsed_s": cell.elapsed_s,
        "silent_s": cell.silent_s,
    }
