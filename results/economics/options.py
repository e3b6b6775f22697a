"""Options that the commands which weigh costs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunsFolder = Annotated[
    Path, typer.Argument(metavar="RUNS", help="Folder that holds the runs, such as runs/.")
]
CellId = Annotated[
    str | None, typer.Option("--cell", metavar="ID", help="The run to build on; else one is chosen.")
]
AuditFolder = Annotated[
    Path | None,
    typer.Option("--audit", metavar="FOLDER", help="An audit; else Detectocorp's claim is taken."),
]
AssumptionsFile = Annotated[
    Path | None, typer.Option("--assumptions", metavar="FILE", help="Your own figures, YAML.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="One figure of your own, or KEY.low, KEY.high; may be repeated.",
    ),
]
DataFolder = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="FOLDER", help="The data set, to show the worst mistakes."),
]
DrawsSeed = Annotated[int, typer.Option("--seed", min=0, help="Of the Monte Carlo draws.")]
