from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits as sklearn_digits

from harness.datasets.digits import load_digits


def test_the_pixels_and_labels_are_those_of_scikit_learn() -> None:
    data = load_digits(image_size=8)
    bunch = sklearn_digits()
    drawn = zip(bunch.target, bunch.images.astype(int), strict=True)
    wanted = sorted((int(label), image.tobytes()) for label, image in drawn)
    images = np.concatenate([data.train.images, data.test.images])
    labels = np.concatenate([data.train.labels, data.test.labels])
    for channel in range(3):
        values = np.rint(images[:, channel] / 255 * 16).astype(int)
        found = zip(labels, values, strict=True)
        assert sorted((int(label), image.tobytes()) for label, image in found) == wanted
    assert images.max() == 255
    assert images.min() == 0


def test_each_digit_is_split_eighty_to_twenty() -> None:
    data = load_digits(image_size=8)
    assert (len(data.train.labels), len(data.test.labels)) == (1438, 359)
    test, everything = np.bincount(data.test.labels), np.bincount(sklearn_digits().target)
    assert np.all(np.abs(test - 0.2 * everything) < 1)
    assert data.provenance.official
    assert data.class_names == tuple("0123456789")


def test_images_are_resized_to_what_is_asked_for() -> None:
    data = load_digits(image_size=32)
    assert data.train.images.shape == (1438, 3, 32, 32)
    assert data.train.images.dtype == np.uint8
    small = load_digits(image_size=8).train.images.astype(float)
    # Enlarging keeps the mean brightness of an image, up to what the border repeats.
    assert np.corrcoef(data.train.images.mean((1, 2, 3)), small.mean((1, 2, 3)))[0, 1] > 0.98


def test_two_loads_are_the_same_data() -> None:
    assert load_digits(16).provenance == load_digits(16).provenance
