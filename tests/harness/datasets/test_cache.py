from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.datasets import cache
from harness.datasets.base import Dataset, Images
from harness.datasets.cache import Contents, Split, cached_dataset, known_digests, take_snapshot
from harness.errors import DataError, StorageError
from tests.harness.datasets.dataset_helpers import run_on_tiny_disk, start_child


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERDICT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The file that the cached arrays claim to come from."""
    path = tmp_path / "source" / "file"
    path.parent.mkdir()
    path.write_text("content")
    return path


TRAIN = np.random.default_rng(0).integers(0, 256, (10, 3, 8, 8), dtype=np.uint8)
TEST = np.random.default_rng(1).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)


class Builder:
    """Decodes, in two pieces, and counts how often it has to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Contents:
        self.calls += 1
        train = Split(np.arange(10, dtype=np.int64) % 2, iter([TRAIN[:7], TRAIN[7:]]))
        test = Split(np.arange(4, dtype=np.int64) % 2, iter([TEST]))
        return Contents(("cat", "dog"), train, test, notes=lambda: ("built",))


def get(source: Path, build: Builder, notes: tuple[str, ...] = ()) -> Dataset:
    snapshot = take_snapshot(source.parent, [source.name])
    return cached_dataset("digits", snapshot, "key", build, 8, True, quiet=True, notes=notes)


def entry_of(cache_dir: Path) -> Path:
    (entry,) = (path for path in cache_dir.iterdir() if path.is_dir())
    return entry


def test_arrays_are_built_once_then_mapped(source: Path, cache_dir: Path) -> None:
    build = Builder()
    for _ in range(3):
        data = get(source, build)
        assert isinstance(data.train.images, np.memmap)
        assert not data.train.images.flags.writeable
        assert np.array_equal(data.train.images, TRAIN)
        assert np.array_equal(data.test.images, TEST)
        assert data.train.labels.tolist() == [0, 1] * 5
        assert data.provenance.notes == ("built",)
        assert data.class_names == ("cat", "dog")
    assert build.calls == 1
    assert sorted(path.suffix for path in cache_dir.iterdir()) == ["", ".lock"]


def test_the_caller_s_notes_and_source_are_those_of_now(source: Path, tmp_path: Path) -> None:
    build = Builder()
    get(source, build, notes=("old",))
    moved = source.parent.rename(tmp_path / "elsewhere")
    data = get(moved / "file", build, notes=("new",))
    assert build.calls == 1
    assert data.provenance.notes == ("built", "new")
    assert data.provenance.source == str(moved)


Damage = Callable[[Path], None]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def delete(path: Path) -> None:
    path.unlink()


def other_shape(path: Path) -> None:
    np.save(path, np.load(path).reshape(-1))


def other_type(path: Path) -> None:
    np.save(path, np.load(path).astype(np.int32))


@pytest.mark.parametrize("damage", [truncate, flip_last_byte, empty, delete, other_shape, other_type])
@pytest.mark.parametrize(
    "name", ["train_images.npy", "test_images.npy", "train_labels.npy", "test_labels.npy"]
)
def test_a_damaged_array_is_built_again(source: Path, cache_dir: Path, name: str, damage: Damage) -> None:
    build = Builder()
    first = get(source, build).provenance
    path = entry_of(cache_dir) / name
    if damage is other_shape and "labels" in name:
        np.save(path, np.load(path)[:-1])
    else:
        damage(path)
    again = get(source, build)
    assert build.calls == 2
    assert again.provenance == first
    assert np.array_equal(again.train.images, TRAIN)
    get(source, build)
    assert build.calls == 2


@pytest.mark.parametrize("damage", [truncate, empty, delete])
def test_a_damaged_description_is_built_again(source: Path, cache_dir: Path, damage: Damage) -> None:
    build = Builder()
    get(source, build)
    damage(entry_of(cache_dir) / "entry.json")
    get(source, build)
    assert build.calls == 2


def test_an_error_while_building_leaves_nothing(source: Path, cache_dir: Path) -> None:
    def broken() -> Contents:
        contents = Builder()()

        def blocks() -> Iterator[Images]:
            yield TRAIN[:7]
            raise DataError("a broken image")

        return Contents(("cat", "dog"), Split(contents.train.labels, blocks()), contents.test)

    snapshot = take_snapshot(source.parent, [source.name])
    with pytest.raises(DataError, match="a broken image"):
        cached_dataset("digits", snapshot, "key", broken, 8, True, quiet=True)
    assert [path.suffix for path in cache_dir.iterdir()] == [".lock"]


