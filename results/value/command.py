"""What runs are worth for what they cost: `python -m results value runs/`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.errors import UsageError


def value(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder that holds the runs, such as runs/.")],
    league: Annotated[
        Literal["from scratch", "pre-trained"] | None, typer.Option("--league", help="Only this league.")
    ] = None,
    price_per_hour: Annotated[
        float | None,
        typer.Option("--price-per-hour", metavar="DOLLARS", help="Of one device, for the price of training."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure as JSON.")] = False,
) -> None:
    """Set accuracy against compute, size, memory, latency, energy and dollars; say which weights decide.

    Example: python -m results value runs/ --league "from scratch" --price-per-hour 2.50
    """
    # Loaded here so that the other commands do not wait for them.
    from rich.console import Console

    from results.index.load import load_table, usable_processors
    from results.value.as_json import value_as_json
    from results.value.page import print_value, print_warnings
    from results.value.peers import peer_groups
    from results.value.summary import VALUE_COLUMNS, value_of

    if price_per_hour is not None and not 0 < price_per_hour < math.inf:
        raise UsageError(f"--price-per-hour {price_per_hour:g}: give a number of dollars above 0")
    table = load_table(runs, VALUE_COLUMNS, usable_processors())
    groups = peer_groups(table, league)
    if not groups:
        which = f" of the league '{league}'" if league else ""
        raise UsageError(f"no finished run{which} in '{runs}': run cells into it first")
    values = [value_of(peers, price_per_hour) for peers in groups]
    if as_json:
        content = {"groups": [value_as_json(each) for each in values], "left_out": table.warnings}
        typer.echo(json.dumps(content, indent=1, allow_nan=False))
        return
    console = Console()
    for each in values:
        print_value(each, console)
    print_warnings(table, console)
