"""What the tests of the harness share: a lone CPU process, a small cell, images made of noise."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.cell import CellSpec
from harness.datasets.base import Dataset, ImageSet
from harness.process import Process
from harness.recipe import Recipe
from tests.harness.run_helpers import RunFunction, make_striped_images, run_one, run_two


@pytest.fixture
def one_process() -> Process:
    """One process on the CPU, in no group."""
    return Process(
        rank=0,
        local_rank=0,
        world_size=1,
        device=torch.device("cpu"),
        distributed_type="NO",
        backend=None,
    )


@pytest.fixture
def cell() -> CellSpec:
    """A small cell of one process."""
    recipe = Recipe(epochs=2, batch_size=8, optimizer="sgd", lr=0.1, weight_decay=5e-4, schedule="cosine")
    return CellSpec(dataset="digits", model="mlp", augmentation="none", recipe=recipe, precision="fp32")


@pytest.fixture
def random_images() -> Callable[[int, int], ImageSet]:
    """Makes `num_images` labelled images of noise, `image_size` pixels wide, of ten classes."""

    def make(num_images: int, image_size: int) -> ImageSet:
        generator = np.random.default_rng([num_images, image_size])
        shape = (num_images, 3, image_size, image_size)
        return ImageSet(
            images=generator.integers(0, 256, shape, dtype=np.uint8),
            labels=generator.integers(0, 10, num_images, dtype=np.int64),
        )

    return make


@pytest.fixture(scope="session")
def striped_images() -> Dataset:
    """Three easy classes: noise that is brighter in one of the channels."""
    return make_striped_images()


@pytest.fixture
def run(striped_images: Dataset, tmp_path: Path) -> RunFunction:
    """Runs one small cell and returns its record, predictions and steps."""
    return partial(run_one, striped_images, tmp_path)


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two real processes got in `two_processes.py`: arrays by name."""
    script = Path(__file__).with_name("two_processes.py")
    return run_two(script, tmp_path_factory.mktemp("two_processes"))[0]
