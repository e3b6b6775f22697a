from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.datasets.base import Labels
from harness.datasets.splits import stratified_split
from harness.errors import DataError


def labels_of(sizes: list[int]) -> Labels:
    """Labels with `sizes[c]` images of class c, in an order that mixes the classes."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int64)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=8), st.floats(0.02, 0.98))
def test_every_image_is_on_one_side_and_the_total_is_as_asked(sizes: list[int], fraction: float) -> None:
    labels = labels_of(sizes)
    total = round(fraction * len(labels))
    if not len(sizes) <= total <= len(labels) - len(sizes):
        with pytest.raises(DataError, match="classes"):
            stratified_split(labels, fraction)
        return
    rest, held_out = stratified_split(labels, fraction)
    assert np.array_equal(np.sort(np.concatenate([rest, held_out])), np.arange(len(labels)))
    assert len(held_out) == total
    for side in (rest, held_out):
        assert side.dtype == np.int64
        assert np.array_equal(side, np.sort(side))
        assert np.array_equal(np.unique(labels[side]), np.arange(len(sizes)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(20, 60), min_size=1, max_size=8), st.floats(0.1, 0.9))
def test_classes_are_held_out_in_proportion(sizes: list[int], fraction: float) -> None:
    labels = labels_of(sizes)
    _, held_out = stratified_split(labels, fraction)
    counts = np.bincount(labels[held_out], minlength=len(sizes))
    assert np.all(np.abs(counts - fraction * np.array(sizes)) < 1)


def test_the_largest_remainders_get_the_images_that_are_left_over() -> None:
    # Quotas 2.5, 3.25, 4.25 of a total of 10: one image is left over after rounding down.
    labels = labels_of([10, 13, 17])
    _, held_out = stratified_split(labels, 0.25)
    assert np.bincount(labels[held_out]).tolist() == [3, 3, 4]


def test_a_small_class_takes_its_image_from_the_classes_with_most_to_spare() -> None:
    labels = labels_of([2, 100, 100])
    rest, held_out = stratified_split(labels, 0.1)
    assert np.bincount(labels[held_out]).tolist() == [1, 9, 10]
    assert np.bincount(labels[rest]).tolist() == [1, 91, 90]


def test_the_split_never_changes() -> None:
    _, held_out = stratified_split(np.arange(40, dtype=np.int64) % 4, 0.25)
    assert held_out.tolist() == [2, 4, 6, 9, 11, 19, 24, 29, 32, 33]


def test_the_images_held_out_of_a_class_do_not_depend_on_where_other_classes_lie() -> None:
    together, mixed = np.repeat(np.arange(3), 20).astype(np.int64), np.tile(np.arange(3), 20).astype(np.int64)
    for label in range(3):
        places = []
        for labels in (together, mixed):
            held_out = stratified_split(labels, 0.3)[1]
            places.append(np.flatnonzero(np.isin(np.flatnonzero(labels == label), held_out)))
        assert np.array_equal(places[0], places[1])


def test_splits_with_different_salts_are_independent() -> None:
    labels = labels_of([1000, 1000])
    first, second = (stratified_split(labels, 0.5, salt=salt)[1] for salt in ("validation", "digits-test"))
    # Of 1,000 held-out images, 500 +- 16 are expected in both.
    assert 420 < len(np.intersect1d(first, second)) < 580


def test_nothing_is_held_out_for_fraction_zero() -> None:
    rest, held_out = stratified_split(np.zeros(1, dtype=np.int64), 0)
    assert rest.tolist() == [0]
    assert held_out.tolist() == []
    assert held_out.dtype == np.int64


def test_a_class_of_one_image_is_refused() -> None:
    with pytest.raises(DataError, match="class 1 has 1 image"):
        stratified_split(labels_of([10, 1]), 0.5)


def test_a_share_too_small_for_the_number_of_classes_is_refused() -> None:
    with pytest.raises(DataError, match=r"holding out 0\.01 of 200 images makes 2"):
        stratified_split(labels_of([20] * 10), 0.01)
