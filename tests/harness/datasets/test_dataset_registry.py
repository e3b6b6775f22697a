from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.datasets.base import Dataset
from harness.datasets.names import DATASET_KINDS
from harness.datasets.registry import LOADERS, load_dataset
from harness.errors import DataError, UsageError
from tests.harness.datasets.dataset_helpers import ROOT, write_cifar, write_image


def load(name: str, data_dir: Path, allow_unofficial: bool = True) -> Dataset:
    return load_dataset(name, data_dir, 16, allow_unofficial, quiet=True)


def test_every_kind_has_a_loader() -> None:
    assert tuple(LOADERS) == DATASET_KINDS


def test_each_kind_is_loaded_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path)
    for seed in range(8):
        write_image(tmp_path / "pets" / ("cat" if seed % 2 else "dog") / f"{seed}.png", seed)
    monkeypatch.setenv("HOME", str(tmp_path))
    sizes = {"cifar10": 32, "digits": 16, f"imagefolder:{tmp_path}/pets": 16, "imagefolder:~/pets": 16}
    for name, size in sizes.items():
        data = load(name, tmp_path)
        assert data.provenance.dataset == name.partition(":")[0]
        assert data.train.images.shape[1:] == (3, size, size)  # CIFAR-10 is resized on the device
        assert data.provenance.num_test_images == len(data.test.labels) > 0


def test_the_flag_for_unofficial_files_reaches_cifar10(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    with pytest.raises(DataError, match="--allow-unofficial-data"):
        load("cifar10", tmp_path, allow_unofficial=False)


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean cifar10"):
        load("cifar", tmp_path)


def test_importing_the_registry_loads_nothing_slow() -> None:
    script = "import sys, harness.datasets.registry; print(*sys.modules)"
    child = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"torch", "sklearn", "PIL", "rich", "urllib.request", "filelock"} & set(child.stdout.split())
