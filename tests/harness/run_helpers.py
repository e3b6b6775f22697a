"""A small cell on easy images, and what it left: shared by the tests of whole runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from harness.cell import CellSpec, make_cell
from harness.datasets.base import Dataset, ImageSet, make_dataset
from harness.environment import describe_environment
from harness.process import Process
from harness.progress import Reporter
from harness.recipe import make_recipe
from harness.record import Record, read_record
from harness.run_cell import Run, run_cell
from harness.settings import Settings

ONE_PROCESS = Process(0, 0, 1, torch.device("cpu"), "NO", None)

RunFunction = Callable[..., tuple[Record, dict[str, Any], dict[str, Any]]]


def make_striped_images() -> Dataset:
    """Three easy classes: noise that is brighter in one of the channels."""
    generator = np.random.default_rng(0)

    def images(num: int) -> ImageSet:
        labels = np.arange(num, dtype=np.int64) % 3
        pixels = generator.integers(0, 200, (num, 3, 32, 32))
        pixels[np.arange(num), labels] += 50
        return ImageSet(pixels.astype(np.uint8), labels)

    return make_dataset("digits", "a test", images(200), images(61), ("r", "g", "b"), official=False)


def run_one(
    data: Dataset, parent: Path, folder: str = "run", **changes: Any
) -> tuple[Record, dict[str, Any], dict[str, Any]]:
    """Run one cell and return its record, predictions and steps."""
    run_dir = parent / folder
    assert run_in(data, run_dir, **changes) is not None
    record = read_record(run_dir)
    assert record is not None
    return record, dict(np.load(run_dir / "predictions.npz")), dict(np.load(run_dir / "steps.npz"))


def run_in(data: Dataset, run_dir: Path, **changes: Any) -> Record | None:
    """Run one cell in a folder, with `settings` where they are given; None when it pauses."""
    settings = changes.pop("settings", Settings())
    cell = small_cell(**changes)
    reporter = Reporter(Console(file=StringIO()), settings.track)
    environment = describe_environment(ONE_PROCESS)
    return run_cell(Run(cell, data, ONE_PROCESS, environment, run_dir, "x", settings), reporter, "cell")


def run_two(script: Path, folder: Path, timeout_s: float = 120) -> tuple[list[dict[str, Any]], list[str]]:
    """What each of two real processes of a script left, arrays by name, and what it printed."""
    children = [
        subprocess.Popen(
            [sys.executable, "-W", "error", str(script), str(rank), str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [child.communicate(timeout=timeout_s)[0] for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0, 0], "\n".join(outputs)
    return [dict(np.load(folder / f"{rank}.npz")) for rank in range(2)], outputs


def small_cell(**changes: Any) -> CellSpec:
    recipe = {"epochs": 2, "batch_size": 20, "optimizer": "sgd", "lr": 0.05, "weight_decay": 1e-4}
    recipe |= {"schedule": "cosine"} | changes.pop("recipe", {})
    values: dict[str, Any] = {
        "dataset": "digits",
        "model": "simple_cnn",
        "augmentation": "flip_crop",
        "precision": "fp32",
        "recipe": make_recipe(recipe),
    }
    return make_cell(**(values | changes))
