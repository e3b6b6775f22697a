from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import pickle
import re
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.datasets import cifar10
from harness.datasets.base import Dataset
from harness.datasets.cifar10 import load_cifar10
from harness.errors import DataError
from tests.harness.datasets.dataset_helpers import (
    CLASSES,
    FileServer,
    make_batch,
    md5s,
    python2_pickle,
    serving,
    start_child,
    whole,
    write_cifar,
)


def load(data_dir: Path, allow_unofficial: bool = True) -> Dataset:
    return load_cifar10(data_dir, allow_unofficial, quiet=True)


def expected(names: list[str], folder: Path) -> tuple[np.ndarray[Any, Any], list[int]]:
    """Images [N, 32, 32, 3] and labels, read with pickle alone, pixel plane by pixel plane."""
    batches = [pickle.loads((folder / name).read_bytes(), encoding="bytes") for name in names]
    planes = [row.reshape(3, 32, 32) for batch in batches for row in batch[b"data"]]
    labels = [label for batch in batches for label in batch[b"labels"]]
    return np.stack([np.dstack(list(plane)) for plane in planes]), labels


def test_pixels_labels_and_names_are_those_of_the_files(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path, num_batches=3)
    data = load(tmp_path)
    for split, names in (
        (data.train, ["data_batch_1", "data_batch_2", "data_batch_3"]),
        (data.test, ["test_batch"]),
    ):
        images, labels = expected(names, folder)
        assert np.array_equal(split.images.transpose(0, 2, 3, 1), images)
        assert split.labels.tolist() == labels
    assert data.class_names == tuple(name.decode() for name in CLASSES)


def test_the_shared_images_agree_with_their_lossless_sheets(shared_data: Path, tmp_path: Path) -> None:
    script = shared_data / "make_cifar10.py"
    subprocess.run([sys.executable, str(script), str(tmp_path), "--mini"], check=True, capture_output=True)
    data = load(tmp_path)
    labels = np.load(shared_data / "cifar10" / "labels.npy")
    assert data.train.labels.tolist() == labels[:2000].tolist()
    assert data.test.labels.tolist() == labels[50_000:51_000].tolist()
    for split, sheet, first in ((data.train, 0, 0), (data.train, 1, 1000), (data.test, 50, 0)):
        grid = Image.open(shared_data / "cifar10" / f"sheet_{sheet:02d}.webp").convert("RGB")
        for index in range(0, 1000, 7):
            left, top = 32 * (index % 40), 32 * (index // 40)
            tile = np.asarray(grid.crop((left, top, left + 32, top + 32)))
            assert np.array_equal(split.images[first + index].transpose(1, 2, 0), tile)
    assert not data.provenance.official


def test_the_folder_itself_may_be_named(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path)
    assert load(folder).provenance == load(tmp_path).provenance


@pytest.mark.parametrize("protocol", range(6))
def test_every_pickle_protocol_is_read(tmp_path: Path, protocol: int) -> None:
    folder = write_cifar(tmp_path)
    reference = load(tmp_path).train
    for path in folder.iterdir():
        path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()), protocol=protocol))
    assert np.array_equal(load(tmp_path).train.images, reference.images)


def test_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path)
    batch = make_batch(seed=7)
    content = python2_pickle(batch[b"data"], batch[b"labels"])
    assert np.array_equal(pickle.loads(content, encoding="bytes")[b"data"], batch[b"data"])
    (folder / "test_batch").write_bytes(content)
    test = load(tmp_path).test
    assert np.array_equal(test.images.reshape(-1, 3072), batch[b"data"])
    assert test.labels.tolist() == batch[b"labels"]


