"""A folder of images, one subfolder a class: `imagefolder:PATH`.

    PATH/train/<class>/**, PATH/test/<class>/**     (or val/ where there is no test/)
    PATH/<class>/**                                 (split 80/20 into train and test)

Files are listed, hashed, decoded and cached. Images are in order of class, then path. `decode.py` says how
an image becomes square.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from harness.datasets.base import Dataset, Images
from harness.datasets.cache import Contents, Snapshot, Split, cached_dataset, known_digests, take_snapshot
from harness.datasets.decode import decode_image
from harness.datasets.download import file_hash
from harness.datasets.progress import progress
from harness.datasets.splits import stratified_split
from harness.errors import DataError

_TEST_FRACTION = 0.2
_BLOCK = 128
_MAX_THREADS = 16
_SMALL_FILE_BYTES = 16_384
"""Below this mean size threads bring nothing: Pillow lets go of the interpreter lock only to decode."""

_NOT_IMAGES = {
    ".csv", ".db", ".html", ".ini", ".json", ".jsonl", ".log", ".md", ".tsv", ".txt", ".xml", ".yaml", ".yml",
}  # fmt: skip

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Listing:
    """What is in the folder; a sample is a file, as a path below the root, and the index of its class."""

    class_names: tuple[str, ...]
    train: list[tuple[str, int]]
    test: list[tuple[str, int]]
    notes: tuple[str, ...]


def load_imagefolder(root: Path, image_size: int, quiet: bool) -> Dataset:
    """Load the images below `root`.

    Args:
        root: folder with `train/` and `test/` (or `val/`), or with one folder a class.
        image_size: height and width to resize the central square of each image to.
        quiet: print nothing.

    Raises:
        DataError: the folder is missing, has no usable classes or holds a file that is no whole image.
        StorageError: the cache cannot be written.
    """
    try:
        listing = _list(root)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error
    samples = listing.train + listing.test
    snapshot = take_snapshot(root, [name for name, _ in samples])
    small = snapshot.num_bytes < _SMALL_FILE_BYTES * len(samples)
    threads = 1 if small else min(os.cpu_count() or 1, _MAX_THREADS)
    digests = known_digests(snapshot, lambda: {"content": _content_hash(snapshot, threads, quiet)})
    layout = repr((listing.class_names, listing.train, listing.test, digests["content"]))
    return cached_dataset(
        name="imagefolder",
        snapshot=snapshot,
        content_key=hashlib.sha256(layout.encode()).hexdigest(),
        build=lambda: _decode(root, listing, image_size, threads),
        image_size=image_size,
        official=False,
        quiet=quiet,
        notes=listing.notes,
    )


def _list(root: Path) -> _Listing:
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder: imagefolder:PATH needs one folder a class in PATH")
    splits = [name for name in ("train", "test", "val") if _holds_folders_only(root / name)]
    if not splits:
        return _list_single(root)
    if "train" not in splits or len(splits) == 1:
        raise DataError(
            f"{root}: has {' and '.join(f'{name}/' for name in splits)} with class folders: "
            "it needs train/ and test/ (or val/), or class folders alone"
        )
    train, train_skipped = _list_classes(root, root / "train")
    test, test_skipped = _list_classes(root, root / splits[1])
    if train.keys() != test.keys():
        ways = ((splits[1], train.keys() - test.keys()), ("train", test.keys() - train.keys()))
        missing = "; ".join(f"no {', '.join(sorted(names))} in {split}/" for split, names in ways if names)
        raise DataError(f"{root}: train/ and {splits[1]}/ have different classes: {missing}")
    notes = _skipped_note(train_skipped + test_skipped)
    if len(splits) == 3:
        notes += ("val/ is not used: validation images are held out from train/",)
    return _Listing(tuple(train), _samples(train), _samples(test), notes)


def _list_single(root: Path) -> _Listing:
    classes, skipped = _list_classes(root, root)
    for name, files in classes.items():
        if len(files) < 2:
            raise DataError(
                f"{root / name}: 1 image cannot be split into train and test: add images or remove the folder"
            )
    samples = _samples(classes)
    labels = np.array([label for _, label in samples], dtype=np.int64)
    train, test = stratified_split(labels, _TEST_FRACTION, salt="imagefolder-test")
    notes = ("no test/ or val/ folder: a fixed stratified 80/20 split into train and test",)
    return _Listing(
        tuple(classes),
        [samples[i] for i in train],
        [samples[i] for i in test],
        notes + _skipped_note(skipped),
    )


def _skipped_note(skipped: int) -> tuple[str, ...]:
    reason = "hidden, linked folders, beside the class folders, or not images by their names"
    return (f"{skipped} file(s) or folder(s) skipped: {reason}",) if skipped else ()


def _holds_folders_only(folder: Path) -> bool:
    """Whether this is the folder of a split: it has class folders, and no image lies beside them."""
    if not folder.is_dir():
        return False
    entries = list(folder.iterdir())
    images = any(entry.is_file() and not _is_skipped(entry.name) for entry in entries)
    return not images and any(entry.is_dir() for entry in entries)


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or os.path.splitext(name)[1].lower() in _NOT_IMAGES  # noqa: PTH122 - a name only


def _list_classes(root: Path, split: Path) -> tuple[dict[str, list[str]], int]:
    """The files of every class, as sorted paths below `root`, and how many others were skipped."""
    classes: dict[str, list[str]] = {}
    skipped = 0
    for entry in sorted(split.iterdir(), key=lambda entry: entry.name):
        if not entry.is_dir() or entry.name.startswith("."):
            skipped += 1
            continue
        files, skipped_here = list_files(root, entry)
        if not files:
            raise DataError(f"{entry}: the folder of a class holds no image: add images or remove it")
        classes[entry.name] = files
        skipped += skipped_here
    if len(classes) < 2:
        raise DataError(f"{split}: has {len(classes)} class folder(s): a classifier needs two or more")
    return classes, skipped


def list_files(root: Path, folder: Path) -> tuple[list[str], int]:
    """The image files anywhere below `folder`, relative to `root`, and how many other entries there were."""
    files = []
    skipped = 0
    for here, subfolders, names in os.walk(folder, onerror=_raise):
        # os.walk does not enter linked folders: they could lead back to where they are.
        entered = [
            name for name in subfolders if not name.startswith(".") and not Path(here, name).is_symlink()
        ]
        skipped += len(subfolders) - len(entered)
        subfolders[:] = entered
        kept = [name for name in names if not _is_skipped(name)]
        skipped += len(names) - len(kept)
        prefix = Path(here).relative_to(root).as_posix()
        files += [f"{prefix}/{name}" for name in kept]
    return sorted(files), skipped


def _raise(error: OSError) -> None:
    raise error


def _samples(classes: dict[str, list[str]]) -> list[tuple[str, int]]:
    return [(name, label) for label, files in enumerate(classes.values()) for name in files]


def _content_hash(snapshot: Snapshot, threads: int, quiet: bool) -> str:
    """SHA-256 over the paths and contents of all files."""
    paths = [snapshot.root / name for name in snapshot.names]
    digest = hashlib.sha256()
    with progress(f"hashing {snapshot.root}", len(paths), "images", quiet) as advance:
        for names, hashes in zip(_blocks(snapshot.names), _parallel(_hash, paths, threads), strict=True):
            for name, file_digest in zip(names, hashes, strict=True):
                digest.update(os.fsencode(name) + b"\0" + file_digest.encode())
            advance(len(hashes))
    return digest.hexdigest()


def _hash(path: Path) -> str:
    return file_hash(path, "sha256")


def _decode(root: Path, listing: _Listing, image_size: int, threads: int) -> Contents:
    not_square = 0

    def blocks(samples: list[tuple[str, int]]) -> Iterator[Images]:
        nonlocal not_square
        paths = [root / name for name, _ in samples]
        for decoded in _parallel(lambda path: decode_image(path, image_size), paths, threads):
            not_square += sum(not square for _, square in decoded)
            yield np.stack([image for image, _ in decoded])

    def notes() -> tuple[str, ...]:
        cut = f"{not_square:,} image(s) were not square: only their central square is used"
        return (cut,) if not_square else ()

    train, test = (
        Split(np.array([label for _, label in samples], dtype=np.int64), blocks(samples))
        for samples in (listing.train, listing.test)
    )
    return Contents(listing.class_names, train, test, notes)


def _parallel(work: Callable[[Path], _T], paths: Sequence[Path], threads: int) -> Iterator[list[_T]]:
    """`work` done on all paths; results in order, block by block."""
    with ThreadPoolExecutor(threads) as pool:
        for block in _blocks(paths):
            yield list(map(work, block) if threads == 1 else pool.map(work, block))


def _blocks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[start : start + _BLOCK] for start in range(0, len(items), _BLOCK))
