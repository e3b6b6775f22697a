"""Everything about one run or one file of predictions: `python -m results show runs/be8502089858`.

python -m results show wrn_28_10.json --labels labels.npy
python -m results show vgg_15_BN_64.npz --human cifar10h_counts.npy --json
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from results.figures import Figures


def show(
    target: Annotated[
        Path, typer.Argument(metavar="RUN_OR_FILE", help="Run folder, or predictions: .json, .npy or .npz.")
    ],
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="True classes, where the file has none.")
    ] = None,
    human: Annotated[
        Path | None, typer.Option("--human", metavar="FILE", help="CIFAR-10H counts of judgements, .npy.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure as JSON.")] = False,
) -> None:
    """Show what one run's predictions are worth: accuracy, calibration, confusions, selective accuracy.

    Example: python -m results show runs/be8502089858
    """
    # Loaded here so that the other commands do not wait for them.
    from rich.console import Console

    from results.figures import figures_of
    from results.page import print_page
    from results.predictions import read_human_counts, read_prediction_set

    found = read_prediction_set(target, labels)
    num_images, num_classes = len(found.labels), len(found.class_names)
    counts = None if human is None else read_human_counts(human, num_images, num_classes)
    figures = figures_of(found, counts)
    if as_json:
        typer.echo(figures_json(figures))
    else:
        print_page(figures, found.run_dir, Console())


def figures_json(figures: Figures) -> str:
    """Every figure under the name of its field; a missing one is null, with its reason in `reasons`."""
    return json.dumps(asdict(figures), default=_as_list, indent=1, allow_nan=False)


def _as_list(value: Any) -> Any:
    return value.tolist()
