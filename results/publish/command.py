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
    from harness.files import write_text
    from results.index.load import usable_processors
    from results.publish.folder import RUNS, pages_of, publish_runs
    from results.report.build import Request, build_report
    from results.table import write_csv

    for line in publish_runs(runs, folder):
        typer.echo(line, err=True)
    published = folder / RUNS
    write_csv(published, usable_processors(), show_progress=True)
    request = Request(published, audit, assumptions, tuple(settings or ()), cell, data_dir, seed)
    for path, text in pages_of(folder, build_report(request)).items():
        write_text(path, text)
        typer.echo(path)
