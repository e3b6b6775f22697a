"""Every data set by its kind: `load_dataset("cifar10", Path("data"), image_size=32, ...)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.datasets.base import Dataset
from harness.datasets.cifar10 import load_cifar10
from harness.datasets.digits import load_digits
from harness.datasets.imagefolder import load_imagefolder
from harness.datasets.names import split_dataset_name


@dataclass(frozen=True)
class _Request:
    path: Path
    """What follows `imagefolder:`; meaningless for the other kinds."""

    data_dir: Path
    image_size: int
    allow_unofficial: bool
    quiet: bool


LOADERS: dict[str, Callable[[_Request], Dataset]] = {
    "cifar10": lambda r: load_cifar10(r.data_dir, r.allow_unofficial, r.quiet),
    "digits": lambda r: load_digits(r.image_size),
    "imagefolder": lambda r: load_imagefolder(r.path, r.image_size, r.quiet),
}


def load_dataset(name: str, data_dir: Path, image_size: int, allow_unofficial: bool, quiet: bool) -> Dataset:
    """Load the data set `name`, downloading, decoding and caching what is not there yet.

    Several processes may call this at once: one of them does the work, the others wait for it.

    Args:
        name: `cifar10`, `digits` or `imagefolder:PATH`.
        data_dir: folder that holds CIFAR-10, or that it is downloaded to.
        image_size: height and width that the model sees; `cifar10` keeps its 32x32, and is resized on
            the device.
        allow_unofficial: accept CIFAR-10 files that are not the published ones.
        quiet: print nothing, as every process but the main one should.

    Raises:
        UsageError: the name is not a data set.
        DataError: the data are missing, damaged or not the official ones.
        StorageError: the data folder or the cache cannot be written.
    """
    kind, path = split_dataset_name(name)
    request = _Request(Path(path or "").expanduser(), data_dir, image_size, allow_unofficial, quiet)
    return LOADERS[kind](request)
