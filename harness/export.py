"""Hand a trained model over: ONNX, the weights and a model card, checked on the whole test set.

    python -m harness.export runs/<cell_id> --int8 static        # writes runs/<cell_id>/export/

    model.onnx          float32; takes uint8 RGB images as the data set has them, in batches of any size
    model.int8.onnx     with --int8: the same with weights in 8 bits
    model.safetensors   the weights alone
    model.json          classes, input, figures, versions, sha256 of the files
    README.md           the model card

Nothing is written where model.onnx does not do what the original model does.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any
from zipfile import BadZipFile

import numpy as np
import torch
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from harness.console import run_command
from harness.datasets.base import Dataset, Labels
from harness.datasets.download import file_hash
from harness.environment import VERDICT_VERSION
from harness.errors import DataError, UsageError, unknown_name
from harness.fidelity import (
    calibration_images,
    count_by_class,
    load_images_of,
    onnx_logits,
    original_logits,
    score,
)
from harness.files import storage_error
from harness.model_card import CardFacts, Scored, write_card
from harness.onnx_model import INPUT, OUTPUT, PACKAGES, export_onnx, load_package
from harness.quantize import CALIBRATION_IMAGES, MODES, quantize_int8
from harness.stored_model import StoredModel, load_stored_model, weights_path

MAX_DISAGREEMENT = 0.001
"""Share of the test images that the exported model may put into another class; one image always may be."""

EXIT_DIFFERS = 1
FORMAT = 1
"""Of `model.json`. History: 1, the first (2026-11)."""

_ROOT = Path(__file__).resolve().parent.parent
_ONNX, _INT8, _JSON, _CARD = "model.onnx", "model.int8.onnx", "model.json", "README.md"

HELP = """Export the model of a finished run: ONNX, weights and a model card.

Every image of the test set goes through the original model and, in
onnxruntime, through the exported ones. Where model.onnx puts more than one in
a thousand of them (and more than one) into another class, nothing is written,
and the exit code is 1.

With --int8, what 8 bits cost in accuracy is measured and reported, not judged:
dynamic finds the ranges of numbers as the model runs, static has found them
before, from training images.

Examples:

  python -m harness.export runs/0123456789ab

  python -m harness.export runs/0123456789ab --int8 static --out handover
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=HELP)
def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="folder of a finished run", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="folder to write; an earlier export is replaced (RUN/export)")
    ] = None,
    int8: Annotated[str, typer.Option(help=f"also with 8-bit weights: {', '.join(MODES)}")] = "none",
    data_dir: Annotated[
        Path | None, typer.Option(help="where CIFAR-10 is (data/), or where an image folder is now")
    ] = None,
    allow_unofficial_data: Annotated[
        bool,
        typer.Option("--allow-unofficial-data", help="take CIFAR-10 files that are not the published ones"),
    ] = False,
) -> None:
    """Export a run and end with an exit code."""
    if int8 not in MODES:
        raise unknown_name("--int8", int8, MODES)
    target = (run / "export" if out is None else out).resolve()
    _check_target(target)
    for name in PACKAGES:
        load_package(name)  # better now than after the test set
    stored = load_stored_model(run, torch.device("cpu"))
    dataset = load_images_of(stored.record, data_dir or _ROOT / "data", data_dir, allow_unofficial_data)
    with _whole_folder(target) as folder:
        facts = build_export(run, stored, dataset, folder, int8)
        refusal = _refusal(facts)
        if refusal:
            print(f"refused, and nothing written: {refusal}", file=sys.stderr)
            raise typer.Exit(EXIT_DIFFERS)
    _print_summary(facts, target)


def build_export(run: Path, stored: StoredModel, dataset: Dataset, folder: Path, int8: str) -> CardFacts:
    """Write all files of an export into `folder`; what was found out on the way.

    Args:
        run: folder of the run.
        stored: its model, on the CPU.
        dataset: its images.
        folder: an empty one.
        int8: `none`, `dynamic` or `static`.

    Raises:
        UsageError: the model cannot be exported or quantised.
        StorageError: a file cannot be written.
    """
    images, labels = dataset.test.images, dataset.test.labels
    size = max(stored.image_size, *stored.source_size)
    print("exporting to ONNX: about a minute for large models", file=sys.stderr)
    export_onnx(stored, folder / _ONNX)
    shutil.copyfile(weights_path(run), folder / "model.safetensors")
    original = original_logits(stored, images)
    exported = onnx_logits(folder / _ONNX, images, size)
    scored = [*_scored_in_training(run, stored, labels), score("PyTorch, float32", original, labels)]
    scored.append(score("ONNX, float32", exported, labels, original, folder / _ONNX))
    num_calibration = None
    if int8 != "none":
        chosen = calibration_images(stored.record, dataset, CALIBRATION_IMAGES) if int8 == "static" else None
        num_calibration = None if chosen is None else len(chosen)
        quantize_int8(folder / _ONNX, folder / _INT8, int8, chosen)
        answers = onnx_logits(folder / _INT8, images, size)
        scored.append(score(f"ONNX, int8 ({int8})", answers, labels, original, folder / _INT8))
    facts = CardFacts(
        record=stored.record,
        class_names=stored.class_names,
        source_size=stored.source_size,
        image_size=stored.image_size,
        scored=scored,
        by_class=count_by_class(exported, labels, stored.class_names),
        tolerated=max(1, int(MAX_DISAGREEMENT * len(labels))),
        num_calibration_images=num_calibration,
        versions=_versions(),
    )
    (folder / _CARD).write_text(write_card(facts), encoding="utf-8")
    (folder / _JSON).write_text(json.dumps(_description(facts, folder), indent=1) + "\n", encoding="utf-8")
    return facts