def test_files_with_the_published_checksums_are_official(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = md5s(write_cifar(tmp_path, num_batches=5))
    monkeypatch.setattr(cifar10, "OFFICIAL_MD5", published)
    provenance = load(tmp_path, allow_unofficial=False).provenance
    assert provenance.official
    assert provenance.notes == ()


def test_the_checksums_and_the_archive_are_those_of_torchvision() -> None:
    package = importlib.util.find_spec("torchvision")  # read, not imported: that would load torch
    assert package is not None
    assert package.origin is not None
    text = Path(package.origin).with_name("datasets").joinpath("cifar.py").read_text(encoding="utf-8")
    text = text[: text.index("class CIFAR100")]
    listed = dict(re.findall(r'\["(\w+)", "(\w{32})"\]', text))
    (meta,) = re.findall(r'"md5": "(\w{32})"', text)
    assert {**listed, "batches.meta": meta} == cifar10.OFFICIAL_MD5
    assert f'tgz_md5 = "{cifar10.ARCHIVE_MD5}"' in text
    assert f'filename = "{cifar10.ARCHIVE}"' in text


def test_other_files_are_refused_by_name_with_the_flag_to_accept_them(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path)
    with pytest.raises(DataError) as caught:
        load(tmp_path, allow_unofficial=False)
    assert str(caught.value).startswith(f"{folder / 'data_batch_1'} is not the published file (md5 ")
    assert str(caught.value).endswith("--allow-unofficial-data")


@pytest.mark.parametrize(
    ("num_batches", "complaint"),
    [(4, "data_batch_5 is missing"), (6, "data_batch_6 is not part of the published CIFAR-10")],
)
def test_another_number_of_batches_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_batches: int, complaint: str
) -> None:
    published = md5s(write_cifar(tmp_path / "published", num_batches=5))
    folder = write_cifar(tmp_path / "mine", num_batches=num_batches)
    # Batches alike in both: only their number differs.
    monkeypatch.setattr(cifar10, "OFFICIAL_MD5", {**published, **{n: md5s(folder)[n] for n in FIRST_FOUR}})
    monkeypatch.setitem(cifar10.OFFICIAL_MD5, "test_batch", md5s(folder)["test_batch"])
    with pytest.raises(DataError, match=complaint):
        load(tmp_path / "mine", allow_unofficial=False)


FIRST_FOUR = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4")


def test_a_note_says_how_accepted_files_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_cifar(tmp_path / "four", num_batches=4)
    assert load(tmp_path / "four").provenance.notes == (
        "4 of 5 training batches; checksums differ from the published archive: 80 train and 20 test images",
    )
    write_cifar(tmp_path / "five", num_batches=5, num_images=8)
    assert load(tmp_path / "five").provenance.notes == (
        "checksums differ from the published archive: 40 train and 8 test images",
    )
    monkeypatch.setattr(cifar10, "OFFICIAL_MD5", {**cifar10.OFFICIAL_MD5, **md5s(folder)})
    monkeypatch.setenv("VERDICT_CACHE", str(tmp_path / "cache"))
    assert load(tmp_path / "four").provenance.notes == (
        "4 of 5 training batches; checksums as in the published archive: 80 train and 20 test images",
    )


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch", "batches.meta"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_cifar(tmp_path, num_batches=3)
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        load(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_named(tmp_path: Path, share: float) -> None:
    path = write_cifar(tmp_path) / "data_batch_2"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"data_batch_2: damaged"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({b"labels": [10] * 20}, "a label is outside 0 to 9"),
        ({b"labels": [-1] * 20}, "a label is outside 0 to 9"),
        ({b"labels": [1] * 19}, "20 images but 19 labels"),
        ({b"labels": ["cat"] * 20}, "labels is not a list of whole numbers"),
        ({b"labels": None}, "labels is not a list of whole numbers"),
        ({b"data": np.zeros((20, 3071), np.uint8)}, "rows of 3072"),
        ({b"data": np.zeros((20, 3072), np.float32)}, "not an array of bytes"),
        ({b"data": np.zeros((20, 3, 32, 32), np.uint8)}, "rows of 3072"),
        ({b"data": [1, 2, 3]}, "not an array of bytes"),
        ({b"data": np.zeros((0, 3072), np.uint8), b"labels": []}, "0 images"),
    ],
)
def test_wrong_contents_are_named(tmp_path: Path, change: dict[bytes, Any], complaint: str) -> None:
    path = write_cifar(tmp_path) / "test_batch"
    path.write_bytes(pickle.dumps(make_batch(0) | change))
    with pytest.raises(DataError, match=rf"test_batch: damaged: .*{complaint}"):
        load(tmp_path)


@pytest.mark.parametrize("content", [{}, [], {b"label_names": CLASSES[:9]}, {b"label_names": "cat"}])
def test_wrong_class_names_are_named(tmp_path: Path, content: object) -> None:
    path = write_cifar(tmp_path) / "batches.meta"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=r"batches\.meta: "):
        load(tmp_path)


