"""One published run, trained again here and compared: `python -m launch reproduce PUBLISHED_RUN`.

agrees = reproduce(Path("results/published/epyc-2-cores/runs/3f1c09a2b7de"), settings, Console())
"""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from harness.errors import DataError, UsageError
from harness.record import Record, is_finished, read_record, write_cell
from harness.settings import Settings
from launch.command import child_command, child_environment
from launch.job import Job
from results.compare.again import compare_again
from results.compare.again_page import print_again


def reproduce(published: Path, settings: Settings, console: Console) -> bool | None:
    """Train the cell of a published run, unless that is done already, and print how the two compare.

    Data that is not the published archive is accepted if the published run was about such: the cell names
    its content by a hash, and any other content is refused.

    Args:
        published: folder of a finished run.
        settings: where the data is, where the new run goes, how it is run.
        console: for the comparison.

    Returns:
        Whether the two agree; None where the new run did not finish, which it has said itself.

    Raises:
        UsageError: there is no finished run in `published`, or the new one would take its place.
        DataError: a record or predictions are damaged.
        StorageError: the folder of the new run cannot be written.
    """
    record = _read_finished(published)
    assert record.data is not None, "of a finished run"
    run_dir = settings.out / record.cell_id
    if run_dir.resolve() == published.resolve():
        raise UsageError(f"--out {settings.out} holds the published run itself: choose another folder")
    settings = replace(settings, allow_unofficial_data=not record.data.official)
    if not is_finished(run_dir):
        job = Job(record.cell, run_dir)
        write_cell(run_dir, record.cell)
        words = child_command(job, settings)
        console.print(f"training {record.cell.label()}: {shlex.join(words)}", highlight=False, soft_wrap=True)
        subprocess.run(words, env=child_environment(job, settings), check=False)  # it says what is wrong
        if not is_finished(run_dir):
            return None
    found = compare_again(published, run_dir)
    print_again(found, record, console)
    return found.agrees


def _read_finished(published: Path) -> Record:
    record = read_record(published)
    if record is None:
        raise UsageError(f"{published} holds no run: name a folder such as results/published/MACHINE/runs/ID")
    if record.status != "finished" or record.data is None:
        raise UsageError(f"{published}: this run did not finish, so that there is nothing to compare with")
    if record.cell_id != record.cell.cell_id:
        raise DataError(f"{published}: its record is not about its cell")
    return record
