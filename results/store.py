"""The runs of a folder: their records, their predictions, and what had to be left out and why.

    stored = load_runs(Path("runs"))
    stored.runs             finished runs, each with its scores, and failed ones
    stored.warnings         one line for each run that cannot be trusted, naming the file
    stored.num_unfinished   folders with a cell but no record yet

The predictions of every finished run are checked against its record and reduced to scores when the
folder is loaded; `run.predictions` reads them again for those who need the logits themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness.datasets.base import Labels
from harness.errors import DataError, UsageError
from harness.record import Record, read_record, record_path
from results.metrics import accuracy_count

MAX_LINE_LENGTH = 300
"""Characters of a message that are shown to people; `results.csv` keeps it whole."""

Logits = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Predictions:
    """Logits and labels of every test and validation image of one run, in data set order."""

    test_logits: Logits
    test_labels: Labels
    test_tta_logits: Logits | None
    """Mean of each image's logits and its mirror image's; None when the cell did not ask for it."""

    val_logits: Logits
    val_labels: Labels
    val_indices: Labels
    """Positions of the validation images in the training set; empty when none were held out."""

    class_names: tuple[str, ...]
    test_fingerprint: str


@dataclass(frozen=True)
class Scores:
    """How many images a run got right; the counts that every accuracy is derived from."""

    num_test: int
    test_correct: int
    test_tta_correct: int | None
    num_val: int
    val_correct: int

    @property
    def test_accuracy_percent(self) -> float:
        """Accuracy on the test images."""
        return 100 * self.test_correct / self.num_test

    @property
    def test_tta_accuracy_percent(self) -> float | None:
        """Accuracy on the test images with mirrored test-time augmentation; None without it."""
        return None if self.test_tta_correct is None else 100 * self.test_tta_correct / self.num_test

    @property
    def val_accuracy_percent(self) -> float | None:
        """Accuracy on the validation images; None when none were held out."""
        return 100 * self.val_correct / self.num_val if self.num_val else None


@dataclass(frozen=True)
class Run:
    """One run of a folder."""

    run_dir: Path
    record: Record
    scores: Scores | None
    """None exactly when the run failed."""

    @cached_property
    def predictions(self) -> Predictions:
        """The predictions of a finished run, read when first asked for.

        Raises:
            DataError: the file is missing, damaged, or does not fit the record.
        """
        return read_predictions(self.run_dir, self.record)


@dataclass(frozen=True)
class StoredRuns:
    """What `load_runs` found in a folder."""

    runs: list[Run]
    warnings: list[str]
    num_unfinished: int


def load_runs(folder: Path) -> StoredRuns:
    """Load every run of `folder`, in the order of the folder names.

    A run whose record or predictions cannot be trusted is left out, with a warning that names the
    file; the others are not affected.

    Raises:
        UsageError: `folder` cannot be read or holds no run.
    """
    run_dirs = run_dirs_of(folder)
    runs: list[Run] = []
    warnings: list[str] = []
    num_unfinished = 0
    for run_dir in run_dirs:
        try:
            loaded = load_run(run_dir)
        except DataError as error:
            # A damaged record may be quoted whole in the message.
            warnings.append(one_line(str(error), MAX_LINE_LENGTH))
            continue
        if loaded is not None:
            runs.append(loaded[0])
        elif (run_dir / "cell.json").exists():
            num_unfinished += 1
    if not (runs or warnings or num_unfinished):
        raise no_runs(folder)
    return StoredRuns(runs, warnings, num_unfinished)


def run_dirs_of(folder: Path) -> list[Path]:
    """Every folder in `folder`, by name.

    Raises:
        UsageError: `folder` cannot be read.
    """
    try:
        return [path for path in sorted(folder.iterdir()) if path.is_dir()]
    except OSError as error:
        raise unreadable_folder(folder, error) from None


def unreadable_folder(folder: Path, error: OSError) -> UsageError:
    """The error for a folder whose runs cannot be listed."""
    return UsageError(
        f"cannot read runs from '{folder}': {error.strerror}: "
        "name the folder that a matrix was run into, such as runs/"
    )


def no_runs(folder: Path) -> UsageError:
    """The error for a folder without runs."""
    return UsageError(
        f"no runs in '{folder}': name the folder that holds one folder for each run, "
        "or run a cell into it first"
    )


def read_predictions(run_dir: Path, record: Record) -> Predictions:
    """Read `predictions.npz` of a finished run and check it against its record.

    Raises:
        DataError: the file is missing, damaged, or does not fit the record.
    """
    path = run_dir / "predictions.npz"
    arrays = _read_arrays(path)
    problem = _shape_problem(arrays, record) or _value_problem(arrays, record)
    if problem:
        raise DataError(f"{path}: {problem}")
    return Predictions(
        test_logits=arrays["test_logits"],
        test_labels=arrays["test_labels"],
        test_tta_logits=arrays.get("test_tta_logits"),
        val_logits=arrays["val_logits"],
        val_labels=arrays["val_labels"],
        val_indices=arrays["val_indices"],
        class_names=tuple(arrays["class_names"].tolist()),
        test_fingerprint=str(arrays["test_fingerprint"]),
    )


def check_arrays(found: dict[str, Any]) -> None:
    """Refuse what numpy returns as raw bytes: a member of an archive that is no array.

    Raises:
        ValueError: there is one.
    """
    for name, array in found.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name} is no array")


def damage_words(error: Exception) -> str:
    """What numpy says of a file that it cannot read, without its advice to load it unsafely."""
    return "it holds no plain arrays" if "allow_pickle" in str(error) else str(error)


def one_line(text: str, max_length: int | None = None) -> str:
    """`text` on one line and harmless to print: no line breaks, no control characters, not too long."""
    line = " ".join(text.split())
    if not line.isprintable():
        line = "".join(char if char.isprintable() else "?" for char in line)
    return line if max_length is None or len(line) <= max_length else f"{line[:max_length]} ..."


def load_run(run_dir: Path) -> tuple[Run, Predictions | None] | None:
    """The run in `run_dir`, with its predictions if it finished; None where there is no record yet.

    Raises:
        DataError: its record or its predictions cannot be trusted.
    """
    record = read_record(run_dir)
    if record is None:
        return None
    if record.cell_id != run_dir.name:
        raise DataError(
            f"{record_path(run_dir)}: is the record of cell {record.cell_id}, in another's folder"
        )
    if record.status == "failed":
        return Run(run_dir, record, scores=None), None
    if not _complete(record):
        raise DataError(f"{record_path(run_dir)}: says finished, but lacks its data, model or measurements")
    predictions = read_predictions(run_dir, record)
    return Run(run_dir, record, _score(predictions)), predictions


def _complete(record: Record) -> bool:
    return (
        record.data is not None
        and record.data.num_test_images > 0
        and record.num_fit_images is not None
        and record.num_val_images is not None
        and record.model is not None
        and record.model.total_train_flops > 0
        and record.measurements is not None
    )


def _score(predictions: Predictions) -> Scores:
    tta_logits = predictions.test_tta_logits
    return Scores(
        num_test=len(predictions.test_labels),
        test_correct=accuracy_count(predictions.test_logits, predictions.test_labels),
        test_tta_correct=None if tta_logits is None else accuracy_count(tta_logits, predictions.test_labels),
        num_val=len(predictions.val_labels),
        val_correct=accuracy_count(predictions.val_logits, predictions.val_labels),
    )


def _read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = dict(arrays)
        check_arrays(found)
        return found
    except FileNotFoundError:
        raise DataError(
            f"{path}: missing, though the run finished: delete {path.parent} to run it again"
        ) from None
    except Exception as error:
        # numpy and zipfile meet damaged bytes with a dozen unrelated types of error.
        raise DataError(
            f"{path}: cannot be read ({damage_words(error)}): delete {path.parent} to run it again"
        ) from error


def _shape_problem(arrays: dict[str, np.ndarray[Any, Any]], record: Record) -> str | None:
    """What is missing, or has a kind or a shape that does not fit the record."""
    assert record.data is not None
    num_test, num_val = record.data.num_test_images, record.num_val_images
    num_classes = len(record.data.class_names)
    expected: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "test_logits": ("f", (num_test, num_classes)),
        "test_labels": ("i", (num_test,)),
        "test_tta_logits": ("f", (num_test, num_classes)),
        "val_logits": ("f", (num_val, num_classes)),
        "val_labels": ("i", (num_val,)),
        "val_indices": ("i", (num_val,)),
        "class_names": ("U", (num_classes,)),
        "test_fingerprint": ("U", ()),
    }
    for name, (kind, shape) in expected.items():
        if name not in arrays:
            if name == "test_tta_logits":
                continue
            return f"there is no array '{name}'"
        array = arrays[name]
        if array.dtype.kind != kind or array.shape != shape:
            return f"{name} is {array.dtype} {array.shape}, which does not fit the record: {shape}"
    return None


def _value_problem(arrays: dict[str, np.ndarray[Any, Any]], record: Record) -> str | None:
    """What is not a finite number, not a class, or about other data than the record."""
    assert record.data is not None
    for name in ("test_logits", "test_tta_logits", "val_logits"):
        if name in arrays and not np.isfinite(arrays[name]).all():
            return f"{name} holds values that are not finite"
    num_classes = len(record.data.class_names)
    for name in ("test_labels", "val_labels"):
        labels = arrays[name]
        if ((labels < 0) | (labels >= num_classes)).any():
            return f"{name} holds labels outside of 0 to {num_classes - 1}"
    if tuple(arrays["class_names"].tolist()) != record.data.class_names:
        return "the class names are not those of the record"
    if str(arrays["test_fingerprint"]) != record.data.test_fingerprint:
        return "the predictions are about other test images than the record: the fingerprints differ"
    return None
