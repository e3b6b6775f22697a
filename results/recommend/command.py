"""Build or buy: `python -m results recommend runs/`.

python -m results recommend runs/ --audit audits/detectocorp --set images_per_year=2000000
python -m results recommend runs/ --json
"""

from __future__ import annotations

from typing import Annotated

import typer

from results.economics.options import (
    AssumptionsFile,
    AuditFolder,
    CellId,
    DrawsSeed,
    RunsFolder,
    Settings,
)


def recommend(
    runs: RunsFolder,
    cell: CellId = None,
    audit: AuditFolder = None,
    assumptions: AssumptionsFile = None,
    settings: Settings = None,
    seed: DrawsSeed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Say whether to build or to buy, why, what speaks against it, and what to measure next.

    Example: python -m results recommend runs/ --audit audits/detectocorp
    """
    # Loaded here so that the other commands do not wait for them.
    import json
    from dataclasses import asdict

    from rich.console import Console

    from harness.errors import UsageError
    from results.economics.assumptions import load_assumptions
    from results.economics.choose import CHOICE_COLUMNS
    from results.index.load import load_table, usable_processors
    from results.recommend.evidence import gather
    from results.recommend.page import print_recommendation, recommendation_markdown
    from results.recommend.rule import recommend as apply_rule

    if as_json and markdown:
        raise UsageError("--json and --markdown: choose one")
    figures = load_assumptions(assumptions, settings or [])
    table = load_table(runs, CHOICE_COLUMNS, usable_processors())
    evidence = gather(table, audit, figures, cell, seed)
    found, notes = apply_rule(evidence), evidence.candidate.notes
    if as_json:
        typer.echo(json.dumps(asdict(found) | {"notes": notes}, indent=1, allow_nan=False))
    elif markdown:
        typer.echo(recommendation_markdown(found, notes), nl=False)
    else:
        print_recommendation(found, notes, Console())
