"""The test images that a vendor is asked about, and what is right: a data set, or a file of labels.

load_test_images("cifar10", Path("data"), 32, allow_unofficial=False)
read_test_labels(Path("labels.npy"), class_names=None)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.datasets.base import Images, Labels
from harness.errors import DataError, UsageError
from results.audit.npy import read_npy
from results.audit.text import read_lines
from results.prediction_files import MAX_CLASSES
from results.store import one_line


@dataclass(frozen=True)
class AskedImages:
    """The N test images of an audit, in data set order."""

    source: str
    """The data set as it was named, or the name of the file of labels."""

    images: Images | None
    """uint8 [N, 3, H, W]; None where only labels are known."""

    labels: Labels
    """int64 [N], class indices."""

    class_names: tuple[str, ...]
    """C names; the indices where none are known."""

    test_fingerprint: str | None
    """That of a run's record; None where only labels are known."""

    official: bool = True
    """Whether they are the published files of their data set, as far as that can be known."""

    notes: tuple[str, ...] = ()
    """What a reader of the result must know about the images."""

    @property
    def labels_sha256(self) -> str:
        """Of the labels alone, which are known whatever they were read from."""
        return hashlib.sha256(self.labels.astype("<i8").tobytes()).hexdigest()


def load_test_images(name: str, data_dir: Path, image_size: int, allow_unofficial: bool) -> AskedImages:
    """The test images of a data set; see `harness.datasets.registry.load_dataset`.

    Args:
        name: `cifar10`, `digits` or `imagefolder:PATH`.
        data_dir: where CIFAR-10 is, or is downloaded to.
        image_size: height and width of the images; `cifar10` keeps its 32x32.
        allow_unofficial: accept CIFAR-10 files that are not the published ones.

    Raises:
        UsageError: the name is not a data set.
        DataError: the data are missing, damaged or not the official ones.
        StorageError: the data folder or the cache cannot be written.
    """
    from harness.datasets.registry import load_dataset  # slow to load, and a file of labels needs none

    dataset = load_dataset(name, data_dir, image_size, allow_unofficial, quiet=False)
    provenance = dataset.provenance
    notes = provenance.notes if provenance.official else ("not the published files", *provenance.notes)
    return AskedImages(
        source=name,
        images=dataset.test.images,
        labels=dataset.test.labels,
        class_names=dataset.class_names,
        test_fingerprint=provenance.test_fingerprint,
        official=provenance.official,
        notes=notes,
    )


def read_test_labels(path: Path, class_names: Path | None) -> AskedImages:
    """The labels of N images from a `.npy` file: integers, one for each image.

    Args:
        path: the file.
        class_names: a text file with the name of each class on a line of its own, in the order of the
            label indices; None: classes are called by their indices.

    Raises:
        UsageError: there is no such file.
        DataError: it is damaged, or holds no class indices.
    """
    array = read_npy(path)
    if array.dtype.kind not in "iu" or array.ndim != 1 or not array.size:
        raise DataError(f"{path}: labels are {array.dtype} {array.shape}, not a list of class indices")
    labels = array.astype(np.int64)
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise DataError(f"{path}: holds class indices outside of 0 to {MAX_CLASSES - 1:,}")
    num_classes = max(2, int(labels.max()) + 1)
    names = [str(index) for index in range(num_classes)]
    if class_names is not None:
        names = read_lines(class_names, "class names")
        if len(names) < num_classes:
            raise DataError(
                f"{class_names}: names {len(names):,} classes, but labels go up to {num_classes - 1:,}"
            )
    return AskedImages(
        source=one_line(path.name),
        images=None,
        labels=labels,
        class_names=tuple(names),
        test_fingerprint=None,
        notes=("only the labels are known, not the images",),
    )


def choose_images(
    dataset: str | None,
    data_dir: Path,
    image_size: int,
    allow_unofficial: bool,
    labels: Path | None,
    class_names: Path | None,
) -> AskedImages:
    """The test images that the options of a command name.

    Raises:
        UsageError: neither or both of a data set and a file of labels, or names of classes in vain.
        DataError: what is named cannot be used.
    """
    if (dataset is None) == (labels is None):
        raise UsageError(
            "say which test images the vendor is scored on: --dataset cifar10, or --labels FILE.npy"
        )
    if labels is not None:
        return read_test_labels(labels, class_names)
    assert dataset is not None
    if class_names is not None:
        raise UsageError(f"--class-names: '{dataset}' names its own classes; the option goes with --labels")
    return load_test_images(dataset, data_dir, image_size, allow_unofficial)
