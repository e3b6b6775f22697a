"""What building costs against buying: `python -m results economics runs/`.

python -m results economics runs/ --set images_per_year=2000000 --set cost_per_error_usd=0.5
python -m results economics runs/ --cell be8502089858 --audit audit/ --json
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from results.economics.options import (
    AssumptionsFile,
    AuditFolder,
    CellId,
    DrawsSeed,
    RunsFolder,
    Settings,
)

if TYPE_CHECKING:
    from results.economics.decide import Appraisal


def economics(
    runs: RunsFolder,
    cell: CellId = None,
    audit: AuditFolder = None,
    assumptions: AssumptionsFile = None,
    settings: Settings = None,
    seed: DrawsSeed = 0,
    show_assumptions: Annotated[
        bool, typer.Option("--show-assumptions", help="Print every figure, with its source.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Compare what building and buying cost: net present value, break-even, what the answer depends on.

    Example: python -m results economics runs/ --set images_per_year=2000000
    """
    # Loaded here so that the other commands do not wait for them.
    from rich.console import Console

    from results.economics.assumptions import load_assumptions
    from results.economics.choose import CHOICE_COLUMNS, choose_candidate, choose_vendor
    from results.economics.decide import appraise
    from results.economics.facts import build_facts
    from results.economics.page import print_economics
    from results.index.load import load_table, usable_processors

    figures = load_assumptions(assumptions, settings or [])
    vendor = choose_vendor(audit)
    table = load_table(runs, CHOICE_COLUMNS, usable_processors())
    chosen = choose_candidate(table, cell, vendor, figures)
    appraisal = appraise(build_facts(chosen.run), vendor.facts, figures, seed)
    if as_json:
        typer.echo(appraisal_json(appraisal, chosen.notes))
    else:
        print_economics(appraisal, chosen.notes, show_assumptions, Console())


def appraisal_json(appraisal: Appraisal, notes: tuple[str, ...] = ()) -> str:
    """Every figure under the name of its field; a missing one is null."""
    content = asdict(appraisal) | {
        "notes": notes,
        "assumptions": {key: entry.model_dump(mode="json") for key, entry in appraisal.assumptions.items()},
    }
    return json.dumps(content, default=_as_text, indent=1, allow_nan=False)


def _as_text(value: Any) -> str:
    return str(value)
