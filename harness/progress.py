"""What is seen while cells run: a progress bar on a terminal, plain lines elsewhere, a log, trackers.

Only the main process reports; the others hold a `Reporter` that says nothing.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from harness.cell import CellSpec
from harness.files import storage_error
from harness.live import LiveFile
from harness.record import EpochRow
from harness.tracking import Tracking


def _print(console: Console | None, text: str) -> None:
    """Print one line as it is: nothing in it is markup."""
    if console is not None:
        console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


class Reporter:
    """Prints lines and makes the progress of each cell."""

    def __init__(self, console: Console | None, track: tuple[str, ...] = ()) -> None:
        self._console = console
        self._track = track

    def line(self, text: str) -> None:
        """Print one line."""
        _print(self._console, text)

    def cell(self, cell: CellSpec, title: str, log_path: Path) -> CellProgress:
        """The progress of one cell, to be used in a `with` block."""
        return CellProgress(cell, title, log_path, self._console, self._track)


class _ImagesPerSecond(ProgressColumn):
    """Images per second over the last steps."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self._batch_size = batch_size

    def render(self, task: Task) -> Text:
        """The speed, once there is one."""
        return Text("" if task.speed is None else f"{task.speed * self._batch_size:,.0f} img/s")


class CellProgress:
    """Bar and log of one cell, its `live.json` beside the log, and the trackers that follow it."""

    def __init__(
        self,
        cell: CellSpec,
        title: str,
        log_path: Path,
        console: Console | None,
        track: tuple[str, ...] = (),
    ) -> None:
        self._cell = cell
        self._title = title
        self._log_path = log_path
        self._console = console
        self._log: TextIO | None = None
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._live: LiveFile | None = None
        self._tracking: Tracking | None = None
        if console is not None:
            self._live = LiveFile(log_path.parent, cell.recipe.epochs, cell.recipe.batch_size)
            self._tracking = Tracking(cell, log_path.parent, track, warn=self.line) if track else None

    def __enter__(self) -> Self:
        if self._console is not None:
            try:
                self._log_path.parent.mkdir(parents=True, exist_ok=True)
                self._log = self._log_path.open("a", encoding="utf-8", buffering=1)
            except OSError as error:
                raise storage_error(self._log_path, error) from error
        self.line(f"{self._title}: {self._cell.label()}")
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._tracking is not None:
            self._tracking.finish()
        if self._log is not None:
            self._log.close()

    def start(self, num_steps: int) -> None:
        """Training begins, for `num_steps` optimizer steps."""
        if self._live is not None:
            self._live.start(num_steps)
        if self._tracking is not None:
            self._tracking.start()
        if self._console is None or not self._console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("  {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%{task.fields[score]}"),
            _ImagesPerSecond(self._cell.recipe.batch_size),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            refresh_per_second=2,
        )
        self._task = self._bar.add_task(
            "", total=num_steps, epoch=f"epoch 1/{self._cell.recipe.epochs}", score=""
        )
        self._bar.start()

    def phase(self, name: str) -> None:
        """Another phase of the cell begins: a span of its clock, or `paused`."""
        if self._live is not None:
            self._live.phase(name)

    def beat(self) -> None:
        """The cell is alive."""
        if self._live is not None:
            self._live.beat()

    def step(self) -> None:
        """One optimizer step was queued."""
        if self._live is not None:
            self._live.step()
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    def skip(self, num_steps: int, last: EpochRow | None) -> None:
        """So many steps were taken before, in an earlier attempt; `last` is its last whole epoch."""
        if self._live is not None:
            self._live.skip(num_steps, last)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=num_steps)

    def epoch(self, row: EpochRow, images_per_s: float) -> None:
        """One epoch was trained and scored."""
        if self._live is not None:
            self._live.epoch(row, images_per_s)
        if self._tracking is not None:
            self._tracking.epoch(row, images_per_s)
        score = "" if row.val_accuracy is None else f"  val {row.val_accuracy:.2%}"
        speed = f"  {images_per_s:,.0f} img/s"
        epochs = self._cell.recipe.epochs
        self.line(f"  epoch {row.epoch:>3}/{epochs}  loss {row.train_loss:.4f}{score}{speed}")
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, epoch=f"epoch {min(row.epoch + 1, epochs)}/{epochs}", score=score)

    def line(self, text: str) -> None:
        """Print one line and keep it, with the time, in the cell's log."""
        _print(self._console, text)
        self.keep(text)

    def keep(self, text: str) -> None:
        """Write to the cell's log only.

        Raises:
            StorageError: the log cannot be written.
        """
        if self._log is None:
            return
        try:
            self._log.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        except OSError as error:
            log, self._log = self._log, None
            with suppress(OSError):  # closing tries again to write what did not fit
                log.close()
            raise storage_error(self._log_path, error) from error