def _scored_in_training(run: Path, stored: StoredModel, labels: Labels) -> list[Scored]:
    """How the run itself was scored, in its own precision; nothing where its predictions are gone."""
    path = run / "predictions.npz"
    if not path.is_file():
        return []
    try:
        with path.open("rb") as file, np.load(file) as predictions:
            logits = predictions["test_logits"]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise DataError(f"{path}: damaged ({error}): move it away, or run the cell again") from None
    precision, device = stored.record.cell.precision, stored.record.environment
    where = "" if device is None else f", {device.device_type}"
    return [score(f"as scored ({precision}{where})", logits, labels)]


def _refusal(facts: CardFacts) -> str:
    """Why the export is not as good as the original; empty where it is."""
    exported = next(one for one in facts.scored if one.file == _ONNX)
    assert exported.num_disagreements is not None
    assert exported.max_difference is not None
    if exported.num_disagreements > facts.tolerated or not np.isfinite(exported.max_difference):
        return (
            f"the exported model puts {exported.num_disagreements:,} of {exported.num_images:,} test images "
            f"into another class than the original ({facts.tolerated:,} tolerated; logits differ by up to "
            f"{exported.max_difference:.1e})"
        )
    return ""


def _versions() -> dict[str, str]:
    versions = {"verdict": VERDICT_VERSION, "python": platform.python_version(), "torch": torch.__version__}
    return versions | {name: str(load_package(name).__version__) for name in PACKAGES}


def _description(facts: CardFacts, folder: Path) -> dict[str, Any]:
    """What `model.json` says."""
    record, (height, width) = facts.record, facts.source_size
    assert record.data is not None
    return {
        "format": FORMAT,
        "cell_id": record.cell_id,
        "model": record.cell.model,
        "league": record.cell.league,
        "class_names": facts.class_names,
        "input": {
            "name": INPUT,
            "dtype": "uint8",
            "layout": "NCHW",
            "channels": "RGB",
            "height": height,
            "width": width,
        },
        "output": {"name": OUTPUT, "dtype": "float32", "what": "logits"},
        "image_size": facts.image_size,
        "data": {
            "dataset": record.data.dataset,
            "official": record.data.official,
            "fingerprint": record.data.fingerprint,
            "test_fingerprint": record.data.test_fingerprint,
        },
        "scored": [asdict(one) for one in facts.scored],
        "num_calibration_images": facts.num_calibration_images,
        "versions": facts.versions,
        "files": {
            path.name: {"sha256": file_hash(path, "sha256"), "num_bytes": path.stat().st_size}
            for path in sorted(folder.iterdir())
        },
    }


def _check_target(target: Path) -> None:
    """Refuse to replace what is not an earlier export."""
    if target.exists() and not target.is_dir():
        raise UsageError(f"--out {target}: is a file: name a folder")
    there = {path.name for path in target.iterdir()} if target.is_dir() else set()
    if not there <= _exported(target) or target == target.parent:
        raise UsageError(f"--out {target}: there are other files in this folder: name a new one")


def _exported(target: Path) -> set[str]:
    """The names of the files that an earlier export has put there."""
    try:
        said = json.loads((target / _JSON).read_bytes())
        return {_JSON, *said["files"]} if said["format"] == FORMAT and said["cell_id"] else set()
    except (OSError, ValueError, TypeError, KeyError):
        return set()


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """A new folder that takes the place of `target` if the block succeeds, and is gone if not."""
    mark = uuid.uuid4().hex
    folder, old = (target.with_name(f".{target.name}.{mark}.{end}") for end in ("partial", "old"))
    try:
        folder.mkdir(parents=True)
        yield folder
        if target.exists():
            target.rename(old)
        folder.rename(target)
    except OSError as error:
        raise storage_error(target, error) from error
    finally:
        if old.exists() and not target.exists():
            old.rename(target)  # the earlier export, where the new one could not be moved
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _print_summary(facts: CardFacts, target: Path) -> None:
    num_images = facts.scored[0].num_images
    table = Table(
        title=f"{facts.record.cell.label()}: {num_images:,} test images",
        box=SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("form", no_wrap=True)
    for name in ("MiB", "accuracy", "95% interval", "largest\ndifference", "other\nclass"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in facts.scored:
        table.add_row(
            one.what,
            "" if one.num_bytes is None else f"{one.num_bytes / 2**20:.2f}",
            f"{one.num_correct / num_images:.2%}",
            one.interval_text(),
            "" if one.max_difference is None else f"{one.max_difference:.1e}",
            "" if one.num_disagreements is None else f"{one.num_disagreements:,}",
        )
    Console().print(table)
    print(f"written: {target}")


if __name__ == "__main__":
    sys.exit(run_command(app, prog_name="python -m harness.export"))
