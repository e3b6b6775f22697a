"""The cheapest run of ours that is significantly better than a vendor, on the same test images.

found = find_better_run(predictions, load_runs(Path("runs")).runs)
found.run.cell_id, found.run.comparison.difference_points

Every run on the same images is tested (exact McNemar), p-values are adjusted by Holm over all of them, and
of those that are better at 5% the one with the least training compute is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from harness.errors import DataError
from results.compare.holm import holm
from results.compare.paired import PairedComparison, compare_pair, mcnemar_exact
from results.compare.power import ALPHA
from results.compare.same_images import check_same_images
from results.predictions import PredictionSet, from_run
from results.store import Run, read_predictions

PFLOP = 1e15


class BetterRun(BaseModel):
    """A run of ours beside a vendor, and what it costs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cell_id: str
    name: str
    run_dir: str
    league: str
    comparison: PairedComparison
    """Of the run (a) with the vendor (b)."""

    adjusted_p_value: float
    """By Holm over all runs that were compared."""

    total_train_pflop: float
    train_time_s: float
    device: str | None
    latency_batch1_p50_ms: float | None
    inference_images_per_s: float | None


@dataclass(frozen=True)
class RunSearch:
    """What became of the search."""

    run: BetterRun | None
    reason: str | None
    """Why there is none."""

    num_compared: int
    """Runs on the same test images."""

    num_other_images: int
    """Runs that were left out: they were scored on other test images."""

    same_images_by: str | None
    """How it is known that the images are the same."""


def find_better_run(vendor: PredictionSet, runs: Sequence[Run]) -> RunSearch:
    """Find the cheapest better run.

    Args:
        vendor: its predictions.
        runs: finished and failed ones.
    """
    finished = [run for run in runs if run.scores is not None]
    compared: list[tuple[Run, int, int]] = []
    for run in finished:
        counts = _discordant(run, vendor)
        if counts is not None:
            compared.append((run, *counts))
    adjusted = holm([mcnemar_exact(only_run, only_vendor) for _, only_run, only_vendor in compared])
    better = [
        (run, p_value)
        for (run, only_run, only_vendor), p_value in zip(compared, adjusted, strict=True)
        if only_run > only_vendor and p_value <= ALPHA
    ]
    by = "the fingerprint of the images" if vendor.fingerprint is not None else "equal labels, in equal order"
    return RunSearch(
        run=_described(*min(better, key=_cost), vendor) if better else None,
        reason=None if better else _reason(len(finished), len(compared)),
        num_compared=len(compared),
        num_other_images=len(finished) - len(compared),
        same_images_by=by if compared else None,
    )


def _discordant(run: Run, vendor: PredictionSet) -> tuple[int, int] | None:
    """How many images the run alone, and the vendor alone, got right; None on other test images."""
    data = run.record.data
    assert data is not None
    known = vendor.fingerprint
    if data.num_test_images != len(vendor.labels) or known not in (None, data.test_fingerprint):
        return None
    ours = _predictions(run)
    try:
        check_same_images(ours, vendor)
    except DataError:
        return None
    right_ours, right_vendor = ours.classes == ours.labels, vendor.classes == vendor.labels
    return int(np.count_nonzero(right_ours & ~right_vendor)), int(
        np.count_nonzero(right_vendor & ~right_ours)
    )


def _predictions(run: Run) -> PredictionSet:
    # Not `run.predictions`, which would keep those of every run in memory.
    return from_run(_name(run), run.run_dir, read_predictions(run.run_dir, run.record))


def _name(run: Run) -> str:
    cell = run.record.cell
    return f"{cell.model} / {cell.augmentation}, seed {cell.seed}"


def _cost(candidate: tuple[Run, float]) -> tuple[int, str]:
    record = candidate[0].record
    assert record.model is not None
    return record.model.total_train_flops, record.cell_id


def _described(run: Run, adjusted_p_value: float, vendor: PredictionSet) -> BetterRun:
    record = run.record
    assert record.model is not None
    assert record.measurements is not None
    return BetterRun(
        cell_id=record.cell_id,
        name=_name(run),
        run_dir=str(run.run_dir),
        league=record.cell.league,
        comparison=compare_pair(_predictions(run), vendor),
        adjusted_p_value=adjusted_p_value,
        total_train_pflop=record.model.total_train_flops / PFLOP,
        train_time_s=record.measurements.training_time_s,
        device=None if record.environment is None else record.environment.device,
        latency_batch1_p50_ms=record.measurements.latency_batch1_p50_ms,
        inference_images_per_s=record.measurements.inference_images_per_s,
    )


def _reason(num_finished: int, num_compared: int) -> str:
    if not num_finished:
        return "no run of ours has finished"
    if not num_compared:
        return "no run of ours was scored on the same test images"
    return f"none of {num_compared:,} run(s) of ours is significantly better on these images"
