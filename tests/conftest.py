"""What every test shares: the project's images, a cache of its own, threads that fit, no GPU needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.fake_nvml import build_nvml

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_configure() -> None:
    """Give each pytest-xdist worker, and every process it starts, one thread: before torch is loaded."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses `shared_data` as `shared`, before `-m` selects by marker."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shared)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not _cuda_is_available():
        pytest.skip("needs a CUDA device")
    if item.get_closest_marker("bf16") and _bf16_is_slow():
        pytest.skip("this processor has no bf16 instructions")


@cache
def _cuda_is_available() -> bool:
    import torch  # slow to load, and most runs have no test for a GPU

    return torch.cuda.is_available()


@cache
def _bf16_is_slow() -> bool:
    import torch

    from harness.precision import slow_precision

    return slow_precision("bf16", torch.device("cpu")) is not None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the project's CIFAR-10 images and published predictions."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the project's images in {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libnvidia-ml.so.1 that needs no driver (`fake_nvml.c`)."""
    return build_nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep every test, and the processes it starts, away from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERDICT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
