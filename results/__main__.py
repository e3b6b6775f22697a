"""What stored runs say, and what to do about it: `python -m results recommend runs/`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.console import run_command
from results.audit.command import audit
from results.compare.command import compare
from results.economics.command import economics
from results.leaderboard.command import leaderboard
from results.publish.command import publish
from results.recommend.command import recommend
from results.report.command import report
from results.show import show
from results.value.command import value

_HELP = """Say what stored runs are worth, and whether to build or to buy.

\b
Examples:
  python -m results leaderboard runs/ --by cell
  python -m results compare runs/be8502089858 runs/d1048d6b09c2
  python -m results audit detectocorp --predictions theirs.csv --dataset cifar10 --runs runs/
  python -m results recommend runs/ --audit audits/detectocorp
  python -m results report runs/ --audit audits/detectocorp
  python -m results publish runs/ results/published/epyc-2-cores
"""

app = typer.Typer(
    help=_HELP,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

for command in (leaderboard, show, compare, value, audit, economics, recommend, report, publish):
    app.command()(command)


@app.command()
def csv(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder that holds the runs, such as runs/.")],
) -> None:
    """Rebuild RUNS/results.csv, one row for each run.

    Example: python -m results csv runs/
    """
    from results.index.load import usable_processors
    from results.table import write_csv

    for warning in write_csv(runs, usable_processors(), show_progress=True):
        typer.echo(f"left out: {warning}", err=True)
    typer.echo(runs / "results.csv")


@app.command()
def columns(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """Print what the columns of results.csv mean.

    Example: python -m results columns --markdown
    """
    from results.table import columns_markdown, columns_text

    typer.echo(columns_markdown() if markdown else columns_text())


if __name__ == "__main__":
    sys.exit(run_command(app, prog_name="python -m results"))
