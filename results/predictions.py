"""Predictions of any origin as one value: a run of ours, a published model, a vendor's file.

    read_prediction_set(Path("runs/be8502089858"))                       # a run folder
    read_prediction_set(Path("wrn_28_10.json"), Path("labels.npy"))      # a list of classes
    read_prediction_set(Path("vgg_15_BN_64.npz"))                        # logits and labels in one file

| file    | what it may hold                                                                     |
|---------|--------------------------------------------------------------------------------------|
| `.json` | a list with the class index of every image                                           |
| `.npy`  | the same; or a matrix [N, C] of probabilities or logits                              |
| `.npz`  | one or more of `logits` [N, C], `probs` [N, C], `classes` [N]; perhaps `labels` [N]  |

A matrix whose values are from 0 to 1 and whose rows sum to 1 is read as probabilities, any other as logits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.errors import DataError, UsageError
from harness.record import read_record, record_path
from results.calibration import Distributions, from_logits, from_probabilities
from results.human import check_counts
from results.metrics import Array
from results.store import Predictions, one_line, read_predictions

Known = Literal["classes", "probabilities", "logits"]

SUM_TOLERANCE = 1e-3
"""How far probabilities of an image may be from a sum of 1: what rounding to four digits leaves."""


MAX_CLASSES = 5000
"""A class index beyond is taken for a damaged file; the confusions of so many take 200 MB."""


@dataclass(frozen=True)
class PredictionSet:
    """What a model said about N test images, as far as it is known, and what is right."""

    name: str
    """Of the run or file, on one line."""

    run_dir: Path | None
    """None for a file."""

    known: Known
    classes: Array
    """int64 [N]; the lowest index where scores are equal."""

    labels: Array
    """int64 [N]."""

    class_names: tuple[str, ...]
    """C names; the indices where none are known."""

    scores: Array | None
    """[N, C], logits or probabilities as they were read; None where only classes are known."""

    val_logits: Array | None = None
    """[V, C], of held-out training images; None where there are none."""

    val_labels: Array | None = None

    def distributions(self) -> Distributions | None:
        """The model's distribution over the classes for each image; None where only classes are known."""
        if self.scores is None:
            return None
        return from_logits(self.scores) if self.known == "logits" else from_probabilities(self.scores)


def read_prediction_set(path: Path, labels_path: Path | None = None) -> PredictionSet:
    """Read the predictions of a run folder or a file; see the table above.

    Args:
        path: a run folder, its `predictions.npz`, or a file of another origin.
        labels_path: `.npy` or `.json` with the class index of every image; runs hold their own.

    Raises:
        UsageError: there is no such file, its kind is unknown, or labels are missing or given in vain.
        DataError: damaged, wrong length, values that are not finite, no classes, or no probabilities.
    """
    if path.name == "predictions.npz" and record_path(path.parent).exists():
        path = path.parent
    if path.is_dir():
        if labels_path is not None:
            raise UsageError(f"'{path}' is a run and holds its own labels: leave out --labels")
        return _read_run(path)
    arrays = _read_file(path)
    labels = _read_labels(path, arrays.pop("labels", None), labels_path)
    return _prediction_set(path, arrays, labels)


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
    )


def read_human_counts(path: Path, num_images: int, num_classes: int) -> Array:
    """Read how many people named which class: float64 [N, C] from a `.npy` file.

    Raises:
        UsageError: there is no such file, or it is no `.npy`.
        DataError: damaged, of another shape, or no counts.
    """
    if path.suffix != ".npy":
        raise UsageError(f"cannot read human judgements from '{path}': give a .npy file of counts")
    (counts,) = _read_file(path).values()
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
    return from_run(name, run_dir, read_predictions(run_dir, record))


def _read_file(path: Path) -> dict[str, Array]:
    """The arrays of a file by name; `classes` or `matrix` where the file does not name them."""
    try:
        if path.suffix == ".json":
            return {"classes": _class_list(json.loads(path.read_text(encoding="utf-8")))}
        if path.suffix == ".npy":
            with path.open("rb") as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
            return {"classes" if array.ndim == 1 else "matrix": array}
        if path.suffix == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
    except FileNotFoundError:
        raise UsageError(f"cannot read '{path}': there is no such file") from None
    except Exception as error:
        # json, numpy and zipfile meet damaged bytes with a dozen unrelated types of error.
        raise DataError(f"{path}: cannot be read: {one_line(str(error), 200)}") from error
    raise UsageError(f"cannot read '{path}': give a run folder, or a file named .json, .npy or .npz")


def _class_list(content: Any) -> Array:
    if not isinstance(content, list) or not all(type(item) is int for item in content):
        raise ValueError("not a list of class indices")
    return np.array(content, np.int64)


def _read_labels(path: Path, own: Array | None, labels_path: Path | None) -> Array:
    if own is None and labels_path is None:
        raise UsageError(f"'{path}' holds no labels: give them with --labels FILE.npy")
    if labels_path is None:
        assert own is not None
        return _indices(path, "labels", own)
    named = _read_file(labels_path)
    given = named.get("labels", named.get("classes"))
    if given is None:
        raise DataError(f"{labels_path}: holds no list of labels")
    labels = _indices(labels_path, "labels", given)
    if own is not None and not np.array_equal(own, labels):
        raise DataError(f"{path}: its own labels are not those of {labels_path}")
    return labels


def _prediction_set(path: Path, arrays: dict[str, Array], labels: Array) -> PredictionSet:
    known, scores = _scores(path, arrays, len(labels))
    classes = arrays.get("classes")
    if scores is None and classes is None:
        raise DataError(
            f"{path}: holds neither logits nor probs nor classes, but {sorted(arrays) or 'nothing'}"
        )
    if classes is not None:
        classes = _indices(path, "classes", classes)
        if len(classes) != len(labels):
            raise DataError(f"{path}: {len(classes):,} predictions for {len(labels):,} labels")
        if scores is not None and not np.array_equal(classes, scores.argmax(axis=1)):
            raise DataError(f"{path}: its classes are not those of the largest {known}")
    if scores is not None:
        classes = scores.argmax(axis=1)
    assert classes is not None
    num_classes = int(labels.max()) + 1 if scores is None else scores.shape[1]
    for what, indices in (("labels", labels), ("classes", classes)):
        if indices.max() >= num_classes:
            raise DataError(f"{path}: {what} up to {indices.max()}, but there are only {num_classes} classes")
    names = tuple(str(index) for index in range(num_classes))
    return PredictionSet(one_line(path.name), None, known, classes, labels, names, scores)


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


def _looks_like_probabilities(matrix: Array) -> bool:
    if matrix.dtype.kind != "f" or matrix.ndim != 2 or not ((matrix >= 0) & (matrix <= 1)).all():
        return False
    return bool((np.abs(matrix.sum(axis=1, dtype=np.float64) - 1) <= SUM_TOLERANCE).all())


def _indices(path: Path, what: str, array: Array) -> Array:
    if array.dtype.kind not in "iu" or array.ndim != 1 or not array.size:
        raise DataError(f"{path}: {what} are {array.dtype} {array.shape}, not a list of class indices")
    indices = array.astype(np.int64)
    if indices.min() < 0 or indices.max() >= MAX_CLASSES:
        raise DataError(f"{path}: {what} holds class indices outside of 0 to {MAX_CLASSES - 1:,}")
    return indices
