"""Decoded data sets as memory-mapped arrays: built once, checked every time, shared by all processes.

    <cache_dir>/known/<snapshot key>.json       what is known about files, as long as their stat is the same
                <name>-<content key>/entry.json, train_images.npy, train_labels.npy, test_images.npy, ...

Two keys, because a stat is cheap and content is certain: the snapshot key (paths, sizes, times) leads to
digests of the content, these make the content key. Files that were touched but not edited need no decoding.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter

from harness.datasets.base import Dataset, Images, ImageSet, Labels, make_dataset
from harness.datasets.locking import exclusive
from harness.datasets.progress import progress
from harness.errors import DataError, StorageError
from harness.files import storage_error, write_text

_FORMAT = "1"
"""Change it when an entry would look different, or the same files would be decoded to other pixels."""

_SETTLED_NS = 2_000_000_000
_DIGESTS = TypeAdapter(dict[str, str])


def cache_dir() -> Path:
    """Where decoded data sets are kept: `$VERDICT_CACHE`, or `~/.cache/verdict`."""
    return Path(os.environ.get("VERDICT_CACHE") or "~/.cache/verdict").expanduser()


@dataclass(frozen=True)
class Snapshot:
    """Which files a data set consists of, and their state when they were listed."""

    root: Path
    names: tuple[str, ...]
    """Paths below the root."""

    key: str
    """Hash of where the files are, and of their sizes, times and inodes."""

    settled: bool
    """Whether the last change is old enough that another one would show in the times."""

    num_bytes: int


def take_snapshot(root: Path, names: Iterable[str]) -> Snapshot:
    """Look at the files `names` below `root`, without reading them.

    Raises:
        DataError: a file is missing or not accessible.
    """
    names = tuple(names)
    digest = hashlib.sha256(f"verdict-snapshot-{_FORMAT}\0".encode() + os.fsencode(root.resolve()))
    newest_ns = num_bytes = 0
    for name in names:
        try:
            status = (root / name).stat()
        except OSError as error:
            raise DataError(f"{root / name}: cannot be read: {error.strerror}") from error
        # ctime and inode catch what mtime does not: a file replaced by another with its old time set.
        state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        digest.update(b"\0%b\0%b" % (os.fsencode(name), repr(state).encode()))
        newest_ns = max(newest_ns, status.st_mtime_ns, status.st_ctime_ns)
        num_bytes += status.st_size
    settled = newest_ns < time.time_ns() - _SETTLED_NS
    return Snapshot(root, names, digest.hexdigest(), settled, num_bytes)


def known_digests(snapshot: Snapshot, compute: Callable[[], dict[str, str]]) -> dict[str, str]:
    """`compute()`, a digest of the snapshot's files, or what it returned for the same snapshot before."""
    path = cache_dir() / "known" / f"{snapshot.key}.json"
    with suppress(OSError, ValueError):  # absent or damaged: it is only a shortcut
        return _DIGESTS.validate_json(path.read_bytes())
    digests = compute()
    if snapshot.settled:
        with _cache_named_in_errors():
            write_text(path, _DIGESTS.dump_json(digests).decode())
    return digests


@dataclass(frozen=True)
class Split:
    """The images of one split, as they are decoded."""

    labels: Labels
    blocks: Iterable[Images]
    """Pieces of [N, 3, S, S], in order; as many images as labels."""


