"""The file of what a model answered to changed images, read and checked: `robustness.npz` of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import DataError
from harness.record import Record
from harness.settings import ROBUSTNESS
from results.store import check_arrays, damage_words

Arrays = dict[str, np.ndarray[Any, Any]]

FORMAT = 1

CHANGE_GROUPS = ("shift", "flip", "brightness")
"""First words of the names of what should change nothing."""

_ALWAYS = {
    "level",
    "test_fingerprint",
    "labels",
    "corruption_names",
    "corruption_is_main",
    "severities",
    "frost_source",
    "change_names",
}


def read_arrays(path: Path, record: Record) -> Arrays | None:
    """The arrays of the file, which fit each other and the record; None where there is no file.

    Raises:
        DataError: it is damaged, of another version, or about other images than the record.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        check_arrays(arrays)
    except FileNotFoundError:
        return None
    except Exception as error:
        # numpy and zipfile meet damaged bytes with a dozen unrelated types of error.
        raise DataError(
            f"{path}: cannot be read ({damage_words(error)}): delete it and measure again"
        ) from error
    problem = _whole_problem(arrays, record) or _array_problem(arrays, record)
    if problem:
        raise DataError(f"{path}: {problem}: delete it and measure again")
    return arrays


def _whole_problem(arrays: Arrays, record: Record) -> str | None:
    """What is wrong with the file as a whole."""
    if "format" not in arrays or arrays["format"].tolist() != FORMAT:
        return "not a file that this version of Verdict wrote"
    missing = _ALWAYS - arrays.keys()
    if missing:
        return f"there is no array '{min(missing)}'"
    if str(arrays["level"]) not in ROBUSTNESS[1:]:
        return f"is of level '{arrays['level']}', which there is not"
    if record.data is None or str(arrays["test_fingerprint"]) != record.data.test_fingerprint:
        return "is about other test images than the record: the fingerprints differ"
    if any(arrays[name].ndim != 1 or not len(arrays[name]) for name in _ALWAYS if name.endswith("s")):
        return "holds nothing, or lists that are none"
    groups = {str(name).partition(" ")[0] for name in arrays["change_names"].tolist()}
    if not groups.issuperset(CHANGE_GROUPS):
        return f"lacks some of {', '.join(CHANGE_GROUPS)}"
    if not arrays["corruption_is_main"].any():
        return "holds none of the main corruptions"
    return None


def _array_problem(arrays: Arrays, record: Record) -> str | None:
    """What is missing of the answers, has the wrong shape or impossible values."""
    assert record.data is not None
    num_classes = len(record.data.class_names)
    for name, shape in _shapes(arrays).items():
        if name not in arrays:
            return f"there is no array '{name}'"
        array = arrays[name]
        if array.shape != shape:
            return f"{name} has the shape {array.shape}, not {shape}"
        if name.endswith(("predicted", "labels")) and not _are_classes(array, num_classes):
            return f"{name} holds classes outside of 0 to {num_classes - 1}"
        if name.endswith("confidence") and not _are_probabilities(array):
            return f"{name} holds values that are no probabilities"
    return None


def _shapes(arrays: Arrays) -> dict[str, tuple[int, ...]]:
    """The shape of every array that must be there, by its name."""

    def length(name: str) -> int:
        return len(np.atleast_1d(arrays.get(name, np.zeros(0))))

    n, k = length("labels"), length("corruption_names")
    shapes: dict[str, tuple[int, ...]] = {"labels": (n,), "indices": (n,), "corruption_is_main": (k,)}
    shapes |= _answers("clean", n)
    shapes |= _answers("corrupted", k, length("severities"), n)
    shapes |= _answers("changed", length("change_names"), n)
    if "attacks_unavailable" not in arrays:
        m = length("attacked_labels")
        shapes |= {"attacked_labels": (m,), "attacked_indices": (m,)}
        for kind in ("clean", "fgsm", "pgd"):
            shapes |= _answers(f"attacked_{kind}", m)
    if "cifar10_c_names" in arrays:
        k, n = length("cifar10_c_names"), length("cifar10_c_labels")
        shapes |= {"cifar10_c_labels": (n,), "cifar10_c_is_main": (k,)}
        shapes |= _answers("cifar10_c", k, length("cifar10_c_severities"), n)
    if "cifar10_1_version" in arrays:
        n = length("cifar10_1_labels")
        shapes |= {"cifar10_1_labels": (n,)} | _answers("cifar10_1", n)
    return shapes


def _answers(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}_predicted": shape, f"{name}_confidence": shape}


def _are_classes(array: np.ndarray[Any, Any], num_classes: int) -> bool:
    return array.dtype.kind in "iu" and bool(((array >= 0) & (array < num_classes)).all())


def _are_probabilities(array: np.ndarray[Any, Any]) -> bool:
    return array.dtype.kind == "f" and bool(((array >= 0) & (array <= 1)).all())
