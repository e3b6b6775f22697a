"""Files of the published shapes, sparse where they are large: zeros take no room on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.datasets.shifted import CIFAR10_1, CIFAR10_C, open_cifar10_1, open_cifar10_c
from harness.errors import DataError

SHAPE = (50_000, 32, 32, 3)


def sparse(path: Path, shape: tuple[int, ...] = SHAPE, dtype: type[np.generic] = np.uint8) -> None:
    np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


@pytest.fixture
def corrupted(tmp_path: Path) -> Path:
    """A folder with two of the corruptions of CIFAR-10-C."""
    folder = tmp_path / CIFAR10_C
    folder.mkdir()
    sparse(folder / "fog.npy")
    sparse(folder / "saturate.npy")
    images = np.lib.format.open_memmap(folder / "fog.npy", mode="r+")
    images[20_000, 5, 6, 2] = 77  # the first image of severity 3
    images.flush()
    np.save(folder / "labels.npy", np.tile(np.arange(10_000) % 10, 5).astype(np.int32))
    return folder


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A folder with version 6 of CIFAR-10.1."""
    folder = tmp_path / CIFAR10_1
    folder.mkdir()
    sparse(folder / "cifar10.1_v6_data.npy", (2000, 32, 32, 3))
    np.save(folder / "cifar10.1_v6_labels.npy", (np.arange(2000) % 10).astype(np.int32))
    return folder


def test_nothing_is_found_where_there_is_nothing(tmp_path: Path) -> None:
    assert open_cifar10_c(tmp_path) is None
    assert open_cifar10_1(tmp_path) is None


def test_the_images_of_a_severity_are_those_of_its_fifth_of_the_file(corrupted: Path) -> None:
    found = open_cifar10_c(corrupted.parent)
    assert found is not None
    assert found.names == ("fog", "saturate")
    images = found.images("fog", 3)
    assert images.images.shape == (10_000, 3, 32, 32)
    assert images.images[0, 2, 5, 6] == 77
    assert not found.images("fog", 2).images[-1].any()
    np.testing.assert_array_equal(images.labels, np.arange(10_000) % 10)
    assert images.labels.dtype == np.int64


def test_version_6_of_cifar10_1_is_read(newer: Path) -> None:
    found = open_cifar10_1(newer.parent)
    assert found is not None
    assert found.version == "v6"
    assert found.images.images.shape == (2000, 3, 32, 32)
    assert found.images.labels.dtype == np.int64


def test_version_4_is_read_where_there_is_no_other(newer: Path) -> None:
    for path in newer.iterdir():
        path.unlink()
    sparse(newer / "cifar10.1_v4_data.npy", (2021, 32, 32, 3))
    np.save(newer / "cifar10.1_v4_labels.npy", np.arange(2021) % 10)
    found = open_cifar10_1(newer.parent)
    assert found is not None
    assert (found.version, len(found.images.labels)) == ("v4", 2021)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((10_000, 32, 32, 3), np.uint8, r"fog.npy: is uint8 \(10000, 32, 32, 3\), not uint8 \(50000, 32"),
        ((50_000, 3, 32, 32), np.uint8, "not uint8"),
        (SHAPE, np.float32, "is float32"),
    ],
)
def test_images_of_another_shape_or_type_are_refused(
    corrupted: Path, shape: tuple[int, ...], dtype: type[np.generic], message: str
) -> None:
    sparse(corrupted / "fog.npy", shape, dtype)
    with pytest.raises(DataError, match=message):
        open_cifar10_c(corrupted.parent)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(10_000, np.int64), r"is int64 \(10000,\)"),
        (np.zeros(50_000, np.float32), "is float32"),
        (np.full(50_000, 10), "a label is outside 0 to 9"),
        (np.full(50_000, -1), "a label is outside 0 to 9"),
        (np.arange(50_000) // 10_000, "labels of the five severities differ"),
    ],
)
def test_labels_that_are_not_those_of_cifar10_c_are_refused(
    corrupted: Path, labels: np.ndarray[tuple[int], np.dtype[np.generic]], message: str
) -> None:
    np.save(corrupted / "labels.npy", labels)
    with pytest.raises(DataError, match=message):
        open_cifar10_c(corrupted.parent)


def test_missing_labels_are_named(corrupted: Path) -> None:
    (corrupted / "labels.npy").unlink()
    with pytest.raises(DataError, match=r"labels.npy: missing"):
        open_cifar10_c(corrupted.parent)


def test_a_folder_without_any_corruption_is_refused(corrupted: Path) -> None:
    (corrupted / "fog.npy").unlink()
    (corrupted / "saturate.npy").unlink()
    with pytest.raises(DataError, match="none of its corruptions"):
        open_cifar10_c(corrupted.parent)


def test_a_damaged_file_is_named(corrupted: Path) -> None:
    (corrupted / "fog.npy").write_bytes(b"not numpy")
    with pytest.raises(DataError, match=r"fog.npy: damaged, or not an array"):
        open_cifar10_c(corrupted.parent)


def test_a_truncated_file_is_named(corrupted: Path) -> None:
    with (corrupted / "fog.npy").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(DataError, match=r"fog.npy: damaged"):
        open_cifar10_c(corrupted.parent)


def test_a_pickle_is_not_run(newer: Path) -> None:
    np.save(newer / "cifar10.1_v6_labels.npy", np.array([print] * 2000, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="damaged, or not an array"):
        open_cifar10_1(newer.parent)


def test_half_a_version_is_refused(newer: Path) -> None:
    (newer / "cifar10.1_v6_labels.npy").unlink()
    with pytest.raises(DataError, match=r"v6_labels.npy: missing"):
        open_cifar10_1(newer.parent)


def test_a_folder_without_a_version_is_refused(newer: Path) -> None:
    for path in newer.iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"there is no cifar10.1_v6_data.npy"):
        open_cifar10_1(newer.parent)
