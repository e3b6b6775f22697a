"""A vendor's predictions in `.npy` and `.npz` files.

| file    | what it may hold                                                                          |
|---------|-------------------------------------------------------------------------------------------|
| `.npy`  | [N] class indices or names; [N, C] probabilities                                          |
| `.npz`  | `probs` or `probabilities` [N, C], `logits` [N, C], `classes` or `predictions` [N]; where |
|         | images are keyed, `images`, `ids` or `index` [N]; where labels are stated, `labels` [N]   |

Columns of a matrix are in the order of the classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.errors import DataError
from results.audit.answers import Answers
from results.audit.images import AskedImages
from results.audit.npy import read_npy, read_npz
from results.calibration import from_logits
from results.metrics import Array
from results.predictions import SUM_TOLERANCE
from results.store import one_line

_NAMES = {
    "probs": ("probs", "probabilities"),
    "logits": ("logits",),
    "classes": ("classes", "predictions"),
    "keys": ("images", "ids", "index"),
    "labels": ("labels",),
}


def read_array_file(path: Path, asked: AskedImages, answers: Answers) -> None:
    """Add every answer of a `.npy` or `.npz` file.

    Raises:
        UsageError: there is no such file.
        DataError: damaged, of another shape, or answers that are unclear or impossible.
    """
    if path.suffix.lower() == ".npy":
        array = read_npy(path)
        arrays = {"probs" if array.ndim == 2 else "classes": array}
    else:
        arrays = _by_role(path, read_npz(path))
    num_images, num_classes = len(asked.labels), len(asked.class_names)
    for role, array in arrays.items():
        expected = (num_images, num_classes) if role in ("probs", "logits") else (num_images,)
        if array.shape != expected:
            raise DataError(f"{path}: {role} has the shape {array.shape}, not {expected}")
        kinds = "f" if len(expected) == 2 else "iuU"
        if array.dtype.kind not in kinds:
            wanted = "floats" if kinds == "f" else "integers or text"
            raise DataError(f"{path}: {role} holds {array.dtype}: expected {wanted}")
    labels = arrays.pop("labels", None)
    if labels is not None and not np.array_equal(labels, asked.labels):
        raise DataError(f"{path}: its labels are not those of {asked.source}")
    logits, probs = arrays.get("logits"), arrays.get("probs")
    if logits is not None and probs is not None:
        _check_same(path, logits, arrays.pop("probs"))
    _add_rows(path, arrays, answers)


def _by_role(path: Path, arrays: dict[str, Array]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for role, names in _NAMES.items():
        there = [name for name in names if name in arrays]
        if len(there) > 1:
            raise DataError(f"{path}: holds both '{there[0]}' and '{there[1]}': leave one out")
        if there:
            found[role] = arrays[there[0]]
    if not found.keys() & {"probs", "logits", "classes"}:
        there = [one_line(name, 40) for name in sorted(arrays)[:10]]
        raise DataError(
            f"{path}: holds neither probs nor logits nor classes, but {', '.join(there) or 'nothing'}"
        )
    return found


def _check_same(path: Path, logits: Array, probs: Array) -> None:
    if not np.isfinite(logits).all():
        return  # refused with its place where the answers are taken
    far = ~(np.abs(from_logits(logits).probs - probs) <= SUM_TOLERANCE).all(axis=1)  # NaN is far
    if far.any():
        raise DataError(f"{path}: row {int(far.argmax())}: its probs are not the softmax of its logits")


def _add_rows(path: Path, arrays: dict[str, Array], answers: Answers) -> None:
    probs, logits = arrays.get("probs"), arrays.get("logits")
    keys, classes = _values(arrays.get("keys")), _values(arrays.get("classes"))
    for row in range(len(next(iter(arrays.values())))):
        answers.add(
            f"{path}: row {row}",
            None if keys is None else keys[row],
            predicted=None if classes is None else classes[row],
            probs=None if probs is None else probs[row],
            logits=None if logits is None else logits[row],
        )


def _values(array: Array | None) -> list[object] | None:
    return None if array is None else array.tolist()
