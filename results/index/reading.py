"""Reading many runs for the first time: in several processes, with a progress bar on a terminal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from harness.tether import die_with_parent
from results.index.rows import RunRow, read_row

_LEAST_SHOWN = 200
"""Fewer runs are read before a bar could be seen."""

_LEAST_SHARED = 2000
"""Starting processes takes as long as reading some hundred runs."""

_CHUNK = 100
"""Runs that a process is handed at once."""


def read_rows(run_dirs: list[Path], num_workers: int, show_progress: bool) -> Iterator[RunRow]:
    """Read some runs, in their order.

    Args:
        run_dirs: N folders.
        num_workers: processes to share many runs among.
        show_progress: whether to show a bar on a terminal while many are read.
    """
    is_shared = num_workers > 1 and len(run_dirs) >= _LEAST_SHARED
    rows = _in_processes(run_dirs, num_workers) if is_shared else map(read_row, run_dirs)
    has_bar = show_progress and len(run_dirs) >= _LEAST_SHOWN and sys.stderr.isatty()
    return _with_bar(rows, len(run_dirs)) if has_bar else iter(rows)


def _in_processes(run_dirs: list[Path], num_workers: int) -> Iterator[RunRow]:
    """Read in several processes; what they cannot do, where none can be started, is done here."""
    num_done = 0
    # Not forked: the caller may have threads, or a GPU.
    with ProcessPoolExecutor(num_workers, get_context("spawn"), initializer=_begin_worker) as pool:
        try:
            for row in pool.map(read_row, run_dirs, chunksize=_CHUNK):
                num_done += 1
                yield row
        except BrokenProcessPool:
            pass
    yield from map(read_row, run_dirs[num_done:])


def _begin_worker() -> None:
    # An interruption is the business of the process that reads for the user, and so is its end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()


def _with_bar(rows: Iterable[RunRow], num: int) -> Iterator[RunRow]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading runs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(rows, total=num)
