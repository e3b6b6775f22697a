"""The report: `python -m results report runs/`.

python -m results report runs/ --audit audits/detectocorp --data-dir data --output report.html
"""

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


def report(
    runs: RunsFolder,
    audit: AuditFolder = None,
    assumptions: AssumptionsFile = None,
    settings: Settings = None,
    cell: CellId = None,
    data_dir: DataFolder = None,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="The report.")] = Path(
        "report.html"
    ),
    memo: Annotated[
        Path, typer.Option("--memo", metavar="FILE", help="The memo; its pictures are put beside it.")
    ] = Path("memo.md"),
    seed: DrawsSeed = 0,
) -> None:
    """Write the report, one HTML file that loads nothing, and a memo of one page in Markdown.

    Example: python -m results report runs/ --data-dir data
    """
    # Loaded here so that the other commands do not wait for them.
    from harness.errors import UsageError
    from harness.files import write_text
    from results.report.build import Request, build_report
    from results.report.memo import memo_files, memo_paths
    from results.report.page import report_html

    if output.resolve() in {path.resolve() for path in memo_paths(memo)}:
        raise UsageError(f"--memo {memo} would write {output} too: give --output another name")
    for path in (output, memo):
        if path.is_dir():
            raise UsageError(f"{path} is a folder: name a file")
    request = Request(runs, audit, assumptions, tuple(settings or ()), cell, data_dir, seed)
    found = build_report(request)
    written = {output: report_html(found), **memo_files(found, memo, output)}
    for path, text in written.items():
        write_text(path, text)
        typer.echo(path)
