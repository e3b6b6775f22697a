"""One small report, made once: three runs, one of them with hostile names, and one that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.files import write_text
from harness.record import EpochRow
from results.report import charts
from results.report.build import Report, Request, build_report
from results.report.page import report_html

HOSTILE_CLASS = "</script><i>x</i>"
HOSTILE_NAMES = (HOSTILE_CLASS, '=cmd|"/c calc"!A1', '\u202eفئة\' onload="x"')
"""Markup that ends a script, a formula, and text that runs from right to left."""

HISTORY = tuple(
    EpochRow(
        epoch=epoch,
        train_loss=2.0 / epoch,
        val_loss=1.8 / epoch,
        val_accuracy=0.5 + 0.05 * epoch,
        lr=0.1,
        train_time_s=1.0,
    )
    for epoch in range(1, 8)
)


def logits(num_images: int, num_right: int, num_classes: int, seed: int) -> np.ndarray[Any, Any]:
    """Logits whose first images are right, with differing confidence."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_images) % num_classes
    found = rng.normal(size=(num_images, num_classes)).astype(np.float32)
    taken = np.where(np.arange(num_images) < num_right, labels, (labels + 1) % num_classes)
    found[np.arange(num_images), taken] = found.max(axis=1) + rng.uniform(0.1, 4, num_images)
    return found


def make_runs(make_run: Any, make_failed_run: Any) -> None:
    """The runs of the small report."""
    data = {"class_names": HOSTILE_NAMES, "dataset": "cifar10"}
    for number, (model, right, flops) in enumerate(
        (("fast_cnn", 188, 9e14), ("resnet20", 176, 2e14), ("mlp", 110, 5e12))
    ):
        make_run(
            cell={"model": model},
            data=data,
            model={"total_train_flops": int(flops)},
            record={"history": HISTORY, "unavailable": {}},
            arrays={
                "test_logits": logits(200, right, 3, number),
                "val_logits": logits(40, right // 5, 3, 10 + number),
            },
        )
    make_failed_run(message="<b>broken</b> & =1+1", model="fast_cnn", seed=7)


@pytest.fixture(scope="session")
def _made() -> dict[str, Any]:
    return {}


@pytest.fixture
def small(
    _made: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
    make_run: Any,
    make_failed_run: Any,
    runs: Path,
) -> tuple[Report, str, Path]:
    """The report, its page, and the folder of its runs."""
    if not _made:
        make_runs(make_run, make_failed_run)
        kept = tmp_path_factory.mktemp("report") / "runs"
        runs.rename(kept)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(charts, "IS_CHECKED", True)  # Altair holds every chart against its schema
            report = build_report(Request(kept))
        page = report_html(report)
        write_text(kept.parent / "report.html", page)
        _made["small"] = (report, page, kept)
    found: tuple[Report, str, Path] = _made["small"]
    return found
