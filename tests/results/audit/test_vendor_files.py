"""Files of predictions as vendors write them, and as nobody should."""

from __future__ import annotations

import io
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import DataError, UsageError, VerdictError
from results.audit.files import VendorFile, read_vendor_file
from results.audit.images import AskedImages, read_test_labels
from results.metrics import Array
from results.prediction_files import MAX_CLASSES
from tests.results.audit.vendor_files import (
    BAD,
    CLASSES,
    GOOD,
    LABELS,
    NAMED,
    NAMES,
    PROBS,
    SHUFFLED,
    csv_text,
    npy_bytes,
)


def _asked(class_names: tuple[str, ...] = NAMES, num_images: int = 6) -> AskedImages:
    return AskedImages("six", None, np.resize(LABELS, num_images), class_names, "f" * 64)


def _read(path: Path, content: bytes | str, names: Path | None = None, **options: Any) -> VendorFile:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_vendor_file(path, "Acme", _asked(**options), names)


@pytest.mark.parametrize(("name", "content"), GOOD.values(), ids=GOOD.keys())
def test_every_form_says_the_same(tmp_path: Path, name: str, content: bytes | str) -> None:
    found = _read(tmp_path / name, content)

    assert found.predictions.classes.tolist() == CLASSES
    assert found.predictions.labels.tolist() == LABELS.tolist()
    assert found.predictions.class_names == NAMES
    assert found.predictions.name == "Acme"
    assert found.predictions.fingerprint == "f" * 64
    assert found.notes == ()
    distributions = found.predictions.distributions()
    if distributions is not None:
        assert np.allclose(distributions.probs, PROBS, atol=1e-6)