class Attack:
    """A pickle that runs a command when it is read."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("function", [os.mkdir, eval, exec, __import__])
def test_a_malicious_pickle_does_not_run(tmp_path: Path, function: Any) -> None:
    path = write_cifar(tmp_path) / "data_batch_1"
    evil = tmp_path / "evil"
    argument = str(evil) if function is os.mkdir else f"__import__('os').mkdir('{evil}')"
    path.write_bytes(pickle.dumps(make_batch(0) | {b"filenames": [Attack(function, argument)]}))
    with pytest.raises(DataError, match=rf"data_batch_1: refused: it wants to run \w+\.{function.__name__},"):
        load(tmp_path)
    assert not evil.exists()


def test_a_pickle_may_not_use_other_codecs(tmp_path: Path) -> None:
    path = write_cifar(tmp_path) / "data_batch_1"
    path.write_bytes(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00utf-8\x86R.")
    with pytest.raises(DataError, match=r"damaged \(UnpicklingError: unexpected encoding utf-8\)"):
        load(tmp_path)


def test_a_second_load_comes_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path)
    first = load(tmp_path)
    monkeypatch.setattr(cifar10, "_unpickle", None)
    second = load(tmp_path)
    assert second.provenance == first.provenance
    assert isinstance(second.train.images, np.memmap)
    assert np.array_equal(second.test.images, first.test.images)


def test_an_edited_file_is_read_again_even_with_its_old_time(tmp_path: Path) -> None:
    path = write_cifar(tmp_path) / "data_batch_1"
    path.write_bytes(pickle.dumps(make_batch(seed=98), protocol=4))
    before = load(tmp_path)
    status = path.stat()
    path.write_bytes(pickle.dumps(make_batch(seed=99), protocol=4))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    after = load(tmp_path)
    assert np.array_equal(after.train.images[:20].reshape(20, 3072), make_batch(seed=99)[b"data"])
    assert after.provenance.train_fingerprint != before.provenance.train_fingerprint
    assert after.provenance.test_fingerprint == before.provenance.test_fingerprint


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as files:
        yield files


@pytest.fixture
def published(tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A small archive on a slow web server, and what says that it is the published one."""
    folder = write_cifar(tmp_path / "made", num_batches=5)
    archive = tmp_path / "made" / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    content = archive.read_bytes()
    constants = {
        "URLS": [server.offer("/cifar-10-python.tar.gz", whole(content, chunk=50_000, pause_s=0.05))],
        "ARCHIVE_MD5": hashlib.md5(content).hexdigest(),
        "ARCHIVE_SHA256": hashlib.sha256(content).hexdigest(),
        "ARCHIVE_BYTES": len(content),
        "OFFICIAL_MD5": md5s(folder),
    }
    for name, value in constants.items():
        monkeypatch.setattr(cifar10, name, value)
    return {**constants, "archive": archive}


def test_what_is_not_there_is_downloaded_once(
    tmp_path: Path, server: FileServer, published: dict[str, Any]
) -> None:
    data_dir = tmp_path / "new" / "data"
    first = load(data_dir, allow_unofficial=False)
    assert first.provenance.official
    assert first.provenance.source == str(data_dir / "cifar-10-batches-py")
    assert load(data_dir, allow_unofficial=False).provenance == first.provenance
    assert len(server.requests) == 1


def test_an_archive_that_is_there_is_used(
    tmp_path: Path, server: FileServer, published: dict[str, Any]
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "cifar-10-python.tar.gz").write_bytes(published["archive"].read_bytes())
    assert load(data_dir, allow_unofficial=False).provenance.official
    assert server.requests == []


def test_another_archive_is_refused_unless_it_is_accepted(
    tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch, published: dict[str, Any]
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "cifar-10-python.tar.gz").write_bytes(published["archive"].read_bytes())
    monkeypatch.setattr(cifar10, "ARCHIVE_SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"is not the published archive .* --allow-unofficial-data"):
        load(data_dir, allow_unofficial=False)
    assert len(load(data_dir).train.labels) == 100


LOAD = """
import json, sys
from pathlib import Path
from harness.datasets import cifar10
for name, value in json.loads(sys.argv[2]).items():
    setattr(cifar10, name, value)
data = cifar10.load_cifar10(Path(sys.argv[1]), False, quiet=False)
print(data.provenance.fingerprint)
"""


def test_of_two_processes_one_downloads_and_the_other_waits(
    tmp_path: Path, server: FileServer, published: dict[str, Any]
) -> None:
    constants = json.dumps({name: value for name, value in published.items() if name != "archive"})
    both_started = threading.Event()
    send = server.replies["/cifar-10-python.tar.gz"]

    def when_both_started(handler: BaseHTTPRequestHandler, first: int | None) -> None:
        both_started.wait(60)
        send(handler, first)

    server.offer("/cifar-10-python.tar.gz", when_both_started)
    with start_child(LOAD, tmp_path / "data", constants) as one:
        while not server.requests:
            assert one.poll() is None, one.communicate()
            time.sleep(0.01)
        with start_child(LOAD, tmp_path / "data", constants) as two:
            assert two.stderr is not None
            assert two.stderr.readline().startswith("waiting for another process to let go of")
            both_started.set()
            outputs = [child.communicate(timeout=60) for child in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), outputs
    assert outputs[0][0] == outputs[1][0] != ""
    assert len(server.requests) == 1