def test_files_that_change_while_they_are_read_are_not_cached(source: Path, cache_dir: Path) -> None:
    class Meddler(Builder):
        def __call__(self) -> Contents:
            source.write_text("edited")
            return super().__call__()

    with pytest.raises(DataError, match="files changed while they were read"):
        get(source, Meddler())
    assert [path.suffix for path in cache_dir.iterdir()] == [".lock"]


def test_digests_are_computed_once_for_files_that_have_settled(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def compute() -> dict[str, str]:
        calls.append(source.read_text())
        return {"content": source.read_text()}

    # Just written: an edit within the resolution of the file system's clock would go unnoticed.
    for _ in range(2):
        assert known_digests(take_snapshot(source.parent, ["file"]), compute) == {"content": "content"}
    assert len(calls) == 2
    monkeypatch.setattr(cache, "_SETTLED_NS", -1_000_000_000)
    for _ in range(3):
        assert known_digests(take_snapshot(source.parent, ["file"]), compute) == {"content": "content"}
    assert len(calls) == 3
    status = source.stat()
    source.write_text("CONTENT")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert known_digests(take_snapshot(source.parent, ["file"]), compute) == {"content": "CONTENT"}


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"content": 1}'])
def test_damaged_digests_are_computed_again(
    source: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(cache, "_SETTLED_NS", -1_000_000_000)
    snapshot = take_snapshot(source.parent, ["file"])
    known_digests(snapshot, lambda: {"content": "old"})
    (path,) = (cache_dir / "known").iterdir()
    path.write_text(damage)
    assert known_digests(snapshot, lambda: {"content": "new"}) == {"content": "new"}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing: cannot be read: No such file"):
        take_snapshot(tmp_path, ["nothing"])


BUILD = """
import sys, time
from pathlib import Path
import numpy as np
from harness.datasets.cache import Contents, Split, cached_dataset, take_snapshot
from harness.errors import StorageError
def build():
    def blocks():
        print("building", flush=True)
        yield np.zeros((7, 3, 8, 8), np.uint8)
        while not Path(sys.argv[2]).exists():
            time.sleep(0.01)
        yield np.zeros((3, 3, 8, 8), np.uint8)
    labels = np.zeros(10, np.int64)
    test = Split(labels, iter([np.ones((10, 3, 8, 8), np.uint8)]))
    return Contents(("cat",), Split(labels, blocks()), test)
try:
    snapshot = take_snapshot(Path(sys.argv[1]), ["file"])
    print(cached_dataset("digits", snapshot, "key", build, 8, True, False).provenance.fingerprint)
except StorageError as error:
    print(error)
"""


def test_of_two_processes_one_builds_and_the_other_waits(source: Path) -> None:
    finish = source.with_name("finish")
    with start_child(BUILD, source.parent, finish) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "building\n"
        with start_child(BUILD, source.parent, finish) as two:
            assert two.stderr is not None
            assert two.stderr.readline().startswith("waiting for another process to let go of")
            finish.touch()
            outputs = [child.communicate(timeout=60) for child in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), outputs
    assert outputs[0][0] == outputs[1][0] != ""


def test_a_build_that_was_killed_is_done_again(source: Path, cache_dir: Path) -> None:
    with start_child(BUILD, source.parent, "never") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "building\n"
        child.kill()
    build = Builder()
    assert np.array_equal(get(source, build).train.images, TRAIN)
    assert build.calls == 1
    assert sorted(path.suffix for path in cache_dir.iterdir()) == ["", ".lock"]


def test_a_full_disk_is_a_storage_error_that_names_the_way_out(source: Path, cache_dir: Path) -> None:
    cache_dir.mkdir()
    printed = run_on_tiny_disk(cache_dir, "4k", BUILD, source.parent, source)
    assert "no space left to write" in printed
    assert printed.strip().endswith("(VERDICT_CACHE names another cache folder)")


def test_a_cache_that_cannot_be_made_is_a_storage_error(source: Path, cache_dir: Path) -> None:
    cache_dir.touch()
    with pytest.raises(StorageError, match=r"cannot write .* \(VERDICT_CACHE names another cache folder\)"):
        get(source, Builder())


def test_the_cache_is_in_the_home_folder_unless_the_environment_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_dir() == tmp_path / "cache"
    for value in ("~/other", ""):
        monkeypatch.setenv("VERDICT_CACHE", value)
        assert cache.cache_dir() == tmp_path / ("other" if value else ".cache/verdict")


def test_an_entry_of_the_cache_can_be_deleted_at_any_time(source: Path, cache_dir: Path) -> None:
    build = Builder()
    mapped = get(source, build)
    shutil.rmtree(cache_dir)
    assert np.array_equal(mapped.train.images, TRAIN)
    assert np.array_equal(get(source, build).train.images, TRAIN)