@pytest.mark.parametrize(("name", "content", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_unclear_is_refused_with_its_place(
    tmp_path: Path, name: str, content: bytes | str, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        _read(tmp_path / name, content)

    assert message in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


class _Evil:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (Path("executed"),)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_pickle_is_never_executed(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    array = np.array([_Evil()] * 6, dtype=object)
    content = npy_bytes(array, allow_pickle=True) if name == "a.npy" else _npz_of_pickle(array)
    for bad in (content, pickle.dumps(_Evil())):
        with pytest.raises(DataError):
            _read(tmp_path / name, bad)

    assert [path.name for path in tmp_path.iterdir()] == [name]


def _npz_of_pickle(array: Array) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("classes.npy", npy_bytes(array, allow_pickle=True))
    return file.getvalue()


def test_a_line_of_a_gigabyte_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.write(b"class\n")
        file.truncate(2**30)  # zeros that take no disk
    tracemalloc.start()
    with pytest.raises(DataError, match=r"a\.csv:2: the line is longer than 1,048,576 bytes"):
        read_vendor_file(path, "Acme", _asked(), None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


def test_a_quoted_cell_does_not_collect_the_whole_file(tmp_path: Path) -> None:
    content = 'class\n"' + "cat,cat,cat\n" * 300_000
    with pytest.raises(DataError, match="field larger than field limit"):
        _read(tmp_path / "a.csv", content)


def test_quoted_cells_with_line_breaks_do_not_collect_the_whole_file(tmp_path: Path) -> None:
    content = "class\n" + '"cat\n",' * 300_000
    with pytest.raises(DataError, match=r"a\.csv:[0-9]+: the row is longer than 1,048,576 characters"):
        _read(tmp_path / "a.csv", content)


def test_json_of_a_gigabyte_is_refused_without_being_read(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(DataError, match="is larger than 64 MiB"):
        read_vendor_file(tmp_path / "a.json", "Acme", _asked(), None)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_header_that_speaks_of_more_than_there_is_takes_no_memory(tmp_path: Path, name: str) -> None:
    lie = npy_bytes(np.zeros(6)).replace(b"(6,), }      ", b"(600000000,),}")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("classes.npy", lie)
    with pytest.raises(DataError, match=r"is damaged: 4[0-9] bytes for 4,800,000,000"):
        _read(tmp_path / name, lie if name == "a.npy" else file.getvalue())


def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("results.audit.npy.MAX_BYTES", 2**20)
    file = io.BytesIO()
    np.savez_compressed(file, probs=np.zeros((2**18, 3)))
    with pytest.raises(DataError, match="array 'probs': is larger than 1 MiB"):
        _read(tmp_path / "a.npz", file.getvalue())


def test_images_may_be_called_anything_that_is_listed(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("one.png\n1.png\nkitten 7 of 9\n=cmd()\nö\n5\n", encoding="utf-8")
    called = names.read_text(encoding="utf-8").split("\n")
    rows = [f"{called[i]},{NAMED[i]}" for i in SHUFFLED]
    found = _read(tmp_path / "a.csv", csv_text("image,class", rows), names)
    assert found.predictions.classes.tolist() == CLASSES

    with pytest.raises(DataError, match=r"a\.csv:2: unknown image 'ones.png': did you mean one.png"):
        _read(tmp_path / "a.csv", csv_text("image,class", ["ones.png,cat"]), names)
    with pytest.raises(DataError, match=r"the first of them .1\.png"):
        _read(tmp_path / "a.csv", csv_text("image,class", [rows[i] for i in (0, 2, 3, 4, 5)]), names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb\nc\n", "3 image names for 6 test images"),
        ("a\nb\na\n", "names.txt:3: 'a' is in line 1 already"),
        ("a\n\nb\n", "names.txt:2: the line is empty"),
        ("", "holds no image names"),
    ],
)
def test_a_list_of_names_has_to_be_whole(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        _read(tmp_path / "a.csv", "image,class\n", tmp_path / "names.txt")


def test_columns_that_say_nothing_are_named(tmp_path: Path) -> None:
    rows = [f"{name},0.9,=1+1" for name in NAMED]
    found = _read(tmp_path / "a.csv", csv_text("class,confidence,<script>", rows))
    assert found.notes == ("columns that were not used: 'confidence', '<script>'",)


def test_a_first_class_that_is_never_named_is_pointed_out(tmp_path: Path) -> None:
    found = _read(tmp_path / "a.csv", csv_text("class", ["1", "2", "1", "2", "1", "2"]))
    (note,) = found.notes
    assert "if the vendor's class indices are counted from 1, every figure is wrong" in note


def test_a_number_that_is_the_name_of_another_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'1' is the name of class 0 and the index of another"):
        _read(tmp_path / "a.csv", csv_text("class", ["1"]), class_names=("1", "0", "2"))
    with pytest.raises(DataError, match="not clear which class column '1' is about"):
        _read(tmp_path / "a.csv", csv_text("0,1,2", ["1,0,0"]), class_names=("1", "0", "2"))
    found = _read(
        tmp_path / "a.csv", csv_text("class", [str(i) for i in CLASSES]), class_names=("0", "1", "2")
    )
    assert found.predictions.classes.tolist() == CLASSES


def test_of_equal_probabilities_the_first_class_counts(tmp_path: Path) -> None:
    rows = [f"{name},0.5,0.5,0" for name in ("cat", "dog", "dog", "cat", "dog", "cat")]
    found = _read(tmp_path / "a.csv", csv_text("0,1,2", [row.partition(",")[2] for row in rows]))
    assert found.predictions.classes.tolist() == [0] * 6


def test_of_equal_probabilities_the_class_that_is_stated_counts(tmp_path: Path) -> None:
    rows = [f"{name},0.5,0.5,0" for name in ("cat", "dog", "dog", "cat", "dog", "cat")]
    found = _read(tmp_path / "a.csv", csv_text("class,0,1,2", rows))
    assert found.predictions.classes.tolist() == [0, 1, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([0.5, 1.0]), "labels are float64"),
        (np.zeros((2, 2), int), "not a list of class indices"),
        (np.array([], int), "not a list of class indices"),
        (np.array([-1, 0]), "outside of 0 to"),
        (np.array([MAX_CLASSES]), "outside of 0 to"),
        (np.array(["cat"]), "labels are <U3"),
    ],
)
def test_labels_that_are_none_are_refused(tmp_path: Path, array: Array, message: str) -> None:
    np.save(tmp_path / "labels.npy", array)
    with pytest.raises(DataError, match=message):
        read_test_labels(tmp_path / "labels.npy", None)


def test_classes_are_named_by_a_list_that_may_be_longer_than_the_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", LABELS)
    (tmp_path / "names.txt").write_text("cat\ndog\nship\ntruck\n")
    assert read_test_labels(tmp_path / "labels.npy", tmp_path / "names.txt").class_names[3] == "truck"
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    with pytest.raises(DataError, match="names 2 classes, but labels go up to 2"):
        read_test_labels(tmp_path / "labels.npy", tmp_path / "names.txt")


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.npy", "a.npz", "a.xlsx", "folder.csv"])
def test_a_file_that_is_not_there_or_not_known_is_a_mistake_of_the_user(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match="cannot read"):
        read_vendor_file(tmp_path / name, "Acme", _asked(), None)


def test_a_large_file_is_read_row_by_row(tmp_path: Path) -> None:
    count = 20_000
    path = tmp_path / "a.csv"
    path.write_text(csv_text("image,class", [f"{i:05}.png,{NAMES[i % 3]}" for i in reversed(range(count))]))
    found = read_vendor_file(path, "Acme", _asked(num_images=count), None)
    assert np.array_equal(found.predictions.classes, np.arange(count) % 3)


@pytest.mark.parametrize("content", [b"\xff" * 100, b"", b"\n\n\n", b'"', b",,,\n", b"[", b"{}", b"null"])
@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.npy", "a.npz"])
def test_rubbish_is_one_error(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(VerdictError):
        _read(tmp_path / name, content)
