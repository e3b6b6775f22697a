"""Predictions of any origin as one value: a run of ours, a published model, a vendor's file.

    read_prediction_set(Path("runs/be8502089858"))                       # a run folder
    read_prediction_set(Path("wrn_28_10.json"), Path("labels.npy"))      # a list of classes
    read_prediction_set(Path("vgg_15_BN_64.npz"))                        # logits and labels in one file
    read_prediction_set(Path("audits/detectocorp"))                      # what the audit of a vendor left

| file    | what it may hold                                                                     |
|---------|--------------------------------------------------------------------------------------|
| `.json` | a list with the class index of every image                                           |
| `.npy`  | the same; or a matrix [N, C] of probabilities or logits                              |
| `.npz`  | one or more of `logits` [N, C], `probs` [N, C], `classes` [N]; perhaps `labels` [N], |
|         | `class_names` [C] and `test_fingerprint`, the hash of the images it is about         |

A matrix whose values are from 0 to 1 and whose rows sum to 1 is read as probabilities, any other as logits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from harness.errors import DataError, UsageError
from harness.record import read_record, record_path
from results.calibration import Distributions, from_logits, from_probabilities
from results.human import check_counts
from results.metrics import Array
from results.prediction_files import (
    MAX_CLASSES,
    class_names_of,
    fingerprint_of,
    indices_of,
    numbered,
    read_arrays,
    read_labels,
)
from results.store import Predictions, one_line, read_predictions

Known = Literal["classes", "probabilities", "logits"]

SUM_TOLERANCE = 1e-3
"""How far probabilities of an image may be from a sum of 1: what rounding to four digits leaves."""


@dataclass(frozen=True)
class PredictionSet:
    """What a model said about N test images, as far as it is known, and what is right."""

    name: str
    """Of the run or file, on one line."""

    run_dir: Path | None
    """None for a file."""

    known: Known
    classes: Array
    """int64 [N]; where scores are equal, the class that was stated, or else the lowest index."""

    labels: Array
    """int64 [N]."""

    class_names: tuple[str, ...]
    """C names; the indices where none are known."""

    scores: Array | None
    """[N, C], logits or probabilities as they were read; None where only classes are known."""

    val_logits: Array | None = None
    """[V, C], of held-out training images; None where there are none."""

    val_labels: Array | None = None

    fingerprint: str | None = None
    """Hash of the pixels and labels of the test images; None for a file that does not say."""

    league: str | None = None
    """`from scratch` or `pre-trained`; None for a file."""

    @property
    def has_class_names(self) -> bool:
        """Whether the names of the classes are known, not only their indices."""
        return self.class_names != numbered(len(self.class_names))

    def distributions(self) -> Distributions | None:
        """The model's distribution over the classes for each image; None where only classes are known."""
        if self.scores is None:
            return None
        return from_logits(self.scores) if self.known == "logits" else from_probabilities(self.scores)


def read_prediction_set(path: Path, labels_path: Path | None = None) -> PredictionSet:
    """Read the predictions of a run folder, an audit's folder or a file; see the table above.

    Args:
        path: a run folder, its `predictions.npz`, an audit's folder, or a file of another origin.
        labels_path: `.npy` or `.json` with the class index of every image; runs hold their own.

    Raises:
        UsageError: there is no such file, its kind is unknown, or labels are missing or given in vain.
        DataError: damaged, wrong length, values that are not finite, no classes, or no probabilities.
    """
    if holds_run(path):
        path = path if path.is_dir() else path.parent
    name = path.name
    if holds_audit(path):
        name, path = path.resolve().name, path / "predictions.npz"
    if path.is_dir():
        if labels_path is not None:
            raise UsageError(f"'{path}' is a run and holds its own labels: leave out --labels")
        return _read_run(path)
    arrays = read_arrays(path)
    labels = read_labels(path, arrays.pop("labels", None), labels_path)
    return _prediction_set(path, one_line(name), arrays, labels)


def holds_run(path: Path) -> bool:
    """Whether `path` is a run folder, or the predictions in one: it then needs no labels."""
    return record_path(path.parent if path.name == "predictions.npz" else path).exists()


def holds_audit(path: Path) -> bool:
    """Whether `path` is the folder that the audit of a vendor left."""
    return (path / "audit.json").exists()


def from_run(name: str, run_dir: Path | None, predictions: Predictions) -> PredictionSet:
    """The test predictions of a run, with the validation images that it held out.

    Args:
        name: what to call it.
        run_dir: its folder.
        predictions: as `results.store` checked them.
    """
    has_val = len(predictions.val_labels) > 0
    return PredictionSet(
        name=one_line(name),
        run_dir=run_dir,
        known="logits",
        classes=predictions.test_logits.argmax(axis=1),
        labels=predictions.test_labels,
        class_names=predictions.class_names,
        scores=predictions.test_logits,
        val_logits=predictions.val_logits if has_val else None,
        val_labels=predictions.val_labels if has_val else None,
        fingerprint=predictions.test_fingerprint,
    )


