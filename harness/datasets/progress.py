"""How a slow thing shows that it is alive: a bar on a terminal, otherwise one line at its start and end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal


@contextmanager
def progress(
    title: str, total: int, unit: Literal["images", "bytes"], quiet: bool, done: int = 0
) -> Iterator[Callable[[int], None]]:
    """Show on stderr how far the block is; it calls the yielded function with every amount done.

    Args:
        title: what is being done, such as `downloading cifar-10-python.tar.gz`.
        total: amount at which the work is complete.
        unit: what the amounts count.
        quiet: show nothing.
        done: amount that was there before the block began.
    """
    if quiet:
        yield _ignore
    elif sys.stderr.isatty():
        with _bar(title, total, unit, done) as advance:
            yield advance
    else:
        started = time.monotonic()
        print(f"{title} ({total:,} {unit})", file=sys.stderr, flush=True)
        yield _ignore
        print(f"{title}: done in {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)


def _ignore(amount: int) -> None:
    del amount


@contextmanager
def _bar(title: str, total: int, unit: str, done: int) -> Iterator[Callable[[int], None]]:
    from rich import progress as bars
    from rich.console import Console

    amounts = (
        (bars.DownloadColumn(), bars.TransferSpeedColumn())
        if unit == "bytes"
        else (bars.MofNCompleteColumn(),)
    )
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), *amounts, bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task(title, total=total, completed=done)
        yield lambda amount: display.advance(task, amount)
