"""Splits that are the same on every machine: by class, in proportion, from hashes instead of a generator.

rest, held_out = stratified_split(labels, 0.1)
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from harness.datasets.base import Labels
from harness.errors import DataError


def stratified_split(labels: Labels, fraction: float, salt: str = "validation") -> tuple[Labels, Labels]:
    """Split the indices of `labels` into (rest, held out), both sorted.

    Exactly `round(fraction * len(labels))` images are held out, from every class in proportion, with
    at least one on either side. Which ones depends on `labels`, `fraction` and `salt` alone: images of
    a class are ranked by the SHA-256 of their place in it, so no version of a random generator counts.

    Args:
        labels: class index of every image.
        fraction: share to hold out, from 0 (nothing) to below 1.
        salt: splits with different salts are independent of each other.

    Raises:
        DataError: a class is too small, or the share too small or too large for the number of classes.
    """
    num_held_out = round(fraction * len(labels))
    everything = np.arange(len(labels), dtype=np.int64)
    if fraction == 0:
        return everything, everything[:0]
    classes, sizes = np.unique(labels, return_counts=True)
    _check_room(classes.tolist(), sizes.tolist(), fraction, num_held_out)
    shares = _shares(sizes.tolist(), fraction, num_held_out)
    held_out = np.zeros(len(labels), dtype=bool)
    for label, size, share in zip(classes.tolist(), sizes.tolist(), shares, strict=True):
        ranking = sorted(range(size), key=lambda place: _rank(salt, label, place))
        held_out[np.flatnonzero(labels == label)[ranking[:share]]] = True
    return everything[~held_out], everything[held_out]


def _rank(salt: str, label: int, place: int) -> bytes:
    return hashlib.sha256(f"verdict-split-1/{salt}/{label}/{place}".encode()).digest()


def _check_room(classes: Sequence[int], sizes: Sequence[int], fraction: float, num_held_out: int) -> None:
    """Make sure that every class can have an image on either side."""
    for label, size in zip(classes, sizes, strict=True):
        if size < 2:
            raise DataError(
                f"class {label} has 1 image: it cannot be both kept and held out; add images or leave it out"
            )
    if not len(classes) <= num_held_out <= sum(sizes) - len(classes):
        raise DataError(
            f"holding out {fraction:g} of {sum(sizes):,} images makes {num_held_out:,}: one side has too few "
            f"for an image of each of the {len(classes)} classes; choose another share or add images"
        )


def _shares(sizes: Sequence[int], fraction: float, total: int) -> list[int]:
    """How many images of each class to hold out: the method of the largest remainder, at least 1 a side."""
    exact = [fraction * size for size in sizes]
    shares = [min(max(1, math.floor(quota)), size - 1) for quota, size in zip(exact, sizes, strict=True)]
    while sum(shares) < total:
        room = [i for i, size in enumerate(sizes) if shares[i] < size - 1]
        shares[max(room, key=lambda i: exact[i] - shares[i])] += 1
    while sum(shares) > total:
        spare = [i for i, share in enumerate(shares) if share > 1]
        shares[min(spare, key=lambda i: exact[i] - shares[i])] -= 1
    return shares
