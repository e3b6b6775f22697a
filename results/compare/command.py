"""Are they different, or is it noise? `python -m results compare runs/be8502089858 runs/0c1d7e2f9a3b`.

python -m results compare wrn_28_10.json densenet_BC_100_12.json --labels cifar10_test_labels.npy
python -m results compare runs/be8502089858 audits/detectocorp --images 20
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UsageError


def compare(
    targets: Annotated[
        list[Path],
        typer.Argument(
            metavar="A B [C ...]",
            help="Run folders, audit folders, or predictions: .json, .npy or .npz.",
            show_default=False,
        ),
    ],
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="True classes, where files have none.")
    ] = None,
    images: Annotated[
        int, typer.Option("--images", metavar="N", min=0, help="List N images that one alone got right.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure as JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print tables of Markdown.")] = False,
) -> None:
    """Compare systems image by image: how far apart, how sure, on which classes and images.

    Example: python -m results compare runs/be8502089858 runs/0c1d7e2f9a3b
    """
    # Loaded here so that the other commands do not wait for them.
    from rich.console import Console

    from results.compare.export import comparison_json, comparison_markdown
    from results.compare.page import print_pair
    from results.compare.ranking_page import print_ranking
    from results.compare.several import compare_systems
    from results.compare.targets import read_targets
    from results.compare.wording import notes

    if as_json and as_markdown:
        raise UsageError("--json and --markdown exclude each other: choose one")
    if images and (len(targets) != 2 or as_json or as_markdown):
        raise UsageError("--images lists images on the page of two systems: leave it out (--json has all)")
    found = read_targets(targets, labels)
    if as_json or as_markdown:
        ranking = compare_systems(found)
        typer.echo(comparison_json(ranking, found) if as_json else comparison_markdown(ranking, found))
    elif len(found) == 2:
        print_pair(found[0], found[1], images, Console())
    else:
        ranking = compare_systems(found)
        print_ranking(ranking, notes(found, ranking.pairs), Console())
