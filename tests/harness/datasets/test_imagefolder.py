from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.datasets import cache, imagefolder
from harness.datasets.base import Dataset, Images
from harness.datasets.decode import decode_image
from harness.datasets.imagefolder import load_imagefolder
from harness.errors import DataError
from tests.harness.datasets.dataset_helpers import start_child, write_image


def load(root: Path, image_size: int = 12) -> Dataset:
    return load_imagefolder(root, image_size, quiet=True)


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERDICT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Cats and dogs, in train and test; cats have a subfolder."""
    root = tmp_path / "pets"
    names = [
        "train/dog/a.png",
        "train/dog/B.png",
        "train/cat/sub/x.png",
        "train/cat/y.png",
        "train/cat/z.png",
    ]
    for seed, name in enumerate([*names, "test/cat/a.png", "test/dog/a.png"]):
        write_image(root / name, seed)
    return root


def single_tree(root: Path, per_class: int = 10) -> Path:
    for seed in range(2 * per_class):
        write_image(root / ("cat" if seed % 2 else "dog") / f"{seed:02d}.png", seed)
    return root


def seeds(images: Images) -> list[int]:
    """Which `write_image` each image came from."""
    known = {
        np.random.default_rng(s).integers(0, 256, (12, 12, 3), dtype=np.uint8).tobytes(): s for s in range(40)
    }
    return [known[image.transpose(1, 2, 0).tobytes()] for image in images]


def test_images_are_in_order_of_class_then_path(root: Path) -> None:
    data = load(root)
    assert data.class_names == ("cat", "dog")
    assert seeds(data.train.images) == [2, 3, 4, 1, 0]  # B.png before a.png: by code point, not by locale
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert seeds(data.test.images) == [5, 6]
    assert data.test.labels.tolist() == [0, 1]
    assert data.provenance.notes == ()
    assert data.provenance.source == str(root)


def test_val_stands_in_for_test(root: Path) -> None:
    wanted = load(root).provenance
    (root / "test").rename(root / "val")
    found = load(root).provenance
    assert (found.fingerprint, found.notes) == (wanted.fingerprint, ())


def test_val_beside_test_is_left_out_and_noted(root: Path) -> None:
    shutil.copytree(root / "test", root / "val")
    data = load(root)
    assert len(data.test.labels) == 2
    assert data.provenance.notes == ("val/ is not used: validation images are held out from train/",)


def test_a_tree_without_a_split_is_split_by_class(tmp_path: Path) -> None:
    data = load(single_tree(tmp_path / "pets"))
    assert data.train.labels.tolist() == [0] * 8 + [1] * 8
    assert data.test.labels.tolist() == [0] * 2 + [1] * 2
    assert sorted(seeds(data.train.images) + seeds(data.test.images)) == list(range(20))
    assert seeds(data.test.images) == [3, 7, 14, 16]  # never to change
    assert data.provenance.notes == (
        "no test/ or val/ folder: a fixed stratified 80/20 split into train and test",
    )


def test_the_order_of_the_file_system_does_not_matter(tmp_path: Path) -> None:
    first = single_tree(tmp_path / "first")
    second = tmp_path / "second"
    for path in sorted(first.rglob("*.png"), reverse=True):
        target = second / path.relative_to(first)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    assert load(first).provenance.fingerprint == load(second).provenance.fingerprint


def test_several_threads_decode_the_same_data(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = load(root).provenance.fingerprint
    monkeypatch.setenv("VERDICT_CACHE", str(root.parent / "other"))
    monkeypatch.setattr(imagefolder, "_SMALL_FILE_BYTES", 0)
    monkeypatch.setattr(imagefolder, "_BLOCK", 2)
    assert load(root).provenance.fingerprint == wanted


def test_other_files_are_skipped_and_counted(root: Path) -> None:
    wanted = load(root).provenance
    for name in ("train/cat/.DS_Store", "train/cat/Thumbs.db", "train/labels.CSV", "test/cat/readme.txt"):
        (root / name).write_text("no image")
    write_image(root / "train/cat/.hidden/a.png", 30)
    (root / "train/dog/loop").symlink_to(root / "train")
    found = load(root).provenance
    assert found.fingerprint == wanted.fingerprint
    assert len(found.notes) == 1
    assert found.notes[0].startswith("6 file(s) or folder(s) skipped: ")


def test_images_that_are_not_square_are_noted(root: Path) -> None:
    write_image(root / "train/cat/wide.png", 30, size=(20, 12))
    write_image(root / "test/cat/tall.png", 31, size=(12, 20))
    for _ in range(2):
        assert load(root).provenance.notes == (
            "2 image(s) were not square: only their central square is used",
        )


def test_a_touched_folder_is_not_decoded_again_but_an_edited_one_is(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []

    def counting(path: Path, image_size: int) -> tuple[Images, bool]:
        decoded.append(path)
        return decode_image(path, image_size)

    monkeypatch.setattr(imagefolder, "decode_image", counting)
    monkeypatch.setattr(cache, "_SETTLED_NS", -1_000_000_000)
    first = load(root).provenance
    assert len(decoded) == 7
    assert load(root).provenance == first
    for path in root.rglob("*.png"):
        os.utime(path, (1, 1))
    assert load(root).provenance == first
    assert len(decoded) == 7
    write_image(root / "train/cat/y.png", 33)
    edited = load(root)
    assert len(decoded) == 14
    assert seeds(edited.train.images) == [2, 33, 4, 1, 0]


def test_settled_files_are_not_even_hashed_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_SETTLED_NS", -1_000_000_000)
    first = load(root).provenance
    monkeypatch.setattr(imagefolder, "_hash", None)
    assert load(root).provenance == first


def test_swapped_labels_are_other_data(root: Path) -> None:
    first = load(root).provenance
    (root / "train/cat").rename(root / "train/bird")
    (root / "train/dog").rename(root / "train/cat")
    (root / "train/bird").rename(root / "train/dog")
    assert load(root).provenance.train_fingerprint != first.train_fingerprint


def test_sizes_are_cached_apart(root: Path) -> None:
    assert load(root, 12).train.images.shape == (5, 3, 12, 12)
    assert load(root, 24).train.images.shape == (5, 3, 24, 24)
    assert load(root, 12).train.images.shape == (5, 3, 12, 12)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing: there is no such folder"):
        load(tmp_path / "nothing")


def test_a_folder_without_classes_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "pets/a.png", 0)
    with pytest.raises(DataError, match=r"pets: has 0 class folder\(s\): a classifier needs two or more"):
        load(tmp_path / "pets")


def test_one_class_is_not_enough(root: Path) -> None:
    shutil.rmtree(root / "train/dog")
    with pytest.raises(DataError, match=r"pets/train: has 1 class folder\(s\)"):
        load(root)


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_class_is_named(root: Path, split: str) -> None:
    (root / split / "bird" / "sub").mkdir(parents=True)
    (root / split / "bird" / "notes.txt").write_text("none yet")
    with pytest.raises(DataError, match=rf"pets/{split}/bird: the folder of a class holds no image"):
        load(root)


def test_classes_that_differ_between_train_and_test_are_named(root: Path) -> None:
    write_image(root / "train/bird/a.png", 30)
    write_image(root / "test/emu/a.png", 31)
    with pytest.raises(DataError, match=r"have different classes: no bird in test/; no emu in train/"):
        load(root)


@pytest.mark.parametrize(("gone", "left"), [("train", "test"), ("test", "train")])
def test_half_a_split_is_not_taken_for_classes(root: Path, gone: str, left: str) -> None:
    shutil.rmtree(root / gone)
    with pytest.raises(DataError, match=rf"pets: has {left}/ with class folders: it needs train/ and test/"):
        load(root)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    root = single_tree(tmp_path / "vehicles")
    (root / "cat").rename(root / "train")
    assert load(root).class_names == ("dog", "train")


def test_a_class_of_one_image_cannot_be_split(tmp_path: Path) -> None:
    root = single_tree(tmp_path / "pets")
    write_image(root / "bird/a.png", 30)
    with pytest.raises(DataError, match=r"pets/bird: 1 image cannot be split"):
        load(root)


def test_a_broken_image_is_named_and_nothing_is_cached(root: Path, cache_dir: Path) -> None:
    path = root / "train/cat/y.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"pets/train/cat/y\.png: .*repair or remove it"):
        load(root)
    assert [entry for entry in cache_dir.iterdir() if entry.is_dir()] == []


def test_a_link_to_nothing_is_named(root: Path) -> None:
    (root / "train/cat/link.png").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"cat/link\.png: cannot be read: No such file"):
        load(root)


DECODE = """
import sys, time
from pathlib import Path
from harness.datasets import imagefolder
decode = imagefolder.decode_image
def slow(path, size):
    if "/dog/" in str(path):
        print("half", flush=True)
        time.sleep(60)
    return decode(path, size)
imagefolder.decode_image = slow
imagefolder.load_imagefolder(Path(sys.argv[1]), 12, quiet=True)
"""


def test_decoding_that_was_killed_is_done_again(root: Path, cache_dir: Path) -> None:
    with start_child(DECODE, root) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        child.kill()
        child.wait()
    assert seeds(load(root).train.images) == [2, 3, 4, 1, 0]
    assert sorted(entry.suffix for entry in cache_dir.iterdir()) == ["", ".lock"]
