"""A fold of CIFAR-10 that needs no test set: `python -m harness.fold --data-dir data FOLD`.

Training batches 1 to 4 stay what they are, and batch 5 takes the place of the test batch: 40,000 training
and 10,000 test images, all of the published training set. What is tried again and again is tried on such a
fold, so that the real test images stay unseen.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.console import run_command
from harness.datasets import cifar10
from harness.datasets.cifar10 import FOLDER, find_files
from harness.datasets.download import file_hash
from harness.errors import DataError, UsageError
from harness.files import atomic_write

_SOURCES = {
    **{name: name for name in (*(f"data_batch_{number}" for number in range(1, 5)), "batches.meta")},
    "test_batch": "data_batch_5",
}
"""Each file of the fold, and the published one that it is."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def fold(
    target: Annotated[Path, typer.Argument(metavar="FOLD", help="Folder to make.")],
    data_dir: Annotated[
        Path, typer.Option("--data-dir", metavar="FOLDER", help="Where CIFAR-10 is, or is downloaded to.")
    ] = Path("data"),
) -> None:
    """Make a fold of CIFAR-10: four training batches to train on, the fifth to test on.

    Use it with --data-dir FOLD --allow-unofficial-data: its files are not the published archive.

    Example: python -m harness.fold --data-dir data data/fold
    """
    make_fold(find_files(data_dir, allow_unofficial=False, quiet=False), target)
    typer.echo(f"{target}: use it with --data-dir {target} --allow-unofficial-data")


def make_fold(source: Path, target: Path) -> None:
    """Write the fold of the batches in `source` to `target/cifar-10-batches-py`, the test batch last.

    Raises:
        UsageError: other images are in `target`.
        DataError: a batch is missing, or not the published one; nothing is written in either case.
        StorageError: a file cannot be written.
    """
    folder = target / FOLDER
    if source.resolve() in (target.resolve(), folder.resolve()):
        raise UsageError(f"{target} holds CIFAR-10 itself: name another folder for the fold")
    for name in _SOURCES.values():
        path = source / name
        if not path.is_file():
            raise DataError(f"{path} is missing: delete {source} to download CIFAR-10 again")
        if file_hash(path, "md5") != cifar10.OFFICIAL_MD5[name]:
            raise DataError(f"{path} is not the published file: delete {source} to download CIFAR-10 again")
    for path in (each / name for each in (target, folder) for name in cifar10.OFFICIAL_MD5):
        if path.exists() and not _is_of_fold(path, folder):
            raise UsageError(f"{path} is no part of the fold: name an empty folder for it")
    for name, original in _SOURCES.items():
        with (source / original).open("rb") as read, atomic_write(folder / name) as written:
            shutil.copyfileobj(read, written)


def _is_of_fold(path: Path, folder: Path) -> bool:
    original = _SOURCES.get(path.name) if path.parent == folder else None
    return original is not None and file_hash(path, "md5") == cifar10.OFFICIAL_MD5[original]


if __name__ == "__main__":
    sys.exit(run_command(app, prog_name="python -m harness.fold"))
