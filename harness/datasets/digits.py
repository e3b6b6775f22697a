"""scikit-learn's 1,797 real images of handwritten digits: a data set that needs no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

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
    table = np.loadtxt(_path(), delimiter=",")
    grey = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / _WHITEST)).astype(np.uint8)
    rgb = np.repeat(grey[:, None], 3, axis=1)
    images = np.ascontiguousarray(np.concatenate(list(resize_blocks(rgb, image_size))))
    labels = table[:, -1].astype(np.int64)
    train, test = stratified_split(labels, _TEST_FRACTION, salt="digits-test")
    return make_dataset(
        name="digits",
        source="sklearn.datasets.load_digits",
        train=ImageSet(images[train], labels[train]),
        test=ImageSet(images[test], labels[test]),
        class_names=tuple("0123456789"),
        official=True,
        notes=(f"8x8 images resized to {image_size}x{image_size}; a fixed stratified 80/20 split",),
    )


def _path() -> Path:
    """The file that `sklearn.datasets.load_digits` reads; scikit-learn itself takes seconds to import."""
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
