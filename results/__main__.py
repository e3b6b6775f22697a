"""What stored runs say: `python -m results leaderboard runs/`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.console import run_command
from results.show import show

RunsFolder = Annotated[
    Path, typer.Argument(metavar="RUNS", help="Folder that holds the runs, such as runs/.")
]

_HELP = """Say what stored runs are worth: rank them, or turn them into a table.

\b
Examples:
  python -m results leaderboard runs/
  python -m results show runs/be8502089858
  python -m results csv runs/
  python -m results columns --markdown
"""

app = typer.Typer(
    help=_HELP,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def leaderboard(runs: RunsFolder) -> None:
    """Rank the runs by accuracy for compute.

    GPipe, Detectocorp and people stand beside them, as claims.

    Example: python -m results leaderboard runs/
    """
    from rich.console import Console

    from results.leaderboard import print_leaderboard

    print_leaderboard(runs, Console())


@app.command()
def csv(runs: RunsFolder) -> None:
    """Rebuild RUNS/results.csv, one row for each run.

    Example: python -m results csv runs/
    """
    from results.table import write_csv

    for warning in write_csv(runs):
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


app.command()(show)


if __name__ == "__main__":
    sys.exit(run_command(app, prog_name="python -m results"))
