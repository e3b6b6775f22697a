"""Classify images with a trained model, an export of it, or any ONNX file that an export made.

    python -m harness.predict runs/<cell_id> photos/ --csv predictions.csv

Images are read as the image-folder data set reads them: turned upright, cut to the central square, resized.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.classifier import Classifier, open_classifier
from harness.console import run_command
from harness.datasets.base import Images
from harness.datasets.decode import decode_image
from harness.datasets.imagefolder import list_files
from harness.datasets.progress import progress
from harness.errors import DataError, UsageError
from harness.files import write_text
from harness.predicted import Prediction, as_csv, as_json, best_classes
from harness.process import DEVICES

EXIT_SOME_UNREADABLE = 1
SHOWN_ROWS = 50

HELP = """Classify images with a trained model.

MODEL is the folder of a finished run, a folder that harness.export wrote, or
an ONNX file in one. Folders of images are searched to the bottom; hidden files
and those that are no images by their names are left out. An image that cannot
be read is reported and left out, and the exit code is 1.

Examples:

  python -m harness.predict runs/0123456789ab photo.jpg

  python -m harness.predict handover photos/ --top 1 --csv predictions.csv

  python -m harness.predict handover/model.int8.onnx photos/ --json -
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=HELP)
def command(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="a run, an export or an ONNX file of one", show_default=False),
    ],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE_OR_FOLDER...", help="what to classify", show_default=False)
    ],
    top: Annotated[int, typer.Option(min=1, help="classes to name for each image")] = 3,
    csv: Annotated[str | None, typer.Option(metavar="FILE", help="write a CSV table; -: print it")] = None,
    json: Annotated[str | None, typer.Option(metavar="FILE", help="write JSON; -: print it")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="images classified at once")] = 64,
    device: Annotated[str, typer.Option(help=" or ".join(DEVICES))] = "cpu",
) -> None:
    """Classify the images and end with an exit code."""
    if device not in DEVICES:
        raise UsageError(f"--device {device}: expected {' or '.join(DEVICES)}")
    if csv == json == "-":
        raise UsageError("--csv - and --json - would be printed into each other: write one to a file")
    paths = find_images(images)
    classifier = open_classifier(model, device)
    outcome = classify(classifier, paths, batch_size, top, quiet=len(paths) <= batch_size)
    texts = {"csv": as_csv(outcome.predictions, top) if csv else ""}
    texts["json"] = as_json(classifier.name, outcome.predictions, outcome.problems) if json else ""
    for target, text in ((csv, texts["csv"]), (json, texts["json"])):
        if target == "-":
            sys.stdout.write(text)
        elif target is not None:
            write_text(Path(target), text)
    if "-" not in (csv, json):
        _print_table(outcome.predictions)
    for problem in outcome.problems.values():
        print(f"left out: {problem}", file=sys.stderr)
    if outcome.problems:
        print(f"{len(outcome.problems):,} of {len(paths):,} image(s) left out", file=sys.stderr)
        raise typer.Exit(EXIT_SOME_UNREADABLE)


def find_images(sources: list[Path]) -> list[Path]:
    """The files that are named, and those in the folders that are named, each once, in order.

    Raises:
        UsageError: a source is not there, or there is no image.
        DataError: a folder cannot be read.
    """
    found: dict[Path, None] = {}
    for source in sources:
        if source.is_dir():
            try:
                names, _ = list_files(source, source)
            except OSError as error:
                raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error
            found |= dict.fromkeys(source / name for name in names)
        elif source.exists():
            found[source] = None
        else:
            raise UsageError(f"{source}: there is no such file or folder")
    if not found:
        raise UsageError(f"{', '.join(map(str, sources))}: no image in there")
    return list(found)


@dataclass(frozen=True)
class Outcome:
    """What became of the images."""

    predictions: list[Prediction]
    problems: dict[Path, str]
    """Why an image could not be read."""


def classify(
    classifier: Classifier, paths: list[Path], batch_size: int, top: int, quiet: bool = True
) -> Outcome:
    """Classify images, batch by batch; those that cannot be read are told apart."""
    outcome = Outcome([], {})
    with progress("classifying", len(paths), "images", quiet) as advance:
        for names, batch in _read(classifier, paths, batch_size, outcome.problems):
            best = best_classes(classifier.logits(batch), classifier.class_names, top)
            outcome.predictions.extend(map(Prediction, names, best))
            advance(len(names))
    return outcome


def _read(
    classifier: Classifier, paths: list[Path], batch_size: int, problems: dict[Path, str]
) -> Iterator[tuple[list[Path], Images]]:
    names: list[Path] = []
    batch: list[Images] = []
    for path in paths:
        try:
            image, _ = decode_image(path, classifier.source_size)
        except DataError as error:
            problems[path] = str(error)
            continue
        names.append(path)
        batch.append(image)
        if len(batch) == batch_size:
            yield names, np.stack(batch)
            names, batch = [], []
    if batch:
        yield names, np.stack(batch)


def _print_table(predictions: list[Prediction]) -> None:
    table = Table()
    table.add_column("image", overflow="fold")
    for number in range(1, max((len(one.best) for one in predictions), default=0) + 1):
        table.add_column("class" if number == 1 else f"{number}.", overflow="fold")
    for one in predictions[:SHOWN_ROWS]:
        cells = [f"{name} {probability:.1%}" for name, probability in one.best]
        table.add_row(*(Text(text) for text in (one.file_text(), *cells)))
    if predictions:
        Console().print(table)
    if len(predictions) > SHOWN_ROWS:
        print(f"{len(predictions) - SHOWN_ROWS:,} more: --csv FILE or --json FILE has all of them")


if __name__ == "__main__":
    sys.exit(run_command(app, prog_name="python -m harness.predict"))
