"""Attempts of small cells, and their ends: shared by the tests of the launcher."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from harness.cell import CellSpec, make_cell
from harness.recipes import recipe_for
from launch.job import Ended, Job
from launch.local import LocalExecutor


def tiny_cell(**changes: Any) -> CellSpec:
    """The smallest real cell: an MLP on digits for an epoch."""
    fields = changes.pop("fields", {"epochs": 1})
    values = {
        "dataset": "digits",
        "model": "mlp",
        "augmentation": "none",
        "precision": "fp32",
        "recipe": recipe_for("mlp", "demo", fields),
    }
    return make_cell(**(values | changes))


def make_job(out: Path, **changes: Any) -> Job:
    cell = tiny_cell(**changes)
    return Job(cell, out / cell.cell_id)


def wait_for(executor: LocalExecutor, count: int = 1, within_s: float = 60) -> list[Ended]:
    """The next attempts that end."""
    ended: list[Ended] = []
    until = time.monotonic() + within_s
    while len(ended) < count:
        assert time.monotonic() < until, f"{count} attempts have not ended within {within_s} s"
        ended += executor.poll()
        time.sleep(0.02)
    return ended