@dataclass(frozen=True)
class Contents:
    """What goes into the cache for one data set."""

    class_names: tuple[str, ...]
    train: Split
    test: Split
    notes: Callable[[], tuple[str, ...]] = tuple
    """Called when all blocks have been taken: what a reader must know about these contents."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    class_names: tuple[str, ...]
    notes: tuple[str, ...]
    train_fingerprint: str
    test_fingerprint: str


def cached_dataset(
    name: str,
    snapshot: Snapshot,
    content_key: str,
    build: Callable[[], Contents],
    image_size: int,
    official: bool,
    quiet: bool,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """The data set with this content, from the cache, or built by one process while others wait.

    The arrays are memory-mapped, read-only, and were compared with their stored fingerprints: an entry
    that is damaged in any way is built again.

    Args:
        name: kind of data set.
        snapshot: the files that it is built from.
        content_key: digest of what decides the arrays beside the image size: the files' contents.
        build: decodes the files.
        image_size: height and width of the images.
        official: whether the files are the published ones.
        quiet: show no progress.
        notes: what a reader must know beyond the contents' own notes.

    Raises:
        DataError: the files are damaged, or changed while they were read.
        StorageError: the cache cannot be written.
    """
    folder = cache_dir() / f"{name}-{_FORMAT}-{image_size}-{content_key[:32]}"

    def load() -> Dataset | None:
        return _load(folder, name, str(snapshot.root.absolute()), official, notes, quiet)

    dataset = load()
    if dataset is not None:
        return dataset
    with _cache_named_in_errors(), exclusive(folder.with_name(f"{folder.name}.lock"), quiet):
        dataset = load()
        if dataset is None:
            _write(folder, snapshot, build(), image_size, quiet)
            dataset = load()
    if dataset is None:
        raise StorageError(f"{folder}: reads back differently from what was written: check the disk")
    return dataset


def _load(
    folder: Path, name: str, source: str, official: bool, notes: tuple[str, ...], quiet: bool
) -> Dataset | None:
    """The data set in a cache folder, or None where there is none or it is damaged."""
    if not folder.exists():
        return None
    try:
        entry = _Entry.model_validate_json((folder / "entry.json").read_bytes())
        train, test = _open_split(folder, "train"), _open_split(folder, "test")
        dataset = make_dataset(name, source, train, test, entry.class_names, official, entry.notes + notes)
        found = dataset.provenance
        if (found.train_fingerprint, found.test_fingerprint) != (
            entry.train_fingerprint,
            entry.test_fingerprint,
        ):
            raise ValueError("its arrays do not match their fingerprint")
    except (OSError, ValueError, EOFError) as error:
        if not quiet:
            print(f"{folder} is damaged ({error}): decoding the images again", file=sys.stderr, flush=True)
        return None
    return dataset


def _open_split(folder: Path, split: str) -> ImageSet:
    images = np.load(folder / f"{split}_images.npy", mmap_mode="r")
    labels = np.load(folder / f"{split}_labels.npy")
    if images.dtype != np.uint8 or labels.dtype != np.int64:
        raise ValueError("its arrays are of another type")
    return ImageSet(images, labels)


def _write(folder: Path, snapshot: Snapshot, contents: Contents, image_size: int, quiet: bool) -> None:
    """Write a whole cache folder, replacing one that is damaged; the caller holds its lock."""
    scratch = folder.with_name(f"{folder.name}.tmp")
    try:
        shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
        scratch.mkdir(parents=True)
        total = len(contents.train.labels) + len(contents.test.labels)
        with progress(f"decoding {snapshot.root}", total, "images", quiet) as advance:
            _write_split(scratch, "train", contents.train, image_size, advance)
            _write_split(scratch, "test", contents.test, image_size, advance)
        if take_snapshot(snapshot.root, snapshot.names).key != snapshot.key:
            raise DataError(f"{snapshot.root}: files changed while they were read: start again")
        entry = _Entry(
            class_names=contents.class_names,
            notes=contents.notes(),
            train_fingerprint=_open_split(scratch, "train").fingerprint(),
            test_fingerprint=_open_split(scratch, "test").fingerprint(),
        )
        (scratch / "entry.json").write_text(entry.model_dump_json(indent=1), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        scratch.rename(folder)
    except OSError as error:
        raise storage_error(folder, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_split(
    folder: Path, split: str, contents: Split, image_size: int, advance: Callable[[int], None]
) -> None:
    shape = (len(contents.labels), 3, image_size, image_size)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    # Written as a file, not through a memory map: a full disk is then an error instead of a SIGBUS.
    with (folder / f"{split}_images.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in contents.blocks:
            file.write(np.ascontiguousarray(block).data)
            advance(len(block))
    np.save(folder / f"{split}_labels.npy", contents.labels)


@contextmanager
def _cache_named_in_errors() -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise StorageError(f"{error} (VERDICT_CACHE names another cache folder)") from error
