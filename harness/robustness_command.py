"""The command that measures the robustness of a finished run from its stored weights."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from harness.asking import Answers, Indices, Ledger
from harness.corruptions.frost import frost_source
from harness.datasets.download import file_hash
from harness.datasets.shifted import open_published
from harness.environment import VERDICT_VERSION
from harness.errors import UsageError
from harness.fidelity import load_images_of
from harness.files import storage_error, write_arrays
from harness.precision import make_autocast
from harness.process import Process, choose_device, use_threads
from harness.record import ROBUSTNESS_FILE
from harness.robustness import (
    LEVELS,
    choose_level,
    measure_robustness,
    num_pieces,
    write_robustness,
)
from harness.seeding import use_deterministic_kernels
from harness.stored_model import load_stored_model, weights_path

PARTIAL_NAME = "robustness.partial.npz"

HELP = """Measure how robust the models of finished runs are, from their stored weights.

A model answers its test images corrupted, moved, mirrored, made brighter and attacked, and those of
CIFAR-10-C and CIFAR-10.1 where the data folder has them. Its answers are kept in RUN/robustness.npz.
A command that was interrupted goes on where it stopped.

Examples:

  python -m harness.robustness runs/0123456789abcdef

  python -m harness.robustness runs/0123456789abcdef --level full --device cuda
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=HELP)
def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="the folders of finished runs")],
    level: Annotated[str, typer.Option(help=f"how much: {', '.join(LEVELS)}")] = "quick",
    data_dir: Annotated[
        Path | None,
        typer.Option(help="where CIFAR-10 and CIFAR-10-C are (data/), or where an image folder is now"),
    ] = None,
    allow_unofficial_data: Annotated[
        bool, typer.Option("--allow-unofficial-data", help="take CIFAR-10 files that are not the published")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda (a GPU if there is one)")] = None,
) -> None:
    """Measure the runs, and keep what their models answer."""
    choose_level(level)
    process = Process(0, 0, 1, choose_device(device), "NO", None)
    use_deterministic_kernels()
    use_threads(None)
    for run in runs:
        _measure(run, level, data_dir, allow_unofficial_data, process)


def _measure(
    run: Path, level: str, data_dir: Path | None, allow_unofficial_data: bool, process: Process
) -> None:
    stored = load_stored_model(run, process.device)
    _refuse_to_lose(run, level)
    cell = stored.record.cell
    autocast = make_autocast(cell.precision, process.device)
    folder = data_dir or Path(__file__).resolve().parent.parent / "data"
    data = load_images_of(stored.record, folder, data_dir, allow_unofficial_data)
    published = open_published(stored.class_names, folder)
    console = Console()
    with _bar(console, num_pieces(level, published)) as bar:
        identity = {
            "run": cell.cell_id,
            "ended_at": stored.record.ended_at,
            "level": level,
            "frost": frost_source(),
            "published": published.name(),
            "weights": file_hash(weights_path(run), "sha256"),
            "device": process.device.type,
            "torch": torch.__version__,
            "verdict": VERDICT_VERSION,
        }
        ledger = FileLedger(run / PARTIAL_NAME, identity, bar)
        arrays = measure_robustness(
            level,
            stored.module,
            data.test,
            stored.normalize,
            autocast,
            process,
            published=published,
            ledger=ledger,
        )
    write_robustness(run, arrays)
    ledger.forget()
    console.print(Text(f"kept: {run / ROBUSTNESS_FILE}"))


class FileLedger(Ledger):
    """Keeps the pieces in a file as they are done, and prints the accuracy of each.

    Args:
        path: of the file; what is in it already counts as done, if it is of the same measurement.
        identity: what makes a measurement the same.
        bar: advances by one with each piece.
    """

    def __init__(self, path: Path, identity: dict[str, str], bar: Progress) -> None:
        self._path = path
        self._identity = json.dumps(identity, sort_keys=True)
        self._bar = bar
        super().__init__(self._load())
        if self.done:
            self._print(f"going on: {len(self.done)} pieces are done already")

    def keep(self) -> None:
        """Write all pieces that are done."""
        arrays: dict[str, np.ndarray[Any, Any]] = {"identity": np.array(self._identity)}
        for name, given in self.done.items():
            arrays |= {f"{name}/predicted": given.predicted, f"{name}/confidence": given.confidence}
        write_arrays(self._path, arrays)

    def tell(self, name: str, given: Answers, labels: Indices) -> None:
        """Print a row of accuracies: by severity; of the attacks without any, by FGSM, by PGD."""
        if not name.startswith("shift "):  # too many to print
            shares = (given.predicted == labels).mean(axis=-1)
            self._print(f"{name:28s}" + "".join(f"{100 * share:8.2f}%" for share in shares.ravel()))
        self._bar.advance(self._bar.task_ids[0])

    def forget(self) -> None:
        """Delete the file: the measurement is whole."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(self._path, error) from error

    def _load(self) -> dict[str, Answers]:
        if not self._path.exists():
            return {}
        try:
            with np.load(self._path, allow_pickle=False) as file:
                arrays = dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            self._print(f"{self._path} cannot be read ({error}): starting again")
            return {}
        if str(arrays.pop("identity", "")) != self._identity:
            self._print(f"{self._path} is of another measurement: starting again")
            return {}
        names = [name.removesuffix("/predicted") for name in arrays if name.endswith("/predicted")]
        return {
            name: Answers(arrays[f"{name}/predicted"], arrays[f"{name}/confidence"])
            for name in names
            if f"{name}/confidence" in arrays
        }

    def _print(self, text: str) -> None:
        self._bar.console.print(Text(text), soft_wrap=True)


def _bar(console: Console, total: int) -> Progress:
    bar = Progress(
        TextColumn("robustness"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    bar.add_task("", total=total)
    return bar


def _refuse_to_lose(run_dir: Path, level: str) -> None:
    """Refuse to replace what was measured in full by less.

    Raises:
        UsageError: see above.
    """
    path = run_dir / ROBUSTNESS_FILE
    if level == "full" or not path.exists():
        return
    try:
        with np.load(path, allow_pickle=False) as file:
            kept = str(file["level"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return  # nothing that could be lost
    if kept == "full":
        raise UsageError(f"{path}: was measured at level full: delete it first, or use --level full")
