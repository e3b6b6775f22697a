"""The command `python -m results leaderboard RUNS`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def leaderboard(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder that holds the runs, such as runs/.")],
    league: Annotated[
        str | None, typer.Option("--league", help="Only models 'from scratch' or 'pre-trained'.")
    ] = None,
    by: Annotated[
        Literal["seed", "cell"],
        typer.Option("--by", help="A row for each run, or for each cell over its seeds."),
    ] = "seed",
    sort: Annotated[
        list[str] | None,
        typer.Option(
            "--sort", metavar="COLUMN", help="Rising; -COLUMN: falling. More than once: what ties leave."
        ),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", metavar="CONDITION", help="model=resnet18, epochs>8, ...; more than once: all."
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="A,B,C", help="Columns of results.csv to show.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option("--top", metavar="N", help="Rows of a table (30; csv, json: all); 0: all.", min=0),
    ] = None,
    form: Annotated[
        Literal["table", "csv", "json", "markdown", "latex"], typer.Option("--format", help="What to write.")
    ] = "table",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write to a file, not to the screen.")
    ] = None,
) -> None:
    """Rank the runs by accuracy for compute.

    GPipe, Detectocorp and people stand beside them, as claims.

    Example: python -m results leaderboard runs/ --by cell --sort -test_accuracy_percent --top 10

    Example: python -m results leaderboard runs/ --filter model=resnet18 --columns seed,nll --format latex
    """
    # Loaded here so that the other commands do not wait for them.
    from results.index.load import usable_processors
    from results.leaderboard.board import DEFAULT_TOP, BoardOptions, make_board
    from results.leaderboard.formats import write_board

    is_for_people = form in ("table", "markdown", "latex")
    shown = (DEFAULT_TOP if is_for_people else None) if top is None else top or None
    options = BoardOptions(
        league=league,
        by=by,
        sorts=tuple(sort or ()),
        filters=tuple(condition or ()),
        columns=tuple(name.strip() for name in columns.split(",")) if columns else (),
        top=shown,
        num_workers=usable_processors(),
    )
    write_board(make_board(runs, options), form, output)
