"""Cells one after the other in one process group: all are checked, then those that are missing are run."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import psutil
from rich.console import Console

from harness.cell import CellSpec
from harness.datasets.base import Dataset
from harness.datasets.everywhere import load_everywhere
from harness.datasets.shifted import open_published
from harness.environment import describe_environment
from harness.errors import DivergedError, MemoryShortError, VerdictError
from harness.files import clear_temporaries
from harness.in_effect import check_devices
from harness.outcome import keep_outcome
from harness.pin import pin_data, pin_weights
from harness.precision import slow_precision
from harness.preparing import check_cell
from harness.process import leave_process_group, start_process, use_threads
from harness.progress import Reporter
from harness.record import Environment, is_finished
from harness.run_cell import Run, run_cell
from harness.run_dir import claim, pending_cells, untested
from harness.seeding import use_deterministic_kernels
from harness.settings import Settings

STALE_AFTER_S = 3600  # another launcher may be writing into the same folder

OnFolder = Callable[[Path], object]


def run_cells(
    cells: list[CellSpec],
    settings: Settings,
    after_each: OnFolder | None = None,
    at_end: OnFolder | None = None,
) -> int:
    """Run the cells that are not finished; how many failed.

    Args:
        cells: they share one data set and image size, those of the first.
        settings: for all of them.
        after_each: called by the main process with the folder of the runs, after each cell.
        at_end: the same after the last one, and where there is none to run.

    Raises:
        VerdictError: the machine, the data or the disk is not what the cells need.
    """
    use_threads(settings.threads)
    process = start_process(settings.cpu, settings.timeout_s)
    check_devices(process)
    reporter = Reporter(Console() if process.is_main else None, settings.track)
    data = load_everywhere(cells[0], settings, process)
    cells = [pin_weights(pin_data(cell, data)) for cell in cells]
    out = settings.out
    pending = process.agree(pending_cells(out, cells))
    for cell in pending:
        check_cell(cell, data, process)
    if settings.robustness != "none":
        open_published(tuple(data.class_names), settings.data_dir)  # damaged files are better found now
    if process.is_main:
        clear_temporaries(out, STALE_AFTER_S)
    environment = describe_environment(process)
    reporter.line(_headline(cells, pending, data, environment))
    slow = {slow_precision(cell.precision, process.device) for cell in pending} - {None}
    for warning in slow:
        reporter.line(f"warning: {warning}")
    if settings.robustness != "none" and process.is_main:
        _name_untested(out, cells, settings.robustness, reporter)
    command = shlex.join(sys.argv)
    launch_time_s = time.time() - psutil.Process().create_time()
    runs = [
        Run(cell, data, process, environment, out / cell.cell_id, command, settings, launch_time_s)
        for cell in pending
    ]
    if runs:
        use_deterministic_kernels()  # not before: it loads torch's compiler, which takes seconds
    num_failed = _run_all(runs, reporter, after_each)
    if process.is_main and at_end is not None:
        at_end(out)
    leave_process_group()
    return num_failed


def _name_untested(out: Path, cells: list[CellSpec], level: str, reporter: Reporter) -> None:
    """Say what is finished and will not be measured here."""
    folders = untested(out, cells)
    if folders:
        names = shlex.join(str(folder) for folder in folders[:8]) + (" ..." if len(folders) > 8 else "")
        reporter.line(
            f"{len(folders)} finished cell(s) were never tested for robustness, and are not here: "
            f"python -m harness.robustness --level {level} {names}"
        )


def _run_all(runs: list[Run], reporter: Reporter, after_each: OnFolder | None) -> int:
    """Run the cells one after the other, those that another process has not taken; how many failed."""
    num_failed = 0
    for number, run in enumerate(runs, start=1):
        title = f"cell {number}/{len(runs)}"
        with claim(run.run_dir) if run.process.is_main else nullcontext(True) as ours:
            if run.process.agree(ours and not is_finished(run.run_dir)):
                num_failed += not _run_one(run, reporter, title)
                if run.process.is_main and after_each is not None:
                    after_each(run.settings.out)
            else:
                reporter.line(f"{title}: {run.cell.label()}: left to another process on this folder")
    return num_failed


def _run_one(run: Run, reporter: Reporter, title: str) -> bool:
    """Run one cell; False when it failed and others can go on.

    Raises:
        VerdictError: what stopped this cell stops the others too.
    """
    try:
        if run_cell(run, reporter, title) is None:
            keep_outcome("paused", f"{run.cell.label()}: to go on from its checkpoint")
    except DivergedError:
        return False
    except MemoryShortError:
        if run.process.world_size > 1:
            raise  # one process may have met it alone
        return False
    except VerdictError:
        raise
    except Exception:  # recorded with its traceback
        if run.process.world_size > 1:
            raise  # the other processes still wait for this one
        return False
    return True


def _headline(cells: list[CellSpec], pending: list[CellSpec], data: Dataset, environment: Environment) -> str:
    facts = data.provenance
    official = "" if facts.official else " (not the published set)"
    return (
        f"{len(cells)} cell(s), {len(cells) - len(pending)} finished already; {facts.dataset}: "
        f"{facts.num_train_images:,} training and {facts.num_test_images:,} test images{official}; "
        f"{environment.num_processes} process(es) of {environment.threads_per_process} thread(s) "
        f"on {environment.device}"
    )
