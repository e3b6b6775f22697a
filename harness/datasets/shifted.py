"""The published images that a CIFAR-10 model was not trained for: CIFAR-10-C and CIFAR-10.1, where they are.

    data_dir/CIFAR-10-C/    labels.npy and fog.npy, snow.npy, ...: uint8 [50000, 32, 32, 3], five severities
                            of 10,000 images each (Hendrycks & Dietterich 2019, arXiv 1903.12261)
    data_dir/CIFAR-10.1/    cifar10.1_v6_data.npy and cifar10.1_v6_labels.npy, or v4: new images, collected as
                            CIFAR-10's test images were (Recht et al. 2018, arXiv 1806.00451)

Both are read if present and never downloaded. Files stay on the disk and are read where they are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.corruptions.names import EXTRA, MAIN, SEVERITIES
from harness.datasets.base import Images, ImageSet, Labels
from harness.errors import DataError

CIFAR10_C = "CIFAR-10-C"
CIFAR10_1 = "CIFAR-10.1"
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""Of CIFAR-10, in the order of the label indices."""

NUM_SEVERITIES = len(SEVERITIES)
NUM_IMAGES = 10_000
VERSIONS = {"v6": 2000, "v4": 2021}
"""Of CIFAR-10.1, the one to prefer first, and their numbers of images."""

_PIXELS = (32, 32, 3)


@dataclass(frozen=True)
class Cifar10C:
    """A folder of CIFAR-10-C."""

    folder: Path
    names: tuple[str, ...]
    """Of the corruptions that are there, in the order of `MAIN` and `EXTRA`."""

    labels: Labels
    """int64 [10000]: those of CIFAR-10's test images, the same for each severity."""

    def images(self, name: str, severity: int) -> ImageSet:
        """The 10,000 images of one corruption and severity, 1 to 5, mapped from the disk.

        Raises:
            DataError: the file is damaged or has another shape.
        """
        assert severity in SEVERITIES, "severities are counted from 1"
        path = self.folder / f"{name}.npy"
        images = _images(path, NUM_SEVERITIES * NUM_IMAGES)
        return ImageSet(images[(severity - 1) * NUM_IMAGES : severity * NUM_IMAGES], self.labels)


def open_cifar10_c(data_dir: Path) -> Cifar10C | None:
    """The folder of CIFAR-10-C in `data_dir`, checked; None where there is none.

    Raises:
        DataError: labels are missing, or a file is damaged or has another shape, type or labels.
    """
    folder = data_dir / CIFAR10_C
    if not folder.is_dir():
        return None
    names = tuple(name for name in (*MAIN, *EXTRA) if (folder / f"{name}.npy").is_file())
    if not names:
        raise DataError(f"{folder}: none of its corruptions is there, such as fog.npy: unpack it again")
    for name in names:
        _images(folder / f"{name}.npy", NUM_SEVERITIES * NUM_IMAGES)
    path = folder / "labels.npy"
    labels = _labels(path, NUM_SEVERITIES * NUM_IMAGES).reshape(NUM_SEVERITIES, NUM_IMAGES)
    if not (labels == labels[0]).all():
        raise DataError(f"{path}: the labels of the five severities differ, so they are not CIFAR-10-C's")
    return Cifar10C(folder, names, labels[0])


@dataclass(frozen=True)
class Cifar101:
    """The images of CIFAR-10.1."""

    version: str
    images: ImageSet


def open_cifar10_1(data_dir: Path) -> Cifar101 | None:
    """CIFAR-10.1 in `data_dir`, version 6 if it is there, otherwise 4; None where there is neither.

    Raises:
        DataError: a file is missing or damaged, or has another shape, type or labels.
    """
    folder = data_dir / CIFAR10_1
    for version, num_images in VERSIONS.items():
        data, labels = (folder / f"cifar10.1_{version}_{what}.npy" for what in ("data", "labels"))
        if data.is_file() or labels.is_file():
            return Cifar101(version, ImageSet(_images(data, num_images), _labels(labels, num_images)))
    if folder.is_dir():
        raise DataError(f"{folder}: there is no cifar10.1_v6_data.npy in it, nor that of v4: unpack it again")
    return None


def _images(path: Path, num_images: int) -> Images:
    """uint8 [num_images, 3, 32, 32], mapped from the disk."""
    array = _read(path)
    if array.dtype != np.uint8 or array.shape != (num_images, *_PIXELS):
        expected = f"uint8 {(num_images, *_PIXELS)}"
        raise DataError(f"{path}: is {array.dtype} {array.shape}, not {expected} as published")
    return array.transpose(0, 3, 1, 2)


def _labels(path: Path, num_labels: int) -> Labels:
    """int64 [num_labels]."""
    array = _read(path)
    if array.dtype.kind not in "iu" or array.shape != (num_labels,):
        raise DataError(f"{path}: is {array.dtype} {array.shape}, not whole numbers ({num_labels},)")
    labels = np.asarray(array, dtype=np.int64)
    if labels.min() < 0 or labels.max() >= len(CLASS_NAMES):
        raise DataError(f"{path}: a label is outside 0 to {len(CLASS_NAMES) - 1}")
    return labels


def _read(path: Path) -> np.ndarray[Any, Any]:
    try:
        array: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: missing: unpack the data set again") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: damaged, or not an array of numpy ({error})") from None
    return array


@dataclass(frozen=True)
class Published:
    """Published images of CIFAR-10's classes, as far as they are there."""

    cifar10_c: Cifar10C | None = None
    cifar10_1: Cifar101 | None = None

    def name(self) -> str:
        """Which of them there are."""
        corruptions = "" if self.cifar10_c is None else ", ".join(self.cifar10_c.names)
        version = "" if self.cifar10_1 is None else self.cifar10_1.version
        return f"CIFAR-10-C: {corruptions or 'none'}; CIFAR-10.1: {version or 'none'}"


def open_published(class_names: tuple[str, ...], data_dir: Path) -> Published:
    """What there is in `data_dir` for a model of these classes; nothing unless they are CIFAR-10's.

    Raises:
        DataError: a file is damaged.
    """
    if class_names != CLASS_NAMES:
        return Published()
    return Published(open_cifar10_c(data_dir), open_cifar10_1(data_dir))