def read_human_counts(path: Path, num_images: int, num_classes: int) -> Array:
    """Read how many people named which class: float64 [N, C] from a `.npy` file.

    Raises:
        UsageError: there is no such file, or it is no `.npy`.
        DataError: damaged, of another shape, or no counts.
    """
    if path.suffix != ".npy":
        raise UsageError(f"cannot read human judgements from '{path}': give a .npy file of counts")
    (counts,) = read_arrays(path).values()
    try:
        check_counts(counts, num_images)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    if counts.shape[1] != num_classes:
        raise DataError(f"{path}: judges {counts.shape[1]} classes, but the predictions know {num_classes}")
    return counts.astype(np.float64)


def _read_run(run_dir: Path) -> PredictionSet:
    record = read_record(run_dir)
    if record is None:
        raise UsageError(
            f"no finished run in '{run_dir}': name one run folder, such as runs/be8502089858, or a file"
        )
    if record.status == "failed":
        raise UsageError(f"the run in '{run_dir}' failed and left no predictions")
    if record.data is None or record.num_val_images is None:
        raise DataError(f"{record_path(run_dir)}: says finished, but lacks its data")
    cell = record.cell
    name = f"{cell.model} / {cell.augmentation}, seed {cell.seed}, cell {record.cell_id}"
    return replace(from_run(name, run_dir, read_predictions(run_dir, record)), league=cell.league)


def _prediction_set(path: Path, name: str, arrays: dict[str, Array], labels: Array) -> PredictionSet:
    known, scores = _scores(path, arrays, len(labels))
    classes = arrays.get("classes")
    if scores is None and classes is None:
        raise DataError(
            f"{path}: holds neither logits nor probs nor classes, but {sorted(arrays) or 'nothing'}"
        )
    if classes is not None:
        classes = indices_of(path, "classes", classes)
        if len(classes) != len(labels):
            raise DataError(f"{path}: {len(classes):,} predictions for {len(labels):,} labels")
        if scores is not None and not _are_largest(classes, scores):
            raise DataError(f"{path}: its classes are not those of the largest {known}")
    names = arrays.get("class_names")
    if scores is not None:
        classes = scores.argmax(axis=1) if classes is None else classes
        num_classes = scores.shape[1]
    else:
        num_classes = int(labels.max()) + 1 if names is None else names.size
    assert classes is not None
    for what, indices in (("labels", labels), ("classes", classes)):
        if indices.max() >= num_classes:
            raise DataError(f"{path}: {what} up to {indices.max()}, but there are only {num_classes} classes")
    return PredictionSet(
        name=name,
        run_dir=None,
        known=known,
        classes=classes,
        labels=labels,
        class_names=class_names_of(path, names, num_classes),
        scores=scores,
        fingerprint=fingerprint_of(path, arrays.get("test_fingerprint")),
    )


def _scores(path: Path, arrays: dict[str, Array], num_images: int) -> tuple[Known, Array | None]:
    """What the most telling array of the file is, checked, and the array."""
    logits, probs = arrays.get("logits"), arrays.get("probs")
    if "matrix" in arrays:
        if _looks_like_probabilities(arrays["matrix"]):
            probs = arrays["matrix"]
        else:
            logits = arrays["matrix"]
    for name, array in (("logits", logits), ("probs", probs)):
        if array is not None:
            _check_matrix(path, name, array, num_images)
    if probs is not None:
        _check_probabilities(path, probs)
    if logits is None:
        return ("classes", None) if probs is None else ("probabilities", probs)
    if probs is not None:
        if probs.shape != logits.shape:
            raise DataError(f"{path}: logits {logits.shape} and probs {probs.shape} differ in shape")
        if not (np.abs(from_logits(logits).probs - probs) <= SUM_TOLERANCE).all():
            raise DataError(f"{path}: its probs are not the softmax of its logits")
    return "logits", logits


def _check_matrix(path: Path, name: str, array: Array, num_images: int) -> None:
    if array.dtype.kind != "f" or array.ndim != 2 or not 2 <= array.shape[1] <= MAX_CLASSES:
        raise DataError(f"{path}: {name} is {array.dtype} {array.shape}, not numbers by image and class")
    if len(array) != num_images:
        raise DataError(f"{path}: {len(array):,} predictions for {num_images:,} labels")
    if not np.isfinite(array).all():
        raise DataError(f"{path}: {name} holds values that are not finite (NaN or infinite)")


def _check_probabilities(path: Path, probs: Array) -> None:
    if (probs < 0).any():
        raise DataError(f"{path}: probs holds negative values")
    furthest = float(np.abs(probs.sum(axis=1, dtype=np.float64) - 1).max())
    if furthest > SUM_TOLERANCE:
        raise DataError(f"{path}: probs of an image do not sum to 1, but are {furthest:.3g} away from it")


def _are_largest(classes: Array, scores: Array) -> bool:
    """Whether no class of an image has a higher score than the one in `classes`."""
    if classes.max() >= scores.shape[1]:
        return False
    return bool((scores[np.arange(len(classes)), classes] == scores.max(axis=1)).all())


def _looks_like_probabilities(matrix: Array) -> bool:
    if matrix.dtype.kind != "f" or matrix.ndim != 2 or not ((matrix >= 0) & (matrix <= 1)).all():
        return False
    return bool((np.abs(matrix.sum(axis=1, dtype=np.float64) - 1) <= SUM_TOLERANCE).all())
