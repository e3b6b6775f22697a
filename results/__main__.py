"""What stored runs say: `python -m results leaderboard runs/`."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import VerdictError

RunsFolder = Annotated[
    Path, typer.Argument(metavar="RUNS", help="Folder that holds the runs, such as runs/.")
]

_HELP = """Say what stored runs are worth: rank them, or turn them into a table.

\b
Examples:
  python -m results leaderboard runs/
  python -m results csv runs/
  python -m results columns --markdown
"""

app = typer.Typer(
    help=_HELP,
    add_completion=False,
    no_args_is_help=True,
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


def main() -> None:
    """Run the command line; an error of the user's is one line and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal without Unicode shows a question mark rather than a traceback.
        sys.stdout.reconfigure(errors="replace")
    try:
        app(prog_name="python -m results")
    except VerdictError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
