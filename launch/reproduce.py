"""One published run, trained again here and compared: `python -m launch reproduce PUBLISHED_RUN`.

exit_code = reproduce(Path("results/published/epyc-2-cores/runs/3f1c09a2b7de"), settings, Console())
"""

from __future__ import annotations

import shlex
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from harness.errors import DataError, UsageError
from harness.record import Record, is_finished, read_record, write_cell
from harness.settings import Settings
from launch.command import child_command, child_environment
from launch.job import Job
from launch.stop_requests import Requests
from results.compare.again import compare_again
from results.compare.again_page import print_again
from results.predictions import read_prediction_set

DISAGREES = 1
"""The exit code where the new accuracy is not what was to be expected."""

_LOOK_EVERY_S = 0.1


def reproduce(published: Path, settings: Settings, console: Console) -> int:
    """Train the cell of a published run, unless that is done already, and print how the two compare.

    Data that is not the published archive is accepted if the published run was about such: the cell names
    its content by a hash, and any other content is refused.

    Args:
        published: folder of a finished run.
        settings: where the data is, where the new run goes, how it is run.
        console: for the comparison.

    Returns:
        The exit code: 0 where the two agree, or else `DISAGREES`; where the new run did not finish, which it
        has said itself, its own.

    Raises:
        UsageError: there is no finished run in `published`, or the new one would take its place.
        DataError: a record or predictions are damaged.
        StorageError: the folder of the new run cannot be written.
        KeyboardInterrupt: it was asked to stop; the new run has saved where it was, and goes on from there.
    """
    record = _read_finished(published)
    assert record.data is not None, "of a finished run"
    run_dir = settings.out / record.cell_id
    if run_dir.resolve() == published.resolve():
        raise UsageError(f"--out {settings.out} holds the published run itself: choose another folder")
    _check_predictions(published)
    settings = replace(settings, allow_unofficial_data=not record.data.official)
    if not is_finished(run_dir):
        job = Job(record.cell, run_dir)
        write_cell(run_dir, record.cell)
        words = child_command(job, settings)
        console.print(f"training {record.cell.label()}: {shlex.join(words)}", highlight=False, soft_wrap=True)
        code = _train(words, child_environment(job, settings))
        if not is_finished(run_dir):
            return code or DISAGREES
    _check_is_another(run_dir, record)
    found = compare_again(published, run_dir)
    print_again(found, record, console)
    return 0 if found.agrees else DISAGREES


def _train(words: list[str], environment: dict[str, str]) -> int:
    """Run the child to its end, or let it save and stop; its exit code."""
    # in a group of its own, so that a Ctrl-C asks it once
    with Requests() as asked, subprocess.Popen(words, env=environment, process_group=0) as child:
        while child.poll() is None:
            requests = asked.new()
            if requests == 1:
                child.terminate()
            elif requests:
                child.kill()
            time.sleep(_LOOK_EVERY_S)
    if asked.num:
        raise KeyboardInterrupt
    return child.returncode


def _check_predictions(published: Path) -> None:
    """Before hours of training, and without the advice to delete what was published."""
    try:
        read_prediction_set(published)
    except DataError as error:
        raise DataError(f"{published}: its predictions cannot be read; get them again ({error})") from None


def _check_is_another(run_dir: Path, published: Record) -> None:
    found = read_record(run_dir)
    assert found is not None, "it is finished"
    if found.cell_id != published.cell_id:
        raise DataError(
            f"{run_dir}: its record is of another cell, {found.cell_id}: delete it, or choose another --out"
        )
    if (found.started_at, found.ended_at) == (published.started_at, published.ended_at):
        raise UsageError(f"{run_dir} is the run that was published: choose another --out to train it again")


def _read_finished(published: Path) -> Record:
    record = read_record(published) if published.is_dir() else None
    if record is None:
        raise UsageError(f"{published} holds no run: name a folder such as results/published/MACHINE/runs/ID")
    if record.status != "finished" or record.data is None:
        raise UsageError(f"{published}: this run did not finish, so that there is nothing to compare with")
    if not record.cell_id == record.cell.cell_id == published.resolve().name:
        raise DataError(
            f"{published}: its record is of cell {record.cell_id}, and the folder of a run is named so"
        )
    return record
