"""The arrays of a file with predictions or labels, each checked to be what its name says.

arrays = read_arrays(Path("vgg_15_BN_64.npz"))
labels = read_labels(path, arrays.pop("labels", None), labels_path=None)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import DataError, UsageError
from results.metrics import Array
from results.store import damage_words, one_line

MAX_CLASSES = 5000
"""A class index beyond is taken for a damaged file; the confusions of so many take 200 MB."""


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of a file by name; `classes` or `matrix` where the file does not name them.

    Raises:
        UsageError: there is no such file, or its kind is unknown.
        DataError: damaged.
    """
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
        raise DataError(f"{path}: cannot be read: {one_line(damage_words(error), 200)}") from error
    raise UsageError(f"cannot read '{path}': give a run folder, or a file named .json, .npy or .npz")


def read_labels(path: Path, own: Array | None, labels_path: Path | None) -> Array:
    """The true class of every image, from the file itself or from `labels_path`: int64 [N].

    Raises:
        UsageError: neither has labels.
        DataError: damaged, or the two disagree.
    """
    if own is None and labels_path is None:
        raise UsageError(f"'{path}' holds no labels: give them with --labels FILE.npy")
    if labels_path is None:
        assert own is not None
        return indices_of(path, "labels", own)
    named = read_arrays(labels_path)
    given = named.get("labels", named.get("classes"))
    if given is None:
        raise DataError(f"{labels_path}: holds no list of labels")
    labels = indices_of(labels_path, "labels", given)
    if own is not None and not np.array_equal(own, labels):
        raise DataError(f"{path}: its own labels are not those of {labels_path}")
    return labels


def class_names_of(path: Path, given: Array | None, num_classes: int) -> tuple[str, ...]:
    """The names of all classes; their indices where none are given.

    Raises:
        DataError: not one text for each class.
    """
    if given is None:
        return numbered(num_classes)
    if given.dtype.kind != "U" or given.shape != (num_classes,):
        raise DataError(f"{path}: class_names is {given.dtype} {given.shape}, not {num_classes} names")
    return tuple(given.tolist())


def fingerprint_of(path: Path, given: Array | None) -> str | None:
    """The hash of the test images, where the file gives one.

    Raises:
        DataError: not a text.
    """
    if given is None:
        return None
    if given.dtype.kind != "U" or given.shape != ():
        raise DataError(f"{path}: test_fingerprint is {given.dtype} {given.shape}, not a text")
    return str(given)


def numbered(num_classes: int) -> tuple[str, ...]:
    """The names of classes that are only known by their indices."""
    return tuple(str(index) for index in range(num_classes))


def indices_of(path: Path, what: str, array: Array) -> Array:
    """A list of class indices as int64 [N].

    Raises:
        DataError: not a list of integers, empty, or outside of 0 to `MAX_CLASSES`.
    """
    if array.dtype.kind not in "iu" or array.ndim != 1 or not array.size:
        raise DataError(f"{path}: {what} are {array.dtype} {array.shape}, not a list of class indices")
    indices = array.astype(np.int64)
    if indices.min() < 0 or indices.max() >= MAX_CLASSES:
        raise DataError(f"{path}: {what} holds class indices outside of 0 to {MAX_CLASSES - 1:,}")
    return indices


def _class_list(content: Any) -> Array:
    if not isinstance(content, list) or not all(type(item) is int for item in content):
        raise ValueError("not a list of class indices")
    return np.array(content, np.int64)
