"""The command `python -m results publish RUNS FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from results.economics.options import (
    AssumptionsFile,
    AuditFolder,
    CellId,
    DataFolder,
    DrawsSeed,
    RunsFolder,
    Settings,
)


def publish(
    runs: RunsFolder,
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Where to publish; its name stands for the machine's."),
    ],
    audit: AuditFolder = None,
    assumptions: AssumptionsFile = None,
    settings: Settings = None,
    cell: CellId = None,
    data_dir: DataFolder = None,
    seed: DrawsSeed = 0,
) -> None:
    """Write runs to a folder that can be checked in: records, predictions, table, report, memo, a page.

    Records lose the machine's name and the absolute paths in them; weights and logs stay behind. Runs that
    were published before and are no longer in RUNS are kept.

    Example: python -m results publish runs/ results/published/epyc-2-cores --data-dir data
    """
    # Loaded here so that the other commands do not wait for them.
    from harness.errors import UsageError
    from harness.files import write_text
    from results.audit.result import read_audit
    from results.economics.assumptions import load_assumptions
    from results.index.load import usable_processors
    from results.publish.folder import RUNS, pages_of, publish_runs
    from results.report.build import Request, build_report
    from results.table import write_csv

    # what is wrong with the options is said before anything is written
    load_assumptions(assumptions, tuple(settings or ()))
    if audit is not None:
        read_audit(audit)
    if data_dir is not None and not data_dir.exists():
        raise UsageError(f"--data-dir {data_dir}: there is no such folder")
    for line in publish_runs(runs, folder):
        typer.echo(line, err=True)
    published = folder / RUNS
    for line in write_csv(published, usable_processors(), show_progress=True):
        typer.echo(f"left out: {line}", err=True)
    request = Request(published, audit, assumptions, tuple(settings or ()), cell, data_dir, seed)
    for path, text in pages_of(folder, build_report(request)).items():
        write_text(path, text)
        typer.echo(path)
