"""What a person sees while a matrix runs: a screen on a terminal, plain lines elsewhere. No torch here.

with View(Console()) as view:
    view.event("failed: ...")     # a line above the screen
    if view.is_due():             # about once a second
        view.update(snapshot)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from launch.screen.screen import overall, screen_lines
from launch.screen.snapshot import RunningCell, Snapshot
from results.store import one_line

REFRESH_S = 1.0
"""Least time between two pictures."""

EPOCH_EVERY_S = 30.0
"""Least time between two lines about one cell, or about all, where there is no screen."""

_NO_SCREEN = Snapshot(running=[], queued=[], finished=0, failed={})


class View:
    """Shows the newest snapshot; to be used in a `with` block.

    Args:
        console: where to; a terminal gets a screen that is drawn again and again.
        epoch_every_s: least time between two lines about the same, where there is no screen.
        clock: seconds, for the tests.
    """

    def __init__(
        self,
        console: Console,
        epoch_every_s: float = EPOCH_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._epoch_every_s = epoch_every_s
        self._clock = clock
        self._live: Live | None = None
        self._drawn_at = float("-inf")
        self._said: dict[str, tuple[int, float]] = {}
        """By label, the epoch that the last line was about, and when that was."""

        self._overall = (_NO_SCREEN, clock())

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
            self._console.show_cursor(True)  # a launcher that is killed leaves a terminal that has one
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def event(self, text: str) -> None:
        """Show one line that stays, with the time."""
        line = Text(f"{time.strftime('%H:%M:%S')} {one_line(text)}")
        self._console.print(line, soft_wrap=True)

    def is_due(self) -> bool:
        """Whether `update` would show anything now: no snapshot need be made before."""
        return self._clock() - self._drawn_at >= REFRESH_S

    def update(self, snapshot: Snapshot) -> None:
        """Show a new moment, if it is due."""
        if not self.is_due():
            return
        now = self._drawn_at = self._clock()
        if self._live is None:
            self._print_changes(snapshot, now)
        else:
            size = self._console.size
            lines = screen_lines(snapshot, size.width, size.height - 1)
            self._live.update(Group(*lines), refresh=True)

    def _print_changes(self, snapshot: Snapshot, now: float) -> None:
        for cell in snapshot.running:
            epoch, said_at = self._said.get(cell.label, (0, float("-inf")))
            if cell.epoch > epoch and now - said_at >= self._epoch_every_s:
                self._said[cell.label] = (cell.epoch, now)
                self.event(_epoch_line(cell))
        self._said = {
            cell.label: self._said[cell.label] for cell in snapshot.running if cell.label in self._said
        }
        last, said_at = self._overall
        is_new = (snapshot.finished, snapshot.failed) != (last.finished, last.failed)
        if is_new and now - said_at >= self._epoch_every_s:
            self._overall = (snapshot, now)
            self.event(overall(snapshot))


def _epoch_line(cell: RunningCell) -> str:
    words = [f"{cell.label}: epoch {cell.epoch}/{cell.epochs}"]
    words += [f"val {cell.val_accuracy:.2%}"] if cell.val_accuracy is not None else []
    words += [f"{cell.images_per_s:,.0f} images/s"] if cell.images_per_s is not None else []
    return ", ".join(words)
