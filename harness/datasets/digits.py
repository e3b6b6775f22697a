"""scikit-learn's 1,797 real images of handwritten digits: a data set that needs no download."""

from __future__ import annotations

import numpy as np

from harness.datasets.base import Dataset, ImageSet, make_dataset
from harness.datasets.decode import resize_blocks
from harness.datasets.splits import stratified_split

_TEST_FRACTION = 0.2
_WHITEST = 16


def load_digits(image_size: int) -> Dataset:
    """Load the digits, split into 80% train and 20% test, in the order of scikit-learn within each.

    The grey 8x8 images with values 0 to 16 become RGB with values 0 to 255, resized to `image_size`.
    """
    from sklearn import datasets

    bunch = datasets.load_digits()
    grey = np.rint(bunch.images * (255 / _WHITEST)).astype(np.uint8)
    rgb = np.repeat(grey[:, None], 3, axis=1)
    images = np.ascontiguousarray(np.concatenate(list(resize_blocks(rgb, image_size))))
    labels = bunch.target.astype(np.int64)
    train, test = stratified_split(labels, _TEST_FRACTION, salt="digits-test")
    return make_dataset(
        name="digits",
        source="sklearn.datasets.load_digits",
        train=ImageSet(images[train], labels[train]),
        test=ImageSet(images[test], labels[test]),
        class_names=tuple(str(name) for name in bunch.target_names),
        official=True,
        notes=(f"8x8 images resized to {image_size}x{image_size}; a fixed stratified 80/20 split",),
    )
