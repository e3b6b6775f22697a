"""What a data set is to the rest of the harness: arrays, names and a fingerprint. No torch here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

Images = np.ndarray[Any, np.dtype[np.uint8]]
Labels = np.ndarray[Any, np.dtype[np.int64]]


class DataProvenance(BaseModel):
    """Which images a run used, kept in its record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    """Kind of data set: cifar10, digits, imagefolder."""

    source: str
    """Folder, archive or package that the images were read from."""

    official: bool
    """Whether these are byte for byte the published data set."""

    notes: tuple[str, ...]
    """What a reader must know, such as how the files differ from the published ones."""

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    """Channels, height, width."""

    num_train_images: int
    """Training images before the validation split is taken out."""

    num_test_images: int
    fingerprint: str
    """sha256 over train and test; rows with different fingerprints are never compared silently."""

    train_fingerprint: str
    test_fingerprint: str


@dataclass(frozen=True)
class ImageSet:
    """Labelled images in a fixed order."""

    images: Images
    """uint8, [N, 3, H, W], RGB; may be memory-mapped."""

    labels: Labels
    """int64, [N], indices into the class names."""

    def fingerprint(self) -> str:
        """sha256 (hex) of shape, pixels and labels: equal exactly when the data are equal."""
        digest = hashlib.sha256(b"verdict-images-1")
        digest.update(np.asarray(self.images.shape, dtype="<i8").tobytes())
        for start in range(0, len(self.images), 4096):
            digest.update(np.ascontiguousarray(self.images[start : start + 4096]).data)
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """Train and test images of one data set, and where they came from."""

    train: ImageSet
    test: ImageSet
    provenance: DataProvenance

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the label indices."""
        return self.provenance.class_names


def make_dataset(
    name: str,
    source: str,
    train: ImageSet,
    test: ImageSet,
    class_names: tuple[str, ...],
    official: bool,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """Build a `Dataset`, taking its fingerprints from the arrays themselves.

    Args:
        name: kind of data set, such as `cifar10`.
        source: folder, archive or package that the images were read from.
        train: training images, validation images included.
        test: test images.
        class_names: one name for each label index.
        official: whether these are byte for byte the published data set.
        notes: what a reader of the record must know about the data.
    """
    train_fingerprint, test_fingerprint = train.fingerprint(), test.fingerprint()
    whole = hashlib.sha256((train_fingerprint + test_fingerprint).encode()).hexdigest()
    provenance = DataProvenance(
        dataset=name,
        source=source,
        official=official,
        notes=notes,
        class_names=class_names,
        image_shape=train.images.shape[1:],
        num_train_images=len(train.images),
        num_test_images=len(test.images),
        fingerprint=whole,
        train_fingerprint=train_fingerprint,
        test_fingerprint=test_fingerprint,
    )
    return Dataset(train, test, provenance)
